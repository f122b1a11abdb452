//! Knowledge about the connections of pods, with its lifetime: an answer that is not renewed in time expires.

use rainbow_plan::{Connections, Time};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::reading::Reading;
use crate::messages;

/// Longest time for which the clock in a pod may stand still. After it, the pod's answers come from an old memory.
const STANDS_STILL: Duration = Duration::from_secs(10);

/// Knowledge about the pods that are asked.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Pods by name.
    pods: HashMap<String, Pod>,
    /// Time that a pod must be without connections before it may end.
    settle: Duration,
}

/// Time for which an answer is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    /// Time by which the next answer has come, or is late.
    pub(crate) next: Duration,
    /// Time after which any answer has expired.
    pub(crate) last: Duration,
}

/// Way in which the connections of a pod can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CountMethod {
    /// The pod is asked.
    Asked,
    /// The pod has no address, so no client can be connected to it.
    Unreachable,
    /// The connections cannot be known, for this reason.
    Never(&'static str),
}

#[derive(Debug)]
struct Pod {
    uid: String,
    how: CountMethod,
    /// Time since when the pod should be asked.
    wanted: Time,
    evidence: Option<Evidence>,
    /// Last answer that said something, however old.
    reading: Option<Reading>,
    /// Last time of the answerer's clock, and when the clock was last seen to advance.
    clock: (Option<u64>, Time),
    /// Time since when all connections may be probes or clients.
    undecided: Option<Time>,
    /// Reason why the last question was not answered.
    failure: Option<String>,
    /// Last result that was reported.
    told: Option<(Connections, bool)>,
}

/// Content of the last answer, together with those before.
#[derive(Clone, Copy, Debug)]
struct Evidence {
    found: Counted,
    /// Time at which the last answer came.
    seen: Time,
    validity: Validity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Busy { count: u32, since: Time },
    Idle { since: Time },
}

impl Evidence {
    /// Returns the last moment at which the answer is valid. An idle answer expires after `settle`, or when the next answer is late if that
    /// is later: a pod may go only when it has been idle for all of `settle`.
    fn until(&self, settle: Duration) -> Time {
        let validity = match self.found {
            Counted::Busy { .. } => self.validity.last,
            Counted::Idle { .. } => self.validity.next.max(settle).min(self.validity.last),
        };
        self.seen.after(validity)
    }
}

impl Pod {
    fn new(uid: &str, how: CountMethod, now: Time) -> Self {
        let failure = match how {
            CountMethod::Never(why) => Some(why.to_owned()),
            CountMethod::Asked | CountMethod::Unreachable => None,
        };
        Self {
            uid: uid.to_owned(),
            how,
            wanted: now,
            evidence: None,
            reading: None,
            clock: (None, now),
            undecided: None,
            failure,
            told: None,
        }
    }

    fn connections(&self, settle: Duration, now: Time) -> Connections {
        let Some(evidence) = self.evidence.filter(|_| self.how == CountMethod::Asked) else {
            return match self.how {
                CountMethod::Unreachable => Connections::Idle { since: self.wanted, counted: now },
                CountMethod::Asked | CountMethod::Never(_) => Connections::Unknown { since: self.wanted },
            };
        };
        let until = evidence.until(settle);
        if until < now {
            return Connections::Unknown { since: until };
        }
        match (evidence.found, self.undecided) {
            (Counted::Busy { count, since }, _) => Connections::Busy { count, since },
            // A pod that may have a client now is kept.
            (Counted::Idle { .. }, Some(since)) => Connections::Unknown { since },
            (Counted::Idle { since }, None) => Connections::Idle { since, counted: evidence.seen },
        }
    }

    /// Returns the connections without what changes at each count, and for an idle pod whether the counts span all of `settle`.
    fn news(&self, settle: Duration, now: Time) -> (Connections, bool) {
        match self.connections(settle, now) {
            Connections::Idle { since, counted } => {
                (Connections::Idle { since, counted: since }, counted >= since.after(settle))
            }
            other => (other, false),
        }
    }

