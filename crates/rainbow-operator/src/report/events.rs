//! Kubernetes Events about what people want to know, found by comparing the old status with the new one. So an operator that starts again
//! reports nothing twice.

use futures::future::join_all;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use rainbow_api::{
    ColorPhase, ColorStatus, ConditionType, Cut, FIELD_MANAGER, GateMoment, GateStatus, GateVerdict, Rainbow,
    RainbowStatus, Reason, ShiftPhase, documented_enum,
};
use rainbow_plan::{Action, InstanceName, Selection, StageKey, StageService, Time, World};

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{ReportInput, status};
use crate::{
    clock::timestamp,
    domain,
    kind::Kind,
    messages::{self, NOTE_BYTES, SizeOf},
};

documented_enum! {
    /// Reason of an event.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum EventReason {
        /// A color was made of the tiers of the spec.
        ColorCreated,
        /// All pods of a color are ready.
        ColorReady,
        /// A color has no pods any more. It is kept as history.
        ColorRetired,
        /// A color was deleted, because `keep.history` others are kept.
        ColorDeleted,
        /// A stage begins to move to a color.
        ShiftStarted,
        /// A stage has moved by some pods. Steps that follow each other quickly are left out.
        ShiftStep,
        /// A shift is held.
        ShiftPaused,
        /// A stage serves the color that it moved to.
        ShiftFinished,
        /// A stage goes back to the color that it came from.
        ShiftAborted,
        /// Another writer changed the selector of a stage, and Rainbow took the change back.
        SelectorRestored,
        /// Another writer scaled a Deployment, and Rainbow took the change back.
        ScaleTakenBack,
        /// The connections of some pods of a draining color cannot be read, so these pods are kept.
        ConnectionsUnknown,
        /// One peer is connected to every pod that holds a draining color.
        HeldByOnePeer,
        /// The deadline of a drain ends connections. The event is written before the pods end.
        ConnectionsCut,
        /// The spec is not valid.
        InvalidSpec,
        /// A needed name belongs to an object that is not Rainbow's.
        Conflict,
        /// A color was not ready within the progress deadline.
        ColorStalled,
        /// No node can pull the image of the container that counts connections.
        CounterImageUnavailable,
        /// A gate has passed.
        GatePassed,
        /// A gate has failed: the stage does not move, or goes back.
        GateFailed,
        /// A gate can neither pass nor fail: the stage waits for a person.
        GateInconclusive,
        /// The answers to a gate's question have no value: the stage waits for one, or for a person.
        GateNoData,
        /// Progress needs an action, for another reason. The condition `Stalled` names it.
        Stalled,
    }
}

impl EventReason {
    /// Returns the event for a stalled Rainbow, by the reason of the condition.
    fn of_stalled(reason: Option<Reason>) -> Self {
        match reason {
            Some(Reason::InvalidSpec) => Self::InvalidSpec,
            Some(Reason::Conflict) => Self::Conflict,
            Some(Reason::ProgressDeadlineExceeded) => Self::ColorStalled,
            Some(Reason::CounterImageUnavailable) => Self::CounterImageUnavailable,
            Some(
                Reason::Rejected
                | Reason::Unavailable
                | Reason::ColorInUse
                | Reason::ConfigMissing
                | Reason::ConfigNotAllowed
                | Reason::ConfigLost
                | Reason::UnknownColor
                | Reason::InUse
                | Reason::TooManyColors
                | Reason::Settled
                | Reason::NothingInTheWay
                | Reason::Shifting
                | Reason::Starting
                | Reason::Waiting
                | Reason::Progressing
                | Reason::Degraded
                | Reason::Paused
                | Reason::Checking
                | Reason::RolledBack
                | Reason::Ready
                | Reason::Serving
                | Reason::Draining
                | Reason::Retired
                | Reason::Stalled
                | Reason::NoAnswer
                | Reason::Counted
                | Reason::OnePeer,
            )
            | None => Self::Stalled,
        }
    }
}

/// Event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    warning: bool,
    reason: EventReason,
    message: String,
    /// Subject of a note that is published once, however often it is made. The API server keeps an event for an hour, and refuses another
    /// one of its name.
    once: Option<u64>,
}

impl Note {
    /// Returns whether the note is about a step. Those of a fast shift are left out.
    pub(crate) fn is_step(&self) -> bool {
        self.reason == EventReason::ShiftStep
    }

    fn normal(reason: EventReason, message: String) -> Self {
        Self { warning: false, reason, message, once: None }
    }

    fn warning(reason: EventReason, message: String) -> Self {
        Self { warning: true, reason, message, once: None }
    }

