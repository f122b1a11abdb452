//! Is an object of a built-in kind (or the metadata of any) allowed?
use serde_json::Value;
use crate::FieldError;
/// Checks a new object, after its defaults are in. Metadata is checked for every kind.
pub fn create(group: &str, kind: &str, object: &Value) -> Vec<FieldError> { let _ = (group, kind, object); vec![] }
/// Checks a change: what `create` checks, and what may not change.
pub fn update(group: &str, kind: &str, old: &Value, new: &Value) -> Vec<FieldError> { let _ = (group, kind, old, new); vec![] }
