//! Shifts under load: every reply is checked, none may fail, none may be mixed.

use anyhow::{Result, ensure};
use e2e::{App, OnSigterm, Pace, Scope, eventually, load};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DeleteParams};

pub(crate) async fn rolling_under_load_with_polite_pods(scope: &mut Scope) -> Result<()> {
    shift(scope, &App::two_tiers(5)).await
}

pub(crate) async fn rolling_under_load_with_pods_that_die_at_once(scope: &mut Scope) -> Result<()> {
    shift(scope, &App { on_sigterm: OnSigterm::Die, ..App::two_tiers(5) }).await
}

pub(crate) async fn flips_under_load_with_polite_pods(scope: &mut Scope) -> Result<()> {
    shift(scope, &App { pace: Pace::Flip, ..App::two_tiers(5) }).await
}

pub(crate) async fn flips_under_load_with_pods_that_die_at_once(scope: &mut Scope) -> Result<()> {
    shift(scope, &App { pace: Pace::Flip, on_sigterm: OnSigterm::Die, ..App::two_tiers(5) }).await
}

pub(crate) async fn three_tiers_in_a_chain(scope: &mut Scope) -> Result<()> {
    shift(scope, &App { chain: vec!["edge", "middle", "store"], ..App::two_tiers(2) }).await
}

/// v1 → v2 under load: only whole replies of v1 and of v2, and all of v2 afterwards.
async fn shift(scope: &mut Scope, app: &App) -> Result<()> {
    scope.deploy(app, "v1", "active").await?;
    scope.deploy(app, "v2", "smoke").await?;
    let url = scope.url(&format!("{}-active", app.chain[0])).await?;
    let traffic = load::start(&url).await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.serves(app, "active", "v2").await?;
    let report = load::clean(traffic).await?;
    let seen: Vec<&str> = report.replies.keys().map(|reply| reply.trim()).collect();
    ensure!(seen == [app.reply("v1"), app.reply("v2")], "the replies were {seen:?}");
    let reply = load::query(&url).await?;
    ensure!(reply == app.reply("v2"), "afterwards a new connection is answered by {reply}");
    Ok(())
}

/// The old color goes away while clients call: a pod leaves its Service, the data plane learns it, then the pod ends.
pub(crate) async fn retires_under_load_with_pods_that_die_at_once(scope: &mut Scope) -> Result<()> {
    let app = App { on_sigterm: OnSigterm::Die, settle: "500ms", ..App::two_tiers(3) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let url = scope.url("frontend-active").await?;
    // New connections only: time-based draining cannot know of those that are kept.
    let mut new_connections = traffic::Load::new(traffic::Target::resolve(&url).await?);
    new_connections.rate = load::RATE;
    new_connections.check = Some(std::sync::Arc::new(load::judge));
    let traffic = traffic::Traffic::start(new_connections);
    scope.cli.run(&["promote", "seamless", "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.scaled("v1", 0).await?;
    load::clean(traffic).await?;
    Ok(())
}

/// Pods of both colors are killed during the shift. Requests may fail, as their pod died; none may be mixed.
pub(crate) async fn pods_killed_during_a_shift(scope: &mut Scope) -> Result<()> {
    let app = App { on_sigterm: OnSigterm::Die, ..App::two_tiers(4) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = load::start(&scope.url("frontend-active").await?).await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    for color in ["v1", "v2"] {
        for pods in scope.pods(color).await?.into_values() {
            let victim = pods.first().map(ResourceExt::name_any).unwrap_or_default();
            scope.api::<Pod>().delete(&victim, &DeleteParams::default().grace_period(0)).await?;
        }
    }
    scope.serves(&app, "active", "v2").await?;
    scope.scaled("v2", 4).await?;
    let report = traffic.stop().await;
    ensure!(report.mixed == 0, "{} mixed replies: {:?}", report.mixed, report.replies.keys());
    ensure!(report.requests > report.failed * 5, "{} of {} failed", report.failed, report.requests);
    Ok(())
}

/// A color that never becomes ready stays out of every stage, and the status says why.
pub(crate) async fn a_color_that_never_becomes_ready_stays_out(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    let traffic = load::start(&scope.url("frontend-active").await?).await?;
    let mut broken = app.at("v2");
    broken["spec"]["progressDeadlineSeconds"] = 2.into();
    let probe = &mut broken["spec"]["tiers"][1]["template"]["spec"]["containers"][0]["readinessProbe"];
    probe["httpGet"]["port"] = 8099.into(); // where nobody listens
    broken["spec"]["stages"][1]["color"] = "v2".into();
    scope.apply_manifest(&broken)?;
    eventually("the Rainbow is stalled", || async {
        let status = scope.rainbow(&app).await?.data["status"].clone();
        let stalled = status["conditions"].as_array().into_iter().flatten().any(|condition| {
            condition["type"] == "Stalled"
                && condition["status"] == "True"
                && condition["message"].as_str().is_some_and(|message| message.contains("backend"))
        });
        ensure!(stalled, "{status}");
        Ok(())
    })
    .await?;
    for stage in ["active", "smoke"] {
        let status = scope.stage(&app, stage).await?;
        ensure!(status["color"] == "v1", "{status}");
    }
    load::clean(traffic).await?;
    Ok(())
}
