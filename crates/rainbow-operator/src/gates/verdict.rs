//! Verdict of a check, from the numbers of its measurements.

use rainbow_api::{GateCheck, GateCounts, GateVerdict, MeasurementOutcome};
use rainbow_plan::{CheckOutcome, Moment};
use std::time::Duration;

use crate::messages;

/// Time from one measurement to the next where the gate says nothing else.
const INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time from one measurement to the next.
const SHORTEST: Duration = Duration::from_secs(1);
/// Time after which a pending question is asked again.
const PENDING: Duration = Duration::from_secs(2);
/// Number of errors in a row that a gate bears where it says nothing else, as in Argo Rollouts.
const ERRORS: i32 = 4;

/// Adds a measurement.
pub(super) fn count(counts: &mut GateCounts, outcome: MeasurementOutcome) {
    let number = match outcome {
        MeasurementOutcome::Passed => &mut counts.passed,
        MeasurementOutcome::Failed => &mut counts.failed,
        MeasurementOutcome::Inconclusive => &mut counts.inconclusive,
        MeasurementOutcome::NoData => &mut counts.no_data,
        MeasurementOutcome::Error => &mut counts.errors,
    };
    *number = number.saturating_add(1);
    counts.consecutive_errors = match outcome {
        MeasurementOutcome::Error => counts.consecutive_errors.saturating_add(1),
        _ => 0,
    };
}

/// Returns the number of measurements.
pub(super) fn number(counts: &GateCounts) -> u32 {
    let GateCounts { passed, failed, inconclusive, no_data, errors, consecutive_errors: _ } = counts;
    let sum =
        [passed, failed, inconclusive, no_data, errors].into_iter().fold(0i32, |sum, one| sum.saturating_add(*one));
    u32::try_from(sum).unwrap_or(0)
}

/// Returns the verdict after a measurement that is in the counts already.
///
/// A failure is final. A person decides about an inconclusive gate, so no later value makes it pass; and a passed one can only fail.
pub(super) fn after(
    gate: &GateCheck,
    counts: &GateCounts,
    before: GateVerdict,
    outcome: MeasurementOutcome,
) -> GateVerdict {
    let limit = |limit: Option<i32>, default: i32| limit.unwrap_or(default).max(0);
    let too_often = counts.inconclusive > limit(gate.inconclusive_limit, 0)
        || counts.consecutive_errors > limit(gate.consecutive_error_limit, ERRORS);
    let measured = counts.passed.saturating_add(counts.failed).saturating_add(counts.inconclusive);
    if before == GateVerdict::Failed || counts.failed > limit(gate.failure_limit, 0) {
        GateVerdict::Failed
    } else if before == GateVerdict::Passed {
        GateVerdict::Passed
    } else if before == GateVerdict::Inconclusive || too_often {
        GateVerdict::Inconclusive
    } else if counts.passed > 0 && measured >= gate.count.unwrap_or(1).max(1) {
        GateVerdict::Passed
    } else {
        match outcome {
            MeasurementOutcome::NoData => GateVerdict::NoData,
            // No value has come yet.
            MeasurementOutcome::Error if before == GateVerdict::NoData => GateVerdict::NoData,
            _ => GateVerdict::Running,
        }
    }
}

/// Returns why a verdict is what it is, where the numbers tell it. `last` is the reason of the last measurement.
pub(super) fn reason(
    gate: &GateCheck,
    counts: &GateCounts,
    verdict: GateVerdict,
    last: Option<&str>,
) -> Option<String> {
    let limit = |limit: Option<i32>, default: i32| limit.unwrap_or(default).max(0);
    match verdict {
        GateVerdict::Failed => Some(messages::too_many("bad", counts.failed, limit(gate.failure_limit, 0), last)),
        GateVerdict::Inconclusive if counts.inconclusive > limit(gate.inconclusive_limit, 0) => {
            Some(messages::too_many(
                "inconclusive measurements",
                counts.inconclusive,
                limit(gate.inconclusive_limit, 0),
                last,
            ))
        }
        GateVerdict::Inconclusive => Some(messages::errors_in_a_row(counts.consecutive_errors, last)),
        GateVerdict::NoData => Some(messages::NO_DATA.to_owned()),
        GateVerdict::Running | GateVerdict::Passed => last.map(str::to_owned),
    }
}

/// Returns whether a check is measured on after a verdict. One that watches a stage that has moved, or moves, may still fail.
pub(super) fn goes_on(gate: &GateCheck, moment: &Moment, verdict: GateVerdict) -> bool {
    // One Job, and one approval, are enough.
    let is_repeated = gate.job.is_none() && gate.manual.is_none();
    match verdict {
        GateVerdict::Running | GateVerdict::NoData => true,
        GateVerdict::Passed | GateVerdict::Inconclusive => match moment {
            Moment::During { .. } | Moment::After | Moment::Watch => is_repeated,
            Moment::Before | Moment::Step { .. } | Moment::Between { .. } => false,
        },
        GateVerdict::Failed => false,
    }
}

/// Returns the time from one measurement to the next. `None`: the last answer was pending.
pub(super) fn pause(gate: &GateCheck, last: Option<MeasurementOutcome>) -> Duration {
    let interval = gate.interval.map_or(INTERVAL, |interval| interval.0).max(SHORTEST);
    match last {
        None => PENDING,
        // Some errors in a row end the gate, so they must not be as far apart as rare measurements.
        Some(MeasurementOutcome::Error) => interval.min(INTERVAL),
        Some(_) => interval,
    }
}

