//! Roles of colors: which are held, wait or leave, and whether a new one must be made.

use std::collections::BTreeSet;

use crate::{
    Action, Address, ChainKey, InstanceName, Problem, StageMemory, Version, copies,
    draft::Draft,
    history, parts, reuse,
    situation::{Goal, Situation},
    view::{ColorId, View},
};

/// Role of a color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Stages need the color: its size is enforced.
    Held {
        /// Indexes of the stages, in the order of the spec.
        stages: Vec<usize>,
    },
    /// Newest color, in no stage yet: its size is enforced, so that it can be promoted at once.
    Candidate,
    /// The color should have pods, but the number of living colors is at its limit.
    Waiting {
        /// Indexes of the stages that would hold the color.
        stages: Vec<usize>,
    },
    /// No stage needs the color: it keeps the pods that it has until it has drained.
    Leaving,
}

impl Role {
    /// Returns whether the color's size is enforced.
    pub(crate) fn enforced(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Candidate)
    }

    /// Returns the indexes of the stages that the color is for.
    pub(crate) fn stages(&self) -> &[usize] {
        match self {
            Self::Held { stages } | Self::Waiting { stages } => stages,
            Self::Candidate | Self::Leaving => &[],
        }
    }
}

/// Makes the spec's color where it does not exist, and refuses a name that other tiers have.
pub(crate) fn create(view: &View<'_>, draft: &mut Draft) {
    let spec = view.spec;
    if spec.version == Version::Invalid {
        return;
    }
    match view.color(&spec.color) {
        None => {
            let instances = reuse::instances(view);
            let owned = of_stages(view, &instances);
            draft.taken = owned.iter().map(|(_, instance)| instance.clone()).collect();
            let is_free = free(view, &owned, draft);
            if is_free && copies::are_made(view, draft) {
                let color = spec.color.clone();
                let entries = view.new_entries(&spec.tiers);
                let revision = view.colors.first().map_or(0, |newest| newest.revision).saturating_add(1);
                let create = Action::CreateColor { color: color.clone(), revision, instances, entries };
                draft.act(ChainKey::Start(color), create);
            }
        }
        // A color that is being deleted makes way: the spec's tiers get its name when it is gone.
        Some(color) if !view.colors[color].deleting && view.described.is_none() => {
            draft.problem(Problem::ColorInUse { color: spec.color.clone(), config: copies::changed(view, color) });
        }
        Some(_) => {}
    }
}

/// Returns the instances as they are in the cluster: each stage has its own instances of some tiers.
fn of_stages(view: &View<'_>, instances: &[(String, InstanceName)]) -> Vec<(String, InstanceName)> {
    let bound = parts::bound(&view.spec.tiers);
    if bound.is_empty() {
        return instances.to_vec();
    }
    let stages = || view.spec.stages.iter().filter(|stage| stage.address == Address::Entry);
    let own = |(tier, instance): &(String, InstanceName)| -> Vec<(String, InstanceName)> {
        match bound.contains(tier.as_str()) {
            true => stages().map(|stage| (tier.clone(), instance.of_stage(stage.name.as_str()))).collect(),
            false => vec![(tier.clone(), instance.clone())],
        }
    };
    instances.iter().flat_map(own).collect()
}

/// Returns whether no instance that the new color would introduce exists with other contents. An instance that another color
/// shares lives as long as that color. An instance that no color has any more is about to end, and the new color waits for that.
fn free(view: &View<'_>, instances: &[(String, InstanceName)], draft: &mut Draft) -> bool {
    let spec = view.spec;
    let mut free = true;
    for (tier, instance) in instances.iter().filter(|(_, instance)| *instance.color == spec.color) {
        let Some(found) = view.found(instance).filter(|_| history::exists(view, instance)) else {
            continue;
        };
        let wanted = spec.tiers.iter().find(|known| known.name == *tier).map(|tier| tier.identity.as_str());
        if wanted == Some(found.identity.as_str()) {
            continue;
        }
        free = false;
        draft.taken.remove(instance);
        if let Some(user) = view.owners(instance).first() {
            draft.problem(Problem::InstanceInUse {
                color: spec.color.clone(),
                instance: instance.clone(),
                user: view.colors[*user].name.clone(),
            });
        }
    }
    free
}

