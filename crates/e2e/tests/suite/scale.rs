//! Tests of autoscalers that scale a Deployment in the middle of a shift. The test writes as the controller of HorizontalPodAutoscalers does:
//! to the scale of the Deployment, within the bounds of the autoscaler.

use anyhow::{Context, Result, ensure};
use e2e::{App, Pace, Scope, eventually, load::Clients};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

const PODS: i32 = 4;

/// Builds a manifest whose frontend has a policy about its size.
fn scaled(app: &App, version: &str, field: &str, policy: &Value) -> Value {
    let mut manifest = app.at(version);
    manifest["spec"]["tiers"][0][field] = policy.clone();
    manifest["spec"]["progressDeadlineSeconds"] = json!(30);
    manifest
}

async fn deploy(scope: &Scope, app: &App, manifest: &Value, version: &str, stage: &str) -> Result<()> {
    scope.apply_manifest(manifest)?;
    scope.serves(app, stage, version).await
}

async fn scale(scope: &Scope, deployment: &str, replicas: i32) -> Result<()> {
    let manager = Some("kube-controller-manager".to_owned());
    let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    scope.api::<Deployment>().patch_scale(deployment, &parameters, &patch).await?;
    Ok(())
}

async fn replicas(scope: &Scope, deployment: &str) -> Result<i32> {
    let found = scope.api::<Deployment>().get(deployment).await?;
    found.spec.and_then(|spec| spec.replicas).context("a Deployment without replicas")
}

/// Returns the fewest pods that an autoscaler may ask for.
async fn least(scope: &Scope, name: &str) -> Result<Option<i32>> {
    let found = scope.api::<HorizontalPodAutoscaler>().get_opt(name).await?;
    Ok(found.and_then(|found| found.spec).and_then(|spec| spec.min_replicas))
}

/// Acts as an autoscaler's controller that finds one pod to be enough. Never returns.
async fn scale_in(scope: &Scope, deployments: &[&str]) -> Result<()> {
    loop {
        for deployment in deployments {
            if let Some(least) = least(scope, deployment).await?
                && replicas(scope, deployment).await? > least
            {
                scale(scope, deployment, least).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Checks that the autoscalers of both colors, which want one pod as soon as the stage moves, get it when the stage has moved.
pub(crate) async fn an_autoscaler_scales_in_during_a_shift(scope: &mut Scope) -> Result<()> {
    let app = App { replicas: PODS.unsigned_abs(), ..App::two_tiers(0) };
    let policy = json!({ "minReplicas": 1, "maxReplicas": 6 });
    deploy(scope, &app, &scaled(&app, "v1", "autoscale", &policy), "v1", "active").await?;
    deploy(scope, &app, &scaled(&app, "v2", "autoscale", &policy), "v2", "smoke").await?;
    let traffic = scope.load_by("frontend-active", Clients::New).await?;
    scope.cli.run(&["promote", app.name]).await?;
    eventually("both colors have a floor", || async {
        let floors = (least(scope, "frontend-v1").await?, least(scope, "frontend-v2").await?);
        ensure!(floors == (Some(PODS), Some(PODS)), "{floors:?}");
        Ok(())
    })
    .await?;
    let scaled_in = async {
        scope.serves(&app, "active", "v2").await?;
        eventually("the autoscaler makes v2 smaller when the stage has moved", || async {
            let now = replicas(scope, "frontend-v2").await?;
            ensure!(now == 1, "{now}");
            Ok(())
        })
        .await
    };
    tokio::select! {
        done = scaled_in => done?,
        broken = scale_in(scope, &["frontend-v1", "frontend-v2"]) => return broken,
    }
    ensure!(replicas(scope, "frontend-v1").await? == PODS, "the way back is whole");
    scope.answers("frontend-active", &app.reply("v2")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Scales the new color down to half in the middle of a shift, as another controller would: the old color replaces the removed pods, and the shift
/// completes without them.
pub(crate) async fn another_controller_scales_in_during_a_shift(scope: &mut Scope) -> Result<()> {
    let app = App { replicas: PODS.unsigned_abs(), pace: Pace::OneEvery(2_000), ..App::two_tiers(0) };
    let policy = json!("External");
    deploy(scope, &app, &scaled(&app, "v1", "scaling", &policy), "v1", "active").await?;
    deploy(scope, &app, &scaled(&app, "v2", "scaling", &policy), "v2", "smoke").await?;
    let traffic = scope.load_by("frontend-active", Clients::New).await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.has_moved(&app, 2).await?;
    ensure!(replicas(scope, "frontend-v2").await? == PODS, "v2 begins with as many pods as v1 has");
    scale(scope, "frontend-v2", 2).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;
    ensure!(replicas(scope, "frontend-v2").await? == 2, "Rainbow has written against another controller");
    traffic.clean().await?;
    Ok(())
}
