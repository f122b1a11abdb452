//! Main walks, recorded in `walks/`: what users and pods do, and what the planner writes in response.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

macro_rules! walks {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                sim::script::check(stringify!($name));
            }
        )*

        /// A walk that no test walks proves nothing.
        #[test]
        fn every_file_is_walked() {
            let walked = [$(concat!(stringify!($name), ".walk")),*];
            for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walks")).unwrap() {
                let file = file.unwrap().file_name().into_string().unwrap();
                assert!(walked.contains(&file.as_str()), "{file}");
            }
        }
    };
}

walks! {
    steps_with_a_pause
    a_gate_fails_in_the_middle_of_a_shift
    gates_before_during_and_after
    a_gate_after_a_flip_takes_it_back
    a_guard_takes_a_stage_back
    a_gate_between_tiers
    a_third_color_at_a_step
    first_deploy
    smoke_then_rolling_then_retire
    flip
    flip_directly
    a_load_balancer_that_is_slower_than_the_cluster
    flip_of_several_slices
    rollback_directly
    back_to_a_smaller_color_directly
    rollback_in_the_middle_of_a_shift
    rollback_after_a_shift
    rollback_to_a_retired_color
    a_third_color_in_the_middle_of_a_shift
    a_color_that_never_becomes_ready
    a_first_color_that_never_becomes_ready
    pause_resume_and_abort
    pods_lost_in_the_middle_of_a_shift
    replicas_changed_in_the_middle_of_a_shift
    a_chain_retires_from_its_entry
    a_diamond_retires_from_its_entry
    history
    foreign_objects
    a_foreign_stage
    bad_words
    a_retire_that_is_asked_for
    too_many_colors
    a_color_that_a_user_deletes
    everything_deleted
    a_selector_edited_by_hand
    the_status_lost_in_the_middle_of_a_shift
    a_stage_added_and_removed
    scaled_by_hand
    two_stages_shift_at_once
    back_to_an_old_color_by_the_spec
    promoted_in_the_same_write
    a_service_with_another_name
    a_foreign_guard
    a_color_taken_away_by_force_is_made_again
    slots_and_shared_instances
    slots_and_a_shared_entry
    slots_and_a_stage_that_points_early
    what_is_being_deleted_is_not_shared
    a_deadline_of_a_color_that_the_spec_went_back_to
    a_busy_pod_that_is_not_ready
    a_chain_of_five_shares
    a_color_taken_away_by_force
    all_colors_taken_away_by_force_in_the_middle_of_a_shift
    a_connection_in_the_last_moment
    a_deadline_of_its_own
    a_deleted_color_cuts_its_own
    a_diamond_of_five_shares
    a_draining_color_is_taken_back
    a_draining_color_has_no_deployment
    a_pin_dropped_in_the_middle_of_a_shift
    a_pin_dropped_on_the_way_back
    a_retire_that_was_asked_for_is_taken_back
    a_shared_instance_drains_with_the_last
    an_idle_pod_does_not_wait_for_a_busy_one
    colors_drain_one_by_one
    slots_and_what_would_free_one
    the_deadline_cuts
    unknown_is_not_drained
    a_smaller_release_shrinks_nothing_before_it_serves
    a_stage_starts_nothing_that_is_turned_off
    replicas_lowered_in_a_paused_shift
    a_version_that_is_rolled_back_does_not_grow
    rollback_while_a_shift_finishes
    pods_that_flap_do_not_move_a_stage
    the_way_back_stays_while_the_new_color_is_unhealthy
    the_service_goes_back_first
    the_way_back_goes_when_its_user_says_so
    what_one_color_was_is_not_said_of_another
    a_held_stage_has_a_budget
    a_version_that_is_turned_off_has_no_way_back
    a_stage_removed_in_mid_shift_leaves_no_labels
    a_version_that_fails_is_taken_back
    a_flip_that_never_begins_is_given_up
    a_shift_that_stalls_is_taken_back
    what_never_served_goes_at_once_and_first
    replicas_lowered_of_idle_pods
    replicas_lowered_of_busy_pods
    replicas_raised_again_takes_pods_back
    an_operator_that_dies_makes_smaller_all_the_same
    replicas_lowered_in_the_middle_of_a_shift_wait
    a_color_that_is_released_while_it_becomes_smaller
    a_stage_removed_leaves_the_size
    an_older_version_keeps_its_pods
    turned_off_while_it_serves
    the_deadline_ends_what_was_taken_out
    pods_that_are_marked_come_back
    a_pod_that_stays_and_fails_is_replaced_by_one_that_was_taken_out
    a_color_that_never_becomes_ready_becomes_smaller
    a_surge_of_one
    a_surge_waits_for_pods_that_drain
    a_surge_is_taken_back
    a_slow_endpoint_controller
    an_autoscaler_of_each_color
    an_autoscaler_of_another_owner
    scaled_in_in_the_middle_of_a_shift
    an_autoscaler_is_gone_before_a_color_drains
    scaling_given_back_to_rainbow
    a_foreign_shadow
    tier_by_tier
    a_release_of_the_inner_tier_alone
    back_tier_by_tier
    a_pause_between_tiers
    a_tiered_rainbow_is_deleted
    strict_then_tier_by_tier
}
