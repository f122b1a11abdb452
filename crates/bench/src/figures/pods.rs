//! Time from `apply` of ten pods until all ten are Ready, with the image already unpacked.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Cluster, Scope};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::table::Figure;

/// Pods of the Deployment.
const PODS: i32 = 10;

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let cluster = Cluster::start()?;
    let mut scope = Scope::new(&cluster, "pods").await?;
    scope.operator.kill();
    let mut times = Vec::new();
    // One run more than is counted: the first unpacks the image.
    for run in 0..=runs {
        scale(&scope, &deployment(0), 0).await?;
        let took = scale(&scope, &deployment(PODS), PODS).await?;
        if run > 0 {
            times.push(took.as_secs_f64());
        }
    }
    cluster.stop()?;
    Ok(vec![Figure::new("apply of ten pods to all Ready", "s", 1.0, times)])
}

/// Builds the Deployment with the given number of pods.
pub(crate) fn deployment(replicas: i32) -> Value {
    let labels = json!({ "app": "ten" });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "ten" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "backend",
                        "image": "backend:v1",
                        "imagePullPolicy": "IfNotPresent",
                        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 },
                    }],
                },
            },
        },
    })
}

/// Applies the Deployment and waits until `wanted` pods are ready, and no other is left. Returns the time that it took.
pub(crate) async fn scale(scope: &Scope, manifest: &Value, wanted: i32) -> Result<Duration> {
    let start = Instant::now();
    scope.apply_manifest(manifest)?;
    e2e::eventually("all pods are ready", || async {
        let deployment = scope.api::<Deployment>().get("ten").await?;
        let generation = deployment.metadata.generation;
        let status = deployment.status.unwrap_or_default();
        ensure!(status.observed_generation >= generation, "not seen yet");
        ensure!(status.ready_replicas.unwrap_or(0) == wanted, "ready: {:?}", status.ready_replicas);
        ensure!(status.replicas.unwrap_or(0) == wanted, "pods: {:?}", status.replicas);
        Ok(())
    })
    .await?;
    Ok(start.elapsed())
}
