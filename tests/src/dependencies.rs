//! Rules for the dependencies between crates.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Allowed direct dependencies between Meridian's crates.
///
/// A crate may also use what its allowed dependencies use.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("crds", &["vocabulary"]),
    ("vocabulary", &[]),
    ("domain", &["crds", "vocabulary"]),
    ("runtime", &[]),
    ("store", &["vocabulary", "runtime"]),
    ("members", &["vocabulary", "runtime"]),
    ("schedule", &["store", "domain", "runtime"]),
    ("delivery", &["store", "members", "domain", "runtime"]),
    ("flow", &["store", "domain", "runtime"]),
    ("operations", &["flow", "schedule", "store", "domain", "runtime"]),
    ("rest", &["crds", "vocabulary"]),
    ("access", &["store", "domain"]),
    (
        "web-api",
        &[
            "access",
            "rest",
            "flow",
            "operations",
            "members",
            "store",
            "domain",
            "crds",
            "schedule",
            "delivery",
            "runtime",
        ],
    ),
    ("operator", &["crds", "schedule", "delivery", "operations", "members", "store", "runtime"]),
    ("meridian", &["crds", "domain", "members", "rest"]),
];

/// Crates that must not reach certain libraries, not even through other crates.
const PURE: [(&str, &[&str]); 3] = [
    ("crds", &["tokio", "kube-client"]),
    ("vocabulary", &["tokio", "kube-client"]),
    ("domain", &["tokio", "kube-client"]),
];

/// Returns every forbidden dependency, as a sentence.
///
/// # Errors
/// If the metadata of cargo cannot be read.
pub fn forbidden() -> anyhow::Result<Vec<String>> {
    let metadata =
        MetadataCommand::new().manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).exec()?;
    let ours: BTreeMap<&str, BTreeSet<&str>> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let used =
                package.dependencies.iter().filter(|used| used.kind == DependencyKind::Normal && used.path.is_some());
            (package.name.as_str(), used.map(|used| used.name.as_str()).collect())
        })
        .collect();
    let rules: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut found = Vec::new();
    for (name, used) in &ours {
        if ["acceptance", "testbed", "sim", "bench", "soak"].contains(name) {
            continue;
        }
        let Some(rule) = rules.get(name) else {
            found.push(format!("{name} has no rule; say in tests/src/dependencies.rs what it may use"));
            continue;
        };
        let allowed = closure(rule, &rules);
        found.extend(
            used.iter().filter(|used| !allowed.contains(*used)).map(|used| format!("{name} must not use {used}")),
        );
    }
    for (name, library) in
        PURE.iter().flat_map(|(name, libraries)| libraries.iter().map(move |library| (name, library)))
    {
        // The tree is resolved for this crate alone: in the whole workspace, features of other crates would count.
        let tree = std::process::Command::new("cargo")
            .args(["tree", "-p", name, "-e", "normal", "--prefix", "none", "--offline", "--manifest-path"])
            .arg(metadata.workspace_root.join("Cargo.toml"))
            .output()?;
        anyhow::ensure!(tree.status.success(), "cargo tree -p {name}: {}", String::from_utf8_lossy(&tree.stderr));
        let reaches = String::from_utf8(tree.stdout)?.lines().any(|line| line.split(' ').next() == Some(library));
        if reaches {
            found.push(format!("{name} must not reach {library}"));
        }
    }
    Ok(found)
}

fn closure<'a>(direct: &[&'a str], rules: &BTreeMap<&'a str, &[&'a str]>) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::new();
    let mut next: Vec<&str> = direct.to_vec();
    while let Some(name) = next.pop() {
        if all.insert(name) {
            next.extend(rules.get(name).copied().unwrap_or_default());
        }
    }
    all
}
