//! One application's turn: observe → plan → compile → apply → report.

mod backoff;
mod chains;
mod reading;
mod refused;
mod taken;
mod unseen;

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use rainbow_plan::{ChainKey, Time, plan};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

use crate::{
    apply::{
        ConfigAnswers, ConfigQuestions, Failure, Outcome, Site, carry_out, hold, is_held, let_go, read_config,
        still_foreign,
    },
    cache::{App, Cache, ForeignScalers},
    clock::Clock,
    compile::{Basis, ChainWrites, ON_ITS_WAY, Work, compile},
    count::Counter,
    counting::Counting,
    domain::{Means, Names, Owner},
    effective::Effective,
    health::{Health, Part},
    key::Key,
    kind::Kind,
    live::Root,
    manifests::Scope,
    observe::{self, Foreign, Observed, observe},
    report::{About, Owners, Report, Reporter, troubles},
};
use backoff::Backoff;
use chains::Chains;
pub(crate) use reading::learn;
use refused::Refused;
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
    /// The last look found nothing to do, and how many changes the application had had by then.
    rests: Option<u64>,
    unseen: Unseen,
    taken: Taken,
    chains: Chains,
    refused: Refused,
    /// Failures to read configuration.
    reading: Backoff,
    /// Failures to write statuses.
    reporting: Backoff,
    /// Failures to let go of what a Rainbow that is gone has left behind.
    leaving: Backoff,
    reporter: Reporter,
    counting: Counting,
    /// When a write was last not answered: it may arrive all the same.
    unanswered: Option<Time>,
}

/// What a turn needs, whatever the application.
pub(crate) struct With<'a> {
    pub(crate) client: &'a Client,
    pub(crate) clock: Clock,
    pub(crate) means: &'a Means,
    pub(crate) counter: &'a Counter,
    /// Where it is noted how long looks take.
    pub(crate) health: Option<&'a Health>,
}

impl With<'_> {
    /// Does a part of a look, and notes how long it takes.
    pub(crate) fn timed<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        let Some(health) = self.health else { return work() };
        // Not tokio's clock, which stands still in tests.
        let begin = std::time::Instant::now();
        let done = work();
        health.spent(part, begin.elapsed());
        done
    }
}

/// What to do in a turn.
pub(crate) enum Step {
    /// Nothing, until something changes or `due`.
    Nothing,
    /// The application is gone.
    Forget,
    /// Requests to the API server, and how many there are.
    Run { writes: usize, turn: BoxFuture<'static, Done> },
}

/// What came of a turn.
pub(crate) struct Done {
    pub(crate) key: Arc<Key>,
    /// Of all writes.
    pub(crate) outcome: Outcome,
    /// The chains that were tried, and what each failed at.
    chains: Vec<(ChainKey, Option<Failure>)>,
    /// The Services that were applied, by chain, and what was refused of each.
    services: Vec<(ChainKey, String, Option<String>)>,
    /// What came of the report; `None`: there was nothing to report.
    report: Option<Result<(), Failure>>,
    /// Configuration that was read.
    pub(crate) read: Option<ConfigAnswers>,
    purpose: Purpose,
    generation: Option<i64>,
    /// Owners of addresses.
    owners: Owners,
}

/// What a turn's writes were for.
enum Purpose {
    /// To carry out a plan.
    Plan,
    /// To ask whether objects of others are still there; these are.
    Ask(Foreign),
    /// To read configuration.
    Read,
    /// To let go of what a Rainbow that is gone has left behind.
    Leave,
}

/// What is the same for everything in a turn.
struct Turn<'a> {
    key: &'a Arc<Key>,
    with: &'a With<'a>,
    generation: Option<i64>,
    now: Time,
}

