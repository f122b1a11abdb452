//! Evidence of a stage's shadow Service, case by case.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

use rainbow_plan::*;
use sim::{Sim, operator::Run, spec};

const STAGE: &str = "active";

/// Returns a world in which v1 serves with two pods, and the first of two pods of v2 is to join: the labels are written, the
/// shadow Service is made, and the endpoint controller has seen nothing of either.
fn labelled() -> (World, Time) {
    let mut made = spec::stage(STAGE, "a");
    (made.shift, made.color) = (spec::rolling(1, 5), Some("v1".into()));
    let mut sim = Sim::new(spec::spec("v1", spec::tiers("a:2", "v1"), vec![made]));
    sim.pass(60);
    (sim.spec.color, sim.spec.tiers) = ("v2".into(), spec::tiers("a:2", "v2"));
    sim.pass(60);
    sim.label_lag = 20_000;
    sim.spec.stages[0].color = Some("v2".into());
    sim.reconcile(Run::Whole);
    let world = sim.world();
    assert_eq!(world.pods.iter().filter(|pod| pod.member.contains_key(STAGE)).count(), 3);
    (world, sim.clock())
}

/// Checks whether the stage is pointed at the members at this time.
#[track_caller]
fn check(world: &World, at: Time, expected: bool, what: &str) {
    let selects = |action: &Action| matches!(action, Action::ApplyStage { stage, selects: Selection::Members, .. } if stage == STAGE);
    assert_eq!(plan(world, at).actions().any(selects), expected, "{what}");
}

fn see(pod: &mut Pod, since: Time) {
    pod.shadow.insert(STAGE.into(), since);
}

#[test]
fn members_are_selected_when_their_labels_have_been_seen() {
    let (mut world, now) = labelled();
    let hour = Time(now.0 + 3_600_000);
    check(&world, hour, false, "no label has been seen");
    let members = |pod: &&mut Pod| pod.member.contains_key(STAGE);
    world.pods.iter_mut().filter(members).skip(1).for_each(|pod| see(pod, now));
    check(&world, hour, false, "one has not been seen");
    world.pods.iter_mut().filter(members).for_each(|pod| see(pod, now));
    check(&world, now, true, "all have been seen");

    let mut former = world.clone();
    former.pods.iter_mut().filter(|pod| !members(pod)).for_each(|pod| see(pod, now));
    check(&former, hour, false, "a pod is no longer a member, and the endpoint controller has not seen that");

    let mut left_over = world.clone();
    left_over.pods.iter_mut().filter(members).take(1).for_each(|pod| see(pod, Time(now.0 - 1)));
    check(&left_over, now, false, "an endpoint from before the label");
    check(&left_over, now.after(world.spec.propagation), true, "the label must be known by now");
}

#[test]
fn without_a_shadow_time_tells() {
    let (mut world, now) = labelled();
    let key = StageKey::shadow(STAGE);
    let edited = StageService::Ours { current: true, selects: Selection::Other, serves: None };
    for found in [None, Some(StageService::Foreign), Some(edited)] {
        let what = format!("{found:?}");
        world.stages.remove(&key);
        world.stages.extend(found.map(|found| (key.clone(), found)));
        let late = now.after(world.spec.propagation.saturating_mul(30));
        check(&world, Time(late.0 - 1), false, &what);
        check(&world, late, true, &what);
    }
}
