//! Objects of Applications that were deleted. [`Store::application_forget`] adds them.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;

use crate::{Store, StoreError};

impl Store {
    /// When the Application of an object was forgotten; `None` for an object that was not, or more than 90 days ago.
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
