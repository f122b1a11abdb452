//! Tests of the second proof of concept's own way beside Rainbow's: a Service that is pointed at a color.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Scope,
    colors::{self, Colors},
    eventually,
};
use k8s_openapi::api::apps::v1::Deployment;
use traffic::{Load, Report, Target, Traffic};

/// Time that a pod of the new color needs until it is ready: long enough to be seen.
const SLOW: Duration = Duration::from_secs(2);

/// Applies everything of a new color at once, as the proof of concept does: the Service moves before there are pods.
pub(crate) async fn a_service_that_moves_at_once_drops_connections(scope: &mut Scope) -> Result<()> {
    apply(scope, "deployment.yaml", "123e45")?;
    ready(scope, "123e45").await?;
    apply(scope, "service.yaml", "123e45")?;
    let url = format!("{}color", scope.url("rainbow-deploys").await?);
    answers(&url, "#123e45").await?;

    let load = start(scope, &url).await?;
    apply(scope, "service.yaml", "000000")?;
    apply(scope, "deployment.yaml", "000000")?;
    ready(scope, "000000").await?;
    answers(&url, "#000000").await?;
    let report = load.stop().await;
    ensure!(report.failed > 0, "a Service without ready pods dropped none of {} requests", report.requests);
    Ok(())
}

/// Does the same with Rainbow: the stage has to move at once, and moves when there are pods to answer.
pub(crate) async fn a_stage_that_moves_at_once_drops_none(scope: &mut Scope) -> Result<()> {
    let app = Colors { ready_after: SLOW, ..Colors::default() };
    app.release(scope, "123e45").await?;
    let url = format!("{}color", scope.url(colors::SERVICE).await?);
    answers(&url, "#123e45").await?;

    let load = start(scope, &url).await?;
    let mut manifest = app.at("000000");
    manifest["spec"]["stages"][0]["color"] = "000000".into();
    scope.apply_manifest(&manifest)?;
    answers(&url, "#000000").await?;
    app.flip(scope, "000000").await?;
    let Report { requests, failed, replies, failures, .. } = load.stop().await;
    ensure!(requests > 0 && failed == 0, "{failed} of {requests} failed: {failures:?}");
    ensure!(replies.len() == 2, "the replies were {:?}", replies.keys());
    Ok(())
}

async fn start(scope: &Scope, url: &str) -> Result<Traffic> {
    let mut load = Load::new(Target::resolve(url).await?);
    load.rate = scope.rate_up_to(100.0);
    Ok(Traffic::start(load))
}

async fn answers(url: &str, expected: &str) -> Result<()> {
    eventually(&format!("{url} answers {expected}"), || async {
        let reply = e2e::load::query(url).await?;
        ensure!(reply == expected, "it answers {reply}");
        Ok(())
    })
    .await
}

/// Applies one of the example's files for a color, as its reader does with sed. The color comes from the environment, since
/// the suite has one image for all.
fn apply(scope: &Scope, file: &str, color: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/colors/plain").join(file);
    let manifest = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let environment = format!(
        "image: \"{}colors:v1\"\n        env: [{{ name: COLOR, value: \"COLOR\" }}, {{ name: READY_AFTER_MS, value: \"{}\" }}]",
        scope.image_prefix(),
        SLOW.as_millis()
    );
    let manifest = manifest.replace("image: \"colors:COLOR\"", &environment).replace("COLOR\"", &format!("{color}\""));
    let manifest = manifest.replace("-COLOR", &format!("-{color}"));
    // A fixed node port can be used only once in a cluster.
    let manifest = manifest.replace(", nodePort: 31080", "").replace(", nodePort: 31081", "");
    let output = scope.cli.output_with_input(&["apply", "-f", "-"], &manifest)?;
    ensure!(output.code == 0, "{file}: {}", output.stderr);
    Ok(())
}

async fn ready(scope: &Scope, color: &str) -> Result<()> {
    eventually(&format!("{color} is ready"), || async {
        let status = scope.api::<Deployment>().get(&format!("colors-{color}")).await?.status.unwrap_or_default();
        ensure!(status.ready_replicas == Some(2), "{:?} pods are ready", status.ready_replicas);
        Ok(())
    })
    .await
}
