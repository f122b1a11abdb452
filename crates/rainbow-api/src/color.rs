//! `Color` resource: one version of the whole application, made by the operator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{ColorDrain, ConfigKind, DrainStatus, Evidence, Tier, TierScaling, documented_enum, schema::any_object};

/// One version of the whole application: an immutable snapshot of all its tiers.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "rainbow.dev",
    version = "v1alpha1",
    doc = "One version of the whole application: an immutable snapshot of all its tiers.",
    kind = "Color",
    plural = "colors",
    category = "all",
    namespaced,
    status = "ColorStatus",
    printcolumn = r#"{"name":"Rainbow","type":"string","jsonPath":".spec.rainbow"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.ready","description":"Ready pods of all tiers"}"#,
    printcolumn = r#"{"name":"Stages","type":"string","jsonPath":".status.stages"}"#,
    printcolumn = r#"{"name":"Connections","type":"integer","jsonPath":".status.connections","description":"Connections last known while it drains"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ColorSpec {
    /// Name of the Rainbow that the color belongs to. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "rainbow is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 63))]
    pub rainbow: String,
    /// Name of the color. The names of its Deployments and Services end with it. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "color is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 63))]
    pub color: String,
    /// Number of the color among the colors of its Rainbow. A newer color has a higher one. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "revision is immutable: a change makes a new color" }]))]
    pub revision: i64,
    /// Tiers as they were when the color was made. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "tiers is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 64))]
    pub tiers: Vec<Tier>,
    /// Instance that serves each tier. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "instances is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 64))]
    pub instances: Vec<ColorInstance>,
    /// Tier that clients of a stage reach in this color, by stage, as the spec named it when the color was made. Set only where the tiers
    /// alone do not tell. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "entries is immutable: a change makes a new color" }]))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, String>,
    /// Source of the evidence that the connections of the color's pods have ended, as the spec had it when the color was made. Unset: an
    /// earlier version of the operator made the color. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "evidence is immutable: a change makes a new color" }]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Copies of ConfigMaps and Secrets that the color's pods read. Set only where `spec.config` of the Rainbow was `Versioned` when the
    /// color was made. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "config is immutable: a change makes a new color" }]))]
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<ColorConfig>,
    /// Retires the color now: it is not kept whole as a way back, and its pods end as soon as they have no connections. `rainbow retire`
    /// writes this field. A color that a stage points at is not retired. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retire: bool,
    /// Settings for the drain of this color that differ from the Rainbow's. `rainbow drain` writes this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<ColorDrain>,
}

/// Copy of a ConfigMap or a Secret that a color's pods read.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorConfig {
    /// Kind of the object: `ConfigMap` or `Secret`.
    pub kind: ConfigKind,
    /// Name of the object, as the templates have it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the copy, which pods read in place of the object. The name ends with a hash of the content.
    #[schemars(length(min = 1, max = 253))]
    pub copy: String,
    /// Whether there is a copy: `Copied` (default) or `Absent`.
    #[serde(default, skip_serializing_if = "ConfigContent::is_copied")]
    pub content: ConfigContent,
}

/// Whether there was an object to copy when a color was made.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ConfigContent {
    /// The copy exists.
    #[default]
    Copied,
    /// No object existed, and the templates say `optional: true`. No object has the name of the copy.
    Absent,
}

impl ConfigContent {
    fn is_copied(&self) -> bool {
        *self == Self::Copied
    }
}

/// Instance that serves a tier in a color.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorInstance {
    /// Name of the tier.
    pub tier: String,
    /// Color that introduced the instance: this one, unless the instance is shared.
    pub color: String,
    /// Hash of the pod template, the ports and the identities of the needed instances, in hexadecimal.
    pub identity: String,
    /// Container that counts connections in the instance's pods, as it was when the instance was made: a newer operator or cluster does not
    /// restart the pods. Unset: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// Whether the instance's pods carry the label `rainbow.dev/serving` and its Services select that label, so that a single pod can be
    /// taken out of the Services before it ends. Unset: an older version made the instance, which keeps its number of pods while it serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serving_label: bool,
    /// Service links of the instance's pods, where their template does not say.
    #[serde(default, skip_serializing_if = "ServiceLinks::is_default")]
    pub service_links: ServiceLinks,
    /// Source of the termination messages of the instance's containers, where their template does not say.
    #[serde(default, skip_serializing_if = "TerminationMessages::is_default")]
    pub termination_messages: TerminationMessages,
}

