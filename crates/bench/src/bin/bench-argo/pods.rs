//! Pods over time: their number of a version, and their pod-seconds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use e2e::Scope;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::task::JoinHandle;

use crate::manifests::VERSION;

/// Time between two counts.
const LOOK: Duration = Duration::from_millis(200);
/// Limit of the wait for pods to go.
const PATIENCE: Duration = Duration::from_secs(240);

/// Sums up the pod-seconds of surplus pods until it is dropped.
pub(crate) struct Surplus {
    seconds: Arc<Mutex<f64>>,
    task: JoinHandle<()>,
}

impl Drop for Surplus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Surplus {
    /// Begins to count pods beyond `needed`. A pod that is being deleted does not count.
    pub(crate) fn begin(scope: &Scope, needed: u32) -> Self {
        let (seconds, api) = (Arc::new(Mutex::new(0.0)), scope.api::<Pod>());
        let sum = Arc::clone(&seconds);
        let task = tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                if let Ok(pods) = count(&api, &ListParams::default()).await {
                    let surplus = (pods as f64 - f64::from(needed)).max(0.0);
                    *sum.lock().unwrap_or_else(PoisonError::into_inner) += surplus * last.elapsed().as_secs_f64();
                    last = Instant::now();
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { seconds, task }
    }

    /// Returns the pod-seconds up to now.
    pub(crate) fn seconds(&self) -> f64 {
        *self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until all pods of a version are gone or being deleted. Returns the pod-seconds that it had meanwhile.
pub(crate) async fn gone(scope: &Scope, color: &str) -> Result<f64> {
    let (api, of_color) = (scope.api::<Pod>(), ListParams::default().labels(&format!("{VERSION}={color}")));
    let (begin, mut last, mut seconds) = (Instant::now(), Instant::now(), 0.0);
    loop {
        let pods = count(&api, &of_color).await?;
        seconds += pods as f64 * last.elapsed().as_secs_f64();
        last = Instant::now();
        if pods == 0 {
            return Ok(seconds);
        }
        if begin.elapsed() > PATIENCE {
            bail!("{pods} pods of {color} never go");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns the number of ready pods of a version.
pub(crate) async fn ready(scope: &Scope, color: &str) -> Result<usize> {
    let of_color = ListParams::default().labels(&format!("{VERSION}={color}"));
    let pods = scope.api::<Pod>().list(&of_color).await?.items;
    let is_ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    Ok(pods.iter().filter(is_ready).count())
}

async fn count(api: &Api<Pod>, which: &ListParams) -> Result<usize> {
    let pods = api.list(which).await?.items;
    Ok(pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count())
}
