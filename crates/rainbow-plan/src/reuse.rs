//! Instances of a new color: its own, or those of colors that are equal in a tier and in all tiers that it calls.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    InstanceName, Part, Reuse, Tier,
    dag::tiers_entry_first,
    view::{ColorId, View},
};

/// Returns the instance of each of the spec's tiers, in their order.
///
/// A shared instance calls certain instances: its pods have their addresses. Therefore all instances that it calls come with it,
/// from the same color. It is taken only if these agree with the instances that earlier callers have brought along.
pub(crate) fn instances(view: &View<'_>) -> Vec<(String, InstanceName)> {
    let spec = view.spec;
    let mut chosen: BTreeMap<&str, InstanceName> = BTreeMap::new();
    let tiers = tiers_entry_first(&spec.tiers);
    for tier in &tiers {
        if chosen.contains_key(tier.name.as_str()) {
            continue;
        }
        let calls = closure(&spec.tiers, tier);
        let shared = match spec.reuse {
            Reuse::Never => None,
            // Newest first.
            Reuse::Unchanged => (0..view.colors.len()).find_map(|color| taken(view, color, &calls, &chosen)),
        };
        match shared {
            Some(found) => chosen.extend(found),
            None => {
                chosen.insert(&tier.name, InstanceName::shared(tier.name.as_str(), spec.color.as_str()));
            }
        }
    }
    spec.tiers.iter().filter_map(|tier| Some((tier.name.clone(), chosen.get(tier.name.as_str())?.clone()))).collect()
}

/// Returns the tier and all tiers that it calls, directly or through other tiers.
fn closure<'a>(tiers: &'a [Tier], tier: &'a Tier) -> Vec<&'a Tier> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut all = Vec::new();
    let mut next = vec![tier];
    while let Some(tier) = next.pop() {
        if found.insert(&tier.name) {
            all.push(tier);
            next.extend(tier.needs.iter().filter_map(|need| tiers.iter().find(|known| known.name == *need)));
        }
    }
    all
}

/// Returns a color's instances of these tiers, if they are equal and no other ones are chosen already. A color that is being
/// deleted gives no instance away.
fn taken<'a>(
    view: &View<'a>,
    color: ColorId,
    tiers: &[&'a Tier],
    chosen: &BTreeMap<&str, InstanceName>,
) -> Option<Vec<(&'a str, InstanceName)>> {
    let color = view.colors[color];
    if color.deleting || color.part != Part::Shared {
        return None;
    }
    let mut found = Vec::with_capacity(tiers.len());
    let own = |tier: &'a Tier| Some((tier, color.instances.get(&tier.name)?));
    let bound = color.bound.iter().map(|(tier, instance)| (tier, instance));
    let known: Vec<(&Tier, &InstanceName)> = color.tiers.iter().filter_map(own).chain(bound).collect();
    for tier in tiers {
        let equal = known.iter().find(|(known, _)| known.name == tier.name && known.identity == tier.identity);
        let (_, instance) = equal?;
        if chosen.get(tier.name.as_str()).is_some_and(|known| known != *instance) {
            return None;
        }
        found.push((tier.name.as_str(), (*instance).clone()));
    }
    Some(found)
}
