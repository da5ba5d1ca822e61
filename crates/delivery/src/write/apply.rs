//! Applies one object: creates it, updates our own, or adopts another owner's.

use crds::application::v1alpha1::AdoptPolicy;
use domain::render;
use jiff::Timestamp;
use members::{ApiKind, ApplyOptions, MemberError};
use serde_json::Value;
use store::{ObjectState, StatusRow};
use vocabulary::{ContentHash, Fence, labels};

use crate::decide::adoption::{Ownership, effective, ownership};
use crate::decide::failure::{ActError, outrun};
use crate::decide::list_merge::lists_to_replace;
use crate::observe::entry::Entry;
use crate::revisions::DeliveredApp;
use crate::session::Session;
use crate::write::measured::measured;

/// One object to apply, with its context.
pub(crate) struct Write<'a> {
    pub(crate) session: &'a Session,
    pub(crate) entry: &'a Entry,
    pub(crate) app: &'a DeliveredApp,
    /// Adoption policy of the component itself.
    pub(crate) own_adopt: Option<AdoptPolicy>,
    pub(crate) object: &'a Value,
    pub(crate) fence: Fence,
}

impl Write<'_> {
    /// Applies the object. `first` means that no object of ours is known to exist.
    pub(crate) async fn apply(&self, hash: ContentHash, first: bool) -> Result<StatusRow, ActError> {
        let (session, entry) = (self.session, self.entry);
        let kind = session.kind(&entry.row.object)?;
        let outcome = if first { self.create(&kind).await } else { self.put(&kind).await };
        if let Err(ActError::Member(MemberError::NotFound { .. } | MemberError::NamespaceTerminating { .. })) = &outcome
        {
            session.forget_namespace(&entry.row.object.namespace);
        }
        let stored = outcome?;
        let fields = render::our_fields(&stored);
        let status = StatusRow {
            state: ObjectState::Applied,
            message: None,
            applied_epoch: entry.row.plan_epoch,
            applied_hash: Some(hash),
            applied_revision: Some(entry.row.revision),
            fields_hash: fields.map(render::fields_hash),
            drift: Vec::new(),
            found_epoch: 0,
            changed_at: Timestamp::now(),
            ..entry.status.clone()
        };
        session.applied(entry, &stored, fields.cloned());
        session.saw(&entry.row.object.api_version, &entry.row.object.kind, &stored);
        Ok(status)
    }

    /// Creates the object, or adopts the existing one.
    async fn create(&self, kind: &ApiKind) -> Result<Value, ActError> {
        let (session, namespace) = (self.session, &self.entry.row.object.namespace);
        let pod_security = &self.app.intent.pod_security;
        session.ensure_namespace(namespace, pod_security).await?;
        let absent = ApplyOptions { force: true, absent: true, ..ApplyOptions::default() };
        // An object that was refused before is read first, because another write would most likely be refused again.
        let was_refused = self.entry.status.state == ObjectState::Refused;
        if !was_refused {
            let mut outcome = self.send(kind, absent).await;
            if let Err(error @ MemberError::NotFound { .. }) = &outcome {
                self.count_failure(error);
                // The namespace was cached as existing, and may have been deleted since.
                session.forget_namespace(namespace);
                session.ensure_namespace(namespace, pod_security).await?;
                outcome = self.send(kind, absent).await;
            }
            match outcome {
                // An object exists, or this kind of apply is not possible. The object is checked, and then applied as
                // usual if allowed.
                Err(error @ (MemberError::Conflict { .. } | MemberError::Invalid { .. })) => {
                    self.count_failure(&error);
                }
                outcome => return Ok(outcome?),
            }
        }
        let is_there = self.take_over(kind).await?;
        if was_refused && !is_there {
            match self.send(kind, absent).await {
                // This kind of apply may not be possible.
                Err(error @ MemberError::Invalid { .. }) => self.count_failure(&error),
                outcome => return Ok(outcome?),
            }
        }
        self.put(kind).await
    }

    /// Takes over the existing object before the first write, if it is ours or may be adopted.
    ///
    /// Returns whether an object exists.
    async fn take_over(&self, kind: &ApiKind) -> Result<bool, ActError> {
        let (session, key) = (self.session, &self.entry.row.object);
        let there = match session.member().get(kind, &key.namespace, &key.name).await {
            Ok(there) => there,
            Err(MemberError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut ownership = self.judge(kind, self.app.intent.adopt, &there).await?;
        if matches!(ownership, Ownership::Refused(_)) {
            // The cached intent may be older than the user's reaction to the refusal.
            let adopt = session.revisions().app_anew(self.entry.row.app).await?.intent.adopt;
            if adopt != self.app.intent.adopt {
                ownership = self.judge(kind, adopt, &there).await?;
            }
        }
        match ownership {
            Ownership::Refused(why) => return Err(ActError::Taken(why)),
            Ownership::Ours => {}
            Ownership::OursAgain => {
                tracing::info!(cluster = session.name(), object = %key, "took back an object that was ours before");
            }
            Ownership::Identical | Ownership::Taken => {
                tracing::info!(cluster = session.name(), object = %key, "took an object over")
            }
        }
        let annotation = there["metadata"]["annotations"].get(labels::FENCE).and_then(Value::as_str);
        if let Some(error) = outrun(annotation.and_then(|text| text.parse().ok()), self.fence, self.entry.was_applied())
        {
            return Err(error);
        }
        let take = session.member().take_over(kind, &key.namespace, &key.name, &there, self.object);
        measured(session, "apply", take).await?;
        Ok(true)
    }

    /// Decides whether the existing object may be adopted.
    ///
    /// Under `IfIdentical`, the fields that its client-side appliers wrote must not go beyond the Application.
    async fn judge(&self, kind: &ApiKind, adopt: AdoptPolicy, there: &Value) -> Result<Ownership, ActError> {
        let installation = self.session.installation();
        let adopt = effective(self.entry, self.own_adopt, adopt);
        let ownership = ownership(self.entry, &self.app.key.name, installation, adopt, self.object, there);
        let (Ownership::Identical, Some(theirs)) = (&ownership, members::client_side_fields(there)) else {
            return Ok(ownership);
        };
        let would = self.send(kind, ApplyOptions { force: true, dry_run: true, ..ApplyOptions::default() }).await?;
        let extra = render::extra_fields(&theirs, render::our_fields(&would));
        if extra.is_empty() {
            return Ok(ownership);
        }
        Ok(Ownership::Refused(format!(
            "{} is already there and holds what the Application does not: {}; add it or remove it there, or set spec.adopt: Always, which removes it",
            self.entry.row.object,
            extra.join(", ")
        )))
    }

    /// Applies the object over an existing one.
    ///
    /// A list that is invalid after the merge with another manager's items is replaced.
    async fn put(&self, kind: &ApiKind) -> Result<Value, ActError> {
        let options = ApplyOptions { force: true, ..ApplyOptions::default() };
        let error = match self.send(kind, options).await {
            Err(error) => error,
            Ok(stored) => return Ok(stored),
        };
        let MemberError::Invalid { fields, .. } = &error else { return Err(error.into()) };
        let (session, key) = (self.session, &self.entry.row.object);
        let there = match session.member().get(kind, &key.namespace, &key.name).await {
            // The object does not exist yet, so its invalidity has no list merge as its cause.
            Err(MemberError::NotFound { .. }) => return Err(error.into()),
            there => there?,
        };
        let lists = lists_to_replace(fields, self.object, &there);
        if lists.is_empty() {
            return Err(error.into());
        }
        self.count_failure(&error);
        let names: Vec<&str> = lists.iter().map(|(path, _)| path.as_str()).collect();
        tracing::info!(cluster = session.name(), object = %key, lists = names.join(", "), "replaces lists that cannot be merged");
        let replace = session.member().replace_lists(kind, &key.namespace, &key.name, self.fence, &there, &lists);
        measured(session, "apply", replace).await?;
        Ok(self.send(kind, options).await?)
    }

    /// Counts a failed write that another write follows.
    fn count_failure(&self, error: &MemberError) {
        self.session.delivery().metrics.failed.get_or_create(&self.session.failure(error.kind())).inc();
    }

    async fn send(&self, kind: &ApiKind, options: ApplyOptions) -> Result<Value, MemberError> {
        let key = &self.entry.row.object;
        let apply = self.session.member().apply(kind, &key.namespace, &key.name, self.object, options);
        if options.dry_run { apply.await } else { measured(self.session, "apply", apply).await }
    }
}
