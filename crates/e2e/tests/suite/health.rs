//! Tests of versions that fail after they have taken over, and of versions that never serve.

use anyhow::{Context, Result, ensure};
use e2e::{App, Scope, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// Condition that the test sets on pods, as the controller of a load balancer does.
const GATE: &str = "e2e.rainbow.dev/healthy";

/// Checks that v1 keeps its pods while v2, which has taken over, fails, until v2 is healthy again, although everything else would let them go.
pub(crate) async fn a_way_back_from_a_version_that_fails(scope: &mut Scope) -> Result<()> {
    let app = App { settle: "0s", ..App::two_tiers(2) };
    scope.deploy(&app, "v1", "active").await?;
    let mut v2 = gated(&app, "v2");
    v2["spec"]["keep"]["warm"] = json!("1h");
    scope.apply_manifest(&v2)?;
    let gate = Gate::of(scope, "v2");
    gate.set(true);
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    gate.set(false);
    eventually("the Rainbow is degraded", || async {
        let rainbow = scope.rainbow(&app).await?;
        let ready = condition(&rainbow.data, "Ready")?;
        ensure!(ready["status"] == "False" && ready["reason"] == "Degraded", "{ready}");
        ensure!(ready["message"].as_str().is_some_and(|message| message.contains(GATE)), "{ready}");
        Ok(())
    })
    .await?;
    v2["spec"]["keep"]["warm"] = json!("0s");
    v2["spec"]["stages"][1]["color"] = json!("v2");
    scope.apply_manifest(&v2)?;
    eventually("v1 is kept as the way back", || async {
        let color = scope.custom("Color").get("seamless-v1").await?;
        let ready = condition(&color.data, "Ready")?;
        ensure!(ready["message"].as_str().is_some_and(|message| message.contains("lacks pods")), "{ready}");
        Ok(())
    })
    .await?;
    scope.cli.run(&["rollback", app.name, "--wait"]).await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    gate.set(true);
    scope.cli.run(&["promote", app.name, "--to", "v2", "--wait"]).await?;
    is_retired(scope, "seamless-v1").await
}

/// Checks that with `onStalled: RollBack` the stage returns by itself to v1 when v2 fails for good, and stays there; another version takes over.
pub(crate) async fn a_stage_takes_itself_back(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    let mut v2 = gated(&app, "v2");
    v2["spec"]["stages"][1]["onStalled"] = json!("RollBack");
    scope.apply_manifest(&v2)?;
    let gate = Gate::of(scope, "v2");
    gate.set(true);
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    // Set only now, so that a slow machine has the time to bring v2 up.
    v2["spec"]["progressDeadlineSeconds"] = json!(1);
    v2["spec"]["stages"][1]["color"] = json!("v2");
    scope.apply_manifest(&v2)?;
    gate.set(false);
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let stage = scope.stage(&app, "active").await?;
    ensure!(stage["rejected"] == "v2", "{stage}");
    gate.set(true);
    scope.serves(&app, "smoke", "v2").await?;
    scope.serves(&app, "active", "v1").await?;
    scope.cli.run(&["promote", app.name, "--to", "v1", "--wait"]).await?;
    scope.cli.run(&["promote", app.name, "--to", "v2", "--wait"]).await?;
    scope.serves(&app, "active", "v2").await
}

/// Checks that no stage moves to a v2 that never becomes ready. With `onStalled: RollBack` the stages give it up, and its pods end.
pub(crate) async fn a_version_that_never_becomes_ready_is_given_up(scope: &mut Scope) -> Result<()> {
    let app = App { settle: "1h", ..App::two_tiers(2) };
    scope.deploy(&app, "v1", "active").await?;
    let mut v2 = gated(&app, "v2");
    v2["spec"]["progressDeadlineSeconds"] = json!(1);
    v2["spec"]["stages"][0]["onStalled"] = json!("RollBack");
    v2["spec"]["stages"][1]["onStalled"] = json!("RollBack");
    v2["spec"]["stages"][1]["color"] = json!("v2");
    scope.apply_manifest(&v2)?;
    is_retired(scope, "seamless-v2").await?;
    for stage in ["smoke", "active"] {
        scope.serves(&app, stage, "v1").await?;
        let stage = scope.stage(&app, stage).await?;
        ensure!(stage["rejected"] == "v2", "{stage}");
    }
    scope.answers("frontend-active", &app.reply("v1")).await
}

/// Checks that `failed`, which never becomes ready and so never gets a client, goes as soon as `last` exists, although colors settle for an
/// hour, and that it does not take the only place in the history.
pub(crate) async fn a_version_that_never_served_goes_at_once(scope: &mut Scope) -> Result<()> {
    let app = App { settle: "1h", ..App::two_tiers(2) };
    let release = |mut manifest: Value, color: &str| {
        manifest["spec"]["color"] = json!(color);
        manifest["spec"]["keep"]["history"] = json!(1);
        scope.apply_manifest(&manifest)
    };
    scope.deploy(&app, "v1", "active").await?;
    release(app.at("v2"), "v2")?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.cli.run(&["retire", app.name, "v1"]).await?;
    is_retired(scope, "seamless-v1").await?;
    release(gated(&app, "v1"), "failed")?;
    eventually("the failed version has pods", || async {
        let pods = scope.pods("failed").await?;
        ensure!(!pods.is_empty(), "none");
        Ok(())
    })
    .await?;
    release(app.at("v2"), "last")?;
    eventually("the failed version is gone, and the one that served is not", || async {
        let colors = scope.custom("Color");
        ensure!(colors.get_opt("seamless-failed").await?.is_none(), "the failed version is there");
        ensure!(colors.get_opt("seamless-v1").await?.is_some(), "it has made way for a version that never served");
        Ok(())
    })
    .await
}

/// Builds the app at a version whose pods wait for [`GATE`].
fn gated(app: &App, version: &str) -> Value {
    let mut manifest = app.at(version);
    for tier in manifest["spec"]["tiers"].as_array_mut().into_iter().flatten() {
        tier["template"]["spec"]["readinessGates"] = json!([{ "conditionType": GATE }]);
    }
    manifest
}

/// Setter of [`GATE`] on all pods of a color, also on new ones.
struct Gate {
    healthy: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Gate {
    fn of(scope: &Scope, color: &'static str) -> Self {
        let (pods, healthy) = (scope.api::<Pod>(), Arc::new(AtomicBool::new(false)));
        let wanted = Arc::clone(&healthy);
        let task = tokio::spawn(async move {
            let selector = ListParams::default().labels(&format!("rainbow.dev/color={color}"));
            loop {
                let status = if wanted.load(Ordering::Relaxed) { "True" } else { "False" };
                let patch = json!({ "status": { "conditions": [{ "type": GATE, "status": status }] } });
                for pod in pods.list(&selector).await.into_iter().flatten() {
                    // A pod may be gone by now; the next round sees it.
                    let _ =
                        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { healthy, task }
    }

    fn set(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn is_retired(scope: &Scope, color: &str) -> Result<()> {
    eventually(&format!("{color} is retired"), || async {
        let phase = scope.custom("Color").get(color).await?.data["status"]["phase"].clone();
        ensure!(phase == "Retired", "{phase}");
        Ok(())
    })
    .await
}

fn condition(object: &Value, type_: &str) -> Result<Value> {
    let conditions = object["status"]["conditions"].as_array().context("no conditions yet")?;
    conditions.iter().find(|found| found["type"] == type_).cloned().context("no such condition")
}
