//! Arguments of `meridian release`, and of the `meridian app` commands about revisions.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AppArg, OutputFlag, ReportFlag, ServerFlags, WaitIfAskedFlags};

/// `meridian release`
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(subcommand)]
    pub(crate) command: ReleaseCommand,
}

/// `meridian release …`
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Change images or the spec of an Application and release the new revision; without a change, release again
    Start(ReleaseStartArgs),
    /// Batches and replicas of the last release. Exit code 0: released; 6: not yet; 5: failed; 7: taken back
    Status(ReleaseStatusArgs),
    /// Begin no further batch
    Pause(ReleaseVerbArgs),
    /// Go on after a pause
    Resume(ReleaseVerbArgs),
    /// Let the next batch begin
    Confirm(ReleaseVerbArgs),
    /// Leave out a batch that failed; needs --reason
    Skip(ReleaseVerbArgs),
    /// End the release and give all cells the previous revision
    Abort(ReleaseVerbArgs),
    /// Give all cells the previous revision after a release that is over
    Undo(ReleaseVerbArgs),
    /// Try a failed batch again, or release again after a rollback
    Retry(ReleaseVerbArgs),
}

/// `meridian release start`
#[derive(Debug, Args)]
pub(crate) struct ReleaseStartArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Image as COMPONENT=IMAGE, or COMPONENT/CONTAINER=IMAGE; may be repeated
    #[arg(long = "image", value_name = "COMPONENT=IMAGE", value_parser = image)]
    pub(crate) images: Vec<ImageOf>,
    /// File with a JSON merge patch of the spec, as YAML or JSON; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) patch: Option<PathBuf>,
    /// Check the request on the server and the hub; change nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) wait: WaitIfAskedFlags,
    /// With --wait, end with 4 when a person has to act
    #[arg(long, requires = "wait")]
    pub(crate) exit_on_pause: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// The image of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageOf {
    /// `component` or `component/container`.
    pub(crate) target: String,
    /// The image.
    pub(crate) image: String,
}

/// `meridian release status`
#[derive(Debug, Args)]
pub(crate) struct ReleaseStatusArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Show changes until the release is over
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}

/// A verb of the release of an Application.
#[derive(Debug, Args)]
pub(crate) struct ReleaseVerbArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian app diff`
#[derive(Debug, Args)]
pub(crate) struct AppDiffArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Revision to compare with, or its first digits [default: the previous one that was ready]
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}

/// `meridian app rollback`
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Revision to go back to, or its first digits [default: the previous one that was ready]
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<String>,
    /// Take over fields that another field manager owns
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// Check the request on the server and the hub; change nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) wait: WaitIfAskedFlags,
    /// With --wait, end with 4 when a person has to act
    #[arg(long, requires = "wait")]
    pub(crate) exit_on_pause: bool,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// Parses `component=image` or `component/container=image`. An image may contain `=`, a target does not.
fn image(text: &str) -> Result<ImageOf, String> {
    let refuse = || format!("{text:?} is no image of a component; write COMPONENT=IMAGE or COMPONENT/CONTAINER=IMAGE");
    let (target, image) = text.split_once('=').ok_or_else(refuse)?;
    let is_target =
        !target.is_empty() && target.split('/').all(|part| !part.is_empty()) && target.split('/').count() <= 2;
    if !is_target || image.is_empty() {
        return Err(refuse());
    }
    Ok(ImageOf { target: target.to_owned(), image: image.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_name_a_component_and_perhaps_a_container() {
        for (text, expected) in [
            ("web=registry.example/web:1", Some(("web", "registry.example/web:1"))),
            ("web/proxy=p@sha256:0a", Some(("web/proxy", "p@sha256:0a"))),
            ("web=a=b", Some(("web", "a=b"))),
            ("web", None),
            ("web=", None),
            ("=i:1", None),
            ("web/=i:1", None),
            ("web/a/b=i:1", None),
        ] {
            let found = image(text).ok();
            let found = found.as_ref().map(|of| (of.target.as_str(), of.image.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
