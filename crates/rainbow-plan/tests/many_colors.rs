//! Many colors at once: instances that they share, connections that hold them, and the way back to a color that drains.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sim;

use std::{collections::BTreeSet, time::Duration};

use proptest::strategy::Strategy as _;
use rainbow_plan::*;
use sim::{
    Sim,
    classes::*,
    events::Event,
    explore::{Share, explore},
    history::History,
    operator::Run,
    spec,
};

const CHAIN: &str = "e:2 d:2>e c:2>d b:2>c a:2>b";
const DIAMOND: &str = "e:2 c:2>e d:2>e b:2>c,d a:2>b";

fn counted(color: &str, tiers: &str, live: u32) -> Spec {
    let mut stage = spec::stage("active", "a");
    stage.color = Some(color.into());
    let mut made = spec::spec(color, spec::tiers(tiers, color), vec![stage]);
    made.tiers.iter_mut().for_each(|tier| tier.counted = true);
    made.keep = Keep { live, history: 100, ..made.keep };
    made
}

/// Releases a new version in which a tier changes, and with it all tiers that call it.
fn release(sim: &mut Sim, color: &str, changed: &str) {
    let mut changed = vec![changed.to_owned()];
    sim.spec.color = color.into();
    while let Some(tier) = changed.pop() {
        for known in &mut sim.spec.tiers {
            if known.name == tier || known.needs.contains(&tier) {
                known.identity = format!("{}@{color}", known.name);
                changed.extend((known.name != tier).then(|| known.name.clone()));
            }
        }
    }
}

fn promote(sim: &mut Sim, color: &str) {
    sim.spec.stages[0].color = Some(color.into());
    sim.pass(20);
    let serves = Selection::Instance(sim.colors[color].instances["a"].clone());
    assert_eq!(sim.selected("active"), Some(&serves), "active serves {color}");
}

#[test]
fn exactly_what_changed_and_what_calls_it_starts() {
    for (tiers, changed, starts) in [
        (CHAIN, "a", "a"),
        (CHAIN, "c", "abc"),
        (CHAIN, "e", "abcde"),
        (DIAMOND, "a", "a"),
        (DIAMOND, "b", "ab"),
        (DIAMOND, "c", "abc"),
        (DIAMOND, "d", "abd"),
        (DIAMOND, "e", "abcde"),
    ] {
        let mut sim = Sim::new(Spec { reuse: Reuse::Unchanged, ..counted("v1", tiers, 8) });
        sim.settle();
        let before = sim.started_instances.clone();
        release(&mut sim, "v2", changed);
        sim.settle();
        promote(&mut sim, "v2");
        sim.settle();
        sim.check_rest();
        let started: String =
            sim.started_instances.keys().filter(|name| !before.contains_key(name)).map(|name| &*name.tier).collect();
        assert_eq!(started, starts, "{changed} of {tiers} changes");
        assert!(sim.started_instances.values().all(|pods| *pods == 2), "{:?}", sim.started_instances);
        // Instances that only v1 has are gone; instances that both have live on.
        let lives: BTreeSet<&str> =
            sim.pods.values().filter(|pod| *pod.instance.color == *"v1").map(|pod| &*pod.instance.tier).collect();
        let shared: BTreeSet<&str> =
            ["a", "b", "c", "d", "e"].into_iter().filter(|tier| !starts.contains(tier)).collect();
        assert_eq!(lives, shared, "{changed} of {tiers} changes");
    }
}

/// Makes two colors that share no instance, then a third whose `a`, the tier at `at`, is again that of the first.
#[track_caller]
fn shares_all_with_the_first(tiers: &str, at: usize) {
    let mut sim = Sim::new(counted("v1", tiers, 8));
    sim.settle();
    // Only the entry differs, and yet v2 has its own instances of all tiers.
    release(&mut sim, "v2", "a");
    sim.settle();
    sim.spec.reuse = Reuse::Unchanged;
    release(&mut sim, "v3", "none");
    sim.spec.tiers[at].identity = "a@v1".into();
    sim.settle();
    let instances = &sim.colors["v3"].instances;
    assert!(instances.values().all(|name| *name.color == *"v1"), "{instances:?}");
}

