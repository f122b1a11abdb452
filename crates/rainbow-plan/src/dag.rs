//! Order of a color's tiers. A tier calls the tiers that it *needs*; a tier that needs another one is its *dependent*.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Color, InstanceName, Tier, hash::NameMap, view::View};

/// Returns the tiers of a color, dependents before the tiers that they need. Tiers of a cycle, which a validated spec does not
/// have, come last, in the order of the spec.
pub(crate) fn entry_first(color: &Color) -> Vec<&Tier> {
    tiers_entry_first(&color.tiers)
}

/// Returns the same for the tiers of a spec.
pub(crate) fn tiers_entry_first(tiers: &[Tier]) -> Vec<&Tier> {
    let mut waiting: Vec<&Tier> = tiers.iter().collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let needed: BTreeSet<&str> =
            waiting.iter().flat_map(|tier| tier.needs.iter().chain(&tier.calls)).map(String::as_str).collect();
        let (inner, entry): (Vec<&Tier>, Vec<&Tier>) =
            waiting.iter().partition(|tier| needed.contains(tier.name.as_str()));
        if entry.is_empty() {
            ordered.extend(inner);
            break;
        }
        ordered.extend(entry);
        waiting = inner;
    }
    ordered
}

/// Returns the only tier that no other tier calls, if there is exactly one.
pub(crate) fn only_entry(tiers: &[Tier]) -> Option<&str> {
    let calls = |tier: &Tier, name: &str| tier.needs.iter().chain(&tier.calls).any(|called| called == name);
    let needed = |name: &str| tiers.iter().any(|tier| tier.name != name && calls(tier, name));
    let mut entries = tiers.iter().map(|tier| tier.name.as_str()).filter(|name| !needed(name));
    entries.next().filter(|_| entries.next().is_none())
}

/// Callers of each instance, over all colors: several colors may share an instance.
pub(crate) struct Dependents<'a>(NameMap<&'a InstanceName, BTreeSet<&'a InstanceName>>);

impl<'a> Dependents<'a> {
    pub(crate) fn new(view: &View<'a>) -> Self {
        let mut dependents: NameMap<&InstanceName, BTreeSet<&InstanceName>> = NameMap::default();
        for color in &view.colors {
            for tier in &color.tiers {
                let Some(caller) = color.instances.get(&tier.name) else { continue };
                for called in tier.needs.iter().filter_map(|need| color.instances.get(need)) {
                    dependents.entry(called).or_default().insert(caller);
                }
            }
        }
        Self(dependents)
    }

    /// Returns the same, and callers that may be served by newer callees: such a caller may call any instance of the tier.
    pub(crate) fn with_calls(view: &View<'a>) -> Self {
        let mut all = Self::new(view);
        let mut callers: BTreeMap<&str, BTreeSet<&InstanceName>> = BTreeMap::new();
        for color in &view.colors {
            for tier in &color.tiers {
                let Some(caller) = color.instances.get(&tier.name) else { continue };
                tier.calls.iter().for_each(|called| {
                    callers.entry(called).or_default().insert(caller);
                });
            }
        }
        for instance in view.colors.iter().flat_map(|color| color.instances.values()) {
            let own = callers.get(&*instance.tier).into_iter().flatten().copied();
            all.0.entry(instance).or_default().extend(own.filter(|caller| *caller != instance));
        }
        all
    }

    /// Returns the instances that call this one.
    pub(crate) fn of(&self, instance: &InstanceName) -> impl Iterator<Item = &'a InstanceName> {
        self.0.get(instance).into_iter().flatten().copied()
    }

    /// Returns whether no instance that calls this one has a pod, or ever will.
    pub(crate) fn gone(&self, view: &View<'a>, instance: &InstanceName) -> bool {
        self.of(instance).all(|caller| view.count(caller).gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    fn color(tiers: &[(&str, &[&str])]) -> Color {
        let tier = |(name, needs): &(&str, &[&str])| Tier {
            name: (*name).into(),
            replicas: 1,
            needs: needs.iter().map(|need| (*need).into()).collect(),
            calls: Vec::new(),
            scaling: crate::Scaling::Replicas,
            identity: String::new(),
            counted: false,
            min_ready: std::time::Duration::ZERO,
        };
        Color {
            name: "v1".into(),
            revision: 1,
            created: Time(0),
            tiers: tiers.iter().map(tier).collect(),
            instances: Default::default(),
            retire: false,
            deadline: None,
            deleting: false,
            released: None,
            retired: None,
            entries: Default::default(),
            demoted: false,
            rejected_by: None,
            sizes: Default::default(),
            served: None,
            config: Default::default(),
            parts: Vec::new(),
            part: Default::default(),
            bound: Vec::new(),
        }
    }

    fn order(tiers: &[(&str, &[&str])]) -> Vec<String> {
        entry_first(&color(tiers)).into_iter().map(|tier| tier.name.clone()).collect()
    }

    #[test]
    fn dependents_come_before_what_they_need() {
        assert_eq!(order(&[("db", &[]), ("mid", &["db"]), ("web", &["mid", "db"])]), ["web", "mid", "db"]);
        assert_eq!(order(&[("d", &[]), ("b", &["d"]), ("c", &["d"]), ("a", &["b", "c"])]), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_cycle_and_an_unknown_need_end() {
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"]), ("c", &["x"])]), ["c", "a", "b"]);
    }
}
