//! Tests of gates on a real Prometheus, which scrapes the application's pods.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::{App, Pace, Scope};
use kube::ResourceExt;
use serde_json::{Value, json};
use traffic::FailureKind;

use super::{few_failed, gated, has_verdict, is_taken_back, rejected_by, stays_at, with_variable};

/// Number of frontends: one that fails gets a small share of the clients.
const FRONTENDS: u32 = 5;
/// Share of the replies that are errors. It has no value before 20 requests of clients, which are too few to judge by.
const ERRORS: &str = r#"sum(http_requests_total{color="{{color}}",tier="{{tier}}",code=~"5.."})
    / (sum(http_requests_total{color="{{color}}",tier="{{tier}}"}) > 20)"#;
/// Mean time of a reply, in seconds.
const LATENCY: &str = r#"sum(http_request_duration_seconds_sum{color="{{color}}",tier="{{tier}}"})
    / (sum(http_request_duration_seconds_count{color="{{color}}",tier="{{tier}}"}) > 0)"#;

fn on_prometheus(name: &str, address: &str, query: &str, condition: &str) -> Value {
    json!({
        "name": name, "interval": "1s", "successCondition": condition,
        "prometheus": { "address": address, "query": query },
    })
}

/// Builds an app with many small frontends and few backends.
fn wide(mut manifest: Value) -> Value {
    manifest["spec"]["tiers"][1]["replicas"] = json!(2);
    manifest
}

/// Checks that a stage takes itself back from a v2 that answers 500 to a tenth of its requests, with the first of its five pods, and with no pod
/// start. A measurement a second finds it before 1 % of the requests of the release have failed.
pub(crate) async fn a_version_that_answers_500_is_taken_back(scope: &mut Scope) -> Result<()> {
    let prometheus = scope.prometheus().await?;
    let app = App { pace: Pace::OneEvery(1_000), ..App::two_tiers(FRONTENDS) };
    let gates = json!([on_prometheus("errors", prometheus.address(), ERRORS, "result[0] < 0.05")]);
    let release =
        |version: &str| wide(gated(&app, version, gates.clone(), json!({ "gates": { "during": ["errors"] } })));
    scope.apply_manifest(&release("v1"))?;
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let traffic = scope.load("frontend-active").await?;
    prometheus.has(r#"http_requests_total{color="v1",tier="frontend",code="200"} > 0"#).await?;
    scope.apply_manifest(&with_variable(release("v2"), "frontend", "FAIL_PERCENT", "10"))?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.has_moved(&app, 1).await?;
    let before = scope.pod_uids().await?;

    is_taken_back(scope, &app, "errors", "v2", "v1").await?;
    let gate = has_verdict(scope, &app, "errors", "v2", "Failed").await?;
    ensure!(gate["moment"] == "During" && gate["at"] == 1, "{gate}");
    let last =
        gate["measurements"].as_array().and_then(|measurements| measurements.last()).context("no measurement")?;
    ensure!(last["outcome"] == "Failed" && last["value"].is_string() && last["query"].is_string(), "{gate}");
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let after: BTreeSet<String> = scope.pods("v1").await?.into_values().flatten().filter_map(|pod| pod.uid()).collect();
    ensure!(after.is_subset(&before), "pods of v1 were started");
    ensure!(rejected_by(scope, &app, "v2").await? == "active/errors");
    let report = traffic.stop().await;
    few_failed(&report, &[FailureKind::BadStatus])?;
    ensure!(report.failed > 0, "no client has seen v2, so the gate cannot have either");
    ensure!(report.closed_idle == 0, "{} kept connections were closed", report.closed_idle);
    Ok(())
}

/// Checks that an automatic stage goes back from a v2 that has become slow for its clients, does not take it again, and takes a good v3.
pub(crate) async fn a_slow_version_is_not_taken_again(scope: &mut Scope) -> Result<()> {
    let prometheus = scope.prometheus().await?;
    let app = App { pace: Pace::Flip, ..App::two_tiers(2) };
    let gates = json!([on_prometheus("latency", prometheus.address(), LATENCY, "result[0] < 0.2")]);
    let stage = json!({ "promote": "Auto", "gates": { "after": ["latency"] } });
    let release = |version: &str| gated(&app, version, gates.clone(), stage.clone());
    scope.apply_manifest(&release("v1"))?;
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&with_variable(release("v2"), "frontend", "DELAY_MS", "400"))?;
    is_taken_back(scope, &app, "latency", "v2", "v1").await?;
    ensure!(rejected_by(scope, &app, "v2").await? == "active/latency");
    // A change of the spec makes the operator decide again.
    let mut again = with_variable(release("v2"), "frontend", "DELAY_MS", "400");
    again["spec"]["keep"]["history"] = json!(4);
    scope.apply_manifest(&again)?;
    stays_at(scope, &app, "v1").await?;

    scope.apply_manifest(&release("v3"))?;
    scope.serves(&app, "active", "v3").await?;
    has_verdict(scope, &app, "latency", "v3", "Passed").await?;
    traffic.clean().await?;
    Ok(())
}

/// Checks the three meanings of a query that finds nothing: the stage waits, goes on, or does not move.
pub(crate) async fn no_data_holds_passes_or_fails(scope: &mut Scope) -> Result<()> {
    let prometheus = scope.prometheus().await?;
    let app = App { pace: Pace::Flip, ..App::two_tiers(1) };
    let release = |version: &str, on_no_data: &str| {
        let mut gate = on_prometheus("nothing", prometheus.address(), "no_such_metric", "result[0] < 1.0");
        gate["onNoData"] = json!(on_no_data);
        let stage = json!({ "color": version, "gates": { "before": ["nothing"] } });
        scope.apply_manifest(&gated(&app, version, json!([gate]), stage))
    };
    scope.deploy(&app, "v1", "active").await?;
    release("v2", "Hold")?;
    let gate = has_verdict(scope, &app, "nothing", "v2", "NoData").await?;
    ensure!(gate["counts"]["noData"].as_i64() > Some(0) && gate["counts"]["failed"] == 0, "{gate}");
    let stage = scope.stage(&app, "active").await?;
    ensure!(stage["message"].as_str().is_some_and(|message| message.contains("no data")), "{stage}");
    ensure!(stage["color"] == "v1" && stage["rejected"].is_null(), "{stage}");
    release("v2", "Pass")?;
    scope.serves(&app, "active", "v2").await?;
    release("v3", "Fail")?;
    has_verdict(scope, &app, "nothing", "v3", "Failed").await?;
    stays_at(scope, &app, "v2").await
}
