//! Loop of the operator: which application is looked at, when, and what came of it.

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared, pending},
    stream::FuturesUnordered,
};
use kube::Client;
use std::{collections::HashMap, mem, sync::Arc, time::Duration};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    agent,
    cache::Cache,
    change::Change,
    clock::Clock,
    count::{Answer, Counter},
    discover,
    domain::{NewSidecar, OperatorSettings},
    gates::{Measurer, News},
    health::{self, Health, Part},
    key::Key,
    kind::Kind,
    leader::{Candidate, Contention},
    live::Object,
    options::{Error, Options},
    queue::Queue,
    reconcile::{Environment, NextStep, Reconciler, TurnResult, compare, learn},
    throttle::Throttle,
    watch,
};

/// Number of applications that are written to concurrently.
const CONCURRENCY: usize = 64;
/// Number of applications that are looked at before changes are taken in again.
const LOOKS: usize = 100;
/// Number of changes that are taken in before a decision, so that a burst costs one decision.
const BURST: usize = 1000;
/// Longest time for writes that are under way when the operator is asked to end: less than the 30 s after which a kubelet kills it.
const LAST_WRITES: Duration = Duration::from_secs(8);

/// Resolves at the moment from which the operator ends.
type Shutdown = Shared<BoxFuture<'static, ()>>;

