//! Kubernetes Events for what people want to know of, found by comparing the old status with the new one. So an operator
//! that starts again tells nothing twice.

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use rainbow_api::{ColorPhase, ColorStatus, Cut, FIELD_MANAGER, HumanDuration, Rainbow, RainbowStatus};
use rainbow_plan::{Action, Time};

use crate::{clock::timestamp, live::Kind, status};

/// As long as a note may be.
const NOTE_BYTES: usize = 1024;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Note {
    /// Whether it tells of a step: those of a fast shift are left out.
    pub(crate) fn is_step(&self) -> bool {
        self.reason == "ShiftStep"
    }

    fn normal(reason: &'static str, message: String) -> Self {
        Self { warning: false, reason, message }
    }

    fn warning(reason: &'static str, message: String) -> Self {
        Self { warning: true, reason, message }
    }
}

/// What a plan's actions tell.
pub(crate) fn of_actions(actions: &[Action]) -> Vec<Note> {
    let one = |action: &Action| match action {
        Action::CreateColor { color, .. } => Some(Note::normal("ColorCreated", format!("color {color} is new"))),
        Action::DeleteColor { color } => Some(Note::normal("ColorDeleted", format!("color {color} is gone"))),
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

/// What a change of the Rainbow's status tells.
pub(crate) fn of_rainbow(old: &RainbowStatus, new: &RainbowStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    for stage in &new.stages {
        let name = &stage.name;
        let known = old.stages.iter().find(|old| old.name == *name);
        let before = known.and_then(|old| old.shift.as_ref());
        let served = known.and_then(|old| old.color.as_ref());
        match (before, &stage.shift) {
            (None, Some(shift)) => {
                notes.push(Note::normal(
                    "ShiftStarted",
                    format!("stage {name} moves from {} to {}", shift.from, shift.to),
                ));
            }
            (Some(before), Some(shift)) if before.to != shift.to => {
                let reason = if shift.to == before.from { "ShiftAborted" } else { "ShiftStarted" };
                notes
                    .push(Note::normal(reason, format!("stage {name} moves to {} instead of {}", shift.to, before.to)));
            }
            (Some(before), Some(shift)) if shift.moved > before.moved => {
                notes.push(Note::normal(
                    "ShiftStep",
                    format!("stage {name}: {} of {} pods are {}", shift.moved, shift.of, shift.to),
                ));
            }
            (Some(before), None) if stage.color.as_ref() == Some(&before.to) => {
                notes.push(Note::normal("ShiftFinished", format!("stage {name} serves {}", before.to)));
            }
            (Some(before), None) => {
                notes.push(Note::normal("ShiftAborted", format!("stage {name} serves {} as before", before.from)));
            }
            (None, None) => {
                // Too fast to be seen on its way.
                if let Some((_, new)) = served.zip(stage.color.as_ref()).filter(|(old, new)| old != new) {
                    notes.push(Note::normal("ShiftFinished", format!("stage {name} serves {new}")));
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
    let stalled = |status: &RainbowStatus| {
        let found = status.conditions.iter().find(|c| c.type_ == "Stalled" && c.status == "True");
        found.map(|c| {
            // What is counted changes all the time: of that only which color waits is news.
            let gist = if status::tells_counts(c) { c.message.split(": ").next() } else { None };
            (c.reason.clone(), gist.unwrap_or(&c.message).to_owned(), c.message.clone())
        })
    };
    let gist = |found: &(String, String, String)| (found.0.clone(), found.1.clone());
    let before = stalled(old).as_ref().map(gist);
    if let Some((reason, _, message)) = stalled(new).filter(|found| before != Some(gist(found))) {
        let reason = match reason.as_str() {
            "InvalidSpec" => "InvalidSpec",
            "Conflict" => "Conflict",
            "ProgressDeadlineExceeded" => "ColorStalled",
            "CounterImageUnavailable" => "CounterImageUnavailable",
            _ => "Stalled",
        };
        notes.push(Note::warning(reason, message));
    }
    notes
}

/// What a change of a color's status tells.
pub(crate) fn of_color(name: &str, old: &ColorStatus, new: &ColorStatus) -> Vec<Note> {
    use ColorPhase::{Ready, Retired, Serving, Starting};
    let mut notes = Vec::new();
    match (old.phase, new.phase) {
        (old, new) if old == new => {}
        (None | Some(Starting | ColorPhase::Stalled), Some(Ready | Serving)) => {
            notes.push(Note::normal("ColorReady", format!("all pods of color {name} are ready")));
        }
        (_, Some(Retired)) => {
            notes.push(Note::normal("ColorRetired", format!("color {name} has no pods any more")));
        }
        _ => {}
    }
    let unknown = |status: &ColorStatus| {
        let found = status.conditions.iter().find(|c| c.type_ == status::UNKNOWN && c.status == "True");
        found.map(|condition| condition.message.clone())
    };
    if let (None, Some(message)) = (unknown(old), unknown(new)) {
        notes.push(Note::warning("ConnectionsUnknown", format!("color {name}: {message}")));
    }
    notes
}

/// What is told of connections that are cut.
pub(crate) fn of_cuts(color: &str, cut: &[Cut]) -> Option<Note> {
    if cut.is_empty() {
        return None;
    }
    let known: i64 = cut.iter().filter_map(|cut| cut.connections).fold(0, i64::saturating_add);
    let of = if cut.iter().all(|cut| cut.connections.is_some()) { "" } else { "at least " };
    let connections = if known == 1 { "connection" } else { "connections" };
    let mut message = format!("color {color} ends with {of}{known} {connections}: ");
    for (index, one) in cut.iter().enumerate() {
        let text = of_cut(one);
        let more = format!(" and {} more", cut.len() - index);
        if message.len() + text.len() + more.len() + 2 > NOTE_BYTES {
            message.push_str(&more);
            break;
        }
        if index > 0 {
            message.push_str("; ");
        }
        message.push_str(&text);
    }
    Some(Note::warning("ConnectionsCut", message))
}

/// `pod a-v1-x port 8081: 3, the oldest 12m`.
fn of_cut(cut: &Cut) -> String {
    let port = cut.port.map_or_else(String::new, |port| format!(" port {port}"));
    let number = cut.connections.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let seconds = cut.oldest_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let age = seconds.map_or_else(String::new, |age| format!(", the oldest {}", HumanDuration::from_secs(age)));
    format!("pod {}{port}: {number}{age}", cut.pod)
}

/// Writes notes. An event that cannot be written is lost: nothing depends on it.
pub(crate) async fn publish(client: &Client, namespace: &str, rainbow: &Rainbow, notes: &[Note], now: Time) {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let name = rainbow.metadata.name.clone().unwrap_or_default();
    let time = timestamp(now);
    for (index, note) in notes.iter().enumerate() {
        let mut message = note.message.clone();
        while message.len() > NOTE_BYTES {
            message.pop();
        }
        let event = Event {
            metadata: ObjectMeta {
                // As client-go names them; the index keeps those of one moment apart.
                name: Some(format!("{name}.{:x}{index:x}", time.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(time)),
            action: Some(note.reason.to_owned()),
            reason: Some(note.reason.to_owned()),
            note: Some(message),
            regarding: Some(ObjectReference {
                api_version: Some(Kind::Rainbow.api_version().to_owned()),
                kind: Some(Kind::Rainbow.name().to_owned()),
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                uid: rainbow.metadata.uid.clone(),
                ..ObjectReference::default()
            }),
            reporting_controller: Some("rainbow.dev/operator".to_owned()),
            reporting_instance: Some(FIELD_MANAGER.to_owned()),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, reason = note.reason, "an event could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_api::{ShiftPhase, ShiftStatus, StageStatus};
    use serde_json::json;

    fn status(color: &str, shift: Option<(&str, &str, i32)>) -> RainbowStatus {
        let shift = shift.map(|(from, to, moved)| ShiftStatus {
            from: from.into(),
            to: to.into(),
            phase: ShiftPhase::Shifting,
            moved,
            of: 5,
            started_at: "2026-01-01T00:00:00Z".into(),
            next_step_at: None,
        });
        let stage = StageStatus { name: "active".into(), color: Some(color.into()), shift, ..StageStatus::default() };
        RainbowStatus { stages: vec![stage], ..RainbowStatus::default() }
    }

    #[track_caller]
    fn check(old: RainbowStatus, new: RainbowStatus, expected: &[(&str, &str)]) {
        let notes = of_rainbow(&old, &new);
        let found: Vec<_> = notes.iter().map(|note| (note.reason, note.message.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_shift_is_told() {
        let (before, begun, step) =
            (status("v1", None), status("v1", Some(("v1", "v2", 0))), status("v1", Some(("v1", "v2", 1))));
        check(before.clone(), begun.clone(), &[("ShiftStarted", "stage active moves from v1 to v2")]);
        check(begun.clone(), begun.clone(), &[]);
        check(begun, step.clone(), &[("ShiftStep", "stage active: 1 of 5 pods are v2")]);
        check(step.clone(), status("v2", None), &[("ShiftFinished", "stage active serves v2")]);
        check(
            step.clone(),
            status("v1", Some(("v2", "v1", 4))),
            &[("ShiftAborted", "stage active moves to v1 instead of v2")],
        );
        check(step, before.clone(), &[("ShiftAborted", "stage active serves v1 as before")]);
        check(before, status("v2", None), &[("ShiftFinished", "stage active serves v2")]);
    }

    #[test]
    fn a_color_that_waits_is_told_once() {
        let waits = |color: &str, connections: u32| {
            let message =
                format!("color `{color}` waits: 8 colors live; held by v1 (draining: {connections} connections)");
            let condition = json!({ "type": "Stalled", "status": "True", "reason": "TooManyColors", "message": message,
                                    "lastTransitionTime": "2026-01-01T00:00:00Z" });
            RainbowStatus { conditions: vec![serde_json::from_value(condition).unwrap()], ..RainbowStatus::default() }
        };
        let told = |old: &RainbowStatus, new: &RainbowStatus| of_rainbow(old, new).len();
        assert_eq!(told(&RainbowStatus::default(), &waits("v9", 3)), 1);
        assert_eq!(told(&waits("v9", 3), &waits("v9", 2)), 0);
        assert_eq!(told(&waits("v9", 3), &waits("v10", 3)), 1);
    }

    #[test]
    fn a_color_is_told() {
        let phase = |phase| ColorStatus { phase: Some(phase), ..ColorStatus::default() };
        let reason = |old, new| of_color("v1", &phase(old), &phase(new)).first().map(|note| note.reason);
        assert_eq!(reason(ColorPhase::Starting, ColorPhase::Serving), Some("ColorReady"));
        assert_eq!(reason(ColorPhase::Ready, ColorPhase::Serving), None);
        assert_eq!(reason(ColorPhase::Serving, ColorPhase::Draining), None);
        assert_eq!(reason(ColorPhase::Draining, ColorPhase::Retired), Some("ColorRetired"));
    }
    #[test]
    fn what_is_cut_is_told() {
        let cut =
            |pod: &str, port, connections, oldest_seconds| Cut { pod: pod.into(), port, connections, oldest_seconds };
        assert_eq!(of_cuts("v1", &[]), None);
        let note =
            of_cuts("v1", &[cut("a", Some(8081), Some(3), Some(725)), cut("a", Some(80), Some(1), Some(0))]).unwrap();
        assert_eq!((note.warning, note.reason), (true, "ConnectionsCut"));
        assert_eq!(
            note.message,
            "color v1 ends with 4 connections: pod a port 8081: 3, the oldest 12m5s; pod a port 80: 1, the oldest 0s"
        );
        let note = of_cuts("v1", &[cut("a", Some(80), Some(1), Some(9))]).unwrap();
        assert_eq!(note.message, "color v1 ends with 1 connection: pod a port 80: 1, the oldest 9s");
        let note = of_cuts("v1", &[cut("a", None, None, None), cut("b", None, Some(2), None)]).unwrap();
        assert_eq!(note.message, "color v1 ends with at least 2 connections: pod a: unknown; pod b: 2");
        let many: Vec<Cut> = (0..500).map(|n| cut(&format!("frontend-{n}"), Some(80), Some(1), Some(9))).collect();
        let message = of_cuts("v1", &many).unwrap().message;
        assert!(
            message.len() <= NOTE_BYTES && message.starts_with("color v1 ends with 500 connections: pod frontend-0 ")
        );
        let (_, more) = message.rsplit_once(" and ").unwrap();
        let told = message.matches("frontend-").count();
        assert_eq!(more, format!("{} more", 500 - told));
    }
}
