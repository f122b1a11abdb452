//! The `Color` resource: one version of the whole application, made by the operator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{ColorDrain, ConfigKind, DrainStatus, Evidence, Tier, TierScaling, rainbow::any_object};

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
    /// Name of the Rainbow this color belongs to.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "rainbow is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 63))]
    pub rainbow: String,
    /// The color's name, which the names of its Deployments and Services end with.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "color is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 63))]
    pub color: String,
    /// Rises with every color of a Rainbow: the newest color has the highest.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "revision is immutable: a change makes a new color" }]))]
    pub revision: i64,
    /// The tiers as they were when the color was made. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "tiers is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 64))]
    pub tiers: Vec<Tier>,
    /// Which instance serves each tier. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "instances is immutable: a change makes a new color" }]))]
    #[schemars(length(min = 1, max = 64))]
    pub instances: Vec<ColorInstance>,
    /// By stage: the tier that its clients reach in this color, where the tiers do not tell, as the spec named it when the color was made.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "entries is immutable: a change makes a new color" }]))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, String>,
    /// Source of the evidence that the connections of the color's pods have ended, as the spec had it when the color was made.
    /// Unset: an earlier version of the operator made the color.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "evidence is immutable: a change makes a new color" }]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Copies of ConfigMaps and Secrets that the color's pods read, where `spec.config` of the Rainbow was `Versioned` when the color was made.
    /// Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "config is immutable: a change makes a new color" }]))]
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<ColorConfig>,
    /// The color is not kept whole as a way back: its pods end as soon as they have no connections. `rainbow retire`
    /// writes it; it is refused while a stage points at the color.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retire: bool,
    /// What is different in the drain of this color. `rainbow drain` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<ColorDrain>,
}

/// Copy of a ConfigMap or a Secret that a color's pods read.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorConfig {
    /// Kind of the object.
    pub kind: ConfigKind,
    /// Name of the object in the templates.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the copy, which pods read in place of the object. It ends with a hash of the content.
    #[schemars(length(min = 1, max = 253))]
    pub copy: String,
    /// Whether there is a copy.
    #[serde(default, skip_serializing_if = "ConfigContent::is_copied")]
    pub content: ConfigContent,
}

/// Whether there was an object to copy when a color was made.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ConfigContent {
    /// The object was copied.
    #[default]
    Copied,
    /// There was none, and the templates say `optional: true`. No object has the name of the copy.
    Absent,
}

impl ConfigContent {
    fn is_copied(&self) -> bool {
        *self == Self::Copied
    }
}

/// Which instance serves a tier in a color.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorInstance {
    /// Name of the tier.
    pub tier: String,
    /// The color that introduced the instance: this one, unless the instance is shared.
    pub color: String,
    /// Hash of the pod template, the ports and the identities of the needed instances, in hexadecimal.
    pub identity: String,
    /// The container that counts connections in its pods, as it was when the instance was made: a newer operator or
    /// cluster does not restart them. Unset: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// Its pods carry the label `rainbow.dev/serving`, and its Services ask for that label: a single pod can be taken out of them
    /// before it ends. Unset: an older version made the instance, which keeps its number of pods while it serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serving_label: bool,
    /// What its pods have of service links where their template does not say.
    #[serde(default, skip_serializing_if = "ServiceLinks::is_default")]
    pub service_links: ServiceLinks,
    /// Source of the termination messages of its containers where their template does not say.
    #[serde(default, skip_serializing_if = "TerminationMessages::is_default")]
    pub termination_messages: TerminationMessages,
}

/// Environment variables such as `WEB_V1_PORT=tcp://…` that the kubelet puts into a pod, for each Service of its namespace.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ServiceLinks {
    /// As Kubernetes has it, which is on. An older version made the instance.
    #[default]
    Default,
    /// Off: an application reads none of them by accident.
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
    /// As Kubernetes has it: a file that few applications write. An older version made the instance.
    #[default]
    Default,
    /// That file, or the end of the log of a container that failed, so that a condition can quote its last line.
    Logs,
}

impl TerminationMessages {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// The container that counts connections.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Its image.
    pub image: String,
    /// An init container with `restartPolicy: Always`, which ends after the application's; else a plain container.
    pub native: bool,
    /// The whole container as it was put into the pods: an operator that would write another one does not restart them. Unset: an
    /// operator of a version that did not write it down made the instance, and all of those made the same container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub container: Option<Value>,
}

/// What became of a color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorStatus {
    /// Where in its life the color is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ColorPhase>,
    /// Ready pods of wanted pods over all tiers, such as `10/10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Names of the stages that point at the color, joined by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<String>,
    /// Connections last known, over all its pods. Unset while nobody asks, and where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// The drain: under way, or what it cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// When the color left its last stage (RFC 3339). Unset while a stage points at it and before it was in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
    /// When the color was scaled to zero (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// By stage: the tier that its clients reach in this color, where the spec named it while it described the color and the color's
    /// tiers do not tell by themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, String>,
    /// The last stage was moved away from the color while the Rainbow's spec described it: it drains as any other color, and comes
    /// back when a stage is pointed at it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demoted: bool,
    /// Pods per tier at full size, by tier, where `replicas` was changed while the Rainbow's spec described this color: the size that
    /// it keeps and comes back with when the spec describes another one. Of a tier that is scaled by others: the pods that the color
    /// began to serve with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, i32>,
    /// Policy about sizes, by tier, where the Rainbow's spec had another one than the snapshot has while it described this color.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scaling: BTreeMap<String, TierScaling>,
    /// Source of the evidence that the connections of the color's pods have ended, where the Rainbow's spec had another one
    /// than `spec.evidence` while it described this color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Seconds per tier that pods have to be ready, where the Rainbow's spec asked for another number than the snapshot has while it
    /// described this color.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub min_ready_seconds: BTreeMap<String, i32>,
    /// What is remembered of the tiers that stages have for themselves, because needs are `compatible: Backward`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub parts: Vec<PartStatus>,
    /// The stages that have sent clients to the color. Empty: none ever has, so the color is no way back, and goes as soon as it is not
    /// wanted. Unset: an earlier version of the operator made the color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<BTreeSet<String>>,
    /// Why the color is where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is remembered of tiers of a color that one stage has for itself.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartStatus {
    /// Name of the stage.
    pub stage: String,
    /// First of the tiers that others of the stage call. Unset: the tiers that clients reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// When they left the stage (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
    /// When they had no pods any more (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// The stage was moved away from them while the spec described the color.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demoted: bool,
    /// Pods per tier at full size, where that is another size than the snapshot's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, i32>,
    /// The addresses through which clients or callers have reached them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<BTreeSet<String>>,
}

/// Where in its life a color is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ColorPhase {
    /// Its pods are on their way.
    Starting,
    /// All pods ready, in no stage yet.
    Ready,
    /// A stage points at it.
    Serving,
    /// Out of every stage, kept until its connections have ended.
    Draining,
    /// No pods; kept as history.
    Retired,
    /// It did not become ready within the progress deadline.
    Stalled,
}
