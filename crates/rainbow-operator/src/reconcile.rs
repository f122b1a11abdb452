//! One application's turn: observe → plan → compile → apply → report.

mod backoff;
mod chains;
mod taken;
mod unseen;

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use rainbow_api::{Rainbow, Reason, SpecError, validate, validate_name};
use rainbow_plan::{ChainKey, Time, plan};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

use crate::{
    apply::{Failure, Outcome, carry_out, carry_out_one, still_foreign},
    cache::{App, Cache},
    clock::Clock,
    compile::{Basis, ChainWrites, Work, compile},
    count::Counter,
    counting::Counting,
    domain::{Means, Names},
    key::Key,
    live::Root,
    manifests::Scope,
    messages,
    observe::{Foreign, observe},
    report::{About, Obstacle, Report, Reporter, hindered},
};
use backoff::Backoff;
use chains::Chains;
use taken::Taken;
use unseen::Unseen;

/// How long an answer about connections waits for more: many pods are asked at a time.
const ANSWERS: Duration = Duration::from_millis(100);
/// Shortest wait before another look: a time that has passed would be asked for again and again.
const SOON: Duration = Duration::from_millis(1);

/// What is remembered of an application between its turns.
#[derive(Default)]
pub(crate) struct Reconciler {
    /// Its writes are under way.
    pub(crate) running: bool,
    /// When to look again although nothing has changed.
    pub(crate) due: Option<Instant>,
    unseen: Unseen,
    taken: Taken,
    chains: Chains,
    /// Failures to write statuses.
    reporting: Backoff,
    reporter: Reporter,
    counting: Counting,
}

/// What a turn needs, whatever the application.
pub(crate) struct With<'a> {
    pub(crate) client: &'a Client,
    pub(crate) clock: Clock,
    pub(crate) means: &'a Means,
    pub(crate) counter: &'a Counter,
}

/// What to do in a turn.
pub(crate) enum Step {
    /// Nothing, until something changes or `due`.
    Nothing,
    /// The application is gone.
    Forget,
    /// Writes.
    Run(BoxFuture<'static, Done>),
}

/// What came of a turn.
pub(crate) struct Done {
    pub(crate) key: Key,
    /// Of all writes.
    pub(crate) outcome: Outcome,
    /// The chains that were tried, and what each failed at.
    chains: Vec<(ChainKey, Option<Failure>)>,
    /// What came of the report; `None`: there was nothing to report.
    report: Option<Result<(), Failure>>,
    purpose: Purpose,
    generation: Option<i64>,
}

/// What a turn's writes were for.
enum Purpose {
    /// To carry out a plan, or to tell of what stands in its way.
    Plan,
    /// To ask whether objects of others are still there; these are.
    Ask(Foreign),
}

/// What is the same for everything in a turn.
struct Turn<'a> {
    key: &'a Key,
    with: &'a With<'a>,
    generation: Option<i64>,
    now: Time,
}

impl Reconciler {
    /// The whole of a turn. Nothing before the writes waits for anything, and the writes own what they need.
    fn reconcile(&mut self, turn: &Turn<'_>, app: &mut App, rainbow: &Arc<Rainbow>, prefix: &str) -> Step {
        let Turn { key, now, .. } = *turn;
        let With { means, clock, counter, .. } = *turn.with;
        let scope = Scope { namespace: &key.namespace, rainbow: &key.name, prefix: Some(prefix) };

        let observed = observe(app, &scope, rainbow, self.taken.names(), means, now);
        let mut plan = plan(&observed.world, now);
        let retry = self.chains.keep_due(&mut plan, turn.generation);
        if self.counting.follow(key, app, rainbow, &plan, counter, now) {
            self.wait_until(Instant::now() + SOON);
        }

        let sidecar = means.sidecar.as_ref();
        let mut work = compile(&plan, Basis { app, scope: &scope, rainbow, observed: &observed, sidecar, now });
        let names = Names { rainbow: &key.name, prefix: Some(prefix), services: &observed.stage_services };
        let troubles = self.chains.troubles();
        let about = About { key, rainbow, app, names, plan: &plan, troubles: &troubles, now };
        let mut report = self.reporter.report(&about);

        let wake = plan.wake.map(|wake| clock.instant(wake).max(Instant::now() + SOON));
        let silent = self.reporting.until(turn.generation);
        let wakes = [wake, report.next, self.taken.next(), retry, silent];
        wakes.into_iter().flatten().for_each(|wake| self.wait_until(wake));
        if silent.is_some() {
            // Nothing is cut that cannot be reported, and nothing is made that would not be held.
            if report.has_cuts() || work.hold.is_some() {
                work.keep_stages();
            }
            report.silence();
        }
        if work.is_empty() && report.is_empty() {
            return Step::Nothing;
        }
        turn.run(Purpose::Plan, work, report)
    }

