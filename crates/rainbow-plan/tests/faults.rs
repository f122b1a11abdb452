//! Histories that have failed, as `explore` has printed them. Each stands for a kind of fault; the property in `wide.rs` that
//! found it tries more of that kind. An `ignore` names the issue that it waits for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

use sim::{explore::script, properties::*, rules::Rule};

/// The stage's Service takes its port from the newest spec while it selects the old color.
#[test]
fn a_spec_with_another_port_leaves_what_serves() {
    let history = "
        tiers v1 t0:1
        stage s0 t0
        pass 60
        new-color-with-port 1";
    script(history, keeps(&[Rule::KeepsPods]));
    script(history, refills);
}

/// The stage's tier follows the newest spec.
#[test]
fn a_spec_without_the_gate_sends_nobody_past_it() {
    let history = "
        tiers v1 t0:1
        stage s1 t0
        pass 60
        new-color-with-gate
        look
        new-color-with-gate
        promote-to 0 1";
    script(history, keeps(&[Rule::NoMixing]));
}

/// A version of another size, which no stage was moved to, makes the one that serves smaller.
#[test]
fn a_smaller_version_leaves_what_serves() {
    let history = "
        tiers v1 t0:1
        stage s0 t0
        pass 60
        new-color-with-size 0 0";
    script(history, keeps(&[Rule::KeepsPods]));
    script(history, refills);
}

/// Another writer points a stage at an inner tier, and something else of the Service is not as it should be either.
#[test]
fn a_service_pointed_at_an_inner_tier_is_taken_back() {
    let history = "
        tiers v1 t0:1 t1:1>t2 t2:1
        stage s1 t0
        pass 0
        drift 0
        select-by-hand 0 2";
    script(history, keeps(&[Rule::NoMixing]));
    script(history, comes_to_rest);
}

/// A stage on an inner tier, with the name of a color that lives.
#[test]
fn a_stage_takes_no_inner_service_over() {
    let history = "
        tiers v1 t0:1>t1 t1:1
        stage s0 t0
        pass 60
        add-stage-like-color 0 0";
    script(history, keeps(&[Rule::NoMixing]));
}

/// A Service with a new name is refused its node port as long as the Service before has it.
#[test]
fn a_renamed_service_keeps_its_node_port() {
    let history = "
        tiers v1 t0:1
        stage s1 t0
        pass 60
        node-port 0 1
        look
        rename-service 0";
    script(history, comes_to_rest);
}

/// Lower `replicas` end pods that have connections.
#[test]
fn lower_replicas_cut_nothing() {
    let history = "
        tiers v1 t0:1
        counted t0
        stage s0 t0
        pass 60
        connect 0 1
        replicas-of 0 0";
    script(history, keeps(&[Rule::NoCutByAnyCause]));
}

/// A manifest that says nothing of pauses is applied.
#[test]
fn an_old_manifest_lifts_no_hold() {
    let history = "
        tiers v1 t0:1
        stage s1 t0 auto
        pass 60
        new-color 43
        pause-or-resume 0
        apply-manifest";
    script(history, keeps(&[Rule::Hold]));
}

/// The Service of one stage cannot be written, and another stage is moved.
#[test]
fn a_refused_stage_delays_no_other() {
    let history = "
        tiers v1 t0:1
        stage s1 t0
        stage s2 t0
        pass 60
        new-color 12
        edit-port 0 1
        pass 1";
    script(history, moves_at_once);
}

/// A Deployment that cannot be written, and a stage is moved.
#[test]
fn a_refused_deployment_delays_no_stage() {
    let history = "
        tiers v1 t0:1
        stage s1 t0
        pass 60
        new-color 30
        pass 0
        disown-deployment 0";
    script(history, moves_at_once);
}

/// A user has put a stage's label on a pod.
#[test]
fn a_label_put_on_by_others_is_not_written_again_and_again() {
    let history = "
        tiers v1 t0:2
        stage s0 t0
        pass 60
        label-by-hand 5 31";
    script(history, bounds_writes);
}

