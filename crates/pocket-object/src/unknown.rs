//! Fields that a kind does not have.
use serde_json::Value;
/// The unknown fields of an object, given its kind's OpenAPI v3 schema (with references into `components.schemas` or
/// `definitions` of the same document, or inlined): `unknown field "spec.replica"`.
pub fn unknown_fields(schema: &Value, object: &Value) -> Vec<String> { let _ = (schema, object); vec![] }
