//! Pace of stages that move step by step, and the time that a move takes.

use std::time::Duration;

use jiff::Timestamp;
use rainbow_api::{HumanDuration, Rainbow, ShiftKind, ShiftPhase, ShiftStatus, ShiftStep, Stage, StepKind, stage_tier};

use crate::words;

/// Longest wait of a command without `--timeout`.
const USUAL: Duration = Duration::from_secs(600);

/// Pace of a stage that does not move at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The same number of pods again and again.
    Rolling {
        /// Number of pods in each step.
        step: i32,
        every: Duration,
    },
    /// The steps of the spec.
    Steps {
        /// Sum of the pauses that end by themselves.
        pauses: Duration,
        /// Sum of those that come after the step that is under way.
        rest: Duration,
        /// Whether a step from there on ends only when a user or a gate allows it, so that the time is unknown.
        is_open: bool,
    },
}

impl Pace {
    /// Returns the pace of a stage that moves by steps. `shift`: the shift that is under way.
    pub(crate) fn of(stage: &Stage, shift: Option<&ShiftStatus>) -> Option<Self> {
        match stage.shift_kind()? {
            ShiftKind::Rolling(rolling) => Some(Self::Rolling { step: rolling.step.max(1), every: rolling.every.0 }),
            ShiftKind::Steps(steps) => {
                let done = shift.and_then(|shift| usize::try_from(shift.step?).ok()).unwrap_or_default();
                let waits = |step: &ShiftStep| matches!(step.kind(), Some(StepKind::Pause(None) | StepKind::Gate(_)));
                Some(Self::Steps {
                    pauses: pauses(steps),
                    rest: pauses(steps.get(done..).unwrap_or_default()),
                    is_open: steps.get(done.saturating_sub(1)..).unwrap_or_default().iter().any(waits),
                })
            }
            ShiftKind::Flip => None,
        }
    }

    /// Returns the time from the first of the given number of pods to the last.
    pub(crate) fn takes(&self, pods: i32) -> Duration {
        match self {
            Self::Rolling { step, every } => {
                let steps = pods.max(0).saturating_add(step - 1) / step;
                every.saturating_mul(u32::try_from(steps - 1).unwrap_or_default())
            }
            Self::Steps { pauses, .. } => *pauses,
        }
    }

    /// Returns the seconds until the last pods of a shift have moved, if nothing delays it.
    fn left(&self, shift: &ShiftStatus, now: Timestamp) -> Option<i64> {
        let pods = shift.of - shift.moved;
        if shift.phase != ShiftPhase::Shifting || pods <= 0 {
            return None;
        }
        let next = next_step(shift, now)?;
        let rest = match self {
            Self::Rolling { .. } => self.takes(pods),
            Self::Steps { is_open: true, .. } => return None,
            Self::Steps { rest, .. } => *rest,
        };
        Some(next.saturating_add(i64::try_from(rest.as_secs()).unwrap_or(i64::MAX)))
    }
}

/// Returns the sum of the pauses that end by themselves.
fn pauses(steps: &[ShiftStep]) -> Duration {
    let pause = |step: &ShiftStep| match step.kind() {
        Some(StepKind::Pause(Some(time))) => time.0,
        _ => Duration::ZERO,
    };
    steps.iter().map(pause).fold(Duration::ZERO, Duration::saturating_add)
}

/// Returns the seconds until the next step. `None`: none is due, or one is under way.
fn next_step(shift: &ShiftStatus, now: Timestamp) -> Option<i64> {
    let since = words::seconds_since(shift.next_step_at.as_deref()?, now)?;
    Some(-since).filter(|seconds| *seconds > 0)
}

/// Returns `next step in 12s, about 42s left`. `None`: the time of the next step is unknown.
pub(crate) fn countdown(pace: Option<Pace>, shift: &ShiftStatus, now: Timestamp) -> Option<String> {
    let next = next_step(shift, now)?;
    let left = pace.and_then(|pace| pace.left(shift, now)).filter(|left| *left > next);
    let left = left.map(|left| format!(", about {} left", words::seconds(left))).unwrap_or_default();
    Some(format!("next step in {}{left}", words::seconds(next)))
}

/// Returns the longest wait for an application, where the user gives none: ten minutes, or twice the time that a stage takes by its own steps
/// and pauses.
pub(crate) fn patience(rainbow: &Rainbow) -> HumanDuration {
    let longest = rainbow.spec.stages.iter().map(|stage| takes(rainbow, stage)).max().unwrap_or_default();
    HumanDuration(USUAL.max(longest.saturating_mul(2)))
}

