//! `PodSecurity`: the Pod Security Standards, by the labels of the namespace.

use std::collections::{BTreeMap, BTreeSet};

use pocket_object::pod_security::{Level, LevelVersion, Policy, detail, evaluate, policy, reasons};
use serde_json::Value;

use super::{Plugin, Request, objects_in};
use crate::{status::Status, store::key};

pub(super) struct PodSecurity;

impl Plugin for PodSecurity {
    fn validate(&self, request: &mut Request<'_>, new: &Value) -> Result<(), Status> {
        if request.is("", "namespaces") {
            return namespace(request, new);
        }
        if request.is("", "pods") {
            return pod(request, new);
        }
        if let Some(template) = template(request, new) {
            warn(request, namespace_policy(request).warn, template);
        }
        Ok(())
    }
}

/// Returns the pod template of a kind that makes pods.
fn template<'a>(request: &Request<'_>, new: &'a Value) -> Option<&'a Value> {
    if request.resource.custom.is_some() {
        return None;
    }
    match (request.resource.group.as_ref(), request.resource.plural.as_ref()) {
        ("", "podtemplates") => new.get("template"),
        ("batch", "cronjobs") => new.pointer("/spec/jobTemplate/spec/template"),
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => new.pointer("/spec/template"),
        _ => None,
    }
}

fn namespace_policy(request: &Request<'_>) -> Policy {
    let registry = request.api.registry();
    let found = registry
        .built_in("", "namespaces")
        .and_then(|namespaces| request.api.store().get(&namespaces.storage, &key("", request.namespace)));
    policy(found.as_ref().map_or(&Value::Null, |namespace| &namespace.labels)).0
}

fn pod(request: &Request<'_>, new: &Value) -> Result<(), Status> {
    let policy = namespace_policy(request);
    if policy.enforce.level == Level::Privileged && policy.warn.level == Level::Privileged {
        return Ok(());
    }
    if request.old.is_some_and(|old| changeable(old) == changeable(new)) {
        return Ok(());
    }
    let violations = evaluate(policy.enforce, new);
    if !violations.is_empty() {
        return Err(request.forbidden(&format!(
            "violates PodSecurity \"{}\": {}",
            policy.enforce,
            detail(&violations)
        )));
    }
    warn(request, policy.warn, new);
    Ok(())
}

fn warn(request: &Request<'_>, at: LevelVersion, pod: &Value) {
    let violations = evaluate(at, pod);
    if !violations.is_empty() {
        request.write.warn(format!("would violate PodSecurity \"{at}\": {}", detail(&violations)));
    }
}

/// Returns the images of a pod and the annotations that choose a seccomp profile: the parts that can change and that the standards check.
fn changeable(pod: &Value) -> Vec<&Value> {
    let annotation = |name: &str| {
        pod.pointer("/metadata/annotations").and_then(|annotations| annotations.get(name)).unwrap_or(&Value::Null)
    };
    let lists = ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"];
    let containers = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    let of_containers = containers.flat_map(|container| {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let profile = annotation(&format!("container.seccomp.security.alpha.kubernetes.io/{name}"));
        [container.get("image").unwrap_or(&Value::Null), profile]
    });
    std::iter::once(annotation("seccomp.security.alpha.kubernetes.io/pod")).chain(of_containers).collect()
}

/// Checks the labels of a namespace. A client that makes them stricter gets a warning with the pods that break the new rules.
fn namespace(request: &Request<'_>, new: &Value) -> Result<(), Status> {
    let of = |namespace: &Value| policy(namespace.pointer("/metadata/labels").unwrap_or(&Value::Null));
    let (after, wrong) = of(new);
    let before = request.old.map(of);
    let already_wrong = before.as_ref().is_some_and(|(_, before)| *before == wrong);
    if !wrong.is_empty() && !already_wrong {
        return Err(Status::invalid(request.resource, request.name, &wrong));
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (before, after) = (before.enforce, after.enforce);
    let is_relaxed = after.version == before.version && after.level <= before.level;
    if after == before || after.level == Level::Privileged || is_relaxed {
        return Ok(());
    }
    for text in breaking(request, after) {
        request.write.warn(text);
    }
    Ok(())
}

/// Returns warnings about pods that break new rules, one for all pods with the same violations.
fn breaking(request: &Request<'_>, at: LevelVersion) -> Vec<String> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in objects_in(request.api, request.name, "pods") {
        let violations = evaluate(at, &pod.value());
        if !violations.is_empty() {
            names.entry(reasons(&violations)).or_default().insert(pod.name().to_owned());
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let of_pods = names.iter().map(|(reasons, pods)| {
        let first = pods.first().map(String::as_str).unwrap_or_default();
        match pods.len() {
            1 => format!("{first}: {reasons}"),
            2 => format!("{first} (and 1 other pod): {reasons}"),
            many => format!("{first} (and {} other pods): {reasons}", many - 1),
        }
    });
    let mut of_pods: Vec<String> = of_pods.collect();
    of_pods.sort();
    let name = request.name;
    let first = format!("existing pods in namespace \"{name}\" violate the new PodSecurity enforce level \"{at}\"");
    std::iter::once(first).chain(of_pods).collect()
}