/// Environment variables such as `WEB_V1_PORT=tcp://…` that the kubelet puts into a pod for each Service of the namespace.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ServiceLinks {
    /// Default of Kubernetes, which is on. An older version made the instance.
    #[default]
    Default,
    /// Off, so that an application reads none of them by accident.
    Off,
}

impl ServiceLinks {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// Source of the message that the kubelet reports when a container ends.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum TerminationMessages {
    /// Default of Kubernetes: a file that few applications write. An older version made the instance.
    #[default]
    Default,
    /// The file, or the end of the log of a container that failed, so that a condition can quote its last line.
    Logs,
}

impl TerminationMessages {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// Container that counts connections.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Image of the container.
    pub image: String,
    /// Whether it is an init container with `restartPolicy: Always`, which ends after the application's containers. Otherwise it is a plain
    /// container.
    pub native: bool,
    /// Whole container as it was put into the pods, so that an operator that would write another one does not restart them. Unset: an
    /// operator of a version that did not record it made the instance. All of those versions made the same container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub container: Option<Value>,
}

/// State of a color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorStatus {
    /// Phase of the color's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ColorPhase>,
    /// Ready pods and wanted pods over all tiers, such as `10/10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Names of the stages that point at the color, joined by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<String>,
    /// Connections last known, over all pods of the color. Unset while the pods are not asked, and where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Gate that has rejected the color, as `stage/gate`. No automatic stage goes to the color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_by: Option<String>,
    /// Drain that is under way, or what a drain that is over has cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// Time at which the color left its last stage (RFC 3339). Unset while a stage points at the color, and before any stage did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
    /// Time at which the color was scaled to zero (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// Tier that clients of a stage reach in this color, by stage, as the spec named it while it described the color. Set only where the
    /// color's tiers alone do not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, String>,
    /// Whether the last stage was moved away from the color while the Rainbow's spec described it. Such a color drains as any other, and
    /// comes back when a stage is pointed at it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demoted: bool,
    /// Pods per tier at full size, by tier, where `replicas` was changed while the Rainbow's spec described this color. The color keeps
    /// this size, and comes back with it, when the spec describes another color. For a tier that another writer scales: the number of pods
    /// that the color began to serve with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, i32>,
    /// Scaling policy, by tier, where the Rainbow's spec had another one than the snapshot while it described this color.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scaling: BTreeMap<String, TierScaling>,
    /// Source of the evidence that the connections of the color's pods have ended, where the Rainbow's spec had another one than
    /// `spec.evidence` while it described this color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Seconds that a pod must be ready before it takes part in a shift, by tier, where the Rainbow's spec had another number than the
    /// snapshot while it described this color.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub min_ready_seconds: BTreeMap<String, i32>,
    /// State of the tiers that stages have for themselves, because needs are `compatible: Backward`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub parts: Vec<PartStatus>,
    /// Stages that have sent clients to the color. Empty: no stage has, so the color is no way back, and is removed as soon as it is not
    /// wanted. Unset: an earlier version of the operator made the color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<BTreeSet<String>>,
    /// Conditions of the color: `Ready`, `Stalled`, `ConnectionsUnknown` and `HeldByOnePeer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// State of those tiers of a color that one stage has for itself.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartStatus {
    /// Name of the stage.
    pub stage: String,
    /// First of the tiers that other tiers of the stage call. Unset: the part is the tiers that clients reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Time at which the tiers left the stage (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
    /// Time at which the tiers had no pods any more (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// Whether the stage was moved away from the tiers while the spec described the color.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demoted: bool,
    /// Pods per tier at full size, by tier, where the size differs from the snapshot's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, i32>,
    /// Addresses through which clients or callers have reached the tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<BTreeSet<String>>,
}

documented_enum! {
/// Phase of a color's life.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ColorPhase {
    /// Pods of the color are starting.
    Starting,
    /// All pods are ready, and no stage points at the color yet.
    Ready,
    /// A stage points at the color.
    Serving,
    /// No stage points at the color. It is kept until its connections have ended.
    Draining,
    /// The color has no pods and is kept as history.
    Retired,
    /// The color did not become ready within the progress deadline.
    Stalled,
}
}
