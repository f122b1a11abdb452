//! View of a node for the scheduler, and the requirements of a pod that concern the node alone: cordon, taints, selector and affinity.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration};
use kube::ResourceExt;

use super::{
    Labels,
    resources::{self, Amounts},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    /// Node is cordoned (`kubectl cordon`).
    pub(crate) unschedulable: bool,
    pub(crate) taints: Vec<Taint>,
    pub(crate) allocatable: Amounts,
}

/// A taint that keeps pods away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taint {
    key: String,
    value: String,
    /// `NoSchedule` or `NoExecute`.
    effect: String,
}

impl NodeView {
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default().into_iter().filter(|taint| taint.effect != "PreferNoSchedule");
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            unschedulable: spec.unschedulable == Some(true),
            taints: taints
                .map(|taint| Taint { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect })
                .collect(),
            allocatable: allocatable.map(resources::amounts).unwrap_or_default(),
        }
    }
}

/// Requirements of a pod that concern its node alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeRequirements {
    tolerations: Vec<Toleration>,
    selector: Labels,
    /// Terms of `requiredDuringSchedulingIgnoredDuringExecution`, one of which must fit.
    terms: Option<Vec<NodeSelectorTerm>>,
}

impl NodeRequirements {
    /// Reads the requirements of a pod.
    pub(crate) fn of(spec: &PodSpec) -> Self {
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
        Self {
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            selector: spec.node_selector.clone().unwrap_or_default(),
            terms: required.map(|required| required.node_selector_terms.clone()),
        }
    }

    /// Returns whether the pod may go to a node that is cordoned.
    pub(crate) fn tolerates_cordon(&self) -> bool {
        let key = "node.kubernetes.io/unschedulable".to_owned();
        self.tolerates(&Taint { key, value: String::new(), effect: "NoSchedule".to_owned() })
    }

    /// Returns whether the pod tolerates all taints of a node.
    pub(crate) fn tolerates_all(&self, node: &NodeView) -> bool {
        node.taints.iter().all(|taint| self.tolerates(taint))
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| {
            let key_fits = toleration.key.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == taint.key);
            let effect_fits =
                toleration.effect.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == taint.effect);
            let value_fits = toleration.operator.as_deref() == Some("Exists")
                || toleration.value.as_deref().unwrap_or_default() == taint.value;
            key_fits && effect_fits && value_fits
        })
    }

    /// Returns whether a node's labels and name are those that the pod selects.
    pub(crate) fn selects(&self, node: &NodeView) -> bool {
        let selected = self.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        selected && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| fits(term, node)))
    }
}

/// Describes the field of a pod that is not supported here, because pods share nothing with the host.
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