    /// Returns the subject of the note, where one event of that subject is enough.
    pub(crate) fn once(&self) -> Option<u64> {
        self.once
    }
}

/// Returns the note about an action that is done.
pub(crate) fn of_action(action: &Action) -> Option<Note> {
    match action {
        Action::CreateColor { color, .. } => {
            Some(Note::normal(EventReason::ColorCreated, messages::color_created(color)))
        }
        Action::DeleteColor { color } => Some(Note::normal(EventReason::ColorDeleted, messages::color_deleted(color))),
        _ => None,
    }
}

/// Returns a note where a stage's Service has a selector that Rainbow has not written, as far as the status tells, and is about to get the
/// right one.
pub(crate) fn of_edit(action: &Action, world: &World, status: &RainbowStatus) -> Option<Note> {
    let Action::ApplyStage { stage, selects, .. } = action else { return None };
    let StageService::Ours { selects: before, .. } = world.stages.get(&StageKey::of(stage))? else { return None };
    let known = status.stages.iter().find(|known| known.name == *stage)?;
    let shift = known.shift.as_ref();
    let colors =
        [known.color.as_ref(), known.target.as_ref(), shift.map(|shift| &shift.from), shift.map(|shift| &shift.to)];
    let is_known = |instance: &InstanceName| {
        // A stage may have the instance for itself.
        let known = |color: &&rainbow_plan::Color| colors.iter().flatten().any(|name| **name == color.name);
        world.colors.iter().filter(known).any(|color| domain::has_version(color, instance))
    };
    let edited = match before {
        Selection::Other => true,
        Selection::Instance(instance) => before != selects && !is_known(instance),
        Selection::Members => false,
    };
    edited.then(|| {
        Note::warning(EventReason::SelectorRestored, messages::selector_restored(stage, known.color.as_deref()))
    })
}

/// Returns a note where another writer has scaled a Deployment whose size is Rainbow's, and the size is about to be set back.
pub(crate) fn of_scale(action: &Action, about: &ReportInput<'_>) -> Option<Note> {
    let instance = match action {
        Action::ApplyDeployment { instance, .. } => instance,
        Action::TakeOut { pod } => &about.world.pods.iter().find(|known| *known.name == *pod)?.instance,
        _ => return None,
    };
    let wanted = about.plan.sizes.get(instance)?;
    let name = domain::object_name(about.names.prefix, instance);
    let found = about.app.deployments.get(name.as_str())?;
    let manager = found.scaled_by.as_deref().filter(|_| found.replicas != *wanted)?;
    let mut owners = about.world.colors.iter().filter(|color| domain::has_version(color, instance));
    let described = owners.any(|color| Some(&color.name) == about.plan.report.described.as_ref());
    let size = if described { SizeOf::Spec { rainbow: about.names.rainbow } } else { SizeOf::Color };
    let message = messages::scale_taken_back(&name, manager, (found.replicas, *wanted), instance, size);
    let mut subject = DefaultHasher::new();
    (&found.meta.uid, manager).hash(&mut subject);
    Some(Note { once: Some(subject.finish()), ..Note::warning(EventReason::ScaleTakenBack, message) })
}

