//! `ResourceQuota`: limits on what a namespace may hold.

use pocket_object::quota::{Evaluator, Request as Taking, charge};
use serde_json::{Value, json};

use super::{Plugin, Request};
use crate::{json::object, status::Status, store::Change};

pub(super) struct ResourceQuota;

impl Plugin for ResourceQuota {
    /// Charges the usage of the write to all quotas at once, so that the next write sees it. A controller corrects the count
    /// when objects are deleted.
    fn validate(&self, request: &mut Request<'_>, new: &Value) -> Result<(), Status> {
        let ignored = request.is("", "events") || request.is("events.k8s.io", "events");
        let quotas = if ignored { Vec::new() } else { request.neighbors("resourcequotas") };
        if quotas.is_empty() {
            return Ok(());
        }
        let evaluator = Evaluator::of(&request.resource.group, &request.resource.plural);
        let taking = Taking { old: request.old, new, now: jiff::Timestamp::now() };
        let values: Vec<Value> = quotas.iter().map(|quota| quota.value()).collect();
        let charged = charge(&evaluator, &taking, &values).map_err(|why| request.forbidden(&why))?;
        if request.write.dry_run {
            return Ok(());
        }
        let registry = request.api.registry();
        let Some(resource) = registry.built_in("", "resourcequotas") else { return Ok(()) };
        for (index, used) in charged {
            let (Some(stored), Some(old)) = (quotas.get(index), values.get(index)) else { continue };
            let mut quota = old.clone();
            object(&mut quota, "status").insert("used".to_owned(), json!(used));
            request.api.commit(request.writer, resource, &stored.key, Some(old), Change::Put(quota))?;
        }
        Ok(())
    }
}
