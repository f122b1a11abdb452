//! Merge patches (RFC 7386) between two states of a value.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Error;

/// Returns the patch that turns `old` into `new`; `None` if they are equal.
pub(crate) fn diff<T: Serialize>(old: &T, new: &T) -> Result<Option<Value>, Error> {
    let (old, new) = (serde_json::to_value(old)?, serde_json::to_value(new)?);
    Ok((old != new).then(|| merge(&old, &new)))
}

fn merge(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(have) if have == value => {}
            Some(have) => drop(patch.insert(key.clone(), merge(have, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

/// Returns whether two values are the same to Kubernetes: a missing field, null, and an empty list, map or text are equal.
pub(crate) fn is_same<T: Serialize + PartialEq>(a: &T, b: &T) -> bool {
    let clean = |value: &T| serde_json::to_value(value).ok().map(pruned);
    a == b || clean(a) == clean(b)
}

fn pruned(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: Map<String, Value> =
                map.into_iter().map(|(k, v)| (k, pruned(v))).filter(|(_, v)| !empty(v)).collect();
            Value::Object(map)
        }
        Value::Array(list) => Value::Array(list.into_iter().map(pruned).collect()),
        other => other,
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_are_small() {
        let old = json!({ "a": 1, "b": { "c": 1, "d": [1] }, "gone": true });
        let new = json!({ "a": 1, "b": { "c": 2, "d": [1, 2] }, "new": {} });
        assert_eq!(
            diff(&old, &new).unwrap().unwrap(),
            json!({ "b": { "c": 2, "d": [1, 2] }, "gone": null, "new": {} })
        );
        assert_eq!(diff(&old, &old).unwrap(), None);
    }

    #[test]
    fn empty_is_absent() {
        assert!(is_same(&json!({ "a": { "b": [] }, "c": null, "d": "" }), &json!({})));
        assert!(!is_same(&json!({ "a": 0 }), &json!({})));
        assert!(!is_same(&json!([{}]), &json!([])));
    }
}
