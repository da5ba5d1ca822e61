//! `meridian release …` and `meridian app rollback`: releases of one Application, over the server of the API.

mod begin;
mod control;
mod status;

pub(crate) use begin::rollback;

use rest::{Client, Operation, PageRequest};

use crate::args::{ReleaseArgs, ReleaseCommand, ReleaseVerbArgs};
use crate::failure::Failure;
use crate::hub::{Hub, namespace_of};
use crate::progress::Progress;
use crate::server;
use control::ReleaseVerb;

/// Number of releases among which the one under way is looked for. It is the newest one or the one before.
const NEWEST: usize = 5;

/// The Application of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Display for AppRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "application {}/{}", self.namespace, self.name)
    }
}

/// Runs one `meridian release` command.
pub(crate) async fn run(
    args: ReleaseArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let verb = |args: &ReleaseVerbArgs, verb: ReleaseVerb| control::check(verb, args);
    match &args.command {
        ReleaseCommand::Skip(args) => verb(args, ReleaseVerb::Skip)?,
        ReleaseCommand::Start(_)
        | ReleaseCommand::Status(_)
        | ReleaseCommand::Pause(_)
        | ReleaseCommand::Resume(_)
        | ReleaseCommand::Confirm(_)
        | ReleaseCommand::Abort(_)
        | ReleaseCommand::Undo(_)
        | ReleaseCommand::Retry(_) => {}
    }
    let client = server::connect(&args.server)?;
    let app = match &args.command {
        ReleaseCommand::Start(args) => &args.app,
        ReleaseCommand::Status(args) => &args.app,
        ReleaseCommand::Pause(args)
        | ReleaseCommand::Resume(args)
        | ReleaseCommand::Confirm(args)
        | ReleaseCommand::Skip(args)
        | ReleaseCommand::Abort(args)
        | ReleaseCommand::Undo(args)
        | ReleaseCommand::Retry(args) => &args.app,
    };
    let app = AppRef { namespace: namespace_of(app, hub).await?, name: app.name.clone() };
    match &args.command {
        ReleaseCommand::Start(args) => begin::start(args, &app, &client, progress).await,
        ReleaseCommand::Status(args) => status::run(args, &app, &client, progress).await,
        ReleaseCommand::Pause(args) => control::run(ReleaseVerb::Pause, args, &app, &client, progress).await,
        ReleaseCommand::Resume(args) => control::run(ReleaseVerb::Resume, args, &app, &client, progress).await,
        ReleaseCommand::Confirm(args) => control::run(ReleaseVerb::Confirm, args, &app, &client, progress).await,
        ReleaseCommand::Skip(args) => control::run(ReleaseVerb::Skip, args, &app, &client, progress).await,
        ReleaseCommand::Abort(args) => control::run(ReleaseVerb::Abort, args, &app, &client, progress).await,
        ReleaseCommand::Undo(args) => control::run(ReleaseVerb::Undo, args, &app, &client, progress).await,
        ReleaseCommand::Retry(args) => control::run(ReleaseVerb::Retry, args, &app, &client, progress).await,
    }
}

/// Reads the release of an Application that is under way, else its last one.
async fn last_release(app: &AppRef, client: &Client) -> Result<Operation, Failure> {
    let page = PageRequest { size: Some(NEWEST), token: None };
    let read = client.releases(&app.namespace, &app.name, &page).await;
    let releases = read.map_err(|error| Failure::server(&app.to_string(), &error))?.items;
    let under_way = releases.iter().find(|release| !release.done).cloned();
    under_way.or_else(|| releases.into_iter().next()).ok_or_else(|| {
        Failure::NotFound(format!(
            "{app}: there was no release yet; `meridian release start {} -n {} --image COMPONENT=IMAGE` begins one",
            app.name, app.namespace
        ))
    })
}
