//! Situation of each stage: the color that it serves, and the color that it should serve.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Color, InstanceName, OnStalled, Pod, Promote, Selection, Stage, StageKey, StageMemory, StageService, Time, Version,
    gates::{self, Checks},
    order::{self, Block},
    surge::{self, Share},
    view::{ColorId, View, serves},
};

/// Selector of a stage's Service, as the API shows it, as far as a decision depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceTarget<'a> {
    /// No Service exists.
    Nowhere,
    /// An object of another owner has the name.
    Foreign,
    /// The Service selects all pods of an instance.
    Instance(&'a InstanceName),
    /// The Service selects the pods with the stage's label.
    Members,
    /// The Service has a selector that Rainbow did not write.
    Other,
}

/// Color that a stage should serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal<'a> {
    /// The stage should serve this color.
    Color(ColorId),
    /// The stage should serve a color that does not exist.
    Unknown(&'a str),
    /// The stage should serve a color that is being deleted and that the stage does not serve yet.
    Deleting(ColorId),
    /// The stage should serve nothing new: there is no color, or the newest may not be used.
    Stay,
}

/// Stage as it is and as it should be.
pub(crate) struct Situation<'a> {
    pub(crate) stage: &'a Stage,
    /// Key of the stage's Service.
    pub(crate) key: StageKey,
    pub(crate) memory: StageMemory,
    pub(crate) points: ServiceTarget<'a>,
    /// Color that the stage serves, as its Service says.
    pub(crate) says: Option<&'a str>,
    /// The Service is as it should be, the selector aside.
    pub(crate) current: bool,
    /// Color that the stage serves; during a shift, the color that it comes from.
    pub(crate) serving: Option<ColorId>,
    pub(crate) goal: Goal<'a>,
    /// Color that the spec asks for, but that the stage has been taken back from.
    pub(crate) rejected: Option<ColorId>,
    /// Pods with the stage's label that are going to stay, ready or not, by name.
    pub(crate) members: Vec<&'a Pod>,
    /// Colors that the stage points at, moves to or comes from, or whose pods are still among its endpoints.
    pub(crate) touches: BTreeSet<ColorId>,
    /// Reason why the stage does not yet go to where the spec wants it.
    pub(crate) block: Option<Block>,
    /// Checks between two tiers of a release.
    pub(crate) between: Checks,
    /// Shares of the colors that a stage asks for while it moves with a surge. A color without a share is asked for whole.
    pub(crate) shares: BTreeMap<ColorId, Share>,
}

