//! Access to the API: subjects, their roles and rights, and the tokens by which the server recognizes them.
//!
//! Order of a request: [`Access::authenticate`] finds the subject of a bearer token, [`Access::authorize`] checks one
//! right of it. Rights come from roles alone, roles from bindings in the database. What a role gives is the table in
//! `role`.

mod authenticate;
mod authorize;
mod right;
mod role;
mod service_account;
mod subject;
mod token;

pub use authenticate::{Access, Unauthenticated};
pub use authorize::{Bindings, Denied, authorize};
pub use right::Right;
pub use role::Role;
pub use service_account::AUDIENCE;
pub use subject::{Subject, SubjectKind};
pub use token::{ParsedToken, TokenText};