/// Returns the notes about a change of the Rainbow's status.
pub(crate) fn of_rainbow(old: &RainbowStatus, new: &RainbowStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    for stage in &new.stages {
        let name = &stage.name;
        let known = old.stages.iter().find(|old| old.name == *name);
        let before = known.and_then(|old| old.shift.as_ref());
        let served = known.and_then(|old| old.color.as_ref());
        let paused_long =
            stage.shift.as_ref().map(messages::paused_long).filter(|long| stage.message.as_ref() == Some(long));
        if let Some(message) = paused_long.filter(|long| known.is_none_or(|old| old.message.as_ref() != Some(long))) {
            notes.push(Note::warning(EventReason::ShiftPaused, messages::of_stage(name, &message)));
        }
        notes.extend(of_gates(name, known.map_or(&[], |known| &known.gates), &stage.gates));
        match (before, &stage.shift) {
            (None, Some(shift)) => {
                notes.push(Note::normal(
                    EventReason::ShiftStarted,
                    messages::shift_started(name, &shift.from, &shift.to),
                ));
            }
            (Some(before), Some(shift)) if before.to != shift.to => {
                let reason =
                    if shift.to == before.from { EventReason::ShiftAborted } else { EventReason::ShiftStarted };
                notes.push(Note::normal(reason, messages::shift_turned(name, &shift.to, &before.to)));
            }
            (Some(before), Some(shift)) if shift.phase == ShiftPhase::Paused && before.phase != ShiftPhase::Paused => {
                let message = messages::shift_paused(name, &shift.from, &shift.to, shift.moved, shift.of);
                notes.push(Note::normal(EventReason::ShiftPaused, message));
            }
            (Some(before), Some(shift)) if shift.moved > before.moved => {
                notes.push(Note::normal(
                    EventReason::ShiftStep,
                    messages::shift_step(name, shift.moved, shift.of, &shift.to),
                ));
            }
            (Some(before), None) if stage.color.as_ref() == Some(&before.to) => {
                notes.push(Note::normal(EventReason::ShiftFinished, messages::shift_finished(name, &before.to)));
            }
            (Some(before), None) => {
                notes.push(Note::normal(EventReason::ShiftAborted, messages::shift_aborted(name, &before.from)));
            }
            (None, None) => {
                // The shift was too fast to be seen on its way.
                if let Some((_, new)) = served.zip(stage.color.as_ref()).filter(|(old, new)| old != new) {
                    notes.push(Note::normal(EventReason::ShiftFinished, messages::shift_finished(name, new)));
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
    let stalled = |status: &RainbowStatus| {
        ConditionType::Stalled.find_true(&status.conditions).map(|c| {
            // Counts change all the time. In a message with counts only the color that waits is news.
            let gist = if status::tells_counts(c) { messages::gist(&c.message) } else { &c.message };
            (Reason::of(c), gist.to_owned(), c.message.clone())
        })
    };
    let gist = |found: &(Option<Reason>, String, String)| (found.0, found.1.clone());
    let before = stalled(old).as_ref().map(gist);
    if let Some((reason, _, message)) = stalled(new).filter(|found| before != Some(gist(found))) {
        let reason = EventReason::of_stalled(reason);
        notes.push(Note::warning(reason, message));
    }
    notes
}

/// Returns the notes about verdicts of a stage's gates.
fn of_gates(stage: &str, old: &[GateStatus], new: &[GateStatus]) -> Vec<Note> {
    let identity = |gate: &GateStatus| (gate.name.clone(), gate.color.clone(), gate.moment, gate.at, gate.tier.clone());
    let is_news = |gate: &&GateStatus| {
        let before = old.iter().find(|before| identity(before) == identity(gate));
        before.is_none_or(|before| before.verdict != gate.verdict)
    };
    let note = |gate: &GateStatus| {
        let (reason, is_warning) = match gate.verdict {
            // A check that watches passes by not failing.
            GateVerdict::Passed if gate.moment == GateMoment::Watch => return None,
            GateVerdict::Passed => (EventReason::GatePassed, false),
            GateVerdict::Failed => (EventReason::GateFailed, true),
            GateVerdict::Inconclusive => (EventReason::GateInconclusive, true),
            GateVerdict::NoData => (EventReason::GateNoData, true),
            GateVerdict::Running => return None,
        };
        let message = messages::gate_event(stage, gate);
        Some(Note { warning: is_warning && !gate.dry_run, ..Note::normal(reason, message) })
    };
    new.iter().filter(is_news).filter_map(note).collect()
}

/// Returns the notes about a change of a color's status.
pub(crate) fn of_color(name: &str, old: &ColorStatus, new: &ColorStatus) -> Vec<Note> {
    use ColorPhase::{Ready, Retired, Serving, Starting};
    let mut notes = Vec::new();
    match (old.phase, new.phase) {
        (old, new) if old == new => {}
        (None | Some(Starting | ColorPhase::Stalled), Some(Ready | Serving)) => {
            notes.push(Note::normal(EventReason::ColorReady, messages::color_ready(name)));
        }
        (_, Some(Retired)) => {
            notes.push(Note::normal(EventReason::ColorRetired, messages::color_retired(name)));
        }
        _ => {}
    }
    let unknown = |status: &ColorStatus| {
        let found = ConditionType::ConnectionsUnknown.find_true(&status.conditions);
        found.map(|condition| condition.message.clone())
    };
    if let (None, Some(message)) = (unknown(old), unknown(new)) {
        notes.push(Note::warning(EventReason::ConnectionsUnknown, messages::of_color(name, &message)));
    }
    let peer =
        |status: &ColorStatus| ConditionType::HeldByOnePeer.find_true(&status.conditions).map(|c| c.message.clone());
    if let (None, Some(message)) = (peer(old), peer(new)) {
        let mut subject = DefaultHasher::new();
        // The peer may come and go, so the event is published once for each peer.
        ("peer", name, message.split(' ').next()).hash(&mut subject);
        let message = messages::of_color(name, &message);
        notes.push(Note { once: Some(subject.finish()), ..Note::warning(EventReason::HeldByOnePeer, message) });
    }
    notes
}

/// Returns the note about connections that are cut.
pub(crate) fn of_cuts(color: &str, cut: &[Cut]) -> Option<Note> {
    (!cut.is_empty()).then(|| Note::warning(EventReason::ConnectionsCut, messages::cuts(color, cut)))
}

/// Writes notes, all concurrently. An event that cannot be written is lost: nothing depends on it.
pub(crate) async fn publish<'a>(
    client: &Client,
    namespace: &str,
    rainbow: &Rainbow,
    notes: impl Iterator<Item = &'a Note>,
    now: Time,
) {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let name = rainbow.metadata.name.clone().unwrap_or_default();
    let time = timestamp(now);
    let event = |note: &Note| Event {
        metadata: ObjectMeta {
            name: note.once.map(|subject| format!("{name}.{subject:x}")),
            generate_name: note.once.is_none().then(|| format!("{name}-")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(time)),
        action: Some(note.reason.as_str().to_owned()),
        reason: Some(note.reason.as_str().to_owned()),
        note: Some(shortened(&note.message)),
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
    let write = async |event: Event| {
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, reason = event.reason, "an event could not be written");
        }
    };
    join_all(notes.map(event).map(write)).await;
}

/// Returns the beginning of a message that is longer than an event allows.
fn shortened(message: &str) -> String {
    let end = (0..=message.len().min(NOTE_BYTES)).rev().find(|end| message.is_char_boundary(*end));
    message[..end.unwrap_or_default()].to_owned()
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
            paused_since: None,
            step: None,
            steps: None,
            step_since: None,
        });
        let stage = StageStatus { name: "active".into(), color: Some(color.into()), shift, ..StageStatus::default() };
        RainbowStatus { stages: vec![stage], ..RainbowStatus::default() }
    }

    fn gate(verdict: GateVerdict, change: impl FnOnce(&mut GateStatus)) -> RainbowStatus {
        let mut gate: GateStatus = serde_json::from_value(json!({
            "name": "errors", "color": "v2", "moment": "After", "verdict": verdict, "since": "2026-01-01T00:00:00Z",
            "measurements": [{ "at": "2026-01-01T00:00:00Z", "outcome": "Failed", "value": "0.5" }],
            "message": "1 bad measurements",
        }))
        .unwrap();
        change(&mut gate);
        let stage = StageStatus { name: "active".into(), gates: vec![gate], ..StageStatus::default() };
        RainbowStatus { stages: vec![stage], ..RainbowStatus::default() }
    }

    #[test]
    fn each_verdict_of_a_gate_is_one_event() {
        use GateVerdict::{Failed, Inconclusive, NoData, Passed, Running};
        let running = || gate(Running, |_| ());
        for (verdict, reason, message) in [
            (Passed, EventReason::GatePassed, "has passed with 0.5: 1 bad measurements"),
            (Failed, EventReason::GateFailed, "has failed with 0.5: 1 bad measurements"),
            (Inconclusive, EventReason::GateInconclusive, "is inconclusive with 0.5: 1 bad measurements"),
            (NoData, EventReason::GateNoData, "has no data with 0.5"),
        ] {
            let decided = gate(verdict, |_| ());
            let message = format!("stage active: gate errors of color v2 {message}");
            let note = Note { warning: verdict != Passed, ..Note::normal(reason, message) };
            assert_eq!(of_rainbow(&running(), &decided), std::slice::from_ref(&note));
            assert_eq!(of_rainbow(&RainbowStatus::default(), &decided), [note]);
            assert_eq!(of_rainbow(&decided, &decided), []);
            assert_eq!(of_rainbow(&decided, &running()), []);
        }
        let dry = of_rainbow(&running(), &gate(Failed, |gate| gate.dry_run = true));
        assert!(!dry[0].warning && dry[0].message.contains("has failed with 0.5 (dry run): "), "{dry:?}");
        let watched = |gate: &mut GateStatus| gate.moment = GateMoment::Watch;
        assert_eq!(of_rainbow(&running(), &gate(Passed, watched)), []);
        let tier = of_rainbow(&running(), &gate(Failed, |gate| gate.tier = Some("api".into())));
        assert!(tier[0].message.starts_with("stage active, tier api: gate errors "), "{tier:?}");
    }

    #[track_caller]
    fn check(old: RainbowStatus, new: RainbowStatus, expected: &[(&str, &str)]) {
        let notes = of_rainbow(&old, &new);
        let found: Vec<_> = notes.iter().map(|note| (note.reason.as_str(), note.message.as_str())).collect();
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
        let reason = |old, new| of_color("v1", &phase(old), &phase(new)).first().map(|note| note.reason.as_str());
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
        assert_eq!((note.warning, note.reason.as_str()), (true, "ConnectionsCut"));
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
