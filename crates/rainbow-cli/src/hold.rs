//! Holds of stages: `rollback`, `abort` and `pause` write them, and `promote` and `resume` lift them. Holds are a list of their own in the spec,
//! so that a manifest that is applied again leaves them as they are.

use std::env;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, api::PostParams};
use rainbow_api::{Color, Hold, Passed, PassedStep, Rainbow};
use serde_json::json;

use crate::{context::Cluster, patch::Change};

/// Returns the user who runs this command, as the cluster names them; where the cluster gives no name, as this machine does.
pub(crate) async fn author(cluster: &Cluster) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let known = review.ok().and_then(|review| review.status?.user_info?.username);
    known.or_else(|| env::var("USER").ok()).filter(|name| !name.is_empty())
}

/// Returns the hold of a stage at a color, from now on.
pub(crate) fn at(rainbow: &Rainbow, stage: &str, color: &str, colors: &[Color], by: Option<String>) -> Hold {
    let mut newest = colors.iter().map(|color| color.spec.revision).max();
    // A color that the spec describes exists for its user, even before the operator has made it.
    let is_made = |name: &String| colors.iter().any(|color| color.spec.color == *name);
    if rainbow.spec.color.as_ref().is_some_and(|name| !is_made(name)) {
        newest = newest.map(|revision| revision.saturating_add(1));
    }
    Hold {
        color: Some(color.to_owned()),
        revision: newest,
        by,
        since: Some(now()),
        ..rainbow.spec.hold(stage).cloned().unwrap_or_else(|| Hold { stage: stage.to_owned(), ..Hold::default() })
    }
}

/// Returns the pause of a stage, from now on. A color that the stage is held at stays.
pub(crate) fn paused(rainbow: &Rainbow, stage: &str, by: Option<String>) -> Hold {
    match rainbow.spec.hold(stage) {
        Some(hold) => Hold { paused: true, ..hold.clone() },
        None => Hold { stage: stage.to_owned(), paused: true, by, since: Some(now()), ..Hold::default() },
    }
}

/// Returns the rest of a hold when a part of it is lifted. `None`: neither a color nor a pause is left.
pub(crate) fn lifted(hold: Option<&Hold>, lift: Lift) -> Option<Hold> {
    let mut hold = hold?.clone();
    match lift {
        Lift::Color => (hold.color, hold.revision) = (None, None),
        Lift::Pause => hold.paused = false,
    }
    (hold.color.is_some() || hold.paused).then_some(hold)
}

/// Part of a hold that is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lift {
    Color,
    Pause,
}

/// Writes the hold of a stage, or removes it. The patch fails unless the spec is as it was read, because the list is written as a whole.
pub(crate) fn write(change: &mut Change, rainbow: &Rainbow, stage: &str, hold: Option<Hold>) {
    if rainbow.spec.hold(stage) == hold.as_ref() {
        return;
    }
    let mut holds: Vec<Hold> = rainbow.spec.holds.iter().filter(|known| known.stage != stage).cloned().collect();
    holds.extend(hold);
    // The resource version changes with each status update, the generation with the spec alone.
    change.test(&["metadata", "generation"], rainbow.metadata.generation.unwrap_or_default());
    match holds.is_empty() {
        true => change.remove(&["spec", "holds"]),
        false => change.set(&["spec", "holds"], json!(holds)),
    }
}

/// Lets a stage continue after the given tiers. The patch fails unless the spec is as it was read, because the list is written as a whole. Steps
/// of the stage with other colors are dropped, because they have no effect any more.
pub(crate) fn pass(change: &mut Change, rainbow: &Rainbow, steps: Vec<Passed>, by: Option<&String>) {
    let Some(first) = steps.first() else { return };
    let stays = |known: &&Passed| known.stage != first.stage || known.color == first.color;
    let mut passed: Vec<Passed> = rainbow.spec.passed.iter().filter(stays).cloned().collect();
    passed.extend(steps.into_iter().map(|step| Passed { by: by.cloned(), at: Some(now()), ..step }));
    change.test(&["metadata", "generation"], rainbow.metadata.generation.unwrap_or_default());
    change.set(&["spec", "passed"], json!(passed));
}

