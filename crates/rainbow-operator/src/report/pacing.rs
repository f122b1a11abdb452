//! When statuses are written: at once where the next plan depends on it, else gathered, and counts seldom.

use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

use super::status::Difference;

/// How long a status waits for more to change, where nothing depends on it. A rollout changes many things at a time.
const GATHER: Duration = Duration::from_millis(250);
/// A status is written at most this often because of counts alone.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// The object that a status is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Rainbow,
    /// A color, by its name.
    Color(String),
}

/// What is remembered between the turns of an application.
#[derive(Default)]
pub(super) struct Pacing {
    /// Since when a status waits for more to change.
    gathering: Option<Instant>,
    /// When a status was written last.
    told: HashMap<Subject, Instant>,
}

/// One turn.
pub(super) struct Round<'a> {
    pacing: &'a mut Pacing,
    now: Instant,
    gathered: bool,
    waits: bool,
    later: Option<Instant>,
}

impl Pacing {
    pub(super) fn round(&mut self, now: Instant) -> Round<'_> {
        let gathered = self.gathering.is_some_and(|since| now >= since + GATHER);
        Round { pacing: self, now, gathered, waits: false, later: None }
    }
}

impl Round<'_> {
    /// Whether a status that differs so is to be written now.
    pub(super) fn is_due(&mut self, of: &Subject, difference: Difference) -> bool {
        let due = match difference {
            Difference::None => false,
            Difference::Major => true,
            Difference::Minor => self.has_gathered(),
            Difference::Counts => match self.pacing.told.get(of).map(|told| *told + COUNTS_EVERY) {
                Some(next) if next > self.now => {
                    self.later = Some(self.later.map_or(next, |later| later.min(next)));
                    false
                }
                _ => self.has_gathered(),
            },
        };
        if due {
            self.pacing.told.insert(of.clone(), self.now);
        }
        due
    }

    fn has_gathered(&mut self) -> bool {
        self.waits |= !self.gathered;
        self.gathered
    }

    /// Ends the turn; when to look again. Objects that are gone are forgotten.
    pub(super) fn end(self, is_there: impl Fn(&Subject) -> bool) -> Option<Instant> {
        self.pacing.told.retain(|of, _| is_there(of));
        self.pacing.gathering = self.waits.then(|| self.pacing.gathering.unwrap_or(self.now));
        let gathered = self.pacing.gathering.map(|since| since + GATHER);
        gathered.into_iter().chain(self.later).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(name: &str) -> Subject {
        Subject::Color(name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn counts_wait_longest() {
        let begin = Instant::now();
        let mut pacing = Pacing::default();
        let mut at = |milliseconds: u64, difference| {
            let mut round = pacing.round(begin + Duration::from_millis(milliseconds));
            let due = round.is_due(&color("v1"), difference);
            let next = round.end(|_| true).map(|next| next.duration_since(begin).as_millis());
            (due, next)
        };
        assert_eq!(at(0, Difference::Counts), (false, Some(250)));
        assert_eq!(at(250, Difference::Counts), (true, None));
        assert_eq!(at(1_000, Difference::Counts), (false, Some(5_250)));
        assert_eq!(at(2_000, Difference::Major), (true, None));
        assert_eq!(at(2_500, Difference::Minor), (false, Some(2_750)));
        assert_eq!(at(2_750, Difference::Minor), (true, None));
        assert_eq!(at(7_700, Difference::Counts), (false, Some(7_750)));
        assert_eq!(at(7_750, Difference::Counts), (false, Some(8_000)));
        assert_eq!(at(8_000, Difference::None), (false, None));
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut pacing = Pacing::default();
        let mut round = pacing.round(Instant::now());
        assert!(round.is_due(&color("v1"), Difference::Major) && round.is_due(&color("v2"), Difference::Major));
        round.end(|of| *of == color("v2"));
        assert_eq!(pacing.told.into_keys().collect::<Vec<_>>(), [color("v2")]);
    }
}
