//! stub
use serde_json::Value;
/// How the lists and maps of a kind merge. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shape {}
impl Shape {
    /// The shape of a built-in kind; `untyped` for one that is not known.
    pub fn builtin(group: &str, kind: &str) -> Self { let _ = (group, kind); Self {} }
    /// The shape that a CRD's `openAPIV3Schema` declares (`x-kubernetes-list-type` and so on).
    pub fn from_crd_schema(schema: &Value) -> Self { let _ = schema; Self {} }
    /// Maps merge, lists are atomic.
    pub fn untyped() -> Self { Self {} }
}
