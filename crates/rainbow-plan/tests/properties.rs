//! Properties over random applications and random histories, in a model cluster (see `sim`) that checks at every moment: no stage
//! has fewer pods than it wants minus those that failed by themselves. No pod ends while a client may be sent to it, nor with
//! connections, nor on a count that is unknown, before the deadline. No tier ends before the tiers that call it. No more colors
//! live than may. No object that a stage points at is deleted for good. No object of another owner is written to, and every write
//! changes something. No stage has pods of two colors outside a shift, and a plan does not depend on the order of a list.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

use proptest::prelude::*;
use rainbow_plan::*;
use sim::{
    Sim,
    classes::*,
    events::Event,
    explore::{Share, explore},
    operator::Run,
    spec,
};

/// Runs a history.
fn happened(spec: Spec, events: &[Event]) -> Sim {
    let mut sim = Sim::new(spec);
    sim.tracing = true;
    events.iter().for_each(|event| sim.happen(event));
    sim
}

fn releases() -> impl Strategy<Value = Event> {
    prop_oneof![12 => of_the_cluster(), 1 => of_users()]
}

/// Releases, failures, lags and crashes in any order come to rest where the spec says.
#[test]
fn releases_come_to_rest() {
    explore("releases_come_to_rest", Share { cases: 120, classes: 1 }, histories(releases(), 120), |history| {
        let mut sim = Sim::new(history.spec.clone());
        (sim.tracing, sim.civil) = (true, true);
        history.events.iter().for_each(|event| sim.happen(event));
        sim.settle();
        sim.check_rest();
    });
}

/// Anything comes to rest, also when users do what they should not.
#[test]
fn anything_comes_to_rest() {
    let events = prop_oneof![10 => of_the_cluster(), 1 => of_users(), 1 => of_vandals()];
    explore("anything_comes_to_rest", Share { cases: 120, classes: 1 }, histories(events, 120), |history| {
        let mut sim = happened(history.spec.clone(), &history.events);
        sim.settle();
        sim.check_rest();
    });
}

/// Releases come to rest, also when colors share instances that are equal.
#[test]
fn shared_instances_come_to_rest() {
    explore("shared_instances_come_to_rest", Share { cases: 120, classes: 1 }, histories(releases(), 120), |history| {
        let mut sim = Sim::new(Spec { reuse: Reuse::Unchanged, ..history.spec.clone() });
        (sim.tracing, sim.civil) = (true, true);
        history.events.iter().for_each(|event| sim.happen(event));
        sim.settle();
        sim.check_rest();
    });
}

/// A Rainbow that is deleted at any moment goes away completely and in order, and nothing else does.
#[test]
fn a_deleted_rainbow_leaves_nothing() {
    let events = prop_oneof![10 => of_the_cluster(), 1 => of_users()];
    let all = histories_then(events, 60, of_the_cluster(), 30);
    explore("a_deleted_rainbow_leaves_nothing", Share { cases: 120, classes: 1 }, all, |history| {
        let mut sim = happened(history.spec.clone(), &history.events);
        sim.spec.deleting = true;
        history.then.iter().for_each(|event| sim.happen(event));
        sim.settle();
        assert!(sim.released);
        sim.check_nothing_left();
    });
}

/// The way back from a shift, and from a color to the one before that still lives, starts no pod of that color.
#[test]
fn the_way_back_starts_no_pod() {
    let unharmed = of_the_cluster().prop_filter("a pod that is killed is replaced", |e| !matches!(e, Event::Kill(_)));
    let all = histories_then((0i64..40).prop_map(Event::Pass), 2, unharmed, 20);
    explore("the_way_back_starts_no_pod", Share { cases: 120, classes: 1 }, all, |history| {
        let mut spec = history.spec.clone();
        spec.stages[0].color = Some("v1".into());
        spec.drain.settle = std::time::Duration::from_secs(3_600);
        let mut sim = Sim::new(spec);
        sim.tracing = true;
        sim.settle();
        sim.happen(&Event::NewColor(63));
        sim.settle();
        sim.spec.stages[0].color = Some("v2".into());
        history.events.iter().chain(&history.then).for_each(|event| sim.happen(event));
        let started = sim.started["v1"];
        sim.spec.stages[0].color = Some("v1".into());
        sim.pass(60);
        assert_eq!(sim.started["v1"], started);
        assert_eq!(sim.selected("s0"), Some(&Selection::Instance(spec::instance("t0", "v1"))));
    });
}

/// A whole release and its way back; the operator is killed after each number of writes in turn.
#[test]
fn a_crash_at_any_write_changes_nothing_in_the_end() {
    let mut stages = vec![spec::stage("smoke", "web"), spec::stage("active", "web")];
    stages[0].promote = Promote::Auto;
    stages[0].replicas = Some(1);
    stages[1].shift = spec::rolling(2, 5);
    let made = spec::spec("v1", spec::tiers("db:1 mid:2>db web:3>mid,db", "v1"), stages);
    let walk = |crash: usize| {
        let mut sim = Sim::new(made.clone());
        let mut left = crash;
        let mut settle = |sim: &mut Sim| {
            for _ in 0..200 {
                sim.calm();
                let before = sim.writes;
                let (wrote, wake) = sim.reconcile(if left == usize::MAX { Run::Whole } else { Run::CrashAfter(left) });
                // Counts down. At zero the operator has crashed once, and continues unharmed.
                left = match left {
                    usize::MAX => usize::MAX,
                    _ if sim.writes - before >= left => usize::MAX,
                    _ => left - (sim.writes - before),
                };
                match wake {
                    _ if wrote => {}
                    Some(wake) if wake.0 < sim.now + 60_000 => sim.tick(wake.0 - sim.now),
                    _ => break,
                }
            }
            sim.settle();
        };
        settle(&mut sim);
        for (version, stage) in [("v2", "v2"), ("v3", "v3"), ("v3", "v2")] {
            sim.spec.color = version.into();
            sim.spec.tiers = spec::tiers("db:1 mid:2>db web:3>mid,db", version);
            sim.spec.stages[1].color = Some(stage.into());
            settle(&mut sim);
        }
        sim.check_rest();
        let colors: Vec<_> = sim.colors.values().map(|color| (color.name.clone(), color.retired.is_some())).collect();
        let memory: Vec<_> =
            sim.memory.stages.values().map(|stage| (stage.color.clone(), stage.previous.clone())).collect();
        let deps: Vec<_> = sim.deps.iter().map(|(name, dep)| (name.clone(), dep.replicas)).collect();
        ((sim.stages.clone(), colors, memory, deps), sim.writes)
    };
    let (whole, writes) = walk(usize::MAX);
    assert!(writes > 80, "{writes}");
    for crash in 0..writes {
        assert_eq!(walk(crash).0, whole, "after {crash} writes");
    }
}
