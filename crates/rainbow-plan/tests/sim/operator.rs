//! Operator of the model: observes, plans, applies one action after the other, and may crash between any two.

use rainbow_plan::*;

use super::*;

/// Longest wait of an operator for its own writes to come back through the watches.
pub const VISIBLE_WITHIN: i64 = 10_000;
/// Looks that may follow each other without a pause: a plan that waits only for its own writes.
const LOOKS_AT_ONCE: usize = 30;
/// First wait after a failure; it doubles up to the longest.
const RETRY_FIRST: i64 = 50;
const RETRY_LONGEST: i64 = 60_000;

/// Course of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Whole,
    /// The operator dies after this many writes, the last of which may be the status.
    CrashAfter(usize),
    /// The operator loses its lease after this many writes, and has sent one more.
    LoseAfter(usize),
}

/// Memory of an operator. Times are real ones, whatever its clock says.
#[derive(Clone, Default)]
pub struct Operator {
    /// Time by which the operator's clock is ahead.
    pub clock: i64,
    pub(super) seen_since: BTreeMap<(String, String), i64>,
    pub(super) seen_left: BTreeMap<(String, String), i64>,
    /// Times since which pods are endpoints of the stages' shadow Services.
    pub(super) seen_shadows: BTreeMap<(String, String), i64>,
    /// Ready endpoints of the Services of instances.
    pub(super) seen_listed: BTreeSet<String>,
    pub(super) seen_marks: BTreeMap<String, (Mark, i64)>,
    /// Times since which pods carry their membership labels.
    pub(super) seen_labels: BTreeMap<String, (BTreeSet<String>, i64)>,
    /// Whether a pod was ready, whether Services had it, and since when both were so.
    pub(super) seen_ready: BTreeMap<String, ((bool, bool), i64)>,
    /// Connections that were found when a pod was asked, and the time of the answer.
    pub(super) evidence: BTreeMap<String, (Connections, i64)>,
    /// Instances to ask, and since when.
    pub(super) count: BTreeMap<InstanceName, i64>,
    /// Deployments that were found to be of another owner.
    pub(super) foreign: BTreeSet<InstanceName>,
    /// Kinds whose caches must show an own write before the next look, and the time at which that wait ends.
    pub(super) expects: BTreeSet<Kind>,
    pub(super) expects_until: i64,
    /// Chains whose last attempt failed.
    chains: BTreeMap<ChainKey, Stuck>,
}

/// Chain that could not be carried out.
#[derive(Clone, Default)]
struct Stuck {
    failures: u32,
    /// Time before which the chain is not tried again, unless the spec changes.
    until: i64,
    spec: Option<Spec>,
}

impl Sim {
    /// Runs one reconciliation. Returns whether anything was written, and when to look again.
    pub fn reconcile(&mut self, run: Run) -> (bool, Option<Time>) {
        self.written.clear();
        if self.released {
            return (false, None);
        }
        self.refresh_due();
        if let Some(until) = self.waits() {
            return (false, Some(Time(until)));
        }
        let world = self.shown_world();
        self.decide();
        let clock = self.clock();
        let plan = rainbow_plan::plan(&world, clock);
        assert_eq!(plan, rainbow_plan::plan(&shuffled(&world), clock), "the plan depends on the order of a list");
        self.check_plan(&world, &plan);
        self.decided = Some(world);
        let asks = self.ask_for(&plan.count);
        let judged = self.follow_checks(&plan);
        let due = self.due(plan.chains);
        let announced = self.write_served(&plan.report);
        let Some(wrote) = self.carry_out_chains(due, run) else { return (true, None) };
        let changed = self.write_status(&plan.report);
        self.hear_sizes();
        let wake = plan.wake.map(|wake| wake.0 - self.operator.clock);
        let wake = self.operator.chains.values().map(|chain| chain.until).chain(wake).chain(judged).min();
        (changed || announced || asks || wrote, wake.map(Time))
    }

    /// Returns the chains that are due. A chain that has nothing to do any more has no failures.
    fn due(&mut self, chains: Vec<Chain>) -> Vec<Chain> {
        let (now, spec) = (self.now, self.shown_spec());
        let stuck = &mut self.operator.chains;
        stuck.retain(|key, _| chains.iter().any(|chain| chain.key == *key));
        let waits = |chain: &Chain| stuck.get(&chain.key).is_some_and(|stuck| now < stuck.until && stuck.spec == spec);
        chains.into_iter().filter(|chain| !waits(chain)).collect()
    }

