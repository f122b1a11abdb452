//! Delays between attempts. Pure: the caller says how much time has passed.

use std::time::Duration;

/// Delay before a container that ended is started again, as in the kubelet:
/// none the first time, then 10 s, doubled up to 5 min, reset after 10 min of running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CrashLoop {
    next: Duration,
}

impl CrashLoop {
    const FIRST: Duration = Duration::from_secs(10);
    const LAST: Duration = Duration::from_secs(300);
    const FORGET: Duration = Duration::from_secs(600);

    /// Creates the backoff of a container that was restarted before: it does not get the free first restart again.
    pub(crate) fn resume(restarts: i32) -> Self {
        Self { next: if restarts > 0 { Self::FIRST } else { Duration::ZERO } }
    }

    /// Returns the delay before the next start of a container that ran for `ran`.
    pub(crate) fn delay(&mut self, ran: Duration) -> Duration {
        if ran >= Self::FORGET {
            *self = Self::default();
        }
        let delay = self.next;
        self.next = if delay.is_zero() { Self::FIRST } else { (delay * 2).min(Self::LAST) };
        delay
    }
}

/// Delay that doubles between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubling {
    next: Duration,
    last: Duration,
}

impl Doubling {
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self { next: first, last }
    }

    /// Backoff for sandboxes and volumes. Begins small: other components usually create the missing objects within moments.
    pub(crate) const fn setup() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// Backoff for images. The store is local: a new attempt costs next to nothing, so the minutes of a registry backoff are not needed.
    pub(crate) const fn image() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(16))
    }

    /// Returns the next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.last);
        delay
    }

    /// Returns whether the delay has stopped growing.
    pub(crate) fn is_longest(&self) -> bool {
        self.next == self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn crash_loop_as_the_kubelet() {
        let mut crash = CrashLoop::default();
        let delays: Vec<_> = (0..8).map(|_| crash.delay(Duration::ZERO)).collect();
        assert_eq!(delays, seconds(&[0, 10, 20, 40, 80, 160, 300, 300]));
        assert_eq!(crash.delay(Duration::from_secs(599)), Duration::from_secs(300));
        assert_eq!(crash.delay(Duration::from_secs(600)), Duration::ZERO);
        assert_eq!(crash.delay(Duration::ZERO), Duration::from_secs(10));
        assert_eq!(CrashLoop::resume(3).delay(Duration::ZERO), Duration::from_secs(10));
        assert_eq!(CrashLoop::resume(0).delay(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn doubles_to_its_bound() {
        let mut delay = Doubling::new(Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!((0..5).map(|_| delay.delay()).collect::<Vec<_>>(), seconds(&[1, 2, 4, 5, 5]));
        assert!(delay.is_longest());
    }
}