impl<'a> Situation<'a> {
    /// Returns the instance that serves the stage's tier in a color.
    pub(crate) fn instance(&self, view: &View<'a>, color: ColorId) -> Option<&'a InstanceName> {
        view.entry_instance(self.stage, color)
    }

    /// Returns the pods of a tier that the stage asks a color for: at most the tier's full size, so that no stage starts a tier
    /// that is turned off.
    pub(crate) fn size(&self, view: &View<'a>, color: &Color, tier: &str) -> u32 {
        let full = self.begins(view, color, tier).unwrap_or_else(|| view.full(color, tier));
        self.stage.replicas.map_or(full, |replicas| replicas.min(full))
    }

    /// Returns the pods with which a color that another writer scales begins to serve the stage: as many as the color that serves
    /// has, or had when the stage began to move. The color's own autoscaler does not know the load that is about to come. After
    /// the progress deadline, the pods that exist must do.
    pub(crate) fn begins(&self, view: &View<'a>, color: &Color, tier: &str) -> Option<u32> {
        let Goal::Color(goal) = self.goal else { return None };
        let instance = color.instances.get(tier).filter(|instance| view.is_scaled(instance))?;
        let serving = view.colors[self.serving?];
        if !view.colors[goal].is(color) || serving.is(color) {
            return None;
        }
        if !serving.instances.contains_key(tier) {
            return None;
        }
        let shift = self.memory.shift.as_ref();
        let began = shift.filter(|shift| shift.to == color.name).and_then(|_| color.sizes.get(tier)).copied();
        let now = view.full(color, tier);
        // Pods beyond the autoscaler's maximum exist until the autoscaler writes.
        let most = view.most(instance).max(now);
        let size = view.full(serving, tier).max(began.unwrap_or(0)).min(most).max(1);
        let is_late = self.is_late_at(view).is_some_and(|late| late <= view.now);
        Some(if is_late { size.min(now.max(1)) } else { size })
    }

    /// Returns when a shift stops waiting for pods that another writer does not start.
    pub(crate) fn is_late_at(&self, view: &View<'_>) -> Option<Time> {
        self.memory.shift.as_ref().map(|shift| shift.started.after(view.spec.progress_deadline))
    }

    /// Returns the pods of a tier that another writer scales without which the color is not what the stage asks for. An
    /// autoscaler that asks for more than the color began to serve with makes the color no less healthy, and the planner does not
    /// write against one that asks for less in the middle of a shift.
    fn needs(&self, view: &View<'a>, id: ColorId, tier: &str, size: u32) -> u32 {
        let color = view.colors[id];
        if !color.instances.get(tier).is_some_and(|instance| view.is_scaled(instance)) {
            return size;
        }
        let now = view.full(color, tier);
        match self.begins(view, color, tier) {
            Some(_) if self.points == ServiceTarget::Members => size.min(now.max(1)),
            Some(_) => size,
            None => color.sizes.get(tier).map_or(size, |began| size.min(*began)),
        }
    }

    /// Returns the pods of a tier that the stage asks a color for now. A tier that two of its colors share serves both, and is
    /// whole.
    pub(crate) fn asks(&self, view: &View<'a>, id: ColorId, tier: &str) -> u32 {
        let color = view.colors[id];
        let size = self.needs(view, id, tier, self.size(view, color, tier));
        let Some(share) = self.shares.get(&id) else { return size };
        let owners = color.instances.get(tier).map_or(&[][..], |instance| view.owners(instance));
        if owners.iter().any(|owner| *owner != id && self.touches.contains(owner)) {
            return size;
        }
        share.part(size, view.entry(self.stage, id) == Some(tier))
    }

    /// Returns the color that an instance stands for in this stage. A shared instance stands for several: the color that is
    /// wanted, else the one that serves, else the newest. They are equal all the way down, so it is enough to hold one of them.
    pub(crate) fn owner(&self, view: &View<'_>, instance: &InstanceName) -> Option<ColorId> {
        owner(view, self.stage, instance, self.goal, self.serving)
    }

    /// Returns the gate that has rejected the color that the stage was taken back from, or does not go to.
    pub(crate) fn rejecting_gate(&self, view: &View<'_>) -> Option<String> {
        let color = self.rejected?;
        match &self.memory.rejected {
            Some(rejected) if rejected.color == view.colors[color].name => rejected.gate.clone(),
            Some(_) | None => gates::rejected_by(view, color).map(|by| by.gate.clone()),
        }
    }

    /// Returns whether the pod belongs to the instance that serves the stage's tier in the color.
    pub(crate) fn is_of(&self, view: &View<'a>, pod: &Pod, color: ColorId) -> bool {
        self.instance(view, color) == Some(&pod.instance)
    }
}

/// Returns the situation of every stage of the spec.
pub(crate) fn situate<'a>(view: &View<'a>) -> Vec<Situation<'a>> {
    // One pass over the pods serves all stages: labels and endpoints are rare, and a world has thousands of pods.
    let stages = &view.spec.stages;
    let mut members: Vec<Vec<&'a Pod>> = vec![Vec::new(); stages.len()];
    let mut endpoints: Vec<BTreeSet<&'a InstanceName>> = vec![BTreeSet::new(); stages.len()];
    let keys: Vec<StageKey> = stages.iter().map(|stage| StageKey::of(&stage.name)).collect();
    for pod in view.world.pods.iter().filter(|pod| !(pod.member.is_empty() && pod.endpoint.is_empty())) {
        for (index, stage) in stages.iter().enumerate() {
            if !pod.terminating && pod.member.contains_key(&stage.name) {
                members[index].push(pod);
            }
            if pod.endpoint.contains_key(&keys[index]) {
                endpoints[index].insert(&pod.instance);
            }
        }
    }
    let seen = members.into_iter().zip(endpoints).zip(keys);
    let one = |(stage, ((members, endpoints), key))| {
        let situation = one(view, stage, key, members, &endpoints);
        (situation, endpoints)
    };
    let (mut situations, seen): (Vec<Situation<'a>>, Vec<_>) = stages.iter().zip(seen).map(one).unzip();
    order::keep(view, &mut situations);
    for (situation, instances) in situations.iter_mut().zip(seen) {
        touch(view, situation, instances);
    }
    surge::share_out(view, &mut situations);
    situations
}

