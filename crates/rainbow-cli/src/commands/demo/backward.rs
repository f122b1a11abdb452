//! Story of two tiers of which the inner one may be newer: three versions, each tier by tier and under load, with every reply checked.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use rainbow_api::{ColorPhase, HumanDuration, StageStatus, labels};
use traffic::{Compatible, Report};

use super::{
    cluster_of_its_own,
    example::{self, Args, KEEP_ALIVE, Manifest, NAME, PODS},
    play,
    pods::StartedPods,
    shell::Shell,
};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    wait::{self, Progress},
};

/// Requests to the smoke stage where it is tested, each on a connection of its own.
const TESTS: usize = 5;
/// Time for which a color stays warm: longer than the story takes from the end of a release to the command that takes the release back, because
/// the way back must start no pod.
const WARM: Duration = Duration::from_secs(20);
/// Longest time for any single step to take effect.
const PATIENCE: HumanDuration = HumanDuration::from_secs(180);
/// Pods of the first and of the second version each: the backend, the frontend of the active stage, and one frontend of the smoke stage.
const PODS_OF_BOTH: usize = 2 * PODS + 1;

const MANIFESTS: [Manifest; 3] = [
    Manifest { name: "v1.yaml", text: include_str!("../../../../../examples/seamless/backward.yaml") },
    Manifest { name: "v2.yaml", text: include_str!("../../../../../examples/seamless/backward-v2.yaml") },
    Manifest { name: "v3.yaml", text: include_str!("../../../../../examples/seamless/backward-v3.yaml") },
];

