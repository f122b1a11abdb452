//! Tests of shifts under load: every reply is checked, none may fail, none may be mixed.

use anyhow::{Result, ensure};
use e2e::{App, OnSigterm, Pace, Scope, eventually, load::Clients};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use std::{collections::BTreeMap, time::Duration};

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

/// Shifts from v1 to v2 under load: only whole replies of v1 and of v2, and all of v2 afterwards.
async fn shift(scope: &mut Scope, app: &App) -> Result<()> {
    scope.deploy(app, "v1", "active").await?;
    scope.deploy(app, "v2", "smoke").await?;
    let service = format!("{}-active", app.chain[0]);
    let traffic = scope.load(&service).await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.serves(app, "active", "v2").await?;
    // The load continues until every node has the last change: a flip is done before they have.
    scope.answers(&service, &app.reply("v2")).await?;
    eventually("the load has seen v2", || async {
        let seen = traffic.report().replies;
        ensure!(seen.keys().any(|reply| reply.trim() == app.reply("v2")), "{:?}", seen.keys());
        Ok(())
    })
    .await?;
    let report = traffic.clean().await?;
    let seen: Vec<&str> = report.replies.keys().map(|reply| reply.trim()).collect();
    ensure!(seen == [app.reply("v1"), app.reply("v2")], "the replies were {seen:?}");
    Ok(())
}

/// Checks that the new color gets pods as those of the old one end, and that no tier ever has more than one pod too many.
pub(crate) async fn with_one_pod_more(scope: &mut Scope) -> Result<()> {
    const PODS: u32 = 4;
    let app = App { on_sigterm: OnSigterm::Die, settle: "500ms", pace: Pace::OneMore, ..App::two_tiers(PODS) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    scope.wait_until_scaled("v2", 1).await?;
    // Time-based draining cannot know of kept connections.
    let traffic = scope.load_by("frontend-active", Clients::New).await?;
    scope.cli.run(&["promote", app.name]).await?;
    tokio::select! {
        served = scope.serves(&app, "active", "v2") => served?,
        broken = at_most(scope, PODS as usize + 1) => return broken,
    }
    traffic.clean().await?;
    Ok(())
}

/// Fails when a tier has more pods than `most`, not counting those that are being deleted.
async fn at_most(scope: &Scope, most: usize) -> Result<()> {
    loop {
        let mut tiers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pod in scope.api::<Pod>().list(&ListParams::default().labels("rainbow.dev/tier")).await? {
            if pod.metadata.deletion_timestamp.is_none() {
                tiers.entry(pod.labels()["rainbow.dev/tier"].clone()).or_default().push(pod.name_any());
            }
        }
        ensure!(tiers.values().all(|pods| pods.len() <= most), "more than {most} pods of a tier: {tiers:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Retires the old color while clients call: a pod leaves its Service, the data plane learns it, then the pod ends.
pub(crate) async fn retires_under_load_with_pods_that_die_at_once(scope: &mut Scope) -> Result<()> {
    let app = App { on_sigterm: OnSigterm::Die, settle: "500ms", ..App::two_tiers(3) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    // Time-based draining cannot know of kept connections.
    let traffic = scope.load_by("frontend-active", Clients::New).await?;
    scope.cli.run(&["promote", "seamless", "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.wait_until_scaled("v1", 0).await?;
    traffic.clean().await?;
    Ok(())
}

/// Kills pods of both colors during the shift. Requests may fail, as their pod died; none may be mixed.
pub(crate) async fn pods_killed_during_a_shift(scope: &mut Scope) -> Result<()> {
    let mut app = App { on_sigterm: OnSigterm::Die, pace: Pace::HELD, ..App::two_tiers(4) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    for color in ["v1", "v2"] {
        for pods in scope.pods(color).await?.into_values() {
            let victim = pods.first().map(ResourceExt::name_any).unwrap_or_default();
            scope.api::<Pod>().delete(&victim, &DeleteParams::default().grace_period(0)).await?;
        }
    }
    app.pace = Pace::BRISK;
    scope.apply(&app, "v2")?;
    scope.serves(&app, "active", "v2").await?;
    scope.wait_until_scaled("v2", 4).await?;
    let report = traffic.stop().await;
    ensure!(report.mixed == 0, "{} mixed replies: {:?}", report.mixed, report.replies.keys());
    ensure!(report.requests > report.failed * 5, "{} of {} failed", report.failed, report.requests);
    Ok(())
}

/// Checks that a color that never becomes ready stays out of every stage, and that the status says why.
pub(crate) async fn a_color_that_never_becomes_ready_stays_out(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    let mut broken = app.at("v2");
    broken["spec"]["progressDeadlineSeconds"] = 2.into();
    let probe = &mut broken["spec"]["tiers"][1]["template"]["spec"]["containers"][0]["readinessProbe"];
    probe["httpGet"]["port"] = 8099.into(); // no program listens there
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
    traffic.clean().await?;
    Ok(())
}
