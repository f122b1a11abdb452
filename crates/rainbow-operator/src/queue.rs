//! Queue of applications: those that have waited longest come first, and those that are due are added.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};
use tokio::time::Instant;

use crate::key::Key;

/// Applications that must be looked at, now or at a given time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Arc<Key>>,
    /// Applications in `waiting`, so that each is there only once.
    queued: HashSet<Arc<Key>>,
    timers: BTreeSet<(Instant, Arc<Key>)>,
    /// Entry of each application in `timers`.
    due: HashMap<Arc<Key>, Instant>,
}

impl Queue {
    /// Adds an application at the end. One that waits already keeps its place.
    pub(crate) fn push(&mut self, key: Arc<Key>) {
        if self.queued.insert(Arc::clone(&key)) {
            self.waiting.push_back(key);
        }
    }

    /// Removes and returns the application that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Arc<Key>> {
        let key = self.waiting.pop_front()?;
        self.queued.remove(&key);
        if self.waiting.is_empty() {
            // Only the start queues every application, so the memory is not needed later.
            self.waiting.shrink_to_fit();
            self.queued.shrink_to_fit();
        }
        Some(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sets when an application is queued although nothing has changed. `None`: it is not.
    pub(crate) fn wake_at(&mut self, key: &Arc<Key>, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.due.insert(Arc::clone(key), at),
            None => self.due.remove(key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.timers.remove(&(before, Arc::clone(key)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Arc::clone(key)));
        }
    }

    /// Returns the earliest time at which an application is due.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Queues the applications that are due.
    pub(crate) fn wake(&mut self, now: Instant) {
        while self.next_wake().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.timers.pop_first() else { return };
            self.due.remove(&key);
            self.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(name: &str) -> Arc<Key> {
        Arc::new(Key { namespace: "n".into(), name: name.into() })
    }

    fn all(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|key| key.name.clone()).collect()
    }

    #[test]
    fn oldest_first_and_each_once() {
        let mut queue = Queue::default();
        for name in ["z", "a", "m", "a", "z"] {
            queue.push(key(name));
        }
        assert_eq!(all(&mut queue), ["z", "a", "m"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_has_had_a_turn_goes_to_the_end() {
        let mut queue = Queue::default();
        ["a", "b", "z"].into_iter().for_each(|name| queue.push(key(name)));
        for expected in ["a", "b", "z", "a"] {
            let next = queue.pop().unwrap();
            assert_eq!(next.name, expected);
            queue.push(next);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_is_the_last_one_that_was_said() {
        let now = Instant::now();
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        let mut queue = Queue::default();
        queue.wake_at(&key("a"), at(5));
        queue.wake_at(&key("a"), at(3));
        queue.wake_at(&key("b"), at(4));
        queue.wake_at(&key("c"), at(1));
        queue.wake_at(&key("c"), None);
        assert_eq!(queue.next_wake(), at(3));
        queue.wake(now + Duration::from_secs(3));
        assert_eq!(all(&mut queue), ["a"]);
        assert_eq!(queue.next_wake(), at(4));
        queue.wake(now + Duration::from_secs(9));
        assert_eq!((all(&mut queue), queue.next_wake()), (vec!["b".to_owned()], None));
    }
}
