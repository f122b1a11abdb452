//! The world as the planner sees it, from what the watches have said.

use rainbow_api::{Color, Rainbow, Stage, Tier, names, stage_tier};
use rainbow_plan::{
    Connections, Deployment, Instance, InstanceName, Pod, Presence, Selection, StageKey, StageService, Time, World,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    cache::App,
    domain::{self, Means},
    kind::Kind,
    live::{self, Readable},
    manifests::{self, Scope},
};

/// An object that somebody else made under a name that is needed: its kind and name.
pub(crate) type Foreign = BTreeSet<(Kind, String)>;

/// A world, and what is needed to act on its answer.
pub(crate) struct Observed {
    pub(crate) world: World,
    /// Names of the stages' Services.
    pub(crate) stage_services: BTreeMap<StageKey, String>,
}

/// Builds the world.
pub(crate) fn observe(
    app: &mut App,
    scope: &Scope<'_>,
    readable: &Readable,
    foreign: &Foreign,
    means: &Means,
    now: Time,
) -> Observed {
    let Readable { rainbow, version, .. } = readable;
    app.endpoints.expire(now, means.propagation);
    let mut instances = BTreeMap::new();
    for name in instance_names(app) {
        let instance = instance(app, scope, rainbow, &name, foreign);
        instances.insert(name, instance);
    }
    let (stages, stage_services) = stages(app, scope, rainbow, foreign);
    let pods = pods(app, rainbow, &stage_services, now);
    let guard = guard(app, scope, rainbow, foreign);
    let world = World {
        spec: domain::spec(rainbow, version, means),
        memory: domain::memory(rainbow),
        colors: app.colors.values().map(|color| domain::color(&rainbow.spec, version, color)).collect(),
        instances,
        stages,
        pods,
        guard,
    };
    Observed { world, stage_services }
}

/// Compares an object with what it should be, as soon as the watches show it. While everything is listed this spares the memory
/// for the content of all objects that are still to be compared.
pub(crate) fn compare(app: &mut App, scope: &Scope<'_>, rainbow: &Rainbow, kind: Kind, name: &str) {
    let foreign = Foreign::new();
    let deployment = |app: &App| app.deployments.get(name).map(|found| instance_name(&found.tier, &found.color));
    let service = |app: &App| app.services.get(name).map(|found| instance_name(&found.tier, &found.color));
    match kind {
        Kind::Service if app.services.get(name).is_some_and(|found| !found.stage.is_empty()) => {
            stages(app, scope, rainbow, &foreign);
        }
        Kind::Deployment | Kind::Service => {
            if let Some(name) = deployment(app).or_else(|| service(app)) {
                instance(app, scope, rainbow, &name, &foreign);
            }
        }
        Kind::PodDisruptionBudget => {
            guard(app, scope, rainbow, &foreign);
        }
        Kind::Rainbow | Kind::Color | Kind::Pod | Kind::EndpointSlice => {}
    }
}

/// Every instance that a color names or that exists.
fn instance_names(app: &App) -> BTreeSet<InstanceName> {
    let named =
        app.colors.values().flat_map(|color| &color.spec.instances).map(|i| (i.tier.as_str(), i.color.as_str()));
    // A Service may be all that is left of an instance.
    let services = app.services.values().filter(|service| service.stage.is_empty());
    let services = services.map(|found| (&*found.tier, &*found.color));
    let deployments = app.deployments.values().map(|found| (&*found.tier, &*found.color));
    named
        .chain(deployments)
        .chain(services)
        .filter(|(tier, color)| !tier.is_empty() && !color.is_empty())
        .map(|(tier, color)| instance_name(tier, color))
        .collect()
}

fn instance_name(tier: &str, color: &str) -> InstanceName {
    InstanceName { tier: tier.to_owned(), color: color.to_owned() }
}

