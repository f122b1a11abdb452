//! Tests in which the operator dies at any moment, without consequences.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{App, Cut, OnSigterm, Pace, Scope, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use rand::RngExt;

/// Number of kills in one shift.
const KILLS: usize = 20;

/// Kills the operator with SIGKILL at random moments of a shift; each time it is started again and continues.
pub(crate) async fn operator_killed_twenty_times_in_a_shift(scope: &mut Scope) -> Result<()> {
    // Slow enough that many of the kills fall into the shift.
    let app = App { on_sigterm: OnSigterm::Die, pace: Pace::OneEvery(2_000), ..App::two_tiers(5) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    for _ in 0..KILLS {
        let pause = scope.operator_start().mul_f64(rand::rng().random_range(0.0..1.0));
        tokio::time::sleep(pause).await;
        scope.operator.restart()?;
    }
    scope.serves(&app, "active", "v2").await?;
    let report = traffic.clean().await?;
    ensure!(report.replies.len() == 2, "the replies were {:?}", report.replies.keys());
    scope.wait_until_scaled("v2", 5).await
}

/// Checks that traffic continues without the operator in the middle of a shift, and that the shift completes when it is back.
pub(crate) async fn traffic_needs_no_operator(scope: &mut Scope) -> Result<()> {
    let mut app = App { pace: Pace::HELD, ..App::two_tiers(3) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    scope.operator.kill();
    let requests = traffic.report().requests;
    eventually("a thousand more requests are answered", || async {
        let now = traffic.report().requests;
        ensure!(now > requests + 1000, "{} so far", now - requests);
        Ok(())
    })
    .await?;
    scope.operator.restart()?;
    app.pace = Pace::BRISK;
    scope.apply(&app, "v2")?;
    scope.serves(&app, "active", "v2").await?;
    traffic.clean().await?;
    Ok(())
}

/// Cuts a node off the network in the middle of a shift, long enough for the cluster to give it up, and connects it again.
///
/// Requests fail while the cluster still sends them to the node's pods: nothing in a cluster can know of that sooner. No
/// reply is mixed, traffic flows again without the node, and the shift completes.
pub(crate) async fn a_node_cut_off_in_a_shift(scope: &mut Scope) -> Result<()> {
    let mut app = App { on_sigterm: OnSigterm::Die, pace: Pace::HELD, ..App::two_tiers(4) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let cut = Mended(scope.cut()?.clone());
    let traffic = scope.load_past("frontend-active", &cut.0.node).await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    cut.0.cut()?;
    node_is(scope, &cut.0.node, "Unknown").await?;
    eventually("traffic flows without the node", || async {
        let before = traffic.report();
        tokio::time::sleep(CALM).await;
        let after = traffic.report();
        let (more, failed) = (after.requests - before.requests, after.failed - before.failed);
        ensure!(more > 0 && failed == 0, "{failed} of {more} requests failed in {CALM:?}");
        Ok(())
    })
    .await?;
    drop(cut);
    let node = scope.cut()?.node.clone();
    node_is(scope, &node, "True").await?;
    app.pace = Pace::BRISK;
    scope.apply(&app, "v2")?;
    scope.serves(&app, "active", "v2").await?;
    scope.wait_until_scaled("v2", 4).await?;
    let report = traffic.stop().await;
    ensure!(report.mixed == 0, "{} mixed replies: {:?}", report.mixed, report.replies.keys());
    // All nodes answer again.
    scope.answers("frontend-active", &app.reply("v2")).await?;
    let traffic = scope.load("frontend-active").await?;
    tokio::time::sleep(CALM).await;
    traffic.clean().await?;
    Ok(())
}

/// Time without a failure after which traffic counts as flowing.
const CALM: Duration = Duration::from_secs(5);

/// Guard that connects the node again, however the test ends.
struct Mended(Cut);

impl Drop for Mended {
    fn drop(&mut self) {
        if let Err(error) = self.0.mend() {
            eprintln!("node {} is still cut off: {error:#}", self.0.node);
        }
    }
}

/// Waits until a node's condition Ready has this status.
async fn node_is(scope: &Scope, name: &str, ready: &str) -> Result<()> {
    let nodes = Api::<Node>::all(scope.client.clone());
    eventually(&format!("node {name} is Ready: {ready}"), || async {
        let conditions = nodes.get(name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
        let found = conditions.iter().find(|condition| condition.type_ == "Ready").map(|found| found.status.as_str());
        ensure!(found == Some(ready), "it is {found:?}");
        Ok(())
    })
    .await
}
