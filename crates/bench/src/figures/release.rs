//! Cost of a release: the times of a flip and of its way back, the time that a rolling shift adds to its own pace, the number of
//! started pods, and the number of writes to the API.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{App, Cluster, Pace, Scope, load};
use kube::{
    Client, Config,
    api::{Patch, PatchParams},
    client::ClientBuilder,
};
use rainbow_operator::Options;
use serde_json::json;
use traffic::{Load, Target, Traffic};

use crate::table::Figure;

/// New connections a second while a stage flips.
const RATE: f64 = 500.0;
/// Pods of each of the two tiers.
const PODS: u32 = 5;
/// Time from step to step of the rolling shift.
const EVERY: Duration = Duration::from_secs(2);
/// Interval of the checks whether the rolling shift has completed, and limit of the wait.
const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for which a steady state is observed.
const QUIET: Duration = Duration::from_secs(10);
/// Propagation time that `rainbow local up` gives its operator: the embedded cluster's data plane follows within milliseconds.
const PROPAGATION: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Runs {
    first: Vec<f64>,
    last: Vec<f64>,
    back_first: Vec<f64>,
    back_last: Vec<f64>,
    over: Vec<f64>,
    started: Vec<f64>,
    writes: Vec<f64>,
    quiet: Vec<f64>,
}

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let cluster = Cluster::start()?;
    let mut all = Runs::default();
    for run in 0..runs {
        flip(&cluster, run, &mut all).await?;
        rolling(&cluster, run, &mut all).await?;
    }
    cluster.stop()?;
    let pods = f64::from(2 * PODS);
    Ok(vec![
        Figure::new("flip, as clients see it: promote to first reply of the new color", "ms", 100.0, all.first),
        Figure::new("flip, as clients see it: promote to last reply of the old color", "ms", 200.0, all.last),
        Figure::new("rollback, as clients see it: to first reply of the old color", "ms", 100.0, all.back_first),
        Figure::new("rollback, as clients see it: to last reply of the new color", "ms", 200.0, all.back_last),
        Figure::new("rolling shift: time beyond step and every", "%", 5.0, all.over),
        Figure::new("pods started per release of 5 + 5", "", pods, all.started),
        Figure::new("operator's API writes per release of 5 + 5", "", 60.0, all.writes),
        Figure::new("operator's API writes a minute, steady", "", 0.0, all.quiet),
    ])
}

async fn flip(cluster: &Cluster, run: u32, all: &mut Runs) -> Result<()> {
    let (scope, _writes, operator) = start(cluster, &format!("flip-{run}")).await?;
    let app = App { pace: Pace::Flip, ..App::two_tiers(PODS) };
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    // Full size before the clock starts: the figure is about the flip, not about starting pods.
    let mut full = app.at("v2");
    if let Some(smoke) = full["spec"]["stages"][0].as_object_mut() {
        smoke.remove("replicas");
    }
    scope.apply_manifest(&full)?;
    scope.wait_until_scaled("v2", i32::try_from(PODS)?).await?;

    let (first, last) = move_to(&scope, &app, "v2", "v1").await?;
    all.first.push(first);
    all.last.push(last);
    let (first, last) = move_to(&scope, &app, "v1", "v2").await?;
    all.back_first.push(first);
    all.back_last.push(last);
    operator.abort();
    Ok(())
}

/// Points the active stage at `to` under load. Returns the milliseconds to the first reply of `to` and to the last one of `from`.
async fn move_to(scope: &Scope, app: &App, to: &str, from: &str) -> Result<(f64, f64)> {
    let mut load = Load::new(Target::resolve(&scope.url("frontend-active").await?).await?);
    load.rate = RATE;
    load.check = Some(Arc::new(load::judge));
    let traffic = Traffic::start(load);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let promoted = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64() * 1000.0;
    promote(scope, app, to).await?;
    scope.serves(app, "active", to).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = load::clean(traffic).await?;
    let of = |version: &str| {
        let reply = app.reply(version);
        report.replies.iter().find(|(text, _)| text.trim() == reply).map(|(_, tally)| tally)
    };
    let first = of(to).context("the new color never answered")?.first_ms;
    let last = of(from).context("the old color never answered")?.last_ms;
    Ok((first as f64 - promoted, last as f64 - promoted))
}

