//! How often a pod is asked: often where something is about to happen, seldom where nothing can.

use std::time::Duration;

use super::reading::Reading;

/// The shortest and the longest time between two questions to a pod.
const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// Connections that cannot be told from probes yet can be told soon.
const UNDECIDED: Duration = Duration::from_millis(500);
/// Questions a second to all pods of an application that are worth asking often, and to those that are not: what costs
/// nothing is asked more often than it has to be.
const RATE: usize = 100;
const SLOW_RATE: usize = 10;
/// So long before a deadline it is worth knowing exactly what it will end.
const NEAR: Duration = Duration::from_secs(15);
/// A connection that is older than this is likely to stay.
const OLD: u64 = 60;

/// What the last question came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Last<'a> {
    /// There was an answer.
    Read(&'a Reading),
    /// There was none, for so many times in a row.
    Failed(u32),
}

/// The time to the next question to a pod, of so many that the application has, and so long before its deadline.
pub(super) fn pause(last: Last<'_>, pods: usize, to_deadline: Option<Duration>) -> Duration {
    let wanted = match last {
        Last::Failed(times) => SHORTEST.saturating_mul(2u32.saturating_pow(times.saturating_sub(1))).min(LONGEST),
        _ if to_deadline.is_some_and(|left| left <= NEAR) => SHORTEST,
        Last::Read(reading) => answered(reading).min(each(pods, SLOW_RATE).max(2 * SHORTEST)),
    };
    wanted.max(each(pods, RATE))
}

/// The pause of each of so many pods at a rate for all of them: more pods are asked less often, so that the questions a
/// second do not grow with them.
fn each(pods: usize, rate: usize) -> Duration {
    Duration::from_millis(u64::try_from(pods.saturating_mul(1000) / rate).unwrap_or(u64::MAX)).min(LONGEST)
}

fn answered(reading: &Reading) -> Duration {
    match reading.count {
        0 if reading.fresh > 0 => UNDECIDED,
        // Settling, or about to.
        0..=3 => SHORTEST,
        4..=30 => 2 * SHORTEST,
        // Young ones come and go.
        _ if reading.oldest_seconds().is_some_and(|oldest| oldest < OLD) => 2 * SHORTEST,
        31..=100 => LONGEST / 2,
        _ => LONGEST,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::reading::Port, *};

    fn reading(count: u64, fresh: u64, oldest_seconds: u64) -> Reading {
        Reading {
            count,
            fresh,
            ports: vec![Port { port: 80, count, oldest_seconds: Some(oldest_seconds), peers: Vec::new() }],
            ..Reading::default()
        }
    }

    #[track_caller]
    fn check(last: Last<'_>, pods: usize, to_deadline: Option<u64>, milliseconds: u64) {
        assert_eq!(pause(last, pods, to_deadline.map(Duration::from_secs)), Duration::from_millis(milliseconds));
    }

    #[test]
    fn often_near_zero_and_seldom_at_many() {
        check(Last::Read(&reading(0, 0, 0)), 5, None, 1_000);
        check(Last::Read(&reading(3, 0, 3600)), 5, None, 1_000);
        check(Last::Read(&reading(30, 0, 3600)), 5, None, 2_000);
        check(Last::Read(&reading(100, 0, 3600)), 100, None, 5_000);
        check(Last::Read(&reading(5_000, 0, 3600)), 100, None, 10_000);
        check(Last::Read(&reading(5_000, 0, 3600)), 30, None, 3_000);
        check(Last::Read(&reading(5_000, 0, 3600)), 5, None, 2_000);
        check(Last::Read(&reading(5_000, 0, 10)), 100, None, 2_000);
        check(Last::Read(&reading(0, 1, 0)), 5, None, 500);
    }

    #[test]
    fn often_before_the_deadline() {
        check(Last::Read(&reading(5_000, 0, 3600)), 100, Some(600), 10_000);
        check(Last::Read(&reading(5_000, 0, 3600)), 100, Some(15), 1_000);
    }

    #[test]
    fn failures_wait_longer_each_time() {
        check(Last::Failed(1), 5, None, 1_000);
        check(Last::Failed(3), 5, Some(5), 4_000);
        check(Last::Failed(99), 5, None, 10_000);
    }

    #[test]
    fn many_pods_are_asked_less_often() {
        check(Last::Read(&reading(0, 0, 0)), 500, None, 5_000);
        check(Last::Read(&reading(0, 0, 0)), 100_000, None, 10_000);
    }
}
