//! Index of the world, made once per decision, so that no decision scans all pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    Address, Color, Controller, Deployment, Instance, InstanceName, Mark, Part, Place, Pod, Presence, Scaler, Scaling,
    Spec, Stage, StageKey, StageMemory, Tier, Time, Version, World, hash::NameMap,
};

/// Index of a color in [`View::colors`].
pub(crate) type ColorId = usize;

/// Index of an instance.
#[derive(Default)]
struct Indexed<'a> {
    /// Instance as it is in the cluster.
    found: Option<&'a Instance>,
    /// Pods of the instance, in no particular order.
    pods: Vec<&'a Pod>,
    /// Number of these pods that serve.
    ready: u32,
    /// Colors that have the instance, newest first.
    owners: Vec<ColorId>,
    /// Policy of the instance: that of the color that the spec describes, where it has the instance, else of the newest color
    /// that has it.
    policy: Option<&'a Tier>,
}

/// World with its index.
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    /// Spec of the world; where stages are held, with the colors of their holds.
    pub(crate) spec: &'a Spec,
    pub(crate) now: Time,
    /// All colors, newest first.
    pub(crate) colors: Vec<&'a Color>,
    by_name: NameMap<&'a str, ColorId>,
    /// Parts of colors that belong to stages, by name of the stage and of the color.
    parts: NameMap<(&'a str, &'a str), ColorId>,
    instances: NameMap<&'a InstanceName, Indexed<'a>>,
    /// Color that the spec describes, if it has been made.
    pub(crate) described: Option<ColorId>,
    /// Color that counts as the newest: the described one. Where the spec is invalid, or other tiers have its color's name, the
    /// color that the spec described last.
    pub(crate) newest: Option<ColorId>,
    /// Full sizes of the spec's tiers, by name.
    full: NameMap<&'a str, u32>,
    /// Longest lag of those that send clients of stages to pods.
    slowest: Duration,
}