/// An autoscaler and the planner write the same number.
#[test]
fn what_an_autoscaler_starts_is_not_cut() {
    let history = "
        tiers v1 t0:1
        counted t0
        stage s0 t0
        pass 60
        autoscale 0 2
        connect 0 1";
    script(history, keeps(&[Rule::NoCutByAnyCause]));
}

/// The last old member of a paused shift is evicted, and another pod of the old color is ready.
#[test]
fn a_gap_in_a_paused_shift_keeps_the_share() {
    let history = "
        tiers v1 t0:2
        stage s0 t0 auto rolling=1/10
        pass 0
        new-color 63
        pass 2
        pause-or-resume 0
        evict 0";
    script(history, keeps(&[Rule::Hold]));
}

/// The Service is gone when the way back is asked for, and the labels of the shift are not off yet.
#[test]
fn a_service_that_is_made_again_takes_the_way_back() {
    let history = "
        tiers v1 t0:1
        stage s0 t0
        pass 0
        new-color 63
        pass 0
        promote-to 0 1
        pass 2
        delete-stage-service 0
        promote-to 0 0";
    script(history, keeps(&[Rule::Hold]));
}

/// The endpoint controller sees the labels of pods later than the planner waits by the clock.
#[test]
fn a_slow_endpoint_controller_loses_no_pods() {
    let history = "
        tiers v1 t0:2
        stage s0 t0 rolling=1/5
        pass 60
        slow-labels 20000
        new-color 63
        pass 5
        promote-to 0 1";
    script(history, keeps(&[Rule::NoLoss]));
    script(history, comes_to_rest);
}

/// The API server answers that it has made the Service of a called tier, and has not.
#[test]
fn a_tier_waits_for_the_services_that_it_calls() {
    let history = "
        tiers v1 t0:1>t1 t1:1
        stage s0 t0
        look
        refuse 31 3";
    script(history, keeps(&[Rule::Order]));
}

/// The way back of a stage in mid-shift becomes one write when the endpoint controller must have seen the pods: only time tells
/// when.
#[test]
fn a_way_back_that_waits_for_the_endpoint_controller_wakes() {
    let history = "
        tiers v1 t0:2
        stage s0 t0 rolling=0/6+3
        swap directly
        keep 2 1
        settling 30
        pass 0
        new-color 63
        pass 0
        promote-to 0 1
        pass 17
        new-color 63
        pass 5
        promote-to 0 2
        pass 17
        promote-to 0 1
        look
        look
        look";
    script(history, bounds_writes);
}

/// A stage is pinned to a color that was taken away by force, and goes to another one whose pods must have been ready for a while.
#[test]
fn a_stage_whose_color_was_taken_away_wakes_for_another() {
    let history = "
        tiers v1 t0:1
        stage s0 t0
        minready t0 3
        pass 0
        new-color 0
        pass 0
        new-color 63
        pass 0
        promote-to 0 2
        pass 3
        promote-to 0 0
        pass 29
        force-delete-color 0";
    script(history, bounds_writes);
}

/// Another writer points a stage at a color that drains: that color's clock delays nothing.
#[test]
fn a_service_pointed_at_a_draining_color_is_taken_back_at_once() {
    let history = "
        tiers v1 t0:1 t1:1
        stage s1 t0
        settling 30
        pass 0
        new-color 0
        look
        back-to-color 0
        look
        select-by-hand 0 2";
    script(history, moves_at_once);
}

/// Another writer points a stage elsewhere while the newest color, which the stage follows, is not ready.
#[test]
fn a_service_pointed_elsewhere_is_taken_back_before_the_next_color_is_ready() {
    let history = "
        tiers v1 t0:1 t1:1
        minready t0 3
        stage s0 t0 auto
        settling 30
        pass 0
        edit-port 0 1
        select-by-hand 0 1
        new-color 0";
    script(history, refills);
}