/// A color takes an instance only with all instances that it calls, although v2 is newer and has equal ones.
#[test]
fn what_is_shared_calls_what_the_color_has() {
    shares_all_with_the_first(CHAIN, 4);
}

/// Two callers of one tier are found in two colors that each have their own instance of it: the new color must not have both. v2
/// has an equal `c`, but that one calls another `b` than the only equal `a` does.
#[test]
fn what_is_shared_agrees_on_what_it_calls() {
    shares_all_with_the_first("a:1>b c:1>b b:1", 0);
}

#[test]
fn a_name_whose_instances_another_color_has_is_refused() {
    let mut sim = Sim::new(Spec { reuse: Reuse::Unchanged, ..counted("v1", CHAIN, 8) });
    sim.spec.keep.history = 0;
    sim.settle();
    release(&mut sim, "v2", "a");
    sim.settle();
    promote(&mut sim, "v2");
    sim.settle();
    assert!(!sim.colors.contains_key("v1"), "its history is over");
    release(&mut sim, "v1", "e");
    sim.spec.tiers.iter_mut().for_each(|tier| tier.identity.push('!'));
    sim.settle();
    let plan = plan(&sim.world(), Time(sim.now));
    let expected = |tier: &str| Problem::InstanceInUse {
        color: "v1".into(),
        instance: spec::instance(tier, "v1"),
        user: "v2".into(),
    };
    assert!(plan.report.problems.contains(&expected("e")), "{:?}", plan.report.problems);
    assert!(!sim.colors.contains_key("v1"));
    assert_eq!(sim.pods.len(), 10);
}

/// All colors hold connections, and end one after the other as these end, the newest first.
#[test]
fn twenty_colors_drain_at_once() {
    let name = |number: usize| format!("{number:06}");
    let mut sim = Sim::new(counted(&name(1), "b:1 a:2>b", 20));
    sim.tracing = true;
    sim.settle();
    for number in 2..=20 {
        sim.on_pods(&format!("a-{}", name(number - 1)), usize::MAX, |pod| pod.connections = 5);
        sim.spec.color = name(number);
        sim.spec.tiers.iter_mut().for_each(|tier| tier.identity = format!("{}@{number}", tier.name));
        sim.pass(5);
        promote(&mut sim, &name(number));
    }
    sim.pass(600);
    assert_eq!(sim.pods.len(), 60, "nobody has gone");
    let report = plan(&sim.world(), Time(sim.now)).report;
    let draining = report.colors.iter().filter(|color| color.phase == ColorPhase::Draining);
    assert_eq!(draining.map(|color| color.connections).collect::<Vec<_>>(), vec![Some(10); 19]);
    // No slot is left, and the color that waits reports which colors hold them.
    sim.spec.color = "late".into();
    sim.spec.tiers.iter_mut().for_each(|tier| tier.identity = format!("{}@late", tier.name));
    sim.pass(60);
    assert_eq!(sim.pods.len(), 60);
    let report = plan(&sim.world(), Time(sim.now)).report;
    let late = report.colors.iter().find(|color| color.name == "late").unwrap();
    let Some(Waiting::ForSlot { living }) = &late.waiting else { panic!("{late:?}") };
    assert_eq!((living.len(), &living[0].because), (20, &LivesBecause::Stages(vec!["active".into()])));
    assert!(
        living[1..].iter().all(|living| matches!(
            living.because,
            LivesBecause::Drains { connections: 10, busy: 2, unknown: 0, unknown_since: None, deadline: Some(_) }
        )),
        "{living:?}"
    );
    for number in (1..20).rev() {
        sim.on_pods(&format!("a-{}", name(number)), usize::MAX, |pod| pod.connections = 0);
        sim.pass(120);
        let left: BTreeSet<&str> = sim.pods.values().map(|pod| &*pod.instance.color).collect();
        assert!(!left.contains(name(number).as_str()), "{left:?}");
        // Colors that still have connections, the one that serves, and the one that waited.
        assert_eq!(left.len(), number + 1, "{left:?}");
    }
    sim.settle();
    sim.check_rest();
}

