//! Applications in which callers may be served by newer callees (`Tier::calls`), as the rest of the planner sees them.
//!
//! Such a caller reaches its callee through an address of the stage that the caller belongs to. The address moves from color to
//! color on its own. Therefore the planner sees two things more than the user does:
//!
//! - Each address of an inner tier is a *stage*, with a Service, members and a shift of its own ([`Address::Inner`]).
//! - Each color is a *shared part*, made of the tiers that all stages have in common, and *parts of stages*, made of the tiers
//!   that reach an inner address directly or through other tiers. All other modules treat a part as a color: stages move to it, it
//!   drains, it is kept warm.
//!
//! Each address leads to a part of its own, with all tiers that the address's tier calls in its own color. The part that clients
//! reach also has the tiers that no other tier calls. Where several parts have a tier, its instance belongs to all of them, as
//! with `reuse`.
//!
//! `order` decides when an address may move. This module puts the reports together again: users see colors and stages.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Address, Color, Part, PartKey, PartMemory, Plan, Pod, Stage, StageKey, StageMemory, StageReport, Tier, TierReport,
    Version, World, dag,
};

/// Returns the name of the address through which a stage's callers reach a tier. Names of stages and tiers have no dot.
pub fn inner_name(stage: &str, tier: &str) -> String {
    format!("{stage}.{tier}")
}

/// Returns whether `inner_name` made the name.
pub fn is_inner_name(name: &str) -> bool {
    name.contains('.')
}

/// Returns the world with the parts of its colors and the addresses of inner tiers. `None`: there are none.
pub(crate) fn expanded(world: &World) -> Option<World> {
    let calls = |tiers: &[Tier]| tiers.iter().any(|tier| !tier.calls.is_empty());
    let own_stage = || world.instances.keys().any(|instance| instance.stage.is_some());
    if !calls(&world.spec.tiers) && !world.colors.iter().any(|color| calls(&color.tiers)) && !own_stage() {
        return None;
    }
    let mut expanded = world.clone();
    // Otherwise the order of a list would decide which of two addresses comes first.
    expanded.colors.sort_by(|a, b| b.revision.cmp(&a.revision).then_with(|| a.name.cmp(&b.name)));
    let mut stages: BTreeSet<&str> = world.spec.stages.iter().map(|stage| stage.name.as_str()).collect();
    // A stage that was removed keeps its tiers until these have drained.
    stages.extend(world.instances.keys().filter_map(|instance| instance.stage.as_deref()));
    let parts = expanded.colors.iter().flat_map(|color| split(&expanded, color, &stages)).collect();
    let addresses = expanded.spec.stages.iter().flat_map(|stage| with_inner(&expanded, stage)).collect();
    (expanded.colors, expanded.spec.stages) = (parts, addresses);
    for (name, memory) in &world.memory.stages {
        for (tier, inner) in &memory.tiers {
            let ended_hold = memory.ended_hold.clone();
            expanded.memory.stages.insert(inner_name(name, tier), StageMemory { ended_hold, ..inner.clone() });
        }
    }
    Some(expanded)
}

/// Returns the tiers that reach an inner address, directly or through other tiers: each stage has its own instances of them.
pub(crate) fn bound(tiers: &[Tier]) -> BTreeSet<&str> {
    let mut bound: BTreeSet<&str> =
        tiers.iter().filter(|tier| !tier.calls.is_empty()).map(|tier| tier.name.as_str()).collect();
    loop {
        let reaches = |tier: &&Tier| tier.needs.iter().any(|need| bound.contains(need.as_str()));
        let more: Vec<&str> = tiers.iter().filter(reaches).map(|tier| tier.name.as_str()).collect();
        let before = bound.len();
        bound.extend(more);
        if bound.len() == before {
            return bound;
        }
    }
}

/// Returns the parts of a color, the shared part first.
fn split(world: &World, color: &Color, stages: &BTreeSet<&str>) -> Vec<Color> {
    let bound = bound(&color.tiers);
    if bound.is_empty() {
        return vec![color.clone()];
    }
    let is_bound = |name: &str| bound.contains(name);
    let mut shared = color.clone();
    shared.tiers.retain(|tier| !is_bound(&tier.name));
    shared.instances.retain(|tier, _| !is_bound(tier));
    let own = |tier: &Tier| Some((tier.clone(), color.instances.get(&tier.name)?.clone()));
    shared.bound = color.tiers.iter().filter(|tier| is_bound(&tier.name)).filter_map(own).collect();
    let called: BTreeSet<&str> = color.tiers.iter().flat_map(|tier| &tier.calls).map(String::as_str).collect();
    for stage in stages {
        for tier in called.iter().filter(|tier| !is_bound(tier)) {
            shared.entries.insert(inner_name(stage, tier), (*tier).to_owned());
        }
    }
    let parts = stages.iter().flat_map(|stage| parts_of(world, color, &bound, &called, stage));
    std::iter::once(shared).chain(parts).collect()
}

