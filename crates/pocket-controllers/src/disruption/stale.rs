//! Removal of a `DisruptionTarget` condition that no deletion followed.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use serde_json::json;

use super::DisruptionReconciler;
use crate::{Error, cache::Key, clock, pods, queue::After};

const TARGET: &str = "DisruptionTarget";
/// Time after which a marked pod that is not being deleted counts as not evicted.
const STALE_SECONDS: i64 = 120;

/// Returns the time for which a pod's mark still holds; `None` if the pod has no mark that expires.
pub(super) fn remaining(pod: &Pod) -> Option<Duration> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let mark = conditions.iter().find(|condition| condition.type_ == TARGET && condition.status == "True")?;
    // The kubelet takes as long as it needs to end a pod that it has marked.
    if !pods::is_active(pod) || mark.reason.as_deref() == Some("TerminationByKubelet") {
        return None;
    }
    let left = mark.last_transition_time.as_ref().and_then(|since| clock::remaining(since, STALE_SECONDS));
    Some(left.unwrap_or_default())
}

impl DisruptionReconciler {
    pub(super) async fn reset_stale(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let Some(pod) = self.pods.get(&key) else { return Ok(After::Rest) };
        let Some(left) = remaining(&pod) else { return Ok(After::Rest) };
        if !left.is_zero() {
            return Ok(After::Again(left));
        }
        let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        for condition in conditions.iter_mut().filter(|condition| condition.type_ == TARGET) {
            *condition = PodCondition {
                type_: TARGET.to_owned(),
                status: "False".to_owned(),
                last_transition_time: Some(clock::time()),
                observed_generation: pod.metadata.generation,
                ..PodCondition::default()
            };
        }
        self.pods.patch_status(&pod, json!({ "conditions": conditions })).await?;
        Ok(After::Rest)
    }
}