/// Runs the operator until it is asked to end. Dropping the future at any moment is safe, since the state in the cluster tells how to
/// continue.
///
/// Waits for an API server that is not reachable, or that lacks the custom resource definitions.
///
/// # Errors
/// Fails when the cluster's Kubernetes is older than [`discover::OLDEST`], when another operator acts and this one does not wait for it, or
/// when the watches end.
pub async fn run(client: Client, mut options: Options) -> Result<(), Error> {
    let client = agent::named(client, agent::OPERATOR);
    // Polled again after the end has begun: an operator may lose its lease while its last writes are under way.
    let shutdown = mem::replace(&mut options.shutdown, pending().boxed()).shared();
    tokio::select! {
        () = shutdown.clone() => return Ok(()),
        supported = discover::wait(&client) => supported?,
    }
    let Some(election) = options.election.take() else {
        return lead(&client, &mut options, shutdown).await;
    };
    let mut candidate = Candidate::new(&client, &election, options.clock);
    loop {
        tokio::select! {
            biased;
            () = shutdown.clone() => {
                candidate.resign().await;
                return Ok(());
            }
            elected = candidate.elected() => elected.map_err(Error::NotAlone)?,
        }
        tracing::info!(name = election.identity, "this operator leads");
        let end = tokio::select! {
            // Writes under way are dropped, as in a crash: another operator leads now.
            rival = candidate.lost() => match (election.others, rival) {
                (Contention::Refuse, Some(rival)) => Some(Err(Error::NotAlone(rival))),
                (Contention::Refuse, None) | (Contention::Wait, _) => None,
            },
            end = lead(&client, &mut options, shutdown.clone()) => Some(end),
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
async fn lead(client: &Client, options: &mut Options, mut shutdown: Shutdown) -> Result<(), Error> {
    let mut changes = watch::all(client, options.namespace.as_deref(), options.config_access);
    let sidecar = |image: &String| NewSidecar { image: image.clone(), defaults: options.sidecar.clone() };
    let mut operator = Operator {
        client: client.clone(),
        clock: options.clock,
        settings: OperatorSettings {
            propagation: options.propagation,
            swap: options.swap,
            sidecar: options.tally_image.as_ref().map(sidecar),
            leads_since: options.clock.now(),
            config: options.config_access,
        },
        counter: Counter::start(client.clone(), options.count_via, options.clock),
        measurer: Measurer::start(client.clone(), options.clock),
        cache: Cache::default(),
        reconcilers: HashMap::new(),
        queue: Queue::default(),
        throttle: Throttle::new(),
        running: FuturesUnordered::new(),
        started: false,
        health: options.health.clone(),
    };
    let mut beat = tokio::time::interval(health::BEAT);
    loop {
        let due = operator.next_wake();
        let more = operator.may_start();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = beat.tick(), if operator.health.is_some() => operator.beat(),
            Some(done) = operator.running.next() => operator.finished(done),
            change = changes.next() => {
                operator.changed(change.ok_or(Error::WatchesEnded)?);
            }
            Some(answer) = operator.counter.answer() => operator.answered(answer),
            Some(news) = operator.measurer.news() => operator.measured(news),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = yield_now(), if more => {}
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
    let last = async { while operator.running.next().await.is_some() {} };
    if timeout(LAST_WRITES, last).await.is_err() {
        tracing::warn!("the last writes are not answered; they are given up");
    }
    Ok(())
}

/// Returns the input of a turn. A macro, because the caches and the reconcilers are borrowed at the same time.
macro_rules! environment {
    ($operator:ident) => {
        Environment {
            client: &$operator.client,
            clock: $operator.clock,
            settings: &$operator.settings,
            counter: &$operator.counter,
            measurer: &$operator.measurer,
            health: $operator.health.as_ref(),
        }
    };
}

struct Operator {
    client: Client,
    clock: Clock,
    settings: OperatorSettings,
    counter: Counter,
    measurer: Measurer,
    cache: Cache,
    /// Boxed, because a table has room for twice as many entries as it holds.
    reconcilers: HashMap<Arc<Key>, Box<Reconciler>>,
    queue: Queue,
    throttle: Throttle,
    running: FuturesUnordered<BoxFuture<'static, TurnResult>>,
    /// Whether all caches have been filled once.
    started: bool,
    health: Option<Health>,
}

impl Operator {
    fn changed(&mut self, (kind, change): (Kind, Change<Object>)) {
        let compared = matches!(kind, Kind::Deployment | Kind::Service | Kind::PodDisruptionBudget) && !self.started;
        let listed = match &change {
            Change::Listed(object) if compared => Some((object.key.clone(), object.name.clone())),
            _ => None,
        };
        let keys = self.cache.change(kind, change, self.clock.now());
        if let Some((key, name)) = listed
            && let Some(app) = self.cache.apps.get_mut(&key)
        {
            compare(app, &key, kind, &name);
        }
        for key in &keys {
            if !self.cache.apps.contains_key(key)
                && !self.reconcilers.get(&**key).is_some_and(|reconciler| reconciler.running)
                && let Some(mut reconciler) = self.reconcilers.remove(&**key)
            {
                self.queue.wake_at(key, None);
                reconciler.stop(key, &environment!(self));
            }
        }
        keys.into_iter().for_each(|key| self.queue.push(key));
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
        let Answer { key, pod, uid, reading, validity } = answer;
        let Some((key, _)) = self.cache.apps.get_key_value(&key) else { return };
        let key = Arc::clone(key);
        let Some(app) = self.cache.apps.get_mut(&key) else { return };
        if app.known.answer(&pod, &uid, reading, self.clock.now(), validity) {
            self.reconcilers.entry(Arc::clone(&key)).or_default().answered();
            self.schedule(&key);
        }
    }

    fn measured(&mut self, news: News) {
        let mut concerned = Vec::new();
        let with = environment!(self);
        match news {
            News::Answered(answered) => {
                let Some((key, _)) = self.cache.apps.get_key_value(&answered.key) else { return };
                let key = Arc::clone(key);
                let known = self.reconcilers.get_mut(&key);
                if known.is_some_and(|known| known.measured(answered, &key, &with)) {
                    concerned.push(key);
                }
            }
            News::TemplatesChanged => {
                let all = self.reconcilers.iter_mut();
                concerned.extend(all.filter_map(|(key, known)| known.templates_changed().then(|| Arc::clone(key))));
            }
        }
        for key in concerned {
            self.schedule(&key);
        }
    }

    fn finished(&mut self, mut done: TurnResult) {
        let key = Arc::clone(&done.key);
        if let Some(health) = &self.health {
            health.turn(done.outcome.expectations.len(), done.outcome.failure.is_some());
        }
        let read = done.read.take();
        if let Some(answers) = &read {
            self.reconcilers.entry(Arc::clone(&key)).or_default().has_read(answers, &done);
        }
        if let Some((app, answers)) = self.cache.apps.get_mut(&key).zip(read) {
            learn(app, answers);
        }
        if let Some(app) = self.cache.apps.get_mut(&key) {
            for (uid, applied, digest) in &done.outcome.settled {
                app.answers.remember(uid.clone(), *applied, *digest);
            }
        }
        self.reconcilers.entry(Arc::clone(&key)).or_default().finished(done, &key, self.clock.now());
        self.queue.push(key);
    }

    /// Schedules an application for the time that its reconciler wants. An application whose writes are under way is looked at after them.
    fn schedule(&mut self, key: &Arc<Key>) {
        let due = self.reconcilers.get(key).filter(|reconciler| !reconciler.running).and_then(|known| known.due);
        self.queue.wake_at(key, due);
    }

    /// Returns whether an application is queued and may be looked at now.
    fn may_start(&mut self) -> bool {
        self.started && self.running.len() < CONCURRENCY && !self.queue.is_empty() && self.throttle.until().is_none()
    }

    /// Returns the earliest time at which there may be something to do without a change.
    fn next_wake(&mut self) -> Option<Instant> {
        let throttled = if self.queue.is_empty() { None } else { self.throttle.until() };
        self.queue.next_wake().into_iter().chain(throttled).min()
    }

    /// Looks at the applications that have waited longest.
    fn start(&mut self) {
        self.queue.wake(Instant::now());
        for _ in 0..LOOKS {
            if !self.may_start() {
                return;
            }
            let Some(key) = self.queue.pop() else { return };
            self.look(&key);
        }
    }

    fn look(&mut self, key: &Arc<Key>) {
        let reconciler = self.reconcilers.entry(Arc::clone(key)).or_default();
        if reconciler.running {
            // The end of the writes queues the application again.
            return;
        }
        let with = environment!(self);
        let step = with.timed(Part::Look, || reconciler.step(&mut self.cache, key, &with));
        if let Some(health) = &self.health {
            health.look();
        }
        match step {
            NextStep::Nothing => {}
            NextStep::Forget => {
                reconciler.stop(key, &with);
                self.reconcilers.remove(key);
            }
            NextStep::Run { writes, turn } => {
                reconciler.running = true;
                self.throttle.spend(writes);
                self.running.push(turn);
            }
        }
        self.schedule(key);
    }
}
