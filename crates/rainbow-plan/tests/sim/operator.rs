//! The operator: observes, plans, applies one action after the other, and may crash between any two.

use rainbow_plan::*;

use super::*;

/// How a reconciliation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Whole,
    /// It dies after so many writes, the last of which may be the status.
    CrashAfter(usize),
}

impl Sim {
    /// One reconciliation. The answer says whether anything was written, and when to come again.
    pub fn reconcile(&mut self, run: Run) -> (bool, Option<Time>) {
        if self.released {
            return (false, None);
        }
        let world = self.world();
        self.decide();
        let plan = rainbow_plan::plan(&world, Time(self.now));
        assert_eq!(
            plan,
            rainbow_plan::plan(&shuffled(&world), Time(self.now)),
            "the plan depends on the order of a list"
        );
        self.check_plan(&world, &plan);
        let mut budget = match run {
            Run::Whole => usize::MAX,
            Run::CrashAfter(writes) => writes,
        };
        for action in &plan.actions {
            if budget == 0 {
                self.crash();
                return (true, None);
            }
            budget -= 1;
            self.apply(action);
            self.writes += 1;
        }
        if budget == 0 {
            self.crash();
            return (true, None);
        }
        let changed = self.write_status(&plan.report);
        (changed || !plan.actions.is_empty(), plan.wake)
    }

    /// What only the operator's memory knows is lost.
    pub fn crash(&mut self) {
        self.seen_since.clear();
        self.seen_left.clear();
    }

    fn write_status(&mut self, report: &Report) -> bool {
        let before = (self.memory.clone(), self.colors.clone());
        self.memory.stages = report
            .stages
            .iter()
            .map(|stage| {
                let memory = StageMemory {
                    color: stage.color.clone(),
                    previous: stage.previous.clone(),
                    target: stage.target.clone(),
                    since: stage.since,
                    shift_started: stage.shift.as_ref().map(|shift| shift.started),
                };
                (stage.name.clone(), memory)
            })
            .collect();
        for told in &report.colors {
            if let Some(color) = self.colors.get_mut(&told.name) {
                color.released = told.released;
                color.retired = told.retired;
            }
        }
        before != (self.memory.clone(), self.colors.clone())
    }