/// Returns the role of every color, by its index, and the colors that wait for a slot.
pub(crate) fn roles(
    view: &View<'_>,
    situations: &[Situation<'_>],
    draft: &mut Draft,
) -> (Vec<Role>, Vec<SlotQueueEntry>) {
    let mut roles: Vec<Role> = (0..view.colors.len()).map(|color| wanted_role(view, situations, color)).collect();
    for (id, role) in roles.iter().enumerate() {
        let color = view.colors[id];
        match (role, role.stages().first()) {
            (Role::Held { .. }, Some(first)) => held(view, situations, id, situations[*first].stage.user_name(), draft),
            // The spec went back to a color whose user had set a deadline for its end. The color counts as new.
            (Role::Candidate, _) if color.released.is_some() && color.deadline.is_some() => {
                clear_retire(&color.name, draft);
            }
            _ => {}
        }
    }
    let waiting = limit(view, situations, &mut roles);
    (roles, waiting)
}

/// Decides about the end that a user has asked for, of a color that a stage needs. A request from before the stage was pointed at
/// the color is cleared. A request that comes while the color serves is refused until it no longer does.
fn held(view: &View<'_>, situations: &[Situation<'_>], id: ColorId, stage: &str, draft: &mut Draft) {
    let color = view.colors[id];
    let pointed_at =
        situations.iter().any(|situation| situation.goal == Goal::Color(id) || situation.serving == Some(id));
    let taken_back = pointed_at && color.released.is_some();
    let (color, stage) = (color.name.clone(), stage.to_owned());
    if view.colors[id].deleting {
        draft.problem(Problem::DeletingInUse { color, stage });
    } else if taken_back && (view.colors[id].retire || view.colors[id].deadline.is_some()) {
        clear_retire(&color, draft);
    } else if view.colors[id].retire {
        draft.problem(Problem::InUse { color, stage });
    }
}

/// Clears the user's request for a color's end.
fn clear_retire(color: &str, draft: &mut Draft) {
    // Several parts of a color may ask for it.
    if !is_cleared(color, draft) {
        draft.act(ChainKey::Start(color.to_owned()), Action::ClearRetire { color: color.to_owned() });
    }
}

/// Returns whether the user's request for the color's end is about to be cleared. Until that is done, the color's clock must not
/// be forgotten: without the clock nothing says that the request is an old one.
pub(crate) fn is_cleared(color: &str, draft: &Draft) -> bool {
    let chain = ChainKey::Start(color.to_owned());
    draft
        .actions(&chain)
        .iter()
        .any(|action| matches!(action, Action::ClearRetire { color: cleared } if cleared == color))
}

fn wanted_role(view: &View<'_>, situations: &[Situation<'_>], id: ColorId) -> Role {
    let color = view.colors[id];
    let stages: Vec<usize> = (0..situations.len()).filter(|index| situations[*index].touches.contains(&id)).collect();
    if !stages.is_empty() || removed_stage_points_at(view, id) {
        Role::Held { stages }
    } else if view.newest == Some(id) && !color.retire && !color.deleting && !is_demoted(view, situations, id) {
        Role::Candidate
    } else if may_be_newest(view, id) {
        Role::Held { stages }
    } else {
        Role::Leaving
    }
}

/// Returns whether the color may be the newest one. Where the spec is invalid, and the status that says which color it described
/// last is lost, any color may be the one that must be kept. Each stays as it is until the spec is valid.
fn may_be_newest(view: &View<'_>, id: ColorId) -> bool {
    let color = view.colors[id];
    let unknown = view.spec.version == Version::Invalid && view.newest.is_none();
    unknown && color.released.is_none() && !color.retire && !color.deleting
}

/// Returns whether the color is the newest and its last stage was moved away from it. Such a color is on its way out like any
/// other: it must not grow. A color that the spec goes back to counts as new.
pub(crate) fn is_demoted(view: &View<'_>, situations: &[Situation<'_>], id: ColorId) -> bool {
    let color = view.colors[id];
    let is = |name: &Option<String>| name.as_deref() == Some(color.name.as_str());
    let had = |stage: &StageMemory| {
        let shift = stage.shift.as_ref();
        let shifts = shift.is_some_and(|shift| shift.to == color.name || shift.from == color.name);
        is(&stage.color) || is(&stage.target) || shifts
    };
    // A stage that waits for its order before it moves to the color was not moved away from it.
    let waits = |situation: &Situation<'_>| {
        situation.block.as_ref().is_some_and(|block| view.colors[block.color].name == color.name)
    };
    view.newest == Some(id)
        && !situations.iter().any(|situation| situation.touches.contains(&id) || waits(situation))
        && (color.demoted || view.world.memory.stages.values().any(had))
}

