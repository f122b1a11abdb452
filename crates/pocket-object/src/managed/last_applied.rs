//! Annotation of a client-side `kubectl apply`.

use serde_json::Value;

use super::{compare::compare, fields, set::FieldSet};
use crate::shape::Node;

pub(super) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Returns the fields that the annotation names and that still have its value.
pub(super) fn fields(live: &Value, api_version: &str, node: &Node) -> FieldSet {
    let annotation = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(ANNOTATION))
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(|object| object.get("apiVersion").is_some_and(|version| version == api_version));
    let Some(applied) = annotation else { return FieldSet::default() };
    let mut own = fields::of(&applied, node);
    let difference = compare(&applied, live, node);
    own.subtract(&difference.changed());
    own.subtract(&difference.removed);
    own
}

/// Keeps the annotation true, so that a client-side apply may follow.
pub(super) fn sync(object: &mut Value, intent: &Value) {
    let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") else { return };
    let Some(annotation) = annotations.get_mut(ANNOTATION).filter(|text| **text != "") else { return };
    let mut intent = intent.clone();
    if let Some(Value::Object(annotations)) = intent.pointer_mut("/metadata/annotations") {
        annotations.remove(ANNOTATION);
    }
    *annotation = Value::from(format!("{intent}\n"));
}
