//! Clusters that do not take a namespace, or do not let pods run as an account.

use std::collections::BTreeSet;

use crds::cluster::v1alpha1::Amounts;
use domain::placement::{Eligibility, Request, eligible_cells};
use domain::stored_topology::{StoredCluster, topology_from_rows};
use serde_json::{Value, json};
use vocabulary::{AppKey, Verdict};

fn cluster(name: &str, more: &Value) -> StoredCluster {
    let mut spec = json!({ "region": "r", "zones": ["z"], "uid": name, "connection": { "server": "https://m:6443" } });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    StoredCluster {
        name: name.to_owned(),
        labels: json!({}),
        spec,
        leaving: false,
        health: Some(Verdict::Pass),
        kinds: json!([]),
        capacity: json!([{ "name": "z", "allocatable": Amounts::default(), "requested": Amounts::default(),
            "foreign": Amounts::default(), "reserved": Amounts::default() }]),
    }
}

#[test]
fn cluster_is_rejected_for_a_denied_namespace_or_account() {
    let clusters = [
        cluster("denies", &json!({ "namespaces": { "deny": ["shop"] } })),
        cluster("lists", &json!({ "namespaces": { "allow": ["team-*"] }, "serviceAccounts": ["default", "builder"] })),
        cluster("open", &json!({})),
    ];
    let (topology, problems) = topology_from_rows(clusters.to_vec(), Vec::new());
    assert_eq!(problems, []);
    let spec = serde_json::from_value(json!({})).unwrap();
    let none = BTreeSet::new();
    for (case, namespace, account, rules) in [
        ("an ordinary one", "shop", "default", ["NamespaceDenied", "NamespaceDenied", ""]),
        ("another", "team-a", "default", ["", "", ""]),
        ("an account", "team-a", "builder", ["ServiceAccountDenied", "", "ServiceAccountDenied"]),
        ("of Kubernetes", "kube-system", "default", ["NamespaceDenied"; 3]),
        ("of Meridian", "meridian-system", "default", ["NamespaceDenied"; 3]),
    ] {
        let app = AppKey { namespace: namespace.to_owned(), name: "app".to_owned() };
        let accounts = BTreeSet::from([account.to_owned()]);
        let pod = Amounts::default();
        let request =
            Request { app: &app, replicas: 1, decided: None, spec: &spec, pod, kinds: &none, accounts: &accounts };
        let found: Vec<&str> = eligible_cells(&request, &topology, &[])
            .values()
            .map(|verdict| match verdict {
                Eligibility::Eligible => "",
                Eligibility::Rejected(rejection) => rejection.rule.as_str(),
            })
            .collect();
        assert_eq!(found, rules, "{case}");
    }
}
