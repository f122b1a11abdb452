//! Rolling shift that runs only a few more pods than its stage has (`surge`).
//!
//! Without a surge, the color that a stage moves to is whole before its first pod serves, and the color that the stage comes from
//! stays whole to the end: the way back starts no pod. With a surge, the new color begins small and gets as many pods as the old
//! one has ended. Pods that left the stage are taken out of their other Services (`fewer`), drain, and end while the shift
//! continues. All tiers of a color have the same share of their size.
//!
//! The shares are computed from the pods that exist, so nothing is remembered from one decision to the next. They hold for one
//! stage: where another stage wants the new color whole or has the old one, there is no surge.

use std::collections::BTreeMap;

use crate::{
    Shift, Surge,
    shift::still_needed,
    situation::{Goal, ServiceTarget, Situation},
    view::{ColorId, View, serves},
};

/// Share of a color that a stage asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Pods of the tier that the stage's clients reach.
    entry: u32,
    /// Pods that count for the shares of other tiers: pods of the entry tier that drain call them, too.
    others: u32,
    /// Pods of the entry tier at full size.
    of: u32,
    /// The color gets smaller: the stage leaves it.
    pub(crate) shrinks: bool,
}

impl Share {
    /// Returns the share of a tier of this size, rounded up.
    pub(crate) fn part(self, size: u32, is_entry: bool) -> u32 {
        let part = u64::from(if is_entry { self.entry } else { self.others });
        let of = u64::from(self.of.max(1));
        let pods = (u64::from(size) * part).div_ceil(of);
        size.min(u32::try_from(pods).unwrap_or(u32::MAX))
    }
}

/// Gives each stage that moves with a surge the shares of its colors.
pub(crate) fn share_out<'a>(view: &View<'a>, situations: &mut [Situation<'a>]) {
    let shares: Vec<_> = (0..situations.len()).map(|index| shares(view, situations, index)).collect();
    for (situation, shares) in situations.iter_mut().zip(shares) {
        situation.shares = shares;
    }
}

fn shares(view: &View<'_>, situations: &[Situation<'_>], index: usize) -> BTreeMap<ColorId, Share> {
    let situation = &situations[index];
    let (Some(surge), Some(from)) = (surge(situation), situation.serving) else { return BTreeMap::new() };
    let is_under_way = situation.points == ServiceTarget::Members;
    let to = match situation.goal {
        Goal::Color(to) => to,
        Goal::Stay if !is_under_way => from,
        Goal::Stay | Goal::Unknown(_) | Goal::Deleting(_) => return BTreeMap::new(),
    };
    // The newest color, while it is in no stage, already has the size with which the stage begins to move to it.
    let candidate = view.newest.filter(|newest| !is_under_way && to == from && *newest != from);
    let new = candidate.unwrap_or(to);
    if is_scaled(view, from) || is_scaled(view, new) {
        return BTreeMap::new();
    }
    if !is_exchanged(view, situation, from, new) || is_needed_elsewhere(view, situations, index, from, new) {
        return BTreeMap::new();
    }
    let mut shares = BTreeMap::new();
    // Before the first pod has moved, the color that serves is whole. A color that the stage has left may still have endpoints. A
    // color that another writer has pointed the Service at serves until that is reverted.
    let is_selected =
        |color| situation.instance(view, color).is_some_and(|own| situation.points == ServiceTarget::Instance(own));
    let leaves = |color: ColorId| color != to && (is_under_way || color != from) && !is_selected(color);
    let old = situation.touches.iter().filter(|color| leaves(**color));
    shares.extend(old.map(|color| (*color, of_old(view, situation, *color, from, to))));
    // The way back to an older color is not delayed: all its pods start at once.
    if view.colors[new].revision > view.colors[from].revision {
        shares.entry(new).or_insert_with(|| of_new(view, situation, surge, from, new));
    }
    shares
}

/// Returns whether another writer decides how many pods a tier of the color has: the planner cannot make that tier grow pod by
/// pod.
fn is_scaled(view: &View<'_>, color: ColorId) -> bool {
    view.colors[color].instances.values().any(|instance| view.is_scaled(instance))
}

/// Returns the surge of the stage, if it has one.
fn surge(situation: &Situation<'_>) -> Option<Surge> {
    match situation.stage.shift {
        Shift::Rolling { surge, .. } => surge,
        Shift::Flip | Shift::Steps { .. } => None,
    }
}

/// Returns whether pods of both colors can serve side by side. Where ports differ, the stage moves in one write, to a color that
/// is whole.
fn is_exchanged(view: &View<'_>, situation: &Situation<'_>, from: ColorId, to: ColorId) -> bool {
    let instances = situation.instance(view, from).zip(situation.instance(view, to));
    instances.is_some_and(|(from, to)| view.same_ports(from, to))
}

