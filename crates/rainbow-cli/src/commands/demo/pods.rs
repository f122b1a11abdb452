//! Counter of the pods that are started, by a watch.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use rainbow_api::labels;
use tokio::task::JoinHandle;

use crate::context::Cluster;

/// Counter that follows the pods until it is dropped.
pub(super) struct StartedPods {
    uids: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl StartedPods {
    /// Begins to count the pods of an application.
    pub(super) fn count(cluster: &Cluster, rainbow: &str) -> Self {
        let uids = Arc::new(Mutex::new(BTreeSet::new()));
        let config = watcher::Config::default().labels(&format!("{}={rainbow}", labels::RAINBOW));
        let events = watcher(cluster.api::<Pod>(), config).default_backoff();
        let seen = uids.clone();
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                if let Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = event {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).extend(pod.metadata.uid);
                }
            }
        });
        Self { uids, task }
    }

    /// Returns the number of pods that were started until now.
    pub(super) fn so_far(&self) -> usize {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for StartedPods {
    fn drop(&mut self) {
        self.task.abort();
    }
}
