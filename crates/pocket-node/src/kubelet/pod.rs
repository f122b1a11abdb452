//! Leader of one pod through its life: sandbox, init containers, containers, termination.

mod containers;
mod refresh;
mod setup;
mod stop;

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::stop::Update;
use self::{
    containers::PodContainers,
    refresh::refresh,
    setup::{set_up, tear_down},
    stop::{Cause, Stop, StopRequests, grace_of},
};
use super::{backoff::Doubling, pod_context::PodContext, tracker::RunState, writer};
use crate::{events::Severity, runtime::Runtime, scheduler, sync::lock};

/// Runs the task of a pod.
pub(super) async fn run<R: Runtime>(context: Arc<PodContext<R>>, updates: watch::Receiver<Update>) {
    let finished = CancellationToken::new();
    let leading = async {
        let cause = lead(&context, updates).await;
        if matches!(cause, Cause::Gone | Cause::Shutdown) {
            context.silent.cancel();
        }
        finished.cancel();
        cause
    };
    let (cause, ()) = tokio::join!(leading, writer::run(&context, &finished));
    if cause == Cause::Deleted {
        delete(&context).await;
    }
    if cause != Cause::Shutdown {
        remove_dir(&context.dir());
        remove_dir(&context.log_dir());
    }
    let mut pods = lock(&context.node.pods);
    if pods.get(&context.key).is_some_and(|other| other.uid == context.uid) {
        pods.remove(&context.key);
    }
}

/// Removes the object after the pod has ended.
async fn delete<R: Runtime>(context: &PodContext<R>) {
    let pods: Api<Pod> = Api::namespaced(context.node.client.clone(), &context.key.namespace);
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(context.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    let mut delay = Doubling::setup();
    loop {
        match pods.delete(&context.key.name, &now).await {
            Ok(_) => return,
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(pod = %context.key, %error, "the pod has ended, but its object cannot be deleted");
                tokio::select! {
                    () = sleep(delay.delay()) => {}
                    () = context.node.shutdown.cancelled() => return,
                }
            }
        }
    }
}

/// Removes a directory with its content. A missing directory is no error.
pub(super) fn remove_dir(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "leftovers cannot be removed");
    }
}

async fn lead<R: Runtime>(context: &Arc<PodContext<R>>, updates: watch::Receiver<Update>) -> Cause {
    let pod = context.pod();
    let active = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).and_then(|s| u64::try_from(s).ok());
    let mut requests = StopRequests {
        updates,
        shutdown: context.node.shutdown.clone(),
        shutdown_grace: context.node.config.shutdown_grace,
        active_deadline: active.map(|seconds| {
            let since = context.tracker.read().start_time.map(|start| Timestamp::now().duration_since(start));
            let passed = since.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or_default();
            Instant::now() + Duration::from_secs(seconds).saturating_sub(passed)
        }),
        deletion: None,
        ending: false,
    };
    if let Some(why) = pod.spec.as_ref().and_then(scheduler::unsupported) {
        let message = format!("Pod was rejected: {why}");
        context.event(Severity::Warning, "UnsupportedPod", message.clone());
        context.tracker.update(|view| {
            view.failed = Some(("UnsupportedPod".into(), message));
            view.over = true;
        });
    }
    restore_former_state(context);
    if !context.tracker.read().over {
        if let Some(stop) = requests.check() {
            // The pod was asked to end before it began.
            context.tracker.update(|view| view.over = true);
            return finish(context, &mut requests, stop).await;
        }
        if let Some(stop) = live(context, &mut requests).await {
            return finish(context, &mut requests, stop).await;
        }
    }
    // The pod has ended by itself. Its object stays until it is deleted.
    loop {
        let stop = requests.wait_for_stop().await;
        if stop.cause != Cause::Deadline {
            return stop.cause;
        }
    }
}

/// Finishes after the containers have ended for this cause. After a mere deadline, waits for the deletion.
async fn finish<R: Runtime>(context: &Arc<PodContext<R>>, requests: &mut StopRequests, stop: Stop) -> Cause {
    if stop.cause != Cause::Deadline {
        return stop.cause;
    }
    context.tracker.update(|view| {
        let message = "Pod was active on the node longer than the specified deadline";
        view.failed = Some(("DeadlineExceeded".into(), message.into()));
    });
    loop {
        let stop = requests.wait_for_stop().await;
        if stop.cause != Cause::Deadline {
            return stop.cause;
        }
    }
}

/// Settles the state left by a former run of the node: a pod that had ended stays ended, as do containers that are not to be restarted.
fn restore_former_state<R: Runtime>(context: &PodContext<R>) {
    let policy = context.policy();
    let pod = context.pod();
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let terminal = matches!(phase.as_str(), "Succeeded" | "Failed");
    context.tracker.update(|view| {
        for slot in &mut view.apps {
            let former = match &slot.state {
                RunState::Ended(_) => continue,
                _ => slot.last.clone(),
            };
            if let Some(end) = former
                && (terminal || !policy.restarts(end.code))
            {
                slot.last = None;
                slot.state = RunState::Ended(end);
            }
        }
        let all_ended = !view.apps.is_empty()
            && view.apps.iter().all(|slot| matches!(&slot.state, RunState::Ended(end) if !policy.restarts(end.code)));
        if terminal || all_ended {
            view.initialized = true;
            view.over = true;
        }
    });
}

/// Runs the pod from the sandbox to the end of all containers. `None` means that they ended by themselves.
async fn live<R: Runtime>(context: &Arc<PodContext<R>>, requests: &mut StopRequests) -> Option<Stop> {
    let mut delay = Doubling::setup();
    let mut sandbox = None;
    let renew = loop {
        let changes = context.node.changes.subscribe();
        match set_up(context, &mut sandbox).await {
            Ok(renew) => break renew,
            Err((reason, message)) => {
                context.event(Severity::Warning, reason, message);
                tokio::select! {
                    () = sleep(delay.delay()) => {}
                    () = context.object_changed(changes) => {}
                    stop = requests.wait_for_stop() => {
                        tear_down(context, sandbox).await;
                        return Some(stop);
                    }
                }
            }
        }
    };
    let sandbox = Arc::new(sandbox?);
    let mut containers = PodContainers::new(context.clone(), sandbox.clone());
    let stop = tokio::select! {
        () = containers.run() => None,
        stop = requests.wait_for_stop() => Some(stop),
        () = refresh(context, renew) => None,
    };
    let until =
        stop.unwrap_or_else(|| Stop { cause: Cause::Deadline, deadline: Instant::now() + grace_of(&context.pod()) });
    containers.end(until, requests).await;
    drop(containers);
    context.tracker.update(|view| view.over = true);
    tear_down(context, Arc::into_inner(sandbox)).await;
    stop
}