/// Observations until the end of the story.
struct Outcome {
    active: Report,
    smoke: Report,
    /// Pods that the first version, the second, the third and the way back started.
    started: [usize; 4],
    /// Whether the frontends of the active stage were the same pods from the second version on.
    is_same_frontends: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Result {
    let files = example::write(&args, &MANIFESTS, WARM)?;
    let shell = Shell::new(context.printer, files.path())?;
    let keep = args.keep;
    play(context, shell, files, keep, async |shell| judge(walk(context, &args, shell).await?)).await
}

/// Returns the figures of a story that has shown what it claims, or fails with the first promise that is broken.
fn judge(Outcome { active, smoke, started, is_same_frontends }: Outcome) -> Result<String> {
    let sum = |of: fn(&Report) -> u64| of(&active) + of(&smoke);
    let figures = format!(
        "requests={} failed={} mixed={} compatible={} pods_started={}",
        sum(|report| report.requests),
        sum(|report| report.failed),
        sum(|report| report.mixed),
        sum(|report| report.compatible),
        started.iter().sum::<usize>()
    );
    let unseen = [
        "frontend:v1 - backend:v1",
        "frontend:v1 - backend:v2",
        "frontend:v2 - backend:v2",
        "frontend:v2 - backend:v3",
    ];
    let unseen = unseen.into_iter().find(|reply| !active.replies.contains_key(*reply));
    let why = if let Some(trouble) = example::trouble(&active) {
        format!("active: {trouble}")
    } else if let Some(trouble) = example::trouble(&smoke) {
        format!("smoke: {trouble}")
    } else if let Some(reply) = unseen {
        format!("the load on the active stage did not see `{reply}`")
    } else if !is_same_frontends {
        "a release of the backend alone, or its way back, replaced frontends of the active stage".to_owned()
    } else if started != [PODS_OF_BOTH, PODS_OF_BOTH, PODS, 0] {
        format!(
            "the versions started {started:?} pods instead of {PODS_OF_BOTH} for v1, {PODS_OF_BOTH} for v2, {PODS} for v3 and none for the way back"
        )
    } else {
        return Ok(figures);
    };
    Err(Error::Failed(format!("{figures}: {why}")))
}

async fn walk(context: &Context, args: &Args, shell: &Shell) -> Result<Outcome> {
    let (context, cluster) = cluster_of_its_own(context, shell).await?;
    let story = Story { context: &context, cluster: &cluster, shell };

    shell.say("Images: the backend in three versions, the frontend in two, built without Docker.");
    example::images(shell, "backend", &["v1", "v2", "v3"]).await?;
    example::images(shell, "frontend", &["v1", "v2"]).await?;

    shell.say("The first version. The stages share the backend's pods; each has frontends of its own, whose backend is the stage's.");
    let pods = StartedPods::count(&cluster, NAME);
    shell.run("apply -f v1.yaml").await?;
    story.moved("smoke", "v1").await?;
    story.moved("active", "v1").await?;
    story.ready("v1").await?;
    story.answers("active", "frontend:v1 - backend:v1").await?;
    story.answers("smoke", "frontend:v1 - backend:v1").await?;
    let by_first = pods.so_far();

    shell.say(&format!(
        "From here on clients call it: {} new connections a second and {KEEP_ALIVE} kept ones to the active stage, a tenth to the smoke stage. \
         Every reply is checked.",
        args.rate
    ));
    let active = example::load(&context, &cluster, "active", args.rate, Compatible::Backward).await?;
    let smoke = example::load(&context, &cluster, "smoke", args.rate / 10.0, Compatible::Backward).await?;

    shell.say(
        "The second version. In the smoke stage its backend comes first, serves the frontend of v1, and is tested so.",
    );
    shell.run("apply -f v2.yaml").await?;
    story.tier_moved("smoke", "backend", "v2").await?;
    story.answers("smoke", "frontend:v1 - backend:v2").await?;
    story.answers("active", "frontend:v1 - backend:v1").await?;
    shell.run(&format!("status {NAME}")).await?;

    shell.say("The test is passed: the frontend follows, and is tested as well. The active stage stays.");
    shell.run(&format!("resume {NAME} --stage smoke")).await?;
    story.moved("smoke", "v2").await?;
    story.answers("smoke", "frontend:v2 - backend:v2").await?;
    story.answers("active", "frontend:v1 - backend:v1").await?;

    shell.say(
        "The same in the active stage: pod by pod the backend, with the very pods that were tested; then the frontend.",
    );
    shell.run(&format!("promote {NAME}")).await?;
    story.tier_moved("active", "backend", "v2").await?;
    shell.run(&format!("status {NAME}")).await?;
    story.moved("active", "v2").await?;
    story.answers("active", "frontend:v2 - backend:v2").await?;

    shell.say("No stage points at v1 any more. It leaves by itself.");
    story.retired("v1").await?;
    let by_second = pods.so_far() - by_first;
    let frontends = story.frontends().await?;

    shell.say("The third version is one of the backend alone. It starts the backend's pods and no other.");
    shell.run("apply -f v3.yaml").await?;
    story.tier_moved("smoke", "backend", "v3").await?;
    story.answers("smoke", "frontend:v2 - backend:v3").await?;
    story.answers("active", "frontend:v2 - backend:v2").await?;
    shell.run(&format!("promote {NAME}")).await?;
    story.moved("active", "v3").await?;
    story.answers("active", "frontend:v2 - backend:v3").await?;
    let by_third = pods.so_far() - by_first - by_second;
    let is_kept = story.frontends().await? == frontends;
    shell.answer(&format!("{by_third} pods were started; the frontends of the active stage are {}", kept(is_kept)));

    shell.say("We change our mind: back to v2, in one write. Its backend's pods are still there.");
    shell.run(&format!("rollback {NAME}")).await?;
    story.moved("active", "v2").await?;
    story.answers("active", "frontend:v2 - backend:v2").await?;
    let by_way_back = pods.so_far() - by_first - by_second - by_third;
    let is_kept_again = story.frontends().await? == frontends;
    shell.answer(&format!(
        "{by_way_back} pods were started; the frontends of the active stage are {}",
        kept(is_kept_again)
    ));
    shell.run(&format!("history {NAME}")).await?;
    shell.run(&format!("status {NAME}")).await?;

    shell.say("What the clients of the active stage saw of all this:");
    let active = active.stop().await;
    shell.show(&active);
    shell.say("And those of the smoke stage:");
    let smoke = smoke.stop().await;
    shell.show(&smoke);

    if !args.keep {
        shell.say("Clean up: nothing is left.");
        shell.run(&format!("delete {NAME} --wait")).await?;
    }
    let started = [by_first, by_second, by_third, by_way_back];
    Ok(Outcome { active, smoke, started, is_same_frontends: is_kept && is_kept_again })
}

fn kept(is_kept: bool) -> &'static str {
    match is_kept {
        true => "the same pods as before",
        false => "other pods than before",
    }
}

/// Steps of the story.
struct Story<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    shell: &'a Shell,
}

