//! View of a pod for the scheduler.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{
    Labels, NAME,
    affinity::Terms,
    node::{NodeRequirements, unsupported},
    ports::{self, HostPort},
    resources::{self, Amounts},
    spread::{self, Constraint},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodView {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    /// Node that the pod is bound to.
    pub(crate) node: Option<String>,
    pub(crate) priority: i32,
    pub(crate) created: Option<Timestamp>,
    /// Pod is to be placed by this scheduler.
    pub(crate) ours: bool,
    /// Pod waits for its scheduling gates.
    pub(crate) gated: bool,
    pub(crate) terminating: bool,
    /// Pod has succeeded or failed, and uses nothing any more.
    pub(crate) ended: bool,
    /// Pod has `preemptionPolicy: Never`.
    pub(crate) never_preempts: bool,
    /// Sentence about a field that no node here supports.
    pub(crate) unsupported: Option<String>,
    pub(crate) requirements: NodeRequirements,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) requests: Amounts,
    pub(crate) spread: Vec<Constraint>,
    pub(crate) terms: Terms,
}

impl PodView {
    pub(crate) fn of(pod: &Pod) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        let labels = pod.labels().clone();
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let mut view = Self {
            uid: pod.uid().unwrap_or_default(),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            terminating,
            ended: matches!(phase, Some("Succeeded" | "Failed")),
            ..Self::default()
        };
        if let Some(spec) = &pod.spec {
            view.node = spec.node_name.clone().filter(|name| !name.is_empty());
            view.priority = spec.priority.unwrap_or(0);
            view.ours = !terminating && spec.scheduler_name.as_deref().unwrap_or(NAME) == NAME;
            view.gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
            view.never_preempts = spec.preemption_policy.as_deref() == Some("Never");
            view.unsupported = unsupported(spec);
            view.requirements = NodeRequirements::of(spec);
            view.ports = ports::of(spec);
            view.requests = resources::requests(spec);
            view.spread = spread::of(spec, &labels);
            view.terms = Terms::of(spec, &namespace, &labels);
        }
        Self { namespace, labels, ..view }
    }
}
