//! Objects as they should be, in the form in which they are applied: every field in them is Rainbow's, every other field is not.

mod color;
mod copy;
mod defaults;
mod deployment;
mod guard;
mod scaler;
mod service;
mod sidecar;
mod stage;

pub(crate) use color::{NewColor, PodAdditions, color};
pub(crate) use copy::{config_key, copy};
pub(crate) use deployment::deployment;
pub(crate) use guard::{guard, stage_budget};
pub(crate) use scaler::scaler;
pub(crate) use service::{ports_digest, service};
pub(crate) use sidecar::{fit, recorded};
pub(crate) use stage::{relabel, reselect, say, select, shadow, stage};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rainbow_api::{Rainbow, labels};
use rainbow_plan::InstanceName;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use crate::{kind::Kind, live::Templates};

/// Values that all objects of one application have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) namespace: &'a str,
    /// Name of the `Rainbow`.
    pub(crate) rainbow: &'a str,
    pub(crate) prefix: Option<&'a str>,
    pub(crate) templates: &'a Templates,
}

/// Returns the labels that an instance's selector names.
pub(crate) fn instance_labels(scope: &Scope<'_>, instance: &InstanceName) -> Map<String, Value> {
    let stage = instance.stage.as_deref().map(|stage| (labels::BELONGS_TO, stage));
    [(labels::RAINBOW, scope.rainbow), (labels::TIER, &instance.tier), (labels::COLOR, &instance.color)]
        .into_iter()
        .chain(stage)
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect()
}

/// Returns the selector of an instance's Services. `labeled`: its pods carry the serving label.
fn serving_labels(scope: &Scope<'_>, instance: &InstanceName, labeled: bool) -> Map<String, Value> {
    let mut selector = instance_labels(scope, instance);
    if labeled {
        selector.insert(labels::SERVING.into(), json!(labels::YES));
    }
    selector
}

/// Returns an object of the Rainbow, with what each one has: its place, its labels, its owner.
fn owned(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    kind: Kind,
    name: &str,
    labels: Map<String, Value>,
    spec: Value,
) -> Value {
    let mut object = object(scope, rainbow, kind, name, labels);
    object["spec"] = spec;
    object
}

/// Returns the same for a kind that has no spec.
fn object(scope: &Scope<'_>, rainbow: &Rainbow, kind: Kind, name: &str, labels: Map<String, Value>) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": {
            "name": name,
            "namespace": scope.namespace,
            "labels": managed(labels),
            "ownerReferences": owner(scope, rainbow),
        },
    })
}

/// Adds to a Service of the Rainbow what its user asks for: labels, annotations, and fields that are copied. Rainbow's own labels and
/// annotations take precedence.
fn with_said(
    mut object: Value,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    fields: Map<String, Value>,
) -> Value {
    for (place, said) in [("labels", labels), ("annotations", annotations)] {
        for (key, value) in said.iter().filter(|(key, _)| !labels::is_reserved(key)) {
            object["metadata"][place][key] = json!(value);
        }
    }
    for (field, value) in fields {
        object["spec"][field] = value;
    }
    object
}

/// Returns the labels of an object itself.
fn managed(mut labels: Map<String, Value>) -> Map<String, Value> {
    labels.insert(labels::MANAGED_BY.into(), json!(labels::MANAGER));
    labels
}

/// Returns the owner of every object that is made. An instance may be shared, so no color owns it.
fn owner(scope: &Scope<'_>, rainbow: &Rainbow) -> Value {
    json!([OwnerReference { block_owner_deletion: Some(true), ..controller(scope, rainbow) }])
}

/// Returns the Rainbow as the controller of an object.
pub(crate) fn controller(scope: &Scope<'_>, rainbow: &Rainbow) -> OwnerReference {
    OwnerReference {
        api_version: Kind::Rainbow.api_version().to_owned(),
        kind: Kind::Rainbow.name().to_owned(),
        name: scope.rainbow.to_owned(),
        uid: rainbow.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
