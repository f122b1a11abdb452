//! Reasons that hold a color, and events that would free it, in sentences.

use jiff::Timestamp;
use rainbow_api::{ColorPhase, ConditionType, Deadline};
use rainbow_operator::count::{ASSOCIATIONS, NO_COUNTER};
use serde::Serialize;

use crate::{
    evidence::Evidence,
    hold, view,
    which::Found,
    words::{self, count},
};

/// Instance that several colors have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shared {
    pub(super) tier: String,
    /// Color that introduced the instance.
    pub(super) instance: String,
    /// Other colors that have the instance and are not retired.
    pub(super) with: Vec<String>,
}

/// Returns the instances that other living colors have, too.
pub(super) fn shared(found: &Found) -> Vec<Shared> {
    let retired = |name: &str| {
        let color = found.colors.iter().find(|color| color.spec.color == name);
        color.and_then(|color| color.status.as_ref()?.phase) == Some(ColorPhase::Retired)
    };
    let instances = found.color.spec.instances.iter().map(|instance| Shared {
        with: view::sharers(&found.colors, found.color(), &instance.tier, &instance.color)
            .into_iter()
            .filter(|other| !retired(other))
            .collect(),
        tier: instance.tier.clone(),
        instance: instance.color.clone(),
    });
    instances.filter(|shared| !shared.with.is_empty()).collect()
}

/// Returns the reasons that hold the color, and the events or commands that would free it.
pub(super) fn explain(found: &Found, evidence: &Evidence, now: Timestamp) -> (Vec<String>, Vec<String>) {
    let status = found.color.status.clone().unwrap_or_default();
    let (name, color) = (found.name(), found.color());
    if found.color.metadata.deletion_timestamp.is_some() {
        let stages: Vec<String> = found
            .stages()
            .iter()
            .map(|stage| format!("stage `{stage}` points at it; once none does, it is deleted"))
            .collect();
        let holds = match stages.is_empty() {
            true => vec!["it is being deleted: its pods end, entry tiers first".to_owned()],
            false => stages,
        };
        return (holds, frees_of_stages(found));
    }
    if status.phase == Some(ColorPhase::Retired) {
        let ago = status.retired_at.as_deref().and_then(|time| words::age(time, now));
        let ago = ago.map(|age| format!(" {age} ago")).unwrap_or_default();
        let history = found.rainbow.spec.keep.history;
        return (
            vec![format!(
                "nothing: it was retired{ago}, has no pods, and is kept as one of {history} for a quick return"
            )],
            Vec::new(),
        );
    }
    let mut holds: Vec<String> = found.stages().iter().map(|stage| points(found, stage)).collect();
    let in_stage = !holds.is_empty();
    if !in_stage && found.rainbow.status.as_ref().and_then(|status| status.color.as_deref()) == Some(color) {
        holds.push("it is the newest color".into());
    }
    holds.extend(connections(evidence));
    let conditions = found.color.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    holds.extend(ConditionType::HeldByOnePeer.find_true(conditions).map(|condition| condition.message.clone()));
    for shared in shared(found) {
        let with = shared.with.join(", ");
        holds.push(format!("its {} is that of {with} as well, and stays as long as one of them needs it", shared.tier));
    }
    if in_stage {
        return (holds, frees_of_stages(found));
    }
    if status.phase != Some(ColorPhase::Draining) {
        return (holds, vec!["a newer color, or `rainbow promote` and then another".into()]);
    }
    let settle = found.rainbow.spec.drain.settle;
    if holds.is_empty() {
        holds.push(match evidence.pods.is_empty() {
            true => format!("it has been in no stage for less than {settle}, or its pods are ending"),
            false => format!("its pods have had no connections for less than {settle}, or are ending"),
        });
    }
    let is_never_known = |why: Option<&str>| [Some(NO_COUNTER), Some(ASSOCIATIONS)].contains(&why);
    let never = evidence.pods.iter().all(|pod| is_never_known(pod.unknown.as_deref()));
    let mut frees = vec![match (evidence.pods.is_empty(), never) {
        (true, _) => format!("by itself: it goes when it has been in no stage for {settle}"),
        (false, true) => "not by itself: connections that the counter does not see, or of pods that were made without it, are never known".into(),
        (false, false) => format!("by itself: a pod goes when it has had no connections for {settle}"),
    }];
    if !evidence.pods.is_empty() {
        frees.push(deadline(found, now));
    }
    if ends_now(found, now) {
        return (holds, frees);
    }
    frees.push(match (evidence.connections(), evidence.fresh(), evidence.unknown()) {
        (0, 0, 0) => format!("sooner: `rainbow retire {name} {color}` does not keep it as a way back"),
        _ => format!("at once: `rainbow retire {name} {color} --force` ends its connections"),
    });
    (holds, frees)
}

