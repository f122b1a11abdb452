//! Pods, as the watch shows them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::labels;
use rainbow_plan::{Controller, Mark, Place, Time};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{Faults, Meta, ShownPod, Trouble, image, label};
use crate::{clock, kind::Kind};

/// Labels and annotations that Rainbow puts on a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodLabels {
    /// Stages that the pod is a member of, each with the time since when.
    pub(crate) member: BTreeMap<String, Option<Time>>,
    pub(crate) mark: Mark,
    /// Place by the serving label, which the pods of an instance that an older version made do not have.
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) tier: Arc<str>,
    pub(crate) color: Arc<str>,
    /// Stage that the pod's instance belongs to. Empty: all stages share the instance.
    pub(crate) belongs_to: Arc<str>,
    pub(crate) controller: Controller,
    pub(crate) ready: bool,
    /// Time since when the watch has shown `ready` with this value. Before the start it is unknown. Kept by the cache.
    pub(crate) ready_since: Time,
    /// Whether the pod has run to its end or was evicted. Such a pod never comes back, and nothing waits for it.
    pub(crate) finished: bool,
    pub(crate) said: PodLabels,
    pub(crate) address: Option<IpAddr>,
    /// Image of the pod's counter, where the node cannot get it, so that the pod never starts.
    pub(crate) missing_counter: Option<Box<str>>,
    /// Reason why the pod is not ready.
    pub(crate) trouble: Option<Trouble>,
    /// Ends of the pod's containers, and loss of its readiness. Boxed, because few pods have any.
    pub(crate) faults: Option<Box<Faults>>,
}

impl Pod {
    pub(crate) fn of(pod: &ShownPod) -> Self {
        let meta = Meta::of(&pod.metadata);
        let mut conditions = pod.status.conditions.iter().flatten();
        let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let annotations = pod.metadata.annotations.as_ref();
        let joined = |stage: &str| annotations.and_then(|all| clock::read(all.get(&labels::joined(stage))?));
        let member = pod.metadata.labels.iter().flatten().filter_map(|(key, value)| {
            let stage = key.strip_prefix(labels::MEMBER_PREFIX).filter(|_| value == labels::MEMBER)?;
            Some((stage.to_owned(), joined(stage)))
        });
        let phase = pod.status.phase.as_deref();
        Self {
            tier: label(&pod.metadata, labels::TIER).into(),
            color: label(&pod.metadata, labels::COLOR).into(),
            belongs_to: label(&pod.metadata, labels::BELONGS_TO).into(),
            controller: controller(&pod.metadata),
            ready: ready && !meta.deleting,
            ready_since: Time(0),
            finished: matches!(phase, Some("Succeeded" | "Failed")) && !meta.deleting,
            said: PodLabels { member: member.collect(), mark: mark(&pod.metadata), place: place(&pod.metadata) },
            address: pod.status.pod_ip.as_ref().and_then(|address| address.parse().ok()),
            missing_counter: image::missing_counter(pod).map(String::into_boxed_str),
            trouble: Trouble::of(pod),
            faults: Faults::of(pod),
            meta,
        }
    }
}

/// Returns the owner that decides whether the pod lives. An owner that is neither a ReplicaSet nor Rainbow's own counts as a ReplicaSet:
/// the pod belongs to that owner.
fn controller(meta: &ObjectMeta) -> Controller {
    let owners = meta.owner_references.iter().flatten();
    let Some(controller) = owners.into_iter().find(|owner| owner.controller == Some(true)) else {
        return Controller::None;
    };
    let is_rainbow = controller.kind == Kind::Rainbow.name() && controller.api_version == Kind::Rainbow.api_version();
    if is_rainbow { Controller::Rainbow } else { Controller::ReplicaSet }
}

impl Pod {
    /// Returns whether a later state of the pod says the same.
    pub(crate) fn is_repeated_by(&self, later: &Self) -> bool {
        // The pattern names every field: a new field must be compared, too.
        let Self {
            meta,
            tier,
            color,
            belongs_to,
            controller,
            ready,
            ready_since: _,
            finished,
            said,
            address,
            missing_counter,
            trouble,
            faults,
        } = self;
        let same_faults = match (faults, &later.faults) {
            (Some(known), Some(later)) => known.is_repeated_by(later),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_faults
            && meta.is_repeated_by(&later.meta)
            && (tier, color, belongs_to) == (&later.tier, &later.color, &later.belongs_to)
            && (ready, finished) == (&later.ready, &later.finished)
            && (controller, said, address) == (&later.controller, &later.said, &later.address)
            && (missing_counter, trouble) == (&later.missing_counter, &later.trouble)
    }
}

/// Returns whether the pod has the label that Services ask for, and otherwise since when not.
fn place(meta: &ObjectMeta) -> Place {
    if label(meta, labels::SERVING) == labels::YES {
        return Place::In;
    }
    let since = meta.annotations.as_ref().and_then(|all| clock::read(all.get(labels::OUT_SINCE)?));
    Place::Out { since }
}

/// Returns the mark as it is written. A deletion cost of another writer is no mark.
fn mark(meta: &ObjectMeta) -> Mark {
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    if label(meta, labels::HOLDING) == labels::YES {
        Mark::Held
    } else if annotation(labels::DELETION_COST) == Some(labels::LEAVING_COST) {
        Mark::Leaving
    } else {
        Mark::None
    }
}
