//! Questions of controllers about pods.

use std::{cmp::Ordering, collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;
use pocket_object::conditions::shows_ready;

use crate::clock;

/// Annotation with the cost of deleting a pod; the cheaper pod is deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Removes the fields that no controller reads, which are most of a pod.
pub(crate) fn slim(pod: &mut Pod) {
    if let Some(spec) = pod.spec.as_mut() {
        spec.volumes = None;
        spec.tolerations = None;
        spec.affinity = None;
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            *container = k8s_openapi::api::core::v1::Container {
                name: std::mem::take(&mut container.name),
                ports: container.ports.take(),
                restart_policy: container.restart_policy.take(),
                ..Default::default()
            };
        }
        spec.containers.shrink_to_fit();
    }
    if let Some(status) = pod.status.as_mut() {
        status.ephemeral_container_statuses = None;
        let init = status.init_container_statuses.iter_mut().flatten();
        for container in status.container_statuses.iter_mut().flatten().chain(init) {
            *container = k8s_openapi::api::core::v1::ContainerStatus {
                name: std::mem::take(&mut container.name),
                restart_count: container.restart_count,
                ..Default::default()
            };
        }
    }
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Returns whether a pod has not ended and is not being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| shows_ready(&condition.type_, &condition.status))
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// State of a pod towards being ready for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    NotReady,
    /// Ready, and available after that time.
    In(Duration),
    Available,
}

pub(crate) fn availability(pod: &Pod, min_ready_seconds: i32) -> Availability {
    let Some(condition) = ready_condition(pod) else { return Availability::NotReady };
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    match condition.last_transition_time.as_ref().and_then(|since| clock::remaining(since, min_ready_seconds.into())) {
        Some(left) => Availability::In(left),
        None => Availability::Available,
    }
}

