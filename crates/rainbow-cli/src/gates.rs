//! Gates and steps of a stage: what a shift waits for, and what its user can do about it.

use rainbow_api::{
    GateMoment, GateStatus, GateVerdict, PODS_GATE, PassedStep, Rainbow, ShiftStatus, SkippedGate, Stage, StageStatus,
    StepKind,
};

use crate::{hold, words::count};

/// Step at which a shift is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    /// Number of the step, from 1 on.
    pub(crate) number: i32,
    /// Number of all steps.
    pub(crate) of: i32,
    /// `None`: all steps are done, and the remaining pods move.
    pub(crate) kind: Option<StepKind<'a>>,
}

impl<'a> Step<'a> {
    /// Returns the step at which a shift of the stage is. `None`: the stage moves without steps.
    pub(crate) fn of(stage: &'a Stage, shift: &ShiftStatus) -> Option<Self> {
        let (number, of) = (shift.step?, shift.steps?);
        let steps = stage.shift.as_ref().map(|shift| shift.steps.as_slice()).unwrap_or_default();
        let step = usize::try_from(number).ok().and_then(|number| steps.get(number.checked_sub(1)?));
        Some(Self { number, of, kind: step.and_then(rainbow_api::ShiftStep::kind) })
    }

    /// Returns whether the step is a pause that only a user ends.
    pub(crate) fn is_open_pause(&self) -> bool {
        matches!(self.kind, Some(StepKind::Pause(None)))
    }

    /// Describes the step: `step 3 of 6: pause, for `rainbow resume``.
    pub(crate) fn words(&self) -> String {
        let Self { number, of, kind } = self;
        let what = match kind {
            None => return format!("all {of} steps are done"),
            Some(StepKind::Pods(pods)) => count((*pods).into(), "pod"),
            Some(StepKind::Percent(percent)) => format!("{percent}% of the pods"),
            Some(StepKind::Pause(None)) => "pause, for `rainbow resume`".to_owned(),
            Some(StepKind::Pause(Some(time))) => format!("pause for {time}"),
            Some(StepKind::Gate(gate)) => format!("gate {gate}"),
        };
        format!("step {number} of {of}: {what}")
    }
}

/// Returns the shifts of a stage that are under way: those of its tiers, then its own.
fn shifts(status: &StageStatus) -> impl Iterator<Item = &ShiftStatus> {
    status.tiers.iter().filter_map(|tier| tier.shift.as_ref()).chain(&status.shift)
}

/// Returns the pause step at which a stage waits, as `spec.passedSteps` names it, unless it is passed already. A pause that ends by itself is
/// returned as well.
pub(crate) fn pause_step(rainbow: &Rainbow, stage: &Stage) -> Option<PassedStep> {
    let status = status(rainbow, &stage.name)?;
    let at_pause = |shift: &ShiftStatus| {
        let step = Step::of(stage, shift).filter(|step| matches!(step.kind, Some(StepKind::Pause(_))))?;
        shift.step_since.as_ref()?;
        Some(PassedStep {
            stage: stage.name.clone(),
            step: step.number,
            color: shift.to.clone(),
            shift: shift.started_at.clone(),
            by: None,
            at: None,
        })
    };
    let is_passed = |step: &PassedStep| {
        let mut known = rainbow.spec.passed_steps.iter();
        known.any(|known| {
            (&known.stage, known.step, &known.color, &known.shift) == (&step.stage, step.step, &step.color, &step.shift)
        })
    };
    shifts(status).filter_map(at_pause).find(|step| !is_passed(step))
}

/// Returns the operator's status of a stage.
pub(crate) fn status<'a>(rainbow: &'a Rainbow, stage: &str) -> Option<&'a StageStatus> {
    rainbow.status.as_ref()?.stages.iter().find(|known| known.name == stage)
}

/// Returns the gates that keep a stage, or one of its tiers, from going on.
pub(crate) fn blocking<'a>(rainbow: &'a Rainbow, stage: &str) -> Vec<&'a GateStatus> {
    let Some(status) = status(rainbow, stage) else { return Vec::new() };
    let skips = |gate: &GateStatus| {
        let mut skipped = rainbow.spec.skipped_gates.iter();
        skipped.any(|skip| (skip.stage.as_str(), &skip.gate, &skip.color) == (stage, &gate.name, &gate.color))
    };
    let is_open = |gate: &&GateStatus| {
        let is_undecided = match gate.verdict {
            GateVerdict::Running | GateVerdict::Inconclusive | GateVerdict::NoData => true,
            // A gate that fails later takes the stage back.
            GateVerdict::Failed => gate.moment == GateMoment::Before,
            GateVerdict::Passed => false,
        };
        !gate.dry_run && gate.moment != GateMoment::Watch && is_undecided && is_asked(gate, status) && !skips(gate)
    };
    status.gates.iter().filter(is_open).collect()
}

