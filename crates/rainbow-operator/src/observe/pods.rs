//! Pods, and what is known of them.

use rainbow_plan::{Connections, Place, Pod, StageKey, Time};
use std::collections::{BTreeMap, BTreeSet};

use super::instances::instance_name;
use crate::{cache::App, domain, effective::Effective, live};

/// The pods that have not run to their end.
pub(super) fn pods(
    app: &App,
    effective: &Effective,
    stage_services: &BTreeMap<StageKey, String>,
    labeled_as: &BTreeMap<String, String>,
    now: Time,
) -> Vec<Pod> {
    let by_label: BTreeMap<&str, &str> = labeled_as.iter().map(|(stage, label)| (&**label, &**stage)).collect();
    let stage_of = |label: &str| by_label.get(label).copied().unwrap_or(label).to_owned();
    let counted = counted(app, effective);
    let listed = app.listed();
    let labeled = labeled(app);
    let stages: BTreeMap<&str, &StageKey> = stage_services.iter().map(|(stage, service)| (&**service, stage)).collect();
    let stage = |service: &str| stages.get(service).map(|stage| (*stage).clone());
    // The stage whose shadow Service has this name.
    let shadowed = |service: &str| match stages.get(service)? {
        StageKey::Shadow { stage } => Some(stage.clone()),
        StageKey::Stage(_) | StageKey::Former { .. } | StageKey::Gone { .. } => None,
    };
    // Nodes may still send to where the Service of a removed stage pointed.
    let stage_or_gone = |service: Option<&str>| {
        service.and_then(stage).unwrap_or_else(|| StageKey::Gone { service: service.map(str::to_owned) })
    };
    let pod = |name: &str, pod: &live::Pod| Pod {
        connections: match counted.get(&(&*pod.tier, &*pod.color)) {
            Some(true) => app.known.connections(name, now),
            Some(false) | None => Connections::Uncounted,
        },
        place: if labeled.contains(&(&*pod.tier, &*pod.color)) { pod.said.place } else { Place::In },
        mark: pod.said.mark,
        marked: app.marks.marked(name),
        labelled: app.marks.labelled(name),
        name: name.to_owned(),
        instance: instance_name(&pod.tier, &pod.color),
        controller: pod.controller,
        ready: pod.ready,
        ready_since: pod.ready_since,
        listed: listed.contains(name),
        terminating: pod.meta.deleting,
        member: pod.said.member.iter().map(|(label, joined)| (stage_of(label), *joined)).collect(),
        shadow: app.endpoints.in_shadow_since(name).filter_map(|(of, since)| Some((shadowed(of)?, since))).collect(),
        endpoint: app.endpoints.since(name).filter_map(|(of, since)| Some((stage(of)?, since))).collect(),
        left: app.endpoints.left(name).map(|(of, since)| (stage_or_gone(of), since)).collect(),
    };
    let mut pods = Vec::with_capacity(app.pods.len());
    pods.extend(app.pods.iter().filter(|(_, found)| !found.finished).map(|(name, found)| pod(name, found)));
    pods
}

/// The instances whose pods carry the label that Services ask for, by tier and color.
fn labeled(app: &App) -> BTreeSet<(&str, &str)> {
    let instances = app.colors.values().flat_map(|color| &color.spec.instances);
    let labeled = instances.filter(|instance| instance.serving_label);
    labeled.map(|instance| (instance.tier.as_str(), instance.color.as_str())).collect()
}

/// Whether the connections of an instance's pods are counted, by tier and color of the instance.
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
