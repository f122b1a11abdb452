//! Tests of releases that go tier by tier: a backend may be newer than the frontends that it serves, and never older.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{App, Pace, Scope, eventually};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{ResourceExt, api::ListParams};
use rand::RngExt;
use serde_json::{Value, json};
use traffic::Report;

const APP: &str = "seamless";
/// Number of kills in one release.
const KILLS: usize = 20;

/// Builds an app whose colors go as soon as evidence allows.
fn app(replicas: u32) -> App {
    App { settle: "1s", ..App::two_tiers(replicas) }
}

/// Builds the manifest of a color with a version of each tier.
fn manifest(app: &App, color: &str, (frontend, backend): (&str, &str)) -> Result<Value> {
    let mut manifest = app.at(color);
    for tier in manifest["spec"]["tiers"].as_array_mut().context("no tiers")? {
        let (image, version) = if tier["name"] == "frontend" { ("frontend", frontend) } else { ("backend", backend) };
        let container = &mut tier["template"]["spec"]["containers"][0];
        container["image"] = json!(format!("{image}:{version}"));
        if image == "frontend" {
            tier["needs"][0]["compatible"] = json!("Backward");
        }
    }
    Ok(manifest)
}

/// Changes a manifest to frontends that keep their connections to backends, and to counted connections.
fn pooled(mut manifest: Value) -> Result<Value> {
    manifest["spec"]["drain"] = json!({ "deadline": "24h", "settle": "1s", "connections": "Sidecar" });
    for tier in manifest["spec"]["tiers"].as_array_mut().context("no tiers")? {
        let env = tier["template"]["spec"]["containers"][0]["env"].as_array_mut().context("no environment")?;
        env.push(json!({ "name": "BACKEND_CONNECTIONS", "value": "pooled" }));
    }
    Ok(manifest)
}

/// Checks that no request failed, and that no reply came from a frontend that is newer than its backend. Returns the number of replies from a
/// backend that is newer than its frontend.
fn compatible(report: &Report) -> Result<u64> {
    ensure!(report.requests > 0 && report.failed == 0, "{} of {} failed: {report:?}", report.failed, report.requests);
    let mut compatible = 0;
    for (reply, tally) in &report.replies {
        let version =
            |part: &str| part.split_once(':').and_then(|(_, version)| version.strip_prefix('v')?.parse::<u32>().ok());
        let versions: Vec<u32> = reply.trim().split(" - ").filter_map(version).collect();
        let [frontend, backend] = versions[..] else { anyhow::bail!("a reply of another shape: {reply}") };
        ensure!(frontend <= backend, "{} replies `{reply}`: {report:?}", tally.count);
        compatible += if frontend < backend { tally.count } else { 0 };
    }
    Ok(compatible)
}

/// Returns the color that a Service selects.
async fn selects(scope: &Scope, service: &str) -> Result<String> {
    let found = scope.api::<Service>().get(service).await?;
    let selector = found.spec.and_then(|spec| spec.selector).context("no selector")?;
    selector.get("rainbow.dev/color").cloned().context("it selects members")
}

async fn selects_in_time(scope: &Scope, service: &str, color: &str) -> Result<()> {
    eventually(&format!("{service} selects {color}"), || async {
        let found = selects(scope, service).await?;
        ensure!(found == color, "it selects {found}");
        Ok(())
    })
    .await
}

/// Returns the UIDs of pods by tier, stage and the color that introduced them.
async fn pods(scope: &Scope) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in scope.api::<Pod>().list(&ListParams::default()).await? {
        let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
        let name = [label("rainbow.dev/tier"), label("rainbow.dev/belongs-to"), label("rainbow.dev/color")].join("/");
        all.entry(name).or_default().insert(pod.uid().unwrap_or_default());
    }
    Ok(all)
}

async fn serves(scope: &Scope, app: &App, stage: &str, color: &str) -> Result<()> {
    eventually(&format!("{stage} serves {color}"), || async {
        let found = scope.stage(app, stage).await?;
        let moves = found["tiers"]
            .as_array()
            .is_some_and(|tiers| tiers.iter().any(|tier| tier["shift"].is_object() || tier["color"] != found["color"]));
        ensure!(found["color"] == color && !found["shift"].is_object() && !moves, "{found}");
        Ok(())
    })
    .await
}

/// Kills the operator twenty times in a release of both tiers; then takes the release back.
pub(crate) async fn operator_killed_twenty_times_tier_by_tier(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::OneEvery(1_000), ..app(3) };
    scope.apply_manifest(&manifest(&app, "v1", ("v1", "v1"))?)?;
    serves(scope, &app, "active", "v1").await?;
    scope.answers("frontend-active", "frontend:v1 - backend:v1").await?;
    scope.apply_manifest(&manifest(&app, "v2", ("v2", "v2"))?)?;
    serves(scope, &app, "smoke", "v2").await?;
    ensure!(selects(scope, "backend-active").await? == "v1" && selects(scope, "backend-smoke").await? == "v2");
    let traffic = scope.load("frontend-active").await?;
    scope.cli.run(&["promote", APP]).await?;
    for _ in 0..KILLS {
        let pause = scope.operator_start().mul_f64(rand::rng().random_range(0.0..1.0));
        tokio::time::sleep(pause).await;
        scope.operator.restart()?;
    }
    serves(scope, &app, "active", "v2").await?;
    let requests = traffic.report().requests;
    eventually("clients have seen v2 for a while", || async {
        ensure!(traffic.report().requests > requests + 200);
        Ok(())
    })
    .await?;
    scope.cli.run(&["rollback", APP, "--to", "v1"]).await?;
    selects_in_time(scope, "frontend-active", "v1").await?;
    // Frontends of v2 end when their clients have; then the backends follow.
    let compatible = compatible(&traffic.stop().await)?;
    ensure!(compatible > 0, "no reply came from a newer backend");
    selects_in_time(scope, "backend-active", "v1").await?;
    ensure!(!pods(scope).await?.contains_key("frontend/active/v2"), "frontends of v2 are left");
    serves(scope, &app, "active", "v1").await
}

