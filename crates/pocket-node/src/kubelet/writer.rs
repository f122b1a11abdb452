//! Writer of a pod's status: writes only when the status has changed.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{backoff::Doubling, pod_context::PodContext, status};
use crate::runtime::Runtime;

/// Follows the tracker until `finished`, then writes the last status.
pub(super) async fn run<R: Runtime>(context: &Arc<PodContext<R>>, finished: &CancellationToken) {
    let mut written: Option<PodStatus> = None;
    let mut delay = Doubling::setup();
    loop {
        let last = finished.is_cancelled();
        if context.is_silent() {
            return;
        }
        let base = base(&context.pod(), written.as_ref());
        let status =
            status::compute(&base, &context.tracker.read(), &context.node.net.node_ip.to_string(), Timestamp::now());
        if base.status.as_ref() != Some(&status) {
            match write(context, &base, &status).await {
                Ok(()) => {
                    written = Some(status);
                    delay = Doubling::setup();
                }
                // The pod is gone, or another pod has its name: there is no status to write.
                Err(kube::Error::Api(answer)) if answer.code == 404 => return,
                Err(kube::Error::Api(answer)) if answer.code == 409 && last => return,
                Err(error) => {
                    tracing::debug!(pod = %context.key, %error, "status not written");
                    tokio::select! {
                        () = tokio::time::sleep(delay.delay()) => continue,
                        () = context.tracker.writer.notified() => continue,
                    }
                }
            }
        } else if written.is_none() {
            written = base.status;
        }
        if last {
            return;
        }
        tokio::select! {
            () = context.tracker.writer.notified() => {}
            () = finished.cancelled() => {}
        }
    }
}

/// Returns the pod with the status as last written here, and with the conditions that others have added meanwhile.
fn base(latest: &Pod, written: Option<&PodStatus>) -> Pod {
    let mut pod = latest.clone();
    let Some(written) = written else {
        return pod;
    };
    let theirs = pod.status.take().unwrap_or_default();
    let mut status = written.clone();
    let ours = ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"];
    let mut conditions = status.conditions.take().unwrap_or_default();
    conditions.retain(|condition| ours.contains(&condition.type_.as_str()));
    conditions
        .extend(theirs.conditions.into_iter().flatten().filter(|condition| !ours.contains(&condition.type_.as_str())));
    status.conditions = Some(conditions);
    pod.status = Some(status);
    pod
}

async fn write<R: Runtime>(context: &PodContext<R>, base: &Pod, status: &PodStatus) -> Result<(), kube::Error> {
    let mut body = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    if let Value::Object(fields) = &mut body {
        // A merge patch keeps absent fields, so these are cleared explicitly.
        for field in ["podIP", "podIPs", "initContainerStatuses"] {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    let mut metadata = json!({"uid": context.uid});
    let gated =
        base.spec.as_ref().is_some_and(|spec| spec.readiness_gates.as_ref().is_some_and(|gates| !gates.is_empty()));
    if gated {
        // Other writers set conditions, too, and a patch replaces the whole list: it must be based on the list seen here.
        metadata["resourceVersion"] = json!(base.metadata.resource_version);
    }
    let pods: Api<Pod> = Api::namespaced(context.node.client.clone(), &context.key.namespace);
    let patch = Patch::Merge(json!({"metadata": metadata, "status": body}));
    pods.patch_status(&context.key.name, &PatchParams::default(), &patch).await.map(drop)
}
