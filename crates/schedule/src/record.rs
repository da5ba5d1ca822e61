//! What an application holds in the capacity books. Pure.

use std::collections::BTreeMap;

use crds::cluster::v1alpha1::Amounts;
use store::ReservationRow;

/// Rows of the books, in their order.
pub(crate) fn rows(books: BTreeMap<(String, String), Amounts>) -> Vec<ReservationRow> {
    books
        .into_iter()
        .filter(|(_, sum)| *sum != Amounts::default())
        .map(|((cluster, zone), sum)| ReservationRow {
            cluster,
            zone,
            cpu_milli: sum.cpu_milli,
            memory_mi: sum.memory_mi,
            pods: sum.pods,
        })
        .collect()
}
