//! Topology spread with `whenUnsatisfiable: DoNotSchedule` (`podtopologyspread/filtering.go`).

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{PodSpec, TopologySpreadConstraint};

use super::{
    Labels,
    filter::{Obstacle, Snapshot},
    labels::Matcher,
    node::NodeView,
    pod::PodView,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constraint {
    topology_key: String,
    selector: Matcher,
    max_skew: usize,
    min_domains: usize,
    /// Whether only nodes that the pod selects count (`nodeAffinityPolicy: Honor`).
    honors_affinity: bool,
    /// Whether only nodes whose taints the pod tolerates count (`nodeTaintsPolicy: Honor`).
    honors_taints: bool,
}

/// Returns the mandatory constraints of a pod.
pub(crate) fn of(spec: &PodSpec, labels: &Labels) -> Vec<Constraint> {
    let all = spec.topology_spread_constraints.iter().flatten();
    all.filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
        .map(|c| Constraint::of(c, labels))
        .collect()
}

impl Constraint {
    fn of(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let number = |number: i32| usize::try_from(number).unwrap_or(0);
        Self {
            topology_key: constraint.topology_key.clone(),
            selector: Matcher::of(constraint.label_selector.as_ref())
                .with_keys(constraint.match_label_keys.iter().flatten(), labels),
            max_skew: number(constraint.max_skew),
            min_domains: constraint.min_domains.map_or(1, number),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// Returns whether the pods of a node count.
    fn includes(&self, pod: &PodView, node: &NodeView) -> bool {
        (!self.honors_affinity || pod.requirements.selects(node))
            && (!self.honors_taints || pod.requirements.tolerates_all(node))
    }

    fn counts(&self, pod: &PodView, other: &PodView) -> bool {
        // A selector of everything counts no pod, as in upstream.
        let selected = !self.selector.is_everything() && self.selector.matches(&other.labels);
        selected && other.namespace == pod.namespace && !other.terminating
    }
}

/// Checks that a node would not make the spread too uneven.
pub(crate) fn check(pod: &PodView, node: &NodeView, snapshot: &Snapshot) -> Result<(), Obstacle> {
    for constraint in &pod.spread {
        let Some(here) = node.labels.get(&constraint.topology_key) else {
            let sentence = "node(s) didn't match pod topology spread constraints (missing required label)";
            return Err(Obstacle::fixed(sentence));
        };
        let domains = domains(constraint, pod, snapshot);
        let least =
            if domains.len() < constraint.min_domains { 0 } else { domains.values().copied().min().unwrap_or(0) };
        let own = usize::from(constraint.selector.matches(&pod.labels));
        let with = domains.get(here.as_str()).copied().unwrap_or(0) + own;
        if with.saturating_sub(least) > constraint.max_skew {
            return Err(Obstacle::resolvable("node(s) didn't match pod topology spread constraints"));
        }
    }
    Ok(())
}

/// Counts the matching pods in each part of the cluster. Only nodes with the labels of all constraints count.
fn domains<'a>(constraint: &Constraint, pod: &PodView, snapshot: &'a Snapshot) -> HashMap<&'a str, usize> {
    let labelled = |node: &NodeView| pod.spread.iter().all(|other| node.labels.contains_key(&other.topology_key));
    let mut domains = HashMap::new();
    for node in snapshot.nodes.values().filter(|node| labelled(node) && constraint.includes(pod, node)) {
        let Some(value) = node.labels.get(&constraint.topology_key) else { continue };
        let count = snapshot.on(&node.name).filter(|other| constraint.counts(pod, other)).count();
        *domains.entry(value.as_str()).or_default() += count;
    }
    domains
}
