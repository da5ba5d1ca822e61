//! Commands that manage tokens and roles in the database, without a server.

use access::{Role, SubjectKind, TokenText};
use anyhow::{Context, bail};
use jiff::Timestamp;
use store::{AuditChain, AuditEntry, NewApiToken, NewRoleBinding, Store};

use crate::args::{CreateToken, Database, NamedSubject, RoleCommand, Token};

/// Actor of changes that were made with the database's URL alone.
const ACTOR: &str = "database";

/// Runs a command about tokens.
pub(crate) async fn token(command: Token) -> anyhow::Result<()> {
    match command {
        Token::Create(create) => create_token(create).await,
        Token::List(database) => list_tokens(&open(&database).await?).await,
        Token::Revoke { database, id } => {
            let store = open(&database).await?;
            if !store.api_token_revoke(id, ACTOR).await? {
                bail!("there is no valid token {id}; `token list` shows all");
            }
            audit(&store, "token revoke", &format!("token {id}")).await
        }
    }
}

/// Runs a command about roles.
pub(crate) async fn role(command: RoleCommand) -> anyhow::Result<()> {
    match command {
        RoleCommand::Bind { database, subject, role, namespace } => {
            let store = open(&database).await?;
            let binding = binding(&subject, role, namespace);
            store.role_binding_insert(&binding).await?;
            audit(&store, "role bind", &format!("{} gets {}", describe(&subject), place(&binding))).await
        }
        RoleCommand::List(database) => {
            for row in open(&database).await?.role_binding_list().await? {
                let namespace = row.namespace.as_deref().unwrap_or("*");
                println!("{}  {}/{}  {}  {namespace}", row.id, row.subject_kind, row.subject, row.role);
            }
            Ok(())
        }
        RoleCommand::Unbind { database, id } => {
            let store = open(&database).await?;
            if !store.role_binding_delete(id).await? {
                bail!("there is no binding {id}; `role list` shows all");
            }
            audit(&store, "role unbind", &format!("binding {id}")).await
        }
    }
}

async fn create_token(create: CreateToken) -> anyhow::Result<()> {
    let store = open(&create.database).await?;
    let subject =
        create.subject.unwrap_or_else(|| NamedSubject { kind: SubjectKind::Token, name: create.name.clone() });
    if create.name.trim().is_empty() || subject.name.contains('\0') {
        bail!("the token needs a name");
    }
    let token = TokenText::generate();
    let new = NewApiToken {
        id: token.id,
        name: create.name,
        subject_kind: subject.kind.as_str().to_owned(),
        subject: subject.name.clone(),
        secret_hash: token.secret_hash,
        scopes: create.scope.iter().map(|scope| scope.as_str().to_owned()).collect(),
        expires_at: Timestamp::now() + create.expires,
        created_by: ACTOR.to_owned(),
    };
    let binding = create.role.map(|role| binding(&subject, role, create.namespace));
    store.api_token_insert(&new, binding.as_ref()).await?;
    let role = binding.as_ref().map_or_else(|| "no new role".to_owned(), place);
    audit(&store, "token create", &format!("token {} of {}, {role}", new.id, describe(&subject))).await?;
    tracing::info!(id = %new.id, subject = describe(&subject), expires = %new.expires_at, "token created");
    println!("{}", token.text);
    Ok(())
}

async fn list_tokens(store: &Store) -> anyhow::Result<()> {
    let now = Timestamp::now();
    for row in store.api_token_list().await? {
        let state = match row.revoked_at {
            Some(at) => format!("revoked {at}"),
            None if row.expires_at <= now => format!("expired {}", row.expires_at),
            None => format!("expires {}", row.expires_at),
        };
        println!("{}  {}  {}/{}  {state}", row.id, row.name, row.subject_kind, row.subject);
    }
    Ok(())
}

async fn open(database: &Database) -> anyhow::Result<Store> {
    let store = Store::open(&database.database_url, 1)?;
    store.check().await?;
    Ok(store)
}

fn binding(subject: &NamedSubject, role: Role, namespace: Option<String>) -> NewRoleBinding {
    NewRoleBinding {
        subject_kind: subject.kind.as_str().to_owned(),
        subject: subject.name.clone(),
        role: role.as_str().to_owned(),
        namespace,
        created_by: ACTOR.to_owned(),
    }
}

fn describe(subject: &NamedSubject) -> String {
    format!("{}/{}", subject.kind.as_str(), subject.name)
}

fn place(binding: &NewRoleBinding) -> String {
    let place =
        binding.namespace.as_ref().map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
    format!("role {} in {place}", binding.role)
}

/// Writes a row of the audit for a command.
async fn audit(store: &Store, command: &str, reason: &str) -> anyhow::Result<()> {
    let entry = AuditEntry {
        at: Timestamp::now(),
        actor: ACTOR.to_owned(),
        method: "COMMAND".to_owned(),
        path: command.to_owned(),
        operation: None,
        status: 200,
        reason: reason.to_owned(),
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    store.audit_append(&AuditChain::default(), &entry).await.context("writing the audit; the change itself was made")
}