/// Returns the parts of a color that belong to a stage: one for each address that leads to bound tiers, and one for the rest.
/// Parts overlap where tiers call the same tier in their own color. A part ends when its address has moved, and a tier ends with
/// the last of its parts. If all were one part, an address that waits for the end of its callers would keep these callers.
fn parts_of(world: &World, color: &Color, bound: &BTreeSet<&str>, called: &BTreeSet<&str>, stage: &str) -> Vec<Color> {
    let entry = entry(world, color, stage);
    let own = || color.tiers.iter().map(|tier| tier.name.as_str()).filter(|tier| bound.contains(tier));
    let inner = || own().filter(|tier| called.contains(tier));
    let mut parts: Vec<(Option<String>, BTreeSet<&str>)> =
        inner().map(|tier| (Some(tier.to_owned()), BTreeSet::from([tier]))).collect();
    let of_addresses = with_needs(&color.tiers, &inner().collect());
    let mut rest: BTreeSet<&str> = own().filter(|tier| !of_addresses.contains(tier)).collect();
    rest.extend(entry.filter(|entry| inner().all(|tier| tier != *entry)));
    if !rest.is_empty() {
        parts.push((None, rest));
    }
    parts.into_iter().map(|(tier, group)| part(color, bound, called, stage, entry, tier, &group)).collect()
}

fn part(
    color: &Color,
    bound: &BTreeSet<&str>,
    called: &BTreeSet<&str>,
    stage: &str,
    entry: Option<&str>,
    tier: Option<String>,
    group: &BTreeSet<&str>,
) -> Color {
    let key = PartKey { stage: stage.to_owned(), tier };
    let has = with_needs(&color.tiers, group);
    let tiers: Vec<Tier> = color.tiers.iter().filter(|tier| has.contains(tier.name.as_str())).cloned().collect();
    let instance = |tier: &Tier| {
        let name = color.instances.get(&tier.name)?;
        let own = if bound.contains(tier.name.as_str()) { name.of_stage(stage) } else { name.clone() };
        Some((tier.name.clone(), own))
    };
    let inner = group.iter().filter(|tier| called.contains(*tier) && bound.contains(*tier));
    let mut entries: BTreeMap<String, String> =
        inner.map(|tier| (inner_name(stage, tier), (*tier).to_owned())).collect();
    entries.extend(entry.filter(|entry| group.contains(entry)).map(|entry| (stage.to_owned(), entry.to_owned())));
    let memory = color.parts.iter().find(|memory| memory.key == key).cloned();
    let memory = memory.unwrap_or_else(|| PartMemory::new(key.clone()));
    Color {
        instances: tiers.iter().filter_map(instance).collect(),
        tiers,
        released: memory.released,
        retired: memory.retired,
        demoted: memory.demoted,
        sizes: memory.sizes,
        served: memory.served,
        part: Part::Own { key, addresses: entries.keys().cloned().collect() },
        entries,
        parts: Vec::new(),
        ..color.clone()
    }
}

impl PartMemory {
    /// Returns the memory of a part of which nothing is known.
    pub fn new(key: PartKey) -> Self {
        Self { key, released: None, retired: None, demoted: false, sizes: BTreeMap::new(), served: None }
    }
}

/// Returns the tiers and everything that they call in their own color, directly or through other tiers.
pub(crate) fn with_needs<'a>(tiers: &'a [Tier], group: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut all = group.clone();
    let mut next: Vec<&str> = group.iter().copied().collect();
    while let Some(name) = next.pop() {
        let needs = tiers.iter().filter(|tier| tier.name == name).flat_map(|tier| &tier.needs);
        next.extend(needs.map(String::as_str).filter(|need| all.insert(need)));
    }
    all
}

/// Returns the tier of a color that a stage's clients reach; see `View::entry`.
fn entry<'a>(world: &'a World, color: &'a Color, stage: &str) -> Option<&'a str> {
    let spec = &world.spec;
    let has = |tier: &&str| color.tiers.iter().any(|known| known.name == *tier);
    let named = spec.stages.iter().find(|known| known.name == stage).and_then(|stage| stage.tier.as_deref());
    let own = dag::only_entry(&color.tiers);
    let is_described = spec.version == Version::Valid && spec.color == color.name;
    if is_described {
        return named.or(own).filter(has);
    }
    color.entries.get(stage).map(String::as_str).filter(has).or(own).or(named.filter(has))
}

