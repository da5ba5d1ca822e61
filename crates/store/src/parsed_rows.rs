//! Skips stored rows that this version cannot read. Pure.
//!
//! Programs of two versions run side by side. The newer one may store a word that the older one cannot read.

use crate::{PlacementId, StoreError};

/// Parses rows, and leaves out rows that cannot be read, each with an error in the log.
pub(crate) fn readable<R, T>(
    table: &'static str,
    rows: Vec<R>,
    placement: impl Fn(&R) -> PlacementId,
    read: impl Fn(R) -> Result<T, StoreError>,
) -> Vec<T> {
    let one = |row: R| {
        let placement = placement(&row);
        let left_out = |error: &StoreError| {
            tracing::error!(
                table,
                placement = placement.0,
                error = vocabulary::chain(error),
                "row was left out; this version cannot read it"
            );
        };
        read(row).inspect_err(left_out).ok()
    };
    rows.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_row_keeps_no_other_from_being_read() {
        let read = |row: i64| if row == 2 { Err(StoreError::corrupt("placement.wish", "later word")) } else { Ok(row) };
        assert_eq!(readable("placement", vec![1, 2, 3], |row| PlacementId(*row), read), [1, 3]);
    }
}
