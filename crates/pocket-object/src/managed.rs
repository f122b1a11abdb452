//! Who owns which field: `metadata.managedFields` and server-side apply.
use serde_json::Value;
use crate::shape::Shape;

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Create, update, or any other patch.
    Update,
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// The field manager's name.
    pub name: &'a str,
    /// How it writes.
    pub operation: Operation,
    /// Of the written object, `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`; none for the object itself.
    pub subresource: Option<&'a str>,
    /// Now, RFC 3339 with seconds.
    pub time: &'a str,
}

/// A field that an apply would change and that someone else owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The other owner, as kubectl shows it: `"kubectl-edit" using apps/v1`.
    pub manager: String,
    /// The field: `.spec.replicas`.
    pub field: String,
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Someone else owns fields that the apply would change: HTTP 409, `Conflict`, a cause `FieldManagerConflict` for each.
    #[error("Apply failed with conflicts")]
    Conflicts(Vec<Conflict>),
    /// The intent cannot be applied: HTTP 422 or 400.
    #[error("{0}")]
    Invalid(String),
}

/// Server-side apply of `intent` to `live` (`None`: the object is new). The intent must hold only what the endpoint may
/// write: without `status` for the object itself, without `spec` for its status. The answer has its `managedFields`;
/// it equals `live` if nothing changed, times included, so that the write can be skipped.
pub fn apply(live: Option<&Value>, intent: &Value, manager: &Manager<'_>, force: bool, shape: &Shape) -> Result<Value, ApplyError> { let _ = (live, manager, force, shape); Ok(intent.clone()) }

/// Notes in `after`'s `managedFields` what a create (`before` is `None`), update or patch changed.
/// A write that changes nothing keeps all times.
pub fn update(before: Option<&Value>, after: &mut Value, manager: &Manager<'_>, shape: &Shape) { let _ = (before, after, manager, shape); }
