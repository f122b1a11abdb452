//! The world as the planner sees it, from what the watches have said.

use rainbow_api::{Rainbow, names};
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
    drift,
    kind::Kind,
    live,
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
    rainbow: &Rainbow,
    foreign: &Foreign,
    means: &Means,
    now: Time,
) -> Observed {
    let mut instances = BTreeMap::new();
    for name in instance_names(app) {
        let instance = instance(app, scope, rainbow, &name, foreign);
        instances.insert(name, instance);
    }
    let (stages, stage_services) = stages(app, scope, rainbow, foreign);
    let pods = pods(app, rainbow, &stage_services, now);
    let guard = guard(app, scope, rainbow, foreign);
    let world = World {
        spec: domain::spec(rainbow, means),
        memory: domain::memory(rainbow),
        colors: app.colors.values().map(|color| domain::color(&rainbow.spec, color)).collect(),
        instances,
        stages,
        pods,
        guard,
    };
    Observed { world, stage_services }
}

/// Every instance that a color names or that exists.
fn instance_names(app: &App) -> BTreeSet<InstanceName> {
    let named = app.colors.values().flat_map(|color| &color.spec.instances).map(|i| (&i.tier, &i.color));
    // A Service may be all that is left of an instance.
    let services = app.services.values().filter(|service| service.stage.is_empty());
    let services = services.map(|found| (&found.tier, &found.color));
    let deployments = app.deployments.values().map(|found| (&found.tier, &found.color));
    named
        .chain(deployments)
        .chain(services)
        .filter(|(tier, color)| !tier.is_empty() && !color.is_empty())
        .map(|(tier, color)| InstanceName { tier: tier.clone(), color: color.clone() })
        .collect()
}

fn instance(app: &mut App, scope: &Scope<'_>, rainbow: &Rainbow, name: &InstanceName, foreign: &Foreign) -> Instance {
    let object = names::instance(scope.prefix, &name.tier, &name.color);
    let source = app.source(name).map(|(color, tier)| (Arc::clone(color), tier.clone()));
    let App { deployments, services, pods, settled, .. } = app;
    let found = deployments.get(&object).filter(|found| found.tier == name.tier && found.color == name.color);
    let ours = |found: &&live::Service| found.tier == name.tier && found.color == name.color && found.stage.is_empty();
    let deployment = match found {
        None if foreign.contains(&(Kind::Deployment, object.clone())) => Deployment::Foreign,
        None => Deployment::Absent,
        Some(live) => {
            let current = source.as_ref().is_none_or(|(color, tier)| {
                let desired = || manifests::deployment(scope, rainbow, color, tier, name, live.replicas);
                settled.is_current(&live.meta.uid, &live.content, &drift::hash(&desired()), desired)
            });
            // The status does not count terminating pods, and may lag behind the pods themselves.
            let existing =
                pods.values().filter(|pod| pod.tier == name.tier && pod.color == name.color && !pod.finished);
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
    let needed = source.as_ref().is_none_or(|(color, _)| {
        color.spec.tiers.iter().any(|tier| tier.needs.iter().any(|need| need.tier == name.tier))
    });
    let service = match (&source, services.get(&object).filter(ours)) {
        _ if !needed => Presence::NotNeeded,
        (_, None) if foreign.contains(&(Kind::Service, object)) => Presence::Foreign,
        (_, None) => Presence::Absent,
        (Some((_, tier)), Some(live)) => {
            let desired = || manifests::service(scope, rainbow, tier, name);
            let selects = manifests::selection(scope.rainbow, "", &live.selector) == Selection::Instance(name.clone());
            if selects && settled.is_current(&live.meta.uid, &live.content, &drift::hash(&desired()), desired) {
                Presence::Current
            } else {
                Presence::Outdated
            }
        }
        (None, Some(_)) => Presence::Current,
    };
    let identity = source
        .and_then(|(color, _)| Some(color.spec.instances.iter().find(|i| i.tier == name.tier)?.identity.clone()))
        .or_else(|| found.map(|live| live.identity.clone()));
    Instance { identity: identity.unwrap_or_default(), deployment, service }
}

/// The PodDisruptionBudget of the pods that hold connections.
fn guard(app: &mut App, scope: &Scope<'_>, rainbow: &Rainbow, foreign: &Foreign) -> Presence {
    let name = names::guard(scope.rainbow);
    let App { budgets, settled, .. } = app;
    match budgets.get(&name) {
        None if foreign.contains(&(Kind::PodDisruptionBudget, name)) => Presence::Foreign,
        None => Presence::Absent,
        Some(live) => {
            let desired = || manifests::guard(scope, rainbow);
            let current = settled.is_current(&live.meta.uid, &live.content, &drift::hash(&desired()), desired);
            if current { Presence::Current } else { Presence::Outdated }
        }
    }
}

/// The stages' Services, and their names.
fn stages(
    app: &mut App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    foreign: &Foreign,
) -> (BTreeMap<StageKey, StageService>, BTreeMap<StageKey, String>) {
    let App { services, settled, .. } = app;
    let mut stages = BTreeMap::new();
    let mut names = BTreeMap::new();
    for stage in &rainbow.spec.stages {
        let Some(desired) = manifests::stage(scope, rainbow, stage) else { continue };
        let Some(name) = domain::stage_service(&rainbow.spec, stage) else { continue };
        let key = StageKey::of(&stage.name);
        names.insert(key.clone(), name.clone());
        match services.get(&name).filter(|live| live.stage == stage.name) {
            Some(live) => {
                let current =
                    settled.is_current(&live.meta.uid, &live.content, &drift::hash(&desired), || desired.clone());
                let selects = manifests::selection(scope.rainbow, &stage.name, &live.selector);
                stages.insert(key, StageService::Ours { current, selects });
            }
            None if foreign.contains(&(Kind::Service, name)) => {
                stages.insert(key, StageService::Foreign);
            }
            None => {}
        }
    }
    let wanted: BTreeSet<String> = names.values().cloned().collect();
    for (name, live) in services.iter().filter(|(name, live)| !live.stage.is_empty() && !wanted.contains(*name)) {
        let selects = manifests::selection(scope.rainbow, &live.stage, &live.selector);
        let key = if names.contains_key(&StageKey::of(&live.stage)) {
            StageKey::Former { stage: live.stage.clone(), service: name.clone() }
        } else {
            StageKey::of(&live.stage)
        };
        names.insert(key.clone(), name.clone());
        stages.insert(key, StageService::Ours { current: true, selects });
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
    let pod = |pod: &live::Pod| Pod {
        connections: match counted.get(&(pod.tier.as_str(), pod.color.as_str())) {
            Some(true) => app.known.connections(&pod.meta.name, now),
            Some(false) | None => Connections::Uncounted,
        },
        mark: pod.said.mark,
        marked: app.marks.since(&pod.meta.name),
        name: pod.meta.name.clone(),
        instance: InstanceName { tier: pod.tier.clone(), color: pod.color.clone() },
        ready: pod.ready,
        ready_since: pod.ready_since,
        terminating: pod.meta.deleting,
        member: pod.said.member.clone(),
        endpoint: app.endpoints.since(&pod.meta.name).filter_map(|(of, since)| Some((stage(of)?, since))).collect(),
        left: app.endpoints.left(&pod.meta.name).map(|(of, since)| (stage_or_gone(of), since)).collect(),
    };
    app.pods.values().filter(|pod| !pod.finished).map(pod).collect()
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
