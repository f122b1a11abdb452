//! Status of a budget. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::ResourceExt;

use super::expected::Expected;
use crate::{clock, pods};

/// Seconds after which an eviction that led to no deletion is forgotten.
const EVICTION_SECONDS: i64 = 120;
const ALLOWED: &str = "DisruptionAllowed";

/// Result of a count.
pub(super) struct PodCounts {
    pub(super) status: PodDisruptionBudgetStatus,
    /// Time until the status changes by time alone.
    pub(super) recheck: Option<Duration>,
    /// Pods that were evicted but still exist.
    pub(super) not_deleted: Vec<Arc<Pod>>,
}

/// Returns the status of a budget whose pods could be counted.
pub(super) fn count_pods(budget: &PodDisruptionBudget, mine: &[Arc<Pod>], expected: &Expected) -> PodCounts {
    let old = budget.status.clone().unwrap_or_default();
    let generation = budget.metadata.generation;
    // Pods whose eviction the API server has allowed, as long as their deletion has not been seen.
    let (mut leaving, mut recheck, mut not_deleted) = (BTreeMap::new(), None::<Duration>, Vec::new());
    let mut healthy = 0;
    for pod in mine.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.name_any();
        let evicted = old.disrupted_pods.as_ref().and_then(|disrupted| disrupted.get(&name));
        match evicted.map(|since| (since, clock::remaining(since, EVICTION_SECONDS))) {
            Some((since, Some(left))) => {
                leaving.insert(name, Time(since.0));
                recheck = Some(recheck.map_or(left, |first| first.min(left)));
                continue;
            }
            Some((_, None)) => not_deleted.push(pod.clone()),
            None => {}
        }
        healthy += i32::from(pods::is_ready(pod));
    }
    // Where no pods are expected, the first ones may have been created unseen.
    let allowed = if expected.pods > 0 { healthy.saturating_sub(expected.healthy).max(0) } else { 0 };
    let (holds, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(&old, generation, holds, reason, String::new())),
        current_healthy: healthy,
        desired_healthy: expected.healthy,
        disrupted_pods: (!leaving.is_empty()).then_some(leaving),
        disruptions_allowed: allowed,
        expected_pods: expected.pods,
        observed_generation: generation,
    };
    PodCounts { status, recheck, not_deleted }
}

/// Returns the status of a budget whose pods could not be counted: all numbers but one stay, and so does their generation.
pub(super) fn failed(budget: &PodDisruptionBudget, why: String) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let conditions = conditions(&old, old.observed_generation, "False", "SyncFailed", why);
    PodDisruptionBudgetStatus { disruptions_allowed: 0, conditions: Some(conditions), ..old }
}

fn conditions(
    old: &PodDisruptionBudgetStatus,
    observed_generation: Option<i64>,
    holds: &str,
    reason: &str,
    message: String,
) -> Vec<Condition> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let at = conditions.iter().position(|condition| condition.type_ == ALLOWED);
    let former = at.and_then(|at| conditions.get(at)).filter(|former| former.status == holds);
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: holds.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation,
        last_transition_time: former.map_or_else(clock::time, |former| former.last_transition_time.clone()),
    };
    match at.and_then(|at| conditions.get_mut(at)) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
    conditions
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, ready: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let pod = json!({ "metadata": { "name": name },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn pods_that_are_let_go_count_no_more() {
        let budget = |disrupted: Value| -> PodDisruptionBudget {
            serde_json::from_value(json!({ "metadata": { "name": "b", "generation": 3 }, "status": {
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
                "disruptedPods": disrupted,
            } }))
            .unwrap()
        };
        let pods = [pod("a", true), pod("b", true), pod("c", false)];
        let count = |disrupted: Value| {
            let expected = Expected { pods: 3, healthy: 1, unmanaged: false };
            let counted = count_pods(&budget(disrupted), &pods, &expected);
            let (status, gone) = (counted.status, counted.not_deleted.len());
            let reason = status.conditions.unwrap()[0].reason.clone();
            let disrupted = status.disrupted_pods.map_or(0, |pods| pods.len());
            (status.current_healthy, status.disruptions_allowed, disrupted, gone, reason)
        };
        assert_eq!(count(json!({})), (2, 1, 0, 0, "SufficientPods".into()));
        assert_eq!(count(json!({ "a": clock::time() })), (1, 0, 1, 0, "InsufficientPods".into()));
        let late = json!({ "a": "2020-01-01T00:00:00Z", "gone": clock::time() });
        assert_eq!(count(late), (2, 1, 0, 1, "SufficientPods".into()));
        let failed = failed(&budget(json!({})), "why".into());
        assert_eq!((failed.disruptions_allowed, failed.conditions.unwrap()[0].message.as_str()), (0, "why"));
    }
}
