//! The loop: which application is to be looked at, when, and what became of it.

mod app;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use rainbow_api::Sidecar;
use rainbow_plan::Swap;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    cache::{Cache, Key},
    clock::Clock,
    count::{Answer, CountVia, Counter},
    discover::{self, TooOld},
    domain::Means,
    health::{self, Health},
    leader::{Candidate, Election},
    watch,
};
use app::{Desk, Done, Step, With};

/// Applications that are written to at the same time.
const CONCURRENCY: usize = 16;
/// Changes that are taken in before anything is decided on, so that a burst costs one decision.
const BURST: usize = 1000;

/// The counter's image, unless told otherwise.
pub const TALLY_IMAGE: &str = concat!("ghcr.io/rainbow-dev/tally:", env!("CARGO_PKG_VERSION"));

/// How the operator runs.
pub struct Options {
    /// The namespace to watch; `None` watches all.
    pub namespace: Option<String>,
    /// How long the cluster's data plane may lag behind the endpoints that the API shows.
    pub propagation: Duration,
    /// How a stage moves from pods to pods.
    pub swap: Swap,
    /// How pods are asked for their connections.
    pub count_via: CountVia,
    /// The image of the counter that is put into new pods; `None`: none is, and where it is wanted a color drains until
    /// its deadline.
    pub tally_image: Option<String>,
    /// Where several operators may run, they elect one that acts; the others wait. `None`: this is the only one.
    pub election: Option<Election>,
    /// Where the operator says how it is; [`Health::serve`] tells others.
    pub health: Option<Health>,
    /// Ends the operator: writes under way are finished, nothing new is begun.
    pub shutdown: BoxFuture<'static, ()>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    /// All namespaces, 3 s of propagation (kube-proxy's usual second, and some), no election, no end, the system's clock.
    fn default() -> Self {
        Self {
            namespace: None,
            propagation: Duration::from_secs(3),
            swap: Swap::Direct,
            count_via: CountVia::default(),
            tally_image: Some(TALLY_IMAGE.to_owned()),
            election: None,
            health: None,
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
    /// The cluster is too old.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

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
        desks: HashMap::new(),
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
    desks: HashMap<Key, Desk>,
    /// To be looked at.
    dirty: BTreeSet<Key>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    /// All caches have been filled once.
    started: bool,
    health: Option<Health>,
}

impl Operator {
    fn changed(&mut self, change: watch::Change) {
        let keys = self.cache.change(change, self.clock.now());
        for key in &keys {
            if !self.cache.apps.contains_key(key)
                && !self.desks.get(key).is_some_and(|desk| desk.running)
                && let Some(mut desk) = self.desks.remove(key)
            {
                desk.stop_asking(key, &self.counter);
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
            self.desks.entry(key).or_default().answered();
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
        let with = With { client: &self.client, clock: self.clock, means: &self.means, counter: &self.counter };
        for key in std::mem::take(&mut self.dirty) {
            let desk = self.desks.entry(key.clone()).or_default();
            if desk.running || self.running.len() >= CONCURRENCY {
                later.insert(key);
                continue;
            }
            match desk.step(&mut self.cache, &key, &with) {
                Step::Nothing => {}
                Step::Forget => {
                    desk.stop_asking(&key, &self.counter);
                    self.desks.remove(&key);
                }
                Step::Run(future) => {
                    desk.running = true;
                    self.running.push(future);
                }
            }
        }
        self.dirty = later;
    }
}
