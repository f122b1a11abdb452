//! Measurement of one release in one way: v1 serves, v2 comes, all is v2, all is v1 again.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Cluster, Scope};
use serde::Serialize;

use crate::{
    Plan,
    pods::Census,
    traffics::{Mixture, now},
    way::Way,
};

/// Time of load before anything happens, and after it, so that late failures are seen, too.
const AROUND: Duration = Duration::from_secs(3);

/// Results of a measurement. Times are seconds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) mixed: u64,
    /// Time from the start of the move to the last reply of the old color.
    pub(crate) all_new: f64,
    /// Same time without the requested pace.
    pub(crate) beyond_pace: f64,
    /// Time from the start of the way back to the last reply of the new color.
    pub(crate) all_old: f64,
    pub(crate) pods_created: usize,
    pub(crate) pods_created_back: usize,
    /// Pods beyond those of one color, times seconds, from the first write of the release until all is new.
    pub(crate) surplus_pod_seconds: f64,
}

/// Returns version and size of the cluster, and the rate of the load on it, in new connections a second.
pub(crate) async fn conditions(cluster: &Cluster) -> Result<(String, f64)> {
    let scope = Scope::new(cluster, "bench-version").await?;
    let version = scope.client.apiserver_version().await?.git_version;
    let nodes = kube::Api::<k8s_openapi::api::core::v1::Node>::all(scope.client.clone());
    let nodes = nodes.list(&Default::default()).await?.items.len();
    let rate = scope.rate();
    scope.remove().await?;
    Ok((format!("Kubernetes {version}, {nodes} node{}", if nodes == 1 { "" } else { "s" }), rate))
}

/// Measures one way, in a namespace of its own.
pub(crate) async fn measure(cluster: &Cluster, way: Way, plan: &Plan) -> Result<Measured> {
    let scope = Scope::new(cluster, &format!("bench-{}", way.name().replace([',', ' '], "-").to_lowercase())).await?;
    match release(&scope, way, plan).await {
        Ok(measured) => {
            scope.remove().await?;
            Ok(measured)
        }
        Err(error) => {
            let more = scope.diagnose().await;
            // The first error says more than a second one would.
            let _ = scope.abandon().await;
            Err(error.context(more))
        }
    }
}

async fn release(scope: &Scope, way: Way, plan: &Plan) -> Result<Measured> {
    way.begin(scope, plan).await?;
    let load = Mixture::start(scope, "frontend-active").await?;
    tokio::time::sleep(AROUND).await;

    let census = Census::begin(scope).await?;
    way.prepare(scope, plan).await?;
    let begin = now();
    way.go(scope, plan)?;
    way.arrived(scope, plan, "v2").await?;
    let count = census.count(2 * plan.pods);
    tokio::time::sleep(AROUND).await;
    let last_old = load.last("frontend:v1 - backend:v1").context("v1 never answered")?;

    let census = Census::begin(scope).await?;
    let back = now();
    way.back(scope, plan)?;
    way.arrived(scope, plan, "v1").await?;
    let count_back = census.count(2 * plan.pods);
    tokio::time::sleep(AROUND).await;
    let last_new = load.last("frontend:v2 - backend:v2").context("v2 never answered")?;

    let requests = load.stop().await;
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let all_new = seconds(begin, last_old);
    Ok(Measured {
        requests: requests.sent,
        failed: requests.failed,
        mixed: requests.mixed,
        all_new,
        beyond_pace: all_new - way.pace(plan).as_secs_f64(),
        all_old: seconds(back, last_new),
        pods_created: count.started,
        pods_created_back: count_back.started,
        surplus_pod_seconds: count.surplus,
    })
}