fn instance(app: &mut App, scope: &Scope<'_>, rainbow: &Rainbow, name: &InstanceName, foreign: &Foreign) -> Instance {
    let object = names::instance(scope.prefix, &name.tier, &name.color);
    let color = app.source(name).map(|(color, _)| Arc::clone(color));
    let ports = color.as_ref().and_then(|color| app.ports(color, &name.tier));
    let source = color.as_ref().and_then(|color| Some((color, tier(color, &name.tier)?)));
    let App { deployments, services, pods, answers, epoch, .. } = app;
    let found = deployments.get_mut(object.as_str());
    let found = found.filter(|found| *found.tier == name.tier && *found.color == name.color);
    let ours = |found: &&mut Box<live::Service>| {
        *found.tier == name.tier && *found.color == name.color && found.stage.is_empty()
    };
    let mut identity =
        source.and_then(|(color, _)| Some(color.spec.instances.iter().find(|i| i.tier == name.tier)?.identity.clone()));
    let deployment = match found {
        None if foreign.contains(&(Kind::Deployment, object.clone())) => Deployment::Foreign,
        None => Deployment::Absent,
        Some(live) => {
            let live::Deployment { meta, content, replicas, .. } = &mut **live;
            let current = source.is_none_or(|(color, tier)| {
                let desired = || manifests::deployment(scope, rainbow, color, tier, name, *replicas);
                content.is_current(&meta.uid, *epoch, answers, desired)
            });
            identity = identity.or_else(|| Some(live.identity.to_string()));
            // The status does not count terminating pods, and may lag behind the pods themselves.
            let existing =
                pods.values().filter(|pod| *pod.tier == name.tier && *pod.color == name.color && !pod.finished);
            let existing = u32::try_from(existing.count()).unwrap_or(u32::MAX);
            Deployment::Ours {
                current,
                replicas: live.replicas,
                observed: live.observed,
                pods: live.pods.max(existing),
            }
        }
    };
    // What no color names any more is looked for, so that it can be deleted.
    let needed = source.is_none_or(|(color, _)| {
        color.spec.tiers.iter().any(|tier| tier.needs.iter().any(|need| need.tier == name.tier))
    });
    let service = match (source, services.get_mut(object.as_str()).filter(ours)) {
        _ if !needed => Presence::NotNeeded,
        (_, None) if foreign.contains(&(Kind::Service, object)) => Presence::Foreign,
        (_, None) => Presence::Absent,
        (Some((_, tier)), Some(live)) => {
            let desired = || manifests::service(scope, rainbow, tier, name);
            let selects = matches!(&live.selects, Selection::Instance(selected) if selected == name);
            if selects && live.content.is_current(&live.meta.uid, *epoch, answers, desired) {
                Presence::Current
            } else {
                Presence::Outdated
            }
        }
        (None, Some(_)) => Presence::Current,
    };
    Instance { identity: identity.unwrap_or_default(), deployment, service, ports }
}

fn tier<'a>(color: &'a Color, name: &str) -> Option<&'a Tier> {
    color.spec.tiers.iter().find(|tier| tier.name == name)
}

/// The PodDisruptionBudget of the pods that hold connections.
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

/// Name of a stage's Service. Where the spec names none it is called after the tier that clients reach, and keeps its name when
/// they reach another tier in another color: an address does not change with a release. `None` where the tier is unclear.
fn service_name(app: &App, rainbow: &Rainbow, stage: &Stage) -> Option<String> {
    if let Some(name) = &stage.service.name {
        return Some(name.clone());
    }
    let called_after = |tier: &str| names::stage_service(rainbow.spec.name_prefix.as_deref(), tier, &stage.name);
    let own = stage_tier(&rainbow.spec, stage).map(called_after);
    let is_called_after_a_tier = |service: &str| {
        let mut tiers = app.colors.values().flat_map(|color| &color.spec.tiers);
        tiers.any(|tier| called_after(&tier.name) == service)
    };
    let mut made = app.services.iter().filter(|(_, live)| *live.stage == stage.name).map(|(name, _)| &**name);
    let known = made.find(|name| is_called_after_a_tier(name)).map(str::to_owned);
    match own {
        Some(own) if app.services.get(own.as_str()).is_some_and(|live| *live.stage == stage.name) => Some(own),
        own => known.or(own),
    }
}

