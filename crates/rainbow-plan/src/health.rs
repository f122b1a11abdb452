//! Health of the color that a stage serves, and the color that is kept warm as the stage's way back.
//!
//! A new version may be ready for a second and fail for good afterwards. Therefore the version before it does not drain while the
//! new one is unhealthy, nor before the new one has been healthy for `keep.warm` without a break.

use std::collections::BTreeSet;

use crate::{
    Action, ChainKey, Degraded, Deployment, InstanceName, OnStalled, Pod, Problem, Selection, Shift, StageKey,
    StageMemory, StageService, Tier, Time,
    colors::Role,
    draft::Draft,
    gates::{self, Judgement},
    situation::{Goal, ServiceTarget, Situation, has_ready},
    sizes::{lacking, ready_for},
    view::{ColorId, View, serves},
};

/// Time for which a color is kept whole as a way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// The color is kept until this time, if the color that serves stays healthy.
    Until(Time),
    /// The color is kept as long as the color that serves lacks pods.
    WhileUnhealthy,
    /// The color is kept as long as the color that serves has not passed the gates that are measured after a shift.
    WhileJudged,
}

/// Stage whose way back a color is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// Index of the stage.
    pub(crate) stage: usize,
    pub(crate) warmth: Warmth,
}

/// Returns since when a stage has all pods of a color, in every tier. `None`: the color lacks some now.
pub(crate) fn healthy_since(view: &View<'_>, situation: &Situation<'_>, id: ColorId) -> Option<Time> {
    let color = view.colors[id];
    let mut since = Time(i64::MIN);
    for tier in &color.tiers {
        let wanted = situation.asks(view, id, &tier.name) as usize;
        let pods = color.instances.get(&tier.name).map_or(&[][..], |instance| view.pods(instance));
        let mut ready: Vec<Time> = pods.iter().filter(|pod| serves(pod)).map(|pod| pod.ready_since).collect();
        ready.sort_unstable();
        // The pods that have been ready longest are enough: a spare pod that restarts is no break.
        if let Some(last) = wanted.checked_sub(1) {
            since = since.max(*ready.get(last)?);
        }
    }
    Some(since)
}

/// Returns the color that a stage serves, or moves to pod by pod, where it has not been healthy without a break for as long as
/// `keep.warm`. A color that has not served yet is not degraded: it starts.
pub(crate) fn degraded(
    view: &View<'_>,
    situation: &Situation<'_>,
    target: Option<ColorId>,
    draft: &mut Draft,
) -> Option<Degraded> {
    let StageMemory { since, degraded, .. } = &situation.memory;
    (*since)?;
    let id = match situation.points {
        ServiceTarget::Members if situation.stage.paused => situation.serving?,
        ServiceTarget::Members => target.or(situation.serving)?,
        ServiceTarget::Instance(_) => situation.serving?,
        ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => return degraded.clone(),
    };
    let color = view.colors[id].name.clone();
    // The health of another color says nothing about this one.
    let known = degraded.as_ref().filter(|degraded| degraded.color == color).map(|degraded| degraded.since);
    let since = match healthy_since(view, situation, id) {
        None => known.unwrap_or(view.now),
        Some(healthy) => {
            let over = healthy.after(view.spec.keep.warm);
            let since = known.filter(|_| over > view.now)?;
            draft.wake(over);
            since
        }
    };
    report_degraded(view, situation, id, since, draft);
    Some(Degraded { color, since })
}

/// Returns the color that a stage is taken back from. For as long as the progress deadline, the color has been degraded, or has
/// not become ready for the stage to move to. The spec asks for a rollback in this case (`onStalled`), and there is a color to go
/// back to.
pub(crate) fn rejected(
    view: &View<'_>,
    situation: &Situation<'_>,
    roles: &[Role],
    target: Option<ColorId>,
    degraded: Option<&Degraded>,
    draft: &mut Draft,
) -> Option<ColorId> {
    let Situation { stage, points, serving, goal, .. } = situation;
    if situation.rejected.is_some() || stage.on_stalled == OnStalled::Hold || stage.paused {
        return situation.rejected;
    }
    let is_degraded = |id: ColorId| {
        let degraded = degraded.filter(|degraded| degraded.color == view.colors[id].name);
        degraded.is_some_and(|degraded| degraded.since.after(view.spec.progress_deadline) <= view.now)
    };
    let color = match points {
        ServiceTarget::Members => target.filter(|color| is_degraded(*color)),
        ServiceTarget::Instance(_) if target == *serving => target.filter(|color| is_degraded(*color)),
        ServiceTarget::Instance(_) => target.filter(|color| does_not_start(view, situation, roles, *color, draft)),
        ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => None,
    };
    let color = color.filter(|color| *goal == Goal::Color(*color))?;
    let from = serving.filter(|serving| *serving != color);
    let before = from.or_else(|| color_before(view, situation));
    before.filter(|before| has_ready(view, stage, *before)).map(|_| color)
}

