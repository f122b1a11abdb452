//! What each stage serves, and what it shall serve.

use std::collections::BTreeSet;

use crate::{
    Color, InstanceName, Pod, Promote, Selection, Stage, StageKey, StageMemory, StageService,
    view::{ColorId, View, serves},
};

/// What the API shows of a stage's Service, as far as a decision depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Points<'a> {
    /// There is no Service.
    Nowhere,
    /// The name is somebody else's.
    Foreign,
    /// At all pods of an instance of the stage's tier.
    Instance(&'a InstanceName),
    /// At the pods with the stage's label.
    Members,
    /// At something Rainbow did not write, or at another tier than the stage's.
    Other,
}

/// What a stage shall serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal<'a> {
    /// This color.
    Color(ColorId),
    /// A color that does not exist.
    Unknown(&'a str),
    /// A color that is being deleted and that the stage does not serve yet.
    Deleting(ColorId),
    /// Nothing new: there is no color, or the newest may not be used.
    Stay,
}

/// A stage as it is and as it shall be.
pub(crate) struct Situation<'a> {
    pub(crate) stage: &'a Stage,
    /// The stage's Service.
    pub(crate) key: StageKey,
    pub(crate) memory: StageMemory,
    pub(crate) points: Points<'a>,
    /// The Service is as it shall be, the selector aside.
    pub(crate) current: bool,
    /// The color it serves; during a shift, the one it comes from.
    pub(crate) serving: Option<ColorId>,
    pub(crate) goal: Goal<'a>,
    /// Pods with the stage's label that are going to stay, ready or not, by name.
    pub(crate) members: Vec<&'a Pod>,
    /// Colors the stage points at, moves to or comes from, or whose pods are still among its endpoints.
    pub(crate) touches: BTreeSet<ColorId>,
}

impl<'a> Situation<'a> {
    /// The instance that serves the stage's tier in a color.
    pub(crate) fn instance(&self, view: &View<'a>, color: ColorId) -> Option<&'a InstanceName> {
        view.colors[color].instances.get(&self.stage.tier)
    }

    /// Pods per tier that the stage asks a color for.
    pub(crate) fn size(&self, view: &View<'a>, color: &Color, tier: &str) -> u32 {
        self.stage.replicas.unwrap_or_else(|| view.full(color, tier))
    }

    /// The color an instance stands for in this stage. A shared one stands for several: the one that is wanted, else the one
    /// that serves, else the newest. They are equal all the way down, so holding one of them is enough.
    pub(crate) fn owner(&self, view: &View<'_>, instance: &InstanceName) -> Option<ColorId> {
        owner(view, instance, self.goal, self.serving)
    }

    /// A member of a color's instance.
    pub(crate) fn is_of(&self, view: &View<'a>, pod: &Pod, color: ColorId) -> bool {
        self.instance(view, color) == Some(&pod.instance)
    }
}

/// Looks at every stage of the spec.
pub(crate) fn situate<'a>(view: &View<'a>) -> Vec<Situation<'a>> {
    // One pass over the pods for all stages: labels and endpoints are rare, and a world has thousands of pods.
    let stages = &view.spec().stages;
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
    stages
        .iter()
        .zip(seen)
        .map(|(stage, ((members, endpoints), key))| one(view, stage, key, members, &endpoints))
        .collect()
}

fn one<'a>(
    view: &View<'a>,
    stage: &'a Stage,
    key: StageKey,
    mut members: Vec<&'a Pod>,
    endpoints: &BTreeSet<&'a InstanceName>,
) -> Situation<'a> {
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let memory = view.memory(&stage.name);
    let (points, current) = points(view, stage, &key);
    let wish = wish(view, stage);
    let serving = serving(view, stage, &memory, &points, &members, wish);
    let goal = goal(view, stage, &memory, &points, serving, &members, wish);
    let mut touches: BTreeSet<ColorId> = serving.into_iter().collect();
    if let Goal::Color(color) = goal {
        touches.insert(color);
    }
    let mut instances: BTreeSet<&InstanceName> = endpoints.clone();
    match &points {
        Points::Instance(instance) => {
            instances.insert(instance);
        }
        // A Service that somebody deleted or edited may be pointed at its members again.
        Points::Members | Points::Other | Points::Nowhere => {
            instances.extend(members.iter().map(|pod| &pod.instance));
        }
        Points::Foreign => {}
    }
    touches.extend(instances.into_iter().filter_map(|instance| owner(view, instance, goal, serving)));
    Situation { stage, key, memory, points, current, serving, goal, members, touches }
}

fn owner(view: &View<'_>, instance: &InstanceName, goal: Goal<'_>, serving: Option<ColorId>) -> Option<ColorId> {
    let owners = view.owners(instance);
    let goal = owners.iter().find(|color| goal == Goal::Color(**color));
    goal.or_else(|| owners.iter().find(|color| Some(**color) == serving)).or(owners.first()).copied()
}

fn points<'a>(view: &View<'a>, stage: &Stage, key: &StageKey) -> (Points<'a>, bool) {
    match view.world.stages.get(key) {
        None => (Points::Nowhere, false),
        Some(StageService::Foreign) => (Points::Foreign, true),
        Some(StageService::Ours { current, selects }) => {
            let points = match selects {
                Selection::Instance(instance) if instance.tier == stage.tier => Points::Instance(instance),
                Selection::Members => Points::Members,
                // The stage was given another tier: what it selects is as wrong as if somebody had edited it.
                Selection::Instance(_) | Selection::Other => Points::Other,
            };
            (points, *current)
        }
    }
}

