//! Autoscalers, and checks of Deployments that they scale.

use rainbow_plan::*;

use super::*;

impl Sim {
    /// Returns the writer that the policy of the color that has an instance names; for the color that the spec describes, the
    /// spec decides.
    pub fn scaling(&self, instance: &InstanceName) -> Scaling {
        let colors: Vec<&Color> = self.colors.values().filter(|color| has(color, instance)).collect();
        let described = colors.iter().find(|color| !self.invalid && self.is_spec(color));
        let color = described.or_else(|| colors.iter().max_by_key(|color| color.revision));
        let tier = color.and_then(|color| color.tiers.iter().find(|tier| tier.name == *instance.tier));
        tier.map_or(Scaling::Replicas, |tier| tier.scaling)
    }

    /// Returns whether another writer than the planner decides how many pods the instance has.
    pub fn is_scaled(&self, instance: &InstanceName) -> bool {
        match self.hpas.get(instance) {
            Some(Scaler::Foreign { .. } | Scaler::Ours { .. } | Scaler::Deleting) => true,
            Some(Scaler::Absent | Scaler::Taken) | None => self.scaling(instance) != Scaling::Replicas,
        }
    }

    /// Returns the pods of a scaled instance: those that its Deployment asks for.
    pub fn scaled_size(&self, instance: &InstanceName) -> Option<u32> {
        self.is_scaled(instance).then(|| self.deps.get(instance).map_or(0, |dep| dep.replicas))
    }

    /// Sets the writer that scales a tier of the version that the spec describes, as its user does.
    pub fn say_scaling(&mut self, tier: &str, scaling: Scaling) {
        self.disturb();
        let described = self.spec.tiers.clone();
        let is_same = |known: &Tier| described.iter().any(|t| t.name == known.name && t.identity == known.identity);
        for color in self.colors.values_mut().filter(|color| color.tiers.iter().all(is_same)) {
            color.tiers.iter_mut().filter(|known| known.name == tier).for_each(|known| known.scaling = scaling);
        }
        self.spec.tiers.iter_mut().filter(|known| known.name == tier).for_each(|known| known.scaling = scaling);
    }

    /// Returns the number that an autoscaler writes when it finds that this many pods are needed. `None`: it writes nothing.
    pub fn scaler_writes(&self, instance: &InstanceName, needed: u32) -> Option<u32> {
        let asked = self.deps.get(instance)?.replicas;
        match (self.hpas.get(instance), self.scaling(instance)) {
            // A Deployment of no pods is turned off.
            (Some(Scaler::Ours { .. } | Scaler::Foreign { .. }), _) if asked == 0 => None,
            (Some(Scaler::Ours { least, .. }), Scaling::Autoscale { most, .. }) => Some(needed.max(*least).min(most)),
            (Some(Scaler::Ours { least, .. }), _) => Some(needed.max(*least)),
            (Some(Scaler::Foreign { most, .. }), _) => Some(needed.max(1).min(*most)),
            (Some(Scaler::Deleting), _) => None,
            (Some(Scaler::Absent | Scaler::Taken) | None, Scaling::Autoscale { .. }) => None,
            (Some(Scaler::Absent | Scaler::Taken) | None, Scaling::Replicas | Scaling::External) => Some(needed),
        }
    }

    pub(super) fn apply_scaler(&mut self, instance: &InstanceName, least: u32) {
        let made = Scaler::Ours { current: true, least };
        let before = self.hpas.insert(instance.clone(), made.clone());
        self.require(Rule::Ownership, !matches!(before, Some(Scaler::Foreign { .. } | Scaler::Taken)), || {
            format!("the autoscaler of {instance:?} is another owner's")
        });
        self.require(Rule::NoVainWrite, before != Some(made), || format!("autoscaler of {instance:?}"));
    }

    pub(super) fn delete_scaler(&mut self, instance: &InstanceName) {
        let before = self.hpas.remove(instance);
        let ours = matches!(before, Some(Scaler::Ours { .. } | Scaler::Deleting));
        // A cache that lags shows what is gone: a delete of that very object has no effect.
        let rule = if before.is_some() { Rule::Ownership } else { Rule::NoVainWrite };
        self.require(rule, ours, || format!("no autoscaler of ours: {instance:?}"));
    }

