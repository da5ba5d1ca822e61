//! Which database this is.

use crate::{Store, StoreError};

impl Store {
    /// The store generation every fence carries.
    pub async fn identity_generation(&self) -> Result<u32, StoreError> {
        let generation = sqlx::query_scalar!("SELECT generation FROM store_identity").fetch_one(&self.pool).await?;
        u32::try_from(generation).map_err(|error| StoreError::corrupt("store_identity.generation", error))
    }

    /// Raises the store generation, so that fences of this database are above all that members carry. For the person who
    /// restored the database and wants members brought to what it says. Returns the new generation.
    pub async fn identity_raise_generation(&self) -> Result<u32, StoreError> {
        let raised = sqlx::query_scalar!("UPDATE store_identity SET generation = generation + 1 RETURNING generation")
            .fetch_one(&self.pool)
            .await?;
        u32::try_from(raised).map_err(|error| StoreError::corrupt("store_identity.generation", error))
    }

    /// Identity of this installation, made when the schema was.
    pub async fn identity_installation(&self) -> Result<uuid::Uuid, StoreError> {
        Ok(sqlx::query_scalar!("SELECT installation FROM store_identity").fetch_one(&self.pool).await?)
    }
}
