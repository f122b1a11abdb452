//! World as the planner sees it, built from what the watches have shown.

mod copies;
mod instances;
mod pods;
mod scalers;
mod stages;

use rainbow_api::{Rainbow, names};
use rainbow_plan::{Instance, Presence, StageBudget, StageKey, Time, World};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cache::{App, ForeignScalers},
    domain::{self, OperatorSettings, Owner},
    effective::Effective,
    kind::Kind,
    manifests::{self, Scope},
};
use copies::copies;
use instances::{instance, instance_names};
use pods::pods;
use scalers::scaler;
use stages::{Stages, stages};

/// Objects of other makers under needed names, by kind and name.
pub(crate) type Foreign = BTreeSet<(Kind, String)>;

/// World, and what is needed to act on the planner's answer.
pub(crate) struct Observed {
    pub(crate) world: World,
    pub(crate) stage_services: BTreeMap<StageKey, String>,
    /// Stage after which the membership labels of a stage's pods are named, where that is another one. A stage that was renamed in the
    /// middle of a shift ends the shift with the labels that it began with.
    pub(crate) labeled_as: BTreeMap<String, String>,
    /// Owners of needed names that are taken.
    pub(crate) taken: BTreeMap<(Kind, String), Owner>,
    /// Reasons why stages keep their present Service: the name that the Service should have is taken.
    pub(crate) clashes: Vec<String>,
}

/// Builds the world.
pub(crate) fn observe(
    app: &mut App,
    scope: &Scope<'_>,
    effective: &Effective,
    foreign: &Foreign,
    others: &ForeignScalers,
    settings: &OperatorSettings,
    now: Time,
) -> Observed {
    let Effective { rainbow, version, is_valid, config, invalid_stages, claims, .. } = effective;
    let version = version.as_ref();
    let mut taken: BTreeMap<(Kind, String), Owner> = BTreeMap::new();
    let mut instances = BTreeMap::new();
    for (name, existing) in instance_names(app, &rainbow.spec) {
        let object = domain::object_name(scope.prefix, &name);
        for kind in [Kind::Deployment, Kind::Service] {
            if let Some(owner) = claims.other(kind, &object, &name) {
                taken.insert((kind, object.clone()), owner.clone());
            }
        }
        let policy = effective.speaker(app, &name).and_then(|color| {
            let tier = color.spec.tiers.iter().find(|tier| tier.name == *name.tier)?;
            domain::scaling(&rainbow.spec, effective.describes(color), color, tier).autoscale
        });
        let scaler = scaler(app, scope, rainbow, (&name, &object), policy.as_ref(), others, foreign);
        let found = instance(app, scope, effective, (&name, &object), existing, foreign);
        let instance = Instance { scaler, ..found };
        instances.insert(name, instance);
    }
    let stages = stages(app, scope, effective, foreign);
    taken.extend(stages.taken.into_iter().map(|(service, owner)| ((Kind::Service, service), owner)));
    let sender = |(key, service): (&StageKey, &String)| match key {
        StageKey::Stage(stage) => Some((stage.clone(), app.services.get(service.as_str())?.senders)),
        StageKey::Former { .. } | StageKey::Shadow { .. } | StageKey::Gone { .. } => None,
    };
    let senders = stages.names.iter().filter_map(sender).collect();
    let tiers = app.colors.values().flat_map(|color| &color.spec.tiers).chain(&rainbow.spec.tiers);
    let callers = domain::callers_lag(tiers);
    let mut spec = domain::spec(rainbow, version.filter(|_| *is_valid), invalid_stages, &senders, callers, settings);
    if *is_valid {
        spec.config = domain::config_copies(config);
    }
    app.endpoints.expire(now, settings.propagation.saturating_add(spec.longest_lag()));
    let pods = pods(app, effective, &stages.names, &stages.labeled_as, now);
    let guard = guard(app, scope, rainbow, foreign);
    let budgets = budgets(app, scope, rainbow, &stages.labeled_as, foreign);
    let world = World {
        spec,
        memory: domain::memory(rainbow, &stages.names),
        colors: app
            .colors
            .values()
            .map(|color| domain::color(&rainbow.spec, effective.describes(color), color))
            .collect(),
        instances,
        stages: stages.services,
        pods,
        guard,
        budgets,
        copies: copies(app, rainbow.metadata.uid.as_deref(), config, foreign),
        checks: BTreeMap::new(),
    };
    let Stages { names: stage_services, labeled_as, clashes, .. } = stages;
    Observed { world, stage_services, labeled_as, taken, clashes }
}