/// Size of an instance's Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// Pods asked for.
    pub(crate) replicas: u32,
    /// No pod exists and none will: the count can be relied on.
    pub(crate) gone: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(world: &'a World, spec: &'a Spec, now: Time) -> Self {
        let mut colors: Vec<&Color> = world.colors.iter().collect();
        // The order is stable: the shared part of a color stays before its other parts.
        colors.sort_by(|a, b| b.revision.cmp(&a.revision).then_with(|| a.name.cmp(&b.name)));
        let (mut by_name, mut parts) = (NameMap::default(), NameMap::default());
        for (id, color) in colors.iter().enumerate() {
            match &color.part {
                Part::Shared => {
                    by_name.insert(color.name.as_str(), id);
                }
                Part::Own { addresses, .. } => {
                    parts.extend(addresses.iter().map(|address| ((address.as_str(), color.name.as_str()), id)));
                }
            }
        }
        let full = spec.tiers.iter().map(|tier| (tier.name.as_str(), tier.replicas)).collect();
        let named = by_name.get(spec.color.as_str()).copied();
        let described = named.filter(|id| has_tiers_of(colors[*id], spec));
        let is_to_be_made = spec.version == Version::Valid && named.is_none();
        let remembered = || world.memory.color.as_deref().filter(|_| !is_to_be_made).and_then(|name| by_name.get(name));
        let newest = described.or_else(|| remembered().copied());
        let slowest = spec.longest_lag();
        let instances = indexed(world, &colors, described);
        Self { world, spec, now, colors, by_name, parts, instances, described, newest, full, slowest }
    }

    /// Returns a color by name, as all stages share it.
    pub(crate) fn color(&self, name: &str) -> Option<ColorId> {
        self.by_name.get(name).copied()
    }

    /// Returns a color by name, as a stage serves it: the part of it that belongs to the stage, where there is one.
    pub(crate) fn color_in(&self, stage: &str, name: &str) -> Option<ColorId> {
        // Most applications have no parts, and this function is called often.
        if self.parts.is_empty() {
            return self.color(name);
        }
        self.parts.get(&(stage, name)).copied().or_else(|| self.color(name))
    }

    /// Returns whether a stage serves this part of the color.
    pub(crate) fn is_for(&self, id: ColorId, stage: &str) -> bool {
        self.parts.is_empty() || self.color_in(stage, &self.colors[id].name) == Some(id)
    }

    /// Returns the newest color, as a stage serves it.
    pub(crate) fn newest_in(&self, stage: &str) -> Option<ColorId> {
        self.color_in(stage, &self.colors[self.newest?].name)
    }

    /// Returns the instances that belong to a stage, in no particular order.
    pub(crate) fn instances_of<'s>(&'s self, stage: &'s str) -> impl Iterator<Item = &'a InstanceName> + use<'s, 'a> {
        self.instances.keys().copied().filter(move |instance| instance.stage.as_deref() == Some(stage))
    }

    /// Returns the shared part of a color.
    pub(crate) fn whole(&self, id: ColorId) -> ColorId {
        self.color(&self.colors[id].name).unwrap_or(id)
    }

    /// Returns the parts of a color that belong to stages.
    pub(crate) fn parts(&self, id: ColorId) -> impl Iterator<Item = ColorId> {
        let is_part = move |other: &ColorId| {
            matches!(self.colors[*other].part, Part::Own { .. }) && self.colors[*other].name == self.colors[id].name
        };
        // The parts of a color come after it.
        (id.saturating_add(1)..self.colors.len()).take_while(is_part).take(match self.colors[id].part {
            Part::Shared => usize::MAX,
            Part::Own { .. } => 0,
        })
    }

    /// Returns the colors that have an instance, newest first.
    pub(crate) fn owners(&self, instance: &InstanceName) -> &[ColorId] {
        self.instances.get(instance).map_or(&[], |known| known.owners.as_slice())
    }

    /// Returns the instance as it is in the cluster.
    pub(crate) fn found(&self, instance: &InstanceName) -> Option<&'a Instance> {
        self.instances.get(instance)?.found
    }

    /// Returns the pods of an instance.
    pub(crate) fn pods(&self, instance: &InstanceName) -> &[&'a Pod] {
        self.instances.get(instance).map_or(&[], |known| known.pods.as_slice())
    }

    /// Returns the number of pods of an instance that serve.
    pub(crate) fn ready(&self, instance: &InstanceName) -> u32 {
        self.instances.get(instance).map_or(0, |known| known.ready)
    }

    /// Returns the pods of an instance that are not being deleted.
    pub(crate) fn alive(&self, instance: &InstanceName) -> impl Iterator<Item = &'a Pod> {
        self.pods(instance).iter().copied().filter(|pod| !pod.terminating)
    }

    /// Returns whether single pods of the instance can be taken out of its Services.
    pub(crate) fn is_labeled(&self, instance: &InstanceName) -> bool {
        self.found(instance).is_some_and(|found| found.labeled)
    }

    /// Returns how many pods an instance asks for. A new Deployment must ask for as many pods as run without one.
    pub(crate) fn asked(&self, instance: &InstanceName) -> u32 {
        match self.deployment(instance) {
            Deployment::Ours { replicas, .. } => *replicas,
            Deployment::Foreign => 0,
            Deployment::Absent | Deployment::Deleting => {
                u32::try_from(self.alive(instance).count()).unwrap_or(u32::MAX)
            }
        }
    }

    /// Returns how many pods an instance has, including those that are about to start.
    pub(crate) fn present(&self, instance: &InstanceName) -> u32 {
        let alive = u32::try_from(self.alive(instance).count()).unwrap_or(u32::MAX);
        alive.max(self.asked(instance))
    }

    /// Returns how many pods an instance asks for, without those that were taken out of its Services and are still asked for.
    pub(crate) fn staying(&self, instance: &InstanceName) -> u32 {
        let number = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        let (asked, alive) = (self.asked(instance), number(self.alive(instance).count()));
        let out = number(self.alive(instance).filter(|pod| is_out(pod)).count());
        let let_go = alive.saturating_sub(asked);
        asked.saturating_sub(out.saturating_sub(let_go))
    }

    /// Returns how long the pods of an instance must be ready before they take part in a shift.
    pub(crate) fn min_ready(&self, instance: &InstanceName) -> Duration {
        self.policy(instance).map_or(Duration::ZERO, |tier| tier.min_ready)
    }

    /// Returns the time from which on the pod may take part in a shift, as long as it stays ready.
    pub(crate) fn available_at(&self, pod: &Pod) -> Time {
        pod.ready_since.after(self.min_ready(&pod.instance))
    }

    /// Returns whether the pod serves and has been ready for as long as its tier asks.
    pub(crate) fn is_available(&self, pod: &Pod) -> bool {
        serves(pod) && (self.min_ready(&pod.instance).is_zero() || self.available_at(pod) <= self.now)
    }

    /// Returns how many pods of an instance have been ready for as long as its tier asks.
    pub(crate) fn available(&self, instance: &InstanceName) -> u32 {
        if self.min_ready(instance).is_zero() {
            return self.ready(instance);
        }
        let available = self.pods(instance).iter().filter(|pod| self.is_available(pod)).count();
        u32::try_from(available).unwrap_or(u32::MAX)
    }

    /// Returns the object under the name of an instance's Deployment.
    pub(crate) fn deployment(&self, instance: &InstanceName) -> &'a Deployment {
        self.found(instance).map_or(&Deployment::Absent, |instance| &instance.deployment)
    }

    /// Returns whether no controller is about to end pods of the color: a Deployment has observed that it should keep all of
    /// them, or no controller exists that chooses.
    pub(crate) fn keeps_pods(&self, color: &Color) -> bool {
        color.instances.values().all(|instance| match self.deployment(instance) {
            Deployment::Ours { replicas, observed, .. } => {
                *observed && *replicas as usize >= self.alive(instance).count()
            }
            Deployment::Absent | Deployment::Deleting | Deployment::Foreign => {
                self.alive(instance).all(|pod| pod.controller != Controller::ReplicaSet)
            }
        })
    }

    /// Returns the state of the object under the name of an instance's Service; an instance that is not listed has no Service
    /// yet.
    pub(crate) fn service(&self, instance: &InstanceName) -> Presence {
        self.found(instance).map_or(Presence::Absent, |instance| instance.service)
    }

    /// Returns how many pods an instance asks for, and whether all are gone. Another writer's Deployment counts as none. Pods of
    /// ours count, even where another writer's object has their Deployment's name.
    pub(crate) fn count(&self, instance: &InstanceName) -> Count {
        let none_seen = self.pods(instance).is_empty();
        match self.deployment(instance) {
            Deployment::Absent => Count { replicas: 0, gone: none_seen },
            Deployment::Foreign => Count { replicas: 0, gone: none_seen },
            Deployment::Deleting => Count { replicas: 0, gone: false },
            Deployment::Ours { replicas, observed, pods, .. } => {
                Count { replicas: *replicas, gone: *replicas == 0 && *observed && *pods == 0 && none_seen }
            }
        }
    }

    /// Returns the pods of a tier at full size. The spec sizes the color that it describes and no other: a release that asks for
    /// fewer pods must not shrink the color that serves before it has taken its place.
    pub(crate) fn full(&self, color: &Color, tier: &str) -> u32 {
        if let Some(instance) = color.instances.get(tier).filter(|instance| self.is_scaled(instance)) {
            return self.scaled(color, instance);
        }
        if self.is_described(color) {
            return self.full.get(tier).copied().unwrap_or(0);
        }
        let snapshot = || color.tiers.iter().find(|t| t.name == tier).map_or(0, |t| t.replicas);
        color.sizes.get(tier).copied().unwrap_or_else(snapshot)
    }

    /// Returns the policy of an instance.
    fn policy(&self, instance: &InstanceName) -> Option<&'a Tier> {
        self.instances.get(instance)?.policy
    }

    /// Returns the writer that should decide how many pods an instance has.
    pub(crate) fn scaling(&self, instance: &InstanceName) -> Scaling {
        self.policy(instance).map_or(Scaling::Replicas, |tier| tier.scaling)
    }

    /// Returns the autoscaler that exists for an instance.
    pub(crate) fn scaler(&self, instance: &InstanceName) -> &'a Scaler {
        self.found(instance).map_or(&Scaler::Absent, |found| &found.scaler)
    }

    /// Returns whether another writer than the planner decides how many pods an instance has: a policy says so, or an autoscaler
    /// exists.
    pub(crate) fn is_scaled(&self, instance: &InstanceName) -> bool {
        match self.scaler(instance) {
            Scaler::Foreign { .. } | Scaler::Ours { .. } | Scaler::Deleting => true,
            Scaler::Absent | Scaler::Taken => self.scaling(instance) != Scaling::Replicas,
        }
    }

    /// Returns the most pods that the writer that scales an instance lets it have.
    pub(crate) fn most(&self, instance: &InstanceName) -> u32 {
        match (self.scaler(instance), self.scaling(instance)) {
            (Scaler::Foreign { most, .. }, _) => *most,
            (_, Scaling::Autoscale { most, .. }) => most,
            (_, Scaling::Replicas | Scaling::External) => u32::MAX,
        }
    }

    /// Returns the pods of an instance that another writer scales: those that its Deployment asks for. A color that starts, or
    /// comes back, starts with as many as the policy says.
    fn scaled(&self, color: &Color, instance: &InstanceName) -> u32 {
        if let Deployment::Ours { replicas, .. } = self.deployment(instance)
            && (*replicas > 0 || color.released.is_none())
        {
            return *replicas;
        }
        let described = || self.full.get(&*instance.tier).copied();
        let own = self.policy(instance).map_or(1, |tier| tier.replicas);
        let start = if self.is_described(color) { described().unwrap_or(own) } else { own };
        match self.scaling(instance) {
            Scaling::Autoscale { least, most } => start.min(most).max(least),
            Scaling::Replicas | Scaling::External => start.min(self.most(instance)),
        }
    }

    /// Returns the full sizes of a color that differ from its snapshot's. `begins` returns with how many pods the color begins to
    /// serve where another writer scales it.
    pub(crate) fn sizes(&self, color: &Color, begins: impl Fn(&str) -> Option<u32>) -> BTreeMap<String, u32> {
        let size = |tier: &Tier| match color.instances.get(&tier.name).filter(|instance| self.is_scaled(instance)) {
            Some(_) => begins(&tier.name).or_else(|| color.sizes.get(&tier.name).copied()),
            None => Some(self.full(color, &tier.name)).filter(|size| *size != tier.replicas),
        };
        color.tiers.iter().filter_map(|tier| Some((tier.name.clone(), size(tier)?))).collect()
    }

    /// Returns the tier of a color that a stage's clients reach. The spec decides it for the color that it describes and no
    /// other: a release without the tier in front, or with another one, must not send clients past the tier that serves. `None`
    /// where that is unclear.
    pub(crate) fn entry<'s>(&'s self, stage: &'s Stage, id: ColorId) -> Option<&'s str> {
        if !self.is_for(id, &stage.name) {
            return None;
        }
        let color = self.colors[id];
        let has = |tier: &&str| color.tiers.iter().any(|known| known.name == *tier);
        if let (Part::Own { .. }, _) | (_, Address::Inner { .. }) = (&color.part, &stage.address) {
            return color.entries.get(&stage.name).map(String::as_str).filter(has);
        }
        let named = stage.tier.as_deref();
        let own = crate::dag::only_entry(&color.tiers);
        match self.described == Some(id) {
            true => named.or(own).filter(has),
            false => color.entries.get(&stage.name).map(String::as_str).filter(has).or(own).or(named.filter(has)),
        }
    }

    /// Returns the instance of a color that a stage's clients reach.
    pub(crate) fn entry_instance(&self, stage: &Stage, id: ColorId) -> Option<&'a InstanceName> {
        self.colors[id].instances.get(self.entry(stage, id)?)
    }

    /// Returns the tiers that stages reach in a color where the color's own tiers do not tell, by name of the stage.
    pub(crate) fn entries(&self, id: ColorId) -> BTreeMap<String, String> {
        let color = self.colors[id];
        if self.described != Some(id) {
            let entries = color.entries.iter().filter(|(stage, _)| !crate::parts::is_inner_name(stage));
            return entries.map(|(stage, tier)| (stage.clone(), tier.clone())).collect();
        }
        let bound = color.bound.iter().map(|(tier, _)| tier);
        self.new_entries(&color.tiers.iter().chain(bound).cloned().collect::<Vec<_>>())
    }

    /// Returns the same as `entries`, for a color that is to be made of these tiers, which the spec describes.
    pub(crate) fn new_entries(&self, tiers: &[Tier]) -> BTreeMap<String, String> {
        let own = crate::dag::only_entry(tiers);
        let stages = self.spec.stages.iter().filter(|stage| stage.address == Address::Entry);
        let named = stages.filter_map(|stage| Some((stage, stage.tier.as_deref()?)));
        let other = named.filter(|(_, tier)| Some(*tier) != own && tiers.iter().any(|known| known.name == *tier));
        other.map(|(stage, tier)| (stage.name.clone(), tier.to_owned())).collect()
    }

    /// Returns whether pods of both instances can serve behind one Service.
    pub(crate) fn same_ports(&self, one: &InstanceName, other: &InstanceName) -> bool {
        let ports = |instance| self.found(instance).and_then(|found| found.ports);
        one == other || ports(one).zip(ports(other)).is_none_or(|(one, other)| one == other)
    }

    /// Returns whether the color is the one that the spec describes.
    pub(crate) fn is_described(&self, color: &Color) -> bool {
        self.described.is_some_and(|id| self.colors[id].name == color.name)
    }

    /// Returns whether no stage has ever sent a client to the color.
    pub(crate) fn never_served(&self, id: ColorId) -> bool {
        self.colors[id].served.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Returns whether the stage has sent clients to the color, as far as the color's status tells.
    pub(crate) fn has_served(&self, id: ColorId, stage: &str) -> bool {
        self.is_for(id, stage) && self.colors[id].served.as_ref().is_some_and(|stages| stages.contains(stage))
    }

    /// Returns the name of the color that the spec describes, or described last.
    pub(crate) fn last_described(&self) -> Option<String> {
        let remembered = || self.world.memory.color.as_deref().and_then(|name| self.color(name));
        self.newest.or_else(remembered).map(|id| self.colors[id].name.clone())
    }

    /// Returns the memory of a stage, from the status.
    pub(crate) fn memory(&self, stage: &str) -> StageMemory {
        self.world.memory.stages.get(stage).cloned().unwrap_or_default()
    }

    /// Returns the time after which no client of a stage, and no pod, can be sent to a pod that was let go at `since`: one lag
    /// for the endpoint controller, and one for those that use endpoints, the slowest of which may be a load balancer.
    pub(crate) fn forgotten(&self, since: Time) -> Time {
        since.after(self.spec.propagation.saturating_add(self.slowest))
    }

    /// Returns whether others than the cluster's own data plane send connections to pods: a load balancer, or the application's
    /// own callers.
    pub(crate) fn has_overlap(&self) -> bool {
        self.slowest > self.spec.propagation
    }

    /// Returns the same as `forgotten`, where only the cluster's own data plane is concerned.
    pub(crate) fn forgotten_in_cluster(&self, since: Time) -> Time {
        since.after(self.spec.propagation.saturating_mul(2))
    }

    /// Returns when those that send a stage's clients to pods know an endpoint that the API has shown since this time.
    pub(crate) fn sent_to_at(&self, key: &StageKey, since: Time) -> Time {
        let lag = match key {
            StageKey::Stage(name) | StageKey::Former { stage: name, .. } | StageKey::Shadow { stage: name } => {
                let stage = self.spec.stages.iter().find(|stage| stage.name == *name);
                stage.map(|stage| stage.overlap.unwrap_or(self.spec.propagation))
            }
            StageKey::Gone { .. } => None,
        };
        since.after(lag.unwrap_or(self.slowest))
    }

    /// Returns whether the cluster's data plane knows everything that has been so since this time.
    pub(crate) fn known(&self, since: Time) -> bool {
        since.after(self.spec.propagation) <= self.now
    }
}

