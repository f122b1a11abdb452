//! Tests with Kubernetes' own controller of HorizontalPodAutoscalers, which reads a metric that the test sets: each tier has as many pods as
//! the metric says, or as many as Rainbow's floor.

use anyhow::{Context, Result, ensure};
use e2e::{App, Pace, Scope, eventually, load::Clients, metrics::ExternalMetrics};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

const METRIC: &str = "load";
/// Pods of a tier under high load, and under low load.
const MANY: u32 = 4;
const FEW: u32 = 1;

/// Runs the scenarios one after the other: the metrics are registered for the whole cluster.
pub(crate) async fn a_real_autoscaler_scales_in_mid_shift(scope: &mut Scope) -> Result<()> {
    let metrics = ExternalMetrics::start(scope).await?;
    let test = Test { scope, metrics: &metrics };
    test.falls_in_a_rolling_shift().await.context("the metric falls in a rolling shift")?;
    test.falls_in_flips().await.context("the metric falls in flips")?;
    test.rises_in_a_rolling_shift().await.context("the metric rises in a rolling shift")?;
    test.rolls_back_while_it_falls().await.context("a rollback while the metric falls")
}

struct Test<'a> {
    scope: &'a Scope,
    metrics: &'a ExternalMetrics,
}

impl Test<'_> {
    /// Checks that the autoscalers of both colors want one pod in the middle of a shift, and get it for the new color when the stage has moved.
    async fn falls_in_a_rolling_shift(&self) -> Result<()> {
        let mut app = self.two_colors(MANY, Pace::HELD).await?;
        let traffic = self.scope.load_by("frontend-active", Clients::New).await?;
        self.scope.cli.run(&["promote", app.name]).await?;
        self.scope.has_moved(&app, 1).await?;
        self.metrics.set(METRIC, FEW).await?;
        for color in ["v1", "v2"] {
            self.held_by_the_floor(&app, color).await?;
            self.has_pods(&app, color, MANY).await?;
        }
        app.pace = Pace::BRISK;
        self.apply(&app, "v2")?;
        self.scope.serves(&app, "active", "v2").await?;
        self.has_pods(&app, "v2", FEW).await?;
        self.has_pods(&app, "v1", MANY).await.context("the way back is whole")?;
        self.scope.answers("frontend-active", &app.reply("v2")).await?;
        traffic.clean().await?;
        self.delete(&app).await
    }

    /// Moves the stage in one write; the autoscaler acts before it, with it or after it.
    async fn falls_in_flips(&self) -> Result<()> {
        let app = self.two_colors(MANY, Pace::Flip).await?;
        let traffic = self.scope.load_by("frontend-active", Clients::New).await?;
        for (from, to) in [("v1", "v2"), ("v2", "v1"), ("v1", "v2")] {
            self.metrics.set(METRIC, MANY).await?;
            self.has_pods(&app, from, MANY).await?;
            let promote = ["promote", app.name, "--to", to];
            tokio::try_join!(self.metrics.set(METRIC, FEW), self.scope.cli.run(&promote))?;
            self.scope.serves(&app, "active", to).await?;
            self.has_pods(&app, to, FEW).await?;
            self.scope.answers("frontend-active", &app.reply(to)).await?;
        }
        traffic.clean().await?;
        self.delete(&app).await
    }

    /// Checks that both colors get more pods when these are wanted in the middle of a shift.
    async fn rises_in_a_rolling_shift(&self) -> Result<()> {
        let mut app = self.two_colors(2, Pace::HELD).await?;
        let traffic = self.scope.load_by("frontend-active", Clients::New).await?;
        self.scope.cli.run(&["promote", app.name]).await?;
        self.scope.has_moved(&app, 1).await?;
        self.metrics.set(METRIC, MANY).await?;
        for color in ["v1", "v2"] {
            self.has_pods(&app, color, MANY).await?;
        }
        app.pace = Pace::BRISK;
        self.apply(&app, "v2")?;
        self.scope.serves(&app, "active", "v2").await?;
        self.has_pods(&app, "v2", MANY).await?;
        self.scope.answers("frontend-active", &app.reply("v2")).await?;
        traffic.clean().await?;
        self.delete(&app).await
    }

    /// Checks that the stage goes back with as many pods as it had, and that the autoscaler of the color that serves again decides from then on.
    async fn rolls_back_while_it_falls(&self) -> Result<()> {
        let app = self.two_colors(MANY, Pace::HELD).await?;
        let traffic = self.scope.load_by("frontend-active", Clients::New).await?;
        self.scope.cli.run(&["promote", app.name]).await?;
        self.scope.has_moved(&app, 1).await?;
        self.metrics.set(METRIC, FEW).await?;
        self.held_by_the_floor(&app, "v1").await?;
        self.scope.cli.run(&["rollback", app.name]).await?;
        self.scope.serves(&app, "active", "v1").await?;
        self.has_pods(&app, "v1", FEW).await?;
        self.scope.answers("frontend-active", &app.reply("v1")).await?;
        traffic.clean().await?;
        self.delete(&app).await
    }

    /// Prepares an application whose active stage serves v1 with as many pods as the metric says, and whose v2 is at the smoke stage.
    async fn two_colors(&self, load: u32, pace: Pace) -> Result<App> {
        let app = App { replicas: load, pace, ..App::two_tiers(0) };
        self.metrics.set(METRIC, load).await?;
        self.apply(&app, "v1")?;
        self.scope.serves(&app, "active", "v1").await?;
        self.has_pods(&app, "v1", load).await?;
        self.apply(&app, "v2")?;
        self.scope.serves(&app, "smoke", "v2").await?;
        self.scope.answers("frontend-active", &app.reply("v1")).await?;
        Ok(app)
    }

    fn apply(&self, app: &App, version: &str) -> Result<()> {
        let target = json!({ "type": "AverageValue", "averageValue": "1" });
        let metric = json!({ "type": "External", "external": { "metric": { "name": METRIC }, "target": target } });
        let at_once = json!({ "stabilizationWindowSeconds": 0 });
        let policy = json!({
            "minReplicas": 1, "maxReplicas": 6, "metrics": [metric], "behavior": { "scaleUp": at_once, "scaleDown": at_once },
        });
        let mut manifest = app.at(version);
        for tier in manifest["spec"]["tiers"].as_array_mut().context("no tiers")? {
            tier["autoscale"] = policy.clone();
        }
        self.scope.apply_manifest(&manifest)
    }

    /// Waits until the autoscalers of a color want fewer pods than they may ask for.
    async fn held_by_the_floor(&self, app: &App, color: &str) -> Result<()> {
        for tier in &app.chain {
            let name = format!("{tier}-{color}");
            eventually(&format!("autoscaler {name} is held by its floor"), || async {
                let status =
                    self.scope.api::<HorizontalPodAutoscaler>().get(&name).await?.status.context("no status")?;
                let mut conditions = status.conditions.iter().flatten();
                let limited = conditions.find(|condition| condition.type_ == "ScalingLimited");
                let reason = limited.and_then(|condition| condition.reason.as_deref());
                ensure!(reason == Some("TooFewReplicas"), "its status is {status:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until the Deployment of each tier of a color asks for this number of pods, and has them.
    async fn has_pods(&self, app: &App, color: &str, pods: u32) -> Result<()> {
        let pods = i32::try_from(pods)?;
        for tier in &app.chain {
            let name = format!("{tier}-{color}");
            eventually(&format!("{name} has {pods} pods"), || async {
                let found = self.scope.api::<Deployment>().get(&name).await?;
                let asked = found.spec.and_then(|spec| spec.replicas);
                let ready = found.status.and_then(|status| status.ready_replicas).unwrap_or(0);
                ensure!(asked == Some(pods) && ready == pods, "it is asked for {asked:?}, and {ready} are ready");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Deletes the application, so that the next one can use the names.
    async fn delete(&self, app: &App) -> Result<()> {
        self.scope.custom("Rainbow").delete(app.name, &DeleteParams::default()).await?;
        eventually("the application is gone", || async {
            let rainbow = self.scope.custom("Rainbow").get_opt(app.name).await?;
            let deployments = self.scope.api::<Deployment>().list(&ListParams::default()).await?.items.len();
            let autoscalers =
                self.scope.api::<HorizontalPodAutoscaler>().list(&ListParams::default()).await?.items.len();
            let left = rainbow.is_some() || deployments + autoscalers > 0;
            ensure!(!left, "there are {deployments} Deployments and {autoscalers} autoscalers");
            Ok(())
        })
        .await
    }
}