/// Returns what the planner is given.
pub(super) fn outcome(verdict: GateVerdict) -> Option<CheckOutcome> {
    match verdict {
        GateVerdict::Running => None,
        GateVerdict::Passed => Some(CheckOutcome::Passed),
        GateVerdict::Failed => Some(CheckOutcome::Failed),
        GateVerdict::Inconclusive => Some(CheckOutcome::Inconclusive),
        GateVerdict::NoData => Some(CheckOutcome::NoData),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the verdict after each measurement: `p`, `f`, `i`, `n` and `e`, as `P`, `F`, `I`, `N` and `.` for a gate that runs.
    fn verdicts(gate: &GateCheck, measurements: &str) -> String {
        let (mut counts, mut verdict) = (GateCounts::default(), GateVerdict::Running);
        let one = |letter| {
            let outcome = match letter {
                'p' => MeasurementOutcome::Passed,
                'f' => MeasurementOutcome::Failed,
                'i' => MeasurementOutcome::Inconclusive,
                'n' => MeasurementOutcome::NoData,
                _ => MeasurementOutcome::Error,
            };
            count(&mut counts, outcome);
            verdict = after(gate, &counts, verdict, outcome);
            match verdict {
                GateVerdict::Running => '.',
                GateVerdict::Passed => 'P',
                GateVerdict::Failed => 'F',
                GateVerdict::Inconclusive => 'I',
                GateVerdict::NoData => 'N',
            }
        };
        measurements.chars().map(one).collect()
    }

    #[test]
    fn the_numbers_decide() {
        let plain = GateCheck::default;
        let three = || GateCheck { count: Some(3), ..plain() };
        for (gate, measurements, expected) in [
            (plain(), "p", "P"),
            (plain(), "f", "F"),
            (plain(), "i", "I"),
            (plain(), "n", "N"),
            (plain(), "nnp", "NNP"),
            (plain(), "nf", "NF"),
            (plain(), "nep", "NNP"),
            (plain(), "eeeep", "....P"),
            (plain(), "eeeeep", "....II"),
            (plain(), "eenee", "..NNN"),
            (plain(), "ppf", "PPF"),
            (plain(), "pi", "PP"),
            (plain(), "pn", "PP"),
            (plain(), "peeeeee", "PPPPPPP"),
            (plain(), "fp", "FF"),
            (plain(), "ip", "II"),
            (plain(), "if", "IF"),
            (three(), "ppp", "..P"),
            (three(), "ppf", "..F"),
            (three(), "pnpp", ".N.P"),
            (GateCheck { failure_limit: Some(1), ..three() }, "pfp", "..P"),
            (GateCheck { failure_limit: Some(1), ..three() }, "pff", "..F"),
            // A gate passes by a good measurement only.
            (GateCheck { failure_limit: Some(5), ..plain() }, "fffp", "...P"),
            (GateCheck { inconclusive_limit: Some(1), ..three() }, "pip", "..P"),
            (GateCheck { inconclusive_limit: Some(1), ..three() }, "pii", "..I"),
            (GateCheck { consecutive_error_limit: Some(0), ..plain() }, "ep", "II"),
            (GateCheck { consecutive_error_limit: Some(1), ..three() }, "epepep", ".....P"),
        ] {
            assert_eq!(verdicts(&gate, measurements), expected, "{measurements}");
        }
    }

    #[test]
    fn a_check_is_measured_as_long_as_it_may_change() {
        use GateVerdict::{Failed, Inconclusive, NoData, Passed, Running};
        let gate = GateCheck::default();
        let goes_on = |moment: &Moment, verdict| super::goes_on(&gate, moment, verdict);
        for moment in [Moment::Before, Moment::Step { index: 0 }, Moment::Between { tier: "api".into() }] {
            let all = [Running, NoData, Passed, Inconclusive, Failed].map(|verdict| goes_on(&moment, verdict));
            assert_eq!(all, [true, true, false, false, false], "{moment:?}");
        }
        for moment in [Moment::During { moved: 1 }, Moment::After, Moment::Watch] {
            let all = [Running, NoData, Passed, Inconclusive, Failed].map(|verdict| goes_on(&moment, verdict));
            assert_eq!(all, [true, true, true, true, false], "{moment:?}");
        }
        let job = GateCheck { job: Some(rainbow_api::JobGate::default()), ..GateCheck::default() };
        assert!(!super::goes_on(&job, &Moment::After, Passed));
    }

    #[test]
    fn the_reason_names_the_limit() {
        let counts = GateCounts { failed: 3, inconclusive: 0, consecutive_errors: 5, ..GateCounts::default() };
        let gate = GateCheck { failure_limit: Some(2), ..GateCheck::default() };
        let reason = |verdict, last| super::reason(&gate, &counts, verdict, last);
        let failed = reason(GateVerdict::Failed, Some("`result < 1` is false"));
        assert_eq!(failed.as_deref(), Some("3 bad measurements, more than 2; the last: `result < 1` is false"));
        let errors = reason(GateVerdict::Inconclusive, None);
        assert_eq!(errors.as_deref(), Some("5 measurements in a row without an answer"));
    }

    #[test]
    fn errors_of_a_rare_measurement_are_not_as_far_apart() {
        let gate = |interval: &str| GateCheck { interval: Some(interval.parse().unwrap()), ..GateCheck::default() };
        let seconds = |gate: &GateCheck, last| pause(gate, last).as_secs();
        let (good, bad) = (Some(MeasurementOutcome::Passed), Some(MeasurementOutcome::Error));
        let rare = gate("5m");
        assert_eq!((seconds(&rare, good), seconds(&rare, bad), seconds(&rare, None)), (300, 10, 2));
        let often = gate("2s");
        assert_eq!((seconds(&often, good), seconds(&often, bad)), (2, 2));
        assert_eq!(seconds(&GateCheck::default(), good), 10);
    }
}