/// The stages' Services, and their names.
fn stages(
    app: &mut App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    foreign: &Foreign,
) -> (BTreeMap<StageKey, StageService>, BTreeMap<StageKey, String>) {
    let mut stages = BTreeMap::new();
    let mut names = BTreeMap::new();
    for stage in &rainbow.spec.stages {
        let Some(name) = service_name(app, rainbow, stage) else { continue };
        let key = StageKey::of(&stage.name);
        names.insert(key.clone(), name.clone());
        let selects = app.services.get(name.as_str()).filter(|live| *live.stage == stage.name);
        match selects.map(|live| live.selects.clone()) {
            Some(selects) => {
                // What no color has any more cannot be rendered, and stays as it is.
                let tier = app.selected_tier(&stage.name, &selects).cloned();
                let App { services, answers, epoch, .. } = &mut *app;
                let current = services.get_mut(name.as_str()).zip(tier.as_ref()).is_none_or(|(live, tier)| {
                    let desired = || manifests::stage(scope, rainbow, stage, &name, tier);
                    live.content.is_current(&live.meta.uid, *epoch, answers, desired)
                });
                stages.insert(key, StageService::Ours { current, selects });
            }
            None if foreign.contains(&(Kind::Service, name)) => {
                stages.insert(key, StageService::Foreign);
            }
            None => {}
        }
    }
    let services = &app.services;
    let wanted: BTreeSet<String> = names.values().cloned().collect();
    for (name, live) in services.iter().filter(|(name, live)| !live.stage.is_empty() && !wanted.contains(&***name)) {
        let (service, stage) = (name.to_string(), live.stage.to_string());
        let key = StageKey::of(&stage);
        let key = if names.contains_key(&key) { StageKey::Former { stage, service: service.clone() } } else { key };
        names.insert(key.clone(), service);
        stages.insert(key, StageService::Ours { current: true, selects: live.selects.clone() });
    }
    (stages, names)
}

fn pods(app: &App, rainbow: &Rainbow, stage_services: &BTreeMap<StageKey, String>, now: Time) -> Vec<Pod> {
    let counted = counted(app, rainbow);
    let stages: BTreeMap<&str, &StageKey> = stage_services.iter().map(|(stage, service)| (&**service, stage)).collect();
    let stage = |service: &str| stages.get(service).map(|stage| (*stage).clone());
    // Nodes may still send to where the Service of a removed stage pointed.
    let stage_or_gone = |service: Option<&str>| {
        service.and_then(stage).unwrap_or_else(|| StageKey::Gone { service: service.map(str::to_owned) })
    };
    let pod = |name: &str, pod: &live::Pod| Pod {
        connections: match counted.get(&(&*pod.tier, &*pod.color)) {
            Some(true) => app.known.connections(name, now),
            Some(false) | None => Connections::Uncounted,
        },
        mark: pod.said.mark,
        marked: app.marks.since(name),
        name: name.to_owned(),
        instance: instance_name(&pod.tier, &pod.color),
        ready: pod.ready,
        ready_since: pod.ready_since,
        terminating: pod.meta.deleting,
        member: pod.said.member.clone(),
        endpoint: app.endpoints.since(name).filter_map(|(of, since)| Some((stage(of)?, since))).collect(),
        left: app.endpoints.left(name).map(|(of, since)| (stage_or_gone(of), since)).collect(),
    };
    app.pods.iter().filter(|(_, found)| !found.finished).map(|(name, found)| pod(name, found)).collect()
}

/// Whether the connections of an instance's pods are counted, by tier and color of the instance.
fn counted<'a>(app: &'a App, rainbow: &Rainbow) -> BTreeMap<(&'a str, &'a str), bool> {
    let mut counted = BTreeMap::new();
    for color in app.colors.values() {
        for instance in &color.spec.instances {
            if let Some(tier) = color.spec.tiers.iter().find(|tier| tier.name == instance.tier) {
                counted.insert((instance.tier.as_str(), instance.color.as_str()), domain::counted(&rainbow.spec, tier));
            }
        }
    }
    counted
}