/// Lets a stage continue after a step of its shift. The patch fails unless the spec is as it was read, because the list is written as a whole.
/// Steps of the stage in other shifts are dropped, because they have no effect any more.
pub(crate) fn pass_step(change: &mut Change, rainbow: &Rainbow, step: PassedStep, by: Option<&String>) {
    let stays = |known: &&PassedStep| known.stage != step.stage || known.shift == step.shift && known.step != step.step;
    let mut passed: Vec<PassedStep> = rainbow.spec.passed_steps.iter().filter(stays).cloned().collect();
    passed.push(PassedStep { by: by.cloned(), at: Some(now()), ..step });
    change.test(&["metadata", "generation"], rainbow.metadata.generation.unwrap_or_default());
    change.set(&["spec", "passedSteps"], json!(passed));
}

/// Returns the color that a stage is held at, unless a later color has ended the hold.
pub(crate) fn color<'a>(rainbow: &'a Rainbow, stage: &str) -> Option<&'a str> {
    let hold = rainbow.spec.hold(stage)?;
    let status = rainbow.status.as_ref().and_then(|status| status.stages.iter().find(|known| known.name == stage));
    let ended = status.and_then(|status| status.ended_hold.as_ref());
    hold.color.as_deref().filter(|_| ended != Some(&hold.id()))
}

/// Returns the current time, in whole seconds.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    let whole = jiff::TimestampRound::new().smallest(jiff::Unit::Second).mode(jiff::RoundMode::Trunc);
    now.round(whole).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rainbow(holds: serde_json::Value) -> Rainbow {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop", "generation": 7 },
            "spec": { "color": "v3", "tiers": [], "stages": [{ "name": "smoke" }, { "name": "active" }], "holds": holds },
        }))
        .unwrap()
    }

    fn color_of(name: &str, revision: i64) -> Color {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color", "metadata": { "name": name },
            "spec": { "rainbow": "shop", "color": name, "revision": revision, "tiers": [], "instances": [] },
        }))
        .unwrap()
    }

    #[test]
    fn a_hold_knows_what_it_is_about() {
        let rainbow = rainbow(json!([]));
        let hold = at(&rainbow, "active", "v1", &[color_of("v1", 1), color_of("v3", 3)], Some("ann".into()));
        assert_eq!((hold.color.as_deref(), hold.revision, hold.by.as_deref()), (Some("v1"), Some(3), Some("ann")));
        assert!(hold.since.is_some_and(|since| since.len() == "2026-11-30T19:00:00Z".len()));
        // v3 is applied and not made yet: the rollback takes v3 back.
        assert_eq!(at(&rainbow, "active", "v1", &[color_of("v1", 1)], None).revision, Some(2));
    }

    #[test]
    fn other_holds_stay() {
        let rainbow = rainbow(
            json!([{ "stage": "smoke", "paused": true }, { "stage": "active", "color": "v1", "paused": true }]),
        );
        let written = |hold: Option<Hold>| {
            let mut change = Change::default();
            write(&mut change, &rainbow, "active", hold);
            serde_json::to_value(change.operations()).unwrap()
        };
        let test = json!({ "op": "test", "path": "/metadata/generation", "value": 7 });
        let smoke = json!({ "stage": "smoke", "paused": true });
        assert_eq!(written(None), json!([test, { "op": "add", "path": "/spec/holds", "value": [smoke] }]));
        let hold = rainbow.spec.hold("active");
        assert_eq!(written(hold.cloned()), json!([]), "nothing to write");
        let paused = json!({ "stage": "active", "paused": true });
        assert_eq!(
            written(lifted(hold, Lift::Color)),
            json!([test, { "op": "add", "path": "/spec/holds", "value": [smoke, paused] }])
        );
        let color = lifted(hold, Lift::Pause);
        assert_eq!(color.as_ref().and_then(|hold| hold.color.as_deref()), Some("v1"));
        assert_eq!(lifted(color.as_ref(), Lift::Color), None);
    }

    #[test]
    fn the_last_one_takes_the_list_with_it() {
        let rainbow = rainbow(json!([{ "stage": "active", "color": "v1" }]));
        let mut change = Change::default();
        write(&mut change, &rainbow, "active", None);
        assert_eq!(
            serde_json::to_value(change.operations()).unwrap()[1],
            json!({ "op": "remove", "path": "/spec/holds" })
        );
    }

    #[test]
    fn a_later_color_has_ended_it() {
        let mut rainbow = rainbow(json!([{ "stage": "active", "color": "v1", "since": "then" }]));
        assert_eq!(color(&rainbow, "active"), Some("v1"));
        rainbow.status =
            serde_json::from_value(json!({ "stages": [{ "name": "active", "service": "s", "endedHold": "v1@then" }] }))
                .unwrap();
        assert_eq!(color(&rainbow, "active"), None);
    }
}