    fn apply(&mut self, action: &Action) {
        self.log_action(action);
        match action {
            Action::CreateColor { color, revision, instances } => {
                assert!(!self.colors.contains_key(color), "{color} exists");
                let made = Color {
                    name: color.clone(),
                    revision: *revision,
                    created: Time(self.now),
                    tiers: self.spec.tiers.clone(),
                    instances: instances.iter().map(|(tier, own)| (tier.clone(), self.shared(tier, own))).collect(),
                    retire: false,
                    deadline: None,
                    deleting: false,
                    released: None,
                    retired: None,
                };
                self.colors.insert(color.clone(), made);
            }
            Action::ApplyDeployment { instance, replicas, .. } => {
                let before = self.deps.get(instance).map(|dep| (dep.replicas, dep.current, dep.foreign));
                assert!(before.is_none_or(|(_, _, foreign)| !foreign), "Deployment {instance:?} is somebody else's");
                assert_ne!(before, Some((*replicas, true, false)), "a write that changes nothing: {instance:?}");
                self.check_size(instance, *replicas);
                let by_user = *replicas > 0 || self.full(instance) == 0;
                let down = if by_user { Cause::Theirs } else { Cause::Ours };
                let dep = Dep { foreign: false, current: true, replicas: *replicas, observed: false, down };
                self.deps.insert(instance.clone(), dep);
            }
            Action::ApplyService { instance } => {
                assert_ne!(self.svcs.get(instance), Some(&Svc::Foreign), "Service {instance:?} is somebody else's");
                let made = Svc::Ours { current: true, selects: None };
                assert_ne!(
                    self.svcs.insert(instance.clone(), made.clone()),
                    Some(made),
                    "a write that changes nothing"
                );
            }
            Action::ApplyStage { stage, selects } => {
                assert_ne!(self.stages.get(stage), Some(&Svc::Foreign), "stage {stage} is somebody else's");
                let made = Svc::Ours { current: true, selects: Some(selects.clone()) };
                let before = self.stages.insert(stage.clone(), made.clone());
                assert_ne!(before, Some(made), "a write that changes nothing: {stage}");
                let now = self.now;
                self.stage_dirty.entry(stage.clone()).or_insert(now);
            }
            Action::Join { stage, pod } => {
                let now = self.now;
                let Some(found) = self.pods.get_mut(pod) else { return };
                assert!(found.member.insert(stage.clone(), now).is_none(), "{pod} is a member of {stage} already");
                found.dirty.get_or_insert(now);
            }
            Action::Leave { stage, pod } => {
                let now = self.now;
                let Some(found) = self.pods.get_mut(pod) else { return };
                assert!(found.member.remove(stage).is_some(), "{pod} is no member of {stage}");
                found.dirty.get_or_insert(now);
            }
            Action::Mark { .. } | Action::EndPod { .. } | Action::ApplyGuard | Action::DeleteGuard => {}
            Action::ClearRetire { .. } => {}
            Action::DeleteStage { stage } => {
                let gone = self.stages.remove(stage);
                assert!(matches!(gone, Some(Svc::Ours { .. })), "no Service of ours: {stage}");
                self.established.remove(stage);
                let now = self.now;
                self.stage_dirty.entry(stage.clone()).or_insert(now);
            }
            Action::DeleteInstance { instance } => {
                self.check_size(instance, 0);
                let dep = self.deps.get(instance).is_some_and(|dep| !dep.foreign);
                let svc = matches!(self.svcs.get(instance), Some(Svc::Ours { .. }));
                assert!(dep || svc, "nothing of ours: {instance:?}");
                if dep {
                    self.deps.remove(instance);
                    let mine = self.pods.iter().filter(|(_, pod)| pod.instance == *instance && !pod.terminating);
                    for pod in mine.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                        self.terminate(&pod, Cause::Ours);
                    }
                }
                if svc {
                    self.svcs.remove(instance);
                }
            }
            Action::DeleteColor { color } => {
                self.colors.remove(color).unwrap_or_else(|| panic!("no color {color}"));
            }
            Action::Release => {
                assert!(self.spec.deleting);
                self.check_nothing_left();
                self.released = true;
            }
        }
    }

    /// The instance of another color in use that is equal to this tier of the spec, else its own.
    fn shared(&self, tier: &str, own: &InstanceName) -> InstanceName {
        let identity = |tiers: &[Tier]| tiers.iter().find(|t| t.name == tier).map(|t| t.identity.clone());
        let wanted = identity(&self.spec.tiers);
        let used = self.colors.values().filter(|color| self.reuse && color.released.is_none() && !color.deleting);
        let equal = used.filter(|color| identity(&color.tiers) == wanted).map(|color| color.instances[tier].clone());
        equal.min().unwrap_or_else(|| own.clone())
    }

    fn log_action(&mut self, action: &Action) {
        let name = |instance: &InstanceName| format!("{}-{}", instance.tier, instance.color);
        let text = match action {
            Action::CreateColor { color, revision, .. } => format!("create {color} #{revision}"),
            Action::ApplyDeployment { instance, replicas, .. } => format!("deploy {}={replicas}", name(instance)),
            Action::ApplyService { instance } => format!("service {}", name(instance)),
            Action::ApplyStage { stage, selects: Selection::Instance(instance) } => {
                format!("{stage} -> {}", name(instance))
            }
            Action::ApplyStage { stage, selects } => format!("{stage} -> {selects:?}"),
            Action::Join { stage, pod } => format!("{stage} + {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::Leave { stage, pod } => format!("{stage} - {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::Mark { .. } | Action::EndPod { .. } | Action::ApplyGuard | Action::DeleteGuard => String::new(),
            Action::ClearRetire { .. } => String::new(),
            Action::DeleteStage { stage } => format!("delete {stage}"),
            Action::DeleteInstance { instance } => format!("delete {}", name(instance)),
            Action::DeleteColor { color } => format!("delete {color}"),
            Action::Release => "release".into(),
        };
        self.log(|| text);
    }

    /// Goes on until nothing is to be done any more, however long that takes; panics if it never ends.
    pub fn settle(&mut self) {
        let horizon = Time(self.now + 40_000_000);
        for _ in 0..2_000 {
            self.calm();
            let (wrote, wake) = self.reconcile(Run::Whole);
            if wrote {
                continue;
            }
            match wake {
                Some(wake) if wake < horizon => self.tick((wake.0 - self.now).max(1)),
                _ => {
                    // A steady state is one in which time changes nothing, either.
                    self.tick(10 * PROPAGATION);
                    self.calm();
                    if self.reconcile(Run::Whole).0 {
                        continue;
                    }
                    return;
                }
            }
        }
        panic!(
            "it never comes to rest; it ended with\n{}",
            self.trace[self.trace.len().saturating_sub(30)..].join("\n")
        );
    }

    /// Lets so many seconds pass, with the operator at work.
    pub fn pass(&mut self, seconds: i64) {
        let end = self.now + seconds * 1_000;
        for _ in 0..10_000 {
            self.calm();
            let (wrote, wake) = self.reconcile(Run::Whole);
            if wrote {
                continue;
            }
            if self.now >= end {
                return;
            }
            let next = wake.map_or(end, |wake| wake.0.clamp(self.now + 1, end));
            self.tick(next - self.now);
        }
        panic!("too busy");
    }
}

/// The same world with its lists the other way round.
fn shuffled(world: &World) -> World {
    let mut world = world.clone();
    world.colors.reverse();
    world.pods.reverse();
    world
}