impl Reconciler {
    /// The whole of a turn. Nothing before the writes waits for anything, and the writes own what they need.
    fn reconcile(&mut self, turn: &Turn<'_>, app: &mut App, root: &Root, prefix: &str, others: Others) -> Step {
        let Turn { key, now, .. } = *turn;
        let With { means, clock, counter, .. } = *turn.with;
        let templates = Arc::clone(&app.templates);
        let scope =
            Scope { namespace: &key.namespace, rainbow: &key.name, prefix: Some(prefix), templates: &templates };

        let ask_again = self.refused.retry(app, turn.generation);
        let foreign = self.taken.names();
        let effective = Effective::of(app, root, &scope);
        let rainbow = &effective.rainbow;
        let mut observed =
            turn.with.timed(Part::Observe, || observe(app, &scope, &effective, foreign, &others.scalers, means, now));
        observed.taken.extend(others.siblings);
        let mut plan = turn.with.timed(Part::Plan, || plan(&observed.world, now));
        let retry = self.chains.keep_due(&mut plan, turn.generation);
        if self.counting.follow(key, app, &effective, &plan, counter, now) {
            self.wait_until(Instant::now() + SOON);
        }

        let sidecar = means.sidecar.as_ref();
        let mut work = compile(
            &plan,
            Basis {
                app,
                scope: &scope,
                rainbow,
                effective: &effective,
                observed: &observed,
                sidecar,
                now,
                late_until: self.late_until(means),
            },
        );
        let pods = troubles(app, &plan.report);
        let Observed { stage_services: services, taken, clashes, world, .. } = &observed;
        let names = Names { rainbow: &key.name, prefix: Some(prefix), services, taken, troubles: &pods };
        let mut troubles = self.refused.troubles();
        troubles.extend(self.chains.troubles());
        let obstacle = effective.invalid.clone();
        let about = About {
            key,
            effective: &effective,
            app,
            names,
            obstacle,
            clashes,
            plan: &plan,
            world,
            troubles: &troubles,
            now,
        };
        let mut report = self.reporter.report(&about);

        let wake = plan.wake.map(|wake| clock.instant(wake).max(Instant::now() + SOON));
        let silent = self.reporting.until(turn.generation);
        let wakes = [wake, report.next, self.taken.next(), retry, ask_again, silent];
        wakes.into_iter().flatten().for_each(|wake| self.wait_until(wake));
        if silent.is_some() {
            // Nothing is cut that cannot be reported, and nothing is made that would not be held.
            if report.has_cuts() || work.hold.is_some() {
                work.keep_stages();
            }
            work.color_holds.clear();
            report.silence();
        }
        if work.is_empty() && report.is_empty() {
            self.rests = Some(app.changes);
            return Step::Nothing;
        }
        turn.run(Purpose::Plan, work, report)
    }

    /// Takes a turn, if it is time.
    pub(crate) fn step(&mut self, cache: &mut Cache, key: &Arc<Key>, with: &With<'_>) -> Step {
        if self.is_at_rest(cache, key) {
            return Step::Nothing;
        }
        (self.due, self.rests) = (None, None);
        if let Some(until) = self.unseen.until(cache, key) {
            self.wait_until(until);
            return Step::Nothing;
        }
        let Some(app) = cache.apps.get_mut(key) else { return Step::Forget };
        let Some(root) = app.root.clone() else {
            let unreadable = !app.unreadable_colors.is_empty();
            let is_held = unreadable || app.colors.values().any(|color| is_held(&color.metadata));
            return self.leave(key, with, is_held);
        };
        let turn = Turn { key, with, generation: root.meta().generation, now: with.clock.now() };
        if let Some(names) = self.taken.to_ask() {
            return turn.ask(names);
        }
        if let Some(step) = self.read(&turn, cache, &root, with) {
            return step;
        }
        let siblings = siblings(cache, key, self.taken.names());
        let others = Others { siblings, scalers: cache.foreign_scalers(&key.namespace) };
        let Some(app) = cache.apps.get_mut(key) else { return Step::Forget };
        let prefix = prefix(app, &root);
        self.reconcile(&turn, app, &root, &prefix, others)
    }

    /// Reads what is not known of the configuration that the application names, before it is planned for. `None`: all is known, or what is not
    /// waits for a later attempt.
    fn read(&mut self, turn: &Turn<'_>, cache: &mut Cache, root: &Root, with: &With<'_>) -> Option<Step> {
        let readables = cache.readables(with.means.config);
        let app = cache.apps.get_mut(turn.key)?;
        app.config.readables = readables;
        if root.meta().deletion_timestamp.is_some() || app.has_no_config() {
            return None;
        }
        if reading::is_being_listed(app) {
            return Some(Step::Nothing);
        }
        if let Some(until) = self.reading.until(turn.generation) {
            self.wait_until(until);
            return None;
        }
        let prefix = prefix(app, root);
        let Key { namespace, name } = &**turn.key;
        let scope = Scope { namespace, rainbow: name, prefix: Some(&prefix), templates: &app.templates };
        let questions = reading::questions(app, root, &scope);
        (!questions.is_empty()).then(|| turn.read(questions))
    }