/// Returns whether the stage still asks for a gate. The status keeps the gates of the latest release when it is over.
fn is_asked(gate: &GateStatus, status: &StageStatus) -> bool {
    let moves_to = shifts(status).any(|shift| shift.to == gate.color);
    let is_target = status.target.as_ref() == Some(&gate.color);
    match gate.moment {
        GateMoment::Before => is_target && status.color != status.target,
        GateMoment::During | GateMoment::Step => moves_to,
        GateMoment::Between => is_target && (moves_to || status.color != status.target),
        GateMoment::After => {
            status.color.as_ref() == Some(&gate.color) && status.approved.as_ref() != Some(&gate.color)
        }
        GateMoment::Watch => false,
    }
}

/// Returns the names of the gates that a stage asks for, in the order of the moments.
pub(crate) fn names(stage: &Stage) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, name) in asked(stage) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Returns the gates that a stage asks for, each with its moment.
pub(crate) fn asked(stage: &Stage) -> Vec<(GateMoment, &str)> {
    let own = &stage.gates;
    let shift = stage.shift.as_ref();
    let steps = shift.into_iter().flat_map(|shift| &shift.steps).filter_map(|step| step.gate.as_ref());
    let between = shift.and_then(|shift| shift.tiers.as_ref()).into_iter().flat_map(|tiers| &tiers.gates);
    let mut all: Vec<(GateMoment, &str)> = Vec::new();
    all.extend(own.before.iter().map(|name| (GateMoment::Before, name.as_str())));
    all.extend(own.during.iter().map(|name| (GateMoment::During, name.as_str())));
    all.extend(steps.map(|name| (GateMoment::Step, name.as_str())));
    all.extend(between.map(|name| (GateMoment::Between, name.as_str())));
    all.extend(own.after.iter().map(|name| (GateMoment::After, name.as_str())));
    all.extend((!own.pods.disabled).then_some((GateMoment::Watch, PODS_GATE)));
    all
}

/// Returns whether the gate of a Rainbow is an approval, as far as the Rainbow itself says.
pub(crate) fn is_manual(rainbow: &Rainbow, gate: &str) -> bool {
    rainbow.spec.gates.iter().any(|known| known.name == gate && known.check.manual.is_some())
}

/// Returns whether a blocking gate does not pass before a person acts. An approval is awaited by a person, and so is a gate that has failed
/// before the move or has no verdict.
pub(crate) fn needs_person(rainbow: &Rainbow, gate: &GateStatus) -> bool {
    gate.verdict != GateVerdict::Running || is_manual(rainbow, &gate.name)
}

/// Describes the state of a gate: `2 of 3 good`.
pub(crate) fn progress(rainbow: &Rainbow, gate: &GateStatus) -> String {
    let counts = &gate.counts;
    if is_manual(rainbow, &gate.name) {
        return match gate.verdict {
            GateVerdict::Running => "waits for an approval".to_owned(),
            other => verdict_word(other).to_owned(),
        };
    }
    let wanted = rainbow.spec.gates.iter().find(|known| known.name == gate.name).and_then(|known| known.check.count);
    let of = wanted.unwrap_or(1).max(counts.passed);
    let good = match gate.verdict {
        GateVerdict::Running => format!("{} of {of} good", counts.passed),
        other => verdict_word(other).to_owned(),
    };
    let bad = [
        (counts.failed, "bad"),
        (counts.inconclusive, "inconclusive"),
        (counts.no_data, "without data"),
        (counts.errors, "without an answer"),
    ];
    let bad = bad.into_iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!(", {number} {word}"));
    bad.fold(good, |text, part| text + &part)
}

/// Returns the reason of a gate's state. Of one that waits for an approval, that is what its author asks: the state and the command are said
/// anyway.
pub(crate) fn reason<'a>(rainbow: &'a Rainbow, gate: &'a GateStatus) -> Option<&'a str> {
    let message = gate.message.as_deref()?;
    let known = rainbow.spec.gates.iter().find(|known| known.name == gate.name);
    let manual = known.and_then(|known| known.check.manual.as_ref());
    match manual.filter(|_| message.contains("`rainbow approve ")) {
        Some(manual) => manual.message.as_deref(),
        None => Some(message),
    }
}

