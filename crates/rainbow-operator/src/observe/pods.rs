//! State of pods, and what is known of them.

use rainbow_plan::{Connections, InstanceName, Place, Pod, StageKey, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{cache::App, domain, effective::Effective, live};

/// Returns the pods that have not run to their end, in the order of their names.
pub(super) fn pods(
    app: &App,
    effective: &Effective,
    stage_services: &BTreeMap<StageKey, String>,
    labeled_as: &BTreeMap<String, String>,
    now: Time,
) -> Vec<Pod> {
    let by_label: BTreeMap<&str, &str> = labeled_as.iter().map(|(stage, label)| (&**label, &**stage)).collect();
    let stage_of = |label: &str| by_label.get(label).copied().unwrap_or(label).to_owned();
    let (counted, labeled) = (counted(app, effective), labeled(app));
    let mut instances: Vec<InstancePolicy> = Vec::new();
    let mut pods = Vec::with_capacity(app.pods.len());
    for (name, pod) in app.pods.iter().filter(|(_, pod)| !pod.finished) {
        let known = instances.iter().rposition(|known| known.is_of(pod)).unwrap_or_else(|| {
            let of = (&*pod.tier, &*pod.color);
            let name = pod.instance();
            let is_counted = counted.get(&of).copied().unwrap_or(false);
            instances.push(InstancePolicy { name, is_counted, is_labeled: labeled.contains(&of) });
            instances.len() - 1
        });
        let instance = &instances[known];
        pods.push(Pod {
            connections: if instance.is_counted { app.known.connections(name, now) } else { Connections::Uncounted },
            place: if instance.is_labeled { pod.said.place } else { Place::In },
            mark: pod.said.mark,
            marked: app.marks.marked(name),
            labelled: app.marks.labelled(name),
            name: Arc::clone(name),
            instance: instance.name.clone(),
            controller: pod.controller,
            ready: pod.ready,
            ready_since: pod.ready_since,
            listed: false,
            terminating: pod.meta.deleting,
            member: pod.said.member.iter().map(|(label, joined)| (stage_of(label), *joined)).collect(),
            shadow: BTreeMap::new(),
            endpoint: BTreeMap::new(),
            left: BTreeMap::new(),
        });
    }
    add_endpoints(&mut pods, app, stage_services);
    pods
}

/// Instance with the policy of all its pods.
struct InstancePolicy {
    name: InstanceName,
    is_counted: bool,
    is_labeled: bool,
}

impl InstancePolicy {
    /// Returns whether a pod belongs to the instance. Pods of an application share their texts, so pointers are compared.
    fn is_of(&self, pod: &live::Pod) -> bool {
        let stage = self.name.stage.as_deref().unwrap_or_default();
        Arc::ptr_eq(&self.name.tier, &pod.tier)
            && Arc::ptr_eq(&self.name.color, &pod.color)
            && *stage == *pod.belongs_to
    }
}

/// Adds which Services have the pods as endpoints, and which had them.
fn add_endpoints(pods: &mut [Pod], app: &App, stage_services: &BTreeMap<StageKey, String>) {
    let stages: BTreeMap<&str, &StageKey> = stage_services.iter().map(|(stage, service)| (&**service, stage)).collect();
    for name in app.listed() {
        if let Some(pod) = by_name(pods, name) {
            pod.listed = true;
        }
    }
    for (service, name, since) in app.endpoints.present() {
        if let (Some(stage), Some(pod)) = (stages.get(service), by_name(pods, name)) {
            pod.endpoint.insert((*stage).clone(), since);
        }
    }
    for (service, name, since) in app.endpoints.in_shadows() {
        if let (Some(StageKey::Shadow { stage }), Some(pod)) = (stages.get(service), by_name(pods, name)) {
            pod.shadow.insert(stage.clone(), since);
        }
    }
    for (service, name, since) in app.endpoints.left() {
        if let Some(pod) = by_name(pods, name) {
            // Nodes may still send clients to the former endpoints of a removed stage's Service.
            let gone = || StageKey::Gone { service: Some(service.to_owned()) };
            pod.left.insert(stages.get(service).map_or_else(gone, |stage| (*stage).clone()), since);
        }
    }
    if let Some(since) = app.endpoints.started() {
        for pod in pods {
            pod.left.insert(StageKey::Gone { service: None }, since);
        }
    }
}

/// Returns the pod of a name, among pods in the order of their names.
fn by_name<'a>(pods: &'a mut [Pod], name: &str) -> Option<&'a mut Pod> {
    let place = pods.binary_search_by(|pod| (*pod.name).cmp(name)).ok()?;
    pods.get_mut(place)
}

/// Returns the instances whose pods carry the label that Services ask for, by tier and color.
fn labeled(app: &App) -> BTreeSet<(&str, &str)> {
    let instances = app.colors.values().flat_map(|color| &color.spec.instances);
    let labeled = instances.filter(|instance| instance.serving_label);
    labeled.map(|instance| (instance.tier.as_str(), instance.color.as_str())).collect()
}

/// Returns whether the connections of an instance's pods are counted, by tier and color of the instance.
fn counted<'a>(app: &'a App, effective: &Effective) -> BTreeMap<(&'a str, &'a str), bool> {
    let mut colors: Vec<_> = app.colors.values().collect();
    colors.sort_by_key(|color| effective.rank(color));
    let mut counted = BTreeMap::new();
    for color in colors {
        let evidence = domain::evidence(&effective.rainbow.spec, effective.describes(color), color);
        for instance in &color.spec.instances {
            if let Some(tier) = color.spec.tiers.iter().find(|tier| tier.name == instance.tier) {
                counted.insert((instance.tier.as_str(), instance.color.as_str()), domain::counted(&evidence, tier));
            }
        }
    }
    counted
}
