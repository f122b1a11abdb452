//! What is kept of the objects that are watched: no more than decisions need, so that memory grows with what matters.

use k8s_openapi::{
    api::{core::v1::Pod as CorePod, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::api::DynamicObject;
use rainbow_api::labels;
use rainbow_plan::{Mark, Time};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::{build::PodLabels, clock, drift, pull};

/// The kinds the operator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Rainbow,
    Color,
    Deployment,
    Service,
    Pod,
    EndpointSlice,
    PodDisruptionBudget,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Rainbow,
        Self::Color,
        Self::Deployment,
        Self::Service,
        Self::Pod,
        Self::EndpointSlice,
        Self::PodDisruptionBudget,
    ];

    /// As in manifests.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rainbow => "Rainbow",
            Self::Color => "Color",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::EndpointSlice => "EndpointSlice",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::Rainbow | Self::Color => "rainbow.dev/v1alpha1",
            Self::Deployment => "apps/v1",
            Self::Service | Self::Pod => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::PodDisruptionBudget => "policy/v1",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A resource version as a number. They are opaque by the letter, and numbers of one sequence on every API server; where
/// one is not, it counts as 0, and nothing waits for it.
pub(crate) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A label's value, or the empty text.
pub(crate) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> &'a str {
    meta.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str).unwrap_or_default()
}

/// What is kept of every object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) deleting: bool,
}

impl Meta {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: version(meta),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// A Deployment or a Service.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) meta: Meta,
    /// Labels `tier`, `color` and `stage`; empty where absent.
    pub(crate) tier: String,
    pub(crate) color: String,
    pub(crate) stage: String,
    /// The annotation that says what was applied.
    pub(crate) applied: String,
    pub(crate) identity: String,
    /// What can drift, as JSON text: far smaller than a tree of values, and seldom looked into.
    pub(crate) content: Box<str>,
    /// Hash of `content`.
    pub(crate) digest: u64,
    /// Of a Deployment.
    pub(crate) replicas: u32,
    /// Of a Deployment: its controller has seen the newest spec.
    pub(crate) observed: bool,
    /// Of a Deployment: pods that its status counts.
    pub(crate) pods: u32,
    /// Of a Service.
    pub(crate) selector: BTreeMap<String, String>,
}

impl Workload {
    pub(crate) fn of(object: &DynamicObject) -> Self {
        let (content, digest) = drift::content(object);
        let number = |pointer: &str| {
            object.data.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
        };
        let annotation =
            |key: &str| object.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or(0);
        let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or(-1);
        let selector = object.data.pointer("/spec/selector").and_then(Value::as_object).map(|all| {
            all.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        });
        Self {
            meta: Meta::of(&object.metadata),
            tier: label(&object.metadata, labels::TIER).to_owned(),
            color: label(&object.metadata, labels::COLOR).to_owned(),
            stage: label(&object.metadata, labels::STAGE).to_owned(),
            applied: annotation(labels::APPLIED),
            identity: annotation(labels::IDENTITY),
            content,
            digest,
            replicas: number("/spec/replicas"),
            observed: observed >= generation,
            pods: number("/status/replicas"),
            selector: selector.unwrap_or_default(),
        }
    }
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
            missing_counter: pull::missing_counter(pod),
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

/// The ready endpoints of a stage's Service, as one slice has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) meta: Meta,
    pub(crate) service: String,
    /// Names of pods.
    pub(crate) ready: Vec<String>,
}

impl Slice {
    pub(crate) fn of(slice: &EndpointSlice) -> Self {
        let ready = slice.endpoints.iter().filter(|endpoint| {
            // "A nil value should be interpreted as true."
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
        });
        let pods = ready.filter_map(|endpoint| {
            endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?.name.clone()
        });
        Self {
            meta: Meta::of(&slice.metadata),
            service: label(&slice.metadata, "kubernetes.io/service-name").to_owned(),
            ready: pods.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_slice_names_its_ready_pods() {
        let pod = |name: &str| json!({ "kind": "Pod", "name": name, "namespace": "default" });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "frontend-active-x", "namespace": "default", "uid": "u", "resourceVersion": "7",
                "labels": { "kubernetes.io/service-name": "frontend-active", "rainbow.dev/rainbow": "seamless" },
            },
            "endpoints": [
                { "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "targetRef": pod("a") },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false }, "targetRef": pod("b") },
                { "addresses": ["10.0.0.3"], "conditions": {}, "targetRef": pod("c") },
                { "addresses": ["10.0.0.4"], "conditions": { "ready": true } },
            ],
        });
        let slice = Slice::of(&serde_json::from_value(slice).unwrap());
        assert_eq!((slice.service.as_str(), slice.meta.version), ("frontend-active", 7));
        assert_eq!(slice.ready, ["a", "c"]);
    }

    /// The API server writes a slice without endpoints as `null`.
    #[test]
    fn a_slice_may_have_no_endpoints() {
        let slice = json!({ "metadata": { "name": "x" }, "addressType": "IPv4", "endpoints": null });
        assert_eq!(Slice::of(&serde_json::from_value(slice).unwrap()).ready, Vec::<String>::new());
    }
}
