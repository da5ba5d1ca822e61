//! `meridian login`, `meridian logout` and `meridian whoami`.

use std::io::{IsTerminal, Read};

use rest::{RoleView, WhoAmI};

use super::session::{self, Session};
use super::{client, connect, read_file, read_token, token_of_environment};
use crate::args::{LoginArgs, WhoamiArgs};
use crate::failure::Failure;
use crate::output::{self, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Runs `meridian login`: stores server and token once the server has accepted them.
pub(crate) async fn login(args: &LoginArgs, progress: Progress) -> Result<(), Failure> {
    let path = session::path()?;
    let session = Session {
        server: args.url.clone(),
        token: token(args)?,
        ca: args.ca.as_deref().map(read_file).transpose()?,
        insecure: args.insecure,
    };
    let client = client(&session)?;
    let whoami = client.whoami().await.map_err(|error| Failure::server(&client.server(), &error))?;
    session::store(&path, &Session { server: client.server(), ..session })?;
    progress.done(format!("logged in to {} as {}; stored in {}", client.server(), whoami.subject, path.display()));
    Ok(())
}

fn token(args: &LoginArgs) -> Result<String, Failure> {
    if let Some(path) = &args.token_file {
        return read_token(path);
    }
    if args.token_stdin {
        let mut input = std::io::stdin();
        if input.is_terminal() {
            return Err(Failure::Usage(
                "standard input is a terminal, which would show the token; redirect a file".into(),
            ));
        }
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
        return match text.trim() {
            "" => Err(Failure::Usage("standard input: no token".to_owned())),
            token => Ok(token.to_owned()),
        };
    }
    token_of_environment()
        .ok_or_else(|| Failure::Usage("no token; give --token-file FILE, --token-stdin or MERIDIAN_TOKEN".to_owned()))
}

/// Runs `meridian logout`.
pub(crate) fn logout(progress: Progress) -> Result<(), Failure> {
    let path = session::path()?;
    if session::delete(&path)? {
        progress.done(format!("deleted {}; the token itself is valid until it expires or is revoked", path.display()));
    } else {
        progress.done(format!("no login is stored in {}", path.display()));
    }
    Ok(())
}

/// Runs `meridian whoami`.
pub(crate) async fn whoami(args: &WhoamiArgs) -> Result<(), Failure> {
    let client = connect(&args.server)?;
    let whoami = client.whoami().await.map_err(|error| Failure::server(&client.server(), &error))?;
    let text = structured(args.output.output, &whoami)?;
    emit(&text.unwrap_or_else(|| table(&client.server(), &whoami)))
}

fn table(server: &str, whoami: &WhoAmI) -> String {
    output::fields(&[
        ("Server", server.to_owned()),
        ("Subject", whoami.subject.clone()),
        ("Groups", output::or_dash(Some(&whoami.groups.join(", ")))),
        ("Roles", output::or_dash(Some(&whoami.roles.iter().map(role_text).collect::<Vec<_>>().join(", ")))),
        ("Limited", output::or_dash(Some(&whoami.scopes.join(", ")))),
        ("Rights", output::or_dash(Some(&whoami.rights.join(", ")))),
    ])
}

fn role_text(role: &RoleView) -> String {
    match &role.namespace {
        Some(namespace) => format!("{} in {namespace}", role.role),
        None => role.role.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_shown_with_roles_and_rights() {
        let role = |role: &str, namespace: Option<&str>| RoleView {
            role: role.to_owned(),
            namespace: namespace.map(str::to_owned),
        };
        let whoami = WhoAmI {
            subject: "person/ada".to_owned(),
            kind: "person".to_owned(),
            name: "ada".to_owned(),
            groups: vec![],
            scopes: vec![],
            roles: vec![role("operator", None), role("viewer", Some("shop"))],
            rights: vec!["get".to_owned(), "pause".to_owned()],
        };
        let expected = "Server:   https://m.example\nSubject:  person/ada\nGroups:   -\n\
            Roles:    operator, viewer in shop\nLimited:  -\nRights:   get, pause\n";
        assert_eq!(table("https://m.example", &whoami), expected);
    }
}
