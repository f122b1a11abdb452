//! Explanation of why an application does not move, or is not ready: stage by stage, color by color, pod by pod.

use jiff::Timestamp;
use rainbow_api::{ColorPhase, Rainbow};
use serde::Serialize;

use super::{
    pods::{self, PodWhy},
    stage::{self, StageWhy},
    unready,
};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    observe::Observer,
    output::{self, Format},
    paint::Painted,
    printer::{BUSY, DIM, GOOD, NAME},
    tree,
    view::{ColorView, State, View},
    words,
};

/// Number of pods of one tier that are shown: they usually have the same cause.
const SHOWN: usize = 5;

/// Explanation of an application's state.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AppWhy {
    rainbow: String,
    state: State,
    message: Option<String>,
    stages: Vec<StageWhy>,
    /// Colors that are not ready and should be.
    colors: Vec<ColorWhy>,
    /// Pods that are not ready and should be.
    pods: Vec<PodWhy>,
}

/// Color that is not ready.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ColorWhy {
    color: String,
    phase: Option<ColorPhase>,
    ready: i32,
    wanted: i32,
    message: Option<String>,
    since: Option<String>,
}

pub(super) async fn run(context: &Context, cluster: &Cluster, name: &str, output: Option<Format>) -> Result {
    let observer = Observer::start(cluster, name).await?;
    let world = observer.world().ok_or_else(|| Error::NotFound(format!("rainbow `{name}` was deleted")))?;
    let events = unready::events(cluster).await;
    let now = Timestamp::now();
    let pods = pods::explain(&world.pods, events, now);
    let why = why(&world.rainbow, &View::new(&world), pods, now);
    let names = why.pods.iter().map(|pod| pod.pod.clone());
    if !output::print(context.printer, output, &why, names)? {
        context.printer.sentences(&draw(&why, output == Some(Format::Wide), now));
    }
    Ok(())
}

fn why(rainbow: &Rainbow, view: &View, pods: Vec<PodWhy>, now: Timestamp) -> AppWhy {
    AppWhy {
        rainbow: view.name.clone(),
        state: view.state,
        message: view.message.clone(),
        stages: rainbow.spec.stages.iter().map(|stage| stage::explain(rainbow, stage, view, now)).collect(),
        colors: view.colors.iter().filter_map(color).collect(),
        pods,
    }
}

fn color(color: &ColorView) -> Option<ColorWhy> {
    let starts = matches!(color.phase, None | Some(ColorPhase::Starting | ColorPhase::Stalled));
    let (ready, wanted) = color.pods();
    (starts && !color.deleting).then(|| ColorWhy {
        color: color.name.clone(),
        phase: color.phase,
        ready,
        wanted,
        message: color.message.clone(),
        since: color.created.clone(),
    })
}

