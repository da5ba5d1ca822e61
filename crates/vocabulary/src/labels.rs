//! Label, annotation and finalizer keys: one constant each, so that a rename is complete.

/// Prefix of every key of Meridian; reserved in templates.
pub const PREFIX: &str = "fleet.meridian.io/";

/// Label on every delivered top-level object (never on pods), which the policies in members match.
pub const MANAGED: &str = "fleet.meridian.io/managed";
/// Label: name of the Application that owns the object. Its namespace is the object's own.
pub const APP: &str = "fleet.meridian.io/app";
/// Label: name of the component within the Application.
pub const COMPONENT: &str = "fleet.meridian.io/component";
/// Label: cell in which the object was placed; also on pods where two cells share a cluster.
pub const CELL: &str = "fleet.meridian.io/cell";

/// Label on the gray workload of a release and on its pods; its value is `gray`.
pub const SLOT: &str = "fleet.meridian.io/slot";

/// Annotation: the fence, see [`crate::Fence`].
pub const FENCE: &str = "fleet.meridian.io/fence";
/// Annotation: set to the fence value in the write that precedes a delete.
pub const DELETE_FENCE: &str = "fleet.meridian.io/delete-fence";
/// Annotation: the installation of Meridian that delivered an object, or to which a member belongs.
pub const INSTALLATION: &str = "fleet.meridian.io/installation";
/// Annotation on an object that was let go: `<installation>/<name>` of its former Application.
///
/// When that Application wants the object again, it takes the object back without being asked to adopt.
pub const RELEASED: &str = "fleet.meridian.io/released";
/// Node selector that no node matches, set on each `DaemonSet` of a suspended Application.
pub const SUSPENDED: &str = "fleet.meridian.io/suspended";
/// Label on a pod in `meridian-system` of a member that reserves room for a migration.
pub const PLACEHOLDER: &str = "fleet.meridian.io/placeholder";
/// Prefix of the pod-security labels.
///
/// A namespace that Meridian creates in a member has those of the hub's namespace.
pub const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// Derived topology label: region of a cell.
pub const REGION: &str = "fleet.meridian.io/region";
/// Derived topology label: zone of a cell.
pub const ZONE: &str = "fleet.meridian.io/zone";
/// Derived topology label: cluster of a cell.
pub const CLUSTER: &str = "fleet.meridian.io/cluster";
/// Derived topology label: unit (logical zone) of a cell.
pub const UNIT: &str = "fleet.meridian.io/unit";
/// Derived topology label: kind of the unit, `R`, `G` or `C`.
pub const UNIT_KIND: &str = "fleet.meridian.io/unit-kind";
/// Derived topology label: half of a pair, `A` or `B`.
pub const PAIR: &str = "fleet.meridian.io/pair";

/// Labels computed from spec. A user's label with such a key is ignored and reported.
pub const DERIVED: [&str; 7] = [REGION, ZONE, CLUSTER, CELL, UNIT, UNIT_KIND, PAIR];

/// Finalizer on Applications and Clusters on the hub.
pub const FINALIZER: &str = "fleet.meridian.io/release";

/// Label on a `ClusterRole` in a member whose rules are added to Meridian's rights to deploy there.
pub const AGGREGATE_TO_DEPLOY: &str = "fleet.meridian.io/aggregate-to-deploy";

/// Annotation on an Application: hash of the delete plan a person confirms.
pub const CONFIRM_DELETE: &str = "fleet.meridian.io/confirm-delete";
/// Annotation on a Cluster: its `spec.uid`, by which a person declares the member gone for good.
///
/// When the Cluster is deleted, its placements are forgotten instead of released, as long as the member does not
/// answer.
pub const GONE: &str = "fleet.meridian.io/gone";
/// Annotation on an Application, Cluster or Cell that is an earlier state of the stored one.
///
/// Its value is the hash of exactly that step back, by which a person accepts the step once.
pub const ACCEPT_INTENT: &str = "fleet.meridian.io/accept-intent";
/// Annotation on an Application: hash of the rebalance plan a person asks for.
pub const REBALANCE: &str = "fleet.meridian.io/rebalance";
/// Annotation on a Cluster: UID of the member cluster that may take over the name.
///
/// The UID is that of the member's kube-system namespace.
pub const REPLACE: &str = "fleet.meridian.io/replace";
/// Annotation on a Cluster: its own UID, by which a person allows deleting workloads with it.
pub const DELETE_WORKLOADS: &str = "fleet.meridian.io/delete-workloads";
/// Label on a Cell that represents one zone of a Cluster with `cellPerZone`: the cluster's name.
///
/// An owner reference would be wrong here. After a restore, or the loss of the kind Cluster, the hub's garbage
/// collector would delete Cells whose Clusters are the same as before.
pub const CELL_PER_ZONE: &str = "fleet.meridian.io/cell-per-zone";
/// Label on the Secret that hands a member credential over to the hub: the cluster's name.
pub const CREDENTIAL_FOR: &str = "fleet.meridian.io/credential-for";

/// Kubernetes' own node label for the zone.
pub const NODE_ZONE: &str = "topology.kubernetes.io/zone";
