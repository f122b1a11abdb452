//! One application's turn: look, decide, write, and remember what to wait for.

mod pacing;

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use rainbow_api::{Cut, Rainbow, SpecError, validate, validate_name};
use rainbow_plan::{Plan, Time, plan};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

use crate::{
    apply::{self, Expectation, Expected, Failure, Outcome},
    build::Scope,
    cache::{App, Cache, Key, Root},
    clock::Clock,
    count::{self, Counter, Target},
    cuts::cuts,
    domain::{self, Means},
    events,
    live::Kind,
    observe::{self, Foreign, Observed},
    operations::{self, Batch, Operation},
    pull,
    status::{self, Difference, Obstacle},
};
use pacing::Pacing;

/// How long an own write may take to come back through the watch before it is no longer waited for.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is asked whether somebody else's object has gone. It is the only thing that is polled, and only while
/// there is one: its watch would be on objects that are none of the operator's business.
const FOREIGN_EVERY: Duration = Duration::from_secs(15);
/// Whose status it is, beside those of colors: no color can have this name.
const OF_RAINBOW: &str = "";
/// Steps of shifts are told at most this often: those of a slow shift one by one, those of a fast one not at all.
const STEPS_EVERY: Duration = Duration::from_secs(10);
/// How long an answer about connections waits for more: many pods are asked at a time.
const ANSWERS: Duration = Duration::from_millis(100);
/// The first wait after a failure; it doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// What is remembered of an application between its turns.
#[derive(Default)]
pub(super) struct Desk {
    /// Its writes are under way.
    pub(super) running: bool,
    /// When to look again although nothing has changed.
    pub(super) due: Option<Instant>,
    expectations: Vec<Expectation>,
    expected_since: Option<Instant>,
    foreign: Foreign,
    foreign_asked: Option<Instant>,
    failures: u32,
    /// After a failure: not before, unless the spec changes.
    retry: Option<(Instant, Option<i64>)>,
    /// What the last attempt failed at, and whether the status says so.
    obstacle: Option<(Obstacle, bool)>,
    pacing: Pacing,
    step_told: Option<Instant>,
    /// The pods whose connections are counted now.
    asked: Vec<Target>,
}

/// What a turn needs, whatever the application.
pub(super) struct With<'a> {
    pub(super) client: &'a Client,
    pub(super) clock: Clock,
    pub(super) means: &'a Means,
    pub(super) counter: &'a Counter,
}

/// What to do in a turn.
pub(super) enum Step {
    /// Nothing, until something changes or `due`.
    Nothing,
    /// The application is gone.
    Forget,
    /// Writes.
    Run(BoxFuture<'static, Done>),
}

/// What a turn's writes were for.
enum Purpose {
    /// To carry out a plan.
    Plan,
    /// To tell of an obstacle: says nothing about whether the next attempt will do better.
    Tell,
    /// To ask whether somebody else's objects are still there; these are.
    Ask(Foreign),
}

/// What came of a turn.
pub(super) struct Done {
    pub(super) key: Key,
    pub(super) outcome: Outcome,
    purpose: Purpose,
    generation: Option<i64>,
}

impl Desk {
    pub(super) fn finished(&mut self, done: Done, key: &Key) {
        self.running = false;
        self.expectations.extend(done.outcome.expectations);
        self.expected_since = Some(Instant::now());
        match done.purpose {
            Purpose::Plan => {}
            Purpose::Tell if done.outcome.failure.is_none() => return,
            Purpose::Tell => {}
            Purpose::Ask(foreign) => {
                self.foreign = foreign;
                self.foreign_asked = Some(Instant::now());
                return;
            }
        }
        match done.outcome.failure {
            None => {
                self.failures = 0;
                self.retry = None;
            }
            Some(Failure::Foreign { kind, name }) => {
                tracing::warn!(app = %key, %kind, name, "the name is taken by somebody else's object");
                self.foreign.insert((kind, name));
                self.foreign_asked = Some(Instant::now());
            }
            Some(failure) => {
                let wait = RETRY_FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(RETRY_LONGEST);
                self.failures = self.failures.saturating_add(1);
                self.retry = Some((Instant::now() + wait, done.generation));
                match failure {
                    Failure::Rejected(message) => {
                        tracing::warn!(app = %key, message, "a write was refused");
                        let obstacle = Obstacle { reason: "Rejected", message };
                        if self.obstacle.as_ref().is_none_or(|(known, _)| *known != obstacle) {
                            self.obstacle = Some((obstacle, false));
                        }
                    }
                    other => {
                        tracing::info!(app = %key, failure = %other, again_in = ?wait, "not everything was written")
                    }
                }
            }
        }
    }

