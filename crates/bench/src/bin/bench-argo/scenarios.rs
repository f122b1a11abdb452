//! Measurement of the scenarios, each repeated with the same application.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use e2e::{Cluster, Scope};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    clients::{Clients, hold, now},
    contestant::{Contestant, Tool},
    manifests::{ACTIVE, Care, Health, Keep, PREVIEW, Release, Strategy},
    pods::{Surplus, gone},
    scenario::Scenario,
    writes::Write,
};

/// Pods of a version, and of a small version.
const PODS: u32 = 5;
const FEW_PODS: u32 = 2;
/// Number of long-lived connections.
const HELD: usize = 100;
/// Delay of each write where the API server is slow.
const SLOW: Duration = Duration::from_millis(1500);
/// New connections a second that check which version the preview has: no load.
const LOOKS: f64 = 20.0;
/// Time for which connections last after the release.
const LAST: Duration = Duration::from_secs(10);
/// Time for which the lost requests of a crashing version are counted.
const CRASHING: Duration = Duration::from_secs(60);
/// Time without a write after which a controller counts as done.
const QUIET: Duration = Duration::from_secs(8);
/// Time after which a started controller counts as a running one: Rainbow's is more careful in its first minute as the leader.
const WARM_UP: Duration = Duration::from_secs(65);
/// Shortest time that a version stays after it has been replaced.
const BRIEFLY: Keep = Keep::For(Duration::from_secs(1));

/// Results of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// Value for each row of the scenario.
    pub(crate) values: Vec<f64>,
    /// Number of requests that failed, and of connections that were cut.
    pub(crate) lost: u64,
    /// Writes of the controller; times are milliseconds since the beginning of the measured part.
    pub(crate) writes: Vec<Write>,
}

impl Run {
    fn new(contestant: &Contestant, begin: i64, lost: u64, values: Vec<f64>) -> Self {
        let mut writes = contestant.proxy.writes_since(begin);
        writes.iter_mut().for_each(|write| write.at -= begin);
        Self { values, lost, writes }
    }
}

/// Runs a scenario with one tool.
pub(crate) async fn measure(
    cluster: &Cluster,
    argo: Option<&Path>,
    tool: Tool,
    scenario: Scenario,
    runs: u32,
) -> Result<Vec<Run>> {
    // A crash loop leaves nothing that a second run could begin with.
    let rounds = if matches!(scenario, Scenario::Crash | Scenario::CrashWithCare) { runs } else { 1 };
    let mut all = Vec::new();
    for _ in 0..rounds {
        let contestant = Contestant::start(cluster, argo, tool, scenario.name()).await?;
        let measured = match scenario {
            Scenario::Preview => preview(&contestant, runs).await,
            Scenario::SlowRollback => slow_rollback(&contestant, runs).await,
            Scenario::Return => return_to_retired(&contestant, runs).await,
            Scenario::Release => release(&contestant, PODS, HELD, runs).await,
            Scenario::SmallRelease => release(&contestant, FEW_PODS, 0, runs).await,
            Scenario::Rolling => rolling(&contestant, runs).await,
            Scenario::Crash => crash(&contestant, Care::None).await,
            Scenario::CrashWithCare => crash(&contestant, Care::MinReady).await,
        };
        match measured {
            Ok(runs) => {
                contestant.stop().await?;
                all.extend(runs);
            }
            Err(error) => return Err(contestant.fail(error).await),
        }
    }
    Ok(all)
}

/// Builds a version that is released by a flip.
fn flip(color: &str, keep: Keep) -> Release<'_> {
    Release { color, pods: PODS, strategy: Strategy::Flip { keep }, health: Health::Steady, promotes_itself: false }
}

