//! Pace of statuses: at once where the next plan depends on them, otherwise at most once a second, and counts less often.

use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

use super::status::Difference;

/// Shortest time between two writes of a status because of a change that the next plan does not depend on. A minor change also waits this
/// long for further ones, since a rollout changes many things at a time.
const EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two writes of a status because of counts alone.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// Object that a status belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Rainbow,
    /// Color of this name.
    Color(String),
}

/// Memory of all statuses between the turns of an application.
#[derive(Default)]
pub(super) struct Pacing(HashMap<Subject, StatusPace>);

/// Memory of a status.
#[derive(Clone, Copy, Debug, Default)]
struct StatusPace {
    /// Time of the last write.
    written: Option<Instant>,
    /// Time since when the status differs from what is written.
    differs: Option<Instant>,
}

/// One turn of an application.
pub(super) struct Round<'a> {
    pacing: &'a mut Pacing,
    now: Instant,
    later: Option<Instant>,
}

impl Pacing {
    pub(super) fn round(&mut self, now: Instant) -> Round<'_> {
        Round { pacing: self, now, later: None }
    }
}

impl Round<'_> {
    /// Returns whether a status with this difference is to be written now.
    pub(super) fn is_due(&mut self, of: &Subject, difference: Difference) -> bool {
        let paced = self.pacing.0.entry(of.clone()).or_default();
        if difference == Difference::None {
            paced.differs = None;
            return false;
        }
        let gathered = *paced.differs.get_or_insert(self.now) + EVERY;
        let again = |every: Duration| paced.written.map_or(self.now, |written| written + every);
        let due = match difference {
            Difference::None | Difference::Major => self.now,
            Difference::State => again(EVERY),
            Difference::Minor => gathered.max(again(EVERY)),
            Difference::Counts => again(COUNTS_EVERY),
        };
        if due > self.now {
            self.later = Some(self.later.map_or(due, |later| later.min(due)));
            return false;
        }
        *paced = StatusPace { written: Some(self.now), differs: None };
        true
    }

    /// Ends the turn. Returns when to look again. Objects that are gone are forgotten.
    pub(super) fn end(self, is_there: impl Fn(&Subject) -> bool) -> Option<Instant> {
        self.pacing.0.retain(|of, _| is_there(of));
        self.later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(name: &str) -> Subject {
        Subject::Color(name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn the_less_it_says_the_longer_it_waits() {
        let begin = Instant::now();
        let mut pacing = Pacing::default();
        let mut at = |milliseconds: u64, difference| {
            let mut round = pacing.round(begin + Duration::from_millis(milliseconds));
            let due = round.is_due(&color("v1"), difference);
            let next = round.end(|_| true).map(|next| next.duration_since(begin).as_millis());
            (due, next)
        };
        assert_eq!(at(1_000, Difference::Counts), (true, None));
        assert_eq!(at(1_500, Difference::Counts), (false, Some(6_000)));
        assert_eq!(at(1_600, Difference::Minor), (false, Some(2_500)));
        assert_eq!(at(1_700, Difference::State), (false, Some(2_000)));
        assert_eq!(at(1_800, Difference::Major), (true, None));
        assert_eq!(at(2_799, Difference::State), (false, Some(2_800)));
        assert_eq!(at(2_800, Difference::State), (true, None));
        assert_eq!(at(9_000, Difference::State), (true, None), "it has not been written for long");
        assert_eq!(at(20_000, Difference::Minor), (false, Some(21_000)));
        assert_eq!(at(20_500, Difference::None), (false, None), "it is again what is written");
        assert_eq!(at(20_800, Difference::Minor), (false, Some(21_800)));
        assert_eq!(at(21_800, Difference::Minor), (true, None));
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut pacing = Pacing::default();
        let mut round = pacing.round(Instant::now());
        assert!(round.is_due(&color("v1"), Difference::Major) && round.is_due(&color("v2"), Difference::Major));
        round.end(|of| *of == color("v2"));
        assert_eq!(pacing.0.into_keys().collect::<Vec<_>>(), [color("v2")]);
    }
}
