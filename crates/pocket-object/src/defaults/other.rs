//! Defaults of kinds that make no pods.

use serde_json::{Value, json};

use super::encode_string_data;
use crate::json::{Object, child, child_or_new, default, each};

pub(super) fn service(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    default(spec, "sessionAffinity", "None");
    if spec.get("sessionAffinity").is_some_and(|affinity| affinity == "ClientIP") {
        if let Some(client) =
            child_or_new(spec, "sessionAffinityConfig").and_then(|config| child_or_new(config, "clientIP"))
        {
            default(client, "timeoutSeconds", 10_800);
        }
    } else if spec.get("sessionAffinity").is_some_and(|affinity| affinity == "None") {
        spec.remove("sessionAffinityConfig");
    }
    default(spec, "type", "ClusterIP");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for port in each(spec, "ports") {
        default(port, "protocol", "TCP");
        let unset = port.get("targetPort").is_none_or(|target| *target == json!(0) || *target == json!(""));
        if unset && let Some(number) = port.get("port").cloned() {
            port.insert("targetPort".to_owned(), number);
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

pub(super) fn secret(object: &mut Object) {
    default(object, "type", "Opaque");
    let mut secret = Value::Object(std::mem::take(object));
    encode_string_data(&mut secret);
    if let Value::Object(secret) = secret {
        *object = secret;
    }
}

/// Fills in a limit range: a maximum is also the default limit; a default limit or a minimum is also the default request.
pub(super) fn limit_range(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    let containers = |item: &&mut Object| item.get("type").is_some_and(|kind| kind == "Container");
    for item in each(spec, "limits").filter(containers) {
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let amounts = child(item, from).cloned().unwrap_or_default();
            if let Some(to) = child_or_new(item, to) {
                amounts.into_iter().for_each(|(name, amount)| default(to, &name, amount));
            }
        }
    }
}

pub(super) fn namespace(object: &mut Object) {
    if let Some(metadata) = child_or_new(object, "metadata")
        && let Some(name) = metadata.get("name").filter(|name| name.is_string()).cloned()
        && let Some(labels) = child_or_new(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
    if let Some(status) = child_or_new(object, "status") {
        default(status, "phase", "Active");
    }
}

pub(super) fn endpoints(object: &mut Object) {
    for subset in each(object, "subsets") {
        each(subset, "ports").for_each(|port| default(port, "protocol", "TCP"));
    }
}

pub(super) fn endpoint_slice(object: &mut Object) {
    for port in each(object, "ports") {
        default(port, "name", "");
        default(port, "protocol", "TCP");
    }
}

pub(super) fn claim(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        default(spec, "volumeMode", "Filesystem");
    }
}

pub(super) fn volume(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        default(spec, "volumeMode", "Filesystem");
        default(spec, "persistentVolumeReclaimPolicy", "Retain");
    }
}

pub(super) fn autoscaler(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    default(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let cpu = json!([{ "type": "Resource",
            "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }]);
        spec.insert("metrics".to_owned(), cpu);
    }
}

pub(super) fn network_policy(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let has_egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
        let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
    for list in ["ingress", "egress"] {
        for rule in each(spec, list) {
            each(rule, "ports").for_each(|port| default(port, "protocol", "TCP"));
        }
    }
}

pub(super) fn role_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = child(object, "roleRef") {
        default(role, "apiGroup", GROUP);
    }
    for subject in each(object, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            default(subject, "apiGroup", GROUP);
        }
    }
}

pub(super) fn priority_class(object: &mut Object) {
    default(object, "preemptionPolicy", "PreemptLowerPriority");
}

pub(super) fn storage_class(object: &mut Object) {
    default(object, "reclaimPolicy", "Delete");
    default(object, "volumeBindingMode", "Immediate");
}

pub(super) fn custom_resource_definition(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    if let Some(names) = child(spec, "names")
        && let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned)
    {
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
    }
    if let Some(conversion) = child_or_new(spec, "conversion") {
        default(conversion, "strategy", "None");
    }
}