    fn take(&mut self, reading: Reading, settle: Duration, now: Time, validity: Validity) {
        let (at, ticked) = self.clock;
        if reading.at.is_none() || reading.at != at {
            self.clock = (reading.at, now);
        } else if now.0.saturating_sub(ticked.0) > milliseconds(STANDS_STILL) {
            self.failure = Some(messages::CLOCK_STANDS_STILL.to_owned());
            return;
        }
        let current = self.evidence.filter(|evidence| evidence.until(settle) >= now).map(|evidence| evidence.found);
        let found = match (reading.count, reading.fresh, current) {
            // The answer says nothing. What was known before stays valid for as long as it was, and no longer.
            (0, 1.., _) => {
                self.undecided = self.undecided.or(Some(now));
                self.failure = Some(messages::UNDECIDED.to_owned());
                return;
            }
            (0, 0, Some(Counted::Idle { since })) => Counted::Idle { since },
            (0, 0, _) => {
                let busy = self.evidence.filter(|evidence| matches!(evidence.found, Counted::Busy { .. }));
                Counted::Idle { since: reading.idle_since(busy.map(|evidence| evidence.seen), now) }
            }
            (count, _, before) => {
                let since = match before {
                    Some(Counted::Busy { since, .. }) => since,
                    _ => now,
                };
                Counted::Busy { count: u32::try_from(count).unwrap_or(u32::MAX), since }
            }
        };
        self.evidence = Some(Evidence { found, seen: now, validity });
        self.undecided = None;
        self.failure = None;
        self.reading = Some(reading);
    }
}