/// A Service's annotation is wrong and the status is lost: with a surge, the color that the Service selects must not get smaller.
#[test]
fn a_lie_about_what_a_stage_serves_ends_nothing() {
    let history = "
        tiers v1 t0:1
        minready t0 3
        stage s0 t0 rolling=3/7+0
        settling 30
        pass 0
        new-color 0
        pass 0
        new-color 63
        pass 0
        promote-to 0 2
        pass 19
        say-by-hand 0 0
        lose-status
        back-to-color 0
        promote-to 0 0";
    script(history, keeps(&[Rule::NoLoss]));
}

/// A Service that is slow to delete, and another move of its stage.
#[test]
fn a_slow_deletion_holds_nothing_up() {
    let history = "
        tiers v1 t0:1
        stage s1 t0
        settling 30
        pass 0
        new-color 63
        slow-deletes
        rename-service 0
        pass 1";
    script(history, moves_at_once);
}

/// An autoscaler of another owner allows fewer pods than there are, and has not written yet.
#[test]
fn pods_beyond_an_autoscalers_limit_serve_until_it_writes() {
    let history = "
        tiers v1 t0:2
        stage s0 t0 auto
        settling 30
        pass 0
        new-color 63
        pass 1
        foreign-autoscaler 0 0
        promote-to 0 0";
    script(history, keeps(&[Rule::KeepsPods]));
}

/// Addresses of inner tiers, in the order of the colors.
#[test]
fn a_plan_for_tiers_does_not_depend_on_the_order_of_colors() {
    let history = "
        tiers v1 t0:1>~t1,~t2 t1:1 t2:1
        minready t2 3
        stage s1 t0
        reuse
        settling 30
        pass 0
        new-color-with-edge 0";
    script(history, keeps(&[Rule::Tiers]));
}

/// The way back of a stage that has never served, to a color that has the same callee.
#[test]
fn a_callee_that_two_colors_share_holds_no_way_back_up() {
    let history = "
        tiers v1 t0:1>~t1 t1:1
        minready t1 3
        stage s1 t0 auto
        reuse
        settling 30
        pass 0
        new-color 0
        pass 2
        promote-to 0 0";
    script(history, tiers_come_to_rest);
}

/// A version in which the callee calls in its own color: the address that only the old callee uses held the old callee.
#[test]
fn an_address_that_is_no_longer_used_holds_none_of_its_callers() {
    let history = "
        tiers v1 t0:1>~t1 t1:1>~t2 t2:1
        minready t1 3
        stage s0 t0
        reuse
        settling 30
        pass 0
        new-color-with-edge 1
        pass 0
        promote-to 0 1";
    script(history, tiers_come_to_rest);
}

/// A caller and its callee call one tier in their own color, so that both are of one part.
#[test]
fn an_address_does_not_wait_for_itself() {
    let history = "
        tiers v1 t0:1>t2,~t1 t1:1>t2 t2:1
        minready t1 3
        stage s1 t0 auto
        reuse
        settling 30
        pass 2
        new-color-with-callee 2";
    script(history, tiers_come_to_rest);
}

/// A stage that follows the newest color is held at an older one, which has no such address.
#[test]
fn a_held_stage_has_no_address_of_the_newest_color() {
    let history = "
        tiers v1 t0:1>t3 t3:1
        minready t0 3
        stage s1 t0 auto
        reuse
        settling 30
        pass 0
        new-color-with-edge 0
        pass 32
        promote-to 0 0";
    script(history, tiers_come_to_rest);
}

/// Pods that another part of the color needs take no room of a surge.
#[test]
fn a_surge_waits_for_no_other_part_of_its_color() {
    let history = "
        tiers v1 t0:2>t2,~t1 t1:1 t2:2
        stage s0 t0 auto rolling=3/16+40%
        settling 30
        pass 2
        new-color-with-edge 0";
    script(history, tiers_come_to_rest);
}

/// The color that an address served is taken away by force, and the stage is pinned to an older one while newer callers serve.
#[test]
fn a_guess_of_what_an_address_serves_is_refuted_by_its_callers() {
    let history = "
        tiers v1 t0:1>~t1 t1:1>~t2 t2:1
        minready t0 3
        minready t1 3
        stage s1 t0 auto
        reuse
        settling 30
        pass 0
        new-color 59
        pass 0
        new-color 46
        pass 3
        promote-to 0 0
        force-delete-color 2";
    script(history, keeps(&[Rule::Tiers]));
}