/// Returns the stage, preceded by the addresses of its inner tiers that are in use or about to be: inner tiers first.
fn with_inner(world: &World, stage: &Stage) -> Vec<Stage> {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut order: Vec<&str> = Vec::new();
    let memory = world.memory.stages.get(&stage.name);
    let known = |color: &Color| {
        let name = Some(color.name.as_str());
        let of = |memory: &StageMemory| {
            let shift = memory.shift.as_ref();
            let shifts =
                shift.is_some_and(|shift| Some(shift.to.as_str()) == name || Some(shift.from.as_str()) == name);
            shifts || memory.color.as_deref() == name || memory.target.as_deref() == name
        };
        // A stage without a pin serves the newest color, or the first color that there ever is. A hold comes before the pin.
        let hold =
            stage.hold.as_ref().filter(|hold| memory.is_none_or(|known| known.ended_hold.as_ref() != Some(&hold.id)));
        let is_told = match hold.and_then(|hold| hold.color.as_ref()).or(stage.color.as_ref()) {
            Some(told) => Some(told.as_str()) == name,
            None => Some(world.spec.color.as_str()) == name || world.memory.color.as_deref() == name,
        };
        is_told || memory.is_some_and(of)
    };
    let has_pods = |color: &Color, tier: &Tier| {
        color.instances.get(&tier.name).is_some_and(|name| {
            let own = name.of_stage(stage.name.as_str());
            world.pods.iter().any(|pod| pod.instance == own)
        })
    };
    for color in &world.colors {
        for tier in dag::tiers_entry_first(&color.tiers) {
            if !tier.calls.is_empty() && (known(color) || has_pods(color, tier)) {
                used.extend(tier.calls.iter().map(String::as_str));
            }
            if called(&color.tiers).any(|name| name == tier.name) && !order.contains(&tier.name.as_str()) {
                order.push(&tier.name);
            }
        }
    }
    // Nothing tells which tiers a pod calls whose color was removed by force: the addresses that the pod may use stay.
    let is_owned = |pod: &Pod| {
        let has =
            |color: &Color| color.instances.get(&*pod.instance.tier).is_some_and(|own| own.color == pod.instance.color);
        world.colors.iter().any(has)
    };
    let own = world.pods.iter().filter(|pod| pod.instance.stage.as_deref() == Some(stage.name.as_str()));
    if own.into_iter().any(|pod| !is_owned(pod)) {
        let addresses = world.stages.keys().filter_map(|key| match key {
            StageKey::Stage(name) => name.split_once('.'),
            StageKey::Former { .. } | StageKey::Shadow { .. } | StageKey::Gone { .. } => None,
        });
        for (_, tier) in addresses.filter(|(user, _)| *user == stage.name) {
            used.insert(tier);
            if !order.contains(&tier) {
                order.push(tier);
            }
        }
    }
    order.reverse();
    let inner = order.into_iter().filter(|tier| used.contains(tier)).map(|tier| Stage {
        name: inner_name(&stage.name, tier),
        tier: Some(tier.to_owned()),
        overlap: None,
        address: Address::Inner { stage: stage.name.clone() },
        ..stage.clone()
    });
    inner.chain([stage.clone()]).collect()
}

fn called(tiers: &[Tier]) -> impl Iterator<Item = &str> {
    tiers.iter().flat_map(|tier| &tier.calls).map(String::as_str)
}

/// Returns the plan with the reports put together as users see them.
pub(crate) fn collapsed(mut plan: Plan, expanded: &World) -> Plan {
    let stages = std::mem::take(&mut plan.report.stages);
    let mut inner: Vec<TierReport> = Vec::new();
    let mut all: Vec<StageReport> = Vec::new();
    for report in stages {
        let stage = expanded.spec.stages.iter().find(|stage| stage.name == report.name);
        match stage.map(|stage| (&stage.address, &stage.tier)) {
            Some((Address::Inner { .. }, Some(tier))) => inner.push(TierReport { tier: tier.clone(), report }),
            // The inner addresses of a stage come before the stage.
            _ => all.push(StageReport { tiers: std::mem::take(&mut inner), ..report }),
        }
    }
    plan.report.stages = all;
    plan
}
