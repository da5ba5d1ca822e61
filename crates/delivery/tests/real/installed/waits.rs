//! Waits for a state of the member, of rows or of the cluster.

use super::*;

impl Installed {
    /// Waits until an object meets a condition.
    pub(crate) async fn eventually(&self, path: &str, wanted: impl Fn(&Value) -> bool) {
        let mut seen = None;
        let found = eventually(path, SOON, async || {
            seen = self.admin("GET", path, &Value::Null).await;
            Ok(seen.as_ref().is_some_and(&wanted).then_some(()))
        });
        if let Err(error) = found.await {
            panic!("{error:#}, but {seen:?}; {}", self.rows());
        }
    }

    pub(crate) async fn eventually_absent(&self, path: &str) {
        let what = format!("{path} does not exist");
        let gone =
            eventually(&what, SOON, async || Ok(self.admin("GET", path, &Value::Null).await.is_none().then_some(())));
        gone.await.unwrap_or_else(|error| panic!("{error:#}; {}", self.rows()));
    }

    /// Waits until state and message of the row's status meet a condition.
    pub(crate) async fn eventually_said(&self, app: &App, wanted: impl Fn(&str, &str) -> bool) {
        let mut seen = String::new();
        let said = eventually("the status is as wanted", SOON, async || {
            seen = self.sql(&format!(
                "select s.state || '|' || coalesce(s.message, '') from placement p join placement_status s on s.placement = p.id where p.app = {}",
                app.id
            ));
            Ok(seen.split_once('|').is_some_and(|(state, message)| wanted(state, message)).then_some(()))
        });
        if let Err(error) = said.await {
            panic!("{}: {error:#}, but {seen:?}; {}", app.key, self.rows());
        }
    }

    /// Waits until a condition holds for the row `p` and its status `s`.
    pub(crate) async fn eventually_row(&self, app: &App, condition: &str) {
        let statement = format!(
            "select count(*) from placement p join placement_status s on s.placement = p.id where p.app = {} and {condition}",
            app.id
        );
        self.until(&statement).await;
    }

    /// Waits until a condition holds for the status of the cluster.
    pub(crate) async fn eventually_cluster(&self, condition: &str) {
        self.until(&format!("select count(*) from cluster_status where {condition}")).await;
    }

    async fn until(&self, statement: &str) {
        let holds = eventually(statement, SOON, async || Ok((self.sql(statement) != "0").then_some(())));
        if let Err(error) = holds.await {
            let cluster =
                self.sql("select row_to_json(c) from (select health, reason, message, as_of from cluster_status) c");
            panic!("{error:#}; {}; {cluster}", self.rows());
        }
    }

    fn rows(&self) -> String {
        self.sql(
            "select json_agg(r) from (select p.namespace, p.object_name, p.wish, p.plan_epoch, s.state, s.message, s.stale, s.found_epoch, s.applied_epoch, s.observed_epoch, s.object_uid
             from placement p left join placement_status s on s.placement = p.id order by p.id desc limit 4) r",
        )
    }
}
