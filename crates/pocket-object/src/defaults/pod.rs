//! Defaults of pods and pod templates.

use serde_json::{Value, json};

use super::image_pull_policy;
use crate::json::{Object, child, child_or_new, default, each, text};

/// Fills in a pod, including the fields that admission adds in a usual cluster.
pub(super) fn pod(pod: &mut Object) {
    let Some(spec) = child_or_new(pod, "spec") else { return };
    default(spec, "enableServiceLinks", true);
    if text_of(spec, "serviceAccountName").is_empty() {
        let name =
            Some(text_of(spec, "serviceAccount")).filter(|name| !name.is_empty()).unwrap_or("default").to_owned();
        spec.insert("serviceAccountName".to_owned(), name.into());
    }
    pod_spec(spec);
    for list in ["containers", "initContainers"] {
        each(spec, list).for_each(requests_from_limits);
    }
    default(spec, "priority", 0);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    tolerate(spec, "node.kubernetes.io/not-ready");
    tolerate(spec, "node.kubernetes.io/unreachable");
}

/// Fills in the pod template in a workload's spec.
pub(super) fn template(spec: &mut Object) {
    if let Some(template) = child(spec, "template")
        && let Some(spec) = child_or_new(template, "spec")
    {
        pod_spec(spec);
    }
}

fn text_of<'a>(object: &'a Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn pod_spec(spec: &mut Object) {
    default(spec, "restartPolicy", "Always");
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "securityContext", Object::new());
    default(spec, "schedulerName", "default-scheduler");
    // `serviceAccount` is the older name of the same field.
    let account = text_of(spec, "serviceAccountName").to_owned();
    if !account.is_empty() {
        spec.insert("serviceAccount".to_owned(), account.into());
    }
    let on_host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list).for_each(|one| container(one, on_host));
    }
    each(spec, "volumes").for_each(volume);
}

fn container(container: &mut Object, on_host: bool) {
    let policy = image_pull_policy(text_of(container, "image"));
    default(container, "imagePullPolicy", policy);
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", Object::new());
    for port in each(container, "ports") {
        default(port, "protocol", "TCP");
        if on_host && let Some(number) = port.get("containerPort").cloned() {
            default(port, "hostPort", number);
        }
    }
    for variable in each(container, "env") {
        if let Some(reference) = child(variable, "valueFrom").and_then(|from| child(from, "fieldRef")) {
            default(reference, "apiVersion", "v1");
        }
    }
    for name in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let Some(probe) = child(container, name) else { continue };
        default(probe, "timeoutSeconds", 1);
        default(probe, "periodSeconds", 10);
        default(probe, "successThreshold", 1);
        default(probe, "failureThreshold", 3);
        handler(probe);
        if let Some(grpc) = child(probe, "grpc") {
            default(grpc, "service", "");
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            child(lifecycle, name).into_iter().for_each(handler);
        }
    }
}

fn handler(handler: &mut Object) {
    if let Some(http) = child(handler, "httpGet") {
        default(http, "path", "/");
        default(http, "scheme", "HTTP");
    }
}

fn requests_from_limits(container: &mut Object) {
    let Some(resources) = child(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if let Some(requests) = child_or_new(resources, "requests") {
        for (name, amount) in limits {
            default(requests, &name, amount);
        }
    }
}

fn volume(volume: &mut Object) {
    const MODE: i32 = 0o644;
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child(volume, name) {
            default(source, "defaultMode", MODE);
        }
    }
    child(volume, "downwardAPI").into_iter().for_each(downward);
    if let Some(projected) = child(volume, "projected") {
        for source in each(projected, "sources") {
            child(source, "downwardAPI").into_iter().for_each(downward);
            if let Some(token) = child(source, "serviceAccountToken") {
                default(token, "expirationSeconds", 3600);
            }
        }
    }
    if let Some(path) = child(volume, "hostPath") {
        default(path, "type", "");
    }
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
}

fn downward(source: &mut Object) {
    for item in each(source, "items") {
        if let Some(reference) = child(item, "fieldRef") {
            default(reference, "apiVersion", "v1");
        }
    }
}

/// Adds a toleration for a taint of a node in trouble, if the pod has no toleration for it.
fn tolerate(spec: &mut Object, taint: &str) {
    default(spec, "tolerations", json!([]));
    let Some(Value::Array(tolerations)) = spec.get_mut("tolerations") else { return };
    let speaks_of_it = |toleration: &Value| {
        let (key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
        (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
    };
    if !tolerations.iter().any(speaks_of_it) {
        tolerations
            .push(json!({ "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }));
    }
}
