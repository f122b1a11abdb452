//! Next move of each stage.
//!
//! In the steady state a stage's Service selects all pods of one instance. To move, the planner points the Service at single pods
//! by a label (*members*), exchanges the members, and points the Service at the new instance. Each move waits until the changes
//! it depends on are seen, and until the data plane has had time to learn them:
//!
//! 1. **Prepare**: the new color has the stage's size, and all its tiers are ready.
//! 2. **Label** all ready pods that serve, and the first new ones. Wait until the endpoint controller has the labels: see
//!    [`shadow`].
//! 3. **Narrow** the Service to members. For clients only one thing changes: the first new pods serve, too.
//! 4. **Exchange**: see [`members`].
//! 5. **Widen** the Service to the new instance, when only its pods are members and endpoints.
//! 6. **Clean**: take the labels off, when the endpoint controller has seen the Service.
//!
//! All of this is read from the cluster each time. The status only adds what the cluster does not show, and losing it is safe.

mod members;
mod pace;
mod permit;
mod report;
mod shadow;
mod start;
mod steps;

use std::collections::BTreeSet;

use crate::{
    Action, ChainKey, InstanceName, Object, Pod, Problem, Selection, ShiftMemory, ShiftPhase, StageKey, StageReport,
    StageService, StepMemory, Swap, Time,
    colors::Role,
    draft::Draft,
    gates::{self, Judgement},
    health,
    situation::{Goal, ServiceTarget, Situation, has_ready},
    sizes::Sizes,
    view::{ColorId, View, is_out},
};

pub(crate) use pace::{Pace, Target};
use permit::{approved, rejection};
use steps::Permission;

/// Endpoints that the cluster puts into one EndpointSlice: the default of kube-controller-manager's `--max-endpoints-per-slice`,
/// which managed clusters do not change.
const ENDPOINTS_OF_A_SLICE: usize = 100;

/// Everything that a stage's move depends on.
pub(crate) struct Shifter<'s, 'a> {
    pub(crate) view: &'s View<'a>,
    pub(crate) situation: &'s Situation<'a>,
    pub(crate) target: Target<'a>,
    /// Pods that the stage wants to have of the color that it moves to.
    pub(crate) of: u32,
    /// Pods that the stage had of the color that it comes from.
    pub(crate) from: u32,
    /// Part of the shift that its steps and gates allow now.
    permission: Permission,
}

/// Outcome of a stage's move, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) phase: Option<ShiftPhase>,
    /// Color that the old members come from, where that is not the color that the stage serves.
    pub(crate) from: Option<ColorId>,
    /// Color that the members were going to, where the stage should go to a color that does not exist.
    pub(crate) to: Option<ColorId>,
    /// Members are labelled, but the Service does not select them yet: the shadow Service is needed.
    pub(crate) starts: bool,
    /// All pods are exchanged, and the Service selects the new color: only labels are left of the shift.
    pub(crate) ended: bool,
    /// Ready pods of the new color that serve.
    pub(crate) moved: u32,
    pub(crate) next_step: Option<Time>,
    /// Place of the shift in its steps.
    pub(crate) step: StepMemory,
}

/// Returns how many of `from` old pods are still needed beside `new` pods of a color that should have `of`: each new pod replaces
/// its share.
pub(crate) fn still_needed(new: usize, of: u32, from: u32) -> usize {
    let (of, from) = (of as usize, from as usize);
    let lacking = of.saturating_sub(new);
    if lacking == 0 { 0 } else { from.saturating_mul(lacking).div_ceil(of) }
}

/// Returns whether a stage may leave the color. A color that was taken back from its drain must first have a status that says
/// that its clock has stopped. Otherwise a crash could leave the old clock, and the color would end by it.
fn may_leave(view: &View<'_>, color: ColorId) -> bool {
    view.colors[color].released.is_none()
}

