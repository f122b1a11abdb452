//! Time since which samples have found no client: with it a first question is answered without a wait of the same length.

use std::time::Duration;

use crate::report::Report;

/// Largest distance of two samples without doubt: between samples further apart, a client may have been there.
const GAP: Duration = Duration::from_secs(15);

/// Unbroken series of samples without a client.
#[derive(Debug, Default)]
pub struct Quiet {
    first: Option<Duration>,
    last: Duration,
}

impl Quiet {
    /// Adds a sample's report. Returns for how long no client has been there.
    pub fn sample(&mut self, report: &Report, now: Duration) -> Duration {
        let nobody = report.count == 0 && report.fresh == 0 && report.complete;
        let goes_on = now.saturating_sub(self.last) <= GAP;
        self.last = now;
        self.first = match self.first {
            _ if !nobody => None,
            Some(first) if goes_on => Some(first),
            _ => Some(now),
        };
        self.first.map_or(Duration::ZERO, |first| now.saturating_sub(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(quiet: &mut Quiet, second: u64, count: u64, fresh: u64, complete: bool, expected: u64) {
        let report = Report { ports: Vec::new(), count, fresh, at: 0, complete, idle_seconds: 0 };
        assert_eq!(quiet.sample(&report, Duration::from_secs(second)).as_secs(), expected);
    }

    #[test]
    fn from_the_first_sample_without_anybody() {
        let mut quiet = Quiet::default();
        check(&mut quiet, 0, 0, 0, true, 0);
        check(&mut quiet, 10, 0, 0, true, 10);
        check(&mut quiet, 20, 1, 0, true, 0);
        check(&mut quiet, 21, 0, 0, true, 0);
        check(&mut quiet, 30, 0, 0, true, 9);
    }

    #[test]
    fn what_may_be_somebody_begins_it_anew() {
        let mut quiet = Quiet::default();
        check(&mut quiet, 100, 0, 0, true, 0);
        check(&mut quiet, 101, 0, 1, true, 0);
        check(&mut quiet, 102, 0, 0, true, 0);
        check(&mut quiet, 103, 0, 0, false, 0);
        check(&mut quiet, 104, 0, 0, true, 0);
        check(&mut quiet, 119, 0, 0, true, 15);
        check(&mut quiet, 135, 0, 0, true, 0);
        check(&mut quiet, 136, 0, 0, true, 1);
    }
}