    /// Carries chains out, each up to its own first failure. `None`: the operator has died. Otherwise returns whether anything
    /// was written.
    fn carry_out_chains(&mut self, chains: Vec<Chain>, run: Run) -> Option<bool> {
        let (mut budget, mut wrote) = match run {
            Run::Whole => (usize::MAX, false),
            Run::CrashAfter(writes) | Run::LoseAfter(writes) => (writes, false),
        };
        let (stages, rest): (Vec<Chain>, Vec<Chain>) =
            chains.into_iter().partition(|chain| matches!(chain.key, ChainKey::Stage(_)));
        for mut group in [stages, rest] {
            group.iter_mut().for_each(|chain| chain.actions.reverse());
            while !group.is_empty() {
                // The order is arbitrary: it changes with the time and from write to write.
                let turn = if self.interleaves { (self.now / 100) as usize + self.writes * 7 } else { 0 };
                let index = turn % group.len();
                let Some(action) = group[index].actions.pop() else {
                    self.operator.chains.remove(&group.remove(index).key);
                    continue;
                };
                if budget == 0 {
                    self.stop(run, Some(&action));
                    return None;
                }
                budget -= 1;
                if self.submit(&action) {
                    wrote = true;
                    self.written.push(action);
                } else {
                    self.failed(group.remove(index).key);
                }
            }
        }
        if budget == 0 {
            self.stop(run, None);
            return None;
        }
        Some(wrote)
    }

    /// Returns the time before which the operator does not look, whatever it sees.
    fn waits(&mut self) -> Option<i64> {
        let operator = &mut self.operator;
        if !operator.expects.is_empty() && self.now < operator.expects_until {
            return Some(operator.expects_until);
        }
        operator.expects.clear();
        None
    }

    /// Stops a chain. The rest of it is not carried out, and each next attempt comes later than the one before.
    fn failed(&mut self, key: ChainKey) {
        let (now, spec) = (self.now, self.shown_spec());
        let stuck = self.operator.chains.entry(key).or_default();
        let wait = RETRY_FIRST.saturating_mul(2i64.saturating_pow(stuck.failures)).min(RETRY_LONGEST);
        *stuck = Stuck { failures: stuck.failures.saturating_add(1), until: now + wait, spec };
    }

    /// Stops the operator: it dies, or no longer leads.
    fn stop(&mut self, run: Run, next: Option<&Action>) {
        if let Run::LoseAfter(_) = run {
            self.late = next.cloned().zip(self.decided.clone());
            std::mem::swap(&mut self.operator.clock, &mut self.other_clock);
        }
        self.crash();
    }

    /// Loses everything that only the operator's memory has.
    pub fn crash(&mut self) {
        Kind::ALL.into_iter().for_each(|kind| self.refresh(kind));
        self.operator = Operator { clock: self.operator.clock, ..Operator::default() };
        self.gates.asked.clear();
        // A new operator knows nothing of the time before: every pod may have been an endpoint until just now. The operator cannot tell of
        // which Service.
        for pod in self.pods.keys() {
            self.operator.seen_left.insert((String::new(), pod.clone()), self.now);
        }
    }

    /// Carries out a write of an operator that no longer leads.
    pub fn late_write(&mut self) {
        if let Some((action, world)) = self.late.take() {
            self.log(|| "late:".into());
            // The old operator could not know what has become of the world since its decision.
            let newer = self.decided.replace(world);
            self.submit(&action);
            self.decided = newer;
        }
    }

    fn write_status(&mut self, report: &Report) -> bool {
        let before = (self.memory.clone(), self.colors.clone());
        self.memory.stages = report.stages.iter().map(|stage| (stage.name.clone(), remembered(stage))).collect();
        self.memory.color.clone_from(&report.described);
        self.write_color_statuses(report);
        let changed = before != (self.memory.clone(), self.colors.clone());
        self.expect_statuses(changed);
        changed
    }

    fn expect_statuses(&mut self, changed: bool) {
        for kind in [Kind::Rainbow, Kind::Colors] {
            if changed && self.lag(kind) > 0 {
                self.operator.expects.insert(kind);
                self.operator.expects_until = self.now + VISIBLE_WITHIN;
            }
        }
    }

    /// Colors that a stage is about to send clients to: that is written down before it does so.
    fn write_served(&mut self, report: &Report) -> bool {
        let before = self.colors.clone();
        for told in &report.colors {
            if let Some(color) = self.colors.get_mut(&told.name) {
                color.served.clone_from(&told.served);
                for part in &told.parts {
                    match color.parts.iter_mut().find(|known| known.key == part.key) {
                        Some(known) => known.served.clone_from(&part.served),
                        None => {
                            let new = PartMemory { served: part.served.clone(), ..PartMemory::new(part.key.clone()) };
                            color.parts.push(new);
                        }
                    }
                }
            }
        }
        let changed = before != self.colors;
        self.expect_statuses(changed);
        changed
    }

