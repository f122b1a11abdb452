//! Check whether a pod fits a node, and the sentence about a pod that fits none. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Labels, affinity, node::NodeView, pod::PodView, resources, spread};
use crate::watch::Key;

/// Everything that placing a pod depends on.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) nodes: BTreeMap<String, NodeView>,
    /// Pods that are bound or being bound, and have not ended.
    pub(crate) pods: HashMap<Key, Arc<PodView>>,
    /// Labels of namespaces.
    pub(crate) namespaces: HashMap<String, Labels>,
}

/// Reason why a pod does not fit a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) reasons: Vec<String>,
    /// Termination of other pods could make room.
    pub(crate) resolvable: bool,
}

impl Obstacle {
    /// Creates an obstacle that consists of other pods.
    pub(crate) fn resolvable(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], resolvable: true }
    }

    /// Creates an obstacle that does not depend on other pods.
    pub(crate) fn fixed(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], resolvable: false }
    }
}

impl Snapshot {
    /// Returns the pods of a node.
    pub(crate) fn on(&self, node: &str) -> impl Iterator<Item = &PodView> {
        self.pods.values().map(AsRef::as_ref).filter(move |pod| pod.node.as_deref() == Some(node))
    }

    /// Returns all pods with their nodes.
    pub(crate) fn placed_pods(&self) -> impl Iterator<Item = (&PodView, &NodeView)> {
        self.pods.values().filter_map(|pod| Some((&**pod, self.nodes.get(pod.node.as_deref()?)?)))
    }

    /// Returns the node for a pod, or kube-scheduler's sentence about why there is none.
    pub(crate) fn place(&self, pod: &PodView) -> Result<String, String> {
        if self.nodes.is_empty() {
            return Err("no nodes available to schedule pods".to_owned());
        }
        let mut obstacles = Vec::new();
        for node in self.nodes.values() {
            match self.check(pod, node) {
                Ok(()) => return Ok(node.name.clone()),
                Err(obstacle) => obstacles.push(obstacle),
            }
        }
        Err(sentence(pod, &obstacles))
    }

    /// Runs the filters in the order of kube-scheduler's default plugins; returns the first refusal.
    fn check(&self, pod: &PodView, node: &NodeView) -> Result<(), Obstacle> {
        if let Some(reason) = &pod.unsupported {
            return Err(Obstacle::fixed(reason));
        }
        if node.unschedulable && !pod.requirements.tolerates_cordon() {
            return Err(Obstacle::fixed("node(s) were unschedulable"));
        }
        if !pod.requirements.tolerates_all(node) {
            return Err(Obstacle::fixed("node(s) had untolerated taint(s)"));
        }
        if !pod.requirements.selects(node) {
            return Err(Obstacle::fixed("node(s) didn't match Pod's node affinity/selector"));
        }
        let taken = |other: &PodView| other.ports.iter().any(|port| pod.ports.iter().any(|own| own.conflicts(port)));
        if !pod.ports.is_empty() && self.on(&node.name).any(taken) {
            return Err(Obstacle::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
        resources::check(pod, node, self.on(&node.name))?;
        spread::check(pod, node, self)?;
        affinity::check(pod, node, self)
    }
}

/// Builds the sentence of `FitError` in `framework/types.go`, followed by that of `preemption.go`.
fn sentence(pod: &PodView, obstacles: &[Obstacle]) -> String {
    let filters =
        count(obstacles.len(), obstacles.iter().flat_map(|obstacle| obstacle.reasons.iter().map(String::as_str)));
    let preemption = if pod.never_preempts {
        "not eligible due to preemptionPolicy=Never.".to_owned()
    } else {
        count(
            obstacles.len(),
            obstacles.iter().map(|obstacle| match obstacle.resolvable {
                true => "No preemption victims found for incoming pod",
                false => "Preemption is not helpful for scheduling",
            }),
        )
    };
    format!("{filters} preemption: {preemption}")
}

/// Counts the nodes of each reason.
fn count<'a>(nodes: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counted.entry(reason).or_default() += 1;
    }
    let mut list: Vec<_> = counted.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    list.sort();
    format!("0/{nodes} nodes are available: {}.", list.join(", "))
}