    pub(super) fn step(&mut self, cache: &mut Cache, key: &Key, with: &With<'_>) -> Step {
        let With { client, clock, .. } = with;
        self.due = None;
        if !self.everything_seen(cache, key) {
            return Step::Nothing;
        }
        let Some(app) = cache.apps.get_mut(key) else { return Step::Forget };
        let Some(root) = app.root.clone() else {
            // The Rainbow is gone; what is left of it goes with its owners.
            self.stop_asking(key, with.counter);
            *self = Self::default();
            return Step::Nothing;
        };
        let generation = root.meta().generation;
        if let Some(future) = self.ask_for_foreign(client, key, generation) {
            return Step::Run(future);
        }
        let now = clock.now();
        let turn = Turn { key, client, generation, now };
        if let Some((obstacle, told)) = &mut self.obstacle
            && !std::mem::replace(told, true)
            && let Step::Run(future) = turn.tell(&root, obstacle)
        {
            return Step::Run(future);
        }
        if let Some((retry, at)) = self.retry
            && Instant::now() < retry
            && at == generation
        {
            self.wait_until(retry);
            return Step::Nothing;
        }
        let rainbow = match readable(&root) {
            Ok(rainbow) => rainbow,
            Err(obstacle) => return turn.tell(&root, &obstacle),
        };
        // Under another prefix everything would be made a second time, and both Deployments of an instance would select the
        // pods of either. What is there goes under the names it has.
        let asked = rainbow.spec.name_prefix.as_deref().unwrap_or_default();
        let prefix = app.prefix().unwrap_or(asked).to_owned();
        if prefix != asked && rainbow.metadata.deletion_timestamp.is_none() {
            return turn.tell(&root, &prefix_changed(&prefix, asked));
        }
        self.plan(&turn, app, &rainbow, &prefix, with)
    }

    /// Nobody is asked for connections any more.
    pub(super) fn stop_asking(&mut self, key: &Key, counter: &Counter) {
        if !self.asked.is_empty() {
            self.asked = Vec::new();
            counter.order(key, Vec::new());
        }
    }

    /// There is news about connections.
    pub(super) fn answered(&mut self) {
        self.wait_until(Instant::now() + ANSWERS);
    }

    fn plan(&mut self, turn: &Turn<'_>, app: &mut App, rainbow: &Arc<Rainbow>, prefix: &str, with: &With<'_>) -> Step {
        let scope = Scope { namespace: &turn.key.namespace, rainbow: &turn.key.name, prefix: Some(prefix) };
        let observed = observe::observe(app, &scope, rainbow, &self.foreign, with.means, turn.now);
        let plan = plan(&observed.world, turn.now);
        let cut = cuts(&plan, app, turn.now);
        self.count(turn, app, rainbow, &plan, with.counter);
        let mut batches: Vec<Batch> = operations::hold(rainbow).map(|operation| vec![operation]).into_iter().collect();
        let sidecar = with.means.sidecar.as_ref();
        let basis = operations::Basis { app, scope: &scope, rainbow, observed: &observed, sidecar, now: turn.now };
        let writes = operations::compile(&plan.actions, basis);
        if let Some(wake) = plan.wake {
            // A wake-up time that has passed would be asked for again and again: the world has to change first.
            self.wait_until(with.clock.instant(wake).max(Instant::now() + Duration::from_millis(1)));
        }
        if !self.foreign.is_empty() {
            self.wait_until(self.foreign_asked.unwrap_or_else(Instant::now) + FOREIGN_EVERY);
        }
        let releases = plan.actions.iter().any(|action| matches!(action, rainbow_plan::Action::Release));
        let report =
            if releases { Statuses::default() } else { self.statuses(turn, app, rainbow, &observed, &plan, &cut) };
        // What is cut is told before it is.
        let last = if report.cuts.is_empty() { Vec::new() } else { vec![report.cuts] };
        batches.extend(last.into_iter().chain(writes));
        if batches.is_empty() && report.writes.is_empty() {
            self.obstacle = None;
            return Step::Nothing;
        }
        let mut notes = events::of_actions(&plan.actions);
        notes.extend(cut.iter().filter_map(|(color, cut)| events::of_cuts(color, cut)));
        notes.extend(report.notes);
        if !report.writes.is_empty() {
            batches.push(report.writes);
        }
        self.obstacle = None;
        turn.run(Purpose::Plan, batches, notes, Arc::clone(rainbow))
    }