/// A color that shares a caller is deleted for good while the caller serves. The calls that the caller can make stay as they are.
#[test]
fn a_caller_that_outlives_its_first_color_is_no_newer() {
    let history = "
        tiers v1 t0:2>~t1 t1:1
        minready t0 3
        stage s0 t0 auto rolling=0/8+2
        reuse
        keep 3 0
        warm 0
        settling 30
        pass 2
        new-color 56
        pass 7
        new-color 23";
    script(history, keeps(&[Rule::Tiers]));
}

/// A stage that is removed has a tier whose callee outlives it.
#[test]
fn a_removed_stage_writes_no_service_again_and_again() {
    let history = "
        tiers v1 t0:2>t2,~t1,~t3 t1:3>~t2 t2:1>t3 t3:3
        stage s0 t0 auto
        reuse
        settling 6
        pass 62
        new-color 51
        look
        add-stage
        remove-stage 0
        pass 120";
    script(history, bounds_writes);
}

/// A version in which the callee is turned off.
#[test]
fn a_callee_that_is_turned_off_holds_no_release_up() {
    let history = "
        tiers v1 t0:1>~t1 t1:1
        minready t0 3
        minready t1 3
        stage s0 t0
        reuse
        settling 30
        pass 2
        new-color-with-size 1 0
        look
        promote-to 0 1";
    script(history, tiers_come_to_rest);
}

/// The only color is taken away by force: its callers continue, and so does the address that they use.
#[test]
fn callers_without_a_color_keep_their_address() {
    let history = "
        tiers v1 t0:1>~t1 t1:1
        stage s1 t0
        reuse
        settling 30
        pass 2
        force-delete-color 0";
    script(history, keeps(&[Rule::KeepsPods]));
}

/// An address moves in mid-shift when versions follow each other that no longer use it, while callers of it still serve.
#[test]
fn an_address_in_mid_shift_keeps_its_members() {
    let history = "
        tiers v1 t0:1>~t1 t1:1
        stage s0 t0 auto
        reuse
        settling 30
        pass 2
        new-color 19
        pass 0
        new-color-with-edge 0
        pass 0
        new-color 0";
    script(history, keeps(&[Rule::KeepsPods]));
}

/// A surge of one stage while another one stays at the color.
#[test]
fn a_surge_of_a_stage_beside_another_goes_on() {
    let history = "
        tiers v1 t0:2>t3 t1:1>~t2 t2:1 t3:1
        minready t0 3
        stage s0 t0 rolling=1/19+13%
        stage s1 t0
        reuse
        settling 30
        pass 2
        new-color-with-edge 0
        pass 0
        promote-to 0 1";
    script(history, tiers_come_to_rest);
}

/// A callee is called in its own color in the next version, and its own callee is called by address.
#[test]
fn an_address_ends_with_its_last_caller() {
    let history = "
        tiers v1 t0:1>t2,~t1 t1:1>~t2 t2:1>~t3 t3:1
        minready t2 3
        minready t3 3
        stage s1 t0 auto
        settling 30
        pass 23
        new-color-with-edge 1";
    script(history, tiers_come_to_rest);
}

/// The color that serves is taken away by force, and its callers block the addresses.
#[test]
fn a_color_taken_away_by_force_holds_no_release_up() {
    let history = "
        tiers v1 t0:1>~t1 t1:1
        stage s1 t0 auto
        reuse
        settling 30
        pass 2
        new-color 12
        force-delete-color 0";
    script(history, tiers_come_to_rest);
}

/// A tier calls by address a tier that it also calls in its own color through another tier. On the way back the address waits for
/// the end of callers that its own color would keep.
#[test]
fn a_way_back_ends_callers_that_call_the_same_tier_in_their_own_color() {
    let history = "
        tiers v1 t0:1>t2,~t1 t1:1>~t3 t2:1>t1 t3:1
        stage s1 t0
        settling 30
        pass 30
        new-color 63
        pass 30
        promote-to 0 1
        pass 60
        promote-to 0 0";
    script(history, tiers_come_to_rest);
    script(history, keeps(&[Rule::Tiers]));
}

