//! Deployments, Services and PodDisruptionBudgets: what the operator applies and compares.

use kube::api::DynamicObject;
use rainbow_api::labels;
use rainbow_plan::{InstanceName, Selection};
use serde_json::Value;
use std::collections::BTreeMap;

use super::{Meta, label};
use crate::drift::Content;

/// A Deployment.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) meta: Meta,
    /// Labels; empty where absent.
    pub(crate) tier: Box<str>,
    pub(crate) color: Box<str>,
    pub(crate) identity: Box<str>,
    pub(crate) content: Content,
    pub(crate) replicas: u32,
    /// The Deployment controller has seen the newest spec.
    pub(crate) observed: bool,
    /// Pods that the status counts.
    pub(crate) pods: u32,
}

impl Deployment {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let number = |pointer: &str| {
            object.data.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
        };
        let generation = object.metadata.generation.unwrap_or(0);
        let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or(-1);
        Self {
            meta: Meta::of(&object.metadata),
            tier: label(&object.metadata, labels::TIER).into(),
            color: label(&object.metadata, labels::COLOR).into(),
            identity: annotation(object, labels::IDENTITY).into(),
            content: Content::of(object),
            replicas: number("/spec/replicas"),
            observed: observed >= generation,
            pods: number("/status/replicas"),
        }
    }
}

/// A Service, of an instance or of a stage.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) meta: Meta,
    /// Labels; empty where absent.
    pub(crate) tier: Box<str>,
    pub(crate) color: Box<str>,
    pub(crate) stage: Box<str>,
    pub(crate) content: Content,
    pub(crate) selects: Selection,
}

impl Service {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let selector = object.data.pointer("/spec/selector").and_then(Value::as_object);
        let selector =
            selector.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        let stage = label(&object.metadata, labels::STAGE);
        let selects = selection(label(&object.metadata, labels::RAINBOW), stage, &selector.collect());
        Self {
            meta: Meta::of(&object.metadata),
            tier: label(&object.metadata, labels::TIER).into(),
            color: label(&object.metadata, labels::COLOR).into(),
            stage: stage.into(),
            content: Content::of(object),
            selects,
        }
    }
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) meta: Meta,
    pub(crate) content: Content,
}

impl Budget {
    pub(super) fn of(object: &DynamicObject) -> Self {
        Self { meta: Meta::of(&object.metadata), content: Content::of(object) }
    }
}

/// Value of an annotation, or the empty text.
fn annotation<'a>(object: &'a DynamicObject, key: &str) -> &'a str {
    object.metadata.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str).unwrap_or_default()
}

/// What the Service of a stage, or of an instance if `stage` is empty, selects.
fn selection(rainbow: &str, stage: &str, selector: &BTreeMap<&str, &str>) -> Selection {
    let get = |key: &str| selector.get(key).copied();
    if get(labels::RAINBOW) != Some(rainbow) {
        return Selection::Other;
    }
    match (selector.len(), get(labels::TIER), get(labels::COLOR)) {
        (3, Some(tier), Some(color)) => {
            Selection::Instance(InstanceName { tier: tier.to_owned(), color: color.to_owned() })
        }
        (2, None, None) if get(&labels::member(stage)) == Some(labels::MEMBER) => Selection::Members,
        _ => Selection::Other,
    }
}