    fn write_color_statuses(&mut self, report: &Report) {
        for told in &report.colors {
            if let Some(color) = self.colors.get_mut(&told.name) {
                color.released = told.released;
                color.retired = told.retired;
                color.sizes = told.sizes.clone();
                color.demoted = told.demoted;
                color.rejected_by = told.rejected_by.clone();
                color.served = told.served.clone();
                color.entries = told.entries.clone();
                color.parts = told.parts.clone();
            }
        }
    }

    pub(super) fn log_action(&mut self, action: &Action) {
        let name = spec::show;
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
            Action::ApplyScaler { instance, least } => format!("autoscaler {} from {least}", name(instance)),
            Action::DeleteScaler { instance } => format!("no autoscaler {}", name(instance)),
            Action::ApplyService { instance } => format!("service {}", name(instance)),
            Action::ApplyStage { stage, selects: Selection::Instance(instance), .. } => {
                format!("{stage} -> {}", name(instance))
            }
            Action::ApplyStage { stage, selects, .. } => format!("{stage} -> {selects:?}"),
            Action::Join { stage, pod } => format!("{stage} + {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::Leave { stage, pod } => format!("{stage} - {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::TakeOut { pod } => format!("out {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::PutBack { pod } => format!("back {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::OrphanDeployment { instance } => format!("orphan {}", name(instance)),
            Action::DeleteReplicaSets { instance, cascade } => format!("delete sets of {} {cascade:?}", name(instance)),
            Action::Adopt { pod } => format!("adopt {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::Disown { pod } => format!("disown {}", pod.rsplit_once('-').map_or("", |(head, _)| head)),
            Action::EndPod { pod, why } => {
                format!("end {} {why:?}", pod.rsplit_once('-').map_or("", |(head, _)| head))
            }
            Action::Mark { pod, mark } => {
                format!("mark {} {mark:?}", pod.rsplit_once('-').map_or("", |(head, _)| head))
            }
            Action::CreateCopy { copy } => format!("copy {}", copy.name),
            Action::DeleteCopy { copy } => format!("no copy {}", copy.name),
            Action::ApplyGuard => "guard".into(),
            Action::DeleteGuard => "no guard".into(),
            Action::ApplyBudget { stage, least } => format!("budget of {stage}: {least}"),
            Action::DeleteBudget { stage } => format!("no budget of {stage}"),
            Action::ClearRetire { color } => format!("clear retire of {color}"),
            Action::ApplyShadow { stage } => format!("shadow of {stage}"),
            Action::DeleteStage { stage: StageKey::Shadow { stage } } => format!("no shadow of {stage}"),
            Action::DeleteStage { stage } => format!("delete {}", service_name(stage)),
            Action::DeleteInstance { instance } => format!("delete {}", name(instance)),
            Action::DeleteColor { color } => format!("delete {color}"),
            Action::Release => "release".into(),
        };
        self.log(|| text);
    }

    /// Runs until nothing is left to be done, however long that takes; panics if it never ends.
    pub fn settle(&mut self) {
        // Connections end at some time, and a pod that cannot be asked can be asked again.
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

    /// Lets this many seconds pass, with the operator at work. Time also passes where the operator writes without end.
    pub fn pass(&mut self, seconds: i64) {
        let end = self.now + seconds * 1_000;
        let mut looks = 0;
        loop {
            self.calm();
            let (wrote, wake) = self.reconcile(Run::Whole);
            looks += 1;
            if wrote && looks < LOOKS_AT_ONCE {
                continue;
            }
            if self.now >= end {
                return;
            }
            let next = if wrote { self.now + 1_000 } else { wake.map_or(end, |wake| wake.0) };
            looks = if wrote { looks } else { 0 };
            self.tick(next.clamp(self.now + 1, end) - self.now);
        }
    }
}

/// Returns the memory that the status keeps of a stage.
fn remembered(stage: &StageReport) -> StageMemory {
    StageMemory {
        color: stage.color.clone(),
        previous: stage.previous.clone(),
        target: stage.target.clone(),
        since: stage.since,
        degraded: stage.degraded.clone(),
        rejected: stage.rejected.clone(),
        approved: stage.approved.clone(),
        ended_hold: match &stage.hold {
            Some(HoldReport::Ended { id }) => Some(id.clone()),
            Some(HoldReport::Holds) | None => None,
        },
        shift: stage.shift.as_ref().map(|shift| ShiftMemory {
            from: shift.from.clone(),
            to: shift.to.clone(),
            started: shift.started,
            moved: shift.moved,
            held: (shift.phase == ShiftPhase::Paused).then_some(shift.of),
            step: shift.step,
        }),
        tiers: stage.tiers.iter().map(|tier| (tier.tier.clone(), remembered(&tier.report))).collect(),
    }
}

/// Returns the same world with its lists the other way round.
fn shuffled(world: &World) -> World {
    let mut world = world.clone();
    world.colors.reverse();
    world.pods.reverse();
    world
}