/// Measures the time from apply until every check of the preview shows the new version.
async fn preview(contestant: &Contestant, runs: u32) -> Result<Vec<Run>> {
    contestant.begin(&flip("c0", Keep::Default)).await?;
    let looks = Clients::start(&contestant.scope, PREVIEW, LOOKS).await?;
    looks.only("c0").await?;
    let mut all = Vec::new();
    for number in 1..=runs {
        let color = format!("c{number}");
        let next = flip(&color, Keep::Default);
        let (begin, failed) = (now(), looks.failed());
        contestant.apply(&next).await?;
        let arrival = looks.only(&color).await?;
        let arrived = arrival.first.max(arrival.last_other);
        all.push(Run::new(contestant, begin, looks.failed() - failed, vec![seconds(begin, arrived)]));
        contestant.previewed(&next).await?;
        progress(contestant, &all);
    }
    looks.stop().await;
    Ok(all)
}

/// Measures the time from the user's write to the last reply of the version that is taken back, while every write of the controller is slow.
async fn slow_rollback(contestant: &Contestant, runs: u32) -> Result<Vec<Run>> {
    // Argo Rollouts keeps the old version for a time, and it must still exist; with Rainbow it has to drain.
    let keep = if contestant.tool == Tool::Rainbow { BRIEFLY } else { Keep::Default };
    let old = flip("c0", keep);
    contestant.begin(&old).await?;
    sleep(WARM_UP).await;
    let clients = load(&contestant.scope).await?;
    let mut all = Vec::new();
    for number in 1..=runs {
        let color = format!("c{number}");
        let next = flip(&color, keep);
        let held = hold(&contestant.scope, ACTIVE, HELD).await?;
        contestant.apply(&next).await?;
        contestant.previewed(&next).await?;
        contestant.promote(&next).await?;
        clients.only(&color).await?;
        contestant.drains("c0").await?;
        contestant.proxy.slow_down(SLOW);
        let (begin, failed) = (now(), clients.failed());
        contestant.back(&old).await?;
        let arrival = clients.only("c0").await?;
        let lost = clients.failed() - failed + held.cut() as u64;
        all.push(Run::new(contestant, begin, lost, vec![seconds(begin, arrival.last_other)]));
        contestant.proxy.slow_down(Duration::ZERO);
        drop(held);
        contestant.settled(&old).await?;
        quiet(contestant).await;
        progress(contestant, &all);
    }
    clients.stop().await;
    Ok(all)
}

/// Measures the time from the user's write to the last reply of the version that is taken back, where the other one has to start its pods.
async fn return_to_retired(contestant: &Contestant, runs: u32) -> Result<Vec<Run>> {
    let (one, other) = (flip("c0", BRIEFLY), flip("c1", BRIEFLY));
    contestant.begin(&one).await?;
    let clients = load(&contestant.scope).await?;
    contestant.apply(&other).await?;
    contestant.previewed(&other).await?;
    contestant.promote(&other).await?;
    clients.only(other.color).await?;
    // Version that users are at, and version that they go to.
    let (mut from, mut to) = (other, one);
    let mut all = Vec::new();
    for _ in 0..runs {
        gone(&contestant.scope, to.color).await?;
        quiet(contestant).await;
        let (begin, failed) = (now(), clients.failed());
        contestant.back(&Release { promotes_itself: true, ..to }).await?;
        let arrival = clients.only(to.color).await?;
        all.push(Run::new(contestant, begin, clients.failed() - failed, vec![seconds(begin, arrival.last_other)]));
        (from, to) = (to, from);
        progress(contestant, &all);
    }
    clients.stop().await;
    Ok(all)
}

