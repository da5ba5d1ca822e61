//! UIDs of Application objects that were deleted. [`Store::application_forget`] adds them.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;

use crate::{Store, StoreError};

impl Store {
    /// Returns when the application with this object UID was deleted from the database.
    ///
    /// Returns `None` for any other object. Rows older than 90 days are deleted when an application is forgotten.
    pub async fn forgotten_application_at(&self, object_uid: &str) -> Result<Option<Timestamp>, StoreError> {
        let at = sqlx::query_scalar!(
            r#"SELECT forgotten_at AS "forgotten_at: Ts" FROM forgotten_application WHERE object_uid = $1"#,
            object_uid
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(at.map(Ts::to_jiff))
    }
}