/// Returns a verdict in a word or two.
pub(crate) fn verdict_word(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Running => "running",
        GateVerdict::Passed => "passed",
        GateVerdict::Failed => "failed",
        GateVerdict::Inconclusive => "inconclusive",
        GateVerdict::NoData => "no data",
    }
}

/// Describes the moment at which a gate is asked for.
pub(crate) fn moment(gate: &GateStatus) -> String {
    let text = match gate.moment {
        GateMoment::Before => "before".to_owned(),
        GateMoment::During => match gate.at {
            Some(pods) => format!("with {}", count(pods.into(), "pod")),
            None => "between steps".to_owned(),
        },
        GateMoment::Step => gate.at.map_or_else(|| "at a step".to_owned(), |step| format!("at step {step}")),
        GateMoment::Between => return format!("after tier {}", gate.tier.as_deref().unwrap_or("-")),
        GateMoment::After => "after".to_owned(),
        GateMoment::Watch => "all along".to_owned(),
    };
    match &gate.tier {
        Some(tier) => format!("{text}, tier {tier}"),
        None => text,
    }
}

/// Returns the commands by which a stage gets past a gate, and back.
pub(crate) fn remedies(rainbow: &Rainbow, stage: &str, gate: &GateStatus) -> Vec<String> {
    let named = format!("{} --stage {stage}", rainbow.metadata.name.as_deref().unwrap_or_default());
    let name = &gate.name;
    let approve = is_manual(rainbow, name).then(|| format!("`rainbow approve {named} --gate {name}` lets it pass"));
    let skip =
        format!("`rainbow promote {named} --to {} --skip-gate {name} --reason …` goes on without it", gate.color);
    let back = match gate.moment {
        GateMoment::After => format!("`rainbow rollback {named}` goes back"),
        GateMoment::Before | GateMoment::During | GateMoment::Step | GateMoment::Between | GateMoment::Watch => {
            format!("`rainbow abort {named}` goes back")
        }
    };
    approve.into_iter().chain([skip, back]).collect()
}

/// Gates that a user skips.
#[derive(Clone, Debug)]
pub(crate) struct Skip {
    pub(crate) gates: Vec<String>,
    pub(crate) reason: String,
}

