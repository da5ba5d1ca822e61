//! Idempotent installation and removal of the objects that join installs.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use serde_json::Value;

use super::calls::{InstallError, address, fetch, send, title};
use super::{Installation, JOIN_MANAGER, Owner, verify};

/// Timeout for the member's API server to enforce a new policy.
const POLICY_WITHIN: Duration = Duration::from_secs(30);

/// Outcome of installing or removing one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The object did not exist and was created.
    Created,
    /// The object existed with other content and was updated.
    Updated,
    /// The object already had the right content.
    Unchanged,
    /// The object was removed.
    Removed,
    /// The object to remove did not exist.
    Absent,
}

/// Outcomes of an installation or removal, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// `Kind name` of each object, with its outcome.
    pub objects: Vec<(String, Change)>,
}

impl Report {
    /// Returns whether nothing had to be done.
    pub fn unchanged(&self) -> bool {
        self.objects.iter().all(|(_, change)| matches!(change, Change::Unchanged | Change::Absent))
    }
}

/// Applies every object of the installation and waits until the member enforces the fence policy.
///
/// Objects of profiles that are no longer granted are removed.
///
/// # Guarantees
/// - The call is idempotent.
/// - No right is granted before the policy was observed to refuse a write.
/// - A member that another installation of Meridian manages stays unchanged.
pub async fn apply(client: &Client, installation: &Installation) -> Result<Report, InstallError> {
    let version = verify::server_version(client).await?;
    if !version.supported() {
        return Err(InstallError::TooOld { found: version.git_version });
    }
    refuse_other_owner(client, installation.owner()).await?;
    let mut report = Report::default();
    let manifests = installation.manifests();
    let granted: Vec<String> = manifests.iter().map(title).collect();
    for manifest in Installation::new(&super::Profile::ALL).manifests().iter().rev() {
        if !granted.contains(&title(manifest)) {
            report.objects.push((title(manifest), remove_one(client, manifest).await?));
        }
    }
    for manifest in manifests {
        if manifest["kind"] == "Role" {
            verify::wait_in_force(client, POLICY_WITHIN).await?;
        }
        let change = apply_one(client, &manifest).await?;
        report.objects.push((title(&manifest), change));
    }
    Ok(report)
}

/// Reads the installation of Meridian that is recorded in the member.
pub async fn recorded_owner(client: &Client) -> Result<Option<Owner>, InstallError> {
    let record = fetch(client, &Installation::new(&[]).record()).await?;
    Ok(record.and_then(|record| Owner::read_from(&record["data"])))
}

/// Refuses a member that another installation of Meridian manages.
pub async fn refuse_other_owner(client: &Client, owner: &Owner) -> Result<(), InstallError> {
    match recorded_owner(client).await?.filter(|there| !there.is_same(owner)) {
        Some(there) => Err(InstallError::OtherInstallation { there: Box::new(there) }),
        None => Ok(()),
    }
}

/// Removes the objects that [`apply`] installed, rights first and policies last.
///
/// Delivered objects and their namespaces stay.
pub async fn uninstall(client: &Client) -> Result<Report, InstallError> {
    let mut manifests = Installation::new(&super::Profile::ALL).manifests();
    // Deleting the namespace deletes its content. The policies must outlive the rights.
    let last = |manifest: &Value| u8::from(manifest["kind"].as_str().is_some_and(|k| k.starts_with("Validating")));
    manifests.reverse();
    manifests.sort_by_key(last);
    let mut report = Report::default();
    for manifest in manifests {
        report.objects.push((title(&manifest), remove_one(client, &manifest).await?));
    }
    Ok(report)
}

async fn remove_one(client: &Client, manifest: &Value) -> Result<Change, InstallError> {
    let (kind, namespace, name) = address(manifest);
    let request = Request::builder().method(Method::DELETE).uri(kind.object_path(&namespace, &name)).body(Vec::new());
    match send(client, &format!("remove {}", title(manifest)), request).await {
        Ok(_) => Ok(Change::Removed),
        Err(error) if error.is_not_found() => Ok(Change::Absent),
        Err(error) => Err(error),
    }
}

async fn apply_one(client: &Client, manifest: &Value) -> Result<Change, InstallError> {
    let what = title(manifest);
    let before = fetch(client, manifest).await?;
    let (kind, namespace, name) = address(manifest);
    // Forced, because the installed objects are shared with no other manager.
    let path = format!(
        "{}?fieldManager={JOIN_MANAGER}&force=true&fieldValidation=Strict",
        kind.object_path(&namespace, &name)
    );
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(serde_json::to_vec(manifest).expect("a JSON value serialises"));
    let after = send(client, &format!("apply {what}"), request).await?;
    Ok(match before {
        None => Change::Created,
        Some(before) if declared(&before) == declared(&after) => Change::Unchanged,
        Some(_) => Change::Updated,
    })
}

/// Returns the declared part of an object, without status, `resourceVersion` and `managedFields`.
///
/// The member's own controllers write status meanwhile. So the `resourceVersion` does not show whether our apply
/// changed the object.
fn declared(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_installed_object_has_an_address() {
        let mut paths = Vec::new();
        for manifest in Installation::new(&super::super::Profile::ALL).manifests() {
            let (kind, namespace, name) = address(&manifest);
            paths.push(kind.object_path(&namespace, &name));
        }
        assert!(paths.contains(&"/api/v1/namespaces/meridian-system".to_owned()), "{paths:?}");
        let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/";
        assert!(paths.iter().any(|path| path.starts_with(policies)), "{paths:?}");
    }
}
