//! Limit of the writes to the API server: a restart in a large cluster, or a change that concerns every application, must not make the API
//! server unavailable to others.

use std::time::Duration;
use tokio::time::Instant;

/// Number of writes that are allowed at once, and in each second after that.
const BURST: f64 = 400.0;
const PER_SECOND: f64 = 200.0;
/// Lowest balance: the longest time for which one turn, however much it writes, delays all others.
const DEBT: f64 = -PER_SECOND;

/// Bucket of writes that fills with time.
#[derive(Debug)]
pub(crate) struct Throttle {
    left: f64,
    at: Instant,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { left: BURST, at: Instant::now() }
    }

    /// Returns when the next turn may begin. `None`: now.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * PER_SECOND).min(BURST);
        self.at = now;
        // Timers have a resolution of a millisecond.
        (self.left < 1.0)
            .then(|| now + Duration::from_secs_f64((1.0 - self.left) / PER_SECOND).max(Duration::from_millis(1)))
    }

    /// Takes the writes of a turn that has begun. Turns are not divided: an excess is waited for afterwards.
    pub(crate) fn spend(&mut self, writes: usize) {
        self.left = (self.left - writes as f64).max(DEBT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_are_few_in_the_long_run() {
        let mut throttle = Throttle::new();
        let begin = Instant::now();
        for _ in 0..1_000 {
            while let Some(until) = throttle.until() {
                tokio::time::sleep_until(until).await;
            }
            throttle.spend(1);
        }
        let expected = Duration::from_secs(3);
        assert!(begin.elapsed() >= expected - Duration::from_millis(10), "{:?}", begin.elapsed());
        assert!(begin.elapsed() < expected + Duration::from_millis(300), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_turn_is_paid_for_afterwards_and_within_limits() {
        let mut throttle = Throttle::new();
        throttle.spend(500);
        let waits = |throttle: &mut Throttle| throttle.until().map(|until| (until - Instant::now()).as_millis());
        assert_eq!(waits(&mut throttle), Some(505));
        throttle.spend(100_000);
        assert_eq!(waits(&mut throttle), Some(1_005));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(waits(&mut throttle), None);
    }
}