/// Returns a pod of a template, owned by a controller.
pub(crate) fn from_template(template: &PodTemplateSpec, namespace: &str, prefix: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.as_ref();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{prefix}-")),
            namespace: Some(namespace.to_owned()),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: meta.and_then(|meta| meta.annotations.clone()),
            finalizers: meta.and_then(|meta| meta.finalizers.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Returns whether a pod cannot be created because its namespace is being deleted, which needs no report.
pub(crate) fn namespace_ends(error: &crate::Error) -> bool {
    error.code() == 403 && error.to_string().contains("because it is being terminated")
}

/// Orders pods in the order in which ReplicaSets delete them, the most dispensable first: not bound before bound, pending
/// before unknown before running, not ready before ready, cheap before expensive, crowded node before others, ready for a
/// short time before long, often restarted before rarely, young before old.
///
/// Times count by their order of magnitude only (KEP-2185): pods of about the same age are ordered by their uids, which
/// means in no particular order. The rules together are no order in the mathematical sense, so a sort of the standard library could panic.
pub(crate) fn sort_for_deletion<P: AsRef<Pod>>(pods: &mut Vec<P>) {
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in pods.iter() {
        *on_node.entry(node(pod.as_ref()).to_owned()).or_default() += 1;
    }
    let mut sorted: Vec<P> = Vec::with_capacity(pods.len());
    let now = clock::now();
    for pod in pods.drain(..) {
        let goes_later = |have: &P| compare(have.as_ref(), pod.as_ref(), &on_node, now) != Ordering::Greater;
        let at = sorted.partition_point(goes_later);
        sorted.insert(at, pod);
    }
    *pods = sorted;
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn compare(a: &Pod, b: &Pod, on_node: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let bound = |pod| !node(pod).is_empty();
    let stage = |pod| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let crowd = |pod| std::cmp::Reverse(on_node.get(node(pod)).copied().unwrap_or(0));
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|at| at.0);
    let uids = || a.metadata.uid.cmp(&b.metadata.uid);
    let by_state = bound(a)
        .cmp(&bound(b))
        .then_with(|| stage(a).cmp(&stage(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd(a).cmp(&crowd(b)));
    if by_state != Ordering::Equal {
        return by_state;
    }
    if is_ready(a) && ready_since(a) != ready_since(b) {
        return younger_first(ready_since(a), ready_since(b), now).then_with(uids);
    }
    let by_restarts = restarts(b).cmp(&restarts(a)).then_with(|| sidecar_restarts(b).cmp(&sidecar_restarts(a)));
    if by_restarts != Ordering::Equal || created(a) == created(b) {
        return by_restarts;
    }
    younger_first(created(a), created(b), now).then_with(uids)
}

/// Compares by age, younger first. An unknown time counts as youngest. Two ages within the same power of two are equal.
fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    let magnitude = |at: Timestamp| {
        let age = now.as_nanosecond().saturating_sub(at.as_nanosecond());
        u128::try_from(age).ok().and_then(u128::checked_ilog2)
    };
    match (a, b) {
        (Some(a), Some(b)) => magnitude(a).cmp(&magnitude(b)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|since| since.0)
}

fn cost(pod: &Pod) -> i32 {
    pod.annotations().get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}

/// Returns the restarts of init containers that continue to run (sidecars).
fn sidecar_restarts(pod: &Pod) -> i32 {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    let runs_on = |name: &str| {
        containers.into_iter().flatten().any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"))
    };
    let statuses = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    let sidecars = statuses.into_iter().flatten().filter(|container| runs_on(&container.name));
    sidecars.map(|container| container.restart_count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns a pod that has been ready for that number of seconds, if any, with the extra fields of a case.
    fn pod(name: &str, node: Option<&str>, phase: &str, ready: Option<i64>, extra: &Value) -> Box<Pod> {
        let ago = |seconds: i64| (clock::now() - jiff::SignedDuration::from_secs(seconds)).to_string();
        let restarts = |field: &str| extra[field].as_i64().unwrap_or(0);
        let status = |name: &str, restarts: i64| json!([{ "name": name, "image": "", "imageID": "", "ready": true, "restartCount": restarts }]);
        let mut value = json!({
            "metadata": {
                "name": name, "uid": extra["uid"].as_str().unwrap_or(name), "annotations": extra["annotations"],
                "creationTimestamp": ago(extra["age"].as_i64().unwrap_or(100_000)),
            },
            "spec": { "containers": [], "nodeName": node,
                "initContainers": [{ "name": "s", "restartPolicy": "Always" }] },
            "status": { "phase": phase, "containerStatuses": status("a", restarts("restarts")),
                "initContainerStatuses": status("s", restarts("sidecarRestarts")) },
        });
        if let Some(seconds) = ready {
            value["status"]["conditions"] =
                json!([{ "type": "Ready", "status": "True", "lastTransitionTime": ago(seconds) }]);
        }
        Box::new(serde_json::from_value(value).unwrap())
    }

    #[track_caller]
    fn check(sorted: &[Box<Pod>]) {
        let expected: Vec<String> = sorted.iter().map(|pod| pod.name_any()).collect();
        for shift in 0..sorted.len() {
            let mut pods: Vec<Box<Pod>> = sorted.to_vec();
            pods.rotate_left(shift);
            if shift % 2 == 1 {
                pods.reverse();
            }
            sort_for_deletion(&mut pods);
            assert_eq!(pods.iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_least_missed_pods_go_first() {
        let none = json!({});
        let (long, short) = (Some(50_000), Some(10));
        let cost = |cost: &str| json!({ "annotations": { (DELETION_COST): cost } });
        check(&[
            pod("unbound", None, "Pending", None, &none),
            pod("pending", Some("n"), "Pending", None, &none),
            pod("unknown", Some("n"), "Unknown", None, &none),
            pod("not-ready", Some("n"), "Running", None, &none),
            pod("cheap", Some("m"), "Running", long, &cost("-5")),
            pod("late", Some("n"), "Running", short, &none),
            pod("old", Some("n"), "Running", long, &none),
            pod("lonely", Some("m"), "Running", short, &cost("no number")),
            pod("expensive", Some("n"), "Running", short, &cost("5")),
        ]);
    }

    #[test]
    fn pods_that_are_not_ready_go_by_restarts_and_age() {
        check(&[
            pod("restarted", Some("n"), "Running", None, &json!({ "restarts": 3 })),
            pod("sidecar", Some("n"), "Running", None, &json!({ "restarts": 1, "sidecarRestarts": 4 })),
            pod("once", Some("n"), "Running", None, &json!({ "restarts": 1 })),
            pod("young", Some("n"), "Running", None, &json!({ "age": 10 })),
            pod("old", Some("n"), "Running", None, &json!({})),
        ]);
    }

    /// A cluster that always ended the youngest pod would hide the behaviour of a real one.
    #[test]
    fn pods_of_about_the_same_age_go_in_any_order() {
        let ready = |name: &str, uid: &str, seconds: i64| {
            pod(name, Some("n"), "Running", Some(seconds), &json!({ "uid": uid }))
        };
        // In nanoseconds, 40 to 60 seconds are one power of two, and 10 seconds are another.
        check(&[
            ready("youngest", "z", 10),
            ready("oldest", "a", 60),
            ready("middle", "b", 50),
            ready("younger", "c", 40),
        ]);
    }
}
