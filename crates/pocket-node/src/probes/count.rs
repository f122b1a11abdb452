//! Verdict of a probe after each result, and the time of the next attempt. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// Numbers of a probe, with Kubernetes' defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Delay before the first attempt.
    pub initial_delay: Duration,
    /// Time between attempts.
    pub period: Duration,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Consecutive failures that make the probe fail.
    pub failures: u32,
    /// Consecutive successes that make the probe succeed.
    pub successes: u32,
}

impl Schedule {
    /// Reads the schedule of a probe.
    pub fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            failures: count(probe.failure_threshold, 3),
            successes: count(probe.success_threshold, 1),
        }
    }
}

/// Meaning of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No change.
    Same,
    /// Probe has now succeeded often enough.
    Up,
    /// Probe has now failed often enough.
    Down,
}

/// Counter of results that also paces the probes of a starting container.
///
/// Until the first success, an `eager` probe is repeated after 10 ms, 20 ms, 40 ms … up to its period, so that a container
/// is seen ready when it is, and not up to a period later. These additional attempts never count as failures: a threshold still
/// means the number of periods that it says.
#[derive(Clone, Debug)]
pub struct Counter {
    schedule: Schedule,
    eager: Option<Duration>,
    up: Option<bool>,
    successes: u32,
    failures: u32,
    /// Time since the last failure that counted.
    since_failure: Option<Duration>,
}

impl Counter {
    const FIRST: Duration = Duration::from_millis(10);

    pub fn new(schedule: Schedule, eager: bool) -> Self {
        Self { schedule, eager: eager.then_some(Self::FIRST), up: None, successes: 0, failures: 0, since_failure: None }
    }

    /// Takes a result. Returns its meaning, the wait before the next attempt, and whether the result counted.
    pub fn take(&mut self, success: bool) -> (Verdict, Duration, bool) {
        if success {
            self.eager = None;
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            let verdict = self.settle(true, self.successes >= self.schedule.successes);
            return (verdict, self.schedule.period, true);
        }
        self.successes = 0;
        let counts = self.since_failure.is_none_or(|since| since >= self.schedule.period);
        let mut verdict = Verdict::Same;
        if counts {
            self.since_failure = Some(Duration::ZERO);
            self.failures = self.failures.saturating_add(1);
            verdict = self.settle(false, self.failures >= self.schedule.failures);
        }
        let passed = self.since_failure.unwrap_or_default();
        let rest = self.schedule.period.saturating_sub(passed);
        let wait = match &mut self.eager {
            Some(step) => {
                let wait = (*step).min(rest);
                *step *= 2;
                wait
            }
            None => rest,
        };
        self.since_failure = Some(passed + wait);
        (verdict, wait, counts)
    }

    fn settle(&mut self, up: bool, enough: bool) -> Verdict {
        if up {
            self.since_failure = None;
        }
        if !enough || self.up == Some(up) {
            return Verdict::Same;
        }
        self.up = Some(up);
        if up { Verdict::Up } else { Verdict::Down }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(failures: u32, successes: u32) -> Schedule {
        Schedule {
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures,
            successes,
        }
    }

    #[test]
    fn thresholds() {
        let mut counter = Counter::new(schedule(2, 2), false);
        let verdicts: Vec<_> =
            [true, true, true, false, true, false, false, false, true, true].map(|ok| counter.take(ok).0).into();
        use Verdict::{Down, Same, Up};
        assert_eq!(verdicts, [Same, Up, Same, Same, Same, Same, Down, Same, Same, Up]);
    }

    #[test]
    fn eager_attempts_do_not_count() {
        let mut counter = Counter::new(schedule(2, 1), true);
        let mut passed = Duration::ZERO;
        let mut counted = Vec::new();
        let mut waits = Vec::new();
        loop {
            let (verdict, wait, counts) = counter.take(false);
            if counts {
                counted.push(passed);
            }
            waits.push(wait.as_millis());
            if verdict == Verdict::Down {
                break;
            }
            passed += wait;
        }
        assert_eq!(counted, [Duration::ZERO, Duration::from_secs(1)], "one a period");
        assert_eq!(waits[..6], [10, 20, 40, 80, 160, 320]);
        assert_eq!(counter.take(true), (Verdict::Up, Duration::from_secs(1), true));
    }

    #[test]
    fn defaults() {
        let schedule = Schedule::of(&Probe { timeout_seconds: Some(0), ..Probe::default() });
        assert_eq!(schedule.period, Duration::from_secs(10));
        assert_eq!(schedule.timeout, Duration::from_secs(1));
        assert_eq!((schedule.failures, schedule.successes), (3, 1));
    }
}
