//! Tests of steps of a shift, and of gates between tiers.

use anyhow::{Context, Result, ensure};
use e2e::{App, Scope, eventually, web::WebServer};
use serde_json::{Value, json};
use traffic::Report;

use super::{gated, has_verdict};

/// Number of pods of a tier.
const PODS: u32 = 4;

/// Builds a gate that is good when the server says `{"ok": true}`, bad when it says false, and neither when it says nothing.
fn on_server(server: &WebServer) -> Value {
    json!([{
        "name": "errors", "interval": "1s", "inconclusiveLimit": 1000, "count": 1,
        "successCondition": "result == true", "failureCondition": "result == false",
        "web": { "url": server.url("/{{color}}"), "jsonPath": "{$.ok}" },
    }])
}

fn by_steps(app: &App, version: &str, server: &WebServer) -> Value {
    let steps = json!([{ "pods": 1 }, { "pause": {} }, { "percent": 50 }, { "gate": "errors" }, { "percent": 100 }]);
    gated(app, version, on_server(server), json!({ "shift": { "steps": steps } }))
}

/// Waits until the shift to a color waits at a step, with so many pods of the color.
async fn waits_at(scope: &Scope, app: &App, color: &str, step: i64, moved: i64) -> Result<()> {
    eventually(&format!("the way to {color} waits at step {step} with {moved} pods"), || async {
        let stage = scope.stage(app, "active").await?;
        let shift = &stage["shift"];
        ensure!(shift["to"] == color && shift["step"] == step && shift["moved"] == moved, "{stage}");
        ensure!(shift["stepSince"].is_string(), "{stage}");
        Ok(())
    })
    .await
}

/// Goes through each kind of step, with a rollback and a third color in the middle.
pub(crate) async fn one_after_the_other(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(PODS);
    let server = WebServer::start(json!({ "ok": "not yet" })).await?;
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&by_steps(&app, "v2", &server))?;
    scope.serves(&app, "smoke", "v2").await?;

    // A rollback in the middle.
    scope.cli.run(&["promote", app.name]).await?;
    waits_at(scope, &app, "v2", 2, 1).await?;
    let message = scope.stage(&app, "active").await?["message"].clone();
    ensure!(message.as_str().is_some_and(|text| text.contains("pauses at step 2")), "{message}");
    scope.cli.run(&["rollback", app.name]).await?;
    scope.serves(&app, "active", "v1").await?;

    // From the first step to the gate. The pause holds again: it is another shift.
    scope.cli.run(&["promote", app.name, "--to", "v2"]).await?;
    waits_at(scope, &app, "v2", 2, 1).await?;
    scope.cli.run(&["resume", app.name]).await?;
    waits_at(scope, &app, "v2", 4, i64::from(PODS / 2)).await?;
    server.asked_again(2).await?;
    waits_at(scope, &app, "v2", 4, i64::from(PODS / 2)).await?;

    // A third color in the middle.
    scope.apply_manifest(&by_steps(&app, "v3", &server))?;
    scope.serves(&app, "smoke", "v3").await?;
    scope.cli.run(&["promote", app.name, "--to", "v3"]).await?;
    waits_at(scope, &app, "v3", 2, 1).await?;
    server.answer(json!({ "ok": true }));
    scope.cli.run(&["resume", app.name]).await?;
    scope.serves(&app, "active", "v3").await?;
    has_verdict(scope, &app, "errors", "v3", "Passed").await?;
    scope.answers("frontend-active", &app.reply("v3")).await?;
    let report = traffic.clean().await?;
    ensure!(report.closed_idle == 0, "{} kept connections were closed", report.closed_idle);
    Ok(())
}

/// Checks that a gate that fails at a step ends on the color that served.
pub(crate) async fn a_failed_gate_goes_back(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    let server = WebServer::start(json!({ "ok": false })).await?;
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    let steps = json!([{ "pods": 1 }, { "gate": "errors" }]);
    scope.apply_manifest(&gated(&app, "v2", on_server(&server), json!({ "shift": { "steps": steps } })))?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name]).await?;
    super::is_taken_back(scope, &app, "errors", "v2", "v1").await?;
    let failed = has_verdict(scope, &app, "errors", "v2", "Failed").await?;
    ensure!(failed["moment"] == "Step" && failed["at"] == 2, "{failed}");
    scope.answers("frontend-active", &app.reply("v1")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Checks gates between the tiers of a release whose frontends may have newer backends: the frontends follow when the gate has passed, and a gate
/// that fails takes the backends back.
pub(crate) async fn between_tiers(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    let server = WebServer::start(json!({ "ok": "not yet" })).await?;
    let release = |version: &str| -> Result<Value> {
        let shift = json!({ "rolling": { "every": "300ms" }, "tiers": { "gates": ["errors"] } });
        let mut manifest = gated(&app, version, on_server(&server), json!({ "shift": shift }));
        for tier in manifest["spec"]["tiers"].as_array_mut().context("no tiers")? {
            if tier["name"] == "frontend" {
                tier["needs"][0]["compatible"] = json!("Backward");
            }
        }
        Ok(manifest)
    };
    scope.apply_manifest(&release("v1")?)?;
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&release("v2")?)?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.answers("frontend-active", "frontend:v1 - backend:v2").await?;
    server.asked_again(2).await?;
    ensure!(scope.stage(&app, "active").await?["color"] == "v1", "the frontends did not wait");
    server.answer(json!({ "ok": true }));
    scope.serves(&app, "active", "v2").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;

    server.answer(json!({ "ok": false }));
    scope.apply_manifest(&release("v3")?)?;
    scope.serves(&app, "smoke", "v3").await?;
    scope.cli.run(&["promote", app.name]).await?;
    let failed = has_verdict(scope, &app, "errors", "v3", "Failed").await?;
    ensure!(failed["moment"] == "Between" && failed["tier"] == "backend", "{failed}");
    scope.answers("frontend-active", &app.reply("v2")).await?;
    no_older_backend(&traffic.stop().await)
}

/// Checks that nothing failed, and that no reply came from a frontend that is newer than its backend.
fn no_older_backend(report: &Report) -> Result<()> {
    ensure!(report.requests > 0 && report.failed == 0, "{} of {} failed: {report:?}", report.failed, report.requests);
    for reply in report.replies.keys() {
        let versions: Vec<&str> =
            reply.trim().split(" - ").filter_map(|part| part.split_once(':')).map(|(_, v)| v).collect();
        ensure!(versions.len() == 2 && versions[0] <= versions[1], "{reply}: {report:?}");
    }
    Ok(())
}
