//! Backoff after a failure.

use std::time::Duration;
use tokio::time::Instant;

/// First wait after a failure. It doubles up to the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// Time before which no attempt is made, with the generation of the spec for which this holds.
    retry: Option<(Instant, Option<i64>)>,
}

impl Backoff {
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Notes a failure to carry out a spec of this generation. Returns the wait.
    pub(super) fn failed(&mut self, generation: Option<i64>) -> Duration {
        let wait = FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some((Instant::now() + wait, generation));
        wait
    }

    /// Returns the number of failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns when the next attempt is due. `None`: now. Another spec is tried at once.
    pub(super) fn until(&self, generation: Option<i64>) -> Option<Instant> {
        let (retry, of) = self.retry?;
        (of == generation && Instant::now() < retry).then_some(retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_is_twice_as_long() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(Some(1)), None);
        let waits: Vec<u128> = (0..4).map(|_| backoff.failed(Some(1)).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400]);
        assert_eq!(backoff.until(Some(1)), Some(Instant::now() + Duration::from_millis(400)));
        assert_eq!(backoff.until(Some(2)), None, "another spec is tried at once");
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(backoff.until(Some(1)), None);
        for _ in 0..100 {
            assert!(backoff.failed(Some(1)) <= LONGEST);
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(None), FIRST);
    }
}