/// Returns whether the color has not become ready within the progress deadline since the stage was to move to it. A color that
/// waits for a slot has not been started.
fn does_not_start(view: &View<'_>, situation: &Situation<'_>, roles: &[Role], id: ColorId, draft: &mut Draft) -> bool {
    let name = &view.colors[id].name;
    let shift = situation.memory.shift.as_ref().filter(|shift| shift.to == *name);
    let (Some(shift), Role::Held { .. }) = (shift, &roles[id]) else { return false };
    if ready_for(view, situation, id) {
        return false;
    }
    let deadline = shift.started.after(view.spec.progress_deadline);
    if deadline > view.now {
        draft.wake(deadline);
    }
    deadline <= view.now
}

/// Reports a color that has been degraded for longer than a new one may take to start.
fn report_degraded(view: &View<'_>, situation: &Situation<'_>, id: ColorId, since: Time, draft: &mut Draft) {
    let deadline = since.after(view.spec.progress_deadline);
    if deadline > view.now {
        draft.wake(deadline);
        return;
    }
    let color = view.colors[id];
    let from = situation.serving.filter(|serving| *serving != id);
    let before = from.or_else(|| color_before(view, situation)).filter(|id| has_ready(view, situation.stage, *id));
    draft.problem(Problem::Degraded {
        stage: situation.stage.user_name().to_owned(),
        color: color.name.clone(),
        since,
        lacks: lacking(view, color, |tier, _| situation.asks(view, id, tier)),
        previous: before.map(|id| view.colors[id].name.clone()),
    });
}

/// Returns the stage whose way back a color is, if the color must be kept whole for it.
pub(crate) fn way_back(view: &View<'_>, situations: &[Situation<'_>], id: ColorId) -> Option<WayBack> {
    let of = |situation: &Situation<'_>| {
        let serving = situation.serving.filter(|_| color_before(view, situation) == Some(id))?;
        let Some(healthy) = healthy_since(view, situation, serving) else { return Some(Warmth::WhileUnhealthy) };
        if let Judgement::Open { .. } = gates::judgement(view, situation) {
            return Some(Warmth::WhileJudged);
        }
        // A color that is turned off wants no pods, never serves, and lacks nothing.
        let until = healthy.max(situation.memory.since?).after(view.spec.keep.warm);
        (until > view.now && !is_remnant(view, situation, id)).then_some(Warmth::Until(until))
    };
    let mut ways = situations.iter().enumerate().filter_map(|(stage, s)| Some(WayBack { stage, warmth: of(s)? }));
    let first = ways.next()?;
    // An unhealthy color is the reason that a user can act on.
    let rank = |way: &WayBack| match way.warmth {
        Warmth::WhileUnhealthy => Time(i64::MAX),
        Warmth::WhileJudged => Time(i64::MAX - 1),
        Warmth::Until(until) => until,
    };
    Some(ways.fold(first, |chosen, way| if rank(&way) > rank(&chosen) { way } else { chosen }))
}

/// Returns whether the color has lost pods to the shift itself, which ran few pods too many (`surge`). The way back must start
/// pods anyway, and the rest of the color only takes room.
fn is_remnant(view: &View<'_>, situation: &Situation<'_>, id: ColorId) -> bool {
    let color = view.colors[id];
    let is_smaller = |tier: &Tier| {
        let instance = color.instances.get(&tier.name);
        instance.is_some_and(|instance| view.asked(instance) < situation.size(view, color, &tier.name))
    };
    matches!(situation.stage.shift, Shift::Rolling { surge: Some(_), .. }) && color.tiers.iter().any(is_smaller)
}

/// Returns the color that a stage served before: the one in its status. Where the status is lost, the newest other color that has
/// served it.
fn color_before(view: &View<'_>, situation: &Situation<'_>) -> Option<ColorId> {
    let StageMemory { previous, color, .. } = &situation.memory;
    match previous {
        Some(previous) => view.color_in(&situation.stage.name, previous),
        None if color.is_some() => None,
        None => (0..view.colors.len())
            .find(|id| Some(*id) != situation.serving && view.has_served(*id, &situation.stage.name)),
    }
}

