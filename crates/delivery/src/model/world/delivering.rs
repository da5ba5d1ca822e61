//! Deliverers of the model.

use super::*;

impl World<'_> {
    /// Runs the deliverer of a cluster once over each placement. Returns whether anything changed.
    pub(super) fn deliver(&mut self, cluster: usize) -> Result<bool, String> {
        if self.members.get(&cluster).is_none_or(|member| !member.answers) {
            return Ok(false);
        }
        let mut worked = self.observe(cluster);
        let topology = self.topology();
        let ids: Vec<PlacementId> = self.tables.placements_in(&fleet::name(cluster)).iter().map(|row| row.id).collect();
        for id in ids {
            worked |= self.work_on(cluster, id, &topology)?;
        }
        Ok(worked)
    }

    /// Updates the `ClusterState` of a cluster from its rows and objects.
    ///
    /// Returns whether a status changed.
    fn observe(&mut self, cluster: usize) -> bool {
        let (now, rows) = (self.now, self.tables.placements_in(&fleet::name(cluster)));
        let fresh = !self.cluster_states.contains_key(&cluster);
        let cluster_state = self.cluster_states.entry(cluster).or_default();
        cluster_state.keep_only(&rows);
        cluster_state.take_rows(rows.clone(), now);
        if fresh {
            cluster_state.take_status(rows.iter().filter_map(|row| self.tables.status.get(&row.id).cloned()).collect());
        }
        let member = &self.members[&cluster];
        for kind in cluster_state.kinds().clone().into_keys() {
            cluster_state.reset(&kind);
            let of_kind = member.objects.iter().filter(|((group, name, ..), _)| *group == kind.0 && *name == kind.1);
            let mut named = std::collections::HashSet::new();
            for (_, stored) in of_kind.filter(|(_, stored)| is_managed(&stored.value)) {
                let version = stored.value["apiVersion"].as_str().unwrap_or_default();
                if let Some(live) = ObservedObject::read(version, &kind.1, &stored.value) {
                    named.insert(object_id(&live.key));
                    cluster_state.upsert(live);
                }
            }
            cluster_state.sync(&kind, &named);
        }
        let mut news = false;
        for row in rows {
            if let Some(change) = cluster_state.observe(row.id, now) {
                self.tables.status.insert(row.id, change.now);
                news = true;
            }
        }
        news
    }

    /// Observes one object. Returns whether its status changed.
    fn observe_one(&mut self, cluster: usize, entry: &Entry) -> bool {
        let (Some(cluster_state), key) = (self.cluster_states.get_mut(&cluster), &entry.row.object) else {
            return false;
        };
        let there = self.members[&cluster].objects.get(&id(key)).filter(|stored| is_managed(&stored.value));
        if let Some(stored) = there {
            let version = stored.value["apiVersion"].as_str().unwrap_or_default();
            cluster_state.upsert(ObservedObject::read(version, &key.kind, &stored.value).unwrap());
        } else {
            let uid = cluster_state.live(key).map(|live| live.uid.clone()).unwrap_or_default();
            cluster_state.delete(key, &uid);
        }
        let Some(change) = cluster_state.observe(entry.row.id, self.now) else { return false };
        self.tables.status.insert(entry.row.id, change.now);
        true
    }

    fn work_on(&mut self, cluster: usize, placement: PlacementId, topology: &Topology) -> Result<bool, String> {
        let cluster_state = &self.cluster_states[&cluster];
        let Some(entry) = cluster_state.entries.get(&placement).cloned() else { return Ok(false) };
        if cluster_state.waits_for(placement).is_some() {
            return Ok(false);
        }
        let live = cluster_state.live(&entry.row.object).filter(|live| belongs(&entry, live)).cloned();
        let fence = Fence { generation: 1, authority: 1, plan: entry.row.plan_epoch };
        let app = &self.tables.apps[&entry.row.app];
        let intent: Intent = serde_json::from_value(app.intent.clone()).unwrap();
        let rendered = if entry.row.desired_state == DesiredState::Present {
            let hash = entry.row.revision;
            let revision = &self.tables.revisions[&(entry.row.app, hash)];
            let Some(cell) = cell_of(topology, &entry.row) else { return Ok(false) };
            let siblings = cluster_state.sibling_names(&entry, &revision.blueprint);
            let own_replicas = live.as_ref().and_then(|live| live.own_replicas);
            let row = RowRender {
                app: &app.key,
                row: &entry.row,
                suspended: intent.suspended,
                by_release: intent.release.is_some(),
                cell,
                siblings: &siblings,
                own_replicas,
            };
            Some(render_row(&row, revision, fence).map_err(|error| format!("{}: {error}", entry.row.object))?)
        } else {
            None
        };
        let keep = render::is_never_deleted(&entry.row.object);
        let hash = rendered.as_ref().map(|rendered| rendered.hash);
        let step = next_action(&entry, live.as_ref(), fence, hash, false, keep);
        let app_name = app.key.name.clone();
        let status = self.act(
            cluster,
            &entry,
            step,
            rendered.map(|rendered| (rendered.object, rendered.hash)),
            &app_name,
            &intent,
        )?;
        let Some(status) = status else { return Ok(false) };
        if let Some(known) =
            self.cluster_states.get_mut(&cluster).and_then(|cluster_state| cluster_state.entries.get_mut(&placement))
        {
            known.status = status.clone();
        }
        let changed = self.tables.status.get(&placement).is_none_or(|before| !before.same_facts(&status));
        self.tables.status.insert(placement, status);
        Ok(self.observe_one(cluster, &entry) || changed)
    }

    fn act(
        &mut self,
        cluster: usize,
        entry: &Entry,
        step: crate::decide::action::Action,
        rendered: Option<(Value, ContentHash)>,
        app: &str,
        intent: &Intent,
    ) -> Result<Option<StatusRow>, String> {
        let key = &entry.row.object;
        let now = self.now;
        let member = self.members.get_mut(&cluster).unwrap();
        let with = |state, message| StatusRow { state, message, changed_at: now, ..entry.status.clone() };
        Ok(match step {
            crate::decide::action::Action::Nothing => None,
            crate::decide::action::Action::Gone => Some(with(ObjectState::Gone, None)),
            crate::decide::action::Action::Delete { uid } => {
                member.delete(key, &uid);
                Some(with(ObjectState::Deleting, None))
            }
            crate::decide::action::Action::Release { .. } => {
                member.release(key);
                self.promises.lower_to_available(&self.members);
                Some(with(ObjectState::Released, None))
            }
            crate::decide::action::Action::Apply { first } => {
                let Some((object, hash)) = rendered else { return Ok(None) };
                let mut result = member.apply(key, &object, first);
                if result == Err(ApplyRefused::Exists) {
                    let there = &member.objects[&id(key)].value;
                    let ours = is_managed(there) && there["metadata"]["labels"][labels::APP] == app;
                    if !ours && intent.adopt != crds::application::v1alpha1::AdoptPolicy::Always {
                        let refused = with(ObjectState::Refused, Some("somebody else's".to_owned()));
                        return Ok(Some(StatusRow { applied_epoch: entry.row.plan_epoch, ..refused }));
                    }
                    result = member.apply(key, &object, false);
                }
                match result {
                    Ok(stored) => Some(StatusRow {
                        applied_epoch: entry.row.plan_epoch,
                        applied_hash: Some(hash),
                        applied_revision: Some(entry.row.revision),
                        fields_hash: render::our_fields(&stored).map(render::fields_hash),
                        drift: Vec::new(),
                        object_uid: Some(text(&stored, "uid")),
                        ..with(ObjectState::Applied, None)
                    }),
                    Err(refused) => return Err(format!("{key} in {}: {refused:?}", entry.row.cluster)),
                }
            }
        })
    }
}