/// Decides a stage's next move and reports where the stage is.
pub(crate) fn advance<'a>(
    view: &View<'a>,
    situation: &Situation<'a>,
    sizes: &Sizes<'a>,
    roles: &[Role],
    draft: &mut Draft,
) -> StageReport {
    let shifter = Shifter::new(view, situation);
    if situation.touches.iter().any(|color| view.colors[*color].released.is_some()) {
        // The report of this plan stops the clock of a color that the stage takes back; the next plan continues.
        draft.wake(view.now);
    }
    if let Some(until) = situation.block.as_ref().and_then(|block| block.until) {
        draft.wake(until);
    }
    shifter.wake_for_min_ready(draft);
    shifter.wake_when_late(draft);
    shifter.wake_when_reached(draft);
    shifter.permission.until.iter().for_each(|until| draft.wake(*until));
    let progress = shifter.go(draft);
    if !progress.starts {
        shifter.delete_shadow(draft);
    }
    let actions = draft.actions(&ChainKey::Stage(situation.key.clone()));
    let applied = actions.iter().any(|action| matches!(action, Action::ApplyStage { .. }));
    if !applied && (!situation.current || shifter.says_otherwise()) {
        shifter.mend(draft);
    }
    let degraded = health::degraded(view, situation, shifter.target.color, draft);
    let unhealthy = health::rejected(view, situation, roles, shifter.target.color, degraded.as_ref(), draft);
    let judgement = gates::judgement(view, situation);
    let checks = shifter.checks(&judgement, draft);
    checks.add_to(draft);
    let name = |color: ColorId| view.colors[color].name.clone();
    if let (Some(color), Goal::Color(to)) = (situation.rejected, situation.goal) {
        let stage = situation.stage.user_name().to_owned();
        draft.problem(Problem::RolledBack {
            stage,
            color: name(color),
            gate: situation.rejecting_gate(view),
            to: name(to),
        });
    }
    let report = shifter.report(&progress, sizes, roles);
    let approved = approved(view, situation, &judgement);
    let waiting = match judgement {
        Judgement::Open { checks, .. } => report.waiting.or(checks.holds.map(gates::Hold::waiting)),
        Judgement::Nothing | Judgement::Approved => report.waiting,
    };
    StageReport { degraded, rejected: rejection(view, situation, unhealthy, &checks), approved, waiting, ..report }
}

/// Deletes the Services of stages that are no longer in the spec, then takes their labels off the pods. Deletes a Service that
/// its stage had under another name when the present one serves. Until then clients that have the old name are served; clients
/// that look up the new name are answered from then on.
pub(crate) fn delete_removed(view: &View<'_>, draft: &mut Draft) {
    let in_spec = |name: &str| view.spec.stages.iter().any(|stage| stage.name == name);
    for (key, service) in &view.world.stages {
        let goes = matches!(service, StageService::Ours { .. })
            && match key {
                StageKey::Stage(stage) => !in_spec(stage) && may_leave_service(view, service, draft),
                StageKey::Shadow { stage } => !in_spec(stage),
                StageKey::Former { stage, .. } => !in_spec(stage) || has_taken_over(view, stage, draft),
                StageKey::Gone { .. } => false,
            };
        if goes {
            draft.act(ChainKey::Stage(key.clone()), Action::DeleteStage { stage: key.clone() });
        }
    }
    let has_service = |name: &str| {
        view.world.stages.keys().any(|key| match key {
            StageKey::Stage(stage) | StageKey::Former { stage, .. } => stage == name,
            StageKey::Shadow { .. } | StageKey::Gone { .. } => false,
        })
    };
    let labels = view.world.pods.iter().filter(|pod| !pod.terminating).flat_map(|pod| {
        let stages = pod.member.keys().filter(|stage| !in_spec(stage) && !has_service(stage));
        stages.map(|stage| (stage, &pod.name))
    });
    for (stage, pod) in labels.collect::<BTreeSet<_>>() {
        draft.act(ChainKey::stage(stage), Action::Leave { stage: stage.clone(), pod: pod.to_string() });
    }
}

/// Returns whether the stage may leave the colors that a Service selects: see [`may_leave`].
fn may_leave_service(view: &View<'_>, service: &StageService, draft: &mut Draft) -> bool {
    let StageService::Ours { selects: Selection::Instance(instance), .. } = service else { return true };
    let may = view.owners(instance).iter().all(|color| may_leave(view, *color));
    if !may {
        draft.wake(view.now);
    }
    may
}

