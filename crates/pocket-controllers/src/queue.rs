//! Work queue: one worker at a time works on a key, and a failed key comes back with growing backoff.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::Error;

/// Backoff of the controllers of Kubernetes (client-go's `DefaultTypedControllerRateLimiter`): a controller may see late that
/// a quota has room again.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LAST_BACKOFF: Duration = Duration::from_secs(1000);

/// Next action for a key after its work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing until the key is added again.
    Rest,
    /// Work on the key again after this time.
    Again(Duration),
}

impl After {
    /// Returns the earlier of two.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Again(a), Self::Again(b)) => Self::Again(a.min(b)),
            (Self::Rest, other) | (other, Self::Rest) => other,
        }
    }
}

impl From<Option<Duration>> for After {
    fn from(after: Option<Duration>) -> Self {
        after.map_or(Self::Rest, Self::Again)
    }
}

/// Work queue. Clones share it.
pub(crate) struct Queue<K>(Arc<Inner<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<K> {
    state: Mutex<QueueState<K>>,
    wake: Notify,
}

struct QueueState<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, or to be worked on again because of a change during their work.
    dirty: HashSet<K>,
    working: HashSet<K>,
    /// Time at which a key comes back, and the keys by that time; the number distinguishes keys of the same time.
    due: HashMap<K, (Instant, u64)>,
    timers: BTreeMap<(Instant, u64), K>,
    number: u64,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Send + std::fmt::Debug + 'static> Queue<K> {
    pub(crate) fn new() -> Self {
        let state = QueueState {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            due: HashMap::new(),
            timers: BTreeMap::new(),
            number: 0,
            failures: HashMap::new(),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), wake: Notify::new() }))
    }

    /// Requests work on a key.
    pub(crate) fn add(&self, key: K) {
        if self.lock().add(key) {
            self.0.wake.notify_one();
        }
    }

    /// Requests work on a key after a while; the earliest request counts.
    pub(crate) fn add_after(&self, key: K, after: Duration) {
        let at = Instant::now() + after;
        let mut state = self.lock();
        if let Some(&(have, number)) = state.due.get(&key) {
            if have <= at {
                return;
            }
            state.timers.remove(&(have, number));
        }
        state.number += 1;
        let slot = (at, state.number);
        state.due.insert(key.clone(), slot);
        state.timers.insert(slot, key);
        drop(state);
        self.0.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next key to work on. The key is not returned again before `done`.
    async fn next(&self) -> K {
        loop {
            let woken = self.0.wake.notified();
            let timer = {
                let mut state = self.lock();
                state.expire();
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    return key;
                }
                state.timers.keys().next().map(|(at, _)| *at)
            };
            match timer {
                None => woken.await,
                Some(at) => tokio::select! {
                    () = woken => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    fn done(&self, key: &K, result: Result<After, Error>) {
        let mut state = self.lock();
        state.working.remove(key);
        let again = state.dirty.contains(key);
        if again {
            state.ready.push_back(key.clone());
        }
        let after = match result {
            Ok(after) => {
                state.failures.remove(key);
                after
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_insert(0);
                let wait = FIRST_BACKOFF.saturating_mul(1 << (*failures).min(20)).min(LAST_BACKOFF);
                *failures += 1;
                // A conflict only means that the cache was behind.
                if error.code() == 409 || error.code() == 404 {
                    tracing::debug!(?key, %error, "again");
                } else {
                    tracing::warn!(?key, %error, ?wait, "failed; will be tried again");
                }
                After::Again(wait)
            }
        };
        drop(state);
        if again {
            self.0.wake.notify_one();
        }
        if let After::Again(wait) = after {
            self.add_after(key.clone(), wait);
        }
    }

    /// Works indefinitely, on up to `workers` keys at a time.
    pub(crate) async fn work<F, R>(self, workers: usize, reconcile: F)
    where
        F: Fn(K) -> R,
        R: Future<Output = Result<After, Error>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                key = self.next(), if tasks.len() < workers => {
                    let (queue, work) = (self.clone(), reconcile(key.clone()));
                    tasks.spawn(async move {
                        let result = work.await;
                        queue.done(&key, result);
                    });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

impl<K: Clone + Eq + Hash> QueueState<K> {
    /// Adds a key; returns whether the queue has something new for a worker.
    fn add(&mut self, key: K) -> bool {
        if !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_by_one_and_again_if_it_changed_meanwhile() {
        let queue = Queue::new();
        let (runs, at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (runs.clone(), at_once.clone());
        let worker = queue.clone().work(4, move |_: &str| {
            let (runs, at_once) = counters.clone();
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                sleep(Duration::from_secs(1)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                runs.fetch_add(1, Ordering::SeqCst);
                Ok(After::Rest)
            }
        });
        for _ in 0..3 {
            queue.add("a");
        }
        let adder = queue.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(500)).await;
            adder.add("a");
            adder.add("a");
        });
        timeout(Duration::from_secs(60), worker).await.unwrap_err();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time() {
        let queue = Queue::new();
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = times.clone();
        let start = Instant::now();
        let worker = queue.clone().work(1, move |_: u8| {
            let mut times = seen.lock().unwrap();
            times.push(start.elapsed().as_millis());
            let result = if times.len() < 5 { Err(Error::Other("no".into())) } else { Ok(After::Rest) };
            async { result }
        });
        queue.add(1);
        timeout(Duration::from_secs(60), worker).await.unwrap_err();
        let waits: Vec<_> = times.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.len() == 4 && waits.windows(2).all(|pair| pair[1] > pair[0]), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_delays_the_earliest_counts() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after(1, Duration::from_secs(30));
        queue.add_after(1, Duration::from_secs(10));
        queue.add_after(1, Duration::from_secs(20));
        assert_eq!(queue.next().await, 1);
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&1, Ok(After::Rest));
        timeout(Duration::from_secs(60), queue.next()).await.unwrap_err();
    }
}
