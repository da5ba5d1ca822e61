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
        let mut page = match self.application_list(&ids).await {
            Err(StoreError::Corrupt { .. }) => self.readable_applications(&ids).await?,
            list => list?,
        };
        // The database orders names by its own collation.
        page.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        Ok(page)
    }

    /// Reads applications one by one, and leaves out those that this version cannot read, each with an error in the log.
    async fn readable_applications(&self, ids: &[AppId]) -> Result<Vec<ApplicationRow>, StoreError> {
        let mut readable = Vec::new();
        for id in ids {
            match self.application_list(&[*id]).await {
                Ok(rows) => readable.extend(rows),
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(
                        application = i64::from(*id),
                        error = vocabulary::chain(&error),
                        "application was left out of a page; this version cannot read it"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(readable)
    }
}
