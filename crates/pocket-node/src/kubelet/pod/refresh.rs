//! Files of volumes, kept up to date while the pod runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use tokio::{sync::broadcast::error::RecvError, time::Instant};

use super::stop::at;
use crate::{
    env::Source,
    events::Severity,
    kubelet::{backoff::Doubling, pod_context::PodContext},
    runtime::Runtime,
    volumes,
};

/// Keeps the files of volumes up to date, indefinitely.
pub(super) async fn refresh<R: Runtime>(context: &Arc<PodContext<R>>, renew: Option<Duration>) {
    let mut renew = renew.map(|after| Instant::now() + after);
    let effective = context.effective();
    let shown = volumes::references(&effective);
    let fields = volumes::shows_fields(&effective);
    if shown.is_empty() && renew.is_none() && !fields {
        return std::future::pending().await;
    }
    let mut changes = context.node.changes.subscribe();
    let mut delay = Doubling::setup();
    let mut known = labels(&context.pod());
    loop {
        tokio::select! {
            () = at(renew) => {}
            change = changes.recv() => match change {
                Ok((namespace, source)) if !concerns(context, &shown, &namespace, &source) => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            },
            () = relabelled(context, &known), if fields => known = labels(&context.pod()),
        }
        // Labels and annotations are the current ones, volumes those of the setup.
        let mut pod = (*context.effective()).clone();
        pod.metadata = context.pod().metadata.clone();
        let dir = context.dir().join("volumes");
        match volumes::set_up(&context.node.client, &pod, &context.facts(), &dir).await {
            Ok(volumes) => {
                renew = volumes.renew.map(|after| Instant::now() + after);
                delay = Doubling::setup();
            }
            // As with the kubelet, files stay as they are when an object is deleted.
            Err((name, error)) => {
                context.event(
                    Severity::Warning,
                    "FailedMount",
                    format!("MountVolume.SetUp failed for volume \"{name}\" : {error}"),
                );
                renew = Some(Instant::now() + delay.delay().max(Duration::from_secs(10)));
            }
        }
    }
}

fn concerns<R: Runtime>(context: &PodContext<R>, shown: &BTreeSet<Source>, namespace: &str, source: &Source) -> bool {
    namespace == context.key.namespace && shown.contains(source)
}

type Labels = (Option<BTreeMap<String, String>>, Option<BTreeMap<String, String>>);

fn labels(pod: &Pod) -> Labels {
    (pod.metadata.labels.clone(), pod.metadata.annotations.clone())
}

/// Waits until labels or annotations differ from `known`.
async fn relabelled<R: Runtime>(context: &PodContext<R>, known: &Labels) {
    while labels(&context.pod()) == *known {
        context.updated.notified().await;
    }
}