fn one<'a>(
    view: &View<'a>,
    stage: &'a Stage,
    key: StageKey,
    mut members: Vec<&'a Pod>,
    endpoints: &BTreeSet<&'a InstanceName>,
) -> Situation<'a> {
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let (points, current, says) = points(view, &key);
    let mut memory = view.memory(&stage.name);
    if memory.color.is_none() {
        memory.color = says.filter(|color| view.color_in(&stage.name, color).is_some()).map(str::to_owned);
    }
    let wish = wish(view, stage);
    let serving = serving(view, stage, &memory, &points, &members, endpoints, wish);
    let goal = goal(view, stage, &memory, &points, serving, &members, wish);
    let back = instead_of_rejected(view, stage, &memory, serving, &members, goal);
    let (goal, rejected) = back.map_or((goal, None), |(back, rejected)| (Goal::Color(back), Some(rejected)));
    Situation {
        stage,
        key,
        memory,
        points,
        says,
        current,
        serving,
        goal,
        rejected,
        members,
        touches: BTreeSet::new(),
        block: None,
        between: Checks::default(),
        shares: BTreeMap::new(),
    }
}

/// Notes the colors that a stage needs. `instances` are those that are among its endpoints.
fn touch<'a>(view: &View<'a>, situation: &mut Situation<'a>, mut instances: BTreeSet<&'a InstanceName>) {
    let Situation { stage, goal, serving, ref points, ref members, .. } = *situation;
    match points {
        ServiceTarget::Instance(instance) => {
            instances.insert(instance);
        }
        // A Service that a user deleted or edited may be pointed at its members again.
        ServiceTarget::Members | ServiceTarget::Other | ServiceTarget::Nowhere => {
            instances.extend(members.iter().map(|pod| &pod.instance));
        }
        ServiceTarget::Foreign => {}
    }
    let owners: Vec<ColorId> =
        instances.into_iter().filter_map(|instance| owner(view, stage, instance, goal, serving)).collect();
    situation.touches.extend(owners);
    situation.touches.extend(serving);
    if let Goal::Color(color) = goal {
        situation.touches.insert(color);
    }
}

fn owner(
    view: &View<'_>,
    stage: &Stage,
    instance: &InstanceName,
    goal: Goal<'_>,
    serving: Option<ColorId>,
) -> Option<ColorId> {
    let owners = owners(view, stage, instance);
    let goal = owners.iter().find(|color| goal == Goal::Color(**color));
    goal.or_else(|| owners.iter().find(|color| Some(**color) == serving)).or(owners.first()).copied()
}

/// Returns the selector of the stage's Service, whether all else of it is as it should be, and the color that it says the stage
/// serves.
fn points<'a>(view: &View<'a>, key: &StageKey) -> (ServiceTarget<'a>, bool, Option<&'a str>) {
    match view.world.stages.get(key) {
        None => (ServiceTarget::Nowhere, false, None),
        Some(StageService::Foreign) => (ServiceTarget::Foreign, true, None),
        Some(StageService::Ours { current, selects, serves }) => {
            let points = match selects {
                Selection::Instance(instance) => ServiceTarget::Instance(instance),
                Selection::Members => ServiceTarget::Members,
                Selection::Other => ServiceTarget::Other,
            };
            (points, *current, serves.as_deref())
        }
    }
}

/// Returns the color that the spec asks for, before any check whether that is possible. `Stay`: the spec asks for none.
fn wish<'a>(view: &View<'a>, stage: &'a Stage) -> Goal<'a> {
    match (&stage.color, stage.promote) {
        (Some(name), _) => match view.color_in(&stage.name, name) {
            Some(color) => Goal::Color(color),
            // This very plan makes the color.
            None if *name == view.spec.color && view.spec.version == Version::Valid => Goal::Stay,
            None => Goal::Unknown(name),
        },
        (None, Promote::Auto) => newest(view, stage),
        (None, Promote::Manual) => Goal::Stay,
    }
}

