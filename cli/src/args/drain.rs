//! Arguments of `meridian drain`.

use std::str::FromStr;

use clap::Args;
use vocabulary::{CellName, ClusterName};

use super::{OutputFlag, ServerFlags, WaitIfAskedFlags};

/// `meridian drain`
#[derive(Debug, Args)]
pub(crate) struct DrainOperationArgs {
    /// Place to empty: cluster/NAME, zone/REGION/ZONE or cell/NAME
    #[arg(value_name = "PLACE")]
    pub(crate) place: DrainPlace,
    /// Show what would move, and create no operation
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Most Applications that move at once, up to 256
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_parallel: Option<u32>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// Create the operation and let it wait for `meridian op start`
    #[arg(long, conflicts_with_all = ["wait", "dry_run"])]
    pub(crate) hold: bool,
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

/// A place that a drain empties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DrainPlace {
    /// All cells of a cluster.
    Cluster(ClusterName),
    /// All cells in a zone.
    Zone { region: String, zone: String },
    /// One cell.
    Cell(CellName),
}

impl FromStr for DrainPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let forms = || format!("{text:?} is no place; write cluster/NAME, zone/REGION/ZONE or cell/NAME");
        let (kind, name) = text.split_once('/').ok_or_else(forms)?;
        match kind {
            "cluster" => name.parse().map(Self::Cluster).map_err(|error| format!("cluster {name:?}: {error}")),
            "cell" => name.parse().map(Self::Cell).map_err(|error| format!("cell {name:?}: {error}")),
            "zone" => match name.split_once('/') {
                Some((region, zone)) if !region.is_empty() && !zone.is_empty() && !zone.contains('/') => {
                    Ok(Self::Zone { region: region.to_owned(), zone: zone.to_owned() })
                }
                _ => Err(forms()),
            },
            _ => Err(forms()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_clusters_zones_and_cells() {
        for (text, expected) in [
            ("cluster/east", Some(DrainPlace::Cluster("east".parse().unwrap()))),
            ("cell/east-a", Some(DrainPlace::Cell("east-a".parse().unwrap()))),
            ("zone/eu/a", Some(DrainPlace::Zone { region: "eu".into(), zone: "a".into() })),
            ("zone/eu", None),
            ("zone/eu/a/b", None),
            ("zone//a", None),
            ("cluster/", None),
            ("cluster/East", None),
            ("east", None),
            ("region/eu", None),
        ] {
            assert_eq!(text.parse::<DrainPlace>().ok(), expected, "{text}");
        }
    }
}