    /// Has the connections counted that the plan wants to know.
    fn count(&mut self, turn: &Turn<'_>, app: &mut App, rainbow: &Rainbow, plan: &Plan, counter: &Counter) {
        let (targets, pods) = count::targets(app, rainbow, plan);
        let pods = pods.iter().map(|(name, uid, how)| (name.as_str(), uid.as_str(), how.clone()));
        if app.known.ask(pods, rainbow.spec.drain.settle.0, turn.now) {
            self.wait_until(Instant::now() + Duration::from_millis(1));
        }
        if targets != self.asked {
            self.asked.clone_from(&targets);
            counter.order(turn.key, targets);
        }
        // A time to tell of pods of which nothing is known.
        let unknown = plan.report.colors.iter().filter_map(|color| color.drain.as_ref()?.unknown_since);
        if let Some(told) = unknown.map(|since| since.after(status::UNKNOWN_AFTER)).filter(|at| *at > turn.now).min() {
            let wait = told.0.saturating_sub(turn.now.0).unsigned_abs();
            self.wait_until(Instant::now() + Duration::from_millis(wait));
        }
    }

    /// The statuses that are to be written now.
    fn statuses(
        &mut self,
        turn: &Turn<'_>,
        app: &App,
        rainbow: &Rainbow,
        observed: &Observed,
        plan: &Plan,
        cut: &BTreeMap<String, Vec<Cut>>,
    ) -> Statuses {
        let mut all = Statuses::default();
        let now = Instant::now();
        let mut round = self.pacing.round(now);
        let old = rainbow.status.clone().unwrap_or_default();
        let color = domain::color_name(&rainbow.spec);
        let services = &observed.stage_services;
        let cause = pull::obstacle(app);
        let new = status::rainbow(&plan.report, &color, turn.generation, services, cause, &old, turn.now);
        if round.is_due(OF_RAINBOW, status::rainbow_difference(&old, &new)) {
            all.notes.extend(events::of_rainbow(&old, &new));
            all.writes.push(turn.status(Kind::Rainbow, &turn.key.name, rainbow.metadata.uid.as_deref(), &json!(new)));
        }
        for report in &plan.report.colors {
            let Some((name, color)) = app.colors.iter().find(|(_, color)| color.spec.color == report.name) else {
                continue;
            };
            let old = color.status.clone().unwrap_or_default();
            let cut = cut.get(&report.name).map(Vec::as_slice).unwrap_or_default();
            let generation = color.metadata.generation;
            let basis = status::Basis { generation, known: &app.known, cut, old: &old, now: turn.now };
            let new = status::color(report, &basis);
            if going(plan, &report.name) {
                continue;
            }
            if !round.is_due(&report.name, status::color_difference(&old, &new)) {
                continue;
            }
            all.notes.extend(events::of_color(&report.name, &old, &new));
            let write = turn.status(Kind::Color, name, color.metadata.uid.as_deref(), &json!(new));
            if cut.is_empty() { all.writes.push(write) } else { all.cuts.push(write) }
        }
        let is_there = |whose: &str| whose == OF_RAINBOW || plan.report.colors.iter().any(|known| known.name == whose);
        if let Some(next) = round.end(is_there) {
            self.wait_until(next);
        }
        all.notes.retain(|note| {
            let told = !note.is_step() || self.step_told.is_none_or(|last| now >= last + STEPS_EVERY);
            if told {
                self.step_told = Some(now);
            }
            told
        });
        all
    }

    /// Whether all own writes have come back. A decision on older facts could do something twice.
    fn everything_seen(&mut self, cache: &Cache, key: &Key) -> bool {
        self.expectations.retain(|expectation| !seen(cache, key, expectation));
        let Some(since) = self.expected_since.filter(|_| !self.expectations.is_empty()) else { return true };
        if Instant::now() >= since + VISIBLE_WITHIN {
            tracing::warn!(app = %key, waiting_for = ?self.expectations, "own writes do not come back: going on without them");
            self.expectations.clear();
            return true;
        }
        self.wait_until(since + VISIBLE_WITHIN);
        false
    }

