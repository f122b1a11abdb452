//! Properties of histories in a cluster as wide as a real one. `wide.rs` tries each with random histories of each class of
//! events, `faults.rs` with scripts of histories that have failed.

use rainbow_plan::*;

use super::{events::Event, history::History, operator::Run, *};

/// Writes that one event may cause: each of all the pods that exist changes its labels a few times.
const WRITES_PER_EVENT: usize = 200;

/// Writes that a write of an autoscaler may cause: a shift of each of three stages back and forth.
const WRITES_PER_SCALE: usize = 60;
/// Seconds in which nothing happens.
const PASSES: i64 = 600;

/// Runs the history, from the first write on, under these rules alone.
fn under_rules(history: &History, rules: Rules) -> Sim {
    let mut sim = Sim::new(history.spec.clone());
    (sim.tracing, sim.interleaves, sim.rules) = (true, true, rules);
    history.events.iter().for_each(|event| sim.happen(event));
    sim
}

/// Checks that these rules are kept, and still are when time passes.
pub fn keeps(rules: &'static [Rule]) -> impl Fn(&History) {
    |history| under_rules(history, Rules::of(rules)).pass(120)
}

/// Checks that everything comes to rest where the spec says, when nothing happens any more and no write is refused.
pub fn comes_to_rest(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.settle();
    sim.check_rest();
}

/// Checks the same where stages have steps and gates. Gates pass in the end, and a user lets every pause pass.
pub fn checked_comes_to_rest(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.let_steps_pass();
    sim.settle();
    sim.check_rest();
}

/// Checks that a release that a gate refuses ends on the color that served, and that this color never lost its pods: whatever happened
/// before, and whichever gate it is.
pub fn a_failed_gate_keeps_what_served(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.broken.clear();
    sim.spec.keep.live = 100;
    sim.let_steps_pass();
    for stage in &mut sim.spec.stages {
        stage.gates.skipped.clear();
    }
    sim.pin_all();
    sim.settle();
    let before = sim.serving();
    for gate in ["a", "b", "c"] {
        sim.gates.says.insert(gate.into(), Some(CheckOutcome::Failed));
    }
    sim.happen(&Event::NewColor(63));
    sim.settle();
    let color = sim.spec.color.clone();
    sim.spec.stages.iter_mut().for_each(|stage| stage.color = Some(color.clone()));
    sim.settle();
    let after = sim.serving();
    for stage in sim.spec.stages.clone() {
        let served = before.get(&stage.name).filter(|pods| !pods.is_empty());
        let is_gated = sim.is_gated(&stage);
        let Some(served) = served.filter(|_| is_gated) else { continue };
        assert_eq!(after.get(&stage.name), Some(served), "stage {}\n{}", stage.name, sim.trace.join("\n"));
        let memory = &sim.memory.stages[&stage.name];
        assert!(memory.rejected.as_ref().is_some_and(|rejected| rejected.color == color), "{memory:?}");
        assert!(sim.colors[&color].rejected_by.is_some(), "{:?}", sim.colors[&color]);
    }
}

/// Checks the same where a stage may wait for a user between two tiers: the user lets it pass.
pub fn tiers_come_to_rest(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.pause_nowhere();
    sim.settle();
    sim.check_rest();
}

/// Checks that a tier that a release does not change keeps its pods, on the way there and back, and gets none.
pub fn leaves_unchanged_tiers(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.broken.clear();
    sim.pause_nowhere();
    sim.spec.keep.live = 100;
    sim.pin_all();
    sim.settle();
    for (change, back) in [(8, false), (9, true), (10, false)] {
        let before = sim.clone();
        let color = if back {
            let serving = before.memory.stages.values().find_map(|stage| stage.previous.clone());
            let Some(previous) = serving.filter(|color| before.colors.contains_key(color)) else { continue };
            previous
        } else {
            sim.happen(&Event::NewColor(change));
            sim.spec.color.clone()
        };
        sim.spec.stages.iter_mut().for_each(|stage| stage.color = Some(color.clone()));
        sim.settle();
        let Some(color) = sim.colors.get(&color) else { continue };
        for stage in &before.spec.stages {
            let serving = before.memory.stages.get(&stage.name).and_then(|memory| memory.color.as_ref());
            let Some(serving) = serving.and_then(|name| before.colors.get(name)) else { continue };
            let has_arrived = sim.memory.stages.get(&stage.name).and_then(|memory| memory.color.as_ref());
            if has_arrived != Some(&color.name) {
                continue;
            }
            for tier in &color.tiers {
                let in_stage = |color| spec::in_stage(color, &tier.name, &stage.name);
                let Some(instance) = in_stage(color).filter(|instance| in_stage(serving).as_ref() == Some(instance))
                else {
                    continue;
                };
                let of = |sim: &Sim| -> BTreeSet<String> {
                    let own = sim.pods.iter().filter(|(_, pod)| pod.instance == instance && !pod.terminating);
                    own.map(|(name, _)| name.clone()).collect()
                };
                let (was, is) = (of(&before), of(&sim));
                // A smaller size that a user sets takes effect when the spec's color serves.
                let is_smaller = (sim.full(&instance) as usize) < was.len();
                assert!(
                    is_smaller || was.is_subset(&is),
                    "{} had {was:?} and has {is:?}, from {} to {}\n{}",
                    spec::show(&instance),
                    serving.name,
                    color.name,
                    sim.trace.join("\n")
                );
            }
        }
    }
}