fn draw(why: &AppWhy, wide: bool, now: Timestamp) -> String {
    let (style, word) = tree::state_word(why.state);
    let message = why.message.as_ref().map(|message| words::aged(message, now)).unwrap_or_default();
    let message = if message.is_empty() { message } else { format!(": {message}") };
    let mut text = format!("{NAME}{}{NAME:#}  {style}{word}{style:#}{message}\n", why.rainbow);
    let age = |since: &Option<String>| since.as_deref().and_then(|time| words::age(time, now));
    let for_age = |since: &Option<String>| age(since).map(|age| format!(" for {age}")).unwrap_or_default();
    for stage in &why.stages {
        let StageWhy { stage: name, does, since, waits, ends } = stage;
        text.push_str(&format!("stage {NAME}{name}{NAME:#} {does}{}\n", for_age(since)));
        text.extend(waits.iter().map(|wait| format!("  {BUSY}waits for{BUSY:#} {wait}\n")));
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        if !ends.is_empty() {
            text.push_str(&format!("  {GOOD}what ends it:{GOOD:#} {}\n", ends.join("; ")));
        }
    }
    for color in &why.colors {
        let message = color.message.as_ref().map(|message| format!(": {}", words::aged(message, now)));
        let ColorWhy { color: name, ready, wanted, since, .. } = color;
        let age = age(since).map(|age| format!(", made {age} ago")).unwrap_or_default();
        let message = message.unwrap_or_default();
        text.push_str(&format!("color {} has {ready} of {wanted} pods ready{age}{message}\n", Painted(name)));
    }
    let mut shown = 0;
    let mut before = None;
    for pod in &why.pods {
        let group = (&pod.tier, &pod.color);
        shown = if before == Some(group) { shown + 1 } else { 1 };
        before = Some(group);
        if shown <= SHOWN || wide {
            let PodWhy { pod: name, tier, color, reasons, since } = pod;
            let reasons = reasons.join("; ");
            let color = Painted(color);
            text.push_str(&format!("pod {NAME}{name}{NAME:#}  {tier} of {color}{}: {reasons}\n", for_age(since)));
        }
        let last = why.pods.iter().rfind(|other| (&other.tier, &other.color) == group);
        if last.is_some_and(|last| last == pod) && shown > SHOWN && !wide {
            text.push_str(&format!("  {DIM}{} more of them: -o wide shows all{DIM:#}\n", shown - SHOWN));
        }
    }
    let waits = why.stages.iter().any(|stage| !stage.waits.is_empty());
    if why.state == State::Ready && !waits && why.colors.is_empty() && why.pods.is_empty() {
        text.push_str("nothing is in the way: everything is as the spec says\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{golden, tree::tests::world};
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T00:02:30Z";

    fn drawn(change: impl FnOnce(&mut crate::view::World), pods: Vec<PodWhy>) -> String {
        let mut world = world(json!(null));
        world.rainbow.spec.stages = serde_json::from_value(json!([
            { "name": "smoke", "promote": "Auto" },
            { "name": "active", "shift": { "rolling": { "step": 1, "every": "30s" } } },
        ]))
        .unwrap();
        change(&mut world);
        let now = NOW.parse().unwrap();
        draw(&why(&world.rainbow, &View::new(&world), pods, now), false, now)
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn status(world: &mut crate::view::World) -> &mut rainbow_api::StageStatus {
        &mut world.rainbow.status.as_mut().unwrap().stages[1]
    }

    fn shift(phase: &str, next: Value) -> Option<rainbow_api::ShiftStatus> {
        serde_json::from_value(json!({
            "from": "v1", "to": "v2", "phase": phase, "moved": 1, "of": 2, "startedAt": "2026-01-01T00:01:00Z",
            "nextStepAt": next, "pausedSince": (phase == "Paused").then_some("2026-01-01T00:02:00Z"),
        }))
        .unwrap()
    }

    #[test]
    fn an_application_that_moves_and_lacks_pods() {
        let pod = |name: &str, reason: &str| PodWhy {
            pod: name.into(),
            tier: "backend".into(),
            color: "v2".into(),
            reasons: vec![reason.into()],
            since: Some("2026-01-01T00:00:30Z".into()),
        };
        let crash = "container `backend`: CrashLoopBackOff; it ended with exit code 1: cannot reach the database at db:5432, 3 restarts";
        let text = drawn(
            |world| {
                status(world).shift = shift("Shifting", json!("2026-01-01T00:02:42Z"));
                world.colors[2].status.as_mut().unwrap().phase = Some(ColorPhase::Starting);
            },
            (0..7).map(|number| pod(&format!("backend-v2-{number}"), crash)).collect(),
        );
        golden::check_with("why-shift", |room| room.wrap(&text));
    }

    #[test]
    fn what_stops_a_stage_is_named_with_its_remedy() {
        let paused = drawn(
            |world| {
                status(world).shift = shift("Paused", json!(null));
                let hold = json!([{ "stage": "active", "paused": true, "by": "ann", "since": "2026-01-01T00:02:00Z" }]);
                world.rainbow.spec.holds = serde_json::from_value(hold).unwrap();
            },
            Vec::new(),
        );
        golden::check_with("why-paused", |room| room.wrap(&paused));
        let held = drawn(
            |world| {
                let hold =
                    json!([{ "stage": "active", "color": "v1", "revision": 2, "since": "2026-01-01T00:02:00Z" }]);
                world.rainbow.spec.holds = serde_json::from_value(hold).unwrap();
            },
            Vec::new(),
        );
        let said = "waits for its user: it is held at v1, to which it was taken back for 30s\n  \
                    what ends it: a later release; `rainbow promote shop --stage active` moves it on\n";
        assert!(plain(&held).contains(said), "{held}");
        let rejected = drawn(|world| status(world).rejected = Some("v2".into()), Vec::new());
        assert!(plain(&rejected).contains("waits for another version: it was taken back from v2"), "{rejected}");
        let degraded = drawn(
            |world| {
                *status(world) = serde_json::from_value(json!({
                    "name": "active", "service": "s", "color": "v1", "target": "v1", "previous": "v0",
                    "degradedSince": "2026-01-01T00:02:00Z",
                }))
                .unwrap();
            },
            Vec::new(),
        );
        let said = "waits for v1 to be healthy: it has lacked pods for 30s\n  what ends it: `rainbow rollback shop --stage active` goes \
                    back to v0\n";
        assert!(plain(&degraded).contains(said), "{degraded}");
    }

    #[test]
    fn steps_and_gates_are_explained() {
        let at_step = |step: i32, world: &mut crate::view::World| {
            world.rainbow.spec = crate::gates::tests::at_step(step, json!([])).spec;
            status(world).shift = shift("Shifting", json!(null)).map(|shift| rainbow_api::ShiftStatus {
                step: Some(step),
                steps: Some(5),
                step_since: Some("2026-01-01T00:01:30Z".into()),
                ..shift
            });
        };
        let paused = drawn(|world| at_step(2, world), Vec::new());
        let said = "waits for its user: step 2 on the way to v2, a pause that shift.steps asks for (no hold)\n  what ends it: \
                    `rainbow resume shop --stage active` lets it go on; `rainbow abort shop --stage active` goes back\n";
        assert!(plain(&paused).contains(said), "{paused}");
        let gates = drawn(
            |world| {
                at_step(3, world);
                let mut errors = crate::gates::tests::gate("errors", "Step", "NoData", 1);
                errors["message"] = json!("the query finds no series since 2026-01-01T00:02:00Z");
                let release = crate::gates::tests::gate("release", "Step", "Running", 0);
                status(world).gates = serde_json::from_value(json!([errors, release])).unwrap();
            },
            Vec::new(),
        );
        golden::check_with("why-gates", |room| room.wrap(&gates));
        let rejected = drawn(
            |world| {
                (status(world).rejected, status(world).rejected_by) = (Some("v2".into()), Some("errors".into()));
            },
            Vec::new(),
        );
        let said = "waits for another version: v2 failed gate errors\n  what ends it: a release of another color; `rainbow promote \
                    shop --stage active --to v2 --skip-gate errors --reason …` takes it all the same\n";
        assert!(plain(&rejected).contains(said), "{rejected}");
    }

    #[test]
    fn a_status_that_is_older_than_the_spec_says_so() {
        let text = drawn(|world| world.rainbow.metadata.generation = Some(4), Vec::new());
        assert!(plain(&text).starts_with("shop  Not seen by the operator yet: "), "{text}");
        assert_eq!(text.matches("the operator to see the last change").count(), 2, "{text}");
    }

    #[test]
    fn where_all_is_well_nothing_is_waited_for() {
        let text = drawn(
            |world| {
                status(world).target = Some("v1".into());
                let condition = json!([{
                    "type": "Ready", "status": "True", "reason": "Settled", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]);
                world.rainbow.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
            },
            Vec::new(),
        );
        assert!(text.ends_with("nothing is in the way: everything is as the spec says\n"), "{text}");
        assert!(!text.contains("waits for"), "{text}");
    }
}
