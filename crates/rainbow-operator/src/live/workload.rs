//! Deployments, Services and PodDisruptionBudgets: objects that the operator applies and compares.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::{FIELD_MANAGER, labels};
use rainbow_plan::Selection;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

use super::{Meta, ShownApplied, instance, label, rainbow_of, shown::AppliedStatus};
use crate::{domain::Senders, drift::Content, fixed::Fixed};

#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) meta: Meta,
    /// Labels of the Deployment's pods, which no writer can change. Empty: absent.
    pub(crate) tier: Arc<str>,
    pub(crate) color: Arc<str>,
    pub(crate) belongs_to: Arc<str>,
    pub(crate) identity: Box<str>,
    pub(crate) content: Content,
    pub(crate) replicas: u32,
    /// Field manager that has written `replicas` since Rainbow has.
    pub(crate) scaled_by: Option<Box<str>>,
    /// Whether the Deployment controller has seen the newest spec.
    pub(crate) observed: bool,
    /// Number of pods in the status.
    pub(crate) pods: u32,
    /// Reason why the ReplicaSet controller cannot make pods, such as a quota.
    pub(crate) failure: Option<Box<str>>,
}

impl Deployment {
    pub(super) fn of(object: &ShownApplied) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let replicas =
            object.spec.get("replicas").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
        let generation = object.metadata.generation.unwrap_or(0);
        let of_pods = |key: &str| object.spec["selector"]["matchLabels"][key].as_str().unwrap_or_default().into();
        Self {
            meta: Meta::of(&object.metadata),
            tier: of_pods(labels::TIER),
            color: of_pods(labels::COLOR),
            belongs_to: of_pods(labels::BELONGS_TO),
            identity: annotation(&object.metadata, labels::IDENTITY).into(),
            content: Content::of(&object.metadata, &object.spec),
            replicas: replicas.unwrap_or(0),
            scaled_by: scaled_by(&object.metadata),
            observed: status.observed_generation.unwrap_or(-1) >= generation,
            pods: status.replicas.unwrap_or(0),
            failure: failure(&status),
        }
    }
}

/// Returns the field manager that owns `spec.replicas`, if it is not Rainbow. A writer that changes a field takes it from all others.
fn scaled_by(meta: &ObjectMeta) -> Option<Box<str>> {
    let mut managers = meta.managed_fields.iter().flatten().filter_map(|managed| managed.manager.as_deref()).peekable();
    let first = *managers.peek()?;
    managers.all(|manager| manager != FIELD_MANAGER).then(|| first.into())
}

/// Returns the message of the condition `ReplicaFailure`.
fn failure(status: &AppliedStatus) -> Option<Box<str>> {
    let mut conditions = status.conditions.iter().flatten();
    let failed = conditions.find(|found| found.type_ == "ReplicaFailure" && found.status == "True")?;
    failed.message.as_deref().map(Into::into)
}

/// Service of an instance or of a stage, or the shadow of a stage's.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) meta: Meta,
    /// Labels. Empty: absent.
    pub(crate) tier: Arc<str>,
    pub(crate) color: Arc<str>,
    pub(crate) belongs_to: Arc<str>,
    pub(crate) stage: Arc<str>,
    /// Stage of which this is the shadow Service. Such a Service is no instance's, and not the stage's own.
    pub(crate) shadow_of: Arc<str>,
    pub(crate) content: Content,
    pub(crate) selects: Selection,
    /// Whether the selector asks for the serving label.
    pub(crate) asks: bool,
    /// Color that a stage serves, as it was written with the selector. Empty: absent.
    pub(crate) serves: Arc<str>,
    pub(crate) node_ports: Box<[i32]>,
    pub(crate) senders: Senders,
    /// Fields that cannot change unless the Service is created again.
    pub(crate) fixed: Fixed,
    /// Stage whose members the Service selects. Empty: none.
    pub(crate) members_of: Box<str>,
}

impl Service {
    /// Returns whether the labels say what the Service is for. Without them its name does.
    pub(crate) fn says_what_for(&self) -> bool {
        !(self.stage.is_empty() && self.shadow_of.is_empty() && self.color.is_empty())
    }

