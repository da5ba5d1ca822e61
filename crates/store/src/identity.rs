//! Identity of the database and of the installation.

use crate::{Store, StoreError};

impl Store {
    /// Returns the store generation, which every fence carries.
    pub async fn identity_generation(&self) -> Result<u32, StoreError> {
        let generation = sqlx::query_scalar!("SELECT generation FROM store_identity").fetch_one(&self.pool).await?;
        u32::try_from(generation).map_err(|error| StoreError::corrupt("store_identity.generation", error))
    }

    /// Raises the store generation above all fences in members, and returns the new generation.
    ///
    /// For a user who restored the database and wants members to follow its state.
    pub async fn identity_raise_generation(&self) -> Result<u32, StoreError> {
        let raised = sqlx::query_scalar!("UPDATE store_identity SET generation = generation + 1 RETURNING generation")
            .fetch_one(&self.pool)
            .await?;
        u32::try_from(raised).map_err(|error| StoreError::corrupt("store_identity.generation", error))
    }

    /// Returns the identity of this installation, which was created together with the schema.
    pub async fn identity_installation(&self) -> Result<uuid::Uuid, StoreError> {
        Ok(sqlx::query_scalar!("SELECT installation FROM store_identity").fetch_one(&self.pool).await?)
    }
}
