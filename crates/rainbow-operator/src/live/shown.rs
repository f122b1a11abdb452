//! Part of watched objects that is read. Everything else is skipped while an object is parsed: the records of field managers alone are half
//! of many an object, and a pod's spec is larger than everything that is kept of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Object as a watch reads it.
pub(crate) trait Shown: DeserializeOwned + Clone + Send + 'static {
    fn metadata(&self) -> &ObjectMeta;
}

/// Rainbow or Color. One that cannot be read must not hide the others.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShownCustom {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Value,
    #[serde(default)]
    pub(super) status: Value,
}

impl ShownCustom {
    /// Returns the spec alone.
    pub(crate) fn into_spec(self) -> Value {
        self.spec
    }
}

/// Deployment, Service, PodDisruptionBudget or HorizontalPodAutoscaler, whose spec is compared with the desired one.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShownApplied {
    /// Metadata with only those records of field managers that own `spec.replicas`.
    #[serde(deserialize_with = "metadata_with_scalers")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Value,
    #[serde(default)]
    pub(super) status: Option<AppliedStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppliedStatus {
    pub(super) observed_generation: Option<i64>,
    pub(super) replicas: Option<u32>,
    pub(super) conditions: Option<Vec<Condition>>,
}

/// Object of which only the metadata is requested.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShownMeta {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShownPod {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) init_containers: Option<Vec<Container>>,
    pub(super) containers: Option<Vec<Container>>,
    pub(super) readiness_gates: Option<Vec<ReadinessGate>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadinessGate {
    pub(super) condition_type: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub(super) phase: Option<String>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) init_container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) message: Option<String>,
    pub(super) last_transition_time: Option<Time>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) restart_count: u32,
    /// Whether the startup probe has passed.
    pub(super) started: Option<bool>,
    pub(super) state: Option<ContainerState>,
    pub(super) last_state: Option<ContainerState>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Waiting>,
    pub(super) running: Option<Running>,
    pub(super) terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Waiting {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

/// Running container. Nothing more is read of it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Running {}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Terminated {
    pub(super) exit_code: i32,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) finished_at: Option<Time>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShownSlice {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    /// The API server writes a slice without endpoints as `null`.
    pub(super) endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) conditions: Option<EndpointConditions>,
    pub(super) target_ref: Option<TargetRef>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct EndpointConditions {
    pub(super) ready: Option<bool>,
    pub(super) serving: Option<bool>,
    pub(super) terminating: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TargetRef {
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
}

macro_rules! shown {
    ($($type:ty),*) => { $(
        impl Shown for $type {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
        }
    )* };
}

shown!(ShownCustom, ShownApplied, ShownMeta, ShownPod, ShownSlice);

/// Metadata without the parts that are never read. `M` is the part that is read of the records of field managers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "M: Deserialize<'de>")]
struct Metadata<M> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    managed_fields: Option<M>,
}

/// Part of a field manager's record that says whether the manager owns `spec.replicas`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed {
    manager: Option<String>,
    fields_v1: Option<ManagedFields>,
}

#[derive(Deserialize)]
struct ManagedFields {
    #[serde(rename = "f:spec")]
    spec: Option<ManagedSpec>,
}

#[derive(Deserialize)]
struct ManagedSpec {
    #[serde(rename = "f:replicas")]
    replicas: Option<IgnoredAny>,
}

fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    Metadata::<IgnoredAny>::deserialize(from).map(ObjectMeta::from)
}

fn metadata_with_scalers<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let mut read = Metadata::<Vec<Managed>>::deserialize(from)?;
    let managers = read.managed_fields.take().unwrap_or_default().into_iter();
    let scales = |managed: &Managed| {
        managed.fields_v1.as_ref().and_then(|fields| fields.spec.as_ref()).is_some_and(|spec| spec.replicas.is_some())
    };
    let scalers = managers.filter(scales);
    let managed_fields =
        scalers.map(|managed| ManagedFieldsEntry { manager: managed.manager, ..ManagedFieldsEntry::default() });
    Ok(ObjectMeta { managed_fields: Some(managed_fields.collect()), ..ObjectMeta::from(read) })
}

impl<M> From<Metadata<M>> for ObjectMeta {
    fn from(read: Metadata<M>) -> Self {
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            finalizers: read.finalizers,
            labels: read.labels,
            annotations: read.annotations,
            owner_references: read.owner_references,
            ..Self::default()
        }
    }
}
