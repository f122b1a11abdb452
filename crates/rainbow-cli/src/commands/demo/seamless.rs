//! Two tiers, two versions, one upgrade under load, with every reply checked.

mod files;
mod pods;

use std::{path::PathBuf, sync::Arc, time::Duration};

use rainbow_api::{ColorPhase, HumanDuration};
use traffic::{Load, Pattern, Report, Traffic};

use super::{cluster_of_its_own, play, shell::Shell};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    reach,
    wait::{self, Progress},
};
use pods::StartedPods;

/// Name of the application.
const NAME: &str = "seamless";
/// Pods of one version: five per tier.
const PODS: usize = 10;
/// How long a version stays whole after it left its last stage. Longer than any connection of the load.
const SETTLE: Duration = Duration::from_secs(5);
/// Clients that keep their connections, beside the new ones.
const KEEP_ALIVE: usize = 10;
/// Age at which such a client opens a new connection, as connection pools do.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Longest time for any single step to take effect.
const PATIENCE: HumanDuration = HumanDuration::from_secs(120);

/// Arguments of the first story.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Time from one step of the shift to the next
    #[arg(long, default_value = "2s", value_name = "TIME")]
    every: HumanDuration,
    /// New connections per second
    #[arg(long, default_value_t = 300.0, value_name = "N")]
    rate: f64,
    /// Leave the cluster and the application there
    #[arg(long)]
    keep: bool,
    /// Directory of the example's programs `frontend` and `backend` (default: where this program is)
    #[arg(long, value_name = "DIR")]
    apps: Option<PathBuf>,
}

/// What was seen at the end.
struct Outcome {
    report: Report,
    active: String,
    pods_started: usize,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    if !(args.rate > 0.0 && args.rate.is_finite()) {
        return Err(Error::Usage("--rate must be above 0".into()));
    }
    let files = files::write(&args)?;
    let shell = Shell::new(context.printer, files.path())?;
    let keep = args.keep;
    play(context, shell, files, keep, async |shell| judge(walk(context, &args, shell).await?)).await
}

/// What must be so for the demo to have shown what it claims.
fn judge(Outcome { report, active, pods_started }: Outcome) -> Result<String> {
    let figures = format!(
        "requests={} failed={} mixed={} active={active} pods_started={pods_started}",
        report.requests, report.failed, report.mixed
    );
    let versions =
        report.replies.keys().filter(|reply| ["v1", "v2"].iter().any(|version| reply.ends_with(version))).count();
    let why = if report.failed > 0 || report.skipped > 0 {
        let first = report.failures.iter().next().and_then(|(kind, tally)| Some((kind, tally.samples.first()?)));
        first.map_or("requests failed".to_owned(), |(kind, sample)| {
            format!("requests failed, such as {kind} ({})", sample.detail)
        })
    } else if report.mixed > 0 {
        "replies mixed versions".to_owned()
    } else if report.requests == 0 || versions < 2 {
        "the load did not see both versions".to_owned()
    } else if active != "v2" {
        "the active stage does not serve v2".to_owned()
    } else if pods_started != 2 * PODS {
        format!("two versions of {PODS} pods started more or fewer pods than {}", 2 * PODS)
    } else {
        return Ok(figures);
    };
    Err(Error::Failed(format!("{figures}: {why}")))
}