/// Returns whether a stage that was taken out of the spec still has a Service that points at the color.
fn removed_stage_points_at(view: &View<'_>, id: ColorId) -> bool {
    view.world.stages.iter().any(|(key, service)| match service {
        crate::StageService::Ours { selects: crate::Selection::Instance(instance), .. } => {
            view.spec.stages.iter().all(|stage| !key.is(&stage.name)) && view.owners(instance).contains(&id)
        }
        _ => false,
    })
}

/// Color that waits for others to end, because the number of living colors is at its limit.
pub(crate) struct SlotQueueEntry {
    /// Color that waits.
    pub(crate) color: ColorId,
    /// Colors that live.
    pub(crate) living: BTreeSet<ColorId>,
}

/// Returns whether the color has pods, or asks for some. Instances that it shares with others do not make it live, unless it has
/// no others.
fn lives(view: &View<'_>, roles: &[Role], id: ColorId) -> bool {
    let has_pods = |instance: &InstanceName| {
        let count = view.count(instance);
        count.replicas > 0 || !count.gone
    };
    let mut instances = view.colors[id].instances.values();
    let leaves = |id: ColorId| roles[id] == Role::Leaving;
    if leaves(id) {
        // An instance that several leaving colors share drains with the newest of them.
        let own = |instance: &InstanceName| {
            let owners = view.owners(instance);
            owners.first() == Some(&id) && owners.iter().all(|owner| leaves(*owner))
        };
        return instances.any(|instance| own(instance) && has_pods(instance));
    }
    let instances: Vec<&InstanceName> = instances.collect();
    let found = |instance: &&InstanceName| has_pods(instance);
    instances.iter().any(|instance| view.owners(instance).len() == 1 && found(instance))
        || (!instances.is_empty() && instances.iter().all(found))
}

/// Returns the color that a stage's clients have reached, whatever has become of its pods. A Service that was made early may
/// point at a color that never came up. A stage that should serve a color that shares its tier serves it at once, before that
/// color has pods of its own.
fn served(view: &View<'_>, situation: &Situation<'_>) -> Option<ColorId> {
    let serving = situation.serving?;
    let same = situation.memory.color.as_deref() == Some(view.colors[serving].name.as_str());
    let own = situation.instance(view, serving).is_some_and(|instance| view.owners(instance).len() == 1);
    (same && own && situation.memory.since.is_some()).then_some(serving)
}

/// Holds back colors that would exceed `keep.live`. A color that already has pods, or that a stage points at, is never held back;
/// nothing ends to make room.
fn limit(view: &View<'_>, situations: &[Situation<'_>], roles: &mut [Role]) -> Vec<SlotQueueEntry> {
    let mut living: BTreeSet<ColorId> = (0..view.colors.len()).filter(|id| lives(view, roles, *id)).collect();
    living.extend(situations.iter().filter_map(|situation| served(view, situation)));
    // A color lives as long as any part of it.
    let mut living: BTreeSet<ColorId> = living.into_iter().map(|id| view.whole(id)).collect();
    // No application could ever meet a limit of zero.
    let most = view.spec.keep.live.max(1) as usize;
    let mut waiting = Vec::new();
    // Newest first: the color of the latest release gets a free slot before older colors come back.
    for (id, role) in roles.iter_mut().enumerate() {
        let whole = view.whole(id);
        if !role.enforced() || living.contains(&whole) {
            continue;
        }
        if living.len() < most {
            living.insert(whole);
            continue;
        }
        *role = Role::Waiting { stages: role.stages().to_vec() };
        if waiting.iter().all(|queued: &SlotQueueEntry| queued.color != whole) {
            waiting.push(SlotQueueEntry { color: whole, living: living.clone() });
        }
    }
    waiting
}