/// What the spec says, before it is asked whether that can be done. `Stay`: it says nothing.
fn wish<'a>(view: &View<'a>, stage: &'a Stage) -> Goal<'a> {
    match (&stage.color, stage.promote) {
        (Some(name), _) => match view.color(name) {
            Some(color) => Goal::Color(color),
            // It is made by this very plan.
            None if *name == view.spec().color => Goal::Stay,
            None => Goal::Unknown(name),
        },
        (None, Promote::Auto) => newest(view),
        (None, Promote::Manual) => Goal::Stay,
    }
}

/// The color of the spec is *the* newest, whatever its revision: a spec that goes back to an old color means that color.
/// A name that is taken by other tiers means none.
fn newest<'a>(view: &View<'a>) -> Goal<'a> {
    match view.color(&view.spec().color) {
        Some(color) if crate::colors::matches_spec(view, color) => Goal::Color(color),
        _ => Goal::Stay,
    }
}

/// What the Service selects is the truth; the status fills in where the Service does not say it.
fn serving<'a>(
    view: &View<'a>,
    stage: &Stage,
    memory: &StageMemory,
    points: &Points<'a>,
    members: &[&'a Pod],
    wish: Goal<'a>,
) -> Option<ColorId> {
    let remembered = memory.color.as_deref().and_then(|name| view.color(name));
    match points {
        Points::Instance(instance) => {
            // A shared instance serves several colors: the one that is wanted, else the one it was, else the newest.
            let owners = view.owners(instance);
            let wished = owners.iter().find(|color| wish == Goal::Color(**color));
            wished.or_else(|| owners.iter().find(|color| Some(**color) == remembered)).or(owners.first()).copied()
        }
        Points::Members => remembered.or_else(|| most_members(view, stage, members, wish)),
        Points::Nowhere | Points::Foreign | Points::Other => remembered,
    }
}

/// The color a shift came from, when the status is lost: of the colors with members, the one with most of them that is
/// not where the stage shall go; the older one on a tie.
fn most_members<'a>(view: &View<'a>, stage: &Stage, members: &[&'a Pod], wish: Goal<'a>) -> Option<ColorId> {
    let mut counts: Vec<(bool, usize, ColorId)> = Vec::new();
    for color in members.iter().flat_map(|pod| view.owners(&pod.instance)).copied().collect::<BTreeSet<_>>() {
        let instance = view.colors[color].instances.get(&stage.tier);
        let count = members.iter().filter(|pod| instance == Some(&pod.instance)).count();
        counts.push((wish != Goal::Color(color), count, color));
    }
    counts.into_iter().max().map(|(_, _, color)| color)
}

fn goal<'a>(
    view: &View<'a>,
    stage: &Stage,
    memory: &StageMemory,
    points: &Points<'a>,
    serving: Option<ColorId>,
    members: &[&'a Pod],
    wish: Goal<'a>,
) -> Goal<'a> {
    let wish = match wish {
        // Its pin was dropped in the middle of a shift, as a manifest without one does it: where it went, it goes on to.
        Goal::Stay if stage.color.is_none() && stage.promote == Promote::Manual && *points == Points::Members => {
            match under_way(view, stage, memory, members).or(serving) {
                Some(color) => Goal::Color(color),
                None => newest(view),
            }
        }
        // Told nothing: the first color that ever serves, and no other. A Service may point at a color that never came
        // up; that color has not served.
        Goal::Stay if stage.color.is_none() && stage.promote == Promote::Manual => match serving {
            Some(color) if memory.since.is_some() || has_ready(view, stage, color) => Goal::Color(color),
            _ => newest(view),
        },
        other => other,
    };
    match wish {
        Goal::Color(color) if view.colors[color].deleting => {
            let instance = view.colors[color].instances.get(&stage.tier);
            let serves_it = serving == Some(color) || members.iter().any(|pod| Some(&pod.instance) == instance);
            if serves_it { wish } else { Goal::Deleting(color) }
        }
        // An automatic stage in the middle of a shift to a color that is no longer the newest goes on to it until the
        // newest is ready; `shift` decides that.
        other => other,
    }
}

/// Where a stage that is told nothing was going: to the color the status remembers, if that has members, else to the newest
/// that has, other than the one the status says it came from.
fn under_way(view: &View<'_>, stage: &Stage, memory: &StageMemory, members: &[&Pod]) -> Option<ColorId> {
    let has_members = |color: &ColorId| {
        let instance = view.colors[*color].instances.get(&stage.tier);
        members.iter().any(|pod| Some(&pod.instance) == instance)
    };
    let remembered = memory.target.as_deref().and_then(|name| view.color(name)).filter(has_members);
    let from = memory.color.as_deref().and_then(|name| view.color(name));
    // Colors are indexed newest first.
    remembered.or_else(|| (0..view.colors.len()).find(|color| Some(*color) != from && has_members(color)))
}

/// The color has a ready pod in the stage's tier.
pub(crate) fn has_ready(view: &View<'_>, stage: &Stage, color: ColorId) -> bool {
    view.colors[color].instances.get(&stage.tier).is_some_and(|instance| view.pods(instance).iter().any(|p| serves(p)))
}