    /// The Rainbow is gone. What is left of it goes with its owner, once nothing of Rainbow's holds it.
    fn leave(&mut self, key: &Arc<Key>, with: &With<'_>, is_held: bool) -> Step {
        self.stop_counting(key, with.counter);
        *self = Self { leaving: std::mem::take(&mut self.leaving), ..Self::default() };
        if !is_held {
            self.leaving.succeeded();
            return Step::Nothing;
        }
        if let Some(until) = self.leaving.until(None) {
            self.wait_until(until);
            return Step::Nothing;
        }
        let (client, key) = (with.client.clone(), Arc::clone(key));
        let leave = async move {
            let outcome = let_go(&client, &key).await;
            Done { outcome, ..Done::new(key, Purpose::Leave, None) }
        };
        Step::Run { writes: 1, turn: leave.boxed() }
    }

    /// Nothing has changed since a look that found nothing to do, and the time that it waits for has not come. An event that changes
    /// nothing is no reason to decide again.
    fn is_at_rest(&self, cache: &Cache, key: &Key) -> bool {
        let changes = cache.apps.get(key).map(|app| app.changes);
        changes.is_some() && changes == self.rests && self.due.is_none_or(|due| Instant::now() < due)
    }

    /// Takes in what came of a turn's writes.
    pub(crate) fn finished(&mut self, done: Done, key: &Key, now: Time) {
        self.running = false;
        if done.chains.iter().any(|(_, failure)| matches!(failure, Some(Failure::Unavailable(_)))) {
            self.unanswered = Some(now);
        }
        self.unseen.expect(done.outcome.expectations);
        self.reporter.named(done.owners);
        match done.purpose {
            Purpose::Plan => {}
            Purpose::Ask(foreign) => return self.taken.asked(foreign),
            Purpose::Read => return,
            Purpose::Leave => {
                // Also after a success: what still is to be let go was not there to be seen.
                let wait = self.leaving.failed(None);
                if let Some(failure) = done.outcome.failure {
                    tracing::info!(app = %key, %failure, again_in = ?wait, "what is left of a Rainbow is still held");
                }
                return;
            }
        }
        match done.report {
            Some(Err(failure)) => {
                let wait = self.reporting.failed(done.generation);
                tracing::info!(app = %key, %failure, again_in = ?wait, "not everything was reported");
            }
            Some(Ok(())) => self.reporting.succeeded(),
            None => {}
        }
        for (chain, name, refused) in done.services {
            if let Some(says) = &refused {
                tracing::warn!(app = %key, says, "a Service is written without what was refused of it");
            }
            self.refused.applied(&chain, name, refused, done.generation);
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
        self.rests = None;
        self.wait_until(Instant::now() + ANSWERS);
    }

    /// Until when a write may arrive that this operator does not know the outcome of.
    fn late_until(&self, means: &Means) -> Time {
        self.unanswered.map_or(means.leads_since, |since| since.max(means.leads_since)).after(ON_ITS_WAY)
    }

    /// Configuration was read: as a whole, or not.
    pub(crate) fn has_read(&mut self, answers: &ConfigAnswers, done: &Done) {
        match answers.failed {
            true => drop(self.reading.failed(done.generation)),
            false => self.reading.succeeded(),
        }
    }

    fn wait_until(&mut self, time: Instant) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }
}

impl Turn<'_> {
    /// Asks whether the objects of others are still there.
    fn ask(&self, names: Foreign) -> Step {
        let (client, key, generation) = (self.with.client.clone(), Arc::clone(self.key), self.generation);
        let writes = names.len();
        let ask = async move {
            let still = still_foreign(&client, &key, names.into_iter().collect()).await;
            Done::new(key, Purpose::Ask(still.into_iter().collect()), generation)
        };
        Step::Run { writes, turn: ask.boxed() }
    }

    /// Reads configuration.
    fn read(&self, questions: ConfigQuestions) -> Step {
        let (client, key, generation) = (self.with.client.clone(), Arc::clone(self.key), self.generation);
        let writes = questions.len();
        let read = async move {
            let answers = read_config(&Site::new(&client, &key), questions).await;
            Done { read: Some(answers), ..Done::new(Arc::clone(&key), Purpose::Read, generation) }
        };
        Step::Run { writes, turn: read.boxed() }
    }

    /// Stages first. A color that a stage sends its first clients to is reported before that, and what is cut before it is; everything else
    /// is reported when it is done.
    fn run(&self, purpose: Purpose, work: Work, report: Report) -> Step {
        let (client, key, generation) = (self.with.client.clone(), Arc::clone(self.key), self.generation);
        let writes = work.writes() + report.writes();
        let run = async move {
            let mut done = Done::new(Arc::clone(&key), purpose, generation);
            let site = Site::new(&client, &key);
            if let Some(operation) = &work.hold
                && !done.reported(hold(&site, operation).await)
            {
                return done;
            }
            // A stage waits for nothing: where this cannot be written, the next look finds what it serves.
            if report.has_served() {
                done.reported(report.announce_served(&client, &key).await);
            }
            let (stages, mut rest): (Vec<_>, Vec<_>) = work.chains.into_iter().partition(ChainWrites::is_stage);
            done.carried_out(carry_out(&site, stages).await);
            if report.has_cuts() && !done.reported(report.announce(&client, &key).await) {
                rest.retain(|chain| !chain.is_end());
            }
            done.carried_out(carry_out(&site, rest).await);
            for operation in &work.color_holds {
                done.reported(hold(&site, operation).await);
            }
            let published = report.publish(&client, &key, &done.failed()).await;
            if report.has_statuses() {
                done.reported(published);
            }
            done.owners = report.owners(&client).await;
            done
        };
        Step::Run { writes, turn: run.boxed() }
    }
}

