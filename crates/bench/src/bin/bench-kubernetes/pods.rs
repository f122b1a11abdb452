//! Pods of a namespace over time: the number of started pods, and the pod-seconds.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use e2e::Scope;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::task::JoinHandle;

/// Interval of the counts. No pod lives for less.
const EVERY: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Seen {
    uids: BTreeSet<String>,
    /// Sum of pods times seconds.
    pod_seconds: f64,
    seconds: f64,
}

/// Counts the pods until it is dropped.
pub(crate) struct Census {
    seen: Arc<Mutex<Seen>>,
    before: BTreeSet<String>,
    task: JoinHandle<()>,
}

/// Result of a count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    /// Number of pods that did not exist at the beginning.
    pub(crate) started: usize,
    /// Pods beyond the needed ones, times seconds.
    pub(crate) surplus: f64,
}

impl Census {
    pub(crate) async fn begin(scope: &Scope) -> Result<Self> {
        let before = scope.pod_uids().await?;
        let (seen, api) = (Arc::new(Mutex::new(Seen::default())), scope.api::<Pod>());
        let task = tokio::spawn(look(api, Arc::clone(&seen)));
        Ok(Self { seen, before, task })
    }

    /// Returns the result up to now, where `needed` pods are needed.
    pub(crate) fn count(&self, needed: u32) -> Count {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Count {
            started: seen.uids.difference(&self.before).count(),
            surplus: (seen.pod_seconds - f64::from(needed) * seen.seconds).max(0.0),
        }
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(api: Api<Pod>, seen: Arc<Mutex<Seen>>) {
    let mut last = Instant::now();
    loop {
        if let Ok(pods) = api.list(&ListParams::default()).await {
            let passed = last.elapsed().as_secs_f64();
            last = Instant::now();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.seconds += passed;
            seen.pod_seconds += passed * pods.items.len() as f64;
            seen.uids.extend(pods.items.iter().filter_map(ResourceExt::uid));
        }
        tokio::time::sleep(EVERY).await;
    }
}
