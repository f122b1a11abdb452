//! Structural schemas of CustomResourceDefinitions: prune, default, validate.
use serde_json::Value;
use crate::FieldError;
/// A compiled `openAPIV3Schema`.
#[derive(Debug)]
pub struct Schema {}
impl Schema {
    /// Compiles a schema. Mistakes in it have paths that start with `` (relative to the schema).
    pub fn parse(schema: &Value) -> Result<Self, Vec<FieldError>> { let _ = schema; Ok(Self {}) }
    /// Drops what the schema does not know, and says what (`spec.foo`). `apiVersion`, `kind` and `metadata` stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> { let _ = object; vec![] }
    /// Fills in the schema's defaults.
    pub fn default(&self, object: &mut Value) { let _ = object; }
    /// Checks an object; `old` is what it was before an update, for transition rules.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> { let _ = (new, old); vec![] }
}
