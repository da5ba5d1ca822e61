//! Applications as users write them, processed by intake's own functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::ApplicationSpec;
use crds::application::release::Release;
use domain::intent::Intent;
use domain::placement;
use domain::render;
use domain::stored_revision::{RevisionBody, StoredRevision};
use serde_json::{Value, json};
use store::ApplicationTaken;
use vocabulary::{AppKey, hash_json};

use super::edits::{AppEdit, Multiply, Side};

/// Names of components and objects. Two applications sometimes want the same name.
const NAMES: [&str; 3] = ["web", "api", "srv"];
/// Kinds of the main workload. A `Widget` is a custom kind of the members.
pub(super) const KINDS: [(&str, &str); 6] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("example.io/v1alpha1", "Widget"),
    ("example.io/v1", "Widget"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
];

/// An Application as its owner last wrote it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the spec")]
pub(super) struct Written {
    pub(super) key: AppKey,
    uid: u32,
    generation: i64,
    component: usize,
    object: usize,
    multiply: Multiply,
    kind: usize,
    pub(super) replicas: i32,
    own: Option<i32>,
    content: u8,
    sides: Vec<(Side, u32, u8)>,
    next_side: u32,
    pub(super) suspended: bool,
    select: u8,
    max: Option<i32>,
    by_zone: bool,
    reschedule: bool,
    adopt: bool,
    pub(super) by_release: bool,
}

impl Written {
    pub(super) fn new(name: &str, uid: u32) -> Self {
        Self {
            key: AppKey { namespace: "shop".to_owned(), name: name.to_owned() },
            uid,
            generation: 0,
            component: 0,
            object: 0,
            multiply: Multiply::Divided,
            kind: 0,
            replicas: 6,
            own: None,
            content: 0,
            sides: vec![(Side::ConfigMap, 0, 0)],
            next_side: 1,
            suspended: false,
            select: 15,
            max: None,
            by_zone: false,
            reschedule: false,
            adopt: false,
            by_release: false,
        }
    }