/// Writes the gates that a user skips for a color. The patch fails unless the spec is as it was read, because the list is written as a whole.
/// Entries of the stage for other colors are dropped, because they have no effect any more.
pub(crate) fn skip(
    change: &mut crate::patch::Change,
    rainbow: &Rainbow,
    (stage, color): (&str, &str),
    skip: &Skip,
    by: Option<&String>,
) {
    let known = |gate: &String| {
        let is_it =
            |known: &&SkippedGate| (known.stage.as_str(), &known.gate, known.color.as_str()) == (stage, gate, color);
        rainbow.spec.skipped_gates.iter().find(is_it)
    };
    if skip.gates.iter().all(|gate| known(gate).is_some_and(|known| known.reason == skip.reason)) {
        return;
    }
    let stays =
        |known: &&SkippedGate| known.stage != stage || known.color == color && !skip.gates.contains(&known.gate);
    let mut all: Vec<SkippedGate> = rainbow.spec.skipped_gates.iter().filter(stays).cloned().collect();
    all.extend(skip.gates.iter().map(|gate| SkippedGate {
        stage: stage.to_owned(),
        gate: gate.clone(),
        color: color.to_owned(),
        reason: skip.reason.clone(),
        by: by.cloned(),
        at: Some(hold::now()),
    }));
    change.test(&["metadata", "generation"], rainbow.metadata.generation.unwrap_or_default());
    change.set(&["spec", "skippedGates"], serde_json::json!(all));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns a Rainbow whose stage `active` is in a shift from v1 to v2, at a step.
    pub(crate) fn at_step(step: i32, gates: Value) -> Rainbow {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop", "generation": 7 },
            "spec": {
                "tiers": [],
                "gates": [{ "name": "errors", "count": 3, "traffic": {} }, { "name": "release", "manual": {} }],
                "stages": [{ "name": "active", "color": "v2", "shift": { "steps": [
                    { "pods": 1 }, { "pause": {} }, { "gate": "errors" }, { "pause": { "for": "5m" } }, { "percent": 100 },
                ] } }],
            },
            "status": { "observedGeneration": 7, "stages": [{
                "name": "active", "service": "s", "color": "v1", "target": "v2", "gates": gates,
                "shift": {
                    "from": "v1", "to": "v2", "phase": "Shifting", "moved": 1, "of": 5, "step": step, "steps": 5,
                    "startedAt": "2026-01-01T00:00:00Z", "stepSince": "2026-01-01T00:01:00Z",
                },
            }] },
        }))
        .unwrap()
    }

    pub(crate) fn gate(name: &str, moment: &str, verdict: &str, passed: i32) -> Value {
        json!({
            "name": name, "color": "v2", "moment": moment, "verdict": verdict, "since": "2026-01-01T00:01:00Z",
            "counts": { "passed": passed }, "at": (moment == "Step").then_some(3),
        })
    }

    #[test]
    fn steps_in_words() {
        let words = |step: i32| {
            let rainbow = at_step(step, json!([]));
            let shift = rainbow.status.as_ref().unwrap().stages[0].shift.clone().unwrap();
            Step::of(&rainbow.spec.stages[0], &shift).unwrap().words()
        };
        let expected = [
            "step 1 of 5: 1 pod",
            "step 2 of 5: pause, for `rainbow resume`",
            "step 3 of 5: gate errors",
            "step 4 of 5: pause for 5m",
            "step 5 of 5: 100% of the pods",
            "all 5 steps are done",
        ];
        assert_eq!([1, 2, 3, 4, 5, 6].map(words), expected);
    }

    #[test]
    fn a_pause_step_is_passed_once() {
        let mut rainbow = at_step(2, json!([]));
        let step = pause_step(&rainbow, &rainbow.spec.stages[0]).unwrap();
        assert_eq!((step.step, step.color.as_str(), step.shift.as_str()), (2, "v2", "2026-01-01T00:00:00Z"));
        rainbow.spec.passed_steps.push(step.clone());
        assert_eq!(pause_step(&rainbow, &rainbow.spec.stages[0]), None);
        // A pass of an earlier shift does not count.
        rainbow.spec.passed_steps[0].shift = "2025-01-01T00:00:00Z".into();
        assert_eq!(pause_step(&rainbow, &rainbow.spec.stages[0]), Some(step.clone()));
        // Nor does a pass of another color in the same shift.
        rainbow.spec.passed_steps[0] = PassedStep { color: "v1".into(), ..step.clone() };
        assert_eq!(pause_step(&rainbow, &rainbow.spec.stages[0]), Some(step));
        let at_gate = at_step(3, json!([]));
        assert_eq!(pause_step(&at_gate, &at_gate.spec.stages[0]), None);
    }

    #[test]
    fn what_blocks() {
        let names = |gates: Value| -> Vec<String> {
            let rainbow = at_step(3, gates);
            blocking(&rainbow, "active").into_iter().map(|gate| gate.name.clone()).collect()
        };
        assert_eq!(names(json!([gate("errors", "Step", "Running", 2)])), ["errors"]);
        assert_eq!(names(json!([gate("errors", "Step", "Passed", 3)])), [""; 0]);
        assert_eq!(names(json!([gate("pods", "Watch", "Running", 2)])), [""; 0]);
        assert_eq!(names(json!([gate("release", "Before", "Failed", 0)])), ["release"]);
        let rainbow = at_step(3, json!([gate("errors", "Step", "Running", 2)]));
        assert_eq!(progress(&rainbow, blocking(&rainbow, "active")[0]), "2 of 3 good");
    }

    #[test]
    fn a_skip_replaces_entries_of_other_colors() {
        let mut rainbow = at_step(3, json!([]));
        let entry = |stage: &str, gate: &str, color: &str| json!({ "stage": stage, "gate": gate, "color": color, "reason": "old" });
        rainbow.spec.skipped_gates = serde_json::from_value(json!([
            entry("active", "errors", "v1"),
            entry("active", "release", "v2"),
            entry("smoke", "errors", "v1"),
        ]))
        .unwrap();
        let mut change = crate::patch::Change::default();
        let asked = Skip { gates: vec!["errors".into()], reason: "known".into() };
        skip(&mut change, &rainbow, ("active", "v2"), &asked, Some(&"ann".into()));
        let written = serde_json::to_value(change.operations()).unwrap();
        let kept: Vec<String> = written[1]["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                format!("{} {} {} {}", entry["stage"], entry["gate"], entry["color"], entry["reason"]).replace('"', "")
            })
            .collect();
        assert_eq!(kept, ["active release v2 old", "smoke errors v1 old", "active errors v2 known"]);
    }
}
