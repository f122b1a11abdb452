//! Manifest of an instance's Deployment.

use rainbow_api::{Color, Compatible, Need, Rainbow, Tier, bound_tiers, labels, names, read_copies};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::{Scope, defaults, instance_labels, managed, owner, serving_labels, sidecar};
use crate::{domain::object_name, kind::Kind};

/// Number of old ReplicaSets that are kept. An instance's template never changes, so there is nothing to roll back to.
const REVISION_HISTORY: i32 = 1;

/// Returns the Deployment of a tier as `color` has it.
pub(crate) fn deployment(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    color: &Color,
    tier: &Tier,
    instance: &InstanceName,
    replicas: u32,
) -> Value {
    let selector = instance_labels(scope, instance);
    let known = color.spec.instances.iter().find(|i| i.tier == tier.name);
    let identity = known.map(|i| i.identity.as_str()).unwrap_or_default();
    // The selector does not have the serving label: a pod that loses the label stays in its ReplicaSet.
    let labeled = known.is_some_and(|i| i.serving_label);
    let labels = serving_labels(scope, instance, labeled);
    let mut deployment = json!({
        "apiVersion": Kind::Deployment.api_version(),
        "kind": Kind::Deployment.name(),
        "metadata": {
            "name": object_name(scope.prefix, instance),
            "namespace": scope.namespace,
            "labels": managed(selector.clone()),
            "annotations": { labels::IDENTITY: identity },
            "ownerReferences": owner(scope, rainbow),
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": REVISION_HISTORY,
            "progressDeadlineSeconds": rainbow.spec.progress_deadline(),
            // If a template ever has to be repaired, the rollout keeps all pods that serve.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": "25%" } },
            "selector": { "matchLabels": selector },
            "template": template(scope, color, tier, instance, labels),
        },
    });
    let min_ready = tier.min_ready_seconds.unwrap_or(0);
    if min_ready > 0 {
        deployment["spec"]["minReadySeconds"] = json!(min_ready);
    }
    deployment
}

/// Returns the name of the Service through which an instance reaches a tier that it needs.
fn address(
    scope: &Scope<'_>,
    color: &Color,
    instance: &InstanceName,
    need: &Need,
    bound: &BTreeSet<&str>,
) -> Option<String> {
    let stage = instance.stage.as_deref();
    let needed = color.spec.instances.iter().find(|known| known.tier == need.tier)?;
    let shared = InstanceName::shared(needed.tier.as_str(), needed.color.as_str());
    Some(match (need.compatible, stage) {
        (Compatible::Backward, Some(stage)) => names::stage_service(scope.prefix, &need.tier, stage),
        (Compatible::Same, Some(stage)) if bound.contains(need.tier.as_str()) => {
            object_name(scope.prefix, &shared.of_stage(stage))
        }
        (Compatible::Same | Compatible::Backward, _) => object_name(scope.prefix, &shared),
    })
}

/// Returns the user's template with the color's copies of configuration, Rainbow's labels, the addresses of the needed instances, the
/// defaults, and the counter that the instance was made with.
fn template(
    scope: &Scope<'_>,
    color: &Color,
    tier: &Tier,
    instance: &InstanceName,
    labels: serde_json::Map<String, Value>,
) -> Value {
    let mut template = scope.templates.template(tier);
    read_copies(&mut template, &color.spec.config);
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    if !template["metadata"]["labels"].is_object() {
        template["metadata"]["labels"] = json!({});
    }
    for (key, value) in labels {
        template["metadata"]["labels"][key] = value;
    }
    let bound = bound_tiers(&color.spec.tiers);
    let variables: Vec<Value> = tier
        .needs
        .iter()
        .filter_map(|need| {
            let name = need.env.clone().unwrap_or_else(|| names::default_env(&need.tier));
            let host = address(scope, color, instance, need, &bound)?;
            let callee = color.spec.tiers.iter().find(|other| other.name == need.tier);
            let value = match callee.and_then(|callee| callee.needed_port(need)) {
                Some(port) => format!("{host}:{}", port.port),
                None => host,
            };
            Some(json!({ "name": name, "value": value }))
        })
        .collect();
    for list in ["containers", "initContainers"] {
        let containers = template["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter(|_| !variables.is_empty()) {
            let own = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
            // The addresses come before the container's own variables, so that those can refer to them as $(NAME).
            container["env"] = variables.iter().cloned().chain(own).collect();
        }
    }
    let known = color.spec.instances.iter().find(|instance| instance.tier == tier.name);
    if let Some(instance) = known {
        defaults::fill(&mut template, instance);
    }
    if let Some(sidecar) = known.and_then(|instance| instance.sidecar.as_ref()) {
        let written = sidecar.container.as_ref().and_then(|container| scope.templates.container(container));
        sidecar::inject(&mut template, tier, sidecar, written);
    }
    template
}
