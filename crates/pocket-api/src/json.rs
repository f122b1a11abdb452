//! JSON values as the server changes and writes them.

use bytes::Bytes;
use serde_json::{Map, Value};

/// Returns the object at `name`; creates it if it is missing or is no object.
pub(crate) fn object<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let slot = match value {
        Value::Object(map) => map.entry(name).or_insert_with(|| Value::Object(Map::new())),
        other => other,
    };
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        // The code above has just put an object here; the compiler cannot know that.
        _ => unreachable!("an object was just put here"),
    }
}

/// Serialises a value, which always succeeds for JSON values.
pub(crate) fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}
