//! Rights of our identity in a member, and what its policies refuse.

use super::*;

#[tokio::test]
async fn rights_are_exactly_the_profiles_and_the_token_renews_itself() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    let kinds = member.discover().await.unwrap();
    let access = member.permissions(&kinds).await.unwrap();
    let deliverable: Vec<&str> = access.iter().filter(|a| a.deliverable()).map(|a| a.kind.plural.as_str()).collect();
    for kind in install::deliverable_kinds() {
        assert!(kinds.iter().any(|k| k.plural == kind.plural && k.version == kind.version));
        assert!(deliverable.contains(&kind.plural.as_str()), "{}", kind.plural);
    }
    for plural in ["validatingadmissionpolicies", "clusterroles", "roles", "nodes", "pods", "customresourcedefinitions"]
    {
        assert!(!deliverable.contains(&plural), "{plural}");
    }
    let nodes = access.iter().find(|a| a.kind.plural == "nodes").unwrap();
    assert_eq!(nodes.allowed, ["get", "list", "watch"]);
    assert_eq!(nodes.missing(), ["create", "patch", "delete"]);

    let issued = member.request_token(Duration::from_hours(1)).await.unwrap();
    assert!(issued.expires_at > jiff::Timestamp::now());
    member.set_token(&SecretString::from("rubbish")).unwrap();
    let refused = member.get(&config_maps(), "default", "x").await;
    let Err(error @ MemberError::Unauthorized { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("update-credential"));
    member.set_token(&issued.token).unwrap();
    assert_eq!(member.kube_system_uid().await.unwrap(), install::kube_system_uid(&plane.client().await).await.unwrap());
    assert!(!format!("{member:?} {issued:?}").contains(issued.token.expose_secret()));

    let version = member.version().await.unwrap();
    assert!(version.supported(), "{version:?}");
    let identity = member.probe().await.unwrap();
    assert_eq!(identity.uid, member.kube_system_uid().await.unwrap());
    assert!(identity.revision > Some(0), "{identity:?}");
    member.probe_watch().await.unwrap();
    let policy = ApiKind::cluster_scoped(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
    );
    let forbidden = member.delete(&policy, "", install::POLICY_NAME, &Preconditions::default()).await;
    assert!(matches!(forbidden, Err(MemberError::Forbidden { .. })), "{forbidden:?}");
}

/// Asserts a refusal by the policy that confines our identity, with this text.
fn confined<T: std::fmt::Debug>(result: Result<T, MemberError>, says: &str) {
    match result {
        Err(MemberError::Forbidden { message }) => {
            assert!(message.contains(install::CONFINE_POLICY_NAME) && message.contains(says), "{message}");
        }
        other => panic!("expected a refusal by the policy on our identity saying {says:?}, got {other:?}"),
    }
}

#[tokio::test]
async fn our_identity_writes_managed_objects_in_open_namespaces_alone() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    let labelled = BTreeMap::from([(format!("{}enforce", labels::POD_SECURITY), "baseline".to_owned())]);
    member.ensure_namespace("confined", &labelled).await.unwrap();
    let made = plane.admin("GET", "/api/v1/namespaces/confined", &json!(null)).await.unwrap();
    assert_eq!(made["metadata"]["labels"][format!("{}enforce", labels::POD_SECURITY)], "baseline");

    // Objects in foreign namespaces are refused, regardless of their labels.
    for namespace in ["kube-system", "meridian-system"] {
        confined(apply(&member, namespace, "c", 1, "x").await, &format!("nothing in namespace {namespace}"));
    }
    for namespace in ["kube-more", "meridian-more"] {
        confined(member.ensure_namespace(namespace, &BTreeMap::new()).await, namespace);
    }
    // Objects of join are refused, first of all our own account.
    let accounts = ApiKind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    let own = member.delete(&accounts, "meridian-system", "meridian", &Preconditions::default()).await;
    confined(own, "nothing in namespace meridian-system");
    let record = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": install::INSTALLATION}, "data": {"profiles": "all"}});
    let force = ApplyOptions { force: true, ..PLAIN };
    confined(
        member.apply(&config_maps(), "meridian-system", install::INSTALLATION, &record, force).await,
        "nothing in",
    );
    // Our identity has no right at all on the namespace's labels.
    let namespaces = ApiKind::cluster_scoped("", "v1", "Namespace", "namespaces");
    let opened =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "confined", "labels": {"a": "b"}}});
    let relabelled = member.apply(&namespaces, "", "confined", &opened, force).await;
    assert!(matches!(relabelled, Err(MemberError::Forbidden { .. })), "{relabelled:?}");

    // Objects that are not managed are neither created, nor changed, nor deleted.
    let mut bare = delivered("bare", 1, "x");
    bare["metadata"]["labels"] = json!({});
    confined(member.apply(&config_maps(), "confined", "bare", &bare, PLAIN).await, "only objects with the label");
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}});
    plane.admin("POST", "/api/v1/namespaces/confined/configmaps", &foreign).await.unwrap();
    confined(member.delete(&config_maps(), "confined", "foreign", &Preconditions::default()).await, "only objects");

    // Managed objects are created, taken over, stamped and deleted. Our own token is renewed.
    apply(&member, "confined", "c", 1, "x").await.unwrap();
    let object = delivered("foreign", 1, "taken over");
    let taken = member.apply(&config_maps(), "confined", "foreign", &object, force).await.unwrap();
    let uid = taken["metadata"]["uid"].as_str().unwrap().to_owned();
    member.remove(&config_maps(), "confined", "foreign", fence(2), &uid).await.unwrap();
    member.request_token(Duration::from_hours(1)).await.unwrap();
    member.permissions(&install::deliverable_kinds()).await.unwrap();
}