/// Returns whether the stage's Service has endpoints that the data plane knows, and none that it does not know yet.
fn has_taken_over(view: &View<'_>, stage: &str, draft: &mut Draft) -> bool {
    let key = StageKey::of(stage);
    if !matches!(view.world.stages.get(&key), Some(StageService::Ours { .. })) {
        return false;
    }
    let since = view.world.pods.iter().filter_map(|pod| pod.endpoint.get(&key)).max();
    let until = since.map(|since| view.sent_to_at(&key, *since));
    if let Some(until) = until.filter(|until| *until > view.now) {
        draft.wake(until);
        return false;
    }
    until.is_some()
}

impl<'s, 'a> Shifter<'s, 'a> {
    fn new(view: &'s View<'a>, situation: &'s Situation<'a>) -> Self {
        let target = Target::of(view, situation);
        let color = target.color.or(situation.serving);
        // Without a color that gives a size (all were taken away by force), all members continue to serve.
        let all = || u32::try_from(situation.members.len()).unwrap_or(u32::MAX);
        // A color without the stage's tier gives no size: zero pods would end all members.
        let size = |color: ColorId| {
            view.entry(situation.stage, color).map(|tier| situation.size(view, view.colors[color], tier))
        };
        // The size at the start of a pause counts: another size must not change the share of a paused shift.
        let held = situation.memory.shift.as_ref().and_then(|shift| shift.held);
        let held = held.filter(|_| target.held_by_pause && situation.points == ServiceTarget::Members);
        let of = held.or_else(|| color.and_then(size)).unwrap_or_else(all);
        let from = situation.serving.and_then(size).unwrap_or(of);
        let mut shifter = Self { view, situation, target, of, from, permission: Permission::whole() };
        shifter.permission = shifter.permit();
        shifter
    }

    /// Returns how many pods of the old colors the stage still needs beside `new` pods of the color that it moves to. Each new
    /// pod replaces its share, whatever sizes the two colors have.
    fn needed_old(&self, new: usize) -> usize {
        still_needed(new, self.of, self.from)
    }

    /// Wakes the planner when pods of the color that the stage goes to will have been ready for long enough.
    fn wake_for_min_ready(&self, draft: &mut Draft) {
        let colors: BTreeSet<ColorId> = [self.target.wanted, self.target.color].into_iter().flatten().collect();
        let instances = colors.into_iter().flat_map(|color| self.view.colors[color].instances.values());
        let pods =
            instances.filter(|instance| !self.view.min_ready(instance).is_zero()).flat_map(|i| self.view.pods(i));
        for pod in pods.filter(|pod| crate::view::serves(pod)) {
            let at = self.view.available_at(pod);
            if at > self.view.now {
                draft.wake(at);
            }
        }
    }

    /// Wakes the planner when a shift to a color that another writer scales stops waiting for pods that this writer does not
    /// start.
    fn wake_when_late(&self, draft: &mut Draft) {
        let color = self.target.wanted.map(|color| self.view.colors[color]);
        let waits = color.is_some_and(|color| {
            color.tiers.iter().any(|tier| self.situation.begins(self.view, color, &tier.name).is_some())
        });
        if let Some(late) = self.situation.is_late_at(self.view).filter(|late| waits && *late > self.view.now) {
            draft.wake(late);
        }
    }

    fn go(&self, draft: &mut Draft) -> Progress {
        if let Some(target) = self.direct(draft) {
            self.select(Selection::Instance(target.clone()), draft);
            return Progress { phase: Some(ShiftPhase::Shifting), ..Progress::default() };
        }
        match self.situation.points {
            ServiceTarget::Foreign => {
                let object = Object::StageService { stage: self.situation.stage.name.clone() };
                draft.problem(Problem::Foreign { object });
                Progress::default()
            }
            ServiceTarget::Nowhere => {
                if let Some(selects) = self.somewhere() {
                    self.select(selects, draft);
                }
                Progress::default()
            }
            ServiceTarget::Other => {
                // Pods that another writer has selected continue to run. While none of our pods is ready, that selector may be
                // all that serves.
                match self.somewhere() {
                    Some(Selection::Members) => self.select(Selection::Members, draft),
                    Some(Selection::Instance(instance)) if self.view.ready(&instance) > 0 => {
                        self.select(Selection::Instance(instance), draft);
                    }
                    _ => {}
                }
                Progress::default()
            }
            ServiceTarget::Instance(serving) => match self.target.instance {
                // One shift is finished before the next begins.
                Some(target) if target != serving && !self.joins_members(target) => self.wait_to_replace(target, draft),
                // EndpointSlices lag a little behind the pods. A move that can then be one write is not begun pod by pod.
                Some(target) if target != serving && self.is_one_write(target) && self.is_seen_soon(target) => {
                    self.wait_to_replace(target, draft)
                }
                Some(target) if target != serving && !self.has_stale_labels() => self.start(serving, target, draft),
                _ => self.steady(draft),
            },
            ServiceTarget::Members => self.exchange(draft),
        }
    }