/// A drain with connections, in two tiers; the operator is killed after each number of writes in turn.
#[test]
fn a_crash_in_a_drain_changes_nothing_in_the_end() {
    let walk = |crash: usize| {
        let mut sim = Sim::new(counted("v1", "b:2 a:4>b", 8));
        sim.tracing = true;
        sim.settle();
        sim.on_pods("a-v1", 3, |pod| pod.connections = 1);
        sim.on_pods("b-v1", 1, |pod| pod.connections = 1);
        release(&mut sim, "v2", "b");
        sim.spec.stages[0].color = Some("v2".into());
        let (first, start) = (sim.writes, sim.now);
        while sim.now < start + 250_000 {
            sim.calm();
            let left = first.saturating_add(crash).saturating_sub(sim.writes);
            let (wrote, wake) = sim.reconcile(if left > 0 { Run::CrashAfter(left) } else { Run::Whole });
            match sim.now - start {
                70_000..150_000 => sim.on_pods("a-v1", 2, |pod| pod.connections = 0),
                150_000.. => sim.on_pods("a-v1", 9, |pod| pod.connections = 0),
                _ => {}
            }
            let next = wake.map_or(5_000, |wake| (wake.0 - sim.now).clamp(1, 5_000));
            sim.tick(if wrote { 1 } else { next });
        }
        let writes = sim.writes - first;
        sim.settle();
        sim.check_rest();
        let deps: Vec<_> = sim.deps.iter().map(|(name, dep)| (name.clone(), dep.replicas)).collect();
        (deps, writes)
    };
    let (whole, writes) = walk(usize::MAX);
    assert!(writes > 30, "{writes}");
    for crash in 1..writes {
        assert_eq!(walk(crash).0, whole, "after {crash} writes");
    }
}

/// A color that drains is taken back as it is: a pod that has connections keeps them, and only pods that have ended already are
/// started again.
#[test]
fn a_draining_color_is_taken_back_as_it_is() {
    let unharmed = |event: &Event| {
        !matches!(event, Event::Kill(_) | Event::Disconnect(_) | Event::Connect(..) | Event::Unready(_))
    };
    let busy = proptest::prop_oneof![
        (0usize..3, 1u32..3).prop_map(|(pod, count)| Event::Connect(pod, count)),
        (0i64..120).prop_map(Event::Pass),
    ];
    let all = histories_then(busy, 5, of_the_cluster().prop_filter("harmless", unharmed), 20);
    explore("a_draining_color_is_taken_back_as_it_is", Share { cases: 60, classes: 1 }, all, taken_back);
}

