//! Ways to release: the actions of each step, and the condition of its end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use e2e::{App, OnSigterm, Pace, Scope};
use k8s_openapi::api::apps::v1::Deployment;

use crate::Plan;

/// Manifests for kubectl, with placeholders: COLOR, STAGE, PODS, PACE and SIGTERM.
const BACKEND: &str = include_str!("../../../manifests/backend.yaml");
const ROLLING: &str = include_str!("../../../manifests/rolling.yaml");
const REPOINT: &str = include_str!("../../../manifests/repoint.yaml");
/// Interval of the checks whether a step is done.
const LOOK: Duration = Duration::from_millis(250);
/// Time, beyond its own pace, after which a step counts as one that never ends.
const PATIENCE: Duration = Duration::from_secs(180);

/// Way to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// A smoke deployment, then a rolling update with `minReadySeconds`, by kubectl
    KubectlRolling,
    /// A Deployment a color and a Service that is pointed at it, by kubectl
    KubectlRepoint,
    /// Pod by pod, by Rainbow
    RainbowRolling,
    /// At once, by Rainbow
    RainbowFlip,
}

impl Way {
    /// Returns the name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KubectlRolling => "kubectl, rolling",
            Self::KubectlRepoint => "kubectl, repoint",
            Self::RainbowRolling => "Rainbow, rolling",
            Self::RainbowFlip => "Rainbow, flip",
        }
    }

    /// Returns whether the way is one of Rainbow's.
    pub(crate) fn is_rainbow(self) -> bool {
        matches!(self, Self::RainbowRolling | Self::RainbowFlip)
    }

    /// Returns the requested time from the first pod to the last.
    pub(crate) fn pace(self, plan: &Plan) -> Duration {
        match self {
            Self::RainbowRolling => plan.every * plan.pods.saturating_sub(1),
            // The last new pod, too, must have been ready for as long before the last old one goes.
            Self::KubectlRolling => plan.every * plan.pods,
            Self::KubectlRepoint | Self::RainbowFlip => Duration::ZERO,
        }
    }

    /// Starts v1, and waits until it serves.
    pub(crate) async fn begin(self, scope: &Scope, plan: &Plan) -> Result<()> {
        match self {
            Self::KubectlRolling => {
                apply(scope, plan, BACKEND, "v1", "")?;
                apply(scope, plan, ROLLING, "v1", "active")?;
                self.rolled_out(scope, plan, &["backend-v1", "frontend-active"]).await?;
            }
            Self::KubectlRepoint => {
                apply(scope, plan, BACKEND, "v1", "")?;
                apply(scope, plan, REPOINT, "v1", "")?;
                self.rolled_out(scope, plan, &["backend-v1", "frontend-v1"]).await?;
            }
            Self::RainbowRolling | Self::RainbowFlip => {
                scope.apply_manifest(&self.rainbow(plan, "v1"))?;
                scope.wait_until_scaled("v1", i32::try_from(plan.pods)?).await?;
                scope.serves(&self.app(plan), "active", "v1").await?;
            }
        }
        scope.answers("frontend-active", "frontend:v1 - backend:v1").await
    }

    /// Starts v2 beside v1, as far as the way does, and tests it.
    pub(crate) async fn prepare(self, scope: &Scope, plan: &Plan) -> Result<()> {
        match self {
            Self::KubectlRolling => {
                apply(scope, plan, BACKEND, "v2", "")?;
                // One pod is enough for the test.
                apply(scope, &Plan { pods: 1, every: Duration::from_secs(1), ..*plan }, ROLLING, "v2", "smoke")?;
                self.rolled_out(scope, plan, &["backend-v2", "frontend-smoke"]).await?;
                scope.answers("frontend-smoke", "frontend:v2 - backend:v2").await
            }
            // Everything at once: the Service is pointed at a Deployment that was only just requested.
            Self::KubectlRepoint => Ok(()),
            Self::RainbowRolling | Self::RainbowFlip => {
                scope.apply_manifest(&self.rainbow(plan, "v2"))?;
                scope.wait_until_scaled("v2", i32::try_from(plan.pods)?).await?;
                scope.serves(&self.app(plan), "smoke", "v2").await?;
                scope.answers("frontend-smoke", "frontend:v2 - backend:v2").await
            }
        }
    }

    /// Starts to move users to v2.
    pub(crate) fn go(self, scope: &Scope, plan: &Plan) -> Result<()> {
        match self {
            Self::KubectlRolling => apply(scope, plan, ROLLING, "v2", "active"),
            Self::KubectlRepoint => {
                apply(scope, plan, BACKEND, "v2", "")?;
                apply(scope, plan, REPOINT, "v2", "")
            }
            Self::RainbowRolling | Self::RainbowFlip => scope.cli.ok(&["promote", "seamless"]).map(drop),
        }
    }

    /// Starts to move users back to v1.
    pub(crate) fn back(self, scope: &Scope, plan: &Plan) -> Result<()> {
        match self {
            Self::KubectlRolling => apply(scope, plan, ROLLING, "v1", "active"),
            // The Deployment has never gone, so this writes the Service only.
            Self::KubectlRepoint => apply(scope, plan, REPOINT, "v1", ""),
            Self::RainbowRolling | Self::RainbowFlip => scope.cli.ok(&["rollback", "seamless"]).map(drop),
        }
    }

    /// Waits until the cluster reports that users are at a color.
    pub(crate) async fn arrived(self, scope: &Scope, plan: &Plan, color: &str) -> Result<()> {
        match self {
            Self::KubectlRolling => self.rolled_out(scope, plan, &["frontend-active"]).await?,
            Self::KubectlRepoint => {
                let frontend = format!("frontend-{color}");
                let backend = format!("backend-{color}");
                self.rolled_out(scope, plan, &[&frontend, &backend]).await?;
            }
            Self::RainbowRolling | Self::RainbowFlip => {
                let app = self.app(plan);
                self.wait(plan, &format!("the active stage serves {color}"), async || {
                    let stage = scope.stage(&app, "active").await?;
                    ensure!(stage["color"] == color && stage["shift"].is_null(), "the stage is {stage}");
                    Ok(())
                })
                .await?;
            }
        }
        scope.answers("frontend-active", &format!("frontend:{color} - backend:{color}")).await
    }

    fn app(self, plan: &Plan) -> App {
        let every = u64::try_from(plan.every.as_millis()).unwrap_or(u64::MAX);
        let pace = if self == Self::RainbowFlip { Pace::Flip } else { Pace::OneEvery(every) };
        App { pace, on_sigterm: plan.on_sigterm, ..App::two_tiers(plan.pods) }
    }

    /// Builds the Rainbow, whose smoke stage has all pods: the tested pods are those that go into service.
    fn rainbow(self, plan: &Plan, color: &str) -> serde_json::Value {
        let mut rainbow = self.app(plan).at(color);
        if let Some(smoke) = rainbow["spec"]["stages"][0].as_object_mut() {
            smoke.remove("replicas");
        }
        rainbow
    }

    /// Waits for a rollout by the criteria of `kubectl rollout status`.
    async fn rolled_out(self, scope: &Scope, plan: &Plan, names: &[&str]) -> Result<()> {
        for name in names {
            self.wait(plan, &format!("{name} is rolled out"), async || {
                let deployment = scope.api::<Deployment>().get(name).await?;
                let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
                let status = deployment.status.unwrap_or_default();
                ensure!(status.observed_generation >= deployment.metadata.generation, "the controller has not seen it");
                let counts = [status.updated_replicas, status.replicas, status.available_replicas];
                ensure!(counts.iter().all(|count| *count == Some(wanted)), "it has {counts:?} of {wanted} pods");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn wait(self, plan: &Plan, what: &str, look: impl AsyncFn() -> Result<()>) -> Result<()> {
        let limit = PATIENCE + plan.every * plan.pods.saturating_mul(2);
        let begin = tokio::time::Instant::now();
        loop {
            match look().await {
                Ok(()) => return Ok(()),
                Err(missing) if begin.elapsed() > limit => {
                    return Err(missing).with_context(|| format!("never: {what}"));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

/// Applies a manifest as it is: Rainbow's command writes its input unchanged, as `kubectl apply --server-side` does.
fn apply(scope: &Scope, plan: &Plan, manifest: &str, color: &str, stage: &str) -> Result<()> {
    let on_sigterm = match plan.on_sigterm {
        OnSigterm::Die => "die",
        OnSigterm::Drain => "drain",
    };
    let manifest = manifest
        .replace("value: SIGTERM", &format!("value: {on_sigterm}"))
        .replace("image: ", &format!("image: {}", scope.image_prefix()))
        .replace("COLOR", color)
        .replace("STAGE", stage)
        .replace("PODS", &plan.pods.to_string())
        .replace("PACE", &plan.every.as_secs().to_string());
    let output = scope.cli.output_with_input(&["apply", "-f", "-"], &manifest)?;
    ensure!(output.code == 0, "apply ended with {}: {}", output.code, output.stderr);
    Ok(())
}
