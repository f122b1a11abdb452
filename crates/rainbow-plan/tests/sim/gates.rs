//! Gates of the model: what each gate says, when it says it, and that no stage goes past one that has not passed.

use std::collections::BTreeMap;

use rainbow_plan::*;

use super::{rules::Rule, *};

/// Time from the question to the outcome of a check.
pub const MEASURING: i64 = 2_000;

/// Gates, and the checks that the operators have made.
#[derive(Clone, Debug, Default)]
pub struct SimGates {
    /// Outcome that each gate gives, by name. `None`: none, ever. A gate that is missing here passes.
    pub says: BTreeMap<String, Option<CheckOutcome>>,
    /// Checks that are being made, or whose outcome is known, and when they were asked for.
    pub asked: BTreeMap<Check, i64>,
}

impl Sim {
    /// Returns what is known of the checks.
    pub(super) fn check_outcomes(&self) -> BTreeMap<Check, CheckOutcome> {
        let due = self.gates.asked.iter().filter(|(_, at)| *at + MEASURING <= self.now);
        due.filter_map(|(check, _)| Some((check.clone(), self.says(&check.gate)?))).collect()
    }

    fn says(&self, gate: &str) -> Option<CheckOutcome> {
        self.gates.says.get(gate).copied().unwrap_or(Some(CheckOutcome::Passed))
    }

    /// Makes the checks that a plan asks for, and forgets the others. Returns when the next outcome comes.
    pub(super) fn follow_checks(&mut self, plan: &Plan) -> Option<i64> {
        self.gates.asked.retain(|check, _| plan.checks.contains_key(check));
        for check in plan.checks.keys() {
            self.gates.asked.entry(check.clone()).or_insert(self.now);
        }
        let coming = self.gates.asked.values().map(|at| at + MEASURING).filter(|at| *at > self.now);
        coming.min()
    }

    /// Checks that a plan takes no stage past a gate that has not passed.
    pub(super) fn check_gates(&self, world: &World, plan: &Plan) {
        for stage in &self.addresses() {
            let Some(stage) = self.planned_stage(world, stage) else { continue };
            let key = ChainKey::stage(&stage.name);
            let Some(chain) = plan.chains.iter().find(|chain| chain.key == key) else { continue };
            let of_color =
                |color: &&Color, instance: &InstanceName| self.entry(&stage, color).as_ref() == Some(instance);
            let serving = self.memory_of(world, &stage).and_then(|memory| memory.color.clone());
            let Some(serving) = serving.and_then(|name| world.colors.iter().find(|color| color.name == name)) else {
                continue;
            };
            let serves = |pod: &&Pod| pod.ready && !pod.terminating && pod.place == Place::In;
            let is_member = |pod: &&Pod| pod.member.contains_key(&stage.name);
            let shifts = matches!(
                world.stages.get(&StageKey::of(&stage.name)),
                Some(StageService::Ours { selects: Selection::Members, .. })
            );
            for color in world.colors.iter().filter(|color| color.revision > serving.revision) {
                let joins = |action: &&Action| match action {
                    Action::Join { pod, .. } => {
                        let pod = world.pods.iter().find(|known| *known.name == **pod);
                        pod.is_some_and(|pod| of_color(&color, &pod.instance))
                    }
                    _ => false,
                };
                let joining = chain.actions.iter().filter(joins).count() as u32;
                let selects = chain.actions.iter().any(|action| match action {
                    Action::ApplyStage { selects: Selection::Instance(instance), .. } => of_color(&color, instance),
                    _ => false,
                });
                // Pods that serve because another writer has pointed the Service at them are labelled on the way back.
                let is_pointed_at = matches!(
                    world.stages.get(&StageKey::of(&stage.name)),
                    Some(StageService::Ours { selects: Selection::Instance(instance), .. }) if of_color(&color, instance)
                );
                if (joining == 0 && !selects) || is_pointed_at {
                    continue;
                }
                let new = |pod: &&Pod| of_color(&color, &pod.instance);
                let old = world.pods.iter().filter(|pod| {
                    let is_shifting = !shifts || is_member(pod);
                    serves(pod) && is_shifting && self.entry(&stage, serving).as_ref() == Some(&pod.instance)
                });
                let moved = if shifts { world.pods.iter().filter(is_member).filter(new).count() as u32 } else { 0 };
                // A stage whose last old pod is lost takes what there is.
                if shifts && moved > 0 && old.count() == 0 {
                    continue;
                }
                let all = moved + joining;
                let lacks = self.lacks(world, &stage, color, moved, if selects { u32::MAX } else { all });
                self.require(Rule::Gates, lacks.is_none(), || {
                    format!("stage {} goes on to {} with {all} pods past {lacks:?}", stage.name, color.name)
                });
            }
        }
    }

