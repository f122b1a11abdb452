//! Tests of the main job, step by step, with Rainbow's own commands.

use anyhow::{Result, ensure};
use e2e::{App, OnSigterm, Pace, Scope, eventually};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;

/// Releases v1, then v2 beside it as a smoke stage, moves the active stage, retires v1, and deletes everything.
pub(crate) async fn from_v1_to_v2_and_away(scope: &mut Scope) -> Result<()> {
    let app = App { settle: "500ms", ..App::two_tiers(3) };
    scope.deploy(&app, "v1", "active").await?;
    scope.serves(&app, "smoke", "v1").await?;
    scope.wait_until_scaled("v1", 3).await?;
    says(scope, "active", "frontend:v1 - backend:v1").await?;

    scope.deploy(&app, "v2", "smoke").await?;
    scope.wait_until_scaled("v2", 1).await?;
    says(scope, "active", "frontend:v1 - backend:v1").await?;
    says(scope, "smoke", "frontend:v2 - backend:v2").await?;

    let before = scope.pod_uids().await?;
    scope.cli.run(&["promote", "seamless", "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    says(scope, "active", "frontend:v2 - backend:v2").await?;
    let started = scope.pod_uids().await?.difference(&before).count();
    ensure!(started == 4, "2 × (3 - 1) pods bring v2 to full size, {started} were started");

    scope.wait_until_scaled("v1", 0).await?;
    scope.wait_until_scaled("v2", 3).await?;
    let tree = scope.cli.run(&["status", "seamless"]).await?;
    ensure!(tree.contains("active") && tree.contains("v2"), "the status tree says nothing:\n{tree}");

    scope.cli.run(&["delete", "seamless", "--wait"]).await?;
    let left = scope.api::<Deployment>().list(&ListParams::default()).await?.items;
    ensure!(left.is_empty(), "{} Deployments are left", left.len());
    Ok(())
}

/// Rolls back in the middle of a shift and after it: one write, no pod start.
pub(crate) async fn rolls_back_without_a_pod_start(scope: &mut Scope) -> Result<()> {
    let mut app = App { on_sigterm: OnSigterm::Die, pace: Pace::HELD, ..App::two_tiers(4) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = scope.load("frontend-active").await?;

    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    let before = scope.pod_uids().await?;
    scope.cli.run(&["rollback", "seamless", "--wait"]).await?;
    scope.serves(&app, "active", "v1").await?;

    app.pace = Pace::BRISK;
    scope.apply(&app, "v2")?;
    scope.cli.run(&["promote", "seamless", "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.cli.run(&["rollback", "seamless", "--wait"]).await?;
    scope.serves(&app, "active", "v1").await?;
    let report = traffic.clean().await?;
    ensure!(report.replies.len() == 2, "both versions answered: {:?}", report.replies.keys());
    let started = scope.pod_uids().await?.difference(&before).count();
    ensure!(started == 0, "{started} pods were started by rolling back and forth");
    says(scope, "active", "frontend:v1 - backend:v1").await?;
    Ok(())
}

/// Checks that a paused shift holds its share, and that abort returns to the old color.
pub(crate) async fn pauses_resumes_and_aborts(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::HELD, ..App::two_tiers(3) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    scope.cli.run(&["pause", "seamless"]).await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    eventually("the shift is paused", || async {
        let stage = scope.stage(&app, "active").await?;
        ensure!(stage["shift"]["phase"] == "Paused", "{stage}");
        Ok(())
    })
    .await?;
    says(scope, "active", "frontend:v1 - backend:v1").await?;
    scope.cli.run(&["resume", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    scope.cli.run(&["abort", "seamless"]).await?;
    scope.serves(&app, "active", "v1").await?;
    scope.serves(&app, "smoke", "v2").await?;
    says(scope, "active", "frontend:v1 - backend:v1").await?;
    Ok(())
}

/// `scale` writes sizes, makes no color, and leaves the field to the next apply of a manifest that has it.
pub(crate) async fn scales_by_a_command(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    let said = scope.cli.ok(&["scale", "seamless", "backend=3", "frontend=3", "--wait"])?;
    ensure!(said.contains("scaled: backend 2 → 3, frontend 2 → 3"), "{said}");
    scope.wait_until_scaled("v1", 3).await?;
    let again = scope.cli.ok(&["scale", "seamless", "--tier", "backend", "--replicas", "3"])?;
    ensure!(again.contains("unchanged"), "{again}");
    let unknown = scope.cli.output(&["scale", "seamless", "bakend=1"])?;
    ensure!(unknown.code == 3 && unknown.stderr.contains("did you mean `backend`?"), "{}", unknown.stderr);
    scope.apply(&app, "v1")?;
    let spec = scope.rainbow(&app).await?.data["spec"].clone();
    let sizes: Vec<_> = spec["tiers"].as_array().into_iter().flatten().map(|tier| tier["replicas"].clone()).collect();
    ensure!(sizes == [2, 2], "the manifest gives 2: {sizes:?}");
    let colors = scope.custom("Color").list(&ListParams::default()).await?.items;
    ensure!(colors.len() == 1, "scaling made a color: {} there are", colors.len());
    Ok(())
}

/// Replicas are policy: scaling in the middle of a shift makes no color and loses no request.
pub(crate) async fn scales_during_a_shift(scope: &mut Scope) -> Result<()> {
    let mut app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = scope.load("frontend-active").await?;
    app.pace = Pace::HELD;
    scope.apply(&app, "v2")?;
    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    let selected = scope.rainbow(&app).await?.data["spec"]["stages"][1]["color"].clone();
    ensure!(selected == "v2", "promote wrote {selected}");
    (app.replicas, app.pace) = (4, Pace::BRISK);
    scope.apply(&app, "v2")?;
    scope.serves(&app, "active", "v2").await?;
    scope.wait_until_scaled("v2", 4).await?;
    traffic.clean().await?;
    let colors = scope.custom("Color").list(&ListParams::default()).await?.items;
    ensure!(colors.len() == 2, "scaling made a color: {} there are", colors.len());
    Ok(())
}

/// Waits until `rainbow query` prints the expected reply. After a shift the data plane may need a moment for the last change.
async fn says(scope: &Scope, stage: &str, expected: &str) -> Result<()> {
    eventually(&format!("stage {stage} answers {expected}"), || async {
        let said = scope.cli.run(&["query", "seamless", "--stage", stage]).await?;
        ensure!(said.trim() == expected, "it answers {said}");
        Ok(())
    })
    .await
}