#[tokio::test]
async fn the_members_own_controllers_are_not_hindered() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("kcm", &BTreeMap::new()).await.unwrap();
    let kinds = install::deliverable_kinds();
    let kind = |plural: &str| kinds.iter().find(|kind| kind.plural == plural).unwrap();
    let pod = json!({"metadata": {"labels": {"app": "t"}}, "spec": {"containers": [{"name": "t", "image": "t"}]}});
    let mut deployment = delivered("t", 5, "");
    deployment["apiVersion"] = "apps/v1".into();
    deployment["kind"] = "Deployment".into();
    deployment["spec"] = json!({"replicas": 1, "selector": {"matchLabels": {"app": "t"}}, "template": pod});
    let mut service = delivered("t", 5, "");
    service["kind"] = "Service".into();
    service["spec"] = json!({"selector": {"app": "t"}, "ports": [{"port": 80}]});
    for (object, plural) in [(&mut deployment, "deployments"), (&mut service, "services")] {
        object.as_object_mut().unwrap().remove("data");
        member.apply(kind(plural), "kcm", "t", object, PLAIN).await.unwrap();
    }

    // The controller writes status and the revision annotation on the Deployment. Our annotations are copied to a
    // ReplicaSet, and our labels from the Service to an EndpointSlice.
    let sets = plane.eventually("/apis/apps/v1/namespaces/kcm/replicasets", has_items).await;
    assert_eq!(sets["items"][0]["metadata"]["annotations"][labels::FENCE], json!(fence(5)));
    let slices = "/apis/discovery.k8s.io/v1/namespaces/kcm/endpointslices";
    let slices = plane.eventually(slices, has_items).await;
    assert_eq!(slices["items"][0]["metadata"]["labels"][labels::MANAGED], "true");
    let path = "/apis/apps/v1/namespaces/kcm/deployments/t";
    let observed = |object: &Value| object["status"]["observedGeneration"] == 1 && object["status"]["replicas"] == 1;
    plane.eventually(path, observed).await;

    let scale = json!({"spec": {"replicas": 2}});
    plane.admin("PATCH", &format!("{path}/scale"), &scale).await.unwrap();
    let status = json!({"metadata": {"annotations": {labels::FENCE: fence(9)}}});
    let sneaked = plane.admin("PATCH", &format!("{path}/status"), &status).await;
    assert!(sneaked.unwrap_err().contains("only Meridian changes"));

    let uid = member.get(kind("deployments"), "kcm", "t").await.unwrap()["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap();
    fence_refused(member.remove(kind("deployments"), "kcm", "t", fence(4), uid).await, "stale stamp");
    let another = member.remove(kind("deployments"), "kcm", "t", fence(5), "another").await;
    assert!(matches!(another, Err(MemberError::Conflict { .. })), "{another:?}");
    member.remove(kind("deployments"), "kcm", "t", fence(5), uid).await.unwrap();
    member.remove(kind("deployments"), "kcm", "t", fence(5), uid).await.unwrap();
    let empty = |list: &Value| !has_items(list);
    plane.eventually("/apis/apps/v1/namespaces/kcm/replicasets", empty).await;
}

fn has_items(list: &Value) -> bool {
    list["items"].as_array().is_some_and(|items| !items.is_empty())
}
