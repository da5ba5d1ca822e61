//! Rule: intent, rows, members and status agree, and nothing else exists.

use std::collections::BTreeSet;

use super::{Rule, Violation, at_end, last_wish};
use crate::gathered::{Asked, DesiredState, End, Object, Placement, Shown};

/// Returns all deviations of a healed and settled fleet from the requested state.
pub fn end(asked: &[Asked], end: &End) -> Vec<Violation> {
    let mut names: BTreeSet<&str> = asked.iter().map(|asked| asked.app.as_str()).collect();
    names.extend(end.hub.keys().chain(end.rows.keys()).map(String::as_str));
    names.extend(end.placements.iter().map(|row| row.app.as_str()));
    names.extend(end.objects.iter().map(|object| object.name.as_str()));
    names.into_iter().flat_map(|app| App::of(app, end).judge(last_wish(asked, app))).collect()
}

/// All rows and objects of one application.
struct App<'a> {
    name: &'a str,
    end: &'a End,
    placements: Vec<&'a Placement>,
    objects: Vec<&'a Object>,
}

impl<'a> App<'a> {
    fn of(name: &'a str, end: &'a End) -> Self {
        Self {
            name,
            end,
            placements: end.placements.iter().filter(|row| row.app == name).collect(),
            objects: end.objects.iter().filter(|object| object.name == name).collect(),
        }
    }

    fn judge(&self, desired_state: Option<&DesiredState>) -> Vec<Violation> {
        match desired_state {
            None | Some(DesiredState::Gone) => self.nothing_left(),
            Some(DesiredState::Vanished) => {
                let mut found = self.rows_and_members(None);
                if self.end.hub.contains_key(self.name) {
                    found.push(self.wrong("it vanished from the hub and is there again"));
                }
                found.extend(self.intent_and_targets(0));
                found
            }
            Some(DesiredState::Run { replicas, image }) => {
                let mut found = self.rows_and_members(Some(image));
                match self.end.hub.get(self.name) {
                    Some(shown) => {
                        found.extend(self.intent_and_targets(shown.shortfall));
                        found.extend(self.hub(shown, *replicas, image));
                    }
                    None => found.push(self.wrong("it is not on the hub")),
                }
                found
            }
        }
    }

    fn wrong(&self, what: &str) -> Violation {
        at_end(Rule::Agreement, format!("{}: {what}", self.name))
    }

    fn nothing_left(&self) -> Vec<Violation> {
        let left = |what: &str| at_end(Rule::NothingLeft, format!("{}: {what}", self.name));
        let mut found = Vec::new();
        if let Some(shown) = self.end.hub.get(self.name) {
            found.push(left(&format!("it is on the hub: {shown:?}")));
        }
        if let Some(row) = self.end.rows.get(self.name) {
            found.push(left(&format!("it has a row: {row:?}")));
        }
        found.extend(self.placements.iter().map(|row| left(&format!("a placement is left: {row:?}"))));
        found.extend(self.objects.iter().map(|object| left(&format!("an object is left: {object:?}"))));
        found
    }

    /// Checks that placement rows and objects correspond one to one, and that each object matches its row.
    fn rows_and_members(&self, image: Option<&str>) -> Vec<Violation> {
        let mut found = Vec::new();
        let revision = self.end.rows.get(self.name).map(|row| row.revision.as_str());
        for row in &self.placements {
            if row.desired_state != "Present" {
                found.push(self.wrong(&format!("a row waits for its end: {row:?}")));
                continue;
            }
            let same = |object: &&&Object| object.cluster == row.cluster && object.kind == row.kind;
            let Some(object) = self.objects.iter().find(same) else {
                found.push(self.wrong(&format!("a row has no object: {row:?}")));
                continue;
            };
            if Some(row.revision.as_str()) != revision || row.applied.as_deref() != revision {
                found.push(self.wrong(&format!("it is at {revision:?}, and a row is not: {row:?}")));
            }
            if !row.divided {
                continue;
            }
            if object.replicas != row.rendered || object.available != row.rendered || row.available != row.rendered {
                found.push(self.wrong(&format!("{row:?} is not {object:?}")));
            }
            if image.is_some_and(|image| image != object.image) {
                found.push(self.wrong(&format!("{image:?} was asked for, and it runs {object:?}")));
            }
        }
        for object in &self.objects {
            if !self.placements.iter().any(|row| row.cluster == object.cluster && row.kind == object.kind) {
                found.push(at_end(Rule::NothingLeft, format!("{}: an object without a row: {object:?}", self.name)));
            }
        }
        found
    }

    /// Checks that targets add up to the replicas in the row, less a reported shortfall.
    fn intent_and_targets(&self, shortfall: i64) -> Vec<Violation> {
        let Some(row) = self.end.rows.get(self.name) else {
            // An application that vanished before intake stored it leaves nothing behind.
            return if self.end.hub.contains_key(self.name) { vec![self.wrong("it has no row")] } else { Vec::new() };
        };
        let divided = || self.placements.iter().filter(|row| row.divided);
        let (targets, rendered): (i64, i64) =
            divided().fold((0, 0), |(targets, rendered), row| (targets + row.target, rendered + row.rendered));
        let wanted = row.replicas - shortfall;
        let mut found = Vec::new();
        if targets != wanted || rendered != targets {
            found.push(
                self.wrong(&format!("{wanted} are wanted, {targets} decided, {rendered} told: {:?}", self.placements)),
            );
        }
        if row.removal.is_some() {
            found.push(self.wrong(&format!("nobody asked for its end: {row:?}")));
        }
        found
    }

    fn hub(&self, shown: &Shown, replicas: i64, image: &str) -> Vec<Violation> {
        let ready: i64 = self.objects.iter().map(|object| object.ready).sum();
        let row = self.end.rows.get(self.name);
        let cells_agree = shown.status.cells.iter().all(|(cluster, (cell, stale))| {
            let there = self.objects.iter().find(|object| object.cluster == *cluster && object.kind == "Deployment");
            !stale && *cell == there.map_or(0, |object| object.ready)
        });
        let rules = [
            (shown.replicas == replicas && shown.image == image, "the hub does not say what was asked for"),
            (!shown.going, "it is being deleted on the hub"),
            (row.is_some_and(|row| row.replicas == replicas), "its row does not say what was asked for"),
            (shown.current, "its status speaks of an older spec"),
            (shown.desired == replicas, "its status desires another number"),
            (shown.placed == replicas - shown.shortfall, "its status places another number"),
            (shown.status.ready == ready && shown.status.stale_ready == 0, "its status counts other replicas"),
            (cells_agree, "its cells say what members do not"),
            (shown.shortfall > 0 || shown.is_ready.0 == "True", "it is not ready"),
            (row.is_some_and(|row| row.revision.starts_with(&shown.revision)), "its status names another revision"),
            (shown.pending.is_none(), "deletes wait for a person"),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds);
        broken.map(|(_, what)| self.wrong(&format!("{what}: {replicas} of {image}, {row:?}, {shown:?}"))).collect()
    }
}