/// Says that a stage points at the color: by itself, or because the stage was taken back to it.
fn points(found: &Found, stage: &str) -> String {
    let held = hold::color(&found.rainbow, stage) == Some(found.color());
    match found.rainbow.spec.hold(stage).filter(|_| held) {
        Some(hold) => format!("stage `{stage}` is held at it {}", hold.origin()).trim_end().to_owned(),
        None => format!("stage `{stage}` points at it"),
    }
}

fn connections(evidence: &Evidence) -> Vec<String> {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut holds = Vec::new();
    if evidence.connections() > 0 {
        let oldest = evidence.oldest().map(|age| format!(", the oldest {} old", words::seconds(age)));
        holds.push(format!(
            "{} on {}{}",
            count(evidence.connections(), "connection"),
            count(number(evidence.busy()), "pod"),
            oldest.unwrap_or_default()
        ));
    }
    if evidence.fresh() > 0 {
        let fresh = count(evidence.fresh(), "connection");
        holds.push(format!("{fresh} too new to be told from the node's probes: ask again"));
    }
    if evidence.unnamed() > 0 {
        let unnamed = count(evidence.unnamed(), "connection");
        holds.push(format!(
            "{unnamed} of peers that the counter does not name, so that drain.ignore cannot leave them out"
        ));
    }
    match evidence.unknown() {
        0 => {}
        1 => holds.push("1 pod whose connections cannot be read: it counts as busy".into()),
        unknown => holds.push(format!("{unknown} pods whose connections cannot be read: they count as busy")),
    }
    holds
}

fn frees_of_stages(found: &Found) -> Vec<String> {
    let (name, color) = (found.name(), found.color());
    let other = found.colors.iter().find(|other| other.spec.color != color);
    let other = other.map_or("COLOR", |other| other.spec.color.as_str());
    let command = |stage: &&str| {
        let follows = found
            .rainbow
            .spec
            .stages
            .iter()
            .any(|it| it.name == **stage && it.promote == rainbow_api::Promote::Auto && it.color.is_none());
        match follows {
            true => format!("a newer color, which stage `{stage}` follows by itself"),
            false => format!("`rainbow promote {name} --stage {stage} --to {other}`"),
        }
    };
    found.stages().iter().map(command).collect()
}

/// Returns whether the color's deadline has passed.
fn ends_now(found: &Found, now: Timestamp) -> bool {
    let reported = found.color.status.as_ref().and_then(|status| status.drain.as_ref()?.deadline.as_deref());
    let told = found.color.spec.drain.as_ref().and_then(|drain| drain.deadline) == Some(Deadline::Now);
    told || reported.and_then(|time| words::seconds_since(time, now)).is_some_and(|since| since >= 0)
}