    pub(super) fn of(object: &ShownApplied) -> Self {
        let selector = object.spec.get("selector").and_then(Value::as_object);
        let selector =
            selector.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        let stage = label(&object.metadata, labels::STAGE);
        let mut selector: BTreeMap<&str, &str> = selector.collect();
        let asks = selector.get(labels::SERVING) == Some(&labels::YES);
        if asks {
            selector.remove(labels::SERVING);
        }
        let shadow_of = label(&object.metadata, labels::SHADOW);
        let is_of_stage = !stage.is_empty() || !shadow_of.is_empty();
        let rainbow = rainbow_of(&object.metadata).unwrap_or_default();
        let (selects, members_of) = selection(rainbow, is_of_stage, &selector);
        Self {
            meta: Meta::of(&object.metadata),
            tier: label(&object.metadata, labels::TIER).into(),
            color: label(&object.metadata, labels::COLOR).into(),
            belongs_to: label(&object.metadata, labels::BELONGS_TO).into(),
            stage: stage.into(),
            shadow_of: shadow_of.into(),
            content: Content::of(&object.metadata, &object.spec),
            selects,
            asks,
            serves: annotation(&object.metadata, labels::SERVES).into(),
            node_ports: node_ports(&object.spec),
            senders: senders(object),
            fixed: Fixed::of(&object.spec),
            members_of: members_of.into(),
        }
    }
}

/// Returns the senders of the Service's clients to pods.
fn senders(object: &ShownApplied) -> Senders {
    let text = |field: &str| object.spec.get(field).and_then(Value::as_str).unwrap_or_default();
    Senders::of(|key| annotation(&object.metadata, key), text)
}

#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) meta: Meta,
    /// Name of the stage that the budget is for. Empty: it is for the pods of draining colors.
    pub(crate) stage: Box<str>,
    /// Number of pods that must stay, where the budget has a number.
    pub(crate) least: Option<u32>,
    pub(crate) content: Content,
}

impl Budget {
    pub(super) fn of(object: &ShownApplied) -> Self {
        let least = object.spec.get("minAvailable").and_then(Value::as_u64);
        Self {
            meta: Meta::of(&object.metadata),
            stage: label(&object.metadata, labels::STAGE).into(),
            least: least.and_then(|least| u32::try_from(least).ok()),
            content: Content::of(&object.metadata, &object.spec),
        }
    }
}

/// Returns the value of an annotation, or the empty text.
fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> &'a str {
    meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str).unwrap_or_default()
}

/// Returns the node ports in the spec of a Service.
fn node_ports(spec: &Value) -> Box<[i32]> {
    let ports = spec["ports"].as_array().into_iter().flatten();
    let numbers = ports.filter_map(|port| i32::try_from(port["nodePort"].as_i64()?).ok());
    numbers.collect()
}

/// Returns what a Service of a stage or of an instance selects, without the serving label, and the stage whose members these are.
fn selection<'a>(rainbow: &str, is_of_stage: bool, selector: &BTreeMap<&'a str, &str>) -> (Selection, &'a str) {
    let get = |key: &str| selector.get(key).copied();
    if get(labels::RAINBOW) != Some(rainbow) {
        return (Selection::Other, "");
    }
    // A stage that was renamed in the middle of a shift selects by its former label.
    let is_member =
        |(key, value): (&&'a str, &&str)| key.strip_prefix(labels::MEMBER_PREFIX).filter(|_| *value == labels::MEMBER);
    let members_of = selector.iter().find_map(is_member);
    let of_stage = get(labels::BELONGS_TO);
    let keys = selector.len() - usize::from(of_stage.is_some());
    match (keys, get(labels::TIER), get(labels::COLOR), members_of) {
        (3, Some(tier), Some(color), _) => {
            (Selection::Instance(instance(tier, color, of_stage.unwrap_or_default())), "")
        }
        (2, None, None, Some(members_of)) if is_of_stage => (Selection::Members, members_of),
        _ => (Selection::Other, ""),
    }
}
