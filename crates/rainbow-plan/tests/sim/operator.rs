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
        self.decided = Some(world);
        let asks = self.ask_for(&plan.count);
        let mut budget = match run {
            Run::Whole => usize::MAX,
            Run::CrashAfter(writes) => writes,
        };
        for action in plan.actions() {
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
        (changed || asks || !plan.chains.is_empty(), plan.wake)
    }

    /// What only the operator's memory knows is lost.
    pub fn crash(&mut self) {
        self.seen_since.clear();
        self.seen_left.clear();
        self.seen_marks.clear();
        self.seen_ready.clear();
        self.evidence.clear();
        self.count.clear();
        // Whoever starts knows nothing of what was before: every pod may have been an endpoint until just now.
        // Of a Service, too, that is gone by now.
        for stage in self.stages.keys().map(String::as_str).chain([""]) {
            for pod in self.pods.keys() {
                self.seen_left.insert((stage.to_owned(), pod.clone()), self.now);
            }
        }
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
                    instances: instances.iter().cloned().collect(),
                    retire: false,
                    deadline: None,
                    deleting: false,
                    released: None,
                    retired: None,
                };
                self.colors.insert(color.clone(), made);
            }
            Action::ApplyDeployment { instance, replicas, ends } => {
                let before = self.deps.get(instance).map(|dep| (dep.replicas, dep.current, dep.foreign));
                assert!(before.is_none_or(|(_, _, foreign)| !foreign), "Deployment {instance:?} is somebody else's");
                assert_ne!(before, Some((*replicas, true, false)), "a write that changes nothing: {instance:?}");
                self.check_size(instance, *replicas, ends);
                let fewer = before.is_some_and(|(before, ..)| before > *replicas);
                let by_user = ends.is_empty() && (*replicas > 0 || self.full(instance) == 0);
                // Who writes the number that is there already makes nothing smaller.
                let same = self.deps.get(instance).filter(|dep| dep.replicas == *replicas).map(|dep| dep.down);
                let down = same.unwrap_or(if by_user { Cause::Theirs } else { Cause::Ours });
                let mut let_go = self.deps.get(instance).map(|dep| dep.let_go.clone()).unwrap_or_default();
                let_go.extend(ends.iter().map(|(pod, _)| pod.clone()));
                let_go.extend(self.may_go_instead(instance));
                let living = self.living();
                let dep = Dep { foreign: false, current: true, replicas: *replicas, observed: false, down, let_go };
                self.deps.insert(instance.clone(), dep);
                if !fewer {
                    self.check_live(&living);
                }
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
            Action::Mark { pod, mark } => {
                let now = self.now;
                let Some(found) = self.pods.get_mut(pod) else { return };
                assert_ne!(found.mark, *mark, "a write that changes nothing: {pod}");
                (found.mark, found.marked) = (*mark, (now, found.mark));
                self.check_mark(pod, *mark);
            }
            Action::ApplyGuard => {
                assert!(matches!(self.guard, Presence::Absent | Presence::Outdated));
                self.guard = Presence::Current;
            }
            Action::DeleteGuard => {
                assert!(matches!(self.guard, Presence::Current | Presence::Outdated));
                let held = self.pods.values().filter(|pod| pod.mark == Mark::Held && !pod.terminating).count();
                assert_eq!(held, 0, "pods are held without a guard");
                self.guard = Presence::Absent;
            }
            Action::ClearRetire { color } => {
                let found = self.colors.get_mut(color).unwrap();
                assert!(found.retire || found.deadline.is_some(), "a write that changes nothing: {color}");
                (found.retire, found.deadline) = (false, None);
            }
            Action::DeleteStage { stage } => {
                let stage = &service_name(stage);
                let gone = self.stages.remove(stage);
                assert!(matches!(gone, Some(Svc::Ours { .. })), "no Service of ours: {stage}");
                self.established.remove(stage);
                let now = self.now;
                self.stage_dirty.entry(stage.clone()).or_insert(now);
            }
            Action::DeleteInstance { instance } => {
                self.check_size(instance, 0, &[]);
                self.check_delete(instance);
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
                self.check_delete_color(color);
                self.colors.remove(color).unwrap_or_else(|| panic!("no color {color}"));
            }
            Action::Release => {
                assert!(self.spec.deleting);
                self.check_nothing_left();
                self.released = true;
            }
        }
    }

    fn log_action(&mut self, action: &Action) {
        let name = |instance: &InstanceName| format!("{}-{}", instance.tier, instance.color);
        let text = match action {
            Action::CreateColor { color, revision, .. } => format!("create {color} #{revision}"),
            Action::ApplyDeployment { instance, replicas, ends } => {
                let mut why: BTreeMap<Why, usize> = BTreeMap::new();
                ends.iter()
                    .filter(|(_, why)| *why != Why::Time)
                    .for_each(|(_, reason)| *why.entry(*reason).or_default() += 1);
                let why: Vec<String> = why.iter().map(|(why, count)| format!(" {why:?}:{count}")).collect();
                format!("deploy {}={replicas}{}", name(instance), why.concat())
            }
            Action::ApplyService { instance } => format!("service {}", name(instance)),
            Action::ApplyStage { stage, selects: Selection::Instance(instance) } => {
                format!("{stage} -> {}", name(instance))
            }
            Action::ApplyStage { stage, selects } => format!("{stage} -> {selects:?}"),
            Action::Join { stage, pod } => format!("{stage} + {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::Leave { stage, pod } => format!("{stage} - {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::Mark { pod, mark } => {
                format!("mark {} {mark:?}", pod.rsplit_once('-').map_or("", |(head, _)| head))
            }
            Action::ApplyGuard => "guard".into(),
            Action::DeleteGuard => "no guard".into(),
            Action::ClearRetire { color } => format!("clear retire of {color}"),
            Action::DeleteStage { stage } => format!("delete {}", service_name(stage)),
            Action::DeleteInstance { instance } => format!("delete {}", name(instance)),
            Action::DeleteColor { color } => format!("delete {color}"),
            Action::Release => "release".into(),
        };
        self.log(|| text);
    }

    /// Goes on until nothing is to be done any more, however long that takes; panics if it never ends.
    pub fn settle(&mut self) {
        // Connections end some time, and who cannot be asked can be again.
        self.pods.values_mut().for_each(|pod| (pod.connections, pod.dumb) = (0, false));
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
