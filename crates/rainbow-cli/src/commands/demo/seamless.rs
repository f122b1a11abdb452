//! Story of two tiers, two versions and one upgrade under load, with every reply checked.

use rainbow_api::{ColorPhase, HumanDuration};
use traffic::{Compatible, Report};

use super::{
    cluster_of_its_own,
    example::{self, Args, KEEP_ALIVE, Manifest, NAME, SETTLE},
    play,
    pods::StartedPods,
    shell::Shell,
};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    wait::{self, Progress},
};

/// Number of pods of one version, of both tiers.
const PODS: usize = 2 * example::PODS;
/// Longest time for any single step to take effect.
const PATIENCE: HumanDuration = HumanDuration::from_secs(120);

const MANIFESTS: [Manifest; 2] = [
    Manifest { name: "v1.yaml", text: include_str!("../../../../../examples/seamless/v1.yaml") },
    Manifest { name: "v2.yaml", text: include_str!("../../../../../examples/seamless/v2.yaml") },
];

/// Observations at the end of the story.
struct Outcome {
    report: Report,
    active: String,
    pods_started: usize,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let files = example::write(&args, &MANIFESTS, SETTLE)?;
    let shell = Shell::new(context.printer, files.path())?;
    let keep = args.keep;
    play(context, shell, files, keep, async |shell| judge(walk(context, &args, shell).await?)).await
}

/// Returns the figures of a demo that has shown what it claims, or fails with the first promise that is broken.
fn judge(Outcome { report, active, pods_started }: Outcome) -> Result<String> {
    let figures = format!(
        "requests={} failed={} mixed={} active={active} pods_started={pods_started}",
        report.requests, report.failed, report.mixed
    );
    let versions =
        report.replies.keys().filter(|reply| ["v1", "v2"].iter().any(|version| reply.ends_with(version))).count();
    let why = if let Some(trouble) = example::trouble(&report) {
        trouble
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
        example::images(shell, tier, &["v1", "v2"]).await?;
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
    let traffic = example::load(&context, &cluster, "active", args.rate, Compatible::Same).await?;

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
    let pods_started = pods.so_far();

    if !args.keep {
        shell.say("Clean up: nothing is left.");
        shell.run(&format!("delete {NAME} --wait")).await?;
    }
    Ok(Outcome { report, active, pods_started })
}

/// Waits until the given number of pods of the new version serve.
async fn moved(context: &Context, cluster: &Cluster, pods: i32) -> Result {
    wait::until(context, cluster, NAME, PATIENCE, |_, view| {
        let stage = view.stages.iter().find(|stage| stage.name == "active");
        match stage.and_then(|stage| stage.shift.as_ref()) {
            Some(shift) if shift.moved >= pods => Progress::Done,
            Some(shift) => {
                Progress::Waiting(format!("active: {} → {} {}/{}", shift.from, shift.to, shift.moved, shift.of))
            }
            // A fast shift may have passed the middle before the first look.
            None if stage.is_some_and(|stage| stage.color.as_deref() == Some("v2")) => Progress::Done,
            None => Progress::Waiting("active: about to move".into()),
        }
    })
    .await
}

/// Waits until v1 has no pods, and returns the color that the active stage serves then.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_valid_and_differ_as_they_should() {
        let [one, two] = MANIFESTS.map(|manifest| example::tests::spec(&manifest));
        assert_eq!((one.color.as_deref(), two.color.as_deref()), (Some("v1"), Some("v2")));
        assert_eq!(one.stages, two.stages);
    }
}
