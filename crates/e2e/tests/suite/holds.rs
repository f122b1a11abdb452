//! Tests of manifests that are applied after a release by `deploy`, and after a rollback of their own color.

use anyhow::{Context, Result, ensure};
use e2e::{App, Scope, eventually};
use serde_json::{Value, json};

const APP: &str = "seamless";

/// Checks that a tier whose image `deploy` has written goes when the next manifest has the tier no longer, or under another name.
pub(crate) async fn a_tier_goes_after_a_deploy(scope: &mut Scope) -> Result<()> {
    let mut app = App { chain: vec!["frontend", "cache", "backend"], ..App::two_tiers(1) };
    scope.deploy(&app, "v1", "active").await?;
    let prefix = scope.image_prefix().to_owned();
    let images = app.chain.iter().map(|tier| {
        let image = if *tier == "backend" { "backend" } else { "frontend" };
        format!("--image={tier}={prefix}{image}:v2")
    });
    let images: Vec<String> = images.collect();
    let mut deploy = vec!["deploy", APP, "--color", "v2"];
    deploy.extend(images.iter().map(String::as_str));
    scope.cli.run(&deploy).await?;
    scope.serves(&app, "smoke", "v2").await?;

    app.chain = vec!["frontend", "backend"];
    let dry_run = scope.cli.output_with_input(&["apply", "-f", "-", "--dry-run"], &app.at("v3").to_string())?;
    ensure!(dry_run.code == 0, "{}", dry_run.stderr);
    ensure!(tiers(scope, &app).await?.len() == 3, "nothing is written yet");
    scope.apply(&app, "v3")?;
    ensure!(tiers(scope, &app).await? == ["frontend", "backend"], "{:?}", tiers(scope, &app).await?);
    scope.serves(&app, "smoke", "v3").await?;

    // Another tool has written to the tier that is renamed.
    let mut edited = scope.rainbow(&app).await?.data["spec"]["tiers"].clone();
    for tier in edited.as_array_mut().context("no tiers")? {
        tier["replicas"] = json!(2);
    }
    let patch = kube::api::Patch::Merge(json!({ "spec": { "tiers": edited } }));
    scope.custom("Rainbow").patch(APP, &kube::api::PatchParams::default(), &patch).await?;
    app.chain = vec!["frontend", "store"];
    let mut renamed = app.at("v1");
    renamed["spec"]["color"] = json!("v4");
    scope.apply_manifest(&renamed)?;
    ensure!(tiers(scope, &app).await? == ["frontend", "store"], "{:?}", tiers(scope, &app).await?);
    scope.serves(&app, "smoke", "v4").await
}

async fn tiers(scope: &Scope, app: &App) -> Result<Vec<String>> {
    let tiers = scope.rainbow(app).await?.data["spec"]["tiers"].as_array().cloned().unwrap_or_default();
    Ok(tiers.iter().filter_map(|tier| tier["name"].as_str().map(str::to_owned)).collect())
}

/// Applies again the manifest that was rolled back, by each tool in each of its ways. A later color proceeds.
pub(crate) async fn an_old_manifest_undoes_no_rollback(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    for version in ["v1", "v2"] {
        scope.apply(&app, version)?;
        scope.serves(&app, "smoke", version).await?;
    }
    scope.cli.run(&["rollback", APP, "--stage", "smoke", "--to", "v1", "--wait"]).await?;
    scope.serves(&app, "smoke", "v1").await?;
    let held = scope.stage(&app, "smoke").await?;
    ensure!(held["held"] == true, "{held}");
    ensure!(held["message"].as_str().is_some_and(|text| text.starts_with("held at `v1` ")), "{held}");
    let status = scope.cli.run(&["status", APP]).await?;
    ensure!(status.contains("held at `v1`"), "{status}");

    let kubectl = scope.kubectl()?;
    let mut manifest = app.at("v2");
    prefixed(&mut manifest, scope.image_prefix());
    let manifest = manifest.to_string();
    let ways: [&[&str]; 3] =
        [&["apply", "-f", "-"], &["apply", "-f", "-"], &["apply", "--server-side", "--force-conflicts", "-f", "-"]];
    for way in ways {
        kubectl.ok_with(way, &manifest)?;
        stays(scope, &app).await?;
    }
    scope.apply(&app, "v2")?;
    stays(scope, &app).await?;

    scope.apply(&app, "v3")?;
    scope.serves(&app, "smoke", "v3").await?;
    // The hold has ended for good.
    scope.apply(&app, "v2")?;
    scope.serves(&app, "smoke", "v2").await
}

/// Waits until the operator has seen the manifest, and checks that the stage serves the color of the rollback.
async fn stays(scope: &Scope, app: &App) -> Result<()> {
    eventually("the operator has seen the manifest", || async {
        let rainbow = scope.rainbow(app).await?;
        let seen = rainbow.data["status"]["observedGeneration"].as_i64();
        ensure!(seen.is_some() && seen == rainbow.metadata.generation, "{seen:?}");
        Ok(())
    })
    .await?;
    let stage = scope.stage(app, "smoke").await?;
    ensure!(stage["color"] == "v1" && stage["shift"].is_null() && stage["held"] == true, "{stage}");
    Ok(())
}

fn prefixed(manifest: &mut Value, prefix: &str) {
    let tiers = manifest["spec"]["tiers"].as_array_mut().into_iter().flatten();
    for container in tiers.flat_map(|tier| tier["template"]["spec"]["containers"].as_array_mut()).flatten() {
        let image = container["image"].as_str().unwrap_or_default();
        container["image"] = json!(format!("{prefix}{image}"));
    }
}