    /// Takes a turn, if it is time.
    pub(crate) fn step(&mut self, cache: &mut Cache, key: &Key, with: &With<'_>) -> Step {
        self.due = None;
        if let Some(until) = self.unseen.until(cache, key) {
            self.wait_until(until);
            return Step::Nothing;
        }
        let Some(app) = cache.apps.get_mut(key) else { return Step::Forget };
        let Some(root) = app.root.clone() else {
            // The Rainbow is gone; what is left of it goes with its owners.
            self.stop_counting(key, with.counter);
            *self = Self::default();
            return Step::Nothing;
        };
        let turn = Turn { key, with, generation: root.meta().generation, now: with.clock.now() };
        if let Some(names) = self.taken.to_ask() {
            return turn.ask(names);
        }
        let rainbow = match readable(&root) {
            Ok(rainbow) => rainbow,
            Err(obstacle) => return self.tell(&turn, &root, &obstacle),
        };
        // Under another prefix everything would be made a second time, and both Deployments of an instance would select the
        // pods of either. What is there goes under the names that it has.
        let asked = rainbow.spec.name_prefix.as_deref().unwrap_or_default();
        let prefix = app.prefix().unwrap_or(asked).to_owned();
        if prefix != asked && rainbow.metadata.deletion_timestamp.is_none() {
            let message = messages::prefix_changed(&prefix, asked);
            return self.tell(&turn, &root, &Obstacle { reason: Reason::InvalidSpec, message });
        }
        self.reconcile(&turn, app, &rainbow, &prefix)
    }

    /// Puts an obstacle into the status, and does nothing else.
    fn tell(&mut self, turn: &Turn<'_>, root: &Root, obstacle: &Obstacle) -> Step {
        let Some(report) = hindered(root, obstacle, turn.key, turn.generation, turn.now) else { return Step::Nothing };
        if let Some(retry) = self.reporting.until(turn.generation) {
            self.wait_until(retry);
            return Step::Nothing;
        }
        turn.run(Purpose::Plan, Work::NONE, report)
    }

    /// Takes in what came of a turn's writes.
    pub(crate) fn finished(&mut self, done: Done, key: &Key) {
        self.running = false;
        self.unseen.expect(done.outcome.expectations);
        if let Purpose::Ask(foreign) = done.purpose {
            return self.taken.asked(foreign);
        }
        match done.report {
            Some(Err(failure)) => {
                let wait = self.reporting.failed(done.generation);
                tracing::info!(app = %key, %failure, again_in = ?wait, "not everything was reported");
            }
            Some(Ok(())) => self.reporting.succeeded(),
            None => {}
        }
        for (chain, failure) in done.chains {
            match failure {
                None => self.chains.succeeded(&chain),
                Some(Failure::Foreign { kind, name }) => {
                    tracing::warn!(app = %key, %kind, name, "the name is taken by another's object");
                    self.chains.succeeded(&chain);
                    self.taken.insert(kind, name);
                }
                Some(failure) => {
                    let text = failure.to_string();
                    let wait = self.chains.failed(chain, failure, done.generation);
                    tracing::warn!(app = %key, failure = text, again_in = ?wait, "not everything was written");
                }
            }
        }
    }