    /// Returns the instance that the Service can be pointed at directly: the stage moves at once, from our own pods, and the
    /// endpoint controller is known to have seen that enough pods of the instance are ready.
    fn direct(&self, draft: &mut Draft) -> Option<&'a InstanceName> {
        let target = self.target.instance?;
        let moves = match self.situation.points {
            ServiceTarget::Instance(serving) => serving != target,
            ServiceTarget::Members => true,
            ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => false,
        };
        let moves_pod_by_pod = !self.is_one_write(target) && self.joins_members(target);
        if !moves || !self.may_move() || moves_pod_by_pod {
            return None;
        }
        if !self.surely_ready(target) {
            self.not_seen_yet(target).for_each(|known| draft.wake(known));
            return None;
        }
        Some(target)
    }

    /// Returns whether the stage may leave the colors that it serves now.
    fn may_move(&self) -> bool {
        self.target.ready
            && self.may_move_all()
            && self.of > 0
            && self.target.pace != Pace::Hold
            && self.may_leave_others()
    }

    /// Returns whether the stage may leave every color but the one that it moves to.
    fn may_leave_others(&self) -> bool {
        let Situation { serving, says, members, .. } = self.situation;
        let members = members.iter().filter_map(|pod| self.situation.owner(self.view, &pod.instance));
        let said = says.and_then(|color| self.view.color_in(&self.situation.stage.name, color));
        let mut others = members.chain(*serving).chain(said).filter(|color| Some(*color) != self.target.color);
        others.all(|color| may_leave(self.view, color))
    }

    /// Returns whether all pods move at once, and one set of endpoints replaces the other as a whole.
    fn is_one_write(&self, target: &InstanceName) -> bool {
        let at_once = match self.target.pace {
            Pace::AtOnce => true,
            Pace::Steps { step, .. } => step >= self.of,
            Pace::Hold => false,
        };
        let pods = self.view.pods(target);
        let endpoints = self.view.world.pods.iter().filter(|pod| pod.endpoint.contains_key(&self.situation.key));
        // More endpoints would be in several slices, and a node may see the emptied slices first.
        let one_slice = || pods.len().max(endpoints.count()) <= ENDPOINTS_OF_A_SLICE;
        self.may_move() && self.swap() == Swap::Direct && at_once && one_slice()
    }

    /// Returns how the pods that serve are exchanged. One set of endpoints does not replace the other as a whole where others
    /// than the cluster's own data plane send clients to pods, or where a node sends its clients only to its own pods.
    fn swap(&self) -> Swap {
        if self.situation.stage.overlap.is_some() { Swap::Overlap } else { self.view.spec.swap }
    }

    /// Waits until the endpoint controller knows the pods that the stage moves to in one write.
    fn wait_to_replace(&self, target: &InstanceName, draft: &mut Draft) -> Progress {
        if let (true, Pace::Hold) = (self.target.ready, self.target.pace) {
            return Progress { phase: Some(ShiftPhase::Paused), ..Progress::default() };
        }
        for known in self.not_seen_yet(target) {
            draft.wake(known);
        }
        let phase = self.waiting_phase().unwrap_or(ShiftPhase::Preparing);
        Progress {
            phase: Some(phase),
            step: self.permission.step,
            next_step: self.permission.until,
            ..Progress::default()
        }
    }

    /// Returns when the endpoint controller must have seen the ready pods of an instance, for those pods that it is not known to
    /// have seen.
    fn not_seen_yet(&self, instance: &InstanceName) -> impl Iterator<Item = Time> {
        let pods = self.view.pods(instance).iter().filter(|pod| crate::view::serves(pod) && !pod.listed);
        let known = pods.map(|pod| pod.ready_since.after(self.view.spec.propagation));
        known.filter(|known| *known > self.view.now)
    }

    /// Returns whether the endpoint controller has yet to see ready pods, which takes no longer than it would take to see labels.
    fn is_seen_soon(&self, instance: &InstanceName) -> bool {
        self.not_seen_yet(instance).next().is_some()
    }

    /// Returns whether the endpoint controller is known to have seen enough ready pods.
    fn surely_ready(&self, instance: &InstanceName) -> bool {
        let seen = |pod: &Pod| pod.listed || self.view.known(pod.ready_since);
        let surely = |pod: &&&Pod| self.view.is_available(pod) && seen(pod);
        self.view.pods(instance).iter().filter(surely).count() >= self.of as usize
    }

    /// Returns whether the instance's pods can serve beside those that serve now. Pods with other ports cannot: one Service has
    /// one set of ports, so such a move is one write of ports and selector, whatever the pace.
    pub(super) fn joins_members(&self, instance: &InstanceName) -> bool {
        let serving = match self.situation.points {
            ServiceTarget::Instance(serving) => Some(serving),
            ServiceTarget::Members => self.situation.members.first().map(|pod| &pod.instance),
            ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => None,
        };
        serving.is_none_or(|serving| self.view.same_ports(serving, instance))
    }

    /// Returns where a Service should point that points nowhere or where another writer has pointed it: at the members of a shift
    /// that was under way, else at the color that served if it has a ready pod, else at the color that should serve. A Service
    /// whose color is not ready yet is made all the same, so that load balancers get their addresses early. Without endpoints it
    /// refuses connections, as no Service would.
    fn somewhere(&self) -> Option<Selection> {
        let Situation { members, memory, stage, .. } = self.situation;
        let serving = self.situation.serving;
        // A way back stays one even when the Service was deleted or edited. Where the status is lost, a move to an older color
        // counts as a way back.
        let revision = |color: Option<ColorId>| color.map(|color| self.view.colors[color].revision);
        let is_older = stage.color.is_some() && revision(self.target.color) < revision(serving);
        let goes_back = self.target.pace == Pace::AtOnce || (is_older && self.target.ready);
        let is_back = |instance: &&InstanceName| goes_back && self.view.ready(instance) >= self.of;
        if let Some(instance) = self.target.instance.filter(is_back) {
            return Some(Selection::Instance(instance.clone()));
        }
        // Before the first new pod has served, and after the last old one, the color that serves has all pods that there are to
        // select.
        let serving_name = serving.map(|color| self.view.colors[color].name.as_str());
        let is_under_way = |shift: &ShiftMemory| shift.moved > 0 && serving_name != Some(shift.to.as_str());
        let began = memory.shift.as_ref().is_some_and(is_under_way);
        if began && members.iter().any(|pod| crate::view::serves(pod)) {
            return Some(Selection::Members);
        }
        // A color behind a closed gate does not take the place of one that has lost its pods.
        let target = self.target.color.filter(|_| serving.is_none() || self.may_move_all());
        let choices: Vec<ColorId> = serving.into_iter().chain(target).collect();
        let ready =
            choices.iter().find(|color| has_ready(self.view, stage, **color) || self.has_ready_outside(**color));
        let chosen = ready.or(choices.first()).or(self.target.wanted.as_ref())?;
        Some(Selection::Instance(self.situation.instance(self.view, *chosen)?.clone()))
    }

    /// Returns whether another writer has taken a ready pod of the color out of its Services. This plan or a later one puts it
    /// back.
    fn has_ready_outside(&self, color: ColorId) -> bool {
        let ready = |pod: &Pod| pod.ready && !pod.terminating && is_out(pod);
        let instance = self.situation.instance(self.view, color);
        instance.is_some_and(|instance| self.view.pods(instance).iter().any(|pod| ready(pod)))
    }

    /// Writes the Service again with the selector that it has, because another field is not as it should be.
    fn mend(&self, draft: &mut Draft) {
        let serving = self.situation.serving.and_then(|color| self.situation.instance(self.view, color));
        match self.situation.points {
            // A selector that another writer has written is reverted, not written again.
            ServiceTarget::Instance(instance) if serving.is_some_and(|serving| serving != instance) => {}
            ServiceTarget::Instance(instance) => self.select(Selection::Instance(instance.clone()), draft),
            ServiceTarget::Members => self.select(Selection::Members, draft),
            ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => {}
        }
    }

    fn act(&self, action: Action, draft: &mut Draft) {
        draft.act(ChainKey::Stage(self.situation.key.clone()), action);
    }

    fn select(&self, selects: Selection, draft: &mut Draft) {
        let instance = match &selects {
            Selection::Instance(instance) => Some(instance),
            Selection::Members | Selection::Other => None,
        };
        let serves = self.serves(instance).map(str::to_owned);
        self.act(Action::ApplyStage { stage: self.situation.stage.name.clone(), selects, serves }, draft);
    }

    /// Returns the color that the stage serves when its Service selects this instance; without an instance, in a shift, the color
    /// that the stage comes from.
    fn serves(&self, instance: Option<&InstanceName>) -> Option<&'a str> {
        let is_target = instance.is_some() && self.target.instance == instance;
        let color = if is_target { self.target.color } else { self.situation.serving };
        color.map(|color| self.view.colors[color].name.as_str())
    }

    /// Returns whether the Service does not say what the stage serves: an earlier version or another writer has written it.
    fn says_otherwise(&self) -> bool {
        let instance = match self.situation.points {
            ServiceTarget::Instance(instance) => Some(instance),
            ServiceTarget::Members => None,
            ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => return false,
        };
        self.serves(instance).is_some_and(|serves| self.situation.says != Some(serves))
    }

    fn join(&self, pod: &str, draft: &mut Draft) {
        self.act(Action::Join { stage: self.situation.stage.name.clone(), pod: pod.to_owned() }, draft);
    }

    fn leave(&self, pod: &str, draft: &mut Draft) {
        self.act(Action::Leave { stage: self.situation.stage.name.clone(), pod: pod.to_owned() }, draft);
    }

    /// Returns when the pod joined, where that is readable.
    fn joined(&self, pod: &Pod) -> Option<Time> {
        pod.member.get(&self.situation.stage.name).copied().flatten()
    }

    /// Returns when the latest member joined, where that is readable.
    fn last_joined(&self) -> Option<Time> {
        self.situation.members.iter().filter_map(|pod| self.joined(pod)).max()
    }

    /// Returns since when the stage serves its color alone. A stage at rest whose labels show that it has moved since then has
    /// come back to its color only now.
    fn since(&self) -> Option<Time> {
        let Situation { points: ServiceTarget::Instance(instance), memory, serving: Some(serving), stage, .. } =
            self.situation
        else {
            return self.situation.memory.since;
        };
        let same = memory.color.as_deref() == Some(self.view.colors[*serving].name.as_str());
        let at_rest = self.target.instance.is_none_or(|target| target == *instance);
        let came_back = |since: Time| at_rest && self.last_joined().is_some_and(|joined| joined >= since);
        let since = memory.since.filter(|since| same && !came_back(*since));
        // A color that never came up has not served yet.
        since.or_else(|| has_ready(self.view, stage, *serving).then_some(self.view.now))
    }

    /// Returns whether a label of the shift before is still on a pod. It could be taken for one of the next shift.
    fn has_stale_labels(&self) -> bool {
        let joined = self.situation.members.iter().map(|pod| self.joined(pod));
        self.since().is_some_and(|since| joined.into_iter().any(|joined| joined.is_none_or(|joined| joined < since)))
    }

    /// Takes off the labels of the shift before, when it is certain that no controller evaluates them. Both selectors have the
    /// same pods, so no evidence shows that the endpoint controller has seen the Service's new selector: only time does.
    fn steady(&self, draft: &mut Draft) -> Progress {
        if self.situation.members.is_empty() {
            return Progress::default();
        }
        if let Some(since) = self.since() {
            if self.situation.memory.since == Some(since) && self.view.known(since) {
                for pod in &self.situation.members {
                    self.leave(&pod.name, draft);
                }
            } else {
                draft.wake(since.after(self.view.spec.propagation));
            }
        }
        Progress { phase: Some(ShiftPhase::Finishing), ended: true, moved: self.of, ..Progress::default() }
    }
}
