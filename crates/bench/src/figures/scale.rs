//! Cost of the operator with a thousand applications: memory, a reconcile, an idle operator, a start, and the effect of the others on
//! one application. The API server is in this process and has no nodes; the operator is a process of its own.

mod application;
mod cluster;
mod nodes;
mod operator;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::table::Figure;
use application::{COLORS, NAME, PODS, manifest};
use cluster::Cluster;
use nodes::Nodes;
use operator::Operator;
pub(crate) use operator::serve;

/// Number of applications, unless `BENCH_APPLICATIONS` sets another one.
const APPLICATIONS: usize = 1_000;
/// Number of applications of the extrapolation.
const MANY: usize = 10_000;
/// Limit of every wait.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time without a write after which everything counts as done.
const QUIET: Duration = Duration::from_secs(4);
/// Time at rest, longer than any watch: each is renewed once in that time.
const REST: Duration = Duration::from_secs(60);
/// Time after which freed memory has been released.
const SETTLED: Duration = Duration::from_secs(25);
/// Interval at which a busy application is disturbed: another writer scales its Deployment, and the operator reverts that.
const DISTURBED: Duration = Duration::from_secs(10);
/// Number of concurrent requests where everything is touched.
const TOUCHES: usize = 8;

fn applications() -> usize {
    let number = std::env::var("BENCH_APPLICATIONS").ok().and_then(|text| text.parse().ok());
    number.filter(|number| *number > 1).unwrap_or(APPLICATIONS)
}

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let number = applications();
    let cluster = Cluster::start().await?;
    let base = build(&cluster, number).await?;

    let (mut start, mut rest, mut most) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..runs.min(3) {
        drop(last.take());
        let operator = Operator::start(&cluster.kubeconfig())?;
        start.push(operator.looked_at(number).await?.as_secs_f64());
        tokio::time::sleep(SETTLED).await;
        let (now, peak) = operator.memory()?;
        rest.push(now);
        most.push(peak);
        last = Some(operator);
    }
    let operator = last.context("there is at least one run")?;
    let idle = idle(&operator).await?;
    let (mut looks, mut glances) = (Looks::default(), Looks::default());
    for _ in 0..runs {
        looks.take(&cluster, &operator, number, Touch::Deployment).await?;
        glances.take(&cluster, &operator, number, Touch::Pod).await?;
    }
    drop(operator);
    let busy = neighbour(&cluster, number, runs).await?;

    let scaled = |measured: f64, base: f64| base + (measured - base).max(0.0) / number as f64 * MANY as f64;
    let each = |values: &[f64], base: f64| values.iter().map(|value| scaled(*value, base)).collect::<Vec<f64>>();
    let of = format!("{number} applications, {} colors, {} pods", number * COLORS, number * PODS);
    let many = format!("{MANY} applications, {} colors, {} pods", MANY * COLORS, MANY * PODS);
    let per_app = rest.iter().map(|rest| (rest - base.0).max(0.0) * 1024.0 / number as f64).collect();
    Ok(vec![
        Figure::beside("operator's memory, one application", "MiB", vec![base.0]),
        Figure::beside(&format!("operator's memory at rest: {of}"), "MiB", rest.clone()),
        Figure::beside(&format!("operator's memory, most while it starts: {of}"), "MiB", most.clone()),
        Figure::new("operator's memory for each application", "KiB", 34.0, per_app),
        Figure::new(&format!("  extrapolated to {many}: at rest"), "MiB", 350.0, each(&rest, base.0)),
        Figure::beside(&format!("  extrapolated to {many}: most while it starts"), "MiB", each(&most, base.1)),
        Figure::beside("a full look at rest: to observe", "µs", looks.observe),
        Figure::beside("a full look at rest: to plan", "µs", looks.plan),
        Figure::new("a full look at rest", "µs", 60.0, looks.look),
        Figure::beside("a full look at rest with the change that leads to it: processor time", "µs", looks.processor),
        Figure::beside("a look after a change that says the same", "µs", glances.look),
        Figure::beside("  with that change: processor time", "µs", glances.processor),
        Figure::new(&format!("operator idle, share of a core: {of}"), "%", 1.0, vec![idle]),
        Figure::beside(&format!("  extrapolated to {many}"), "%", vec![idle * MANY as f64 / number as f64]),
        Figure::beside(&format!("operator's cold start: {of}"), "s", start.clone()),
        Figure::new(&format!("  extrapolated to {many}"), "s", 30.0, each(&start, base.2)),
        Figure::beside("a release while the others rest", "s", busy.alone),
        Figure::beside(&format!("a release while {} others are busy", number - 1), "s", busy.among),
        Figure::new("  so many times its time alone", "×", 2.0, busy.ratio),
    ])
}