/// Returns the index of every instance that exists, that a color has or that a pod belongs to. `colors` come newest first.
fn indexed<'a>(
    world: &'a World,
    colors: &[&'a Color],
    described: Option<ColorId>,
) -> NameMap<&'a InstanceName, Indexed<'a>> {
    let mut instances: NameMap<&InstanceName, Indexed<'_>> = NameMap::default();
    for (name, found) in &world.instances {
        instances.entry(name).or_default().found = Some(found);
    }
    for (id, color) in colors.iter().enumerate() {
        for name in color.instances.values() {
            let known = instances.entry(name).or_default();
            let is_described = described.is_some_and(|described| colors[described].name == color.name);
            if known.owners.is_empty() || is_described {
                known.policy = color.tiers.iter().find(|tier| tier.name == *name.tier);
            }
            known.owners.push(id);
        }
    }
    for pod in &world.pods {
        let known = instances.entry(&pod.instance).or_default();
        known.pods.push(pod);
        known.ready += u32::from(serves(pod));
    }
    instances
}

/// Returns whether the color was made of the tiers that the spec has, where the spec's tiers are valid.
fn has_tiers_of(color: &Color, spec: &Spec) -> bool {
    fn identities<'t>(tiers: impl Iterator<Item = &'t Tier>) -> BTreeMap<&'t str, &'t str> {
        tiers.map(|tier| (tier.name.as_str(), tier.identity.as_str())).collect()
    }
    let known = color.tiers.iter().chain(color.bound.iter().map(|(tier, _)| tier));
    spec.version == Version::Valid && identities(known) == identities(spec.tiers.iter())
}

/// Returns whether the pod passes its probes and is going to stay. A pod that its Deployment may delete next does not count, nor
/// does one that was taken out of its Services.
pub(crate) fn serves(pod: &Pod) -> bool {
    pod.ready && !pod.terminating && pod.mark != Mark::Leaving && !is_out(pod)
}

/// Returns whether the pod was taken out of its Services.
pub(crate) fn is_out(pod: &Pod) -> bool {
    match pod.place {
        Place::In => false,
        Place::Out { .. } => true,
    }
}
