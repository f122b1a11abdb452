//! One application's turn: observe → plan → compile → apply → report.

mod backoff;
mod taken;
mod unseen;

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use rainbow_api::{Rainbow, Reason, SpecError, validate, validate_name};
use rainbow_plan::{Time, plan};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

use crate::{
    apply::{Failure, Outcome, carry_out},
    cache::{App, Cache},
    clock::Clock,
    compile::{Basis, Batch, compile},
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
    backoff: Backoff,
    /// What the last attempt failed at, and whether the status says so.
    obstacle: Option<(Obstacle, bool)>,
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
    pub(crate) outcome: Outcome,
    purpose: Purpose,
    generation: Option<i64>,
}

/// What a turn's writes were for.
enum Purpose {
    /// To carry out a plan.
    Plan,
    /// To tell of an obstacle: says nothing about whether the next attempt will do better.
    Tell,
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
        let plan = plan(&observed.world, now);
        if self.counting.follow(key, app, rainbow, &plan, counter, now) {
            self.wait_until(Instant::now() + SOON);
        }

        let sidecar = means.sidecar.as_ref();
        let writes = compile(&plan.actions, Basis { app, scope: &scope, rainbow, observed: &observed, sidecar, now });
        let names = Names { rainbow: &key.name, prefix: Some(prefix), services: &observed.stage_services };
        let report = self.reporter.report(&About { key, rainbow, app, names, plan: &plan, now });

        let wakes =
            [plan.wake.map(|wake| clock.instant(wake).max(Instant::now() + SOON)), report.next, self.taken.next()];
        wakes.into_iter().flatten().for_each(|wake| self.wait_until(wake));
        self.obstacle = None;
        if writes.is_empty() && report.is_empty() {
            return Step::Nothing;
        }
        turn.run(Purpose::Plan, writes, report)
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
        if let Some((obstacle, told)) = &mut self.obstacle
            && !std::mem::replace(told, true)
            && let Step::Run(future) = turn.tell(&root, obstacle)
        {
            return Step::Run(future);
        }
        if let Some(retry) = self.backoff.until(turn.generation) {
            self.wait_until(retry);
            return Step::Nothing;
        }
        let rainbow = match readable(&root) {
            Ok(rainbow) => rainbow,
            Err(obstacle) => return turn.tell(&root, &obstacle),
        };
        // Under another prefix everything would be made a second time, and both Deployments of an instance would select the
        // pods of either. What is there goes under the names that it has.
        let asked = rainbow.spec.name_prefix.as_deref().unwrap_or_default();
        let prefix = app.prefix().unwrap_or(asked).to_owned();
        if prefix != asked && rainbow.metadata.deletion_timestamp.is_none() {
            let message = messages::prefix_changed(&prefix, asked);
            return turn.tell(&root, &Obstacle { reason: Reason::InvalidSpec, message });
        }
        self.reconcile(&turn, app, &rainbow, &prefix)
    }

    /// Takes in what came of a turn's writes.
    pub(crate) fn finished(&mut self, done: Done, key: &Key) {
        self.running = false;
        self.unseen.expect(done.outcome.expectations);
        match done.purpose {
            Purpose::Plan => {}
            Purpose::Tell if done.outcome.failure.is_none() => return,
            Purpose::Tell => {}
            Purpose::Ask(foreign) => return self.taken.asked(foreign),
        }
        match done.outcome.failure {
            None => self.backoff.succeeded(),
            Some(Failure::Foreign { kind, name }) => {
                tracing::warn!(app = %key, %kind, name, "the name is taken by another's object");
                self.taken.insert(kind, name);
            }
            Some(failure) => {
                let wait = self.backoff.failed(done.generation);
                match failure {
                    Failure::Rejected(message) => {
                        tracing::warn!(app = %key, message, "a write was refused");
                        let obstacle = Obstacle { reason: Reason::Rejected, message };
                        if self.obstacle.as_ref().is_none_or(|(known, _)| *known != obstacle) {
                            self.obstacle = Some((obstacle, false));
                        }
                    }
                    Failure::Stale(_) | Failure::Unavailable(_) | Failure::Foreign { .. } => {
                        tracing::info!(app = %key, %failure, again_in = ?wait, "not everything was written");
                    }
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
    /// Puts an obstacle into the status, and does nothing else.
    fn tell(&self, root: &Root, obstacle: &Obstacle) -> Step {
        match hindered(root, obstacle, self.key, self.generation, self.now) {
            Some(report) => self.run(Purpose::Tell, Vec::new(), report),
            None => Step::Nothing,
        }
    }

    /// Asks whether the objects of others are still there.
    fn ask(&self, names: Foreign) -> Step {
        let (client, key, generation) = (self.with.client.clone(), self.key.clone(), self.generation);
        let ask = async move {
            let still = crate::apply::still_foreign(&client, &key, names.into_iter().collect()).await;
            Done { key, outcome: Outcome::default(), purpose: Purpose::Ask(still.into_iter().collect()), generation }
        };
        Step::Run(ask.boxed())
    }

    /// What is cut is reported before it is; everything else is reported when it is done.
    fn run(&self, purpose: Purpose, writes: Vec<Batch>, report: Report) -> Step {
        let (client, key, generation) = (self.with.client.clone(), self.key.clone(), self.generation);
        let run = async move {
            let mut outcome = report.announce(&client, &key).await;
            if outcome.failure.is_none() {
                outcome.merge(carry_out(&client, &key, writes).await);
            }
            if outcome.failure.is_none() {
                outcome.merge(report.publish(&client, &key).await);
            }
            Done { key, outcome, purpose, generation }
        };
        Step::Run(run.boxed())
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