/// A pod was not ready, of a stage that asks for fewer pods than its color has. When its endpoint must be known, fewer labels
/// have to be seen.
#[test]
fn a_stage_smaller_than_its_color_wakes_when_its_pods_are_known() {
    let history = "
        tiers v1 t0:2
        stage s0 t0 replicas=1
        stage s1 t0
        settling 30
        pass 0
        new-color 63
        pass 0
        unready 1
        promote-to 0 1
        look
        calm
        look
        look";
    script(history, bounds_writes);
}

/// The same on the way back, after crashes of the operator.
#[test]
fn a_small_stage_on_its_way_back_wakes_when_its_pods_are_known() {
    let history = "
        tiers v1 t0:2
        stage s0 t0
        stage s1 t0 auto replicas=1
        settling 30
        pass 0
        new-color 0
        pass 0
        new-color 63
        pass 2
        promote-to 0 2
        promote-to 1 0
        look
        calm
        crash 0
        look
        crash 0";
    script(history, bounds_writes);
}

/// The Service of a stage is deleted before the operator has seen which pods served behind it: the colors that have served are
/// recorded too late.
#[test]
fn a_color_behind_a_lost_service_has_served() {
    let history = "
        tiers v1 t0:1
        counted t0
        stage s0 t0
        settling 30
        pass 0
        new-color 63
        pass 0
        promote-to 0 1
        look
        tick 1000
        new-color 0
        look
        calm
        delete-stage-service 0
        promote-to 0 0";
    script(history, keeps(&[Rule::Evidence]));
}

/// The same of a stage that is removed.
#[test]
fn a_color_of_a_removed_stage_has_served() {
    let history = "
        tiers v1 t0:1
        counted t0
        stage s0 t0
        settling 30
        look
        look
        new-color 0
        add-stage
        remove-stage 0";
    script(history, keeps(&[Rule::Evidence]));
}

/// The first write of a stage's Service arrives late, when the next operator has made the Service and moved it.
#[test]
fn a_late_first_write_of_a_service_moves_nothing() {
    let history = "
        tiers v1 t0:1
        stage s1 t0
        settling 30
        look
        take-over 0
        new-color 56
        pass 0
        late-write";
    script(history, keeps(&[Rule::KeepsPods]));
}

/// The last old member of a paused shift with a surge is not ready for a moment. Pods of its color that were taken out come back by the same plan.
#[test]
fn a_gap_in_a_paused_shift_waits_for_a_pod_that_comes_back() {
    let history = "
        tiers v1 t0:3
        minready t0 3
        stage s0 t0 rolling=0/7+107%
        settling 30
        pass 0
        new-color 0
        pass 0
        new-color 63
        pass 0
        promote-to 0 2
        pass 12
        pause-or-resume 0
        unready 0
        look";
    script(history, keeps(&[Rule::Hold]));
}

/// A shift from one version to a third one, by way of a second one: its Service is deleted, and the way back is asked for.
#[test]
fn a_deleted_service_of_a_shift_of_three_versions_is_made_again() {
    let history = "
        tiers v1 t0:2
        stage s0 t0 rolling=1/8+114%
        settling 30
        pass 0
        new-color 63
        pass 0
        promote-to 0 1
        new-color 63
        pass 0
        promote-to 0 2
        pass 0
        pause-or-resume 0
        delete-stage-service 0
        promote-to 0 0";
    script(history, keeps(&[Rule::Hold]));
}

/// The status is lost and the selector edited, and the way back is asked for, which has a pod that others have marked as the next to go.
#[test]
fn a_way_back_waits_for_a_marked_pod_without_a_status() {
    let history = "
        tiers v1 t0:3
        stage s0 t0 rolling=2/14
        settling 30
        pass 0
        new-color 63
        pass 0
        promote-to 0 1
        pass 31
        mark-by-hand 0 2
        lose-status
        edit-selector 0
        promote-to 0 0";
    script(history, keeps(&[Rule::Hold]));
}