async fn rolling(cluster: &Cluster, run: u32, all: &mut Runs) -> Result<()> {
    let (scope, writes, operator) = start(cluster, &format!("rolling-{run}")).await?;
    let app = App { pace: Pace::OneEvery(u64::try_from(EVERY.as_millis())?), settle: "1s", ..App::two_tiers(PODS) };
    scope.deploy(&app, "v1", "active").await?;
    scope.wait_until_scaled("v1", i32::try_from(PODS)?).await?;
    let (pods, written) = (scope.pod_uids().await?, writes.load(Ordering::Relaxed));

    scope.deploy(&app, "v2", "smoke").await?;
    promote(&scope, &app, "v2").await?;
    scope.wait_until_scaled("v2", i32::try_from(PODS)?).await?;
    // The pace begins with the first step: bringing the new color to full size is no part of it.
    let begun = Instant::now();
    arrived(&scope, &app, "v2").await?;
    let ideal = EVERY * (PODS - 1);
    all.over.push((begun.elapsed().as_secs_f64() / ideal.as_secs_f64() - 1.0) * 100.0);
    all.started.push(scope.pod_uids().await?.difference(&pods).count() as f64);
    // The release is over when the last pod of the old color has ended, not when its end was requested.
    e2e::eventually("v1 is retired", || async {
        let color = scope.custom("Color").get(&format!("{}-v1", app.name)).await?;
        ensure!(color.data["status"]["phase"] == "Retired", "it is {}", color.data["status"]["phase"]);
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = writes.load(Ordering::Relaxed);
    all.writes.push((after - written) as f64);
    tokio::time::sleep(QUIET).await;
    let per_minute = 60.0 / QUIET.as_secs_f64();
    all.quiet.push((writes.load(Ordering::Relaxed) - after) as f64 * per_minute);
    operator.abort();
    Ok(())
}

/// Waits until the active stage serves a version. The checks are so frequent that they add nothing to the measured time.
async fn arrived(scope: &Scope, app: &App, version: &str) -> Result<()> {
    let serves = async {
        loop {
            let stage = scope.stage(app, "active").await?;
            if stage["color"] == version && stage["shift"].is_null() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, serves).await.context("the shift does not come to its end")?
}

pub(super) async fn promote(scope: &Scope, app: &App, color: &str) -> Result<()> {
    let patch = Patch::Json::<()>(serde_json::from_value(json!([
        { "op": "test", "path": "/spec/stages/1/name", "value": "active" },
        { "op": "add", "path": "/spec/stages/1/color", "value": color },
    ]))?);
    scope.custom("Rainbow").patch(app.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Creates a namespace whose operator runs in this process and counts its writes.
pub(super) async fn start(
    cluster: &Cluster,
    name: &str,
) -> Result<(Scope, Arc<AtomicU64>, tokio::task::JoinHandle<()>)> {
    let mut scope = Scope::new(cluster, name).await?;
    scope.operator.kill();
    let writes = Arc::new(AtomicU64::new(0));
    let client = counting(scope.config().await?, Arc::clone(&writes))?;
    let options = Options { namespace: Some(scope.namespace.clone()), propagation: PROPAGATION, ..Options::default() };
    let operator = tokio::spawn(async move {
        if let Err(error) = rainbow_operator::run(client, options).await {
            eprintln!("the operator ended: {error}");
        }
    });
    Ok((scope, writes, operator))
}

/// Creates a client that counts every request that is no read.
fn counting(config: Config, writes: Arc<AtomicU64>) -> Result<Client> {
    let layer = tower::util::MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
        if request.method() != http::Method::GET {
            writes.fetch_add(1, Ordering::Relaxed);
        }
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}
