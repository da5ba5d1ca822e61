//! The request of a release.

use flow::PlanFailure;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vocabulary::{AppKey, ContentHash};

/// The request: which revision of which Application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReleaseSpec {
    /// Namespace and name of the Application, as `shop/web`.
    application: String,
    /// The wanted revision of the Application.
    revision: String,
}

impl ReleaseSpec {
    /// Parses a request.
    pub(super) fn parse(spec: &Value) -> Result<Self, PlanFailure> {
        let parsed: Self =
            serde_json::from_value(spec.clone()).map_err(|error| PlanFailure::invalid("/spec", error.to_string()))?;
        parsed.key()?;
        parsed.revision()?;
        Ok(parsed)
    }

    pub(super) fn key(&self) -> Result<AppKey, PlanFailure> {
        let parts = self.application.split_once('/');
        let named = parts.filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'));
        let (namespace, name) = named.ok_or_else(|| {
            PlanFailure::invalid("/spec/application", "it is namespace and name of an Application, as shop/web")
        })?;
        Ok(AppKey { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    pub(super) fn revision(&self) -> Result<ContentHash, PlanFailure> {
        self.revision.parse().map_err(|error: vocabulary::ContentHashError| {
            PlanFailure::invalid("/spec/revision", format!("{error}; `meridian app status NAME -n NAMESPACE` shows it"))
        })
    }
}

/// Returns the subject of all releases of an Application.
pub fn subject_of(app: &AppKey) -> String {
    format!("application {app}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn release_names_an_application_and_a_revision() {
        let revision = ContentHash::of(b"web").to_string();
        for (case, spec, expected) in [
            ("complete", json!({"application": "shop/web", "revision": revision}), Ok("shop/web")),
            ("no revision", json!({"application": "shop/web"}), Err("/spec: missing field `revision`")),
            ("no namespace", json!({"application": "web", "revision": revision}), Err("/spec/application: it is")),
            ("empty name", json!({"application": "shop/", "revision": revision}), Err("/spec/application: it is")),
            ("two slashes", json!({"application": "a/b/c", "revision": revision}), Err("/spec/application: it is")),
            (
                "no hash",
                json!({"application": "shop/web", "revision": "v2"}),
                Err("/spec/revision: \"v2\" is not a hash"),
            ),
            (
                "unknown field",
                json!({"application": "shop/web", "revision": revision, "force": true}),
                Err("/spec: unknown"),
            ),
        ] {
            match (ReleaseSpec::parse(&spec).map(|spec| spec.application), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{case}"),
                (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected), "{case}: {error}"),
                (found, expected) => panic!("{case}: expected {expected:?}, found {found:?}"),
            }
        }
    }
}