/// Measures a whole release: the writes from apply until nothing is written any more, and how long old pods stay after their connections.
async fn release(contestant: &Contestant, pods: u32, connections: usize, runs: u32) -> Result<Vec<Run>> {
    let begun = Release { pods, ..flip("c0", Keep::Default) };
    contestant.begin(&begun).await?;
    let clients = load(&contestant.scope).await?;
    let mut old = "c0".to_owned();
    let mut all = Vec::new();
    for number in 1..=runs {
        let color = format!("c{number}");
        let next = Release { color: &color, ..begun };
        let held = hold(&contestant.scope, ACTIVE, connections).await?;
        quiet(contestant).await;
        let (begin, failed) = (now(), clients.failed());
        contestant.apply(&next).await?;
        contestant.previewed(&next).await?;
        contestant.promote(&next).await?;
        let arrived = clients.only(&color).await?.last_other;
        let past = Duration::from_millis(u64::try_from(now() - arrived).unwrap_or_default());
        sleep(LAST.saturating_sub(past)).await;
        let cut = held.cut() as u64;
        drop(held);
        let kept = gone(&contestant.scope, &old).await?;
        quiet(contestant).await;
        let mut run = Run::new(contestant, begin, clients.failed() - failed + cut, Vec::new());
        // The second value is for a scenario with connections.
        run.values = if connections == 0 { vec![run.writes.len() as f64] } else { vec![run.writes.len() as f64, kept] };
        all.push(run);
        old = color;
        progress(contestant, &all);
    }
    clients.stop().await;
    Ok(all)
}

/// Measures a release pod by pod: the surplus of pods, and the time to the last reply of the old version.
async fn rolling(contestant: &Contestant, runs: u32) -> Result<Vec<Run>> {
    let begun = by_pod("c0", Care::None, Health::Steady);
    contestant.begin(&begun).await?;
    let clients = load(&contestant.scope).await?;
    let mut old = "c0".to_owned();
    let mut all = Vec::new();
    for number in 1..=runs {
        let color = format!("c{number}");
        let next = Release { color: &color, ..begun };
        quiet(contestant).await;
        let (begin, failed) = (now(), clients.failed());
        let surplus = Surplus::begin(&contestant.scope, PODS);
        contestant.apply(&next).await?;
        let arrived = clients.only(&color).await?.last_other;
        gone(&contestant.scope, &old).await?;
        let values = vec![surplus.seconds(), seconds(begin, arrived)];
        all.push(Run::new(contestant, begin, clients.failed() - failed, values));
        contestant.settled(&next).await?;
        old = color;
        progress(contestant, &all);
    }
    clients.stop().await;
    Ok(all)
}

/// Measures a release of a version that crashes: the requests that are lost.
async fn crash(contestant: &Contestant, care: Care) -> Result<Vec<Run>> {
    contestant.begin(&by_pod("c0", care, Health::Steady)).await?;
    let clients = load(&contestant.scope).await?;
    sleep(QUIET).await;
    let failed = clients.failed();
    ensure!(failed == 0, "{failed} requests failed before anything was released");
    let begin = now();
    contestant.apply(&by_pod("c1", care, Health::Crashing)).await?;
    sleep(CRASHING).await;
    let lost = clients.stop().await;
    let all = vec![Run::new(contestant, begin, lost, vec![lost as f64])];
    progress(contestant, &all);
    Ok(all)
}

/// Builds a version that goes into service pod by pod, by itself.
fn by_pod(color: &str, care: Care, health: Health) -> Release<'_> {
    Release { color, pods: PODS, strategy: Strategy::Rolling(care), health, promotes_itself: true }
}

async fn load(scope: &Scope) -> Result<Clients> {
    Clients::start(scope, ACTIVE, scope.rate()).await
}

/// Waits until the controller has written nothing for a while.
async fn quiet(contestant: &Contestant) {
    while !contestant.proxy.writes_since(now() - QUIET.as_millis() as i64).is_empty() {
        sleep(Duration::from_millis(200)).await;
    }
}

fn seconds(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1000.0
}

fn progress(contestant: &Contestant, all: &[Run]) {
    if let Some(run) = all.last() {
        eprintln!("  {}: {:.2?}, {} writes, {} lost", contestant.tool.name(), run.values, run.writes.len(), run.lost);
    }
}