    /// Checks that a Deployment of a living color is never asked for fewer pods than the writer that scales it has asked for, and
    /// that none is made smaller as long as Rainbow's own autoscaler of it is seen.
    pub(super) fn check_scaled(&self, instance: &InstanceName, replicas: Option<u32>) {
        let Some(world) = &self.decided else { return };
        let Some(found) = world.instances.get(instance) else { return };
        let Deployment::Ours { replicas: asked, .. } = found.deployment else { return };
        if replicas.is_some_and(|replicas| replicas >= asked) {
            return;
        }
        let own = matches!(found.scaler, Scaler::Ours { .. } | Scaler::Deleting);
        self.require(Rule::Scaled, !own, || format!("{instance:?} becomes smaller beside its autoscaler"));
        let owners: Vec<&Color> = world.colors.iter().filter(|color| has(color, instance)).collect();
        let lives = owners.iter().any(|color| color.released.is_none()) && !world.spec.deleting;
        let policy = || owners.iter().flat_map(|color| &color.tiers).filter(|tier| tier.name == *instance.tier);
        let scaled =
            matches!(found.scaler, Scaler::Foreign { .. }) || policy().all(|tier| tier.scaling != Scaling::Replicas);
        self.require(Rule::Scaled, !(lives && scaled) || owners.is_empty(), || {
            format!("{instance:?} is asked for {replicas:?} pods instead of {asked}")
        });
    }

    /// Returns the pods that a scaled color must have before it serves a stage: as many as the color that serves, as far as its
    /// scaler lets it, unless the shift has waited for longer than the progress deadline.
    pub(super) fn begins_with(&self, world: &World, stage: &Stage, instance: &InstanceName) -> Option<u32> {
        let scaling = |instance: &InstanceName| {
            let found = world.instances.get(instance).map(|found| &found.scaler);
            match (found, self.scaling(instance)) {
                (Some(Scaler::Foreign { most, .. }), _) => Some(*most),
                (_, Scaling::Autoscale { most, .. }) => Some(most),
                (Some(Scaler::Ours { .. } | Scaler::Deleting), _) | (_, Scaling::External) => Some(u32::MAX),
                (_, Scaling::Replicas) => None,
            }
        };
        let most = scaling(instance)?;
        let asked = |instance: &InstanceName| match world.instances.get(instance).map(|found| &found.deployment) {
            Some(Deployment::Ours { replicas, .. }) => *replicas,
            _ => 0,
        };
        let memory = world.memory.stages.get(&stage.name);
        let serving = memory.and_then(|memory| memory.color.as_ref());
        let serving = serving.and_then(|name| world.colors.iter().find(|color| color.name == *name));
        let serving = serving.and_then(|color| color.instances.get(&*instance.tier));
        let is_late = memory
            .and_then(|memory| memory.shift.as_ref())
            .is_some_and(|shift| shift.started.after(world.spec.progress_deadline) <= self.clock());
        let size = match serving.filter(|serving| *serving != instance && !is_late) {
            Some(serving) if scaling(serving).is_some() => asked(serving),
            Some(serving) => self.asked.get(&self.identity(serving)).copied().unwrap_or(0).min(asked(serving)),
            None => asked(instance).min(1),
        };
        Some(size.min(most))
    }

    /// Checks, at rest, that each tier with an autoscaler has one, with no other floor than its user's, and that nothing else has
    /// one of Rainbow's.
    pub(super) fn check_scalers_at_rest(&self) {
        for (instance, dep) in self.deps.iter().filter(|(_, dep)| !dep.foreign && dep.labelled) {
            let Scaling::Autoscale { least, .. } = self.scaling(instance) else { continue };
            let kept = self.stages.values().any(|svc| svc.selects() == Some(&Selection::Instance(instance.clone())));
            let found = self.hpas.get(instance);
            if !kept || dep.deleting || matches!(found, Some(Scaler::Foreign { .. } | Scaler::Taken)) {
                continue;
            }
            let wanted = Scaler::Ours { current: true, least };
            let moving = self
                .spec
                .stages
                .iter()
                .any(|stage| stage.paused || self.selected(&stage.name) == Some(&Selection::Members))
                || self.memory.stages.values().any(|memory| memory.shift.is_some());
            assert!(moving || found == Some(&wanted), "{instance:?} has {found:?}\n{}", self.trace.join("\n"));
        }
        for instance in self.hpas.iter().filter(|(_, hpa)| matches!(hpa, Scaler::Ours { .. })).map(|(name, _)| name) {
            let scaled = matches!(self.scaling(instance), Scaling::Autoscale { .. });
            assert!(scaled, "{instance:?} has an autoscaler that nothing asks for\n{}", self.trace.join("\n"));
        }
    }
}

fn has(color: &Color, instance: &InstanceName) -> bool {
    spec::has(color, instance)
}
