//! Deployments, Services and PodDisruptionBudgets: what the operator applies and compares.

use kube::api::DynamicObject;
use rainbow_api::labels;
use serde_json::Value;
use std::collections::BTreeMap;

use super::{Meta, label};
use crate::drift::Content;

/// A Deployment.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) meta: Meta,
    /// Labels; empty where absent.
    pub(crate) tier: String,
    pub(crate) color: String,
    pub(crate) identity: String,
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
            tier: label(&object.metadata, labels::TIER).to_owned(),
            color: label(&object.metadata, labels::COLOR).to_owned(),
            identity: annotation(object, labels::IDENTITY),
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
    pub(crate) tier: String,
    pub(crate) color: String,
    pub(crate) stage: String,
    pub(crate) content: Content,
    pub(crate) selector: BTreeMap<String, String>,
}

impl Service {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let selector = object.data.pointer("/spec/selector").and_then(Value::as_object).map(|all| {
            all.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        });
        Self {
            meta: Meta::of(&object.metadata),
            tier: label(&object.metadata, labels::TIER).to_owned(),
            color: label(&object.metadata, labels::COLOR).to_owned(),
            stage: label(&object.metadata, labels::STAGE).to_owned(),
            content: Content::of(object),
            selector: selector.unwrap_or_default(),
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
fn annotation(object: &DynamicObject, key: &str) -> String {
    object.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned().unwrap_or_default()
}