    /// No pod is asked for its connections any more.
    pub(crate) fn stop_counting(&mut self, key: &Key, counter: &Counter) {
        self.counting.stop(key, counter);
    }

    /// There is news about connections.
    pub(crate) fn answered(&mut self) {
        self.wait_until(Instant::now() + ANSWERS);
    }

    fn wait_until(&mut self, time: Instant) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }
}

impl Turn<'_> {
    /// Asks whether the objects of others are still there.
    fn ask(&self, names: Foreign) -> Step {
        let (client, key, generation) = (self.with.client.clone(), self.key.clone(), self.generation);
        let ask = async move {
            let still = still_foreign(&client, &key, names.into_iter().collect()).await;
            Done::new(key, Purpose::Ask(still.into_iter().collect()), generation)
        };
        Step::Run(ask.boxed())
    }

    /// Stages first. What is cut is reported before it is; everything else is reported when it is done.
    fn run(&self, purpose: Purpose, work: Work, report: Report) -> Step {
        let (client, key, generation) = (self.with.client.clone(), self.key.clone(), self.generation);
        let run = async move {
            let mut done = Done::new(key.clone(), purpose, generation);
            if let Some(hold) = work.hold
                && !done.reported(carry_out_one(&client, &key, &hold).await)
            {
                return done;
            }
            let (stages, mut rest): (Vec<_>, Vec<_>) = work.chains.into_iter().partition(ChainWrites::is_stage);
            done.carried_out(carry_out(&client, &key, stages).await);
            if report.has_cuts() && !done.reported(report.announce(&client, &key).await) {
                rest.retain(|chain| !chain.is_end());
            }
            done.carried_out(carry_out(&client, &key, rest).await);
            let published = report.publish(&client, &key, &done.failed()).await;
            if report.has_statuses() {
                done.reported(published);
            }
            done
        };
        Step::Run(run.boxed())
    }
}

impl Done {
    fn new(key: Key, purpose: Purpose, generation: Option<i64>) -> Self {
        Self { key, outcome: Outcome::default(), chains: Vec::new(), report: None, purpose, generation }
    }

    /// Takes in what came of chains.
    fn carried_out(&mut self, chains: Vec<(ChainKey, Outcome)>) {
        for (chain, outcome) in chains {
            self.chains.push((chain, outcome.failure.clone()));
            self.outcome.merge(outcome);
        }
    }

    /// Takes in what came of statuses, and answers whether they were written.
    fn reported(&mut self, outcome: Outcome) -> bool {
        let good = outcome.failure.is_none();
        let failure = outcome.failure.clone().map_or(Ok(()), Err);
        self.report = Some(self.report.take().map_or(failure.clone(), |before| before.and(failure)));
        self.outcome.merge(outcome);
        good
    }

    /// The chains that failed.
    fn failed(&self) -> BTreeSet<ChainKey> {
        let failed = self.chains.iter().filter(|(_, failure)| failure.is_some());
        failed.map(|(chain, _)| chain.clone()).collect()
    }
}

/// The Rainbow, if it can be planned for.
fn readable(root: &Root) -> Result<Arc<Rainbow>, Obstacle> {
    let invalid = |message: String| Obstacle { reason: Reason::InvalidSpec, message };
    let rainbow = match root {
        Root::Unreadable { error, .. } => return Err(invalid(error.clone())),
        Root::Read(rainbow) => rainbow,
    };
    if rainbow.metadata.deletion_timestamp.is_some() {
        // Whatever the spec says: what was made has to go.
        return Ok(Arc::clone(rainbow));
    }
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let errors: Vec<String> = validate_name(name)
        .into_iter()
        .chain(validate(&rainbow.spec))
        .map(|error: SpecError| error.to_string())
        .collect();
    if errors.is_empty() { Ok(Arc::clone(rainbow)) } else { Err(invalid(errors.join("; "))) }
}
