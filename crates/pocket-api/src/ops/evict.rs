//! Eviction: deletes a pod if its PodDisruptionBudget allows it.

use http::StatusCode;
use pocket_object::conditions::is_ready;
use serde_json::{Value, json};

use super::{
    DeleteOptions,
    delete::{check_preconditions, is_over},
    fields,
};
use crate::{
    Api,
    json::object,
    resource::Resource,
    status::Status,
    store::{Change, Stored, Writer},
    time::now,
};

const ALLOWED: &str = "DisruptionAllowed";
const TARGET: &str = "DisruptionTarget";
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// Greatest number of evictions that the controller of a budget has not seen yet; a budget with more of them allows none.
const MAX_DISRUPTED_PODS: usize = 2000;
/// Seconds after which a client may ask again about a budget whose controller is behind.
const RETRY_SECONDS: u64 = 10;

impl Api {
    /// Deletes a pod if its budget allows it.
    ///
    /// As in Kubernetes, the budget is spent first. If the deletion is then refused, for instance by a precondition, the
    /// controller gives the spent eviction back two minutes later.
    pub(crate) fn evict(
        &self,
        pods: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let mut writer = self.store().writer();
        let pod = self.live(pods, namespace, name)?;
        let old = pod.value();
        let registry = self.registry();
        if let Some(budgets) = registry.built_in("policy", "poddisruptionbudgets")
            && !disrupts_nothing(&old)
        {
            self.spend_budget(&mut writer, budgets, &pod, options.dry_run)?;
        }
        let mut options = options.clone();
        if !options.dry_run {
            check_preconditions(pods, name, &old, &options)?;
            let marked = self.commit(&mut writer, pods, &pod.key, Some(&old), Change::Put(marked(&old)))?;
            // This request itself made the change, so the client's precondition must not fail on it.
            if options.resource_version.is_some() {
                options.resource_version = Some(fields::text(&marked.value(), "resourceVersion").to_owned());
            }
        }
        self.delete_locked(&mut writer, pods, namespace, name, &options).map(drop)
    }

    fn spend_budget(&self, writer: &mut Writer, budgets: &Resource, pod: &Stored, dry_run: bool) -> Result<(), Status> {
        let (objects, _) = self.store().snapshot(&budgets.storage);
        let matching: Vec<_> = crate::store::in_namespace(&objects, Some(pod.namespace()))
            .filter(|budget| {
                // A missing selector selects no pod, an empty one selects every pod.
                let Some(selector) = budget.value().pointer("/spec/selector").cloned() else { return false };
                pocket_object::selector::LabelSelector::from_value(&selector)
                    .is_ok_and(|selector| selector.matches(&pod.labels))
            })
            .collect();
        let budget = match matching.as_slice() {
            [] => return Ok(()),
            [one] => one,
            _ => {
                let text =
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Status::new(StatusCode::INTERNAL_SERVER_ERROR, "", text));
            }
        };
        let old = budget.value();
        let number = |field: &str| old.pointer(field).and_then(Value::as_i64).unwrap_or(0);
        // A pod that is not ready spends nothing of the budget.
        if !is_ready(&pod.value()) {
            let always = old.pointer("/spec/unhealthyPodEvictionPolicy").is_some_and(|policy| policy == "AlwaysAllow");
            let desired = number("/status/desiredHealthy");
            if always || desired > 0 && number("/status/currentHealthy") >= desired {
                return Ok(());
            }
        }
        check(budgets, budget.name(), &old)?;
        if dry_run {
            return Ok(());
        }
        self.commit(writer, budgets, &budget.key, Some(&old), Change::Put(budget_after_eviction(&old, pod.name())))
            .map(drop)
    }
}

