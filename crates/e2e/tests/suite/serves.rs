//! Tests that what serves depends on nothing that no stage was moved to: ports, tiers and sizes of a release count when it is promoted.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    App, Pace, Port, PortTarget, Scope,
    colors::{self, Colors, color, counts, pods, shrinks_to},
    eventually,
    held::Kind,
    load::Loads,
};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Number of connections that are held while the color becomes smaller.
const HELD: usize = 60;

/// Changes a port that the containers declare under its name, so pods of both colors serve behind one Service.
pub(crate) async fn a_declared_port_that_changes(scope: &mut Scope) -> Result<()> {
    another_port(scope, PortTarget::Declared).await
}

/// Changes a port that is known by its number alone, so the Service moves in one write.
pub(crate) async fn a_port_that_changes(scope: &mut Scope) -> Result<()> {
    another_port(scope, PortTarget::Number).await
}

/// Changes a port that the tier targets by a name of its own, which each pod resolves for itself.
pub(crate) async fn a_named_port_that_changes(scope: &mut Scope) -> Result<()> {
    another_port(scope, PortTarget::Named).await
}

async fn another_port(scope: &mut Scope, target: PortTarget) -> Result<()> {
    let v1 = App { port: Port { number: 8080, target }, ..App::two_tiers(3) };
    let v2 = App { port: Port { number: 9090, target }, ..v1.clone() };
    scope.deploy(&v1, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.deploy(&v2, "v2", "smoke").await?;
    scope.answers("frontend-active", &v1.reply("v1")).await?;
    scope.cli.run(&["promote", v2.name, "--wait"]).await?;
    scope.serves(&v2, "active", "v2").await?;
    scope.answers("frontend-active", &v2.reply("v2")).await?;
    scope.cli.run(&["rollback", v2.name, "--wait"]).await?;
    scope.serves(&v2, "active", "v1").await?;
    scope.answers("frontend-active", &v1.reply("v1")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Checks that a release of half the pods does not change those that serve until it has replaced them.
pub(crate) async fn a_smaller_release(scope: &mut Scope) -> Result<()> {
    let v1 = App::two_tiers(4);
    let v2 = App { replicas: 2, ..v1.clone() };
    scope.deploy(&v1, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.deploy(&v2, "v2", "smoke").await?;
    let before = scope.pods("v1").await?;
    ensure!(before.values().all(|pods| pods.len() == 4), "{before:?}");
    scope.cli.run(&["promote", v2.name, "--wait"]).await?;
    scope.serves(&v2, "active", "v2").await?;
    scope.cli.run(&["rollback", v2.name, "--wait"]).await?;
    scope.serves(&v2, "active", "v1").await?;
    ensure!(scope.pods("v1").await?.values().all(|pods| pods.len() == 4), "a rollback has all its pods");
    traffic.clean().await?;
    Ok(())
}

/// Checks that a release without counted connections keeps those of the color before: that color is counted as it was.
pub(crate) async fn a_release_that_is_counted_otherwise(scope: &mut Scope) -> Result<()> {
    let c1 = Colors::default();
    let c2 = Colors { drain: json!({ "connections": "None", "settle": "1s" }), ..Colors::default() };
    c1.release(scope, "c1").await?;
    let mut held = c1.hold(scope, Kind::Lines, 1).await?;
    c2.release(scope, "c2").await?;
    shrinks_to(scope, "c1", 1).await?;
    counts(scope, "c1", 1).await?;
    held.alive().await?;
    held.close(1);
    shrinks_to(scope, "c1", 0).await
}

/// Checks that old and new pods serve together for a while, in a flip and on the way back, when nodes send clients to their own pods alone.
pub(crate) async fn a_flip_under_a_local_policy_overlaps(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::Flip, ..App::two_tiers(3) };
    scope.deploy(&app, "v1", "active").await?;
    let local = Patch::Merge(json!({ "spec": { "internalTrafficPolicy": "Local" } }));
    scope.api::<Service>().patch("frontend-active", &PatchParams::default(), &local).await?;
    eventually("the status says that the stage overlaps", || async {
        let stage = scope.stage(&app, "active").await?;
        ensure!(stage["overlap"].is_string(), "{stage}");
        Ok(())
    })
    .await?;
    scope.deploy(&app, "v2", "smoke").await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.cli.run(&["rollback", app.name, "--wait"]).await?;
    scope.serves(&app, "active", "v1").await
}

/// Releases a v2 without the tier `gate`. Clients of v1 pass it as long as v1 serves, and the address stays the same.
pub(crate) async fn a_release_without_the_tier_in_front(scope: &mut Scope) -> Result<()> {
    let v1 = App { chain: vec!["gate", "frontend", "backend"], ..App::two_tiers(2) };
    let v2 = App { chain: vec!["frontend", "backend"], ..v1.clone() };
    scope.deploy(&v1, "v1", "active").await?;
    let traffic = scope.load("gate-active").await?;
    scope.apply(&v2, "v2")?;
    scope.serves(&v2, "smoke", "v2").await?;
    scope.answers("gate-smoke", &v2.reply("v2")).await?;
    scope.answers("gate-active", &v1.reply("v1")).await?;
    scope.cli.run(&["promote", v2.name, "--wait"]).await?;
    scope.answers("gate-active", &v2.reply("v2")).await?;
    scope.cli.run(&["rollback", v2.name, "--wait"]).await?;
    scope.answers("gate-active", &v1.reply("v1")).await?;
    let report = traffic.clean().await?;
    let seen: Vec<&str> = report.replies.keys().map(|reply| reply.trim()).collect();
    ensure!(seen.iter().all(|reply| [v1.reply("v1"), v2.reply("v2")].contains(&(*reply).to_owned())), "{seen:?}");
    Ok(())
}

/// Scales five pods down to three: all connections last, also those to the two that go, and new connections are served.
pub(crate) async fn fewer_replicas_cut_no_connection(scope: &mut Scope) -> Result<()> {
    let drain = json!({ "connections": "Sidecar", "settle": "3s", "deadline": "24h" });
    let five = Colors { replicas: 5, drain, ..Colors::default() };
    let three = Colors { replicas: 3, ..five.clone() };
    five.release(scope, "c1").await?;
    five.spreads(scope, "c1").await?;
    let mut held = five.hold(scope, Kind::Lines, HELD).await?;
    let url = format!("{}color", scope.url(colors::SERVICE).await?);
    let mut load = traffic::Load::new(traffic::Target::resolve(&url).await?);
    load.rate = scope.rate_up_to(100.0);
    let load = traffic::Traffic::start(load);
    let before = pods(scope, "c1").await?;
    scope.apply_manifest(&three.at("c1"))?;
    eventually("two pods are out of the Service, and hold connections", || async {
        let status = color(scope, "c1").await?.data["status"].clone();
        let message = status["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
        ensure!(status["ready"] == "3/3", "the color has {}", status["ready"]);
        ensure!(message.contains("becomes smaller: waits for the connections of pod `"), "it says {message:?}");
        Ok(())
    })
    .await?;
    // Longer than it takes to end an idle pod.
    tokio::time::sleep(Duration::from_secs(8)).await;
    ensure!(pods(scope, "c1").await? == before, "a pod that is connected has gone");
    held.alive().await?;
    held.close(HELD);
    shrinks_to(scope, "c1", 3).await?;
    let after = pods(scope, "c1").await?;
    ensure!(after.iter().all(|pod| before.contains(pod)), "a pod was started: {after:?}");
    let report = load.stop().await;
    ensure!(report.requests > 0 && report.failed == 0, "{} of {} requests failed", report.failed, report.requests);
    let cuts = color(scope, "c1").await?.data["status"]["drain"]["cut"].clone();
    ensure!(cuts.is_null(), "the status says that connections were cut: {cuts}");
    // A new connection gets to the three that stay.
    let held = three.hold(scope, Kind::Lines, HELD).await?;
    held.alive().await
}

/// Names in the spec, half-way through a shift, a v3 that no Deployment can have. A lost pod is replaced, and the way back is open; the
/// corrected spec proceeds.
pub(crate) async fn an_invalid_spec_in_mid_shift(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::HELD, ..App::two_tiers(3) };
    let traffic = in_mid_shift(scope, &app).await?;
    let valid = scope.rainbow(&app).await?.data["spec"].clone();
    let mut invalid = valid.clone();
    invalid["color"] = json!("v3");
    invalid["tiers"][0]["template"]["spec"]["restartPolicy"] = json!("Never");
    replace_spec(scope, &app, &invalid).await?;
    is_told(scope, &app, "InvalidSpec", "template.spec.restartPolicy").await?;

    let before = members(scope).await?;
    let lost = before.iter().find(|pod| pod.contains("-v1-")).context("no pod of v1 is a member")?;
    scope.api::<Pod>().delete(lost, &DeleteParams::default()).await?;
    eventually("the lost pod is replaced", || async {
        let now = members(scope).await?;
        ensure!(!now.contains(lost) && now.len() == before.len(), "{now:?} after {before:?}");
        Ok(())
    })
    .await?;
    ensure!(scope.moved(&app).await? == 1, "the share is what it was");
    scope.cli.run(&["rollback", app.name]).await?;
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let mut corrected = valid;
    corrected["stages"][1]["shift"] = json!({ "rolling": { "step": 1, "every": "300ms" } });
    replace_spec(scope, &app, &corrected).await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Adds a stage whose Service has the default name of the Service through which v1's frontends reach v1's backends.
pub(crate) async fn a_stage_named_like_a_living_color(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let service = async || -> Result<Value> {
        let found = scope.api::<Service>().get("backend-v1").await?;
        Ok(json!([found.metadata.uid, found.metadata.labels, found.spec]))
    };
    let before = service().await?;
    let mut spec = scope.rainbow(&app).await?.data["spec"].clone();
    let stages = spec["stages"].as_array_mut().context("no stages")?;
    stages.push(json!({ "name": "v1", "tier": "backend" }));
    replace_spec(scope, &app, &spec).await?;
    is_told(
        scope,
        &app,
        "Conflict",
        "stage `v1` cannot have Service `backend-v1`, which is that of tier `backend` of color `v1`",
    )
    .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(service().await? == before, "the Service of v1's backends was written to");
    let report = traffic.clean().await?;
    let seen: Vec<&str> = report.replies.keys().map(|reply| reply.trim()).collect();
    ensure!(seen == [app.reply("v1")], "{seen:?}");
    Ok(())
}

/// Checks that a stage that is held in the middle of a shift has a budget: its members are evicted one at a time, each when the one before is
/// replaced. The budget goes with the hold.
pub(crate) async fn a_held_stage_has_a_budget(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::HELD, ..App::two_tiers(3) };
    let traffic = in_mid_shift(scope, &app).await?;
    scope.cli.run(&["pause", app.name]).await?;
    let budgets = || scope.api::<PodDisruptionBudget>();
    eventually("the budget allows one of three members to be evicted", || async {
        let budget = budgets().get("seamless-active-paused").await?;
        let status = budget.status.context("no status")?;
        let counted = (status.current_healthy, status.desired_healthy, status.disruptions_allowed);
        ensure!(counted == (3, 2, 1), "{counted:?}");
        Ok(())
    })
    .await?;
    ensure!(scope.moved(&app).await? == 1, "the share is what it was");
    scope.cli.run(&["resume", app.name]).await?;
    scope.cli.run(&["abort", app.name]).await?;
    scope.serves(&app, "active", "v1").await?;
    eventually("the budget is gone", || async {
        ensure!(budgets().get_opt("seamless-active-paused").await?.is_none());
        Ok(())
    })
    .await?;
    traffic.clean().await?;
    Ok(())
}

/// Swaps the fixed node ports of two stages. The API server gives one port to one Service, so one of them is without it for a moment.
pub(crate) async fn stages_swap_their_node_ports(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    scope.serves(&app, "smoke", "v1").await?;
    // Uses the ports that the cluster has given them, so that no port has to be free.
    let (smoke, active) = (node_port(scope, "smoke").await?, node_port(scope, "active").await?);
    for (of_smoke, of_active) in [(smoke, active), (active, smoke)] {
        let mut spec = scope.rainbow(&app).await?.data["spec"].clone();
        spec["stages"][0]["service"]["ports"] = json!([{ "name": "http", "nodePort": of_smoke }]);
        spec["stages"][1]["service"]["ports"] = json!([{ "name": "http", "nodePort": of_active }]);
        replace_spec(scope, &app, &spec).await?;
        eventually("the stages have their node ports", || async {
            let now = (node_port(scope, "smoke").await?, node_port(scope, "active").await?);
            ensure!(now == (of_smoke, of_active), "{now:?}");
            Ok(())
        })
        .await?;
    }
    scope.answers("frontend-active", &app.reply("v1")).await?;
    scope.answers("frontend-smoke", &app.reply("v1")).await
}

async fn node_port(scope: &Scope, stage: &str) -> Result<i32> {
    let service = scope.api::<Service>().get(&format!("frontend-{stage}")).await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    ports.first().and_then(|port| port.node_port).context("it has no node port")
}

/// Starts a load on a stage that has moved one pod from v1 to v2.
async fn in_mid_shift(scope: &Scope, app: &App) -> Result<Loads> {
    scope.deploy(app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.deploy(app, "v2", "smoke").await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.has_moved(app, 1).await?;
    // The pod that the first one of v2 replaces leaves a moment later.
    eventually("as many pods serve as the stage has", || async {
        let now = members(scope).await?;
        ensure!(now.len() == app.replicas as usize, "{now:?}");
        Ok(())
    })
    .await?;
    Ok(traffic)
}

/// Writes another spec, as an editor would.
async fn replace_spec(scope: &Scope, app: &App, spec: &Value) -> Result<()> {
    let patch = kube::api::Patch::Merge(json!({ "spec": spec }));
    scope.custom("Rainbow").patch(app.name, &kube::api::PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until the condition `Stalled` has the reason and the text.
async fn is_told(scope: &Scope, app: &App, reason: &str, text: &str) -> Result<()> {
    eventually("the condition", || async {
        let rainbow = scope.rainbow(app).await?;
        let conditions = rainbow.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let says = |condition: &Value| {
            condition["type"] == "Stalled"
                && condition["status"] == "True"
                && condition["reason"] == reason
                && condition["message"].as_str().is_some_and(|message| message.contains(text))
        };
        ensure!(conditions.iter().any(says), "{conditions:?}");
        Ok(())
    })
    .await
}

/// Returns the ready pods with the membership label of the active stage.
async fn members(scope: &Scope) -> Result<BTreeSet<String>> {
    let pods = scope.api::<Pod>().list(&ListParams::default().labels("member.rainbow.dev/active=yes")).await?;
    let ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let is_ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
        is_ready && pod.metadata.deletion_timestamp.is_none()
    };
    Ok(pods.iter().filter(ready).map(ResourceExt::name_any).collect())
}