/// Returns the newest color. The color of the spec is *the* newest, whatever its revision: a spec that goes back to an old color
/// means that color. A spec that is invalid, or a name that other tiers have, leaves the newest color as it was.
fn newest<'a>(view: &View<'a>, stage: &Stage) -> Goal<'a> {
    view.newest_in(&stage.name).map_or(Goal::Stay, Goal::Color)
}

/// Returns the colors that have an instance, newest first, as the stage serves them. A part of another stage may have the
/// instance, too. So may a newer color whose tiers call it in their own color: the address does not lead there, and a pod of the
/// instance is no sign that the stage has moved there.
fn owners(view: &View<'_>, stage: &Stage, instance: &InstanceName) -> Vec<ColorId> {
    let owners = view.owners(instance);
    let own: Vec<ColorId> = owners.iter().copied().filter(|owner| view.is_for(*owner, &stage.name)).collect();
    let leads_to: Vec<ColorId> =
        own.iter().copied().filter(|owner| view.entry_instance(stage, *owner) == Some(instance)).collect();
    let candidates = [leads_to, own].into_iter().find(|owners| !owners.is_empty());
    candidates.unwrap_or_else(|| owners.to_vec())
}

/// Returns the color that the stage serves. The Service's selector decides, where Rainbow may have written it; the status fills
/// in where the Service does not tell.
fn serving<'a>(
    view: &View<'a>,
    stage: &Stage,
    memory: &StageMemory,
    points: &ServiceTarget<'a>,
    members: &[&'a Pod],
    endpoints: &BTreeSet<&'a InstanceName>,
    wish: Goal<'a>,
) -> Option<ColorId> {
    let remembered = memory.color.as_deref().and_then(|name| view.color_in(&stage.name, name));
    match points {
        ServiceTarget::Instance(instance) => {
            // A shared instance serves several colors: the color that is wanted, else the one that it was, else the newest.
            let owners = owners(view, stage, instance);
            let may_serve = |color: &ColorId| is_expected(view, stage, memory, wish, instance, *color);
            let mut expected = owners.iter().filter(|color| may_serve(color));
            let wished = owners.iter().find(|color| wish == Goal::Color(**color) && may_serve(color));
            let same = || owners.iter().find(|color| Some(**color) == remembered && may_serve(color));
            let chosen = wished.or_else(same).or_else(|| expected.next()).copied();
            // Another writer has pointed the Service at this instance: that promotes nothing.
            let known = || has_served(view, stage, members, endpoints);
            chosen.or(remembered).or_else(known).or(owners.first().copied())
        }
        ServiceTarget::Members => remembered.or_else(|| shift_source(view, stage, members, wish)),
        ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => {
            remembered.or_else(|| has_served(view, stage, members, endpoints))
        }
    }
}

/// Returns the color that a stage has served, when neither the Service nor the status tells: the only color among the endpoints,
/// or the only one whose own status says so. Of several colors, the oldest one of a shift, else the newest.
fn has_served<'a>(
    view: &View<'a>,
    stage: &Stage,
    members: &[&'a Pod],
    endpoints: &BTreeSet<&'a InstanceName>,
) -> Option<ColorId> {
    let is_endpoint = |id: &ColorId| view.entry_instance(stage, *id).is_some_and(|own| endpoints.contains(own));
    let served = |id: &ColorId| view.has_served(*id, &stage.name);
    // Colors are indexed newest first.
    let all = || 0..view.colors.len();
    let only = |is: &dyn Fn(&ColorId) -> bool| {
        let mut found = all().filter(is);
        found.next().filter(|_| found.next().is_none())
    };
    // Of a shift, the oldest color is the side that moves nothing forward.
    let oldest = || all().rev().find(|id| has_members(view, stage, members, *id));
    // The color that the stage is pinned to comes first: a way back takes no detour over a color that it leaves. A stage that is
    // held may not have reached its pin, unless the pin is the oldest color.
    let pinned = || {
        let pin = stage.color.as_deref().and_then(|name| view.color_in(&stage.name, name)).filter(served);
        let is_oldest = |pin: ColorId| all().filter(served).all(|id| id == pin || is_older(view, pin, id));
        pin.filter(|pin| members.is_empty() && (!(stage.paused || stage.invalid) || is_oldest(*pin)))
    };
    pinned().or_else(|| only(&is_endpoint)).or_else(|| only(&served)).or_else(oldest).or_else(|| all().find(served))
}