    fn ask_for_foreign(
        &mut self,
        client: &Client,
        key: &Key,
        generation: Option<i64>,
    ) -> Option<BoxFuture<'static, Done>> {
        let asked = self.foreign_asked.filter(|_| !self.foreign.is_empty())?;
        if Instant::now() < asked + FOREIGN_EVERY {
            return None;
        }
        let (client, key, names) = (client.clone(), key.clone(), self.foreign.iter().cloned().collect());
        let ask = async move {
            let still: BTreeSet<_> = apply::still_foreign(&client, &key, names).await.into_iter().collect();
            Done { key, outcome: Outcome::default(), purpose: Purpose::Ask(still), generation }
        };
        Some(ask.boxed())
    }

    fn wait_until(&mut self, time: Instant) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }
}

/// The plan deletes the color: its status is of no interest any more.
fn going(plan: &Plan, name: &str) -> bool {
    plan.actions.iter().any(|action| matches!(action, rainbow_plan::Action::DeleteColor { color } if color == name))
}

fn seen(cache: &Cache, key: &Key, expectation: &Expectation) -> bool {
    let Expectation { kind, name, what } = expectation;
    match what {
        Expected::Version(version) => cache.has_seen(key, *kind, name, *version),
        Expected::Change { uid, version } => match cache.apps.get(key).and_then(|app| app.find(*kind, name)) {
            Some((found, at)) => found != uid || at > *version,
            None => true,
        },
    }
}

/// The Rainbow, if it can be planned for.
fn readable(root: &Root) -> Result<Arc<Rainbow>, Obstacle> {
    let invalid = |message: String| Obstacle { reason: "InvalidSpec", message };
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

fn prefix_changed(was: &str, is: &str) -> Obstacle {
    let message = format!(
        "spec.namePrefix cannot change from \"{was}\" to \"{is}\" while Deployments have names with the former: set it back, or \
         delete the Rainbow and make it anew"
    );
    Obstacle { reason: "InvalidSpec", message }
}

/// Statuses to be written, and what is to be told with them.
#[derive(Default)]
struct Statuses {
    /// Those that tell of what is going to be cut.
    cuts: Batch,
    writes: Batch,
    notes: Vec<events::Note>,
}

/// What is the same for everything in a turn.
struct Turn<'a> {
    key: &'a Key,
    client: &'a Client,
    generation: Option<i64>,
    now: Time,
}

impl Turn<'_> {
    /// Puts an obstacle into the status, and nothing else.
    fn tell(&self, root: &Root, obstacle: &Obstacle) -> Step {
        let (old, rainbow) = match root {
            Root::Read(rainbow) => (rainbow.status.clone().unwrap_or_default(), Arc::clone(rainbow)),
            Root::Unreadable { meta, status, .. } => (status.as_ref().clone(), Arc::new(blank(meta))),
        };
        let new = status::hindered(obstacle, self.generation, &old, self.now);
        if status::rainbow_difference(&old, &new) == Difference::None {
            return Step::Nothing;
        }
        let notes = events::of_rainbow(&old, &new);
        let write = self.status(Kind::Rainbow, &self.key.name, root.meta().uid.as_deref(), &json!(new));
        self.run(Purpose::Tell, vec![vec![write]], notes, rainbow)
    }

    fn status(&self, kind: Kind, name: &str, uid: Option<&str>, status: &serde_json::Value) -> Operation {
        let (uid, status) = (uid.map(str::to_owned), status.clone());
        Operation::Status { kind, name: name.to_owned(), uid, status }
    }

    fn run(&self, purpose: Purpose, batches: Vec<Batch>, notes: Vec<events::Note>, rainbow: Arc<Rainbow>) -> Step {
        let (client, key, generation, now) = (self.client.clone(), self.key.clone(), self.generation, self.now);
        let run = async move {
            let outcome = apply::carry_out(&client, &key, batches).await;
            if outcome.failure.is_none() {
                events::publish(&client, &key.namespace, &rainbow, &notes, now).await;
            }
            Done { key, outcome, purpose, generation }
        };
        Step::Run(run.boxed())
    }
}

/// A Rainbow of which only the metadata is known: events are about it.
fn blank(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Rainbow {
    let mut rainbow = Rainbow::new(
        meta.name.as_deref().unwrap_or_default(),
        rainbow_api::RainbowSpec {
            color: None,
            name_prefix: None,
            tiers: Vec::new(),
            stages: Vec::new(),
            drain: rainbow_api::Drain::default(),
            keep: rainbow_api::Keep::default(),
            reuse: rainbow_api::Reuse::default(),
            progress_deadline_seconds: None,
        },
    );
    rainbow.metadata = meta.clone();
    rainbow
}
