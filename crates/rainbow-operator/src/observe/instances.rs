//! State of instances: their Deployments and Services.

use rainbow_api::{Color, RainbowSpec, Tier};
use rainbow_plan::{Controller, Deployment, Instance, InstanceName, Presence, Scaler, Selection};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Foreign;
use crate::{
    cache::App,
    domain,
    effective::Effective,
    kind::Kind,
    live,
    manifests::{self, Scope},
};

/// Returns every instance that a color names or that exists, with its number of pods.
pub(super) fn instance_names(app: &App, spec: &RainbowSpec) -> Vec<(InstanceName, u32)> {
    let stages: Vec<&str> = domain::user_stages(spec).collect();
    let named = app.colors.values().flat_map(|color| domain::instances(&color.spec, stages.iter().copied()));
    // The Service may be all that is left of an instance.
    let services = app.services.values().filter(|service| service.stage.is_empty()).map(|found| found.instance());
    let deployments = app.deployments.values().map(|found| found.instance());
    // Pods may run without a Deployment.
    let is_alone = |pod: &&live::Pod| pod.controller != Controller::ReplicaSet && !pod.finished;
    let pods = app.pods.values().map(AsRef::as_ref).filter(is_alone).map(live::Pod::instance);
    let names: BTreeSet<InstanceName> = named
        .chain(pods)
        .chain(deployments)
        .chain(services)
        .filter(|name| !name.tier.is_empty() && !name.color.is_empty())
        .collect();
    let existing = existing(app);
    let pods = |name: &InstanceName| existing.get(name).copied().unwrap_or(0);
    names.into_iter().map(|name| (pods(&name), name)).map(|(pods, name)| (name, pods)).collect()
}

/// Returns the number of existing pods of each instance. The status of a Deployment does not count terminating pods, and may lag behind the
/// pods themselves.
fn existing(app: &App) -> BTreeMap<InstanceName, u32> {
    let mut existing = BTreeMap::new();
    for pod in app.pods.values().filter(|pod| !pod.finished) {
        *existing.entry(pod.instance()).or_default() += 1;
    }
    existing
}

/// Returns the state of an instance without its autoscaler. `existing` is the number of its pods, `object` the name of its objects.
pub(super) fn instance(
    app: &mut App,
    scope: &Scope<'_>,
    effective: &Effective,
    (name, object): (&InstanceName, &str),
    existing: u32,
    foreign: &Foreign,
) -> Instance {
    let Effective { rainbow, claims, .. } = effective;
    let color = app.source(name).map(|(color, _)| Arc::clone(color));
    let ports = color.as_ref().and_then(|color| app.ports(color, &name.tier));
    let labeled = app.is_labeled(name);
    let source = color.as_ref().and_then(|color| Some((color, tier(color, &name.tier)?)));
    let App { deployments, services, answers, epoch, .. } = app;
    let found = deployments.get_mut(object);
    let found = found.filter(|found| found.instance() == *name);
    let ours = |found: &&mut Box<live::Service>| {
        !found.says_what_for() || (found.instance() == *name && found.stage.is_empty())
    };
    let mut identity = source
        .and_then(|(color, _)| Some(color.spec.instances.iter().find(|i| i.tier == *name.tier)?.identity.clone()));
    // An object of ours with another purpose is not this instance's either.
    let is_taken = |kind| foreign.contains(&(kind, object.to_owned())) || claims.other(kind, object, name).is_some();
    let deployment = match found {
        None if is_taken(Kind::Deployment) => Deployment::Foreign,
        None => Deployment::Absent,
        Some(live) if live.meta.deleting => Deployment::Deleting,
        Some(live) => {
            let live::Deployment { meta, content, replicas, .. } = &mut **live;
            let current = source.is_none_or(|(color, tier)| {
                let desired = || manifests::deployment(scope, rainbow, color, tier, name, *replicas);
                content.is_current(&meta.uid, *epoch, answers, desired)
            });
            identity = identity.or_else(|| Some(live.identity.to_string()));
            Deployment::Ours {
                current,
                replicas: live.replicas,
                observed: live.observed,
                pods: live.pods.max(existing),
            }
        }
    };
    // A Service that no color names any more is looked for, so that it can be deleted.
    let needed = source.is_none_or(|(color, _)| {
        let is_called = color.spec.tiers.iter().any(|tier| tier.needs.iter().any(|need| need.tier == *name.tier));
        is_called || tier(color, &name.tier).is_some_and(|tier| !tier.ports.is_empty())
    });
    let service = match (source, services.get_mut(object).filter(ours)) {
        _ if !needed => Presence::NotNeeded,
        (_, None) if is_taken(Kind::Service) => Presence::Foreign,
        (_, None) => Presence::Absent,
        (Some((_, tier)), Some(live)) => {
            let live = &mut **live;
            let desired = || {
                let mut desired = manifests::service(scope, rainbow, tier, name, labeled);
                live.fixed.keep_added_family(&mut desired);
                desired
            };
            let selects = matches!(&live.selects, Selection::Instance(selected) if selected == name);
            let selects = selects && live.asks == labeled;
            if selects && live.content.is_current(&live.meta.uid, *epoch, answers, desired) {
                Presence::Current
            } else {
                Presence::Outdated
            }
        }
        (None, Some(_)) => Presence::Current,
    };
    let scaler = Scaler::Absent;
    Instance { identity: identity.unwrap_or_default(), deployment, service, ports, scaler, labeled }
}

fn tier<'a>(color: &'a Color, name: &str) -> Option<&'a Tier> {
    color.spec.tiers.iter().find(|tier| tier.name == name)
}
