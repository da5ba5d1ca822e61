//! Reads writes from an API server's audit log, starting at a position in the log.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use testbed::Plane;

/// A position in the audit log of one API server.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    path: PathBuf,
    offset: u64,
}

/// One successful write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) user: String,
    /// Verb and resource, such as `patch applications/status`.
    pub(crate) what: String,
    pub(crate) at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Option<Reference>,
    #[serde(default)]
    response_status: Option<Status>,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl Mark {
    /// Returns the present end of the log.
    pub(crate) fn now(plane: &Plane) -> Self {
        let path = plane.folder().join("audit.log");
        let offset = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Self { path, offset }
    }

    /// Returns the successful writes since this position that may have changed something.
    pub(crate) fn writes(&self) -> anyhow::Result<Vec<Write>> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()).filter_map(write).collect())
    }

    /// Counts the writes of matching users since this position, by verb and resource.
    pub(crate) fn by_kind(&self, is_user: impl Fn(&str) -> bool) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for write in self.writes()?.into_iter().filter(|write| is_user(&write.user)) {
            *counts.entry(write.what).or_insert(0) += 1;
        }
        Ok(counts)
    }
}

fn write(line: Line) -> Option<Write> {
    let writes = matches!(line.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
    if !writes || line.response_status?.code >= 300 {
        return None;
    }
    let reference = line.object_ref?;
    let resource = match reference.subresource {
        Some(subresource) => format!("{}/{subresource}", reference.resource),
        None => reference.resource,
    };
    // These requests are queries, not changes.
    if resource == "serviceaccounts/token" || resource.starts_with("selfsubject") {
        return None;
    }
    Some(Write { user: line.user.username, what: format!("{} {resource}", line.verb), at: line.stage_timestamp })
}

/// Returns true for the operator's user on the hub of a test bed.
pub(crate) fn is_operator(user: &str) -> bool {
    user == "admin"
}

/// Returns true for Meridian's service accounts in a member.
pub(crate) fn is_ours(user: &str) -> bool {
    user.starts_with("system:serviceaccount:meridian-system:")
}
