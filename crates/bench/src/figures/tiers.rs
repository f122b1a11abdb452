//! Cost of a release of the inner tier alone: where all tiers are one version, and beside it where a newer callee may serve its callers.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{App, Cluster, Pace, Scope};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::release::{promote, start};
use crate::table::Figure;

/// Pods of each of the two tiers.
const PODS: u32 = 5;
/// Time from step to step of the rolling shift.
const EVERY: Duration = Duration::from_secs(1);
/// Time between two counts of the pods.
const LOOK: Duration = Duration::from_millis(200);
/// Longest time for a release.
const PATIENCE: Duration = Duration::from_secs(120);

/// Kind of the need between the two tiers.
#[derive(Clone, Copy)]
enum Kind {
    Same,
    Backward,
}

#[derive(Default)]
struct Runs {
    started: Vec<f64>,
    pod_seconds: Vec<f64>,
    writes: Vec<f64>,
}

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let cluster = Cluster::start()?;
    let (mut strict, mut compatible) = (Runs::default(), Runs::default());
    for run in 0..runs {
        release(&cluster, &format!("strict-{run}"), Kind::Same, &mut strict).await?;
        release(&cluster, &format!("backward-{run}"), Kind::Backward, &mut compatible).await?;
    }
    cluster.stop()?;
    Ok(vec![
        Figure::beside("release of the backend alone, strict: pods started", "", strict.started),
        Figure::new("release of the backend alone, compatible: pods started", "", f64::from(PODS), compatible.started),
        Figure::beside("release of the backend alone, strict: more pod-seconds than at rest", "s", strict.pod_seconds),
        Figure::beside(
            "release of the backend alone, compatible: more pod-seconds than at rest",
            "s",
            compatible.pod_seconds,
        ),
        Figure::beside("release of the backend alone, strict: operator's API writes", "", strict.writes),
        Figure::new("release of the backend alone, compatible: operator's API writes", "", 60.0, compatible.writes),
    ])
}

async fn release(cluster: &Cluster, name: &str, kind: Kind, all: &mut Runs) -> Result<()> {
    let (scope, writes, operator) = start(cluster, name).await?;
    let app = App { pace: Pace::OneEvery(u64::try_from(EVERY.as_millis())?), settle: "1s", ..App::two_tiers(PODS) };
    scope.apply_manifest(&manifest(&app, "v1", kind))?;
    e2e::eventually("v1 serves", || at_rest(&scope, &app, "v1")).await?;

    let (uids, written) = (scope.pod_uids().await?, writes.load(Ordering::Relaxed));
    scope.apply_manifest(&manifest(&app, "v2", kind))?;
    promote(&scope, &app, "v2").await?;
    let (mut extra, mut last, begun) = (0.0, Instant::now(), Instant::now());
    while at_rest(&scope, &app, "v2").await.is_err() {
        ensure!(begun.elapsed() < PATIENCE, "the release does not come to its end");
        tokio::time::sleep(LOOK).await;
        let more = scope.pod_uids().await?.len() as f64 - uids.len() as f64;
        extra += more * last.elapsed().as_secs_f64();
        last = Instant::now();
    }
    // Pods that were started serve to the end, so that one count finds all of them.
    all.started.push(scope.pod_uids().await?.difference(&uids).count() as f64);
    all.pod_seconds.push(extra);
    tokio::time::sleep(Duration::from_secs(1)).await;
    all.writes.push((writes.load(Ordering::Relaxed) - written) as f64);
    operator.abort();
    Ok(())
}

/// Builds the manifest of the app at a color whose frontend is always v1.
fn manifest(app: &App, color: &str, kind: Kind) -> Value {
    let mut manifest = app.at("v1");
    manifest["spec"]["color"] = json!(color);
    for tier in manifest["spec"]["tiers"].as_array_mut().into_iter().flatten() {
        if tier["name"] == "backend" {
            tier["template"]["spec"]["containers"][0]["image"] = json!(format!("backend:{color}"));
        } else if let Kind::Backward = kind {
            tier["needs"][0]["compatible"] = json!("Backward");
        }
    }
    manifest
}

/// Checks that every stage serves a color in all tiers, every Deployment has its pods, and no other color has any.
async fn at_rest(scope: &Scope, app: &App, color: &str) -> Result<()> {
    for stage in ["smoke", "active"] {
        let status = scope.stage(app, stage).await?;
        let tiers = status["tiers"].as_array().into_iter().flatten();
        for address in tiers.chain([&status]) {
            ensure!(address["color"] == color && address["shift"].is_null(), "stage {stage} is {status}");
        }
    }
    let mut all = 0;
    for deployment in scope.api::<Deployment>().list(&ListParams::default()).await? {
        let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default();
        let ready = deployment.status.and_then(|status| status.ready_replicas).unwrap_or_default();
        ensure!(ready == wanted, "{ready} of {wanted} pods are ready");
        all += wanted;
    }
    let phase = |color: &Value| color["status"]["phase"].as_str().unwrap_or_default().to_owned();
    for other in scope.custom("Color").list(&ListParams::default()).await? {
        let is_over = other.data["spec"]["color"] == color || phase(&other.data) == "Retired";
        ensure!(is_over, "an older color is {}", phase(&other.data));
    }
    let pods = scope.pod_uids().await?.len();
    ensure!(usize::try_from(all)? == pods, "{pods} pods instead of {all}");
    Ok(())
}
