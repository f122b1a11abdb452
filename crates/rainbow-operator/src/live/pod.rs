//! Pods.

use k8s_openapi::{api::core::v1::Pod as CorePod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rainbow_api::labels;
use rainbow_plan::{Mark, Time};
use std::{collections::BTreeMap, net::IpAddr};

use super::{Meta, image, label};
use crate::clock;

/// What Rainbow says of a pod by labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodLabels {
    /// The stages that the pod is a member of, and since when.
    pub(crate) member: BTreeMap<String, Option<Time>>,
    pub(crate) mark: Mark,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) tier: String,
    pub(crate) color: String,
    pub(crate) ready: bool,
    /// Since when the watch has shown `ready` as it is; what was before the start is unknown. Kept by the cache.
    pub(crate) ready_since: Time,
    /// It ran to its end or was evicted: it never comes back, and nothing waits for it.
    pub(crate) finished: bool,
    /// What Rainbow says of it.
    pub(crate) said: PodLabels,
    pub(crate) address: Option<IpAddr>,
    /// The image of its counter, where the node cannot get it: the pod never starts.
    pub(crate) missing_counter: Option<String>,
}

impl Pod {
    pub(crate) fn of(pod: &CorePod) -> Self {
        let meta = Meta::of(&pod.metadata);
        let status = pod.status.as_ref();
        let ready = status
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
        let annotations = pod.metadata.annotations.as_ref();
        let joined = |stage: &str| annotations.and_then(|all| clock::read(all.get(&labels::joined(stage))?));
        let member = pod.metadata.labels.iter().flatten().filter_map(|(key, value)| {
            let stage = key.strip_prefix(labels::MEMBER_PREFIX).filter(|_| value == labels::MEMBER)?;
            Some((stage.to_owned(), joined(stage)))
        });
        let phase = status.and_then(|status| status.phase.as_deref());
        Self {
            tier: label(&pod.metadata, labels::TIER).to_owned(),
            color: label(&pod.metadata, labels::COLOR).to_owned(),
            ready: ready && !meta.deleting,
            ready_since: Time(0),
            finished: matches!(phase, Some("Succeeded" | "Failed")) && !meta.deleting,
            said: PodLabels { member: member.collect(), mark: mark(&pod.metadata) },
            address: status.and_then(|status| status.pod_ip.as_ref()?.parse().ok()),
            missing_counter: image::missing_counter(pod),
            meta,
        }
    }
}

/// The mark as it is written. Somebody's own deletion cost is none.
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
