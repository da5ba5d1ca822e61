//! Declaration of a joining cluster: values of the flags, else those of the existing Cluster.

use crds::cluster::v1alpha1::ClusterSpec;
use members::install::{Installation, Profile};

use crate::failure::Failure;

/// Values that the user gave by flags.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) region: Option<String>,
    pub(super) zones: Vec<String>,
    pub(super) cell_per_zone: bool,
    pub(super) profiles: Vec<Profile>,
    pub(super) server: Option<String>,
}

/// Values to declare for the cluster.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) region: String,
    pub(super) zones: Vec<String>,
    pub(super) cell_per_zone: bool,
    pub(super) installation: Installation,
    pub(super) server: String,
    /// Changes to the existing declaration, each with the old and new value.
    pub(super) changes: Vec<String>,
    /// Hint that the declared server stays, although the kubeconfig names another one.
    pub(super) kept: Option<String>,
}

/// Merges the flags with the existing declaration of the cluster.
///
/// A missing flag changes nothing of a cluster that joined before. The hub may reach the member in another way than the
/// user's kubeconfig does. A cluster that is only observed must not permit delivery because of an update.
pub(super) fn declare(asked: Asked, existing: Option<&ClusterSpec>, reached_at: &str) -> Result<Declared, Failure> {
    let region = asked.region.or_else(|| existing.map(|known| known.region.clone()));
    let region =
        region.ok_or_else(|| Failure::Usage("--region is missing; name the region the cluster lies in".to_owned()))?;
    let zones = match existing {
        Some(known) if asked.zones.is_empty() => known.zones.clone(),
        _ => asked.zones,
    };
    if zones.is_empty() {
        return Err(Failure::Usage("--zone is missing; name every zone the cluster lies in".to_owned()));
    }
    let had_cells = existing.is_some_and(|known| known.cell_per_zone);
    let cell_per_zone = asked.cell_per_zone || had_cells;
    let before = existing.map(|known| {
        let profiles: Vec<Profile> = known.profiles.iter().map(|profile| profile_of(*profile)).collect();
        Installation::new(&profiles)
    });
    let installation = match &before {
        _ if !asked.profiles.is_empty() => Installation::new(&asked.profiles),
        Some(before) => before.clone(),
        None => Installation::new(&Profile::ALL),
    };
    let known_server = existing.map(|known| known.connection.server.as_str());
    let server = asked.server.as_deref().or(known_server).unwrap_or(reached_at).to_owned();

    let mut changes = Vec::new();
    if let Some(before) = before.filter(|before| *before != installation) {
        changes.push(format!("profiles: {} instead of {}", names(&installation), names(&before)));
    }
    if let Some(before) = known_server.filter(|before| *before != server) {
        changes.push(format!("server: {server} instead of {before}"));
    }
    if existing.is_some() && cell_per_zone && !had_cells {
        changes.push("a Cell for each zone; what runs stays as it is, new replicas go to the Cells".to_owned());
    }
    let differs = asked.server.is_none() && server != reached_at;
    let kept = differs.then(|| {
        format!("the hub goes on to reach it at {server}; if that is the past, run it with --server {reached_at}")
    });
    Ok(Declared { region, zones, cell_per_zone, installation, server, changes, kept })
}

/// Joins the names of the profiles with commas.
pub(super) fn names(installation: &Installation) -> String {
    let names: Vec<&str> = installation.profiles().iter().map(|profile| profile.as_str()).collect();
    names.join(", ")
}

/// Converts a profile of the hub's API into one of `members`. The two crates do not use each other.
pub(super) fn profile_of(profile: crds::cluster::v1alpha1::Profile) -> Profile {
    match profile {
        crds::cluster::v1alpha1::Profile::Observe => Profile::Observe,
        crds::cluster::v1alpha1::Profile::Deploy => Profile::Deploy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://127.0.0.1:6443";
    const FROM_THE_HUB: &str = "https://north.example.org";

    fn joined(profiles: &[&str]) -> ClusterSpec {
        serde_json::from_value(serde_json::json!({
            "region": "north", "zones": ["n1", "n2"], "uid": "u", "profiles": profiles,
            "connection": { "server": FROM_THE_HUB },
        }))
        .unwrap()
    }

    #[test]
    fn missing_flags_keep_the_existing_declaration() {
        let declared = declare(Asked::default(), Some(&joined(&["observe"])), HERE).unwrap();
        assert_eq!((declared.region.as_str(), declared.zones.len()), ("north", 2));
        assert_eq!(declared.installation.profiles(), [Profile::Observe], "an update grants nothing");
        assert_eq!(declared.server, FROM_THE_HUB);
        assert_eq!(declared.changes, Vec::<String>::new());
        let kept = declared.kept.unwrap();
        assert!(kept.contains(FROM_THE_HUB) && kept.ends_with(&format!("--server {HERE}")), "{kept}");
    }

    #[test]
    fn given_flags_are_reported_with_the_values_they_replace() {
        let asked = || Asked {
            profiles: vec![Profile::Deploy],
            server: Some("https://new.example.org".to_owned()),
            ..Asked::default()
        };
        let declared = declare(asked(), Some(&joined(&["observe"])), HERE).unwrap();
        assert_eq!(
            declared.changes,
            [
                "profiles: observe, deploy instead of observe".to_owned(),
                format!("server: https://new.example.org instead of {FROM_THE_HUB}"),
            ]
        );
        assert_eq!(declared.kept, None);
        let again = Asked { server: Some(FROM_THE_HUB.to_owned()), ..asked() };
        let same = declare(again, Some(&joined(&["deploy", "observe"])), HERE).unwrap();
        assert_eq!(same.changes, Vec::<String>::new(), "the order of profiles means nothing");
    }

    #[test]
    fn cells_per_zone_stay_when_a_cluster_joins_again() {
        let asked = || Asked { cell_per_zone: true, ..Asked::default() };
        let first = declare(asked(), Some(&joined(&["observe"])), HERE).unwrap();
        assert!(first.cell_per_zone && first.changes[0].starts_with("a Cell for each zone"), "{:?}", first.changes);
        let known = ClusterSpec { cell_per_zone: true, ..joined(&["observe"]) };
        let again = declare(Asked::default(), Some(&known), HERE).unwrap();
        assert_eq!((again.cell_per_zone, again.changes), (true, Vec::new()));
    }

    #[test]
    fn first_join_uses_the_kubeconfigs_server_and_all_profiles() {
        let asked = |region: Option<&str>, zones: &[&str]| Asked {
            region: region.map(str::to_owned),
            zones: zones.iter().map(ToString::to_string).collect(),
            ..Asked::default()
        };
        let declared = declare(asked(Some("north"), &["n1"]), None, HERE).unwrap();
        assert_eq!(declared.installation.profiles(), Profile::ALL);
        assert_eq!((declared.server.as_str(), declared.kept), (HERE, None));
        for (missing, flag) in [(asked(None, &["n1"]), "--region"), (asked(Some("north"), &[]), "--zone")] {
            let said = declare(missing, None, HERE).unwrap_err().to_string();
            assert!(said.starts_with(flag), "{said}");
        }
    }
}