    pub(super) fn component_name(&self) -> &'static str {
        NAMES[self.component]
    }

    pub(super) fn is_divided(&self) -> bool {
        self.multiply == Multiply::Divided
    }

    /// Whether the main workload continues that of `before`, so that its promise stays valid.
    ///
    /// A `DaemonSet` must keep the name of its object.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let is_daemon = |written: &Self| KINDS[written.kind].1 == "DaemonSet";
        let is_replaced = match (is_daemon(self), is_daemon(before)) {
            // A renamed `DaemonSet` is deleted first: two of them may want the same ports of a node.
            (true, true) => self.object == before.object,
            _ => true,
        };
        self.uid == before.uid && is_replaced
    }

    /// Whether a `StatefulSet` of the name is declared.
    pub(super) fn declares_set(&self, name: &str) -> bool {
        let named = |(side, number, _): &(Side, u32, u8)| {
            *side == Side::StatefulSet && name.starts_with(&side_name(*side, *number))
        };
        self.sides.iter().any(named)
    }

    /// Returns the Application after an edit.
    pub(super) fn edited(&self, edit: &AppEdit) -> Self {
        let mut new = self.clone();
        let side = |nth: usize| (!self.sides.is_empty()).then(|| nth % self.sides.len());
        match edit {
            AppEdit::Create | AppEdit::Delete => {}
            AppEdit::RenameComponent(name) => new.component = *name,
            AppEdit::RenameObject(name) => new.object = *name,
            AppEdit::RenameBoth(name) => (new.component, new.object) = (*name, *name),
            AppEdit::Multiply(multiply) => new.multiply = *multiply,
            AppEdit::Kind(kind) => new.kind = *kind,
            AppEdit::Replicas(replicas) => new.replicas = *replicas,
            AppEdit::OwnReplicas(own) => new.own = *own,
            AppEdit::Content(content) => new.content = *content,
            AppEdit::ContentOfSide(nth) => {
                if let Some(nth) = side(*nth) {
                    new.sides[nth].2 ^= 1;
                }
            }
            AppEdit::Add(side) => {
                if new.sides.len() < 4 {
                    new.sides.push((*side, new.next_side, 0));
                    new.next_side += 1;
                }
            }
            AppEdit::Remove(nth) => {
                side(*nth).map(|nth| new.sides.remove(nth));
            }
            AppEdit::RenameSide(nth) => {
                if let Some(nth) = side(*nth) {
                    new.sides[nth].1 = new.next_side;
                    new.next_side += 1;
                }
            }
            AppEdit::Suspend(suspended) => new.suspended = *suspended,
            AppEdit::Select(mask) => new.select = *mask,
            AppEdit::MaxPerCluster(max) => new.max = *max,
            AppEdit::SpreadByZone(by_zone) => new.by_zone = *by_zone,
            AppEdit::Reschedule(reschedule) => new.reschedule = *reschedule,
            AppEdit::AdoptAlways(adopt) => new.adopt = *adopt,
            AppEdit::ByRelease(by) => new.by_release = *by,
        }
        new
    }

    fn spec(&self) -> ApplicationSpec {
        let (api_version, kind) = KINDS[self.kind];
        let pod = json!({
            "metadata": {"labels": {"app": self.key.name}},
            "spec": {"containers": [{"name": "main", "image": format!("web:{}", self.content),
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]},
        });
        let mut spec = json!({"selector": {"matchLabels": {"app": self.key.name}}, "template": pod});
        if !self.is_divided()
            && kind != "DaemonSet"
            && let Some(own) = self.own
        {
            spec["replicas"] = json!(own);
        }
        let scope = match self.multiply {
            Multiply::Divided => "Divided",
            Multiply::PerCell => "PerCell",
            Multiply::PerCluster => "PerCluster",
        };
        let mut components = vec![json!({"name": NAMES[self.component], "scope": scope, "template": {
            "apiVersion": api_version, "kind": kind, "metadata": {"name": NAMES[self.object]}, "spec": spec}})];
        components.extend(self.sides.iter().map(|(side, number, content)| self.side(*side, *number, *content)));
        let clusters: Vec<String> = (0..4).filter(|n| self.select & (1 << n) != 0).map(super::fleet::name).collect();
        let mut placement = json!({});
        if self.select != 15 {
            placement["cells"] = json!({"matchExpressions": [
                {"key": "fleet.meridian.io/cluster", "operator": "In", "values": clusters}]});
        }
        if let Some(max) = self.max {
            placement["limits"] = json!([{"topology": "Cluster", "max": max}]);
        }
        if self.by_zone {
            placement["spread"] = json!([{"topology": "Zone", "maxSkew": 1, "whenUnsatisfiable": "BestEffort"}]);
        }
        let gold = json!({"cells": {"matchLabels": {"tier": "gold"}},
            "patches": [{"component": NAMES[self.component], "labels": {"tier": "gold"}}]});
        let mut whole = json!({
            "components": components, "overrides": [gold], "placement": placement, "suspended": self.suspended,
            "adopt": if self.adopt { "Always" } else { "Never" },
        });
        if self.is_divided() {
            whole["replicas"] = json!(self.replicas);
            if self.reschedule {
                whole["failover"] = json!({"mode": "Reschedule", "after": "5m", "duplicates": "Tolerate"});
            }
        }
        serde_json::from_value(whole).unwrap()
    }

    fn side(&self, side: Side, number: u32, content: u8) -> Value {
        let name = side_name(side, number);
        let metadata = json!({"name": name});
        let pod = json!({"metadata": {"labels": {"app": name}}, "spec": {
            "containers": [{"name": "main", "image": format!("side:{content}")}], "restartPolicy": "Always"}});
        let (scope, template) = match side {
            Side::ConfigMap => (
                json!("PerCluster"),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
                "data": {"content": content.to_string()}}),
            ),
            Side::ConfigPerCell => (
                json!("PerCell"),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
                "data": {"content": content.to_string()}}),
            ),
            Side::Service => (
                json!("PerCluster"),
                json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": {"selector": {"app": self.key.name}, "ports": [{"port": 80}]}}),
            ),
            Side::StatefulSet => (
                json!("PerCell"),
                json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
                "spec": {"replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": pod}}),
            ),
            Side::Job => {
                let mut pod = pod;
                pod["spec"]["restartPolicy"] = json!("Never");
                (
                    json!("Once"),
                    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": pod}}),
                )
            }
        };
        json!({"name": name, "scope": scope, "template": template})
    }

    /// Returns the row and revision that intake stores, or the reason for a refusal.
    pub(super) fn taken(&mut self) -> Result<(ApplicationTaken, Arc<StoredRevision>), String> {
        let spec = self.spec();
        let blueprint = render::blueprint(&self.key, &spec).map_err(|problems| format!("{problems:?}"))?;
        let placed = spec.placement.clone().unwrap_or_default();
        let replicas = spec.replicas.unwrap_or_default();
        if let Some(problem) = placement::check_spec(&placed, replicas).first() {
            return Err(format!("{problem:?}"));
        }
        self.generation += 1;
        let intent = Intent {
            replicas,
            suspended: spec.suspended,
            placement: placed,
            policy: None,
            drift: spec.drift,
            adopt: spec.adopt,
            failover_after: (self.is_divided() && self.reschedule).then_some(300),
            release: self.by_release.then(release),
            deletion_deadline: 600,
            pod_security: BTreeMap::new(),
        };
        let body = RevisionBody { components: &spec.components, overrides: &spec.overrides };
        let payload = serde_json::to_vec(&body).unwrap();
        let revision = StoredRevision::parse(&self.key, &payload)?;
        let taken = ApplicationTaken {
            key: self.key.clone(),
            hub_uid: "hub".to_owned(),
            object_uid: format!("object-{}", self.uid),
            generation: self.generation,
            spec_hash: hash_json(&spec).unwrap(),
            intent: serde_json::to_value(&intent).unwrap(),
            revision: blueprint.revision,
            payload,
            secret: false,
            divided_kind: Some("apps/v1/Deployment".to_owned()),
            rebalance_asked: None,
            delete_confirmed: None,
            accepted: false,
        };
        Ok((taken, Arc::new(revision)))
    }
}

fn side_name(side: Side, number: u32) -> String {
    let kind = match side {
        Side::ConfigMap => "conf",
        Side::ConfigPerCell => "cell-conf",
        Side::Service => "svc",
        Side::StatefulSet => "set",
        Side::Job => "job",
    };
    format!("{kind}{number}x")
}

/// Returns `spec.release` with its defaults.
fn release() -> Release {
    serde_json::from_value(json!({})).unwrap()
}

/// Applications on the hub, by their index in the list of names.
#[derive(Debug, Default)]
pub(super) struct Hub {
    pub(super) apps: BTreeMap<usize, Written>,
    created: u32,
}

impl Hub {
    pub(super) fn create(&mut self, app: usize) -> Option<Written> {
        if self.apps.contains_key(&app) {
            return None;
        }
        self.created += 1;
        Some(Written::new(["shop", "bank"][app % 2], self.created))
    }
}
