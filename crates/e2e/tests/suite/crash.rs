//! The operator dies at any moment, and nothing comes of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{App, OnSigterm, Scope, load};
use rand::RngExt;

/// Kills in one shift.
const KILLS: usize = 20;

/// SIGKILL at random moments of a shift; each time it is started again and goes on.
pub(crate) async fn operator_killed_twenty_times_in_a_shift(scope: &mut Scope) -> Result<()> {
    let app = App { on_sigterm: OnSigterm::Die, ..App::two_tiers(5) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = load::start(&scope.url("frontend-active").await?).await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    for _ in 0..KILLS {
        let pause = rand::rng().random_range(0..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        scope.operator.restart()?;
    }
    scope.serves(&app, "active", "v2").await?;
    let report = load::clean(traffic).await?;
    ensure!(report.replies.len() == 2, "the replies were {:?}", report.replies.keys());
    scope.scaled("v2", 5).await
}

/// With the operator gone in the middle of a shift, traffic goes on; when it is back, the shift ends as it should.
pub(crate) async fn traffic_needs_no_operator(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(3);
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let traffic = load::start(&scope.url("frontend-active").await?).await?;
    scope.cli.run(&["promote", "seamless"]).await?;
    scope.has_moved(&app, 1).await?;
    scope.operator.kill();
    let requests = traffic.report().requests;
    e2e::eventually("a thousand more requests are answered", || async {
        let now = traffic.report().requests;
        ensure!(now > requests + 1000, "{} so far", now - requests);
        Ok(())
    })
    .await?;
    scope.operator.restart()?;
    scope.serves(&app, "active", "v2").await?;
    load::clean(traffic).await?;
    Ok(())
}
