//! The loop: which application is to be looked at, when, and what became of it.

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use rainbow_api::Sidecar;
use std::collections::{BTreeSet, HashMap};
use tokio::time::{Instant, sleep_until};

use crate::{
    cache::Cache,
    change::Change,
    clock::Clock,
    count::{Answer, Counter},
    discover,
    domain::Means,
    health::{self, Health},
    key::Key,
    kind::Kind,
    leader::Candidate,
    live::Object,
    options::{Error, Options},
    reconcile::{Done, Reconciler, Step, With},
    watch,
};

/// Applications that are written to at the same time.
const CONCURRENCY: usize = 16;
/// Changes that are taken in before anything is decided on, so that a burst costs one decision.
const BURST: usize = 1000;

/// Runs the operator until it is told to end. Dropping the future at any moment is safe: what is in the cluster says how
/// to go on.
///
/// An API server that is away, or that lacks the custom resource definitions, is waited for.
///
/// # Errors
/// When the cluster's Kubernetes is older than [`discover::OLDEST`], or when the watches end.
pub async fn run(client: Client, mut options: Options) -> Result<(), Error> {
    tokio::select! {
        () = &mut options.shutdown => return Ok(()),
        supported = discover::wait(&client) => supported?,
    }
    let Some(election) = options.election.take() else {
        return lead(&client, &mut options).await;
    };
    let mut candidate = Candidate::new(&client, &election, options.clock);
    loop {
        tokio::select! {
            () = &mut options.shutdown => {
                candidate.resign().await;
                return Ok(());
            }
            () = candidate.elected() => {}
        }
        tracing::info!(name = election.identity, "this operator leads");
        let end = tokio::select! {
            // What was under way is dropped, as in a crash: another one leads now.
            () = candidate.lost() => None,
            end = lead(&client, &mut options) => Some(end),
        };
        if let Some(health) = &options.health {
            health.waits();
        }
        if let Some(end) = end {
            candidate.resign().await;
            return end;
        }
    }
}

/// Runs the operator as the one that acts.
async fn lead(client: &Client, options: &mut Options) -> Result<(), Error> {
    let mut changes = watch::all(client, options.namespace.as_deref());
    // Every supported cluster runs native sidecars; colors of earlier operators may have recorded a plain container.
    let sidecar = |image: &String| Sidecar { image: image.clone(), native: true };
    let mut operator = Operator {
        client: client.clone(),
        clock: options.clock,
        means: Means {
            propagation: options.propagation,
            swap: options.swap,
            sidecar: options.tally_image.as_ref().map(sidecar),
        },
        counter: Counter::start(client.clone(), options.count_via, options.clock),
        cache: Cache::default(),
        reconcilers: HashMap::new(),
        dirty: BTreeSet::new(),
        running: FuturesUnordered::new(),
        started: false,
        health: options.health.clone(),
    };
    let mut beat = tokio::time::interval(health::BEAT);
    loop {
        let due = operator.next_due();
        tokio::select! {
            biased;
            () = &mut options.shutdown => break,
            _ = beat.tick(), if operator.health.is_some() => operator.beat(),
            Some(done) = operator.running.next() => operator.finished(done),
            change = changes.next() => {
                operator.changed(change.ok_or(Error::WatchesEnded)?);
            }
            Some(answer) = operator.counter.answer() => operator.answered(answer),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => operator.wake(),
        }
        for _ in 0..BURST {
            match changes.next().now_or_never() {
                Some(Some(change)) => operator.changed(change),
                _ => break,
            }
        }
        while let Some(answer) = operator.counter.answer_now() {
            operator.answered(answer);
        }
        operator.start();
    }
    while operator.running.next().await.is_some() {}
    Ok(())
}

struct Operator {
    client: Client,
    clock: Clock,
    means: Means,
    counter: Counter,
    cache: Cache,
    reconcilers: HashMap<Key, Reconciler>,
    /// To be looked at.
    dirty: BTreeSet<Key>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    /// All caches have been filled once.
    started: bool,
    health: Option<Health>,
}

impl Operator {
    fn changed(&mut self, (kind, change): (Kind, Change<Object>)) {
        let keys = self.cache.change(kind, change, self.clock.now());
        for key in &keys {
            if !self.cache.apps.contains_key(key)
                && !self.reconcilers.get(key).is_some_and(|reconciler| reconciler.running)
                && let Some(mut reconciler) = self.reconcilers.remove(key)
            {
                reconciler.stop_counting(key, &self.counter);
            }
        }
        self.dirty.extend(keys);
        if !self.started && self.cache.synced() {
            self.started = true;
            self.cache.start(self.clock.now());
            tracing::info!(applications = self.cache.apps.len(), "the operator has seen everything and begins");
            self.beat();
        }
    }

    fn beat(&self) {
        if let Some(health) = &self.health {
            let rainbows = self.cache.apps.values().filter(|app| app.root.is_some());
            health.beat(self.started, rainbows.count());
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { key, pod, uid, reading, worth } = answer;
        let Some(app) = self.cache.apps.get_mut(&key) else { return };
        if app.known.answer(&pod, &uid, reading, self.clock.now(), worth) {
            self.reconcilers.entry(key).or_default().answered();
        }
    }

    fn finished(&mut self, done: Done) {
        let key = done.key.clone();
        if let Some(health) = &self.health {
            health.turn(done.outcome.expectations.len(), done.outcome.failure.is_some());
        }
        if let Some(app) = self.cache.apps.get_mut(&key) {
            for (uid, hash, digest) in &done.outcome.settled {
                app.settled.remember(uid, hash, *digest);
            }
        }
        self.reconcilers.entry(key.clone()).or_default().finished(done, &key);
        self.dirty.insert(key);
    }

    /// The earliest time at which something is to be looked at again without a change.
    fn next_due(&self) -> Option<Instant> {
        self.reconcilers.values().filter(|reconciler| !reconciler.running).filter_map(|reconciler| reconciler.due).min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        for (key, reconciler) in &mut self.reconcilers {
            if reconciler.due.is_some_and(|due| due <= now) {
                reconciler.due = None;
                self.dirty.insert(key.clone());
            }
        }
    }

    fn start(&mut self) {
        if !self.started {
            return;
        }
        let mut later = BTreeSet::new();
        let with = With { client: &self.client, clock: self.clock, means: &self.means, counter: &self.counter };
        for key in std::mem::take(&mut self.dirty) {
            let reconciler = self.reconcilers.entry(key.clone()).or_default();
            if reconciler.running || self.running.len() >= CONCURRENCY {
                later.insert(key);
                continue;
            }
            match reconciler.step(&mut self.cache, &key, &with) {
                Step::Nothing => {}
                Step::Forget => {
                    reconciler.stop_counting(&key, &self.counter);
                    self.reconcilers.remove(&key);
                }
                Step::Run(future) => {
                    reconciler.running = true;
                    self.running.push(future);
                }
            }
        }
        self.dirty = later;
    }
}
