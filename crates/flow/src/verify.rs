//! Checks the chain of hashes of a journal.

use store::{Store, StoreError};
use vocabulary::OperationId;

/// Number of entries read at once.
const PAGE: i64 = 500;

/// A place at which the chain of a journal is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainBreak {
    /// Number of the entry.
    pub seq: i64,
    /// What does not fit.
    pub problem: String,
}

/// Checks the journal of an operation. Returns the number of entries, and where the chain is broken first.
///
/// # Errors
/// [`StoreError`] when the journal cannot be read.
pub async fn verify(store: &Store, id: OperationId) -> Result<(i64, Option<ChainBreak>), StoreError> {
    // Read first: entries that are appended meanwhile come after this one.
    let head = store.journal_head(id).await?.unwrap_or_default();
    let (mut seq, mut hash) = (0, Vec::new());
    loop {
        let rows = store.journal_list(id, seq, PAGE).await?;
        for row in &rows {
            let problem = if row.seq != seq + 1 {
                Some(format!("entry {} is missing", seq + 1))
            } else if row.expected_hash(&hash) != row.hash {
                Some("its hash does not fit its content and the entry before it".to_owned())
            } else if row.seq == head.seq && row.hash != head.hash {
                Some("its hash is not the one that the operation names as its last".to_owned())
            } else {
                None
            };
            if let Some(problem) = problem {
                return Ok((seq, Some(ChainBreak { seq: row.seq, problem })));
            }
            (seq, hash) = (row.seq, row.hash.clone());
        }
        if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            break;
        }
    }
    let cut = (head.seq > seq)
        .then(|| ChainBreak { seq: seq + 1, problem: format!("entries {} to {} are missing", seq + 1, head.seq) });
    Ok((seq, cut))
}