/// Returns the stages that have sent clients to a color, or do so by this plan, as far as the status and the cluster tell. `None`: unknown.
pub(crate) fn served(
    view: &View<'_>,
    situations: &[Situation<'_>],
    draft: &Draft,
    id: ColorId,
) -> Option<BTreeSet<String>> {
    let color = view.colors[id];
    let reached = situations.iter().filter(|situation| reaches(view, situation, draft, id));
    let mut reached: BTreeSet<String> = reached.map(|situation| situation.stage.name.clone()).collect();
    let mut is_unknown = false;
    for pod in color.instances.values().flat_map(|instance| view.pods(instance)) {
        for key in services_of(view, pod) {
            match key {
                StageKey::Stage(stage) | StageKey::Former { stage, .. } => {
                    if stands_for(view, situations, stage, &pod.instance) == Some(id) {
                        reached.insert(stage.clone());
                    }
                }
                // No name is left of the stage that the Service had.
                StageKey::Gone { .. } => is_unknown = true,
                StageKey::Shadow { .. } => {}
            }
        }
    }
    let mut own = color.instances.values().filter(|instance| *instance.color == color.name).peekable();
    let is_new = own.peek().is_some() && own.all(|instance| is_absent(view, instance));
    match &color.served {
        Some(known) if known.is_empty() && reached.is_empty() && is_unknown => None,
        Some(known) => Some(known.union(&reached).cloned().collect()),
        None if is_new || !reached.is_empty() => Some(reached),
        None => None,
    }
}

fn is_absent(view: &View<'_>, instance: &InstanceName) -> bool {
    matches!(view.deployment(instance), Deployment::Absent | Deployment::Foreign) && view.pods(instance).is_empty()
}

/// Returns the color that an instance stands for in a stage, which may have been removed from the spec.
fn stands_for(view: &View<'_>, situations: &[Situation<'_>], stage: &str, instance: &InstanceName) -> Option<ColorId> {
    match situations.iter().find(|situation| situation.stage.name == stage) {
        Some(situation) => situation.owner(view, instance),
        None => view.owners(instance).first().copied(),
    }
}

/// Returns the Services that send clients to a pod, or have done so. Those of removed stages and those that a stage had under another name
/// are among them.
fn services_of<'a>(view: &View<'a>, pod: &'a Pod) -> impl Iterator<Item = &'a StageKey> {
    let selects = |(key, service): &(&'a StageKey, &StageService)| match service {
        StageService::Ours { selects: Selection::Instance(instance), .. } => pod.ready && *instance == pod.instance,
        StageService::Ours { selects: Selection::Members, .. } => {
            matches!(key, StageKey::Stage(stage) | StageKey::Former { stage, .. } if pod.member.contains_key(stage))
        }
        StageService::Ours { selects: Selection::Other, .. } | StageService::Foreign => false,
    };
    let selecting = view.world.stages.iter().filter(selects).map(|(key, _)| key);
    // An observer that has just started reports of each pod that it may have left any Service.
    let is_guess = pod.left.contains_key(&StageKey::Gone { service: None });
    let left = pod.left.keys().filter(move |_| !is_guess);
    selecting.chain(pod.endpoint.keys()).chain(left)
}

/// Returns whether a stage sends clients to the color when this plan is carried out. Operators record that before they carry it out: a crash
/// right after the write of the Service would hide it, where another writer deletes the Service, or a user removes the stage, before the
/// next look.
fn reaches(view: &View<'_>, situation: &Situation<'_>, draft: &Draft, id: ColorId) -> bool {
    let of_color = |instance: &InstanceName| situation.owner(view, instance) == Some(id);
    let actions = draft.actions(&ChainKey::Stage(situation.key.clone()));
    let selects = actions.iter().find_map(|action| {
        let Action::ApplyStage { selects, .. } = action else { return None };
        Some(selects)
    });
    let is_joining =
        |name: &str| actions.iter().any(|action| matches!(action, Action::Join { pod, .. } if pod == name));
    let joins = |pod: &Pod| pod.member.contains_key(&situation.stage.name) || is_joining(&pod.name);
    match (selects, &situation.points) {
        (Some(Selection::Instance(instance)), _) => {
            of_color(instance) && view.pods(instance).iter().any(|pod| pod.ready)
        }
        (Some(Selection::Members), _) | (None, ServiceTarget::Members) => {
            let mut pods = view.colors[id].instances.values().flat_map(|instance| view.pods(instance));
            pods.any(|pod| joins(pod) && of_color(&pod.instance))
        }
        (Some(Selection::Other), _)
        | (None, ServiceTarget::Instance(_) | ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other) => {
            false
        }
    }
}
