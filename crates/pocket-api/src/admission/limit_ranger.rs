//! `LimitRanger`: defaults and bounds for pods and claims.

use pocket_object::limit_range;
use serde_json::Value;

use super::{Plugin, Request};
use crate::status::Status;

pub(super) struct LimitRanger;

impl LimitRanger {
    /// Returns whether limit ranges apply to the request. Containers of a pod cannot be changed, so only new pods are checked; claims may grow.
    fn concerns(request: &Request<'_>) -> bool {
        let is_deleted = request.old.is_some_and(|old| old.pointer("/metadata/deletionTimestamp").is_some());
        request.is("", "pods") && request.old.is_none() || request.is("", "persistentvolumeclaims") && !is_deleted
    }
}

impl Plugin for LimitRanger {
    fn admit(&self, request: &mut Request<'_>, new: &mut Value) -> Result<(), Status> {
        if Self::concerns(request) && request.is("", "pods") {
            for range in request.neighbors("limitranges") {
                limit_range::apply_defaults(&range.value(), new);
            }
        }
        Ok(())
    }

    fn validate(&self, request: &mut Request<'_>, new: &Value) -> Result<(), Status> {
        if !Self::concerns(request) {
            return Ok(());
        }
        for range in request.neighbors("limitranges") {
            let wrong = match request.is("", "pods") {
                true => limit_range::check_pod(&range.value(), new),
                false => limit_range::check_claim(&range.value(), new),
            };
            if let Some(wrong) = limit_range::joined(wrong) {
                return Err(request.forbidden(&wrong));
            }
        }
        Ok(())
    }
}
