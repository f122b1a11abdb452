//! Which pods the one node takes. There is nothing to choose: a pod fits, or it says why not.
//!
//! Requests of processors and memory are not weighed: they limit nothing here, so refusing a pod for them would help nobody.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec};
use kube::ResourceExt;

/// What is known of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Its name.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// `kubectl cordon`.
    pub(crate) unschedulable: bool,
    /// `NoSchedule` and `NoExecute` taints: key, value, effect.
    pub(crate) taints: Vec<(String, String, String)>,
}

impl NodeView {
    /// Of a node.
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            unschedulable: spec.unschedulable == Some(true),
            taints: spec
                .taints
                .unwrap_or_default()
                .into_iter()
                .filter(|taint| taint.effect != "PreferNoSchedule" && taint.key != "node.kubernetes.io/unschedulable")
                .map(|taint| (taint.key, taint.value.unwrap_or_default(), taint.effect))
                .collect(),
        }
    }
}

/// What is to be done with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: it is bound, gone, or another scheduler's.
    NotOurs,
    /// It waits for its scheduling gates.
    Gated,
    /// It goes to the node.
    Bind,
    /// It cannot, because of this.
    Unschedulable(String),
}

/// Decides about a pod. `node` is `None` until the node has registered.
pub(crate) fn decide(pod: &Pod, node: Option<&NodeView>) -> Decision {
    let spec = pod.spec.clone().unwrap_or_default();
    let scheduler = spec.scheduler_name.as_deref().unwrap_or("default-scheduler");
    let bound = spec.node_name.as_deref().is_some_and(|name| !name.is_empty());
    if bound || pod.metadata.deletion_timestamp.is_some() || scheduler != "default-scheduler" {
        return Decision::NotOurs;
    }
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        return Decision::Gated;
    }
    let Some(node) = node else {
        return Decision::Unschedulable("no nodes available to schedule pods".into());
    };
    match obstacle(&spec, node) {
        Some(why) => Decision::Unschedulable(format!("0/1 nodes are available: 1 {why}.")),
        None => Decision::Bind,
    }
}

fn obstacle(spec: &PodSpec, node: &NodeView) -> Option<String> {
    let tolerates = |key: &str, value: &str, effect: &str| {
        spec.tolerations.iter().flatten().any(|toleration| {
            let key_fits = toleration.key.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == key);
            let effect_fits = toleration.effect.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == effect);
            let value_fits = toleration.operator.as_deref() == Some("Exists")
                || toleration.value.as_deref().unwrap_or_default() == value;
            key_fits && effect_fits && value_fits
        })
    };
    if let Some(why) = unsupported(spec) {
        return Some(why);
    }
    if node.unschedulable && !tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule") {
        return Some("node(s) were unschedulable".into());
    }
    if let Some((key, value, _)) = node.taints.iter().find(|(key, value, effect)| !tolerates(key, value, effect)) {
        return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
    }
    let selector = spec.node_selector.iter().flatten();
    let selected = selector.clone().all(|(key, value)| node.labels.get(key) == Some(value));
    let terms = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
        .map(|required| required.node_selector_terms.as_slice());
    if !selected || terms.is_some_and(|terms| !terms.iter().any(|term| fits(term, node))) {
        return Some("node(s) didn't match Pod's node affinity/selector".into());
    }
    None
}

/// What no pod gets here, because pods share nothing with the host.
pub(crate) fn unsupported(spec: &PodSpec) -> Option<String> {
    let asked = [(spec.host_network, "hostNetwork"), (spec.host_pid, "hostPID"), (spec.host_ipc, "hostIPC")];
    let (_, field) = asked.iter().find(|(value, _)| *value == Some(true))?;
    Some(format!("node(s) run pods in namespaces of their own and cannot offer spec.{field}; remove it"))
}

fn fits(term: &NodeSelectorTerm, node: &NodeView) -> bool {
    let labels = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let any = labels.clone().next().is_some() || fields.clone().next().is_some();
    any && labels.clone().all(|requirement| holds(requirement, node.labels.get(&requirement.key).map(String::as_str)))
        && fields
            .clone()
            .all(|requirement| holds(requirement, (requirement.key == "metadata.name").then_some(node.name.as_str())))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.clone().unwrap_or_default();
    let among = value.is_some_and(|value| values.iter().any(|candidate| candidate == value));
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => among,
        "NotIn" => !among,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decisions() {
        let node = NodeView {
            name: "pocket".into(),
            labels: BTreeMap::from([("arch".into(), "amd64".into()), ("cpus".into(), "2".into())]),
            ..NodeView::default()
        };
        let tainted = NodeView { taints: vec![("gpu".into(), "yes".into(), "NoSchedule".into())], ..node.clone() };
        let cordoned = NodeView { unschedulable: true, ..node.clone() };
        let no = |why: &str| Decision::Unschedulable(format!("0/1 nodes are available: 1 {why}."));
        let mismatch = || no("node(s) didn't match Pod's node affinity/selector");
        let affinity = |key: &str, operator: &str, values: &[&str]| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]}}}})
        };
        for (spec, node, expected) in [
            (json!({}), Some(&node), Decision::Bind),
            (json!({}), None, Decision::Unschedulable("no nodes available to schedule pods".into())),
            (json!({"nodeName": "x"}), Some(&node), Decision::NotOurs),
            (json!({"schedulerName": "mine"}), Some(&node), Decision::NotOurs),
            (json!({"schedulingGates": [{"name": "g"}]}), Some(&node), Decision::Gated),
            (json!({"nodeSelector": {"arch": "amd64"}}), Some(&node), Decision::Bind),
            (json!({"nodeSelector": {"arch": "arm64"}}), Some(&node), mismatch()),
            (affinity("arch", "In", &["amd64"]), Some(&node), Decision::Bind),
            (affinity("arch", "NotIn", &["amd64"]), Some(&node), mismatch()),
            (affinity("cpus", "Gt", &["1"]), Some(&node), Decision::Bind),
            (affinity("gpu", "Exists", &[]), Some(&node), mismatch()),
            (json!({}), Some(&tainted), no("node(s) had untolerated taint {gpu: yes}")),
            (json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}), Some(&tainted), Decision::Bind),
            (json!({}), Some(&cordoned), no("node(s) were unschedulable")),
            (
                json!({"hostNetwork": true}),
                Some(&node),
                no("node(s) run pods in namespaces of their own and cannot offer spec.hostNetwork; remove it"),
            ),
        ] {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            assert_eq!(decide(&pod, node), expected, "{spec}");
        }
    }
}
