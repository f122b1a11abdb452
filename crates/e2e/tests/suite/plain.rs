//! Test of the proof of concept's own way: Deployments and Services named by hand, a rolling update with `minReadySeconds`.
//!
//! The manifests in `examples/seamless/plain` are those that a reader applies with kubectl; this test applies the same objects.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Scope, eventually};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;

pub(crate) async fn by_kubectl_alone(scope: &mut Scope) -> Result<()> {
    apply(scope, "backend-v1.yaml")?;
    apply(scope, "frontend-active-v1.yaml")?;
    rolled_out(scope, "backend-v1", "backend:v1").await?;
    rolled_out(scope, "frontend-active", "frontend:v1").await?;
    scope.answers("frontend-active", "frontend:v1 - backend:v1").await?;

    apply(scope, "backend-v2.yaml")?;
    apply(scope, "frontend-smoke-v2.yaml")?;
    rolled_out(scope, "backend-v2", "backend:v2").await?;
    rolled_out(scope, "frontend-smoke", "frontend:v2").await?;
    scope.answers("frontend-active", "frontend:v1 - backend:v1").await?;
    scope.answers("frontend-smoke", "frontend:v2 - backend:v2").await?;

    apply(scope, "frontend-active-v2.yaml")?;
    rolled_out(scope, "frontend-active", "frontend:v2").await?;
    scope.answers("frontend-active", "frontend:v2 - backend:v2").await?;

    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    let deployments = scope.api::<Deployment>();
    deployments.patch_scale("backend-v1", &PatchParams::default(), &none).await?;
    eventually("backend-v1 has no pods", || async {
        let pods = deployments.get("backend-v1").await?.status.and_then(|status| status.replicas).unwrap_or(0);
        ensure!(pods == 0, "{pods} left");
        Ok(())
    })
    .await?;
    scope.answers("frontend-active", "frontend:v2 - backend:v2").await
}

/// Applies one of the example's files, at a pace that a test can wait for.
fn apply(scope: &Scope, file: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seamless/plain").join(file);
    let manifest = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let manifest = manifest.replace("minReadySeconds: 30", "minReadySeconds: 1");
    let manifest = manifest.replace("image: ", &format!("image: {}", scope.image_prefix()));
    let output = scope.cli.output_with_input(&["apply", "-f", "-"], &manifest)?;
    ensure!(output.code == 0, "{file}: {}", output.stderr);
    Ok(())
}

/// Waits for a rollout by the criteria of `kubectl rollout status`, and until no pod of an earlier image is left.
async fn rolled_out(scope: &Scope, name: &str, image: &str) -> Result<()> {
    eventually(&format!("{name} is rolled out with {image}"), || async {
        let deployment = scope.api::<Deployment>().get(name).await?;
        let (generation, spec) = (deployment.metadata.generation, deployment.spec.unwrap_or_default());
        let status = deployment.status.unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let current = spec.template.spec.and_then(|pod| pod.containers.first().and_then(|first| first.image.clone()));
        let image = format!("{}{image}", scope.image_prefix());
        ensure!(current.as_ref() == Some(&image), "its image is {current:?}");
        ensure!(status.observed_generation >= generation, "the controller has not seen it");
        ensure!(status.updated_replicas == Some(wanted), "updated: {:?}", status.updated_replicas);
        ensure!(status.replicas == Some(wanted), "pods: {:?}", status.replicas);
        ensure!(status.available_replicas == Some(wanted), "available: {:?}", status.available_replicas);
        Ok(())
    })
    .await
}