    /// Returns the stage, or address, as the plan's spec has it.
    fn planned_stage(&self, world: &World, stage: &Stage) -> Option<Stage> {
        let user = world.spec.stages.iter().find(|known| known.name == stage.user_name())?;
        Some(Stage {
            name: stage.name.clone(),
            tier: stage.tier.clone(),
            address: stage.address.clone(),
            ..user.clone()
        })
    }

    fn memory_of<'w>(&self, world: &'w World, stage: &Stage) -> Option<&'w StageMemory> {
        let user = world.memory.stages.get(stage.user_name())?;
        match &stage.address {
            Address::Entry => Some(user),
            Address::Inner { .. } => user.tiers.get(stage.tier.as_deref()?),
        }
    }

    /// Returns a gate that has not passed although it must have, before this many pods of a color serve.
    fn lacks(&self, world: &World, stage: &Stage, color: &Color, moved: u32, all: u32) -> Option<Check> {
        let gates = &stage.gates;
        let check = |gate: &String, name: &str, moment| Check {
            stage: name.to_owned(),
            gate: gate.clone(),
            color: color.name.clone(),
            moment,
        };
        let mut needed: Vec<Check> = Vec::new();
        if moved == 0 {
            needed.extend(gates.before.iter().map(|gate| check(gate, stage.user_name(), Moment::Before)));
        } else if all != u32::MAX {
            needed.extend(gates.during.iter().map(|gate| check(gate, &stage.name, Moment::During { moved })));
        }
        if let Shift::Steps { steps, .. } = &stage.shift {
            let full = self.entry(stage, color).map_or(0, |instance| self.full(&instance));
            let of = stage.replicas.map_or(full, |replicas| replicas.min(full));
            let reached = |step: &Step| match step {
                Step::Pods(pods) => (*pods).min(of) >= all,
                Step::Percent(percent) => (of * percent).div_ceil(100) >= all,
                Step::Pause { .. } | Step::Gate(_) => false,
            };
            let done = self.memory_of(world, stage).and_then(|memory| memory.shift.as_ref());
            let done = done.filter(|shift| shift.to == color.name).map_or(0, |shift| shift.step.index);
            let before = steps.iter().enumerate().take_while(|(_, step)| !reached(step));
            for (index, step) in before.filter(|(index, _)| *index as u32 >= done) {
                if let Step::Gate(gate) = step {
                    needed.push(check(gate, &stage.name, Moment::Step { index: index as u32 }));
                }
            }
        }
        let skipped = |check: &Check| {
            let skipped = SkippedGate { gate: check.gate.clone(), color: check.color.clone() };
            gates.dry.contains(&check.gate) || gates.skipped.contains(&skipped)
        };
        needed.into_iter().find(|check| !skipped(check) && world.checks.get(check) != Some(&CheckOutcome::Passed))
    }
}

impl Sim {
    /// Makes every pause of steps end by itself, and at once.
    pub fn let_steps_pass(&mut self) {
        for stage in &mut self.spec.stages {
            // A rejected color stays rejected, unless a user skips the gate.
            let rejected =
                self.colors.values().filter_map(|color| Some((color.name.clone(), color.rejected_by.as_ref()?)));
            let rejected = rejected.map(|(color, by)| SkippedGate { gate: by.gate.clone(), color });
            stage.gates.skipped.extend(rejected);
            if let Some(Rejection { color, gate: Some(gate) }) =
                self.memory.stages.get(&stage.name).and_then(|memory| memory.rejected.clone())
            {
                stage.gates.skipped.insert(SkippedGate { gate, color });
            }
            let Shift::Steps { steps, .. } = &mut stage.shift else { continue };
            for step in steps {
                if let Step::Pause { after } = step {
                    *after = Some(std::time::Duration::ZERO);
                }
            }
        }
    }

    /// Returns whether a gate is asked for in each release of the stage.
    pub fn is_gated(&self, stage: &Stage) -> bool {
        let gates = &stage.gates;
        let at_a_step = |shift: &Shift| match shift {
            Shift::Steps { steps, .. } => steps.iter().any(|step| matches!(step, Step::Gate(_))),
            Shift::Flip | Shift::Rolling { .. } => false,
        };
        !gates.before.is_empty() || !gates.after.is_empty() || at_a_step(&stage.shift)
    }
}