impl Known {
    /// Sets the pods that are of interest from now on, by name and uid, and forgets all others. A pod may end when it has had no
    /// connections for `settle`. Returns whether more is known now, without a question.
    pub(crate) fn ask<'a>(
        &mut self,
        pods: impl Iterator<Item = (&'a str, &'a str, CountMethod)>,
        settle: Duration,
        now: Time,
    ) -> bool {
        self.settle = settle;
        let mut asked = HashSet::new();
        let mut news = false;
        for (name, uid, how) in pods {
            asked.insert(name);
            if self.pods.get(name).is_none_or(|known| known.uid != uid || known.how != how) {
                news |= how != CountMethod::Asked;
                self.pods.insert(name.to_owned(), Pod::new(uid, how, now));
            }
        }
        if asked.len() < self.pods.len() {
            self.pods.retain(|name, _| asked.contains(name.as_str()));
        }
        news
    }

    /// Forgets what is known of pods with peers that did not count before, because connections of other peers count from now on. Returns
    /// whether that is news.
    pub(crate) fn count_others(&mut self, now: Time) -> bool {
        let mut news = false;
        for pod in self.pods.values_mut().filter(|pod| pod.reading.as_ref().is_some_and(|known| known.ignored > 0)) {
            news |= pod.evidence.take().is_some();
            (pod.wanted, pod.undecided) = (now, None);
        }
        news
    }

    /// Takes in an answer, which is valid for `validity`. Returns whether the pod's state or failure has changed.
    pub(crate) fn answer(
        &mut self,
        name: &str,
        uid: &str,
        answer: Result<Reading, String>,
        now: Time,
        validity: Validity,
    ) -> bool {
        let settle = self.settle;
        let Some(pod) = self.pods.get_mut(name).filter(|pod| pod.uid == uid) else { return false };
        let failure = pod.failure.clone();
        // The state that was reported last may have changed since, without an answer.
        let before = pod.news(settle, now);
        match answer {
            Ok(reading) => pod.take(reading, settle, now, validity),
            Err(why) => pod.failure = Some(why),
        }
        let after = pod.news(settle, now);
        pod.told.replace(after) != Some(after) || before != after || failure != pod.failure
    }

    /// Returns what is known of a pod's connections. A pod that is not asked is unknown from now on.
    pub(crate) fn connections(&self, name: &str, now: Time) -> Connections {
        self.pods.get(name).map_or(Connections::Unknown { since: now }, |pod| pod.connections(self.settle, now))
    }

    /// Returns the last answer that said something, however old.
    pub(crate) fn reading(&self, name: &str) -> Option<&Reading> {
        self.pods.get(name)?.reading.as_ref()
    }

    /// Returns whether anything is known of a pod: it has answered, or the reason why it has not is known.
    pub(crate) fn was_asked(&self, name: &str) -> bool {
        self.pods.get(name).is_some_and(|pod| pod.reading.is_some() || pod.failure.is_some())
    }

    /// Returns why the connections of a pod are not known now.
    pub(crate) fn failure(&self, name: &str) -> Option<&str> {
        self.pods.get(name)?.failure.as_deref()
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Connections::{Busy, Idle, Unknown};

    const WORTH: Validity = Validity { next: Duration::from_secs(3), last: Duration::from_secs(5) };
    const SETTLE: Duration = Duration::from_secs(30);

    /// Idle since `since`, as of the count at `counted`.
    const fn idle(since: i64, counted: i64) -> Connections {
        Idle { since: Time(since), counted: Time(counted) }
    }

    struct Table(Known);

    impl Table {
        fn new() -> Self {
            Self::settling(SETTLE)
        }

        fn settling(settle: Duration) -> Self {
            let mut known = Known::default();
            known.ask([("p", "u", CountMethod::Asked)].into_iter(), settle, Time(0));
            Self(known)
        }

        /// Takes an answer at a time in milliseconds: count and fresh, or none. Checks what is known then.
        #[track_caller]
        fn at(&mut self, now: i64, answer: Option<(u64, u64)>, expected: Connections) {
            let answer = answer
                .map(|(count, fresh)| Reading { count, fresh, at: Some(now.unsigned_abs()), ..Reading::default() })
                .ok_or_else(|| "no answer".to_owned());
            self.0.answer("p", "u", answer, Time(now), WORTH);
            assert_eq!(self.0.connections("p", Time(now)), expected);
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let mut table = Table::new();
        assert_eq!(table.0.connections("p", Time(700)), Unknown { since: Time(0) });
        table.at(900, None, Unknown { since: Time(0) });
        assert_eq!(table.0.connections("other", Time(700)), Unknown { since: Time(700) });
    }

    #[test]
    fn times_are_kept_while_it_stays_so() {
        let mut table = Table::new();
        table.at(1_000, Some((3, 0)), Busy { count: 3, since: Time(1_000) });
        table.at(2_000, Some((1, 2)), Busy { count: 1, since: Time(1_000) });
        table.at(3_000, Some((0, 0)), idle(3_000, 3_000));
        table.at(4_000, Some((0, 0)), idle(3_000, 4_000));
        table.at(5_000, Some((1, 0)), Busy { count: 1, since: Time(5_000) });
        table.at(6_000, Some((0, 0)), idle(6_000, 6_000));
    }

    #[test]
    fn a_lost_answer_is_forgiven_and_a_second_one_is_not() {
        let mut table = Table::new();
        table.at(1_000, Some((0, 0)), idle(1_000, 1_000));
        table.at(4_000, None, idle(1_000, 1_000));
        table.at(5_000, Some((0, 0)), idle(1_000, 5_000));
        table.at(10_001, None, Unknown { since: Time(10_000) });
        assert_eq!(table.0.failure("p"), Some("no answer"));
        table.at(11_000, Some((0, 0)), idle(11_000, 11_000));
        assert_eq!(table.0.failure("p"), None);
    }

    #[test]
    fn what_cannot_be_told_from_probes_says_nothing() {
        let mut table = Table::new();
        table.at(1_000, Some((0, 1)), Unknown { since: Time(0) });
        table.at(1_500, Some((0, 0)), idle(1_500, 1_500));
        table.at(2_500, Some((0, 1)), Unknown { since: Time(2_500) });
        table.at(3_000, Some((0, 0)), idle(1_500, 3_000));
        for now in [4_000, 6_000, 8_000] {
            table.at(now, Some((0, 2)), Unknown { since: Time(4_000) });
        }
        table.at(8_500, Some((0, 2)), Unknown { since: Time(8_000) });
    }

    #[test]
    fn when_other_peers_count_nothing_is_known() {
        let mut known = Table::new().0;
        let answer =
            |ignored, at| Ok(Reading { ignored, at: Some(at), idle: Duration::from_secs(99), ..Reading::default() });
        known.answer("p", "u", answer(0, 1), Time(100_000), WORTH);
        assert!(!known.count_others(Time(100_500)), "nobody was left out");
        assert_eq!(known.connections("p", Time(100_500)), idle(1_000, 100_000));
        known.answer("p", "u", answer(2, 2), Time(101_000), WORTH);
        assert!(known.count_others(Time(101_500)));
        assert_eq!(known.connections("p", Time(101_500)), Unknown { since: Time(101_500) });
    }

    #[test]
    fn a_clock_that_stands_still_says_nothing() {
        let mut known = Table::new().0;
        let answer = || Ok(Reading { at: Some(7), ..Reading::default() });
        for now in [1_000, 6_000, 11_000] {
            known.answer("p", "u", answer(), Time(now), WORTH);
            assert_eq!(known.connections("p", Time(now)), idle(1_000, now));
        }
        known.answer("p", "u", answer(), Time(16_500), WORTH);
        assert_eq!(known.connections("p", Time(16_500)), Unknown { since: Time(16_000) });
    }

    #[test]
    fn another_pod_of_the_same_name_is_another_pod() {
        let mut table = Table::new();
        table.at(1_000, Some((0, 0)), idle(1_000, 1_000));
        table.0.ask([("p", "new", CountMethod::Asked)].into_iter(), SETTLE, Time(2_000));
        assert!(!table.0.answer("p", "u", Ok(Reading::default()), Time(3_000), WORTH), "an answer of the old one");
        assert_eq!(table.0.connections("p", Time(3_000)), Unknown { since: Time(2_000) });
        table.0.ask(std::iter::empty(), SETTLE, Time(4_000));
        assert!(table.0.pods.is_empty());
    }

    #[test]
    fn some_are_known_without_a_question() {
        let mut table = Table::new();
        table.at(1_000, Some((2, 0)), Busy { count: 2, since: Time(1_000) });
        assert!(table.0.ask([("p", "u", CountMethod::Unreachable)].into_iter(), SETTLE, Time(2_000)));
        assert!(!table.0.ask([("p", "u", CountMethod::Unreachable)].into_iter(), SETTLE, Time(3_000)));
        assert_eq!(table.0.connections("p", Time(99_000)), idle(2_000, 99_000));
        assert!(!table.0.ask([("p", "u", CountMethod::Asked)].into_iter(), SETTLE, Time(4_000)));
        assert_eq!(table.0.connections("p", Time(4_500)), Unknown { since: Time(4_000) }, "it has an address now");
        assert!(table.0.ask([("p", "u", CountMethod::Never("no counter"))].into_iter(), SETTLE, Time(5_000)));
        assert_eq!(table.0.connections("p", Time(6_000)), Unknown { since: Time(5_000) });
        assert_eq!(table.0.failure("p"), Some("no counter"));
    }

    #[test]
    fn that_nobody_was_there_is_worth_no_more_than_settle() {
        let mut table = Table::settling(Duration::from_secs(4));
        table.at(1_000, Some((0, 0)), idle(1_000, 1_000));
        assert_eq!(table.0.connections("p", Time(5_000)), idle(1_000, 1_000), "the planner sees that it is one count");
        assert_eq!(table.0.connections("p", Time(5_001)), Unknown { since: Time(5_000) });
        table.at(5_001, None, Unknown { since: Time(5_000) });
        table.at(6_000, Some((0, 0)), idle(6_000, 6_000));
        table.at(8_000, Some((0, 0)), idle(6_000, 8_000));
        table.at(10_000, Some((0, 0)), idle(6_000, 10_000));
        assert_eq!(table.0.connections("p", Time(14_000)), idle(6_000, 10_000));
        assert_eq!(table.0.connections("p", Time(14_001)), Unknown { since: Time(14_000) });
        // A busy answer is valid for longer than an idle one.
        table.at(15_000, Some((1, 0)), Busy { count: 1, since: Time(15_000) });
        assert_eq!(table.0.connections("p", Time(20_000)), Busy { count: 1, since: Time(15_000) });
    }

    #[test]
    fn an_answer_that_is_not_late_yet_is_worth_something_however_short_the_time_to_settle() {
        let mut table = Table::settling(Duration::from_secs(1));
        table.at(1_000, Some((0, 0)), idle(1_000, 1_000));
        assert_eq!(table.0.connections("p", Time(2_500)), idle(1_000, 1_000), "the second one is not there yet");
        let second = Ok(Reading { at: Some(2_600), ..Reading::default() });
        assert!(table.0.answer("p", "u", second, Time(2_600), WORTH), "it is what is waited for");
        assert_eq!(table.0.connections("p", Time(2_600)), idle(1_000, 2_600));
        assert_eq!(table.0.connections("p", Time(5_600)), idle(1_000, 2_600));
        assert_eq!(table.0.connections("p", Time(5_601)), Unknown { since: Time(5_600) });
    }

    #[test]
    fn a_new_operator_believes_a_counter_that_has_looked_all_the_time() {
        let quiet =
            |at: u64, seconds| Ok(Reading { at: Some(at), idle: Duration::from_secs(seconds), ..Reading::default() });
        let mut known = Table::new().0;
        known.answer("p", "u", quiet(100_000, 40), Time(100_000), WORTH);
        assert_eq!(known.connections("p", Time(100_000)), idle(60_000, 100_000));
        // A connection that was seen here takes precedence over what the answer says.
        let busy = Ok(Reading { count: 1, at: Some(101_000), ..Reading::default() });
        known.answer("p", "u", busy, Time(101_000), WORTH);
        known.answer("p", "u", quiet(110_000, 60), Time(110_000), WORTH);
        assert_eq!(known.connections("p", Time(110_000)), idle(101_000, 110_000));
        let mut known = Table::new().0;
        known.answer("p", "u", quiet(7, u64::MAX), Time(100_000), WORTH);
        assert!(matches!(known.connections("p", Time(100_000)), Idle { since, .. } if since < Time(0)), "no overflow");
    }

    #[test]
    fn only_news_are_told() {
        let mut known = Table::new().0;
        let mut tell = |now, count| {
            let answer = Ok(Reading { count, at: Some(now), ..Reading::default() });
            known.answer("p", "u", answer, Time(i64::try_from(now).unwrap()), WORTH)
        };
        assert!(tell(1_000, 2));
        assert!(!tell(2_000, 2));
        assert!(tell(3_000, 1));
        assert!(tell(4_000, 0));
        assert!(!tell(5_000, 0));
    }
}