/// Compares an object with what it should be, as soon as the watches show it. While everything is listed, this saves the memory for the
/// content of all objects that are still to be compared.
pub(crate) fn compare(app: &mut App, scope: &Scope<'_>, effective: &Effective, kind: Kind, name: &str) {
    let foreign = Foreign::new();
    let rainbow = &effective.rainbow;
    let deployment = |app: &App| app.deployments.get(name).map(|found| found.instance());
    let service = |app: &App| app.services.get(name).map(|found| found.instance());
    match kind {
        Kind::Service if app.services.get(name).is_some_and(|found| !found.stage.is_empty()) => {
            stages(app, scope, effective, &foreign);
        }
        Kind::Deployment | Kind::Service => {
            if let Some(name) = deployment(app).or_else(|| service(app)) {
                let object = domain::object_name(scope.prefix, &name);
                instance(app, scope, effective, (&name, &object), 0, &foreign);
            }
        }
        Kind::PodDisruptionBudget => {
            guard(app, scope, rainbow, &foreign);
            // The budget of a stage that was renamed in the middle of a shift is compared again in the application's turn.
            budgets(app, scope, rainbow, &BTreeMap::new(), &foreign);
        }
        Kind::Rainbow
        | Kind::Color
        | Kind::Pod
        | Kind::EndpointSlice
        | Kind::HorizontalPodAutoscaler
        | Kind::ConfigMap
        | Kind::Secret => {}
    }
}

/// Returns the state of the PodDisruptionBudget of the pods that hold connections.
fn guard(app: &mut App, scope: &Scope<'_>, rainbow: &Rainbow, foreign: &Foreign) -> Presence {
    let name = names::guard(scope.rainbow);
    let App { budgets, answers, epoch, .. } = app;
    match budgets.get_mut(name.as_str()) {
        None if foreign.contains(&(Kind::PodDisruptionBudget, name)) => Presence::Foreign,
        None => Presence::Absent,
        Some(live) => {
            let desired = || manifests::guard(scope, rainbow);
            let current = live.content.is_current(&live.meta.uid, *epoch, answers, desired);
            if current { Presence::Current } else { Presence::Outdated }
        }
    }
}

/// Returns the state of the PodDisruptionBudgets of stages that are, or were, held.
fn budgets(
    app: &mut App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    labeled_as: &BTreeMap<String, String>,
    foreign: &Foreign,
) -> BTreeMap<String, StageBudget> {
    let App { budgets, answers, epoch, .. } = app;
    let mut found = BTreeMap::new();
    for live in budgets.iter_mut().map(|(_, live)| live).filter(|live| !live.stage.is_empty()) {
        let least = live.least.unwrap_or(0);
        let label = labeled_as.get(&*live.stage).map_or(&*live.stage, String::as_str);
        let desired = || manifests::stage_budget(scope, rainbow, &live.stage, label, least);
        let current = live.least.is_some() && live.content.is_current(&live.meta.uid, *epoch, answers, desired);
        found.insert(live.stage.to_string(), StageBudget::Ours { current, least });
    }
    for stage in &rainbow.spec.stages {
        let name = names::stage_budget(scope.rainbow, &stage.name);
        if foreign.contains(&(Kind::PodDisruptionBudget, name)) {
            found.entry(stage.name.clone()).or_insert(StageBudget::Foreign);
        }
    }
    found
}