/// Returns whether another stage wants all of the new color, or has anything of the old one. Then the old color does not get
/// smaller with this stage, and waiting for that would tie one stage to the other.
fn is_needed_elsewhere(
    view: &View<'_>,
    situations: &[Situation<'_>],
    index: usize,
    from: ColorId,
    to: ColorId,
) -> bool {
    let situation = &situations[index];
    let all = size(view, situation, to);
    let mut others = situations.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
    // Parts of stages may have the tier in common. Then the tier is as large as the larger part asks.
    let has_tier_of = |other: ColorId, color: ColorId| {
        let own = situation.instance(view, color);
        other == color || own.is_some_and(|own| view.owners(own).contains(&other))
    };
    let is_same_color = |one: ColorId, other: ColorId| view.colors[one].name == view.colors[other].name;
    let touches = |other: &Situation<'_>, color: ColorId| {
        other.touches.iter().copied().find(|touched| is_same_color(*touched, color) && has_tier_of(*touched, color))
    };
    others.any(|other| {
        let wants_all = || {
            let (touched, tier) = touches(other, to).zip(view.entry(situation.stage, to))?;
            Some(other.size(view, view.colors[touched], tier) >= all)
        };
        wants_all() == Some(true) || touches(other, from).is_some()
    })
}

/// Returns the share of a color that the stage moves to: the pods that the old colors lack of the stage's size, and the surge.
fn of_new(view: &View<'_>, situation: &Situation<'_>, surge: Surge, from: ColorId, to: ColorId) -> Share {
    let (before, of) = (size(view, situation, from), size(view, situation, to));
    let spare = match surge {
        Surge::Pods(pods) => pods,
        Surge::Percent(percent) => {
            u32::try_from((u64::from(before) * u64::from(percent)).div_ceil(100)).unwrap_or(u32::MAX)
        }
    };
    let old = situation.touches.iter().filter(|color| **color != to);
    let old = old.map(|color| room_taken(view, situation, *color, to)).fold(0, u32::saturating_add);
    let most = before.max(of).saturating_add(spare.max(1)).saturating_sub(old);
    let entry = most.clamp(1, of.max(1));
    Share { entry, others: entry, of, shrinks: false }
}

/// Returns for how many pods of the entry tier an old color takes room: those that it has, and as many as its other tiers still
/// have pods for. A tier that it shares with the new color takes no room.
fn room_taken(view: &View<'_>, situation: &Situation<'_>, id: ColorId, to: ColorId) -> u32 {
    let color = view.colors[id];
    let of = u64::from(size(view, situation, id));
    let mut taken = u64::from(alive(view, situation, id));
    for (tier, instance) in &color.instances {
        let (all, pods) = (u64::from(situation.size(view, color, tier)), u64::from(view.present(instance)));
        // A tier that other parts of the color have, too, does not get smaller with this part.
        let is_common =
            view.owners(instance).iter().any(|owner| *owner != id && view.colors[*owner].name == color.name);
        if all > 0 && pods > 0 && !is_common && !view.owners(instance).contains(&to) {
            // Smallest share of the color that has this number of pods when `Share::part` rounds it up.
            taken = taken.max((of * (pods - 1) / all + 1).min(of));
        }
    }
    u32::try_from(taken).unwrap_or(u32::MAX)
}

/// Returns the share of a color that the stage leaves: its pods that serve, and for the color that the stage comes from the
/// replacements of lost pods.
fn of_old(view: &View<'_>, situation: &Situation<'_>, color: ColorId, from: ColorId, to: ColorId) -> Share {
    let of = size(view, situation, color);
    let (mut members, mut others, mut new) = (0usize, 0usize, 0usize);
    for pod in &situation.members {
        if situation.is_of(view, pod, to) {
            new += usize::from(serves(pod) && pod.endpoint.contains_key(&situation.key));
        } else if situation.is_of(view, pod, color) {
            members += 1;
        } else {
            others += 1;
        }
    }
    if color == from {
        let needed = still_needed(new, size(view, situation, to), of);
        members = members.max(needed.saturating_sub(others));
    }
    let number = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
    let entry = number(members).min(of);
    let others = entry.max(alive(view, situation, color)).min(of);
    Share { entry, others, of, shrinks: true }
}

/// Returns how many pods of the stage's tier a color has, including those that drain.
fn alive(view: &View<'_>, situation: &Situation<'_>, color: ColorId) -> u32 {
    situation.instance(view, color).map_or(0, |instance| view.present(instance))
}

/// Returns all pods of its tier that the stage asks a color for.
fn size(view: &View<'_>, situation: &Situation<'_>, id: ColorId) -> u32 {
    view.entry(situation.stage, id).map_or(0, |tier| situation.size(view, view.colors[id], tier))
}