/// Returns whether Rainbow may have pointed the stage's Service at this instance of the color: the stage serves the color, or is
/// on its way from or to it. Where the status is lost, any color may be that one.
fn is_expected(
    view: &View<'_>,
    stage: &Stage,
    memory: &StageMemory,
    wish: Goal<'_>,
    instance: &InstanceName,
    color: ColorId,
) -> bool {
    let name = view.colors[color].name.as_str();
    let is = |known: &Option<String>| known.as_deref() == Some(name);
    let shifts = memory.shift.as_ref().is_some_and(|shift| shift.from == name || shift.to == name);
    let known = memory.color.is_none() || is(&memory.color) || is(&memory.target) || shifts;
    view.entry_instance(stage, color) == Some(instance) && (known || wish == Goal::Color(color))
}

/// Returns the color that a shift comes from, when the status is lost: of the colors with members that are not where the stage
/// should go, the one with most members; the older one on a tie. Where that one has lost its last member, the newest color that
/// has served.
fn shift_source<'a>(view: &View<'a>, stage: &Stage, members: &[&'a Pod], wish: Goal<'a>) -> Option<ColorId> {
    let mut counts: Vec<(bool, usize, ColorId)> = Vec::new();
    for color in members.iter().flat_map(|pod| view.owners(&pod.instance)).copied().collect::<BTreeSet<_>>() {
        let instance = view.entry_instance(stage, color);
        let count = members.iter().filter(|pod| instance == Some(&pod.instance)).count();
        counts.push((wish != Goal::Color(color), count, color));
    }
    let served = || {
        let mut others = (0..view.colors.len()).filter(|color| wish != Goal::Color(*color));
        others.find(|color| view.has_served(*color, &stage.name) && has_ready(view, stage, *color))
    };
    match counts.into_iter().max() {
        Some((true, _, color)) => Some(color),
        Some((false, _, color)) => served().or(Some(color)),
        None => None,
    }
}

fn goal<'a>(
    view: &View<'a>,
    stage: &Stage,
    memory: &StageMemory,
    points: &ServiceTarget<'a>,
    serving: Option<ColorId>,
    members: &[&'a Pod],
    wish: Goal<'a>,
) -> Goal<'a> {
    if stage.invalid {
        return goal_of_invalid(view, stage, memory, points, serving, members);
    }
    let wish = match wish {
        // The pin was dropped in the middle of a shift, as a manifest without one does it: the stage continues to where it was
        // going.
        Goal::Stay
            if stage.color.is_none() && stage.promote == Promote::Manual && *points == ServiceTarget::Members =>
        {
            match under_way(view, stage, memory, members).or(serving) {
                Some(color) => Goal::Color(color),
                None => newest(view, stage),
            }
        }
        // Without a pin, a manual stage goes to the first color that ever serves, and to no other. A Service may point at a color
        // that never came up; that color has not served.
        Goal::Stay if stage.color.is_none() && stage.promote == Promote::Manual => match serving {
            Some(color) if memory.since.is_some() || has_ready(view, stage, color) => Goal::Color(color),
            _ => newest(view, stage),
        },
        other => other,
    };
    match wish {
        Goal::Color(color) if view.colors[color].deleting => {
            let instance = view.entry_instance(stage, color);
            let serves_it = serving == Some(color) || members.iter().any(|pod| Some(&pod.instance) == instance);
            if serves_it { wish } else { Goal::Deleting(color) }
        }
        // An automatic stage in the middle of a shift to a color that is no longer the newest continues to it until the newest is
        // ready; `shift` decides that.
        other => other,
    }
}

