//! The patch types of the Kubernetes API: JSON patch, merge patch and strategic merge patch.
use serde_json::Value;
use crate::shape::Shape;

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself makes no sense: HTTP 400, `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// The patch does not fit the object: HTTP 422, `Invalid`.
    #[error("{0}")]
    Unprocessable(String),
}

/// Applies a JSON patch (RFC 6902).
pub fn json_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> { let _ = patch; Ok(object.clone()) }
/// Applies a merge patch (RFC 7386).
pub fn merge_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> { let _ = patch; Ok(object.clone()) }
/// Applies a strategic merge patch.
pub fn strategic_merge_patch(object: &Value, patch: &Value, shape: &Shape) -> Result<Value, PatchError> { let _ = (patch, shape); Ok(object.clone()) }
