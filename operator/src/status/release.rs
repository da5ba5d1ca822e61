//! What status says about the newest release of an Application. Pure.

use crds::application::release::ReleaseStatus;
use store::ReleaseState;

use super::facts::{Facts, Release};

impl Facts<'_> {
    /// Returns the newest release as status shows it.
    pub(super) fn release_status(&self) -> Option<ReleaseStatus> {
        let Release { row, step } = self.release?;
        let message = match step {
            Some(step) => step.pause.clone(),
            None => Some(row.message.clone()).filter(|message| !message.is_empty()),
        };
        Some(ReleaseStatus {
            operation: row.operation.to_string(),
            revision: row.revision.short(),
            state: row.state.as_str().to_owned(),
            progress: self.progress()?,
            message,
        })
    }

    /// Returns what an open release does now; otherwise its state.
    fn progress(&self) -> Option<String> {
        let Release { row, step } = self.release?;
        let Some(step) = step else { return Some(row.state.as_str().to_owned()) };
        let title = step.title.as_deref().unwrap_or("ends");
        Some(if step.pause.is_some() { format!("waits: {title}") } else { title.to_owned() })
    }

    /// Returns why the wanted revision is not released although it is asked for, and the remedy.
    pub(super) fn rolled_back(&self) -> Option<String> {
        let Release { row, .. } = self.release?;
        let stays_away = row.state == ReleaseState::RolledBack
            && row.superseded_by.is_none()
            && row.revision == self.row.revision
            && self.intent.release.is_some()
            && self.cell_revisions.values().any(|revision| *revision != self.row.revision);
        stays_away.then(|| {
            format!(
                "revision {} was rolled back to {} by operation {}: {}. Correct the spec, or run `meridian release retry {} -n {}`",
                row.revision.short(),
                row.previous.short(),
                row.operation,
                row.message,
                self.row.key.name,
                self.row.key.namespace
            )
        })
    }

    /// Returns what an open release does now, and why it waits.
    pub(super) fn releasing(&self) -> Option<String> {
        let Release { row, step } = self.release?;
        let pause = step.as_ref()?.pause.as_ref().map(|pause| format!(" ({pause})")).unwrap_or_default();
        Some(format!(
            "operation {} releases revision {}: {}{pause}",
            row.operation,
            row.revision.short(),
            self.progress()?
        ))
    }
}