fn taken_back(history: &History) {
    let mut spec = history.spec.clone();
    spec.tiers.iter_mut().for_each(|tier| tier.counted = true);
    for stage in &mut spec.stages {
        (stage.color, stage.promote, stage.replicas) = (Some("v1".into()), Promote::Manual, None);
    }
    spec.keep.history = 3;
    let mut sim = Sim::new(spec);
    sim.tracing = true;
    sim.settle();
    let entry: Vec<String> =
        sim.pods.iter().filter(|(_, pod)| *pod.instance.tier == *"t0").map(|(name, _)| name.clone()).collect();
    for event in &history.events {
        if let Event::Connect(pod, count) = event {
            sim.pods.get_mut(&entry[pod % entry.len()]).unwrap().connections += count;
        }
    }
    let busy: Vec<String> = entry.into_iter().filter(|pod| sim.pods[pod].connections > 0).collect();
    let connections: Vec<u32> = busy.iter().map(|pod| sim.pods[pod].connections).collect();
    sim.happen(&Event::NewColor(63));
    sim.spec.stages.iter_mut().for_each(|stage| stage.color = Some("v2".into()));
    sim.pass(20);
    history.events.iter().filter(|event| matches!(event, Event::Pass(_))).for_each(|event| sim.happen(event));
    history.then.iter().for_each(|event| sim.happen(event));
    // Pods that have not been let go already.
    let stays = |sim: &Sim, pod: &sim::SimPod| {
        let alive = sim.pods.values().filter(|other| other.instance == pod.instance && !other.terminating).count();
        let keeps = |dep: &sim::Dep| dep.replicas as usize >= alive;
        !pod.terminating && sim.deps.get(&pod.instance).is_none_or(keeps)
    };
    let kept = sim.pods.iter().filter(|(_, pod)| *pod.instance.color == *"v1" && stays(&sim, pod));
    let kept: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
    sim.spec.stages.iter_mut().for_each(|stage| stage.color = Some("v1".into()));
    sim.pass(120);
    for pod in busy.iter().chain(&kept) {
        assert!(sim.pods.get(pod).is_some_and(|pod| !pod.terminating), "{pod} has gone");
    }
    assert_eq!(busy.iter().map(|pod| sim.pods[pod].connections).collect::<Vec<_>>(), connections);
    let there = sim.pods.values().filter(|pod| *pod.instance.color == *"v1").count();
    assert_eq!(there, sim.spec.tiers.iter().map(|tier| tier.replicas as usize).sum::<usize>());
    for stage in &sim.spec.stages {
        assert_eq!(sim.selected(&stage.name), Some(&Selection::Instance(spec::instance("t0", "v1"))));
    }
    let mut pods = sim.pods.values().filter(|pod| *pod.instance.color == *"v1");
    assert!(pods.all(|pod| pod.mark == Mark::None && pod.controller == Controller::ReplicaSet));
}

/// A pod that no longer is to end must be known as such before another one ends: a Deployment could delete it instead.
#[test]
fn whoever_stays_must_not_look_cheap() {
    let mut sim = Sim::new(counted("v1", "a:3", 8));
    sim.spec.drain.settle = Duration::from_secs(30);
    sim.settle();
    let pods: Vec<String> = sim.pods.keys().cloned().collect();
    sim.pods.get_mut(&pods[2]).unwrap().connections = 1;
    sim.happen(&Event::Replicas(0, 1));
    sim.pass(31);
    let marks = |sim: &Sim| pods.iter().map(|pod| sim.pods[pod].mark).collect::<Vec<_>>();
    assert_eq!(marks(&sim), [Mark::Leaving, Mark::Leaving, Mark::None], "two have settled in a second");
    sim.tick(1_000);
    sim.pods.get_mut(&pods[1]).unwrap().connections = 1;
    let replicas = |sim: &mut Sim| {
        sim.calm();
        sim.reconcile(Run::Whole);
        sim.deps[&spec::instance("a", "v1")].replicas
    };
    assert_eq!(replicas(&mut sim), 3, "in the moment it becomes busy");
    assert_eq!(marks(&sim), [Mark::Leaving, Mark::Held, Mark::None]);
    sim.tick(500);
    assert_eq!(replicas(&mut sim), 3, "before that is known");
    sim.tick(1_000);
    assert_eq!(replicas(&mut sim), 2);
    sim.calm();
    assert_eq!(sim.pods.keys().filter(|pod| pods.contains(pod)).collect::<Vec<_>>(), [&pods[1], &pods[2]]);
}

