//! A stage that its user has taken back: changes that undo that, and changes that do not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

use rainbow_plan::*;
use sim::{Sim, spec};

/// Returns a model whose stage `active` has served v1 and v2 and serves v3, and is then taken back to v1. Under `Auto` the stage
/// follows the newest color.
fn taken_back(promote: Promote) -> Sim {
    let mut stage = spec::stage("active", "a");
    stage.promote = promote;
    let mut made = spec::spec("v1", spec::tiers("a:2", "v1"), vec![stage]);
    made.keep = Keep { live: 10, history: 10, ..made.keep };
    let mut sim = Sim::new(made);
    sim.settle();
    for color in ["v2", "v3"] {
        release(&mut sim, color);
    }
    assert_eq!(serves(&sim), "v3");
    hold(&mut sim, "v1");
    sim.settle();
    assert_eq!(serves(&sim), "v1");
    sim
}

/// Applies a manifest of another version. It names the color of each stage that does not follow the newest one.
fn apply(sim: &mut Sim, color: &str) {
    sim.spec.color = color.into();
    sim.spec.tiers = spec::tiers("a:2", color);
    let stage = &mut sim.spec.stages[0];
    (stage.color, stage.paused) = ((stage.promote == Promote::Manual).then(|| color.into()), false);
}

fn release(sim: &mut Sim, color: &str) {
    apply(sim, color);
    sim.settle();
}

/// Writes the hold that `rainbow rollback --to` writes.
fn hold(sim: &mut Sim, color: &str) {
    let revision = sim.colors.values().map(|color| color.revision).max();
    let id = format!("{color}@{}", sim.now);
    sim.spec.stages[0].hold = Some(Hold { id, color: Some(color.into()), paused: false, revision });
}

fn serves(sim: &Sim) -> String {
    match sim.selected("active") {
        Some(Selection::Instance(instance)) => instance.color.to_string(),
        other => panic!("{other:?}"),
    }
}

const BOTH: [Promote; 2] = [Promote::Auto, Promote::Manual];

#[test]
fn the_manifest_that_was_rolled_back_changes_nothing_when_it_is_applied_again() {
    for promote in BOTH {
        let mut sim = taken_back(promote);
        for color in ["v3", "v2", "v3"] {
            release(&mut sim, color);
            assert_eq!(serves(&sim), "v1", "{promote:?}, after {color} was applied again");
        }
        sim.spec.stages[0].hold = None;
        sim.settle();
        assert_eq!(serves(&sim), "v3", "{promote:?}: the hold is lifted");
    }
}

#[test]
fn a_later_color_ends_the_hold_for_good() {
    for promote in BOTH {
        let mut sim = taken_back(promote);
        release(&mut sim, "v4");
        assert_eq!(serves(&sim), "v4", "{promote:?}");
        // The reason for the hold is history: a spec that goes back is no manifest applied by accident.
        for color in ["v3", "v1"] {
            release(&mut sim, color);
            assert_eq!(serves(&sim), color, "{promote:?}");
        }
        release(&mut sim, "v3");
        hold(&mut sim, "v2");
        sim.settle();
        assert_eq!(serves(&sim), "v2", "{promote:?}: another hold is another one");
    }
}

/// The stage stays at the color that it was taken back to until the later color is ready, also while it is on its way there.
#[test]
fn a_later_color_that_never_becomes_ready_moves_nothing() {
    for promote in BOTH {
        let mut sim = taken_back(promote);
        sim.broken.insert(spec::instance("a", "v4"));
        release(&mut sim, "v4");
        assert_eq!(serves(&sim), "v1", "{promote:?}");
        sim.broken.clear();
        sim.settle();
    }
    let mut sim = taken_back(Promote::Auto);
    sim.spec.stages[0].hold = None;
    sim.settle();
    assert_eq!(serves(&sim), "v3");
    // The release is applied in the middle of the way back, which continues.
    hold(&mut sim, "v1");
    sim.broken.insert(spec::instance("a", "v4"));
    apply(&mut sim, "v4");
    sim.settle();
    assert_eq!(serves(&sim), "v1");
}

/// A hold that another writer made with kubectl, without a revision, and a hold whose color does not exist.
#[test]
fn a_hold_without_a_revision_stays_until_it_is_lifted() {
    for promote in BOTH {
        let mut sim = taken_back(promote);
        sim.spec.stages[0].hold.as_mut().unwrap().revision = None;
        release(&mut sim, "v4");
        assert_eq!(serves(&sim), "v1", "{promote:?}");
        sim.spec.stages[0].hold.as_mut().unwrap().color = Some("nowhere".into());
        sim.settle();
        assert_eq!(serves(&sim), "v1", "{promote:?}: it goes nowhere");
    }
}

/// A status that is lost makes a hold longer, never shorter.
#[test]
fn a_hold_outlives_the_status() {
    for promote in BOTH {
        let mut sim = taken_back(promote);
        sim.memory = Memory::default();
        release(&mut sim, "v3");
        assert_eq!(serves(&sim), "v1", "{promote:?}");
    }
}

/// The stage is held at v1, and v1 does not come up again. The callee of a later version comes up, and no caller of it may.
#[test]
fn an_address_of_a_held_stage_goes_no_further_than_its_stage() {
    let mut stage = spec::stage("active", "a");
    stage.promote = Promote::Auto;
    let mut made = spec::spec("v1", spec::tiers("a:1>~b b:1", "v1"), vec![stage]);
    made.keep = Keep { live: 10, history: 10, ..made.keep };
    let mut sim = Sim::new(made);
    sim.settle();
    sim.spec.color = "v2".into();
    sim.spec.tiers = spec::tiers("a:1>~b b:1", "v2");
    sim.settle();
    sim.broken.insert(spec::instance("a", "v1"));
    hold(&mut sim, "v1");
    sim.settle();
    let before = sim.selected("active.b").cloned();
    sim.spec.color = "v3".into();
    sim.spec.tiers = spec::tiers("a:1>~b b:1", "v3");
    sim.settle();
    assert_eq!(sim.selected("active.b").cloned(), before, "{}", sim.trace.join("\n"));
}