async fn walk(context: &Context, args: &Args, shell: &Shell) -> Result<Outcome> {
    let (context, cluster) = cluster_of_its_own(context, shell).await?;

    shell.say("Images of two tiers in two versions, built without Docker.");
    for tier in ["backend", "frontend"] {
        for version in ["v1", "v2"] {
            shell
                .run(&format!(
                    "image build -t {tier}:{version} --build-arg VERSION={version} -f {tier}.Dockerfile apps"
                ))
                .await?;
        }
    }
    shell.run("image ls").await?;

    shell.say("The first version. Pods of both tiers start; both stages serve it.");
    let pods = StartedPods::count(&cluster, NAME);
    shell.run("apply -f v1.yaml --wait").await?;
    shell.expect(&format!("query {NAME}"), "frontend:v1 - backend:v1").await?;

    shell.say(&format!(
        "From here on clients call it: {} new connections a second and {KEEP_ALIVE} kept ones. Every reply is checked.",
        args.rate
    ));
    let traffic = load(&context, &cluster, args).await?;

    shell.say("The second version beside it. The smoke stage follows by itself, the active stage stays.");
    shell.run("apply -f v2.yaml --wait").await?;
    shell.expect(&format!("query {NAME} --stage active"), "frontend:v1 - backend:v1").await?;
    shell.expect(&format!("query {NAME} --stage smoke"), "frontend:v2 - backend:v2").await?;

    shell.say("The active stage moves pod by pod. In the middle of it we change our mind: one write takes it back.");
    shell.run(&format!("promote {NAME}")).await?;
    moved(&context, &cluster, 2).await?;
    shell.run(&format!("status {NAME}")).await?;
    shell.run(&format!("rollback {NAME} --wait")).await?;
    shell.expect(&format!("query {NAME}"), "frontend:v1 - backend:v1").await?;

    shell.say("And now all the way.");
    shell.run(&format!("promote {NAME} --wait")).await?;
    shell.expect(&format!("query {NAME}"), "frontend:v2 - backend:v2").await?;

    shell.say(&format!(
        "No stage points at v1 any more. After {} s it retires by itself, frontends before backends.",
        SETTLE.as_secs()
    ));
    let active = retired(&context, &cluster).await?;
    shell.run(&format!("history {NAME}")).await?;
    shell.run(&format!("status {NAME}")).await?;

    shell.say("What the clients saw of all this:");
    let report = traffic.stop().await;
    shell.show(&report);
    let pods_started = pods.stop();

    if !args.keep {
        shell.say("Clean up: nothing is left.");
        shell.run(&format!("delete {NAME} --wait")).await?;
    }
    Ok(Outcome { report, active, pods_started })
}

/// The load: on the active stage, through the way a client on this machine has.
async fn load(context: &Context, cluster: &Cluster, args: &Args) -> Result<Traffic> {
    let rainbow = cluster.rainbow(NAME).await?;
    let reached = reach::stage(context, cluster, &rainbow, "active", "/").await?;
    let pattern: Pattern = "frontend:{v} - backend:{v}".parse().map_err(|error| Error::failed("the pattern", error))?;
    traffic::raise_file_limit();
    let mut load = Load::new(reached.target);
    load.rate = args.rate;
    load.keep_alive = KEEP_ALIVE;
    load.pause = Duration::from_millis(50);
    load.max_age = Some(MAX_AGE);
    load.check = Some(Arc::new(move |reply| pattern.judge(reply)));
    Ok(Traffic::start(load))
}

/// Waits until so many pods of the new version serve.
async fn moved(context: &Context, cluster: &Cluster, pods: i32) -> Result {
    wait::until(context, cluster, NAME, PATIENCE, |_, view| {
        let stage = view.stages.iter().find(|stage| stage.name == "active");
        match stage.and_then(|stage| stage.shift.as_ref()) {
            Some(shift) if shift.moved >= pods => Progress::Done,
            Some(shift) => {
                Progress::Waiting(format!("active: {} → {} {}/{}", shift.from, shift.to, shift.moved, shift.of))
            }
            // So fast a shift has been through the middle already.
            None if stage.is_some_and(|stage| stage.color.as_deref() == Some("v2")) => Progress::Done,
            None => Progress::Waiting("active: about to move".into()),
        }
    })
    .await
}

/// Waits until v1 has no pods, and tells what the active stage serves then.
async fn retired(context: &Context, cluster: &Cluster) -> Result<String> {
    let mut active = String::new();
    wait::until(context, cluster, NAME, PATIENCE, |_, view| {
        let stage = view.stages.iter().find(|stage| stage.name == "active");
        active = stage.and_then(|stage| stage.color.clone()).unwrap_or_default();
        let Some(color) = view.color("v1") else { return Progress::Done };
        let pods: usize = color.tiers.iter().map(|tier| tier.pods.len()).sum();
        match color.phase {
            Some(ColorPhase::Retired) if pods == 0 => Progress::Done,
            Some(ColorPhase::Draining) if pods == PODS => Progress::Waiting("v1: drains".into()),
            _ => Progress::Waiting("v1: its pods end".into()),
        }
    })
    .await?;
    Ok(active)
}
