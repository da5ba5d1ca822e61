//! Looks for Applications that need a release: on hints, and slowly for all.

use std::collections::HashMap;
use std::time::Duration;

use operations::{Looked, ReleaseStarter};
use runtime::queue::Queue;
use store::{AppId, Hint, ReleaseCandidate, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vocabulary::{OperationId, chain};

/// Interval between two looks at all Applications with `spec.release`, also without any hint.
const LOOK_AGAIN: Duration = Duration::from_mins(5);
/// Maximum number of Applications or operations that are read at once.
const BATCH_ROWS: usize = 64;
/// Delay after which a changed operation is looked at. Operations change often, and few changes end a release.
const OPERATION_DELAY: Duration = Duration::from_millis(200);

/// Applications and operations that may have changed.
#[derive(Debug, Default)]
struct Changed {
    apps: Queue<AppId>,
    operations: Queue<OperationId>,
}

/// Starts and concludes releases until shutdown.
///
/// # Errors
/// Never; failures are retried.
pub(crate) async fn run(starter: ReleaseStarter, shutdown: CancellationToken) -> Result<(), StoreError> {
    let changed = Changed::default();
    let work = async {
        tokio::join!(
            listen(&starter, &changed),
            look_at_apps(&starter, &changed),
            look_at_operations(&starter, &changed)
        )
    };
    tokio::select! { () = shutdown.cancelled() => {}, _ = work => {} }
    Ok(())
}

async fn listen(starter: &ReleaseStarter, changed: &Changed) {
    let mut hints = starter.hints.subscribe();
    let mut again = tokio::time::interval(LOOK_AGAIN);
    loop {
        let all = tokio::select! {
            _ = again.tick() => true,
            hint = hints.recv() => match hint.as_deref() {
                Ok(Hint::Decide(app)) => {
                    changed.apps.push(*app);
                    false
                }
                Ok(Hint::Operation(id)) => {
                    changed.operations.push_after(*id, OPERATION_DELAY);
                    false
                }
                Ok(Hint::Everything) | Err(RecvError::Lagged(_)) => true,
                Ok(_) => false,
                Err(RecvError::Closed) => return,
            }
        };
        if all {
            match starter.store.release_applications().await {
                Ok(apps) => changed.apps.extend(apps),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "applications with releases were not read; the next round reads them"
                    );
                }
            }
        }
    }
}

/// Finds the Applications of changed operations.
async fn look_at_operations(starter: &ReleaseStarter, changed: &Changed) {
    loop {
        let operations = changed.operations.take(BATCH_ROWS).await;
        match starter.store.release_applications_of(&operations).await {
            Ok(apps) => {
                // Status shows what the operation does now.
                for app in &apps {
                    starter.hints.send(Hint::Show(*app));
                }
                changed.apps.extend(apps);
                for id in &operations {
                    changed.operations.finish(id);
                }
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "changed operations were not read; they are read again");
                for id in &operations {
                    changed.operations.fail(id);
                }
            }
        }
    }
}

async fn look_at_apps(starter: &ReleaseStarter, changed: &Changed) {
    loop {
        let apps = changed.apps.take(BATCH_ROWS).await;
        let candidates = match starter.candidates(&apps).await {
            Ok(candidates) => candidates,
            Err(error) => {
                tracing::warn!(error = chain(&error), "release candidates were not read; they are read again");
                for app in &apps {
                    changed.apps.fail(app);
                }
                continue;
            }
        };
        let candidates: HashMap<AppId, ReleaseCandidate> =
            candidates.into_iter().map(|candidate| (candidate.app, candidate)).collect();
        for app in apps {
            let Some(candidate) = candidates.get(&app) else {
                changed.apps.finish(&app);
                continue;
            };
            match starter.look_at(candidate).await {
                Ok(Looked::Concluded(_)) => {
                    changed.apps.push(app);
                    changed.apps.finish(&app);
                }
                // The scheduler usually decides within milliseconds, and the pause grows where it does not.
                Ok(Looked::Undecided) => {
                    changed.apps.fail(&app);
                }
                Ok(Looked::Nothing | Looked::Started(_) | Looked::Superseded(_)) => changed.apps.finish(&app),
                Err(error) => {
                    // Locks of other operations, such as a drain, are among the reasons.
                    let failures = changed.apps.fail(&app);
                    tracing::warn!(app = %candidate.key, failures, error = chain(&error), "release was not started or ended; it is tried again");
                }
            }
        }
    }
}
