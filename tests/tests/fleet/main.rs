//! What Meridian is for, on real control planes: join, place, deliver, observe, move, and survive.
//!
//! A program of its own instead of tests of the usual harness: scenarios share fleets, because a fleet costs many
//! processes and half a minute. Each scenario has a namespace of its own. To run some by parts of their names:
//! `cargo test -p acceptance --test fleet -- drain`, or `MERIDIAN_SCENARIOS=drain,scale`.

mod bad_input;
mod clusters;
mod deletion;
mod kinds;
mod motion;
mod ownership;
mod placement;
mod recovery;

use std::process::ExitCode;

use acceptance::scenario::{Act, run};
use acceptance::{FleetPlan, scenarios};

fn main() -> ExitCode {
    let usual = scenarios![
        placement::examples_are_placed_by_zone_and_explained,
        placement::an_override_shows_only_where_it_selects,
        placement::two_cells_on_one_cluster_make_two_workloads,
        motion::scaling_never_moves_a_cell_the_wrong_way,
        motion::a_revision_goes_cell_by_cell,
        motion::drain_is_never_below_desired_and_nothing_moves_back,
        ownership::drift_is_reported_or_put_back_and_foreign_fields_stay,
        ownership::adoption_is_refused_with_the_owners_name_or_taken,
        kinds::every_kind_of_component_behaves_as_written,
        kinds::a_job_that_runs_once_is_not_run_again_when_its_cluster_is_drained,
        kinds::a_kind_of_the_members_own_passes_whole_once_it_is_granted,
        bad_input::bad_input_names_the_field_and_the_remedy,
        bad_input::a_spread_that_cannot_be_is_held_with_the_remedy,
        bad_input::an_object_that_two_applications_want_belongs_to_the_first,
        deletion::deleting_an_application_removes_what_it_delivered,
        recovery::a_killed_operator_goes_on_and_writes_nothing_twice,
        recovery::a_lost_database_is_told_and_survived,
        recovery::an_operator_that_starts_without_its_database_says_so_and_recovers,
        clusters::one_cluster_has_one_name_and_one_name_is_one_cluster,
        clusters::joining_again_updates_and_an_unreachable_member_is_refused,
        clusters::a_revoked_credential_is_told_and_mended_without_a_restart,
        clusters::a_cluster_made_by_kwokctl_joins_is_replaced_and_leaves,
        clusters::a_removed_cluster_takes_its_workloads_along_when_asked,
    ];
    run(vec![Act { name: "usual", plan: FleetPlan::usual(), scenarios: usual }])
}