/// Checks that a stage has all its pods again a while after some were lost, even when other things are wrong.
pub fn refills(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.pass(300);
    sim.check_refilled();
}

/// Checks that the number of writes is bounded by the number of events: a write without effect is not repeated without a pause.
pub fn bounds_writes(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    let before = sim.writes;
    assert!(before <= WRITES_PER_EVENT * (history.events.len() + 5), "{before} writes");
    // Everything that was under way ends; a refused write is tried more and more seldom.
    sim.pass(PASSES);
    let after = sim.writes - before;
    // An autoscaler that takes a color's pods away moves stages back each time.
    let scaled = sim.scalers.len() * (PASSES as usize * 1_000 / cluster::SCALE_EVERY as usize);
    let most = 2 * WRITES_PER_EVENT + scaled * WRITES_PER_SCALE;
    assert!(after <= most, "{after} writes when nothing happened\n{}", sim.trace.join("\n"));
}

/// Checks that a stage is taken to another color within one look after the user asks for it, even when other chains are stuck.
pub fn moves_at_once(history: &History) {
    let sim = under_rules(history, Rules::of(&[]));
    (0..sim.spec.stages.len()).for_each(|index| moves_stage_at_once(&sim, index, false));
}

/// Checks the same of a stage whose shift has just ended, and whose labels are not off yet.
pub fn moves_at_once_after_a_shift(history: &History) {
    let sim = under_rules(history, Rules::of(&[]));
    (0..sim.spec.stages.len()).for_each(|index| moves_stage_at_once(&sim, index, true));
}

/// Sends the stage to any color that lives as a whole and is in use or new, so that no clock has to be stopped first.
fn moves_stage_at_once(sim: &Sim, index: usize, finishing: bool) {
    let stage = sim.spec.stages[index].clone();
    if sim.is_finishing(&stage.name) != finishing || sim.is_refused(&stage.name) {
        return;
    }
    let ready = |instance: &InstanceName| {
        let wanted = stage.replicas.unwrap_or(u32::MAX).min(sim.full(instance));
        // A pod that other writers have marked as the next to end may be gone at once.
        let stays = |pod: &SimPod| pod.ready && !pod.terminating && pod.mark != Mark::Leaving && pod.out.is_none();
        let serves = |pod: &&SimPod| pod.instance == *instance && stays(pod);
        wanted > 0 && sim.pods.values().filter(serves).count() as u32 >= wanted
    };
    let waits = |color: &Color| color.tiers.iter().any(|tier| !tier.min_ready.is_zero());
    let can_serve = |color: &&Color| {
        !color.deleting && color.released.is_none() && !waits(color) && color.instances.values().all(ready)
    };
    // A stage whose spec is invalid goes nowhere but back.
    let serving = sim.memory.stages.get(&stage.name).and_then(|memory| memory.color.as_deref());
    let is_open = |color: &&Color| !sim.invalid_stages.contains(&stage.name) || serving == Some(&color.name);
    for color in sim.colors.values().filter(can_serve).filter(is_open) {
        let Some(instance) = sim.entry(&stage, color) else { continue };
        let (instance, selects) = (&instance, Selection::Instance(instance.clone()));
        if sim.selected(&stage.name).is_none_or(|selected| *selected == selects) {
            continue;
        }
        let mut sim = sim.clone();
        let told = &mut sim.spec.stages[index];
        (told.color, told.paused, told.hold) = (Some(color.name.clone()), false, None);
        sim.refresh_all();
        // One write of ports and selector waits until the endpoint controller knows the pods.
        let has_other_ports = sim.selected(&stage.name).is_some_and(|selected| match selected {
            Selection::Instance(selected) => sim.port(selected) != sim.port(instance),
            Selection::Members | Selection::Other => true,
        });
        // A flip in one write waits for the same.
        let is_seen = |pod: &Pod| pod.instance != *instance || pod.listed;
        let waits = sim.spec.swap == Swap::Direct && !sim.world().pods.iter().all(is_seen);
        if waits || has_other_ports {
            sim.tick(sim.spec.propagation.as_millis() as i64 + 1);
            sim.refresh_all();
        }
        sim.reconcile(Run::Whole);
        let about = |action: &Action| match action {
            Action::ApplyStage { stage: of, .. } | Action::Join { stage: of, .. } | Action::Leave { stage: of, .. } => {
                *of == stage.name
            }
            _ => false,
        };
        let moves = sim.written.iter().any(about) || sim.is_on_its_way(&stage.name, instance);
        assert!(moves, "stage {} is not moved to {}\n{}", stage.name, color.name, sim.trace.join("\n"));
    }
}