/// Returns the longest wait for a goal that has no pace of its own.
pub(crate) fn usual() -> HumanDuration {
    HumanDuration(USUAL)
}

/// Returns the time that a stage takes to move if nothing fails and the pods are ready.
fn takes(rainbow: &Rainbow, stage: &Stage) -> Duration {
    let entry = stage_tier(&rainbow.spec, stage);
    let tier = rainbow.spec.tiers.iter().find(|tier| Some(tier.name.as_str()) == entry);
    let pods = stage.replicas.or(tier.map(|tier| tier.replicas)).unwrap_or(1);
    let shift = stage.shift.as_ref();
    let steps = Pace::of(stage, None).map(|pace| pace.takes(pods)).unwrap_or_default();
    let overlap = shift.and_then(|shift| shift.overlap).unwrap_or_default().0;
    let one = steps.saturating_add(overlap.saturating_mul(u32::try_from(pods).unwrap_or(1)));
    // Tiers that move on their own take their time one after the other, with a pause behind each.
    let pause = shift.and_then(|shift| shift.tiers.as_ref()?.pause.as_ref()?.duration);
    let own = u32::try_from(rainbow_api::bound_tiers(&rainbow.spec.tiers).len()).unwrap_or_default();
    // The wait goes on while gates are measured after the move.
    let after = stage.gates.duration.unwrap_or_default().0;
    let all = one.saturating_mul(own.saturating_add(1)).saturating_add(pause.unwrap_or_default().0.saturating_mul(own));
    all.saturating_add(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shift(moved: i32, next: Option<&str>) -> ShiftStatus {
        serde_json::from_value(json!({
            "from": "v1", "to": "v2", "phase": "Shifting", "moved": moved, "of": 5, "startedAt": "", "nextStepAt": next,
        }))
        .unwrap()
    }

    #[test]
    fn counts_down_to_the_next_step_and_to_the_last() {
        let now = "2026-01-01T00:00:20Z".parse().unwrap();
        let said = |pace, moved, next| countdown(pace, &shift(moved, next), now);
        let pace = |step| Some(Pace::Rolling { step, every: Duration::from_secs(30) });
        let soon = Some("2026-01-01T00:00:32Z");
        assert_eq!(said(pace(1), 2, soon).unwrap(), "next step in 12s, about 1m12s left");
        assert_eq!(said(pace(2), 2, soon).unwrap(), "next step in 12s, about 42s left");
        assert_eq!(said(pace(5), 2, soon).unwrap(), "next step in 12s", "it is the last");
        assert_eq!(said(None, 2, soon).unwrap(), "next step in 12s");
        assert_eq!(said(pace(1), 2, Some("2026-01-01T00:00:20Z")), None, "it is due");
        assert_eq!(said(pace(1), 2, None), None);
    }

    #[test]
    fn counts_down_over_the_pauses_of_steps() {
        let said = |steps: serde_json::Value| {
            let stage: Stage =
                serde_json::from_value(json!({ "name": "active", "shift": { "steps": steps } })).unwrap();
            let shift = ShiftStatus { step: Some(2), steps: Some(4), ..shift(1, Some("2026-01-01T00:00:32Z")) };
            let pace = Pace::of(&stage, Some(&shift));
            let all = pace.map(|pace| pace.takes(5).as_secs());
            (countdown(pace, &shift, "2026-01-01T00:00:20Z".parse().unwrap()).unwrap(), all.unwrap())
        };
        let paused =
            json!([{ "pods": 1 }, { "pause": { "for": "30s" } }, { "percent": 50 }, { "pause": { "for": "1m" } }]);
        assert_eq!(said(paused), ("next step in 12s, about 1m12s left".into(), 90));
        let waits =
            json!([{ "pods": 1 }, { "pause": { "for": "30s" } }, { "gate": "errors" }, { "pause": { "for": "1m" } }]);
        assert_eq!(said(waits), ("next step in 12s".into(), 90));
    }

    #[test]
    fn a_slow_stage_is_waited_for_longer() {
        let rainbow = |every: &str| -> Rainbow {
            serde_json::from_value(json!({
                "metadata": { "name": "shop" },
                "spec": {
                    "tiers": [{ "name": "web", "replicas": 5, "template": {} }],
                    "stages": [{ "name": "smoke" }, { "name": "active", "shift": { "rolling": { "step": 1, "every": every } } }],
                },
            }))
            .unwrap()
        };
        assert_eq!(patience(&rainbow("30s")).to_string(), "10m");
        assert_eq!(patience(&rainbow("10m")).to_string(), "1h20m", "four pauses between five steps, twice");
    }
}
