//! Pace of the questions to a pod: fast where something is about to happen, slow where nothing can.

use std::time::Duration;

use super::reading::Reading;

/// Shortest and longest time between two questions to a pod.
const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// Pause where connections cannot be distinguished from probes yet. They can be soon.
const UNDECIDED: Duration = Duration::from_millis(500);
/// Questions a second to all pods of an application that are worth asking often, and to those that are not: pods that cost nothing to ask
/// are asked more often than necessary.
const RATE: usize = 100;
const SLOW_RATE: usize = 10;
/// Time before a deadline from which it is worth knowing exactly which connections the deadline will end.
const NEAR: Duration = Duration::from_secs(15);
/// Age in seconds beyond which a connection is likely to stay.
const OLD: u64 = 60;

/// Result of the last question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Last<'a> {
    /// The pod has answered.
    Read(&'a Reading),
    /// The pod has not answered, this many times in a row.
    Failed(u32),
}

/// Returns the time until the next question to a pod, for this number of pods of the application and this time until the pod's deadline.
pub(super) fn pause(last: Last<'_>, pods: usize, to_deadline: Option<Duration>) -> Duration {
    let wanted = match last {
        Last::Failed(times) => SHORTEST.saturating_mul(2u32.saturating_pow(times.saturating_sub(1))).min(LONGEST),
        _ if to_deadline.is_some_and(|left| left <= NEAR) => SHORTEST,
        Last::Read(reading) => answered(reading).min(each(pods, SLOW_RATE).max(2 * SHORTEST)),
    };
    wanted.max(each(pods, RATE))
}

/// Returns the pause of each pod at a rate for all pods. More pods are asked less often, so that the number of questions a second does not
/// grow with them.
fn each(pods: usize, rate: usize) -> Duration {
    Duration::from_millis(u64::try_from(pods.saturating_mul(1000) / rate).unwrap_or(u64::MAX)).min(LONGEST)
}

fn answered(reading: &Reading) -> Duration {
    match reading.count {
        0 if reading.fresh > 0 => UNDECIDED,
        // The pod settles, or is about to.
        0..=3 => SHORTEST,
        4..=30 => 2 * SHORTEST,
        // Young connections come and go.
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
