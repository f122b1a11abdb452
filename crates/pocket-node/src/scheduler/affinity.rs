//! Required affinity and anti-affinity between pods (`interpodaffinity/filtering.go`).

use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec};

use super::{
    Labels,
    filter::{Obstacle, Snapshot},
    labels::Matcher,
    node::NodeView,
    pod::PodView,
};

/// Required term: the pods that it selects, and the topology key of the part of the cluster in which it counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    topology_key: String,
    selector: Matcher,
    namespaces: Vec<String>,
    namespace_selector: Matcher,
}

/// Required terms of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    affinity: Vec<Term>,
    anti_affinity: Vec<Term>,
}

impl Terms {
    /// Reads the terms of a pod.
    pub(crate) fn of(spec: &PodSpec, namespace: &str, labels: &Labels) -> Self {
        let affinity = spec.affinity.as_ref();
        let read = |terms: Option<&Vec<PodAffinityTerm>>| {
            terms.into_iter().flatten().map(|term| Term::of(term, namespace, labels)).collect()
        };
        let with = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        Self {
            affinity: read(with.and_then(|pod| pod.required_during_scheduling_ignored_during_execution.as_ref())),
            anti_affinity: read(apart.and_then(|pod| pod.required_during_scheduling_ignored_during_execution.as_ref())),
        }
    }
}

impl Term {
    fn of(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(namespace.to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            // The API server writes these keys into the selector of a new pod; a duplicate changes nothing.
            selector: Matcher::of(term.label_selector.as_ref())
                .with_keys(term.match_label_keys.iter().flatten(), labels)
                .without_keys(term.mismatch_label_keys.iter().flatten(), labels),
            namespaces,
            namespace_selector: Matcher::of(term.namespace_selector.as_ref()),
        }
    }

    fn matches(&self, pod: &PodView, snapshot: &Snapshot) -> bool {
        let none = Labels::new();
        let namespace = || snapshot.namespaces.get(&pod.namespace).unwrap_or(&none);
        let meant = self.namespaces.contains(&pod.namespace) || self.namespace_selector.matches(namespace());
        meant && self.selector.matches(&pod.labels)
    }

    /// Returns whether two nodes are in the same part of the cluster. A node without the label is in none.
    fn joins(&self, one: &NodeView, other: &NodeView) -> bool {
        let value = one.labels.get(&self.topology_key);
        value.is_some() && value == other.labels.get(&self.topology_key)
    }
}

/// Checks that a node breaks no rule between pods. The obstacle names the broken rule.
pub(crate) fn check(pod: &PodView, node: &NodeView, snapshot: &Snapshot) -> Result<(), Obstacle> {
    let placed = || snapshot.placed_pods();
    if !satisfies_affinity(pod, node, snapshot) {
        return Err(Obstacle::fixed("node(s) didn't match pod affinity rules"));
    }
    let apart = |term: &Term| placed().any(|(other, at)| term.joins(node, at) && term.matches(other, snapshot));
    if pod.terms.anti_affinity.iter().any(apart) {
        return Err(Obstacle::resolvable("node(s) didn't match pod anti-affinity rules"));
    }
    let unwanted = |(other, at): (&PodView, &NodeView)| {
        other.terms.anti_affinity.iter().any(|term| term.joins(node, at) && term.matches(pod, snapshot))
    };
    if placed().any(unwanted) {
        return Err(Obstacle::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

/// Returns whether every term has a pod in the node's part of the cluster; only pods that match all terms count. The first of a
/// set of pods with affinity to one another finds no such pod, and is accepted.
fn satisfies_affinity(pod: &PodView, node: &NodeView, snapshot: &Snapshot) -> bool {
    let terms = &pod.terms.affinity;
    if terms.is_empty() {
        return true;
    }
    if terms.iter().any(|term| !node.labels.contains_key(&term.topology_key)) {
        return false;
    }
    let matches_all = |other: &PodView| terms.iter().all(|term| term.matches(other, snapshot));
    let near = |term: &Term| snapshot.placed_pods().any(|(other, at)| term.joins(node, at) && matches_all(other));
    if terms.iter().all(near) {
        return true;
    }
    let anywhere = snapshot
        .placed_pods()
        .any(|(other, at)| matches_all(other) && terms.iter().any(|term| at.labels.contains_key(&term.topology_key)));
    !anywhere && matches_all(pod)
}
