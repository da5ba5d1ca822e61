//! The stored login: server, token and CA, in a file that only the user reads.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How the server is reached. Has no `Debug`, so that no message contains the token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(PartialEq, Eq))]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// URL of the server.
    pub(super) server: String,
    /// Bearer token.
    pub(super) token: String,
    /// Certificates, as PEM, of the only CAs that are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<String>,
    /// The token may be sent in clear text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) insecure: bool,
}

/// Server and token, as flags and environment give them.
#[derive(Clone, Default)]
pub(super) struct Given {
    pub(super) server: Option<String>,
    pub(super) token: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) insecure: bool,
}

/// Combines the stored login with flags and environment.
///
/// # Guarantees
/// The stored token is sent to the server that it was stored for, and to no other.
pub(super) fn resolve(stored: Option<Session>, given: Given) -> Result<Session, Failure> {
    let stored = stored.filter(|stored| given.server.as_deref().is_none_or(|server| is_same(server, &stored.server)));
    match (stored, given) {
        (Some(stored), given) => Ok(Session {
            server: stored.server,
            token: given.token.unwrap_or(stored.token),
            ca: given.ca.or(stored.ca),
            insecure: given.insecure || stored.insecure,
        }),
        (None, Given { server: None, .. }) => {
            Err(Failure::Usage("no server is configured; run `meridian login URL` first".to_owned()))
        }
        (None, Given { token: None, server: Some(server), .. }) => Err(Failure::Usage(format!(
            "no token for {server}; run `meridian login URL` first, or give MERIDIAN_TOKEN or --token-file FILE"
        ))),
        (None, Given { server: Some(server), token: Some(token), ca, insecure }) => {
            Ok(Session { server, token, ca, insecure })
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Returns the path of the stored login: `$XDG_CONFIG_HOME/meridian/config.yaml`, or below `~/.config`.
pub(super) fn path() -> Result<PathBuf, Failure> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("meridian").join("config.yaml"))
        .ok_or_else(|| Failure::Usage("neither XDG_CONFIG_HOME nor HOME is an absolute path; set one".to_owned()))
}

/// Reads the stored login. Returns `None` if there is none.
pub(super) fn load() -> Result<Option<Session>, Failure> {
    // A pipeline without a home uses flags and environment.
    path().map_or(Ok(None), |path| load_from(&path))
}

fn load_from(path: &Path) -> Result<Option<Session>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    serde_saphyr::from_str(&text).map(Some).map_err(|_| {
        // The text of the error could contain the token.
        Failure::Usage(format!("{}: not a stored login; run `meridian login URL` again", path.display()))
    })
}

/// Stores a login, in place of another.
pub(super) fn store(path: &Path, session: &Session) -> Result<(), Failure> {
    let text = serde_saphyr::to_string(session).map_err(|error| Failure::Failed(error.to_string()))?;
    let folder = path.parent().unwrap_or(path);
    let written = (|| {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // A new file has the right mode from the beginning, whatever mode an older one has.
        let part = folder.join(format!("config.yaml.{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&part, path))
            .inspect_err(|_| drop(std::fs::remove_file(&part)))
    })();
    written.map_err(|error| failed(path, &error))
}

/// Deletes the stored login. Returns whether there was one.
pub(super) fn delete(path: &Path) -> Result<bool, Failure> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, &error)),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(server: &str, token: &str) -> Session {
        Session {
            server: server.to_owned(),
            token: token.to_owned(),
            ca: Some("stored CA".to_owned()),
            insecure: false,
        }
    }

    #[test]
    fn stored_tokens_go_to_their_own_server_only() {
        let stored = || Some(session("https://a.example", "stored"));
        let given = |server: Option<&str>, token: Option<&str>| Given {
            server: server.map(str::to_owned),
            token: token.map(str::to_owned),
            ..Given::default()
        };
        for (case, stored, given, expected) in [
            ("stored", stored(), given(None, None), Some(("https://a.example", "stored", true))),
            (
                "the same",
                stored(),
                given(Some("https://a.example/"), None),
                Some(("https://a.example", "stored", true)),
            ),
            ("other token", stored(), given(None, Some("t")), Some(("https://a.example", "t", true))),
            ("other server", stored(), given(Some("https://b.example"), None), None),
            (
                "other server and token",
                stored(),
                given(Some("https://b.example"), Some("t")),
                Some(("https://b.example", "t", false)),
            ),
            ("nothing", None, given(None, None), None),
            ("only a token", None, given(None, Some("t")), None),
            ("no login", None, given(Some("https://b.example"), Some("t")), Some(("https://b.example", "t", false))),
        ] {
            let found = resolve(stored, given);
            let found = found.as_ref().map(|it| (it.server.as_str(), it.token.as_str(), it.ca.is_some()));
            match (found, expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{case}"),
                (Err(failure), None) => {
                    assert!(failure.to_string().contains("run `meridian login URL` first"), "{case}: {failure}");
                }
                (found, expected) => panic!("{case}: expected {expected:?}, found {:?}", found.ok()),
            }
        }
    }

    #[test]
    fn stored_logins_are_read_by_the_user_alone() {
        let folder = std::env::temp_dir().join(format!("meridian-session-{}", std::process::id()));
        let path = folder.join("meridian").join("config.yaml");
        assert!(load_from(&path).is_ok_and(|found| found.is_none()));
        for token in ["first", "second: with a colon"] {
            let session = session("https://a.example", token);
            store(&path, &session).unwrap();
            assert!(load_from(&path).is_ok_and(|found| found == Some(session)), "{token}");
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        }
        std::fs::write(&path, "token: [secret").unwrap();
        let failure = load_from(&path).err().map(|failure| failure.to_string()).unwrap_or_default();
        assert!(failure.contains("meridian login URL") && !failure.contains("secret"), "{failure}");
        assert!(delete(&path).unwrap());
        assert!(!delete(&path).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
