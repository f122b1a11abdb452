//! Immutable fields.

use serde_json::Value;

use super::{Errors, limits::resource_quota_change};
use crate::{
    FieldError,
    json::{list, text, truth},
};

pub(super) fn check(group: &str, kind: &str, old: &Value, new: &Value, errors: &mut Errors) {
    match (group, kind) {
        ("", "Pod") => pod(old, new, errors),
        ("", "Service") => service(old, new, errors),
        ("", "ConfigMap" | "Secret") => config(kind, old, new, errors),
        ("", "ResourceQuota") => resource_quota_change(old, new, errors),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => errors.immutable("spec.selector", old, new),
        ("apps", "StatefulSet") => stateful_set(old, new, errors),
        ("batch", "Job") => job(old, new, errors),
        ("discovery.k8s.io", "EndpointSlice") => errors.immutable("addressType", old, new),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if old.get("roleRef") != new.get("roleRef") =>
        {
            errors.invalid("roleRef", new.get("roleRef").unwrap_or(&Value::Null), "cannot change roleRef");
        }
        ("scheduling.k8s.io", "PriorityClass") if old.get("value") != new.get("value") => {
            errors.add(FieldError::forbidden("value", "may not be changed in an update."));
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                if old.get(field) != new.get(field) {
                    errors.add(FieldError::forbidden(field, format!("updates to {field} are forbidden.")));
                }
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            for field in ["spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"] {
                errors.immutable(field, old, new);
            }
        }
        _ => {}
    }
}

const POD_TEXT: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn pod(old: &Value, new: &Value, errors: &mut Errors) {
    let null = Value::Null;
    let (before, after) = (old.get("spec").unwrap_or(&null), new.get("spec").unwrap_or(&null));
    for field in ["containers", "initContainers"] {
        let pointer = format!("/{field}");
        if list(before, &pointer).len() != list(after, &pointer).len() {
            errors.add(FieldError::forbidden(format!("spec.{field}"), "pod updates may not add or remove containers"));
            return;
        }
    }
    let tolerations = list(after, "/tolerations");
    if !list(before, "/tolerations").iter().all(|toleration| tolerations.contains(toleration)) {
        errors.add(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = list(before, "/schedulingGates");
    for (index, gate) in list(after, "/schedulingGates").iter().enumerate() {
        if !gates.contains(gate) {
            let name = text(gate, "/name");
            errors.add(FieldError::forbidden(
                format!("spec.schedulingGates[{index}].name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            ));
        }
    }
    match (before.get("activeDeadlineSeconds").and_then(Value::as_i64), after.get("activeDeadlineSeconds")) {
        (Some(limit), Some(value)) if value.as_i64().is_some_and(|value| value > limit) => {
            errors.invalid(
                "spec.activeDeadlineSeconds",
                value,
                format!("must be less than or equal to previous value {limit}"),
            );
        }
        (Some(_), None) => {
            errors.invalid("spec.activeDeadlineSeconds", &null, "must not update from a positive integer to nil value");
        }
        _ => {}
    }
    // Once the mutable fields are made alike, nothing else may differ. The scheduler sets the node, through a binding.
    let mut alike = after.clone();
    if let Some(alike) = alike.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "ephemeralContainers", "schedulingGates"] {
            match before.get(field) {
                Some(value) => alike.insert(field.to_owned(), value.clone()),
                None => alike.remove(field),
            };
        }
        if text(before, "/nodeName").is_empty()
            && let Some(name) = before.get("nodeName")
        {
            alike.insert("nodeName".to_owned(), name.clone());
        } else if before.get("nodeName").is_none() {
            alike.remove("nodeName");
        }
    }
    for field in ["containers", "initContainers"] {
        let images: Vec<Option<Value>> =
            list(before, &format!("/{field}")).iter().map(|container| container.get("image").cloned()).collect();
        let containers = alike.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, image) in containers.zip(images) {
            if let (Some(container), Some(image)) = (container.as_object_mut(), image) {
                container.insert("image".to_owned(), image);
            }
        }
    }
    if &alike != before {
        errors.add(FieldError::forbidden("spec", POD_TEXT));
    }
}

fn service(old: &Value, new: &Value, errors: &mut Errors) {
    let address = |service: &Value| text(service, "/spec/clusterIP").to_owned();
    let external = |service: &Value| text(service, "/spec/type") == "ExternalName";
    if !address(old).is_empty() && !address(new).is_empty() && address(old) != address(new) && !external(new) {
        errors.invalid("spec.clusterIPs[0]", &Value::from(address(new)), "may not change once set");
    }
    let null = Value::Null;
    let class = |service: &Value| service.pointer("/spec/loadBalancerClass").cloned().unwrap_or_default();
    let is_balancer = |service: &Value| text(service, "/spec/type") == "LoadBalancer";
    if is_balancer(old) && is_balancer(new) && class(old) != class(new) {
        errors.invalid("spec.loadBalancerClass", &class(new), "may not change once set");
    }
    let main = |service: &Value| list(service, "/spec/ipFamilies").first().cloned().unwrap_or_default();
    if main(old) != null && main(new) != null && main(old) != main(new) {
        errors.invalid("spec.ipFamilies[0]", &main(new), "may not change once set");
    }
}

fn config(kind: &str, old: &Value, new: &Value, errors: &mut Errors) {
    if kind == "Secret" && old.get("type") != new.get("type") {
        errors.invalid("type", new.get("type").unwrap_or(&Value::Null), "field is immutable");
    }
    if !truth(old, "/immutable") {
        return;
    }
    if !truth(new, "/immutable") {
        errors.add(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in ["data", "binaryData"] {
        if old.get(field) != new.get(field) {
            errors.add(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

fn stateful_set(old: &Value, new: &Value, errors: &mut Errors) {
    const MAY: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        MAY.iter().for_each(|field| drop(spec.remove(*field)));
        spec
    };
    if fixed(old) != fixed(new) {
        errors.add(FieldError::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

fn job(old: &Value, new: &Value, errors: &mut Errors) {
    errors.immutable("spec.selector", old, new);
    errors.immutable("spec.completionMode", old, new);
    if text(new, "/spec/completionMode") != "Indexed" {
        errors.immutable("spec.completions", old, new);
    }
    // A Job that is suspended and has not started may still be moved to other nodes.
    let waits = truth(old, "/spec/suspend") && old.pointer("/status/startTime").is_none();
    if !waits {
        errors.immutable("spec.template", old, new);
    }
}
