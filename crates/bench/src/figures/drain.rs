//! Costs and savings of a drain on evidence: how long pods are kept after the last connection of each has ended. Beside them stands what
//! a fixed time would have kept, and cut, of the very same connections.
//!
//! Six pods leave their stage with connections of different lengths. The runs are made at the same time, since each lasts as
//! long as its longest connection.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Cluster, Scope,
    colors::{Colors, count_connections, pods},
    held::{Held, Kind},
};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::table::Figure;

/// Number of pods of the color that drains.
const PODS: u32 = 6;
/// Seconds that a pod has to be without connections.
const SETTLE: u32 = 2;
/// Seconds that each connection lasts after its pod has left the stage.
const LENGTHS: [u32; 12] = [1, 3, 5, 8, 10, 12, 15, 20, 25, 31, 35, 40];
/// Times that users commonly give to a Deployment's old pods.
const FIXED: [(&str, u32); 2] = [("30 s", 30), ("10 min", 600)];
/// Time between the beginnings of runs, so that they do not all do the same at the same moment.
const APART: Duration = Duration::from_millis(1700);
/// Interval of the checks which pods exist.
const LOOK: Duration = Duration::from_millis(50);
/// Limit of the wait after the longest connection.
const PATIENCE: Duration = Duration::from_secs(120);

/// Record of one run. Times count from the start of the stage's move.
struct Run {
    /// End of the last connection, by pod; 0 for a pod without connections.
    last: BTreeMap<String, f64>,
    /// Time at which each pod was gone.
    gone: BTreeMap<String, f64>,
    /// End of each connection.
    ends: Vec<f64>,
    /// Number of connections that did not end by themselves.
    cut: usize,
}

impl Run {
    /// Returns the pod-seconds after the last connection of each pod, where pods go at these times.
    fn kept(&self, goes: impl Fn(&str) -> f64) -> f64 {
        self.last.iter().map(|(pod, last)| (goes(pod) - last).max(0.0)).sum()
    }

    fn gone(&self, pod: &str) -> f64 {
        self.gone.get(pod).copied().unwrap_or(f64::INFINITY)
    }

    /// Returns the times from each pod's last connection to its end, beyond the time to settle, the shortest first.
    fn late(&self) -> Vec<f64> {
        let mut late: Vec<f64> =
            self.last.iter().map(|(pod, last)| self.gone(pod) - last - f64::from(SETTLE)).collect();
        late.sort_by(f64::total_cmp);
        late
    }

    /// Counts the connections that are longer than this number of seconds.
    fn longer(&self, seconds: u32) -> f64 {
        self.ends.iter().filter(|end| **end > f64::from(seconds)).count() as f64
    }
}

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let cluster = Cluster::start()?;
    let all = try_join_all((0..runs).map(|number| run(&cluster, number))).await;
    cluster.stop()?;
    let all = all?;
    let each = |figure: &dyn Fn(&Run) -> f64| all.iter().map(figure).collect::<Vec<f64>>();
    let name = |what: &str| format!("drain, {SETTLE} s to settle: {what}");
    let middle = |run: &Run| run.late().get(PODS as usize / 2).copied().unwrap_or(f64::INFINITY);
    let worst = |run: &Run| run.late().last().copied().unwrap_or(f64::INFINITY);
    let most = f64::from(PODS * (SETTLE + 2));
    let mut figures = vec![
        Figure::new(&name("last connection to end, beyond settle, middle pod"), "s", 2.0, each(&middle)),
        Figure::new(&name("last connection to end, beyond settle, worst pod"), "s", 2.0, each(&worst)),
        Figure::new(&name("connections cut"), "", 0.0, each(&|run| run.cut as f64)),
        Figure::new(
            &name("pod-seconds kept after the last connections"),
            "s",
            most,
            each(&|run| run.kept(|pod| run.gone(pod))),
        ),
    ];
    for (words, seconds) in FIXED {
        let kept = each(&|run| run.kept(|_| f64::from(seconds)));
        figures.push(Figure::beside(&format!("same drain by a fixed {words}: pod-seconds kept"), "s", kept));
        let cut = each(&|run| run.longer(seconds));
        figures.push(Figure::beside(&format!("same drain by a fixed {words}: connections cut"), "", cut));
    }
    Ok(figures)
}