fn deadline(found: &Found, now: Timestamp) -> String {
    let (name, color) = (found.name(), found.color());
    let moves = format!("`rainbow drain {name} {color} --deadline TIME` moves it");
    let status = found.color.status.as_ref();
    let reported = status.and_then(|status| status.drain.as_ref()?.deadline.as_deref());
    match reported.map(|time| (time, words::seconds_since(time, now))) {
        Some((time, Some(since))) if since < 0 => {
            format!("at the latest in {} ({time}): its deadline ends what is left; {moves}", words::seconds(-since))
        }
        Some(_) => "its deadline has passed: its pods end, with the time that each has for it".into(),
        None => match found.color.spec.drain.as_ref().and_then(|drain| drain.deadline) {
            Some(Deadline::Never) => format!("it has no deadline; {moves}"),
            Some(Deadline::Now) => "its deadline is now: its pods end, with the time that each has for it".into(),
            Some(Deadline::After(time)) => {
                format!("{time} after it left its last stage its deadline ends what is left; {moves}")
            }
            None => format!(
                "{} after it left its last stage its deadline ends what is left; {moves}",
                found.rainbow.spec.drain.deadline
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::PodEvidence;
    use serde_json::{Value, json};

    fn color(name: &str, revision: i64, instance: &str, status: Value) -> rainbow_api::Color {
        serde_json::from_value(json!({
            "metadata": { "name": format!("shop-{name}") },
            "spec": {
                "rainbow": "shop", "color": name, "revision": revision, "tiers": [],
                "instances": [{ "tier": "backend", "color": instance, "identity": "1" }],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn found(status: Value, active: &str) -> Found {
        let rainbow = serde_json::from_value(json!({
            "metadata": { "name": "shop" }, "spec": { "tiers": [], "stages": [{ "name": "active" }] },
            "status": { "color": "v2", "stages": [{ "name": "active", "service": "s", "color": active }] },
        }))
        .unwrap();
        let color = color("v1", 1, "v1", status);
        Found { rainbow, colors: vec![color.clone()], color }
    }

    fn explained(found: &Found) -> (Vec<String>, Vec<String>) {
        explain(found, &Evidence::default(), "2026-01-01T00:05:00Z".parse().unwrap())
    }

    #[test]
    fn a_stage_holds_it() {
        let mut serving = found(json!({ "phase": "Serving" }), "v1");
        serving.colors.insert(0, color("v2", 2, "v2", json!(null)));
        assert_eq!(
            explained(&serving),
            (
                vec!["stage `active` points at it".to_owned()],
                vec!["`rainbow promote shop --stage active --to v2`".to_owned()]
            )
        );
    }

    #[test]
    fn a_deletion_waits_for_stages() {
        let mut deleted = found(json!({ "phase": "Serving" }), "v1");
        let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        deleted.color.metadata.deletion_timestamp = Some(time);
        assert_eq!(explained(&deleted).0, ["stage `active` points at it; once none does, it is deleted"]);
        deleted.rainbow.status = None;
        assert_eq!(explained(&deleted), (vec!["it is being deleted: its pods end, entry tiers first".into()], vec![]));
    }

    #[test]
    fn nothing_holds_what_is_retired() {
        let (holds, frees) =
            explained(&found(json!({ "phase": "Retired", "retiredAt": "2026-01-01T00:00:00Z" }), "v2"));
        assert!(holds[0].starts_with("nothing: it was retired 5m ago"), "{holds:?}");
        assert!(frees.is_empty());
    }

    #[test]
    fn time_alone_is_told_as_such() {
        let (holds, frees) = explained(&found(json!({ "phase": "Draining" }), "v2"));
        assert_eq!(holds, ["it has been in no stage for less than 5s, or its pods are ending"]);
        assert_eq!(frees[0], "by itself: it goes when it has been in no stage for 5s");
        assert_eq!(frees.len(), 2);
    }

    #[test]
    fn what_may_be_a_client_is_freed_by_force_only() {
        let draining = found(json!({ "phase": "Draining" }), "v2");
        let pod = PodEvidence { connections: Some(0), fresh: Some(1), ..PodEvidence::default() };
        let evidence = Evidence { pods: vec![pod], reported: None };
        let (_, frees) = explain(&draining, &evidence, "2026-01-01T00:05:00Z".parse().unwrap());
        assert_eq!(frees.last().unwrap(), "at once: `rainbow retire shop v1 --force` ends its connections");
    }

    #[test]
    fn what_can_never_be_counted_is_not_said_to_go_by_itself() {
        let draining = found(json!({ "phase": "Draining" }), "v2");
        let frees = |unknown: &[&str]| {
            let pods = unknown.iter().map(|why| PodEvidence { unknown: Some((*why).into()), ..PodEvidence::default() });
            let evidence = Evidence { pods: pods.collect(), reported: None };
            explain(&draining, &evidence, "2026-01-01T00:05:00Z".parse().unwrap()).1
        };
        assert!(frees(&[NO_COUNTER, NO_COUNTER])[0].starts_with("not by itself"));
        assert!(frees(&[ASSOCIATIONS, NO_COUNTER])[0].starts_with("not by itself"));
        assert!(frees(&[NO_COUNTER, "no answer"])[0].starts_with("by itself: a pod goes"));
    }

    #[test]
    fn a_shared_instance_is_held_by_living_colors_only() {
        let mut draining = found(json!({ "phase": "Draining" }), "v3");
        draining.colors.push(color("v2", 2, "v1", json!({ "phase": "Retired" })));
        assert_eq!(shared(&draining), []);
        draining.colors.push(color("v3", 3, "v1", json!({ "phase": "Serving" })));
        assert_eq!(
            explained(&draining).0,
            ["its backend is that of v3 as well, and stays as long as one of them needs it"]
        );
    }
}