/// Checks that trouble of one chain delays no other one: a stage comes to the color that it should serve, although the writes of
/// another stage, of the newest color, or of a color that ends are refused for good.
pub fn delays_no_other(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    // A stage that moves with a surge waits for the end of connections.
    sim.pods.values_mut().for_each(|pod| (pod.connections, pod.dumb) = (0, false));
    // A color that waits for a slot waits for the end of another color.
    sim.spec.keep.live = 100;
    let mut well = sim.clone();
    well.settle();
    let stages: Vec<&Stage> = sim.spec.stages.iter().collect();
    // A stage that is named like a color waits until the color's names are free.
    let goes_to = |stage: &Stage, color: &str| {
        spec::told(stage).0.unwrap_or(&sim.spec.color) == color
            || sim.touches(&stage.name, color)
            || stage.name == color
    };
    let mut troubles: Vec<(Vec<WriteTarget>, Vec<&Stage>)> = Vec::new();
    for stuck in &stages {
        let others = stages.iter().copied().filter(|stage| stage.name != stuck.name);
        troubles.push((vec![WriteTarget::Stage(stuck.name.clone())], others.collect()));
    }
    for color in sim.colors.values() {
        let deployments = color.instances.values().cloned().map(WriteTarget::Deployment);
        let others = stages.iter().copied().filter(|stage| !goes_to(stage, &color.name));
        troubles.push((deployments.collect(), others.collect()));
    }
    for (refused, others) in troubles {
        let mut stuck = sim.clone();
        stuck.refusals.extend(refused.iter().map(|target| (target.clone(), Refusal::Denied)));
        stuck.pass(well.now.saturating_sub(sim.now) / 1_000 + 120);
        for stage in others {
            let (now, expected) = (stuck.selected(&stage.name), well.selected(&stage.name));
            assert_eq!(now, expected, "stage {} with {refused:?}\n{}", stage.name, stuck.trace.join("\n"));
        }
    }
}

/// Checks that what serves does not depend on a spec that no stage was moved to. The second part of the history is about such
/// specs.
pub fn serves_its_own(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.pin_all();
    sim.settle();
    let before = sim.serving();
    history.then.iter().for_each(|event| sim.happen(event));
    sim.pass(120);
    let after = sim.serving();
    // A stage that has never served takes the first color that comes up.
    for (stage, before) in before.iter().filter(|(_, pods)| !pods.is_empty()) {
        assert_eq!(after.get(stage), Some(before), "stage {stage}\n{}", sim.trace.join("\n"));
    }
}

/// Checks that a steady state needs no controller: with the operator gone, lost pods come back by native means. A shift that is
/// held half way is no steady state.
pub fn needs_no_controller(history: &History) {
    let mut sim = under_rules(history, Rules::of(&[]));
    sim.heal();
    sim.pin_all();
    sim.settle();
    let before = sim.serving();
    for node in 0..6 {
        sim.happen(&Event::NodeGone(node));
        sim.tick(5_000);
        sim.calm();
    }
    assert_eq!(sim.serving(), before, "{}", sim.trace.join("\n"));
}
