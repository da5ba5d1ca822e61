//! The server of the API, as the user logged in to it.

mod login;
mod session;

pub(crate) use login::{login, logout, whoami};

use std::path::Path;
use std::time::Duration;

use rest::{Client, ClientConfig};
use vocabulary::chain;

use crate::args::ServerFlags;
use crate::failure::Failure;
use session::{Given, Session};

/// Timeout for one request to the server, over all its attempts. A fail-over of the database takes less.
const DEADLINE: Duration = Duration::from_secs(30);

/// Builds a client for the server of the flags, the environment, or the last login. Sends no request.
pub(crate) fn connect(flags: &ServerFlags) -> Result<Client, Failure> {
    let given = Given {
        server: flags.server.clone().filter(|server| !server.is_empty()),
        token: match &flags.token_file {
            Some(path) => Some(read_token(path)?),
            None => token_of_environment(),
        },
        ca: flags.ca.as_deref().map(read_file).transpose()?,
        insecure: flags.insecure,
    };
    client(&session::resolve(session::load()?, given)?)
}

/// Builds a client for a session.
fn client(session: &Session) -> Result<Client, Failure> {
    let config = ClientConfig {
        server: session.server.clone(),
        token: Some(session.token.clone().into()),
        ca: session.ca.clone(),
        deadline: DEADLINE,
        allow_plaintext: session.insecure,
    };
    Client::new(&config).map_err(|error| Failure::Usage(chain(&error)))
}

/// Returns the token of the environment, unless it is empty.
fn token_of_environment() -> Option<String> {
    std::env::var("MERIDIAN_TOKEN").ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Reads a token from a file.
fn read_token(path: &Path) -> Result<String, Failure> {
    let token = read_file(path)?.trim().to_owned();
    if token.is_empty() { Err(Failure::Usage(format!("{}: the file is empty", path.display()))) } else { Ok(token) }
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}