/// Creates the applications. Returns the figures of one alone: memory at rest, peak memory, and seconds to start.
async fn build(cluster: &Cluster, number: usize) -> Result<(f64, f64, f64)> {
    let first = namespace(0);
    cluster.namespace(&first).await?;
    let nodes = Nodes::start(cluster, &first);
    let operator = Operator::start(&cluster.kubeconfig())?;
    for color in 1..=COLORS {
        let color = format!("v{color}");
        cluster.apply(&manifest(&first, &color, "24h")).await?;
        until(&format!("the first application serves {color}"), async || cluster.serves(&first, &color).await).await?;
    }
    quiet(cluster).await?;
    drop((nodes, operator));
    let operator = Operator::start(&cluster.kubeconfig())?;
    let start = operator.looked_at(1).await?.as_secs_f64();
    tokio::time::sleep(SETTLED).await;
    let (rest, most) = operator.memory()?;
    drop(operator);
    cluster.copy(&first, (1..number).map(namespace).collect()).await?;
    // A copy belongs to another Rainbow: the operator writes each object once, and then rests.
    let operator = Operator::start(&cluster.kubeconfig())?;
    operator.looked_at(number).await?;
    quiet(cluster).await?;
    Ok((rest, most, start))
}

fn namespace(number: usize) -> String {
    format!("team-{number:05}")
}

/// Returns the share of a core in percent.
async fn idle(operator: &Operator) -> Result<f64> {
    let (begin, before) = (Instant::now(), operator.processor_time()?);
    tokio::time::sleep(REST).await;
    let spent = operator.processor_time()?.saturating_sub(before);
    Ok(spent.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0)
}

/// Microseconds of reconciles, in each run.
#[derive(Default)]
struct Looks {
    observe: Vec<f64>,
    plan: Vec<f64>,
    look: Vec<f64>,
    processor: Vec<f64>,
}

/// Object that is changed in each application before a reconcile. Neither change leads to a write.
#[derive(Clone, Copy)]
enum Touch {
    /// A condition of a Deployment: everything is decided again.
    Deployment,
    /// An annotation of a pod: the operator does not keep it, and sees that nothing has changed.
    Pod,
}

