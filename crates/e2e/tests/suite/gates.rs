//! Tests of gates and steps: a release that judges itself.
//!
//! Load whose replies are checked runs in each test that moves the active stage: no gate and no step may mix versions or cut connections.
//!
//! | module | subject |
//! |---|---|
//! | `held` | gates before a stage moves, which hold it or let it go |
//! | `metrics` | gates on a real Prometheus |
//! | `pods` | the gate that every stage has |
//! | `steps` | steps of a shift, and gates between tiers |

pub(crate) mod held;
pub(crate) mod metrics;
pub(crate) mod pods;
pub(crate) mod steps;

use anyhow::{Context, Result, ensure};
use e2e::{App, Scope, eventually};
use serde_json::{Value, json};
use traffic::{FailureKind, Report};

/// Builds the manifest of a version in which the active stage has gates. `stage` are fields of the stage.
fn gated(app: &App, version: &str, gates: Value, stage: Value) -> Value {
    let mut manifest = app.at(version);
    manifest["spec"]["gates"] = gates;
    let fields = stage.as_object().cloned().unwrap_or_default();
    for (field, value) in fields {
        manifest["spec"]["stages"][1][field] = value;
    }
    manifest
}

/// Sets a variable of the containers of a tier.
fn with_variable(mut manifest: Value, tier: &str, name: &str, value: &str) -> Value {
    for found in manifest["spec"]["tiers"].as_array_mut().into_iter().flatten().filter(|found| found["name"] == tier) {
        if let Some(variables) = found["template"]["spec"]["containers"][0]["env"].as_array_mut() {
            variables.push(json!({ "name": name, "value": value }));
        }
    }
    manifest
}

/// Returns the latest state of a gate of the active stage for a color.
async fn gate(scope: &Scope, app: &App, name: &str, color: &str) -> Result<Value> {
    let stage = scope.stage(app, "active").await?;
    let gates = stage["gates"].as_array().cloned().unwrap_or_default();
    let found = gates.into_iter().rev().find(|gate| gate["name"] == name && gate["color"] == color);
    found.with_context(|| format!("no gate {name} of {color}: {stage}"))
}

/// Waits until a gate of the active stage has a verdict for a color.
async fn has_verdict(scope: &Scope, app: &App, name: &str, color: &str, verdict: &str) -> Result<Value> {
    eventually(&format!("gate {name} of {color} is {verdict}"), || async {
        let gate = gate(scope, app, name, color).await?;
        ensure!(gate["verdict"] == verdict, "{gate}");
        Ok(gate)
    })
    .await
}

/// Waits until the active stage serves `back` again because a gate has rejected `color`.
async fn is_taken_back(scope: &Scope, app: &App, gate: &str, color: &str, back: &str) -> Result<()> {
    eventually(&format!("gate {gate} has rejected {color}"), || async {
        let stage = scope.stage(app, "active").await?;
        ensure!(stage["rejected"] == color && stage["rejectedBy"] == gate, "{stage}");
        ensure!(stage["color"] == back && stage["shift"].is_null(), "{stage}");
        Ok(())
    })
    .await
}

/// Waits until the operator has acted on the current spec, and checks that the active stage serves a color and that no pod has moved.
async fn stays_at(scope: &Scope, app: &App, color: &str) -> Result<()> {
    eventually("the operator has seen the spec", || async {
        let rainbow = scope.rainbow(app).await?;
        let seen = rainbow.data["status"]["observedGeneration"].as_i64();
        ensure!(seen.is_some() && seen == rainbow.metadata.generation, "{seen:?}");
        Ok(())
    })
    .await?;
    let stage = scope.stage(app, "active").await?;
    // A stage that waits for a gate before it moves has a shift with no pod moved.
    let moved = stage["shift"]["moved"].as_i64().unwrap_or(0);
    ensure!(stage["color"] == color && moved == 0, "{stage}");
    Ok(())
}

/// Returns the gate that has rejected a color, as the color's own status has it.
async fn rejected_by(scope: &Scope, app: &App, color: &str) -> Result<Value> {
    let color = scope.custom("Color").get(&format!("{}-{color}", app.name)).await?;
    Ok(color.data["status"]["rejectedBy"].clone())
}

/// Checks that the failing version reached less than 1 % of the requests, that clients saw its own errors and nothing else, that no reply was
/// mixed, and that no kept connection was closed.
fn few_failed(report: &Report, kinds: &[FailureKind]) -> Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    ensure!(report.mixed == 0, "{} replies were mixed:\n{text}", report.mixed);
    ensure!(report.failures.keys().all(|kind| kinds.contains(kind)), "other failures than {kinds:?}:\n{text}");
    ensure!(report.failed * 100 < report.requests, "{} of {} failed:\n{text}", report.failed, report.requests);
    Ok(())
}