impl Story<'_> {
    /// Sends test requests to a stage, and fails unless every reply is the given one.
    async fn answers(&self, stage: &str, reply: &str) -> Result {
        let command = format!("query {NAME} --stage {stage} --count {TESTS}");
        let said = self.shell.run(&command).await?;
        match said.lines().count() == TESTS && said.lines().all(|line| line == reply) {
            true => Ok(()),
            false => Err(Error::Failed(format!("`rainbow {command}` said `{}` instead of `{reply}`", said.trim()))),
        }
    }

    /// Waits until the status of a stage passes a check.
    async fn until(&self, stage: &str, goal: &str, is_so: impl Fn(&StageStatus) -> bool) -> Result {
        wait::until(self.context, self.cluster, NAME, PATIENCE, |world, view| {
            let status = world.rainbow.status.as_ref();
            let seen = status.and_then(|status| status.stages.iter().find(|other| other.name == stage));
            let is_observed = status.and_then(|status| status.observed_generation) >= world.rainbow.metadata.generation;
            match seen {
                Some(seen) if is_observed && is_so(seen) => Progress::Done,
                Some(_) => Progress::Waiting(format!("{stage}: {}", view.message.as_deref().unwrap_or(goal))),
                None => Progress::Unseen,
            }
        })
        .await
    }

    /// Waits until a tier of a stage serves a color and no longer moves.
    async fn tier_moved(&self, stage: &str, tier: &str, color: &str) -> Result {
        self.until(stage, &format!("{tier} moves to {color}"), |seen| {
            let tier = seen.tiers.iter().find(|other| other.tier == tier);
            tier.is_some_and(|tier| tier.color.as_deref() == Some(color) && tier.shift.is_none())
        })
        .await
    }

    /// Waits until a stage serves a color in all tiers and no longer moves.
    async fn moved(&self, stage: &str, color: &str) -> Result {
        self.until(stage, &format!("moves to {color}"), |seen| {
            let is_there = seen.color.as_deref() == Some(color) && seen.shift.is_none();
            is_there && seen.tiers.iter().all(|tier| tier.color.as_deref() == Some(color) && tier.shift.is_none())
        })
        .await
    }

    /// Waits until all pods of a color are ready.
    async fn ready(&self, color: &str) -> Result {
        wait::until(self.context, self.cluster, NAME, PATIENCE, |_, view| {
            let Some(found) = view.color(color) else { return Progress::Unseen };
            match found.tiers.iter().all(|tier| tier.replicas > 0 && tier.ready >= tier.replicas) {
                true => Progress::Done,
                false => Progress::Waiting(format!("{color}: its pods start")),
            }
        })
        .await
    }

    /// Waits until a color has no pods.
    async fn retired(&self, color: &str) -> Result {
        wait::until(self.context, self.cluster, NAME, PATIENCE, |_, view| {
            let Some(color) = view.color(color) else { return Progress::Done };
            let pods: usize = color.tiers.iter().map(|tier| tier.pods.len()).sum();
            match color.phase {
                Some(ColorPhase::Retired) if pods == 0 => Progress::Done,
                _ => Progress::Waiting(format!("{}: drains, {pods} pods", color.name)),
            }
        })
        .await
    }

    /// Returns the UIDs of the frontends of the active stage.
    async fn frontends(&self) -> Result<BTreeSet<String>> {
        let labels = [(labels::RAINBOW, NAME), (labels::TIER, "frontend"), (labels::BELONGS_TO, "active")];
        let selector = labels.map(|(key, value)| format!("{key}={value}")).join(",");
        let pods = self.cluster.api::<Pod>().list(&ListParams::default().labels(&selector)).await;
        let pods = pods.map_err(|error| self.cluster.error(&error))?;
        Ok(pods.items.into_iter().filter_map(|pod| pod.metadata.uid).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffic::ReplyTally;

    #[test]
    fn the_manifests_are_valid_and_differ_as_they_should() {
        let [one, two, three] = MANIFESTS.map(|manifest| example::tests::spec(&manifest));
        let colors = [&one, &two, &three].map(|spec| spec.color.as_deref());
        assert_eq!(colors, [Some("v1"), Some("v2"), Some("v3")]);
        assert!(one.stages == two.stages && two.stages == three.stages);
        assert_eq!(rainbow_api::bound_tiers(&one.tiers).into_iter().collect::<Vec<_>>(), ["frontend"]);
        let same = |at: usize| two.tiers[at] == three.tiers[at];
        assert!(!same(0) && same(1), "the third version changes the backend alone");
    }

    #[test]
    fn the_story_fails_where_a_promise_is_broken() {
        let report = |replies: &[&str]| Report {
            requests: 10,
            compatible: 5,
            replies: replies.iter().map(|reply| ((*reply).to_owned(), ReplyTally::default())).collect(),
            ..Report::default()
        };
        let seen = [
            "frontend:v1 - backend:v1",
            "frontend:v1 - backend:v2",
            "frontend:v2 - backend:v2",
            "frontend:v2 - backend:v3",
        ];
        let good = || Outcome {
            active: report(&seen),
            smoke: report(&seen),
            started: [11, 11, 5, 0],
            is_same_frontends: true,
        };
        assert_eq!(judge(good()).unwrap(), "requests=20 failed=0 mixed=0 compatible=10 pods_started=27");
        let mixed = |of: Report| Report { mixed: 1, ..of };
        for (broken, why) in [
            (Outcome { active: mixed(report(&seen)), ..good() }, "active: replies mixed versions"),
            (Outcome { smoke: mixed(report(&seen)), ..good() }, "smoke: replies mixed versions"),
            (Outcome { smoke: Report { failed: 1, ..report(&seen) }, ..good() }, "smoke: requests failed"),
            (Outcome { active: report(&seen[..3]), ..good() }, "did not see `frontend:v2 - backend:v3`"),
            (Outcome { started: [11, 11, 10, 0], ..good() }, "[11, 11, 10, 0] pods"),
            (Outcome { is_same_frontends: false, ..good() }, "replaced frontends"),
        ] {
            let said = judge(broken).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