async fn run(cluster: &Cluster, number: u32) -> Result<Run> {
    sleep(APART * number).await;
    let scope = Scope::new(cluster, &format!("drain-{number}")).await?;
    let drain = json!({ "connections": "Sidecar", "settle": format!("{SETTLE}s"), "deadline": "24h" });
    let app = Colors { replicas: PODS, drain, ..Colors::default() };
    app.release(&scope, "c1").await?;
    let held = connect(&scope, &app).await?;
    scope.apply_manifest(&app.at("c2"))?;
    app.ready(&scope, "c2").await?;

    let mut last: BTreeMap<String, f64> = pods(&scope, "c1").await?.into_iter().map(|pod| (pod, 0.0)).collect();
    let begin = Instant::now();
    let flip = app.flip(&scope, "c2");
    let (flipped, gone, closed) = tokio::join!(flip, gone(&scope, begin), close(held, begin));
    flipped?;
    let (mut ends, mut cut) = (Vec::new(), 0);
    for Closed { pod, at, cuts } in closed {
        let last = last.get_mut(&pod).with_context(|| format!("{pod} is no pod of c1"))?;
        *last = last.max(at);
        ends.push(at);
        cut += cuts;
    }
    Ok(Run { last, gone: gone?, ends, cut })
}

/// Opens one connection after the other, and finds the pod of each.
async fn connect(scope: &Scope, app: &Colors) -> Result<Vec<(String, Held)>> {
    let mut before = counts(scope, 0).await?;
    let mut held = Vec::new();
    for number in 1..=LENGTHS.len() {
        // The server of a websocket sees at once that its client has gone; one that only writes sees it at its next write.
        let one = app.hold(scope, Kind::WebSocket, 1).await?;
        let after = counts(scope, u64::try_from(number)?).await?;
        let pod = after.iter().find(|(pod, count)| before.get(*pod).is_none_or(|before| before < count));
        held.push((pod.context("no pod has one more")?.0.clone(), one));
        before = after;
    }
    Ok(held)
}

/// Returns the connections by pod as soon as there are `sum` of them.
async fn counts(scope: &Scope, sum: u64) -> Result<BTreeMap<String, u64>> {
    e2e::eventually(&format!("{sum} connections are counted"), || async {
        let mut counts = BTreeMap::new();
        for pod in pods(scope, "c1").await? {
            let count = count_connections(scope, &pod).await?;
            counts.insert(pod, count);
        }
        let now: u64 = counts.values().sum();
        ensure!(now == sum, "{now} are");
        Ok(counts)
    })
    .await
}

/// Connection that its client has closed at a time, or that was cut before.
struct Closed {
    pod: String,
    at: f64,
    cuts: usize,
}

async fn close(held: Vec<(String, Held)>, begin: Instant) -> Vec<Closed> {
    let mut closed = Vec::new();
    for ((pod, held), length) in held.into_iter().zip(LENGTHS) {
        sleep_until(begin + Duration::from_secs(u64::from(length))).await;
        let cuts = held.cut();
        drop(held);
        closed.push(Closed { pod, at: begin.elapsed().as_secs_f64(), cuts });
    }
    closed
}

/// Returns the time at which each pod of the color was gone.
async fn gone(scope: &Scope, begin: Instant) -> Result<BTreeMap<String, f64>> {
    let list = ListParams::default().labels("rainbow.dev/color=c1");
    let all = async {
        let mut there: Vec<String> = Vec::new();
        let mut gone = BTreeMap::new();
        loop {
            let now: Vec<String> =
                scope.api::<Pod>().list(&list).await?.items.iter().map(ResourceExt::name_any).collect();
            let at = begin.elapsed().as_secs_f64();
            gone.extend(there.iter().filter(|pod| !now.contains(pod)).map(|pod| (pod.clone(), at)));
            if now.is_empty() {
                return anyhow::Ok(gone);
            }
            there = now;
            sleep(LOOK).await;
        }
    };
    let longest = LENGTHS.into_iter().max().unwrap_or_default();
    timeout(Duration::from_secs(u64::from(longest)) + PATIENCE, all).await.context("the color does not go")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fixed_time_keeps_and_cuts() {
        let times = |times: [f64; 3]| ["a", "b", "c"].into_iter().map(str::to_owned).zip(times).collect();
        let run = Run {
            last: times([0.0, 10.0, 40.0]),
            gone: times([2.5, 12.5, 43.0]),
            ends: vec![4.0, 10.0, 31.0, 40.0],
            cut: 0,
        };
        assert_eq!(run.kept(|pod| run.gone(pod)), 2.5 + 2.5 + 3.0);
        assert_eq!(run.late(), [0.5, 0.5, 1.0]);
        assert_eq!((run.kept(|_| 30.0), run.longer(30)), (30.0 + 20.0, 2.0));
        assert_eq!((run.kept(|_| 600.0), run.longer(600)), (600.0 + 590.0 + 560.0, 0.0));
    }
}
