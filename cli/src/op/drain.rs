//! `meridian drain`: creates an operation that empties a place.

use rest::NewOperation;
use serde_json::{Value, json};

use super::live::headline;
use super::outcome::title;
use super::wait::{View, Wait, wait_for};
use crate::args::{DrainOperationArgs, DrainPlace};
use crate::failure::Failure;
use crate::output::{Format, structured};
use crate::progress::Progress;
use crate::server;
use crate::shell::{emit, outcome};

/// Name of the kind.
const KIND: &str = "drain";

/// Runs `meridian drain`.
pub(crate) async fn run(args: &DrainOperationArgs, progress: Progress) -> Result<(), Failure> {
    let client = server::connect(&args.server)?;
    let format = args.output.output;
    let new = NewOperation {
        kind: KIND.to_owned(),
        spec: spec(&args.place, args.max_parallel),
        reason: args.reason.clone(),
        hold: args.hold,
    };
    let what = format!("drain of {}", describe(&args.place));
    if args.dry_run {
        let preview = client.preview_operation(&new).await.map_err(|error| Failure::server(&what, &error))?;
        emit(&preview_text(&preview, format)?)?;
        progress.done(format!("{what}: this is what would be done; nothing was changed"));
        return Ok(());
    }
    let operation = client.create_operation(&new).await.map_err(|error| Failure::server(&what, &error))?;
    progress.done(format!("created {}", title(&operation)));
    let id = operation.id;
    let Some(limit) = args.wait.limit() else {
        progress.hint(if args.hold {
            format!("`meridian op start {id}` begins it")
        } else {
            format!("{}; `meridian op watch {id}` shows how it goes on", headline(&operation))
        });
        return match format {
            // A person needs the id for the next command, and a pipeline reads it here.
            Format::Table | Format::Wide => emit(&format!("operation/{id}\n")),
            Format::Json | Format::Yaml | Format::Name => outcome(format, &format!("operation/{id}"), &operation),
        };
    };
    let wait = Wait { id, limit: Some(limit), stop_on_pause: args.exit_on_pause, view: View::Table, format };
    wait_for(wait, &client, progress).await
}

fn spec(place: &DrainPlace, max_parallel: Option<u32>) -> Value {
    let mut spec = match place {
        DrainPlace::Cluster(name) => json!({ "cluster": name.as_str() }),
        DrainPlace::Zone { region, zone } => json!({ "zone": { "region": region, "zone": zone } }),
        DrainPlace::Cell(name) => json!({ "cell": name.as_str() }),
    };
    if let Some(max_parallel) = max_parallel {
        spec["maxParallel"] = max_parallel.into();
    }
    spec
}

fn describe(place: &DrainPlace) -> String {
    match place {
        DrainPlace::Cluster(name) => format!("cluster {name}"),
        DrainPlace::Zone { region, zone } => format!("zone {zone} of region {region}"),
        DrainPlace::Cell(name) => format!("cell {name}"),
    }
}

/// Formats a preview. Its form is that of the kind, so people read it as YAML.
fn preview_text(preview: &Value, format: Format) -> Result<String, Failure> {
    let format = if format == Format::Json { format } else { Format::Yaml };
    Ok(structured(format, preview)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_the_spec_of_the_operation() {
        for (place, max_parallel, expected) in [
            ("cluster/east", None, json!({ "cluster": "east" })),
            ("cell/east-a", Some(2), json!({ "cell": "east-a", "maxParallel": 2 })),
            ("zone/eu/a", None, json!({ "zone": { "region": "eu", "zone": "a" } })),
        ] {
            assert_eq!(spec(&place.parse().unwrap(), max_parallel), expected, "{place}");
        }
    }
}
