//! What controllers ask of pods.

use std::{cmp::Ordering, collections::HashMap, time::Duration};

use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::ResourceExt;

use crate::clock;

/// How much it costs to delete a pod; the cheaper goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Takes away what no controller reads, which is most of a pod.
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
        status.init_container_statuses = None;
        status.ephemeral_container_statuses = None;
        for container in status.container_statuses.iter_mut().flatten() {
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

/// Neither ended nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Whether a pod has been ready for long enough.
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

/// A pod of a template, owned by a controller.
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

/// Whether a pod cannot be created because its namespace is being deleted, which is no news to anybody.
pub(crate) fn namespace_ends(error: &crate::Error) -> bool {
    error.code() == 403 && error.to_string().contains("because it is being terminated")
}

/// Sorts pods so that those which are missed least come first, as ReplicaSets delete them: not bound before bound, pending
/// before unknown before running, not ready before ready, cheap before expensive, crowded node before others, ready for a
/// short time before long, often restarted before rarely, young before old.
pub(crate) fn sort_for_deletion<P: AsRef<Pod>>(pods: &mut [P]) {
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in pods.iter() {
        *on_node.entry(node(pod.as_ref()).to_owned()).or_default() += 1;
    }
    pods.sort_by(|a, b| compare(a.as_ref(), b.as_ref(), &on_node));
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn compare(a: &Pod, b: &Pod, on_node: &HashMap<String, usize>) -> Ordering {
    let bound = |pod| !node(pod).is_empty();
    let stage = |pod| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let crowd = |pod| std::cmp::Reverse(on_node.get(node(pod)).copied().unwrap_or(0));
    bound(a)
        .cmp(&bound(b))
        .then_with(|| stage(a).cmp(&stage(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd(a).cmp(&crowd(b)))
        // The later it became ready, the less it is missed. An unknown time counts as latest.
        .then_with(|| later_first(ready_since(a), ready_since(b)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| later_first(a.metadata.creation_timestamp.as_ref(), b.metadata.creation_timestamp.as_ref()))
}

fn later_first(a: Option<&Time>, b: Option<&Time>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.0.cmp(&a.0),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn ready_since(pod: &Pod) -> Option<&Time> {
    ready_condition(pod)?.last_transition_time.as_ref()
}

fn cost(pod: &Pod) -> i32 {
    pod.annotations().get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: Option<&str>, phase: &str, ready: Option<&str>, extra: &Value) -> Box<Pod> {
        let mut value = json!({
            "metadata": { "name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": extra["annotations"] },
            "spec": { "containers": [], "nodeName": node },
            "status": { "phase": phase, "containerStatuses": [{
                "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": extra["restarts"].as_i64().unwrap_or(0) }] },
        });
        if let Some(since) = ready {
            value["status"]["conditions"] = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": since }]);
        }
        if let Some(created) = extra.get("created") {
            value["metadata"]["creationTimestamp"] = created.clone();
        }
        Box::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn the_least_missed_pods_go_first() {
        let (early, late) = ("2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z");
        let none = json!({});
        let cost = |cost: &str| json!({ "annotations": { (DELETION_COST): cost } });
        let sorted = [
            pod("unbound", None, "Pending", None, &none),
            pod("pending", Some("n"), "Pending", None, &none),
            pod("unknown", Some("n"), "Unknown", None, &none),
            pod("not-ready", Some("n"), "Running", None, &none),
            pod("cheap", Some("m"), "Running", Some(early), &cost("-5")),
            pod("late", Some("n"), "Running", Some(late), &none),
            pod("restarted", Some("n"), "Running", Some(early), &json!({ "restarts": 3 })),
            pod("young", Some("n"), "Running", Some(early), &json!({ "created": "2026-01-01T00:00:05Z" })),
            pod("old", Some("n"), "Running", Some(early), &none),
            pod(
                "lonely",
                Some("m"),
                "Running",
                Some(late),
                &json!({ "annotations": { (DELETION_COST): "no number" } }),
            ),
            pod("expensive", Some("n"), "Running", Some(late), &cost("5")),
        ];
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
}