/// Checks that a release of the backend alone starts no frontend, and that smoke tests the pods that active gets.
pub(crate) async fn a_release_of_the_backend_alone(scope: &mut Scope) -> Result<()> {
    let app = app(3);
    scope.apply_manifest(&manifest(&app, "v1", ("v1", "v1"))?)?;
    serves(scope, &app, "active", "v1").await?;
    scope.answers("frontend-active", "frontend:v1 - backend:v1").await?;
    let before = pods(scope).await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&manifest(&app, "v2", ("v1", "v2"))?)?;
    serves(scope, &app, "smoke", "v2").await?;
    let tested = pods(scope).await?;
    scope.cli.run(&["promote", APP, "--wait", "--timeout", "5m"]).await?;
    serves(scope, &app, "active", "v2").await?;
    let after = pods(scope).await?;
    for frontends in ["frontend/active/v1", "frontend/smoke/v1"] {
        ensure!(before[frontends] == after[frontends], "frontends were restarted: {before:?} {after:?}");
    }
    ensure!(after["backend//v2"].len() == 3 && after["backend//v2"].is_superset(&tested["backend//v2"]), "{after:?}");
    scope.answers("frontend-active", "frontend:v1 - backend:v2").await?;
    ensure!(compatible(&traffic.stop().await)? > 0, "no reply came from a newer backend");
    Ok(())
}

/// Checks that each tier of smoke is tested before the next follows, and that a failed test takes the stage back.
pub(crate) async fn tested_tier_by_tier(scope: &mut Scope) -> Result<()> {
    let app = app(1);
    let paused = |mut manifest: Value| {
        manifest["spec"]["stages"][0]["shift"] = json!({ "tiers": { "pause": {} } });
        manifest
    };
    scope.apply_manifest(&paused(manifest(&app, "v1", ("v1", "v1"))?))?;
    serves(scope, &app, "smoke", "v1").await?;
    scope.answers("frontend-smoke", "frontend:v1 - backend:v1").await?;
    scope.apply_manifest(&paused(manifest(&app, "v2", ("v2", "v2"))?))?;
    let test = |script: &'static str| ["test", APP, "--stage", "smoke", "--", "sh", "-c", script];
    let step = r#"test "$RAINBOW_COLOR/$RAINBOW_TIER" = v2/backend && test -n "$BACKEND" && test -n "$URL""#;
    let answer = scope.cli.run(&test(step)).await?;
    ensure!(answer.contains("goes on"), "{answer}");
    serves(scope, &app, "smoke", "v2").await?;
    let answer = scope.cli.run(&test(r#"test "$RAINBOW_TIER" = frontend"#)).await?;
    ensure!(answer.contains("passed"), "{answer}");

    scope.apply_manifest(&paused(manifest(&app, "v3", ("v3", "v3"))?))?;
    let failed = scope.cli.output(&test("exit 3"))?;
    ensure!(failed.code == 1 && failed.stderr.contains("the test ended with exit code 3"), "{failed:?}");
    selects_in_time(scope, "backend-smoke", "v2").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(selects(scope, "frontend-smoke").await? == "v2", "the frontends moved although the test failed");
    Ok(())
}

/// Checks that backends stay as long as frontends keep connections to them.
pub(crate) async fn connections_between_tiers_hold(scope: &mut Scope) -> Result<()> {
    let app = app(2);
    scope.apply_manifest(&pooled(manifest(&app, "v1", ("v1", "v1"))?)?)?;
    serves(scope, &app, "active", "v1").await?;
    scope.answers("frontend-active", "frontend:v1 - backend:v1").await?;
    let traffic = scope.load("frontend-active").await?;
    let requests = traffic.report().requests;
    eventually("frontends have connections to backends", || async {
        ensure!(traffic.report().requests > requests + 200);
        Ok(())
    })
    .await?;
    let before = pods(scope).await?;
    scope.apply_manifest(&pooled(manifest(&app, "v2", ("v1", "v2"))?)?)?;
    scope.cli.run(&["promote", APP, "--wait", "--timeout", "5m"]).await?;
    serves(scope, &app, "active", "v2").await?;
    eventually("v1 drains, and waits for connections", || async {
        let why = scope.cli.output(&["why", APP, "v1"])?;
        ensure!(why.stdout.contains("connection"), "{why:?}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let held = pods(scope).await?;
    ensure!(held.get("backend//v1").is_some_and(|pods| !pods.is_empty()), "backends of v1 went: {held:?}");
    ensure!(held["frontend/active/v1"] == before["frontend/active/v1"], "{held:?}");
    compatible(&traffic.stop().await)?;
    // Frontends of another version replace those that hold the connections.
    scope.apply_manifest(&pooled(manifest(&app, "v3", ("v2", "v2"))?)?)?;
    scope.cli.run(&["promote", APP, "--wait", "--timeout", "5m"]).await?;
    eventually("the backends of v1 have gone", || async {
        let left = pods(scope).await?;
        ensure!(!left.contains_key("backend//v1"), "{left:?}");
        Ok(())
    })
    .await
}
