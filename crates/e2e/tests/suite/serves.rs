//! What serves depends on nothing that no stage was moved to: ports, tiers and sizes of a release count when it is promoted.

use anyhow::{Result, ensure};
use e2e::{App, Port, Scope};

/// The containers declare the port under its name, so pods of both colors serve behind one Service.
pub(crate) async fn a_declared_port_that_changes(scope: &mut Scope) -> Result<()> {
    another_port(scope, true).await
}

/// Nothing but the number says which port it is, so the Service moves in one write.
pub(crate) async fn a_port_that_changes(scope: &mut Scope) -> Result<()> {
    another_port(scope, false).await
}

async fn another_port(scope: &mut Scope, declared: bool) -> Result<()> {
    let v1 = App { port: Port { number: 8080, declared }, ..App::two_tiers(3) };
    let v2 = App { port: Port { number: 9090, declared }, ..v1.clone() };
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

/// A release of half the pods leaves those that serve alone until it has taken their place.
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

/// v2 has no `gate` any more. Clients of v1 pass it as long as v1 serves, and the address stays the same.
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
