//! Commands that say what a release does: who released what and why, what it waits for, what its pods write.

use anyhow::{Context, Result, ensure};
use e2e::{App, Pace, Scope, eventually};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

const APP: &str = "seamless";
/// Exit code of a command that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// The message of a release is the color's, with the user, and that of a move is beside it.
pub(crate) async fn history_says_why(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    scope.deploy(&app, "v1", "active").await?;
    let prefix = scope.image_prefix().to_owned();
    let [frontend, backend] = ["frontend", "backend"].map(|tier| format!("--image={tier}={prefix}{tier}:v2"));
    let release = ["deploy", "rb/seamless", "--color", "v2", &frontend, &backend, "--wait", "--message", "new prices"];
    scope.cli.run(&release).await?;
    scope.cli.run(&["promote", APP, "--message", "tested twice", "--wait"]).await?;
    // The next release says nothing: it has neither the message of the one before nor its user.
    scope.apply(&App { replicas: 1, ..app.clone() }, "v3")?;
    scope.serves(&app, "smoke", "v3").await?;
    let history: Value = serde_json::from_str(&scope.cli.run(&["history", "rainbow/seamless", "-o", "json"]).await?)?;
    let of = |color: &str| {
        let lines = history.as_array().into_iter().flatten();
        lines.into_iter().find(|line| line["color"] == color).with_context(|| format!("no {color} in {history}"))
    };
    let v2 = of("v2")?;
    ensure!(v2["cause"] == "new prices" && v2["by"].as_str().is_some_and(|by| !by.is_empty()), "{v2}");
    ensure!(v2["moves"]["active"]["message"] == "tested twice", "{v2}");
    let image = json!({ "tier": "backend", "image": format!("{prefix}backend:v2") });
    ensure!(v2["images"].as_array().is_some_and(|images| images.contains(&image)), "{v2}");
    let v3 = of("v3")?;
    ensure!(v3["cause"].is_null() && v3["moves"] == json!({}), "{v3}");
    let shown = scope.cli.run(&["history", APP]).await?;
    ensure!(shown.contains("new prices; active promoted") && shown.contains("tested twice"), "{shown}");

    let listed = scope.cli.run(&["list", "-o", "name"]).await?;
    ensure!(listed == "rainbow.rainbow.dev/seamless\n", "{listed}");
    for all in [&["status"][..], &["ls"], &["list", "-A"], &["status", "-l", "no=such"]] {
        let shown = scope.cli.output(all)?;
        let is_named = shown.stdout.contains("active=v2");
        ensure!(shown.code == 0 && is_named != all.contains(&"-l"), "{all:?}: {}{}", shown.stdout, shown.stderr);
    }
    let url = scope.cli.output(&["open", APP, "--print"])?;
    ensure!(url.code == 0 && url.stdout.starts_with("http://") || url.stderr.contains("port-forward"), "{url:?}");
    Ok(())
}

/// Ctrl-C ends the wait alone, `why` says what the stage waits for, and what ends it does.
pub(crate) async fn a_wait_that_is_left_goes_on(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::HELD, ..App::two_tiers(2) };
    scope.deploy(&app, "v1", "active").await?;
    scope.apply(&app, "v2")?;
    scope.serves(&app, "smoke", "v2").await?;
    let mut promote = scope.cli.command(&["promote", APP, "--wait"]);
    let mut child = promote.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("no standard error")?;
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).context("no process")?;
    let (code, said) = tokio::task::spawn_blocking(move || -> Result<_> {
        let mut said = Vec::new();
        for line in BufReader::new(stderr).lines() {
            said.push(line?);
            // A line for each change, with the time that is left.
            if said.last().is_some_and(|line| line.contains("1 of 2 pods, next step in ")) {
                rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
            }
        }
        Ok((child.wait()?.code(), said.join("\n")))
    })
    .await??;
    ensure!(code == Some(INTERRUPTED), "{code:?}: {said}");
    ensure!(said.contains("goes on to v2: `rainbow pause seamless --stage active` holds it"), "{said}");

    let why = scope.cli.run(&["why", APP]).await?;
    ensure!(why.contains("stage active moves from v1 to v2, 1 of 2 pods") && why.contains("next step in "), "{why}");
    scope.cli.run(&["pause", APP]).await?;
    eventually("`why` names the pause and its remedy", || async {
        let why = scope.cli.run(&["why", "rb/seamless"]).await?;
        ensure!(why.contains("it was paused by ") && why.contains("`rainbow resume seamless --stage active`"), "{why}");
        Ok(())
    })
    .await?;
    // The status is that of before or after the command, and says which.
    scope.cli.run(&["resume", APP]).await?;
    let status = scope.cli.run(&["status", APP]).await?;
    let headline = status.lines().next().unwrap_or_default();
    ensure!(!headline.contains("paused") || headline.contains("Not seen by the operator yet"), "{status}");
    let forgotten = scope.cli.output(&["diff", APP, "v2"])?;
    ensure!(
        forgotten.code == 2 && forgotten.stderr.contains("one more of its colors beside `v2`: v1"),
        "{forgotten:?}"
    );
    Ok(())
}

/// The log of a container that ended is there, behind the name of its pod; one that is followed has new pods, too.
pub(crate) async fn logs_of_all_pods(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    scope.deploy(&app, "v1", "active").await?;
    let mut follow = scope.cli.command(&["logs", APP, "--tier", "backend", "--follow"]);
    let mut child = follow.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let first = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.into_iter().find(|line| line.contains("PORT: invalid digit"))
    });
    // A version that ends at once, and says why.
    let mut crash = app.at("v1");
    crash["spec"]["color"] = json!("crash");
    let container = &mut crash["spec"]["tiers"][1]["template"]["spec"]["containers"][0];
    if let Some(variables) = container["env"].as_array_mut() {
        variables.retain(|variable| variable["name"] != "PORT");
        variables.push(json!({ "name": "PORT", "value": "none" }));
    }
    scope.apply_manifest(&crash)?;
    let line = first.await?.context("the log has ended")?;
    child.kill()?;
    child.wait()?;
    ensure!(line.starts_with("[backend-crash-") && line.contains("/backend] "), "{line}");
    eventually("the log of one color", || async {
        let log = scope.cli.run(&["logs", APP, "--color", "crash", "--tier", "backend", "--tail", "1"]).await?;
        ensure!(log.lines().count() == 1 && log.contains("PORT: invalid digit"), "{log}");
        Ok(())
    })
    .await?;
    let missing = scope.cli.output(&["logs", APP, "--tier", "bakend"])?;
    ensure!(missing.code == 3 && missing.stderr.contains("did you mean `backend`?"), "{missing:?}");
    eventually("`why` has the pod's own reason", || async {
        let why = scope.cli.run(&["why", APP]).await?;
        ensure!(why.contains("pod backend-crash-") && why.contains("PORT: invalid digit"), "{why}");
        Ok(())
    })
    .await
}