impl Looks {
    /// Touches each application once.
    async fn take(&mut self, cluster: &Cluster, operator: &Operator, number: usize, touch: Touch) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace(0));
        let pod = pods.list(&ListParams::default()).await?.items.first().context("there are pods")?.name_any();
        let (before, time) = (operator.metrics().await?, operator.processor_time()?);
        let told = format!("{:?}", Instant::now());
        let (pod, deployment, told) = (&pod, &format!("frontend-v{COLORS}"), &told);
        let touch = |number: usize| async move {
            let (client, namespace, params) = (cluster.client.clone(), namespace(number), PatchParams::default());
            match touch {
                Touch::Deployment => {
                    let condition = json!({ "type": "Touched", "status": "True", "message": told });
                    let patch = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
                    let deployments: Api<Deployment> = Api::namespaced(client, &namespace);
                    deployments.patch_status(deployment, &params, &patch).await.map(drop)
                }
                Touch::Pod => {
                    let patch = Patch::Merge(json!({ "metadata": { "annotations": { "example.com/touched": told } } }));
                    Api::<Pod>::namespaced(client, &namespace).patch_metadata(pod, &params, &patch).await.map(drop)
                }
            }
        };
        stream::iter((0..number).map(touch)).buffer_unordered(TOUCHES).try_collect::<()>().await?;
        quiet(cluster).await?;
        let (after, spent) = (operator.metrics().await?, operator.processor_time()?.saturating_sub(time));
        let looks = after.get("looks_total") - before.get("looks_total");
        if looks < number as f64 {
            bail!("only {looks} looks at {number} applications");
        }
        let part = |name: &str| {
            let name = format!("look_seconds_total{{part=\"{name}\"}}");
            (after.get(&name) - before.get(&name)) * 1e6 / looks
        };
        self.observe.push(part("observe"));
        self.plan.push(part("plan"));
        self.look.push(part("look"));
        self.processor.push(spent.as_secs_f64() * 1e6 / looks);
        Ok(())
    }
}

/// Seconds of releases of one application.
#[derive(Default)]
struct Busy {
    alone: Vec<f64>,
    among: Vec<f64>,
    ratio: Vec<f64>,
}

/// Releases an application that comes last in the alphabet, with all others at rest and with all of them busy.
async fn neighbour(cluster: &Cluster, number: usize, runs: u32) -> Result<Busy> {
    let operator = Operator::start(&cluster.kubeconfig())?;
    operator.looked_at(number).await?;
    let own = "zebra";
    cluster.namespace(own).await?;
    let _nodes = Nodes::start(cluster, own);
    release(cluster, own, "v1").await?;
    let mut busy = Busy::default();
    for run in 0..runs {
        quiet(cluster).await?;
        let alone = release(cluster, own, &format!("a{run}")).await?;
        quiet(cluster).await?;
        let among = {
            let disturb = disturb(cluster, number);
            let release = async {
                // All are busy by then.
                tokio::time::sleep(DISTURBED).await;
                release(cluster, own, &format!("b{run}")).await
            };
            tokio::select! {
                disturbed = disturb => match disturbed { Ok(never) => match never {}, Err(error) => return Err(error) },
                among = release => among?,
            }
        };
        busy.ratio.push(among / alone);
        busy.alone.push(alone);
        busy.among.push(among);
    }
    Ok(busy)
}

/// Returns the seconds from the apply of a new color until it serves and its status says so.
async fn release(cluster: &Cluster, namespace: &str, color: &str) -> Result<f64> {
    let begin = Instant::now();
    cluster.apply(&manifest(namespace, color, "1s")).await?;
    until(&format!("{NAME} serves {color}"), async || cluster.serves(namespace, color).await).await?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Keeps all applications busy, one after the other, without end.
async fn disturb(cluster: &Cluster, number: usize) -> Result<std::convert::Infallible> {
    let pause = DISTURBED / u32::try_from(number)?;
    let mut tick = tokio::time::interval(pause);
    loop {
        for other in 0..number {
            tick.tick().await;
            let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), &namespace(other));
            let scaled = Patch::Merge(json!({ "spec": { "replicas": 4 } }));
            let name = format!("frontend-v{COLORS}");
            deployments.patch(&name, &PatchParams::default(), &scaled).await.context("cannot disturb")?;
        }
    }
}

/// Waits until nothing is written any more.
async fn quiet(cluster: &Cluster) -> Result<()> {
    let begin = Instant::now();
    let (mut revision, mut since) = (cluster.api.revision(), Instant::now());
    while since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if cluster.api.revision() != revision {
            (revision, since) = (cluster.api.revision(), Instant::now());
        }
        if begin.elapsed() > PATIENCE {
            bail!("something is written all the time");
        }
    }
    Ok(())
}

async fn until(what: &str, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !condition().await? {
        if begin.elapsed() > PATIENCE {
            bail!("gave up waiting until {what}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
