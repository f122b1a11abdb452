//! Sizes: how many pods each instance should have.
//!
//! A color is as large as the largest stage that holds it asks for; the spec's color, while in no stage, has full size. A color
//! is never made smaller because a stage has left it: its pods are endpoints of the stages that remain, and they make the way
//! back instant. Only two colors are made smaller. One is the spec's color when it has more than full size: `replicas` was
//! lowered, and no stage is in the middle of a shift from or to it, whose pods must not be chosen among. The other is the color
//! that a stage leaves with a surge (`surge`).
//!
//! `fewer` decides which pods then end. An instance that another writer scales is only made larger, before it begins to serve.
//! Colors that leave are not part of this module: they keep the pods that they have.

use std::collections::BTreeMap;

use crate::{
    Color, InstanceName, Shortfall,
    colors::Role,
    hash::NameMap,
    situation::{ServiceTarget, Situation},
    view::{ColorId, View},
};

/// Wanted pods of the instances whose size is enforced.
pub(crate) struct Sizes<'a>(NameMap<&'a InstanceName, u32>);

impl Sizes<'_> {
    /// Returns the wanted pods; `None` where no size is enforced.
    pub(crate) fn of(&self, instance: &InstanceName) -> Option<u32> {
        self.0.get(instance).copied()
    }

    /// Returns the sizes that no other writer decides.
    pub(crate) fn own(&self, view: &View<'_>) -> BTreeMap<InstanceName, u32> {
        let own = self.0.iter().filter(|(instance, _)| !view.is_scaled(instance));
        own.map(|(instance, size)| ((*instance).clone(), *size)).collect()
    }
}

pub(crate) fn sizes<'a>(view: &View<'a>, situations: &[Situation<'a>], roles: &[Role]) -> Sizes<'a> {
    let mut sizes: NameMap<&InstanceName, u32> = NameMap::default();
    for (id, role) in roles.iter().enumerate().filter(|(_, role)| role.enforced()) {
        for tier in &view.colors[id].tiers {
            let Some(instance) = view.colors[id].instances.get(&tier.name) else { continue };
            let size = size(view, situations, role, id, instance);
            sizes.entry(instance).and_modify(|known| *known = size.max(*known)).or_insert(size);
        }
    }
    Sizes(sizes)
}

fn size(view: &View<'_>, situations: &[Situation<'_>], role: &Role, id: ColorId, instance: &InstanceName) -> u32 {
    let color = view.colors[id];
    let full = view.full(color, &instance.tier);
    if view.is_scaled(instance) {
        let asked = role.stages().iter().map(|index| situations[*index].asks(view, id, &instance.tier)).max();
        let least = match (asked, role) {
            (None, Role::Candidate) => full,
            (asked, _) => asked.unwrap_or(0),
        };
        // Only the other writer asks for fewer pods.
        return view.asked(instance).max(least);
    }
    let now = view.staying(instance);
    let asked = role.stages().iter().map(|index| situations[*index].asks(view, id, &instance.tier)).max();
    let shrinks = || role.stages().iter().any(|index| situations[*index].shares.get(&id).is_some_and(|s| s.shrinks));
    let shifts = || role.stages().iter().any(|index| situations[*index].points == ServiceTarget::Members);
    match (asked, role) {
        (Some(asked), _) if view.is_described(color) && !shifts() => now.clamp(asked, full),
        (Some(asked), _) if shrinks() => asked,
        (Some(asked), _) => now.max(asked),
        // Pods that no stage needs before it moves are not started early, where each stage moves with a surge.
        (None, Role::Candidate) if !situations.is_empty() && situations.iter().all(|s| s.shares.contains_key(&id)) => {
            let asked = situations.iter().map(|situation| situation.asks(view, id, &instance.tier)).max();
            now.max(asked.unwrap_or(full))
        }
        (None, Role::Candidate) => full,
        // A stage that is about to be removed holds the color: it stays as it is.
        (None, _) => now,
    }
}

/// Returns whether the color has as many pods in every tier as a stage asks for, ready for as long as their tiers ask.
pub(crate) fn ready_for(view: &View<'_>, situation: &Situation<'_>, id: ColorId) -> bool {
    let color = view.colors[id];
    color.tiers.iter().all(|tier| {
        let wanted = situation.asks(view, id, &tier.name);
        color.instances.get(&tier.name).is_some_and(|instance| view.available(instance) >= wanted)
    })
}

/// Returns whether the color has all pods that it should have.
pub(crate) fn complete(view: &View<'_>, sizes: &Sizes<'_>, id: ColorId) -> bool {
    let color = view.colors[id];
    color.tiers.iter().all(|tier| {
        let instance = color.instances.get(&tier.name);
        instance.is_some_and(|instance| view.ready(instance) >= sizes.of(instance).unwrap_or(0))
    })
}

/// Returns what the color lacks, inner tiers first.
pub(crate) fn lacking(view: &View<'_>, color: &Color, wanted: impl Fn(&str, &InstanceName) -> u32) -> Vec<Shortfall> {
    let mut lacks = Vec::new();
    for tier in crate::dag::entry_first(color).into_iter().rev() {
        let Some(instance) = color.instances.get(&tier.name) else {
            lacks.push(Shortfall::Instance { tier: tier.name.clone() });
            continue;
        };
        let (ready, wanted) = (view.ready(instance), wanted(&tier.name, instance));
        if ready < wanted {
            lacks.push(Shortfall::Pods { tier: tier.name.clone(), ready, wanted });
            continue;
        }
        let (available, min_ready) = (view.available(instance), view.min_ready(instance));
        if available < wanted {
            lacks.push(Shortfall::MinReady { tier: tier.name.clone(), available, wanted, min_ready });
        }
    }
    lacks
}
