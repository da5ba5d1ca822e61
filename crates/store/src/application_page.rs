//! Pages of applications, ordered by namespace and name.

use vocabulary::AppKey;

use crate::{AppId, ApplicationRow, Store, StoreError};

impl Store {
    /// Returns at most `rows` applications after the name `after`, of one namespace or of all.
    pub async fn application_page(
        &self,
        namespace: Option<&str>,
        after: Option<&AppKey>,
        rows: i64,
    ) -> Result<Vec<ApplicationRow>, StoreError> {
        let ids =
            match namespace {
                Some(namespace) => {
                    let after = after.map_or("", |after| &after.name);
                    sqlx::query_scalar!(
                    "SELECT id FROM application WHERE namespace = $1 AND name > $2 ORDER BY namespace, name LIMIT $3",
                    namespace,
                    after,
                    rows
                )
                .fetch_all(&self.pool)
                .await?
                }
                None => sqlx::query_scalar!(
                    "SELECT id FROM application WHERE (namespace, name) > ($1, $2) ORDER BY namespace, name LIMIT $3",
                    after.map_or("", |after| &after.namespace),
                    after.map_or("", |after| &after.name),
                    rows
                )
                .fetch_all(&self.pool)
                .await?,
            };
        let ids: Vec<AppId> = ids.into_iter().map(AppId).collect();
        let mut page = self.application_list(&ids).await?;
        // The database orders names by its own collation.
        page.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        Ok(page)
    }
}