/// Checks whether a budget allows the eviction of one pod.
fn check(budgets: &Resource, name: &str, budget: &Value) -> Result<(), Status> {
    let number = |field: &str| budget.pointer(field).and_then(Value::as_i64).unwrap_or(0);
    let cause = |message: String| json!({"reason": "DisruptionBudget", "message": message});
    let refused = || Status::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", REFUSED);
    let allowed = number("/status/disruptionsAllowed");
    if number("/status/observedGeneration") < number("/metadata/generation") {
        let mut status = refused();
        let cause = cause(format!("The disruption budget {name} is still being processed by the server."));
        status.details = Some(Box::new(json!({"retryAfterSeconds": RETRY_SECONDS, "causes": [cause]})));
        return Err(status);
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, |pods| pods.len());
    let broken = if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        Some((why, why))
    } else if disrupted > MAX_DISRUPTED_PODS {
        Some((
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            "too many pending evictions not confirmed by PDB controller",
        ))
    } else {
        None
    };
    if let Some((why, short)) = broken {
        let cause = cause(format!("The disruption budget {name} does not allow evicting pods currently: {short}"));
        let mut status = Status::forbidden(budgets, name, why);
        if let Some(details) = &mut status.details {
            details["causes"] = json!([cause]);
        }
        return Err(status);
    }
    if allowed == 0 {
        let mut status = refused();
        status.details = Some(Box::new(json!({"causes": [cause(why_none(name, budget))]})));
        return Err(status);
    }
    Ok(())
}

/// Returns the reason for which a budget allows no eviction.
fn why_none(name: &str, budget: &Value) -> String {
    let number = |field: &str| budget.pointer(field).and_then(Value::as_i64).unwrap_or(0);
    let (desired, current) = (number("/status/desiredHealthy"), number("/status/currentHealthy"));
    let condition = condition(budget, ALLOWED).filter(|condition| condition["status"] == "False");
    let text = |field: &str| condition.and_then(|condition| condition[field].as_str()).unwrap_or_default();
    let (reason, message) = (text("reason"), text("message"));
    // The numbers of a failed sync mean nothing.
    if reason == "SyncFailed" && !message.is_empty() {
        format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}")
    } else if current <= desired {
        format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
    } else if !message.is_empty() {
        format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    }
}

/// Returns the budget with one eviction less. Until the controller has seen the deletion, it must not count this pod again.
fn budget_after_eviction(old: &Value, pod: &str) -> Value {
    let mut new = old.clone();
    let left = old.pointer("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or(0) - 1;
    let observed = old.pointer("/status/observedGeneration").cloned();
    let status = object(&mut new, "status");
    status.insert("disruptionsAllowed".into(), json!(left));
    if let Some(disrupted) = status.entry("disruptedPods").or_insert_with(|| json!({})).as_object_mut() {
        disrupted.insert(pod.to_owned(), json!(now()));
    }
    if left == 0 {
        let mut condition = json!({"type": ALLOWED, "status": "False", "reason": "InsufficientPods", "message": ""});
        if let Some(observed) = observed {
            condition["observedGeneration"] = observed;
        }
        set_condition(&mut new, condition);
    }
    new
}

/// Returns the pod with the condition `DisruptionTarget`, which names the cause of its end.
fn marked(pod: &Value) -> Value {
    let mut new = pod.clone();
    let condition = json!({"type": TARGET, "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null});
    set_condition(&mut new, condition);
    new
}

fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = value.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// Replaces the condition of the same type, or adds the condition. The time of the last transition stays if the status does.
fn set_condition(value: &mut Value, mut new: Value) {
    let conditions = object(value, "status").entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    let former = conditions.iter_mut().find(|condition| condition["type"] == new["type"]);
    let since = former.as_ref().filter(|former| former["status"] == new["status"]);
    new["lastTransitionTime"] = since.map_or_else(|| json!(now()), |former| former["lastTransitionTime"].clone());
    match former {
        Some(place) => *place = new,
        None => conditions.push(new),
    }
}

/// Returns whether a pod does not serve (yet, or any more), so that its end disrupts nothing.
fn disrupts_nothing(pod: &Value) -> bool {
    let pending = pod.pointer("/status/phase").and_then(Value::as_str) == Some("Pending");
    is_over(pod) || pending || fields::meta(pod, "deletionTimestamp").is_some()
}
