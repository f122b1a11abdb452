//! Current time, and how times are written in statuses and annotations.

use k8s_openapi::jiff::Timestamp;
use rainbow_plan::Time;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Source of the operator's time.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// System clock, which other machines and restarts agree on.
    #[default]
    System,
    /// Clock that runs with the timers of tokio, so that it stands still where they are paused. For tests.
    Tokio {
        /// Time at `start`.
        base: Time,
        /// Instant at which the time was `base`.
        start: Instant,
    },
}

impl Clock {
    /// Returns a clock that runs with tokio's timers from now on.
    pub fn tokio() -> Self {
        Self::Tokio { base: system_now(), start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        match self {
            Self::System => system_now(),
            Self::Tokio { base, start } => Time(base.0.saturating_add(milliseconds(start.elapsed()))),
        }
    }

    /// Returns the instant at which tokio's timers reach a time, which is now if the time has passed.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let wait = time.0.saturating_sub(self.now().0).max(0).unsigned_abs();
        // A time that is centuries away counts as a day: the plan is made again then.
        Instant::now() + Duration::from_millis(wait.min(24 * 3600 * 1000))
    }
}

fn system_now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a time in RFC 3339, with milliseconds where there are any.
pub(crate) fn write(time: Time) -> String {
    timestamp(time).to_string()
}

/// Reads a time in RFC 3339. `None`: the text is no time.
pub(crate) fn read(text: &str) -> Option<Time> {
    text.parse::<Timestamp>().ok().map(from_timestamp)
}

pub(crate) fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn from_timestamp(timestamp: Timestamp) -> Time {
    Time(timestamp.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_being_written() {
        for time in [Time(0), Time(1_790_000_000_000), Time(1_790_000_000_123)] {
            assert_eq!(read(&write(time)), Some(time));
        }
        assert_eq!(read("yesterday"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_tokio_goes_with_its_timers() {
        let clock = Clock::tokio();
        let begin = clock.now();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(clock.now().0 - begin.0, 30_000);
        assert_eq!(clock.instant(Time(begin.0 + 31_000)) - Instant::now(), Duration::from_secs(1));
        assert_eq!(clock.instant(begin), Instant::now());
    }
}