/// The operator was away when the pods had settled: they are marked then, and end when the mark is known.
#[test]
fn a_mark_is_known_before_a_pod_goes() {
    let mut sim = Sim::new(counted("v1", "a:3", 8));
    sim.settle();
    sim.on_pods("a-v1", 1, |pod| pod.connections = 1);
    sim.happen(&Event::Replicas(0, 1));
    sim.pass(3);
    sim.tick(60_000);
    let replicas = |sim: &mut Sim| {
        sim.calm();
        sim.reconcile(Run::Whole);
        sim.deps[&spec::instance("a", "v1")].replicas
    };
    assert_eq!(replicas(&mut sim), 3);
    assert_eq!(sim.pods.values().filter(|pod| pod.mark == Mark::Leaving).count(), 2);
    assert_eq!(replicas(&mut sim), 3, "marked just now");
    sim.tick(500);
    assert_eq!(replicas(&mut sim), 3, "not known everywhere");
    sim.tick(1_000);
    assert_eq!(replicas(&mut sim), 1);
}

/// A user asks a draining color's Deployment for fewer pods. The planner does not choose which of them end, and never asks for
/// them again.
#[test]
fn a_user_who_makes_a_draining_color_smaller_is_not_contradicted() {
    let mut sim = Sim::new(counted("v1", "a:3", 8));
    sim.settle();
    sim.on_pods("a-v1", 2, |pod| pod.connections = 1);
    release(&mut sim, "v2", "a");
    sim.pass(0);
    sim.spec.stages[0].color = Some("v2".into());
    sim.pass(10);
    sim.tick(60_000);
    let dep = sim.deps.get_mut(&spec::instance("a", "v1")).unwrap();
    (dep.replicas, dep.down) = (1, sim::Cause::Theirs);
    for _ in 0..5 {
        sim.ask();
        sim.reconcile(Run::Whole);
        assert_eq!(sim.deps[&spec::instance("a", "v1")].replicas, 1);
        sim.tick(1_000);
    }
    let ending = sim.pods.values().filter(|pod| pod.terminating).count();
    assert_eq!(ending, 0, "their Deployment has not even looked yet");
}

/// Pods that were deleted take their time, and are not deleted again.
#[test]
fn every_pod_is_let_go_once() {
    let mut sim = Sim::new(counted("v1", "a:3", 8));
    sim.settle();
    let pods: Vec<String> = sim.pods.keys().cloned().collect();
    sim.on_pods("a-v1", 2, |pod| pod.connections = 1);
    release(&mut sim, "v2", "a");
    sim.pass(0);
    sim.spec.stages[0].color = Some("v2".into());
    sim.pass(10);
    let mut told = Vec::new();
    for second in 0..200 {
        if second % 60 == 59 {
            sim.on_pods("a-v1", second / 60 + 1, |pod| pod.connections = 0);
        }
        sim.ask();
        for action in plan(&sim.world(), Time(sim.now)).actions().cloned() {
            if let Action::EndPod { pod, why } = action {
                told.push((pod, why, second));
            }
        }
        sim.reconcile(Run::Whole);
        // The garbage collector works; no pod that is deleted is gone.
        sim.run_deployment(&spec::instance("a", "v1"), 0);
        sim.tick(1_000);
    }
    let names: Vec<&String> = told.iter().map(|(pod, ..)| pod).collect();
    assert_eq!(names, [&pods[2], &pods[0], &pods[1]], "{told:?}");
    assert!(told.iter().all(|(_, why, _)| *why == Why::Idle));
}

