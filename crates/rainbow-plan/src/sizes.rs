//! How many pods each instance shall have.
//!
//! A color is as large as the largest stage that holds it asks for; the spec's color, while in no stage, has full size.
//! A color is never made smaller because a stage has left it: its pods are endpoints of the stages that remain, and they
//! make the way back instant. It is made smaller when it has more than full size and more than any stage asks for, that is
//! when somebody lowered `replicas`. Colors that leave are no subject of this module: they keep what they have.

use std::collections::HashMap;

use crate::{
    Color, InstanceName, Lack,
    colors::Role,
    situation::Situation,
    view::{ColorId, View},
};

/// Wanted pods of the instances whose size is enforced.
pub(crate) struct Sizes<'a>(HashMap<&'a InstanceName, u32>);

impl Sizes<'_> {
    /// Wanted pods; `None` where nothing is enforced.
    pub(crate) fn of(&self, instance: &InstanceName) -> Option<u32> {
        self.0.get(instance).copied()
    }
}

pub(crate) fn sizes<'a>(view: &View<'a>, situations: &[Situation<'a>], roles: &[Role]) -> Sizes<'a> {
    let mut sizes: HashMap<&InstanceName, u32> = HashMap::new();
    for (id, role) in roles.iter().enumerate().filter(|(_, role)| role.enforced()) {
        for tier in &view.colors[id].tiers {
            let Some(instance) = view.colors[id].instances.get(&tier.name) else { continue };
            let size = size(view, situations, role, view.colors[id], instance);
            sizes.entry(instance).and_modify(|known| *known = size.max(*known)).or_insert(size);
        }
    }
    Sizes(sizes)
}

fn size(view: &View<'_>, situations: &[Situation<'_>], role: &Role, color: &Color, instance: &InstanceName) -> u32 {
    let full = view.full(color, &instance.tier);
    let now = view.count(instance).replicas;
    let sizes = |index: usize| situations[index].size(view, color, &instance.tier);
    let asked = role.stages().iter().map(|index| sizes(*index)).max();
    let most = (0..situations.len()).map(sizes).fold(full, u32::max);
    match (asked, role) {
        (Some(asked), _) => now.clamp(asked, most),
        (None, Role::Candidate) => full,
        // Held by a stage that is about to be removed: it stays as it is.
        (None, _) => now,
    }
}

/// The color has as many ready pods in every tier as a stage asks for.
pub(crate) fn ready_for(view: &View<'_>, situation: &Situation<'_>, id: ColorId) -> bool {
    let color = view.colors[id];
    color.tiers.iter().all(|tier| {
        let wanted = situation.size(view, color, &tier.name);
        color.instances.get(&tier.name).is_some_and(|instance| view.ready(instance) >= wanted)
    })
}

/// The color has all the pods it shall have.
pub(crate) fn complete(view: &View<'_>, sizes: &Sizes<'_>, id: ColorId) -> bool {
    let color = view.colors[id];
    color.tiers.iter().all(|tier| {
        let instance = color.instances.get(&tier.name);
        instance.is_some_and(|instance| view.ready(instance) >= sizes.of(instance).unwrap_or(0))
    })
}

/// What the color lacks, inner tiers first.
pub(crate) fn lacking(view: &View<'_>, color: &Color, wanted: impl Fn(&str, &InstanceName) -> u32) -> Vec<Lack> {
    let mut lacks = Vec::new();
    for tier in crate::dag::entry_first(color).into_iter().rev() {
        let Some(instance) = color.instances.get(&tier.name) else {
            lacks.push(Lack::Instance { tier: tier.name.clone() });
            continue;
        };
        let (ready, wanted) = (view.ready(instance), wanted(&tier.name, instance));
        if ready < wanted {
            lacks.push(Lack::Pods { tier: tier.name.clone(), ready, wanted });
        }
    }
    lacks
}
