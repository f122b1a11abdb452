//! Writes of the scheduler: bindings, the condition `PodScheduled`, events.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::{Recorder, Severity, pod_reference};

/// Reason why a pod has no node, as its condition states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    reason: &'static str,
    message: String,
}

impl Refusal {
    /// Creates the refusal of a pod that fits no node.
    pub(super) fn unschedulable(message: String) -> Self {
        Self { reason: "Unschedulable", message }
    }

    /// Creates the refusal of a pod with scheduling gates.
    pub(super) fn gated() -> Self {
        let message = "Scheduling is blocked due to non-empty scheduling gates".to_owned();
        Self { reason: "SchedulingGated", message }
    }
}

/// Writer to the API.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) events: Recorder,
    pub(super) shutdown: CancellationToken,
}

impl Writer {
    /// Binds a pod; returns whether it is bound now. Retries while the API server fails.
    pub(super) async fn bind(&self, pod: &Pod, node: &str) -> bool {
        const FIRST_DELAY: Duration = Duration::from_secs(1);
        const LAST_DELAY: Duration = Duration::from_secs(10);

        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: pod.uid(),
            ..ObjectMeta::default()
        };
        let target = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        let binding = Binding { metadata, target };
        let mut delay = FIRST_DELAY;
        loop {
            let answer: Result<serde_json::Value, _> =
                pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
            match answer {
                Ok(_) => {
                    let message = format!("Successfully assigned {namespace}/{name} to {node}");
                    self.events.record(pod_reference(pod, None), Severity::Normal, "Scheduled", message);
                    return true;
                }
                // The pod is gone, bound already, or another pod of that name: the watch will report it.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return false,
                Err(error) => {
                    tracing::warn!(pod = %format_args!("{namespace}/{name}"), %error, "binding failed");
                    tokio::select! {
                        () = sleep(delay) => delay = (delay * 2).min(LAST_DELAY),
                        () = self.shutdown.cancelled() => return false,
                    }
                }
            }
        }
    }

    /// Reports in a pod's status, and in an event, why it has no node.
    pub(super) async fn refuse(&self, pod: &Pod, refusal: &Refusal) {
        let old = pod.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        let former = old.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        let says = |refusal: &Refusal| {
            former.is_some_and(|former| {
                former.reason.as_deref() == Some(refusal.reason) && former.message.as_ref() == Some(&refusal.message)
            })
        };
        if says(refusal) {
            return;
        }
        let since = former.and_then(|former| former.last_transition_time.clone());
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": refusal.reason, "message": refusal.message,
            "lastTransitionTime": since.unwrap_or_else(|| Time(jiff::Timestamp::now())),
        });
        let others = old.iter().filter(|condition| condition.type_ != "PodScheduled").map(|condition| json!(condition));
        let conditions: Vec<_> = others.chain([condition]).collect();
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Pending", "conditions": conditions}});
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        if let Err(error) = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
            tracing::debug!(%error, "condition of an unscheduled pod not written");
        }
        if refusal.reason == "Unschedulable" {
            let about = pod_reference(pod, None);
            self.events.record(about, Severity::Warning, "FailedScheduling", refusal.message.clone());
        }
    }
}
