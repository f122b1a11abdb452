//! Record of a check, and the part of it that the status keeps.

use rainbow_api::{GateCounts, GateMoment, GateStatus, GateVerdict, Measurement, RainbowStatus};
use rainbow_plan::{Check, Moment, Time};

use super::{judge::Judged, place::stage_and_tier, verdict};
use crate::clock;

/// Number of measurements that the status has of a check.
const MEASUREMENTS: usize = 5;
/// Number of checks that the status has of a stage.
pub(super) const CHECKS: usize = 32;

/// State of a check.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) check: Check,
    /// Time since when measurements count.
    pub(super) since: Time,
    pub(super) verdict: GateVerdict,
    pub(super) decided: Option<Time>,
    /// Time since when no plan names the check.
    pub(super) ended: Option<Time>,
    pub(super) dry_run: bool,
    pub(super) counts: GateCounts,
    /// Latest measurements, newest last.
    pub(super) measurements: Vec<Measurement>,
    pub(super) message: Option<String>,
}

impl Record {
    pub(super) fn new(check: Check, since: Time) -> Self {
        Self {
            check,
            since,
            verdict: GateVerdict::Running,
            decided: None,
            ended: None,
            dry_run: false,
            counts: GateCounts::default(),
            measurements: Vec::new(),
            message: None,
        }
    }

    /// Adds a measurement.
    pub(super) fn add(&mut self, judged: Judged, now: Time) {
        verdict::count(&mut self.counts, judged.outcome);
        let Judged { outcome, value, query, message } = judged;
        self.measurements.push(Measurement { at: clock::write(now), outcome, value, query, message });
        let too_many = self.measurements.len().saturating_sub(MEASUREMENTS);
        self.measurements.drain(..too_many);
    }

    /// Sets the verdict, with the time at which it was reached.
    pub(super) fn decide(&mut self, verdict: GateVerdict, message: Option<String>, now: Time) {
        if verdict != self.verdict {
            self.verdict = verdict;
            self.decided = (verdict != GateVerdict::Running).then_some(now);
        }
        self.message = message;
    }

    /// Returns the check as the status has it, without the name of its stage.
    pub(super) fn status(&self) -> GateStatus {
        let (_, address) = stage_and_tier(&self.check.stage);
        let number = |number: u32| Some(i32::try_from(number).unwrap_or(i32::MAX));
        let (moment, at, tier) = match &self.check.moment {
            Moment::Before => (GateMoment::Before, None, None),
            Moment::During { moved } => (GateMoment::During, number(*moved), None),
            Moment::Step { index } => (GateMoment::Step, number(index.saturating_add(1)), None),
            Moment::Between { tier } => (GateMoment::Between, None, Some(tier.as_str())),
            Moment::After => (GateMoment::After, None, None),
            Moment::Watch => (GateMoment::Watch, None, None),
        };
        GateStatus {
            name: self.check.gate.clone(),
            color: self.check.color.clone(),
            moment,
            at,
            tier: tier.or(address).map(str::to_owned),
            verdict: self.verdict,
            dry_run: self.dry_run,
            since: clock::write(self.since),
            decided_at: self.decided.map(clock::write),
            ended_at: self.ended.map(clock::write),
            counts: self.counts,
            measurements: self.measurements.clone(),
            message: self.message.clone(),
        }
    }

    /// Reads a check from the status of its stage. `None`: the status is not one that an operator has written.
    fn read(stage: &str, status: &GateStatus) -> Option<Self> {
        let number = || status.at.and_then(|at| u32::try_from(at).ok());
        let moment = match status.moment {
            GateMoment::Before => Moment::Before,
            GateMoment::During => Moment::During { moved: number()? },
            GateMoment::Step => Moment::Step { index: number()?.checked_sub(1)? },
            GateMoment::Between => Moment::Between { tier: status.tier.clone()? },
            GateMoment::After => Moment::After,
            GateMoment::Watch => Moment::Watch,
        };
        let address = status.tier.as_deref().filter(|_| status.moment != GateMoment::Between);
        let stage = address.map_or_else(|| stage.to_owned(), |tier| rainbow_plan::inner_name(stage, tier));
        let check = Check { stage, gate: status.name.clone(), color: status.color.clone(), moment };
        let time = |text: &Option<String>| text.as_deref().and_then(clock::read);
        Some(Self {
            check,
            since: clock::read(&status.since)?,
            verdict: status.verdict,
            decided: time(&status.decided_at),
            ended: time(&status.ended_at),
            dry_run: status.dry_run,
            counts: status.counts,
            measurements: status.measurements.clone(),
            message: status.message.clone(),
        })
    }

    /// Returns all checks of a status.
    pub(super) fn all(status: &RainbowStatus) -> impl Iterator<Item = Self> + '_ {
        status.stages.iter().flat_map(|stage| stage.gates.iter().filter_map(|gate| Self::read(&stage.name, gate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_api::{MeasurementOutcome, StageStatus};

    #[test]
    fn a_check_is_read_as_it_was_written() {
        for (stage, moment) in [
            ("active", Moment::Before),
            ("active", Moment::During { moved: 3 }),
            ("active.api", Moment::During { moved: 1 }),
            ("active", Moment::Step { index: 0 }),
            ("active", Moment::Between { tier: "api".into() }),
            ("active.api", Moment::After),
            ("active", Moment::Watch),
        ] {
            let check = Check { stage: stage.into(), gate: "errors".into(), color: "v2".into(), moment };
            let mut record = Record::new(check, Time(1_790_000_000_000));
            for _ in 0..7 {
                let judged = Judged { outcome: MeasurementOutcome::Passed, ..Judged::error("no", None) };
                record.add(judged, Time(1_790_000_001_000));
            }
            record.decide(GateVerdict::Passed, Some("why".into()), Time(1_790_000_002_000));
            record.ended = Some(Time(1_790_000_003_000));
            assert_eq!((record.counts.passed, record.measurements.len()), (7, 5));
            let stage = StageStatus { name: "active".into(), gates: vec![record.status()], ..StageStatus::default() };
            let status = RainbowStatus { stages: vec![stage], ..RainbowStatus::default() };
            assert_eq!(Record::all(&status).collect::<Vec<_>>(), [record]);
        }
    }
}
