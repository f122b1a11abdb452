//! Rainbow: the actions of its users. The operator is the scope's own, behind a proxy.

use anyhow::{Context, Result, ensure};
use e2e::Scope;
use kube::api::{Patch, PatchParams};
use serde_json::Value;

use crate::manifests::{NAME, Release};

/// Field manager of the user's applies.
const USER: &str = "bench";

/// Applies a version.
pub(crate) async fn apply(scope: &Scope, release: &Release<'_>) -> Result<()> {
    let params = PatchParams::apply(USER).force();
    let manifest = release.rainbow(scope.image_prefix());
    scope.custom("Rainbow").patch(NAME, &params, &Patch::Apply(manifest)).await?;
    Ok(())
}

/// Points users at a color.
pub(crate) async fn promote(scope: &Scope, color: &str) -> Result<()> {
    scope.cli.run(&["promote", NAME, "--to", color]).await.map(drop)
}

/// Takes users back to a color.
pub(crate) async fn back(scope: &Scope, color: &str) -> Result<()> {
    scope.cli.run(&["rollback", NAME, "--to", color]).await.map(drop)
}

/// Checks that a stage serves a color and no shift is in progress there.
pub(crate) async fn serves(scope: &Scope, stage: &str, color: &str) -> Result<()> {
    let rainbow = scope.custom("Rainbow").get(NAME).await?;
    let stages = rainbow.data["status"]["stages"].as_array().context("no status.stages yet")?;
    let found = stages.iter().find(|entry| entry["name"] == stage).context("the stage has no status yet")?;
    ensure!(found["color"] == color && found["shift"].is_null(), "the stage is {found}");
    Ok(())
}

/// Checks that a color drains.
pub(crate) async fn drains(scope: &Scope, color: &str) -> Result<()> {
    let color = scope.custom("Color").get(&format!("{NAME}-{color}")).await?;
    let phase: &Value = &color.data["status"]["phase"];
    ensure!(phase == "Draining", "the phase is {phase}");
    Ok(())
}
