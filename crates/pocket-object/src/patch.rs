//! Patch types of the Kubernetes API: JSON patch, merge patch and strategic merge patch.

mod strategic;

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::shape::Shape;

/// Reason for which a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Malformed patch: HTTP 400, `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// Patch that does not fit the object: HTTP 422, `Invalid`.
    #[error("{0}")]
    Unprocessable(String),
}

/// Greatest number of operations, as in a real API server.
const MAX_OPERATIONS: usize = 10_000;
/// Greatest sum of the copies of one patch, in bytes. Without this limit a short patch could fill the memory.
const MAX_COPIED: usize = 3 * 1024 * 1024;
/// Greatest depth of a patched object.
const MAX_DEPTH: usize = 512;

/// Applies a JSON patch (RFC 6902), either all of it or nothing.
pub fn json_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Patch(operations) = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::BadRequest(format!("the body is no JSON patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::BadRequest(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in &operations {
        if let PatchOperation::Copy(copy) = operation
            && let Some(value) = patched.pointer(copy.from.as_str())
        {
            copied += size(value);
            if copied > MAX_COPIED {
                return Err(PatchError::Unprocessable(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
        }
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| PatchError::Unprocessable(error.to_string()))?;
        if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_)) && depth_over(&patched, MAX_DEPTH) {
            return Err(PatchError::Unprocessable(format!("the patched object nests deeper than {MAX_DEPTH}")));
        }
    }
    Ok(patched)
}

/// Applies a merge patch (RFC 7386).
pub fn merge_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::BadRequest("a merge patch must be a JSON object".to_owned()));
    }
    let mut merged = object.clone();
    json_patch::merge(&mut merged, patch);
    Ok(merged)
}

/// Applies a strategic merge patch: merges lists that have a merge key, and obeys the directives `$patch`, `$retainKeys`,
/// `$setElementOrder/…` and `$deleteFromPrimitiveList/…`.
pub fn strategic_merge_patch(object: &Value, patch: &Value, shape: &Shape) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::BadRequest("a strategic merge patch must be a JSON object".to_owned()));
    };
    strategic::merge_map(object, patch, shape.root(), "").map(Value::Object)
}

/// Returns the approximate size of a value's text in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + 4 + size(value)).sum::<usize>() + 2,
    }
}

/// Returns whether a value nests deeper than `limit`. Looks no deeper than that.
fn depth_over(value: &Value, limit: usize) -> bool {
    if limit == 0 {
        return value.is_array() || value.is_object();
    }
    match value {
        Value::Array(items) => items.iter().any(|item| depth_over(item, limit - 1)),
        Value::Object(map) => map.values().any(|item| depth_over(item, limit - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    #[test]
    fn json_patches() {
        let check = |patch: Value, want: Result<Value, bool>| {
            let got = json_patch(&json!({ "a": { "b": 1, "c": [1, 2] } }), &patch);
            let got = got.map_err(|error| matches!(error, PatchError::BadRequest(_)));
            assert_eq!(got, want, "{patch}");
        };
        check(json!([{ "op": "replace", "path": "/a/b", "value": 2 }]), Ok(json!({ "a": { "b": 2, "c": [1, 2] } })));
        check(json!([{ "op": "add", "path": "/a/c/-", "value": 3 }]), Ok(json!({ "a": { "b": 1, "c": [1, 2, 3] } })));
        check(json!([{ "op": "test", "path": "/a/b", "value": 1 }, { "op": "remove", "path": "/a" }]), Ok(json!({})));
        check(json!([{ "op": "test", "path": "/a/b", "value": 9 }]), Err(false));
        check(json!([{ "op": "remove", "path": "/x" }]), Err(false));
        check(json!([{ "op": "nonsense", "path": "/x" }]), Err(true));
        check(json!({ "a": 1 }), Err(true));
    }

    #[test]
    fn a_patch_cannot_blow_up_an_object() {
        let copies: Vec<Value> =
            (0..200).map(|n| json!({ "op": "copy", "from": "", "path": format!("/k{n}") })).collect();
        assert!(json_patch(&json!({ "a": "x".repeat(100) }), &Value::Array(copies)).is_err());
        let nest: Vec<Value> = (0..2000).map(|_| json!({ "op": "copy", "from": "/a", "path": "/a/a" })).collect();
        assert!(json_patch(&json!({ "a": {} }), &Value::Array(nest)).is_err());
    }

    proptest! {
        #[test]
        fn a_merge_patch_is_idempotent(object in any_json(), patch in any_json()) {
            if let Ok(once) = merge_patch(&object, &patch) {
                prop_assert_eq!(&merge_patch(&once, &patch).unwrap(), &once);
                for (key, value) in patch.as_object().unwrap() {
                    if value.is_null() { prop_assert!(once.get(key).is_none()); }
                }
            }
        }

        #[test]
        fn no_patch_panics(object in any_json(), patch in any_json()) {
            let _ = json_patch(&object, &patch);
            let _ = merge_patch(&object, &patch);
            let _ = strategic_merge_patch(&object, &patch, &Shape::builtin("", "Pod"));
        }
    }
}
