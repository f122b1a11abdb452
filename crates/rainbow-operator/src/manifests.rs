//! The objects as they shall be, as they are applied: every field in them is Rainbow's, every other field is not.

mod color;
mod deployment;
mod guard;
mod service;
mod sidecar;
mod stage;

pub(crate) use color::color;
pub(crate) use deployment::deployment;
pub(crate) use guard::guard;
pub(crate) use service::service;
pub(crate) use stage::{relabel, select, selection, stage};

use rainbow_api::{Rainbow, labels};
use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// What all objects of one application have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) namespace: &'a str,
    /// Name of the `Rainbow`.
    pub(crate) rainbow: &'a str,
    pub(crate) prefix: Option<&'a str>,
}

/// The labels that a selector names.
fn instance_labels(scope: &Scope<'_>, tier: &str, color: &str) -> Map<String, Value> {
    [(labels::RAINBOW, scope.rainbow), (labels::TIER, tier), (labels::COLOR, color)]
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .into_iter()
        .collect()
}

/// Labels of an object itself.
fn managed(mut labels: Map<String, Value>) -> Map<String, Value> {
    labels.insert(labels::MANAGED_BY.into(), json!(labels::MANAGER));
    labels
}

/// The owner of everything that is made. An instance may be shared, so no color owns it.
fn owner(scope: &Scope<'_>, rainbow: &Rainbow) -> Value {
    json!([{
        "apiVersion": Kind::Rainbow.api_version(), "kind": Kind::Rainbow.name(), "name": scope.rainbow,
        "uid": rainbow.metadata.uid.as_deref().unwrap_or_default(), "controller": true, "blockOwnerDeletion": true,
    }])
}

#[cfg(test)]
mod tests;
