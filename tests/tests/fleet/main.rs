//! Acceptance tests on real control planes: join, place, deliver, observe, move, and survive.
//!
//! The tests are a program of their own instead of tests of the usual harness. Scenarios share fleets, because a fleet
//! costs many processes and half a minute. Each scenario has a namespace of its own. To run scenarios by parts of their
//! names: `cargo test -p acceptance --test fleet -- drain`, or `MERIDIAN_SCENARIOS=drain,scale`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod admission;
mod bad_input;
mod breaker;
mod cells;
mod clusters;
mod crash;
mod deletion;
mod edits;
mod intent;
mod kinds;
mod members_restored;
mod motion;
mod operations;
mod ownership;
mod placement;
mod recovery;
mod releases;
mod silence;
mod takeover;

use std::process::ExitCode;

use acceptance::scenario::{Act, run};
use acceptance::{FleetPlan, Times, scenarios};
use testbed::MemberSpec;

fn main() -> ExitCode {
    let usual = scenarios![
        placement::examples_are_placed_by_zone_and_explained,
        placement::an_override_shows_only_where_it_selects,
        placement::two_cells_on_one_cluster_make_two_workloads,
        cells::workloads_outlive_a_wrong_cell_edit_and_the_cell_waits,
        cells::a_cluster_over_zones_is_one_place_or_a_cell_in_each,
        motion::scaling_never_moves_a_cell_the_wrong_way,
        edits::new_names_and_scopes_lose_no_replica,
        edits::deployment_stays_until_the_set_in_its_place_runs,
        edits::a_name_that_becomes_free_is_taken,
        motion::a_revision_goes_cell_by_cell,
        motion::a_revision_that_restarts_nothing_goes_everywhere_at_once,
        motion::drain_is_never_below_desired_and_nothing_moves_back,
        operations::a_drain_is_watched_and_taken_back,
        operations::pipelines_start_once_and_wait_by_curl,
        releases::a_release_goes_by_beta_and_batches_and_lowers_nothing,
        releases::a_bad_image_is_rolled_back_by_itself_and_stays_away,
        ownership::drift_is_reported_or_put_back_and_foreign_fields_stay,
        ownership::adoption_is_refused_with_the_owners_name_or_taken,
        ownership::imported_objects_are_not_touched,
        ownership::namespaces_and_accounts_of_others_are_left_alone,
        kinds::every_kind_of_component_behaves_as_written,
        kinds::a_job_that_runs_once_is_not_run_again_after_a_drain,
        kinds::a_kind_of_the_members_own_passes_whole_once_it_is_granted,
        bad_input::bad_input_names_the_field_and_the_remedy,
        bad_input::a_spread_that_cannot_be_is_held_with_the_remedy,
        bad_input::an_object_that_two_applications_want_belongs_to_the_first,
        deletion::deleting_an_application_removes_what_it_delivered,
        admission::admission_policy_adds_the_finalizer_when_objects_are_created,
        recovery::a_killed_operator_goes_on_and_writes_nothing_twice,
        recovery::an_application_that_cannot_be_read_holds_up_no_other,
        recovery::a_lost_database_is_told_and_survived,
        recovery::operator_without_database_at_start_reports_it_and_recovers,
        clusters::one_cluster_has_one_name_and_one_name_is_one_cluster,
        clusters::joining_again_updates_and_an_unreachable_member_is_refused,
        clusters::credentials_are_renewed_at_four_fifths_of_life_under_load,
        clusters::a_revoked_credential_is_told_and_mended_without_a_restart,
        clusters::a_cluster_made_by_kwokctl_joins_is_replaced_and_leaves,
        clusters::a_removed_cluster_takes_its_workloads_along_when_asked,
    ];
    let disturbed = scenarios![
        silence::a_frozen_member_is_noticed_and_slows_nobody,
        silence::a_black_holed_link_is_noticed_and_slows_nobody,
        silence::hanging_watches_are_noticed_and_slow_nobody,
        silence::a_minute_of_429_is_noticed_and_slows_nobody,
        breaker::a_lost_zone_moves_and_half_the_fleet_does_not,
        breaker::half_a_fleet_that_returns_moves_nothing,
        breaker::a_member_that_stays_silent_is_given_up_in_time,
        silence::a_deletion_says_which_silent_cluster_keeps_it,
        // This scenario is the last one, because it removes a member from the fleet.
        silence::a_cluster_gone_for_good_is_forgotten_with_its_workloads,
    ];
    let pair_scenarios = scenarios![
        takeover::a_frozen_leader_that_wakes_writes_nothing,
        takeover::killed_operators_take_over_from_each_other,
        takeover::stages_work_in_different_operators,
        takeover::leases_are_taken_over_in_time,
        takeover::a_leader_whose_database_link_goes_black_is_replaced_in_time,
        takeover::a_scale_up_survives_a_database_that_is_gone_for_a_while,
        takeover::a_scale_up_survives_a_database_without_a_free_connection,
        takeover::accepted_changes_are_delivered_while_the_hub_is_down,
        releases::ten_releases_survive_kills_at_random_moments,
        members_restored::a_member_restored_from_an_older_snapshot_is_put_right,
        members_restored::a_member_restored_with_revisions_that_go_back_is_put_right,
        members_restored::an_object_deleted_behind_our_back_is_made_again_once,
        intent::an_edit_that_prunes_much_waits_for_a_person,
        intent::a_namespace_that_goes_leaves_the_fleet_as_it_is,
        intent::a_hub_restored_from_an_older_snapshot_moves_nothing,
        intent::a_hub_restored_with_revisions_that_go_back_moves_nothing,
        intent::a_kind_that_goes_from_the_hub_leaves_the_fleet_as_it_is,
        intent::a_hub_rebuilt_empty_moves_nothing,
    ];
    let crashes = scenarios![crash::dying_at_any_write_loses_nothing_and_does_nothing_twice];
    run(vec![
        Act { name: "usual", plan: FleetPlan::usual(), scenarios: usual },
        Act { name: "disturbed", plan: disturbable(), scenarios: disturbed },
        Act { name: "pair", plan: pair(), scenarios: pair_scenarios },
        Act { name: "crashes", plan: crashing(), scenarios: crashes },
    ])
}

/// Returns a fleet with four members, two of them in one zone, whose links can all be disturbed.
fn disturbable() -> FleetPlan {
    let member = MemberSpec::new;
    FleetPlan {
        members: vec![
            member("north-a", "north", &["n1"]),
            member("north-b", "north", &["n1"]),
            member("south-a", "south", &["s1"]),
            member("south-b", "south", &["s2"]),
        ],
        operators: 1,
        faults: true,
        // Silence limit and probes keep the operator's defaults, because the defaults have promised figures.
        times: Times { recovery: Some(3.0), delete_window: Some(20.0), ..Times::default() },
    }
}

/// Returns the usual fleet with limits that many short lives of an operator do not reach.
fn crashing() -> FleetPlan {
    let times = Times { recovery: Some(0.5), delete_window: Some(0.5), ..Times::default() };
    FleetPlan { times, ..FleetPlan::usual() }
}

/// Returns the usual members with two operators, and with links that can be disturbed.
fn pair() -> FleetPlan {
    let times = Times { recovery: Some(1.0), delete_window: Some(10.0), ..Times::default() };
    FleetPlan { operators: 2, faults: true, times, ..FleetPlan::usual() }
}