impl Done {
    fn new(key: Arc<Key>, purpose: Purpose, generation: Option<i64>) -> Self {
        Self {
            key,
            outcome: Outcome::default(),
            chains: Vec::new(),
            services: Vec::new(),
            report: None,
            read: None,
            purpose,
            generation,
            owners: Owners::default(),
        }
    }

    /// Takes in what came of chains.
    fn carried_out(&mut self, chains: Vec<(ChainKey, Outcome)>) {
        for (chain, mut outcome) in chains {
            let services = std::mem::take(&mut outcome.services).into_iter();
            self.services.extend(services.map(|(name, refused)| (chain.clone(), name, refused)));
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

/// Compares an object of an application with what it should be, before the application has its first turn.
pub(crate) fn compare(app: &mut App, key: &Key, kind: Kind, name: &str) {
    let Some(root) = app.root.clone() else { return };
    let prefix = prefix(app, &root);
    let templates = Arc::clone(&app.templates);
    let scope = Scope { namespace: &key.namespace, rainbow: &key.name, prefix: Some(&prefix), templates: &templates };
    let effective = Effective::of(app, &root, &scope);
    observe::compare(app, &scope, &effective, kind, name);
}

/// Prefix of all names: objects that were made keep theirs.
fn prefix(app: &App, root: &Root) -> String {
    app.prefix().or(root.rainbow.spec.name_prefix.as_deref()).unwrap_or_default().to_owned()
}

/// Objects of other owners in the namespace.
struct Others {
    siblings: Siblings,
    scalers: Arc<ForeignScalers>,
}

/// The objects of others that are another Rainbow's, by kind and name.
type Siblings = Vec<((Kind, String), Owner)>;

fn siblings(cache: &Cache, key: &Key, foreign: &Foreign) -> Siblings {
    let sibling = |(kind, name): &(Kind, String)| {
        let owner = cache.owner(*kind, &key.namespace, name).filter(|owner| ***owner != *key)?;
        Some(((*kind, name.clone()), Owner::Rainbow(owner.name.clone())))
    };
    foreign.iter().filter_map(sibling).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_change_or_the_time_is_a_reason_to_decide_again() {
        let key = Arc::new(Key { namespace: "default".into(), name: "shop".into() });
        let mut cache = Cache::default();
        cache.apps.entry(Arc::clone(&key)).or_default().changes = 3;
        let wait = Duration::from_secs(5);
        let rests = |due| Reconciler { rests: Some(3), due, ..Reconciler::default() };
        assert!(!Reconciler::default().is_at_rest(&cache, &key), "there was no look yet");
        assert!(rests(None).is_at_rest(&cache, &key));
        let mut waits = rests(Some(Instant::now() + wait));
        assert!(waits.is_at_rest(&cache, &key));
        waits.answered();
        assert!(!waits.is_at_rest(&cache, &key), "there is news about connections");
        let waits = rests(Some(Instant::now() + wait));
        tokio::time::advance(wait).await;
        assert!(!waits.is_at_rest(&cache, &key), "the time has come");
        cache.apps.entry(Arc::clone(&key)).or_default().changes = 4;
        assert!(!rests(None).is_at_rest(&cache, &key), "the application has changed");
        cache.apps.clear();
        assert!(!rests(None).is_at_rest(&cache, &key), "the application is gone");
    }
}
