//! Conversion between the version in which an object is stored and the version that a client asks for.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{json::to_bytes, resource::Resource, store::Stored};

/// Fields of an Event: in `v1`, and in `events.k8s.io/v1`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn is_new_event(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

/// Returns whether clients of this version see the object as it is stored.
pub(crate) fn is_stored_form(resource: &Resource) -> bool {
    !is_new_event(resource) && resource.custom.as_ref().is_none_or(|custom| !custom.converts)
}

/// Converts from the client's version to the stored one.
pub(crate) fn to_storage(resource: &Resource, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    if is_new_event(resource) {
        rename(fields, |(old, new)| (new, old));
        fields.insert("apiVersion".into(), json!("v1"));
    } else if let Some(custom) = &resource.custom {
        fields.insert("apiVersion".into(), json!(custom.storage_api_version));
    }
}

/// Converts from the stored version to the client's.
pub(crate) fn from_storage(resource: &Resource, object: &mut Value) {
    if is_stored_form(resource) {
        return;
    }
    let Some(fields) = object.as_object_mut() else { return };
    if is_new_event(resource) {
        rename(fields, |pair| pair);
    }
    fields.insert("apiVersion".into(), json!(resource.api_version()));
    if let Some(custom) = &resource.custom {
        custom.schema.default(object);
    }
}

fn rename(
    fields: &mut Map<String, Value>,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    for (from, to) in EVENT_FIELDS.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.into(), value);
        }
    }
}

/// Returns a stored object as clients of this version see it, serialised.
pub(crate) fn bytes(resource: &Resource, stored: &Stored) -> Bytes {
    if is_stored_form(resource) {
        return stored.bytes.clone();
    }
    to_bytes(&value(resource, stored))
}

/// Returns a stored object as clients of this version see it.
pub(crate) fn value(resource: &Resource, stored: &Stored) -> Value {
    let mut value = stored.value();
    from_storage(resource, &mut value);
    value
}