/// A pod was let go, and gets a connection before its Deployment has acted. Without its mark another pod would end instead. The
/// same holds for a pod of a color that becomes larger again in that moment: the Deployment is asked for all pods first.
#[test]
fn who_was_let_go_stays_the_one_to_go() {
    let mut sim = Sim::new(counted("v1", "a:3", 8));
    sim.settle();
    let pods: Vec<String> = sim.pods.keys().cloned().collect();
    sim.on_pods("a-v1", 2, |pod| pod.connections = 1);
    sim.happen(&Event::Replicas(0, 2));
    sim.pass(3);
    let idle = spec::instance("a", "v1");
    let away = |sim: &mut Sim, seconds: usize| {
        for _ in 0..seconds {
            sim.ask();
            sim.reconcile(Run::Whole);
            sim.tick(1_000);
        }
    };
    away(&mut sim, 60);
    assert_eq!(sim.deps[&idle].replicas, 2);
    sim.pods.get_mut(&pods[2]).unwrap().connections = 1;
    away(&mut sim, 10);
    assert_eq!((sim.pods[&pods[2]].mark, sim.deps[&idle].replicas), (Mark::Leaving, 2));
    sim.happen(&Event::Replicas(0, 3));
    away(&mut sim, 10);
    assert_eq!((sim.pods[&pods[2]].mark, sim.deps[&idle].replicas), (Mark::Leaving, 3));
    sim.pass(60);
    assert_eq!(sim.pods.keys().filter(|pod| pods.contains(pod)).count(), 3, "nobody has gone");
    assert!(sim.pods.values().all(|pod| pod.mark == Mark::None));
}

/// In the very moment when a color is about to end, a new one is made that has an instance of it.
#[test]
fn what_a_new_color_takes_does_not_go_first() {
    let mut sim = Sim::new(Spec { reuse: Reuse::Unchanged, ..counted("v1", "a:1 b:1 c:1", 8) });
    sim.spec.tiers.iter_mut().for_each(|tier| tier.counted = false);
    sim.settle();
    release(&mut sim, "v2", "b");
    sim.settle();
    sim.colors.get_mut("v2").unwrap().retire = true;
    sim.reconcile(Run::Whole);
    sim.tick(5_000);
    release(&mut sim, "v3", "c");
    sim.calm();
    sim.reconcile(Run::Whole);
    let shared = spec::instance("b", "v2");
    assert_eq!(sim.colors["v3"].instances["b"], shared);
    assert_eq!(sim.deps[&shared].replicas, 1);
    sim.settle();
    assert_eq!(sim.started_instances[&shared], 1);
}

/// In the very moment when a retired color's objects would be deleted, a new color is made that has an instance of it.
#[test]
fn what_a_new_color_takes_is_not_deleted_first() {
    let mut sim = Sim::new(Spec { reuse: Reuse::Unchanged, ..counted("v1", "a:1 b:1 c:1", 8) });
    sim.spec.tiers.iter_mut().for_each(|tier| tier.counted = false);
    sim.spec.keep.history = 0;
    sim.settle();
    release(&mut sim, "v2", "b");
    sim.settle();
    sim.colors.get_mut("v2").unwrap().retire = true;
    let shared = spec::instance("b", "v2");
    while sim.deps[&shared].replicas > 0 {
        sim.calm();
        sim.reconcile(Run::Whole);
        sim.tick(1_000);
    }
    release(&mut sim, "v3", "c");
    sim.calm();
    sim.reconcile(Run::Whole);
    assert!(!sim.colors.contains_key("v2"), "its history is over");
    assert_eq!(sim.colors["v3"].instances["b"], shared);
    assert!(sim.deps.contains_key(&shared));
}

/// Pods that hold connections are guarded, and no other pods are for long.
#[test]
fn the_guard_comes_and_goes_with_the_held() {
    let mut sim = Sim::new(counted("v1", "b:1 a:2>b", 8));
    sim.settle();
    sim.on_pods("a-v1", 1, |pod| pod.connections = 1);
    release(&mut sim, "v2", "b");
    promote(&mut sim, "v2");
    sim.pass(100);
    let held: Vec<_> = sim.pods.values().filter(|pod| pod.mark == Mark::Held).map(|pod| &*pod.instance.tier).collect();
    assert_eq!(held, ["a", "b"], "the busy pod, and what it calls");
    assert_eq!(sim.guard, Presence::Current);
    sim.on_pods("a-v1", 1, |pod| pod.connections = 0);
    sim.settle();
    assert_eq!(sim.guard, Presence::Absent);
}
