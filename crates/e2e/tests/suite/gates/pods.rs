//! Tests of the gate `pods`, which every stage has.

use anyhow::{Result, ensure};
use e2e::{App, Pace, Scope};
use serde_json::json;
use traffic::FailureKind;

use super::{gate, gated, is_taken_back, with_variable};

/// Checks that a stage takes itself back from a v2 whose pods break as soon as clients call them: they leak until the kernel kills them for their
/// memory. The embedded cluster has no limits of memory, so there the pods crash.
pub(crate) async fn a_version_that_breaks_under_load_is_taken_back(scope: &mut Scope) -> Result<()> {
    // The share of one pod is what clients see of it.
    let app = App { pace: Pace::HELD, ..App::two_tiers(10) };
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    let v2 = gated(&app, "v2", json!([]), json!({ "gates": { "pods": { "restarts": 0 } } }));
    let v2 = if scope.is_embedded() {
        with_variable(v2, "frontend", "EXIT_AFTER_REQUESTS", "20")
    } else {
        let mut v2 = with_variable(v2, "frontend", "LEAK_MIB_PER_SECOND", "100");
        for tier in v2["spec"]["tiers"].as_array_mut().into_iter().flatten().filter(|tier| tier["name"] == "frontend") {
            tier["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "64Mi" } });
        }
        v2
    };
    scope.apply_manifest(&v2)?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name]).await?;
    is_taken_back(scope, &app, "pods", "v2", "v1").await?;
    let pods = gate(scope, &app, "pods", "v2").await?;
    ensure!(pods["verdict"] == "Failed", "{pods}");
    let expected = if scope.is_embedded() { "restart" } else { "memory" };
    ensure!(pods["message"].as_str().is_some_and(|message| message.contains(expected)), "{pods}");
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let report = traffic.stop().await;
    // A pod that ends takes its connections along; no other request may fail.
    let kinds = [FailureKind::Reset, FailureKind::ClosedEarly, FailureKind::ConnectRefused];
    super::few_failed(&report, &kinds)
}
