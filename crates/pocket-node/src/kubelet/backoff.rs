//! Delays between attempts. Pure: the caller says how much time has passed.

use std::time::Duration;

/// How long a container that ended waits before it is started again, as the kubelet counts it:
/// not at all the first time, then 10 s, doubled up to 5 min, forgotten after 10 min of running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CrashLoop {
    next: Duration,
}

impl CrashLoop {
    const FIRST: Duration = Duration::from_secs(10);
    const LAST: Duration = Duration::from_secs(300);
    const FORGET: Duration = Duration::from_secs(600);

    /// For a container that was restarted before: it does not get the free first restart again.
    pub(crate) fn resumed(restarts: i32) -> Self {
        Self { next: if restarts > 0 { Self::FIRST } else { Duration::ZERO } }
    }

    /// The delay before the next start of a container that ran for so long.
    pub(crate) fn delay(&mut self, ran: Duration) -> Duration {
        if ran >= Self::FORGET {
            *self = Self::default();
        }
        let delay = self.next;
        self.next = if delay.is_zero() { Self::FIRST } else { (delay * 2).min(Self::LAST) };
        delay
    }
}

/// A delay that doubles between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubling {
    next: Duration,
    last: Duration,
}

impl Doubling {
    /// From `first` to `last`.
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self { next: first, last }
    }

    /// For sandboxes and volumes: what they wait for is made by others within moments, so it begins small.
    pub(crate) const fn setup() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// For images: the store is local, so looking again costs next to nothing, and one need not wait minutes as for a registry.
    pub(crate) const fn image() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(16))
    }

    /// The next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.last);
        delay
    }

    /// Whether it has stopped growing.
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
        assert_eq!(CrashLoop::resumed(3).delay(Duration::ZERO), Duration::from_secs(10));
        assert_eq!(CrashLoop::resumed(0).delay(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn doubles_to_its_bound() {
        let mut delay = Doubling::new(Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!((0..5).map(|_| delay.delay()).collect::<Vec<_>>(), seconds(&[1, 2, 4, 5, 5]));
        assert!(delay.is_longest());
    }
}
