//! The loop: which application is to be looked at, when, and what became of it.

mod app;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    cache::{Cache, Key},
    clock::Clock,
    watch,
};
use app::{Desk, Done, Step};

/// Applications that are written to at the same time.
const CONCURRENCY: usize = 16;
/// Changes that are taken in before anything is decided on, so that a burst costs one decision.
const BURST: usize = 1000;

/// How the operator runs.
pub struct Options {
    /// The namespace to watch; `None` watches all.
    pub namespace: Option<String>,
    /// How long the cluster's data plane may lag behind the endpoints that the API shows.
    pub propagation: Duration,
    /// Ends the operator: writes under way are finished, nothing new is begun.
    pub shutdown: BoxFuture<'static, ()>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    /// All namespaces, 3 s of propagation (kube-proxy's usual second, and some), no end, the system's clock.
    fn default() -> Self {
        Self {
            namespace: None,
            propagation: Duration::from_secs(3),
            shutdown: futures::future::pending().boxed(),
            clock: Clock::System,
        }
    }
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watches ended, which they never do by themselves.
    #[error("the watches ended")]
    WatchesEnded,
}

/// Runs the operator until it is told to end. Dropping the future at any moment is safe: what is in the cluster says how
/// to go on.
///
/// An API server that is away, or that lacks the custom resource definitions, is waited for.
///
/// # Errors
/// When the watches end.
pub async fn run(client: Client, options: Options) -> Result<(), Error> {
    let mut shutdown = options.shutdown;
    let mut changes = watch::all(&client, options.namespace.as_deref());
    let mut operator = Operator {
        client,
        clock: options.clock,
        propagation: options.propagation,
        cache: Cache::default(),
        desks: HashMap::new(),
        dirty: BTreeSet::new(),
        running: FuturesUnordered::new(),
        started: false,
    };
    loop {
        let due = operator.next_due();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(done) = operator.running.next() => operator.finished(done),
            change = changes.next() => operator.changed(change.ok_or(Error::WatchesEnded)?),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => operator.wake(),
        }
        for _ in 0..BURST {
            match changes.next().now_or_never() {
                Some(Some(change)) => operator.changed(change),
                _ => break,
            }
        }
        operator.start();
    }
    while operator.running.next().await.is_some() {}
    Ok(())
}

struct Operator {
    client: Client,
    clock: Clock,
    propagation: Duration,
    cache: Cache,
    desks: HashMap<Key, Desk>,
    /// To be looked at.
    dirty: BTreeSet<Key>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    /// All caches have been filled once.
    started: bool,
}

impl Operator {
    fn changed(&mut self, change: watch::Change) {
        let keys = self.cache.change(change, self.clock.now());
        for key in &keys {
            if !self.cache.apps.contains_key(key) && !self.desks.get(key).is_some_and(|desk| desk.running) {
                self.desks.remove(key);
            }
        }
        self.dirty.extend(keys);
        if !self.started && self.cache.synced() {
            self.started = true;
            self.cache.start(self.clock.now());
            tracing::info!(applications = self.cache.apps.len(), "the operator has seen everything and begins");
        }
    }

    fn finished(&mut self, done: Done) {
        let key = done.key.clone();
        if let Some(app) = self.cache.apps.get_mut(&key) {
            for (uid, hash, digest) in &done.outcome.settled {
                app.settled.remember(uid, hash, *digest);
            }
        }
        self.desks.entry(key.clone()).or_default().finished(done, &key);
        self.dirty.insert(key);
    }

    /// The earliest time at which something is to be looked at again without a change.
    fn next_due(&self) -> Option<Instant> {
        self.desks.values().filter(|desk| !desk.running).filter_map(|desk| desk.due).min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        for (key, desk) in &mut self.desks {
            if desk.due.is_some_and(|due| due <= now) {
                desk.due = None;
                self.dirty.insert(key.clone());
            }
        }
    }

    fn start(&mut self) {
        if !self.started {
            return;
        }
        let mut later = BTreeSet::new();
        for key in std::mem::take(&mut self.dirty) {
            let desk = self.desks.entry(key.clone()).or_default();
            if desk.running || self.running.len() >= CONCURRENCY {
                later.insert(key);
                continue;
            }
            match desk.step(&mut self.cache, &key, &self.client, self.clock, self.propagation) {
                Step::Nothing => {}
                Step::Forget => drop(self.desks.remove(&key)),
                Step::Run(future) => {
                    desk.running = true;
                    self.running.push(future);
                }
            }
        }
        self.dirty = later;
    }
}