/// Returns the color that a stage serves instead of the one that it has been taken back from, and the latter.
fn instead_of_rejected(
    view: &View<'_>,
    stage: &Stage,
    memory: &StageMemory,
    serving: Option<ColorId>,
    members: &[&Pod],
    goal: Goal<'_>,
) -> Option<(ColorId, ColorId)> {
    let Goal::Color(wanted) = goal else { return None };
    if let Some(back) = instead_of_failed(view, stage, serving, members, wanted) {
        return Some((back, wanted));
    }
    let rejection = memory.rejected.as_ref().filter(|rejected| rejected.color == view.colors[wanted].name)?;
    let still = match &rejection.gate {
        None => stage.on_stalled == OnStalled::RollBack,
        Some(gate) => !stage.gates.is_skipped(gate, &rejection.color),
    };
    if !still {
        return None;
    }
    let before = || memory.previous.as_deref().and_then(|name| view.color_in(&stage.name, name));
    let back = serving.filter(|serving| *serving != wanted).or_else(before)?;
    (!view.colors[back].deleting).then_some((back, wanted))
}

/// Returns the color at which an automatic stage stays, because the newest color has failed a gate of another stage. A stage that has begun
/// to move to the color goes on: its own gates decide.
fn instead_of_failed(
    view: &View<'_>,
    stage: &Stage,
    serving: Option<ColorId>,
    members: &[&Pod],
    wanted: ColorId,
) -> Option<ColorId> {
    let is_automatic = stage.promote == Promote::Auto && stage.color.is_none();
    gates::rejected_by(view, wanted).filter(|_| is_automatic && !has_members(view, stage, members, wanted))?;
    serving.filter(|serving| *serving != wanted && !view.colors[*serving].deleting)
}

/// Returns the goal of a stage whose spec is invalid. It keeps what it serves, and in a shift its goal stays where it was going,
/// though it does not move now. Only the way back is open: its pin may name the color that it comes from, or an older one that it
/// served before.
fn goal_of_invalid<'a>(
    view: &View<'a>,
    stage: &Stage,
    memory: &StageMemory,
    points: &ServiceTarget<'a>,
    serving: Option<ColorId>,
    members: &[&'a Pod],
) -> Goal<'a> {
    let known = |name: &Option<String>| name.as_deref().and_then(|name| view.color_in(&stage.name, name));
    let back = known(&stage.color).filter(|pin| {
        let before =
            || known(&memory.previous) == Some(*pin) && serving.is_some_and(|serving| is_older(view, *pin, serving));
        serving == Some(*pin) || before()
    });
    let goes_on = || (*points == ServiceTarget::Members).then(|| under_way(view, stage, memory, members)).flatten();
    back.or_else(goes_on).or(serving).map_or(Goal::Stay, Goal::Color)
}

fn is_older(view: &View<'_>, one: ColorId, other: ColorId) -> bool {
    view.colors[one].revision < view.colors[other].revision
}

/// Returns where a stage without a pin was going: to the color that the status remembers, if that has members, else to the newest
/// color that has some, other than the one that the stage came from by its status.
fn under_way(view: &View<'_>, stage: &Stage, memory: &StageMemory, members: &[&Pod]) -> Option<ColorId> {
    let has_members = |color: &ColorId| has_members(view, stage, members, *color);
    let remembered = memory.target.as_deref().and_then(|name| view.color_in(&stage.name, name)).filter(has_members);
    let from = memory.color.as_deref().and_then(|name| view.color_in(&stage.name, name));
    // Colors are indexed newest first.
    remembered.or_else(|| (0..view.colors.len()).find(|color| Some(*color) != from && has_members(color)))
}

/// Returns whether a member of the stage is of the color.
fn has_members(view: &View<'_>, stage: &Stage, members: &[&Pod], color: ColorId) -> bool {
    view.entry_instance(stage, color).is_some_and(|own| members.iter().any(|pod| pod.instance == *own))
}

/// Returns whether the color has a ready pod in the stage's tier.
pub(crate) fn has_ready(view: &View<'_>, stage: &Stage, color: ColorId) -> bool {
    view.entry_instance(stage, color).is_some_and(|instance| view.pods(instance).iter().any(|p| serves(p)))
}
