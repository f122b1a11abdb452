//! One turn of one application: observe → plan → compile → apply → report.

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
        ConfigRequests, ConfigResults, Failure, Outcome, Site, carry_out, hold, is_held, let_go, read_config,
        still_foreign,
    },
    cache::{App, Cache, ForeignScalers},
    clock::Clock,
    compile::{ChainWrites, CompileInput, ON_ITS_WAY, PlanWrites, compile},
    count::Counter,
    counting::Counting,
    domain::{Names, OperatorSettings, Owner},
    effective::Effective,
    gates::{Answered, Gates, Measurer, Site as GateSite},
    health::{Health, Part},
    key::Key,
    kind::Kind,
    live::Root,
    manifests::Scope,
    observe::{self, Foreign, Observed, observe},
    report::{Owners, Report, ReportInput, Reporter, troubles},
};
use backoff::Backoff;
use chains::Chains;
pub(crate) use reading::learn;
use refused::Refused;
use taken::TakenNames;
use unseen::UnseenChanges;

/// Time that an answer about connections waits for further ones: many pods are asked concurrently.
const ANSWERS: Duration = Duration::from_millis(100);
/// Shortest wait before another look. Without it, a time that has passed would cause one look after the other.
const SOON: Duration = Duration::from_millis(1);

/// State of an application that is kept between its turns.
#[derive(Default)]
pub(crate) struct Reconciler {
    /// Whether writes of the application are under way.
    pub(crate) running: bool,
    /// Time of the next look although nothing has changed.
    pub(crate) due: Option<Instant>,
    /// Number of the application's changes at the last look, if that look found nothing to do.
    rests: Option<u64>,
    unseen: UnseenChanges,
    taken: TakenNames,
    chains: Chains,
    refused: Refused,
    /// Failures to read configuration.
    reading: Backoff,
    /// Failures to write statuses.
    reporting: Backoff,
    /// Failures to release what a Rainbow that is gone has left behind.
    leaving: Backoff,
    reporter: Reporter,
    counting: Counting,
    gates: Gates,
    /// Time of the last write that was not answered. Such a write may still arrive.
    unanswered: Option<Time>,
}

/// Input of a turn that is the same for all applications.
pub(crate) struct Environment<'a> {
    pub(crate) client: &'a Client,
    pub(crate) clock: Clock,
    pub(crate) settings: &'a OperatorSettings,
    pub(crate) counter: &'a Counter,
    pub(crate) measurer: &'a Measurer,
    /// Place where the duration of looks is noted.
    pub(crate) health: Option<&'a Health>,
}

impl Environment<'_> {
    /// Does a part of a look, and notes its duration.
    pub(crate) fn timed<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        let Some(health) = self.health else { return work() };
        // Tokio's clock stands still in tests, so it is not used.
        let begin = std::time::Instant::now();
        let done = work();
        health.spent(part, begin.elapsed());
        done
    }
}

/// Outcome of a look: what to do in the turn.
pub(crate) enum NextStep {
    /// Nothing is to do until something changes or `due`.
    Nothing,
    /// The application is gone.
    Forget,
    /// Requests to the API server, with their number.
    Run { writes: usize, turn: BoxFuture<'static, TurnResult> },
}

/// Result of a turn.
pub(crate) struct TurnResult {
    pub(crate) key: Arc<Key>,
    /// Outcome of all writes.
    pub(crate) outcome: Outcome,
    /// Chains that were tried, each with its failure.
    chains: Vec<(ChainKey, Option<Failure>)>,
    /// Services that were applied: the chain, the name, and the API server's refusal of a part.
    services: Vec<(ChainKey, String, Option<String>)>,
    /// Result of the report. `None`: there was nothing to report.
    report: Option<Result<(), Failure>>,
    /// Configuration that was read.
    pub(crate) read: Option<ConfigResults>,
    purpose: Purpose,
    generation: Option<i64>,
    /// Owners of addresses that were asked for.
    owners: Owners,
}

/// Purpose of a turn's writes.
enum Purpose {
    /// The turn carries out a plan.
    Plan,
    /// The turn asks whether objects of others still exist. These do.
    Ask(Foreign),
    /// The turn reads configuration.
    Read,
    /// The turn releases what a Rainbow that is gone has left behind.
    Leave,
}

/// Values that are the same for everything in a turn.
struct Turn<'a> {
    key: &'a Arc<Key>,
    with: &'a Environment<'a>,
    generation: Option<i64>,
    now: Time,
}

impl Reconciler {
    /// Plans and compiles one turn. Nothing before the writes waits, and the writes own their input.
    fn reconcile(
        &mut self,
        turn: &Turn<'_>,
        app: &mut App,
        root: &Root,
        prefix: &str,
        others: ForeignObjects,
    ) -> NextStep {
        let Turn { key, now, .. } = *turn;
        let Environment { settings, clock, counter, measurer, health, .. } = *turn.with;
        let templates = Arc::clone(&app.templates);
        let scope =
            Scope { namespace: &key.namespace, rainbow: &key.name, prefix: Some(prefix), templates: &templates };

        let ask_again = self.refused.retry(app, turn.generation);
        let foreign = self.taken.names();
        let effective = Effective::of(app, root, &scope);
        let rainbow = &effective.rainbow;
        let mut observed = turn
            .with
            .timed(Part::Observe, || observe(app, &scope, &effective, foreign, &others.scalers, settings, now));
        observed.taken.extend(others.siblings);
        self.gates.restore(root.status());
        let pods_due = self.gates.watch_pods(app, &effective, now);
        observed.world.checks = self.gates.outcomes();
        let mut plan = turn.with.timed(Part::Plan, || plan(&observed.world, now));
        let retry = self.chains.keep_due(&mut plan, turn.generation);
        if self.counting.follow(key, app, &effective, &plan, counter, now) {
            self.wait_until(Instant::now() + SOON);
        }
        let site = GateSite { app, effective: &effective, scope: &scope, services: &observed.stage_services };
        if self.gates.follow(key, &site, &plan, measurer, now) {
            self.wait_until(Instant::now() + SOON);
        }
        if let Some(health) = health {
            self.gates.show(key, health);
        }

        let sidecar = settings.sidecar.as_ref();
        let mut work = compile(
            &plan,
            CompileInput {
                app,
                scope: &scope,
                rainbow,
                effective: &effective,
                observed: &observed,
                sidecar,
                now,
                late_until: self.late_until(settings),
            },
        );
        let pods = troubles(app, &plan.report);
        let Observed { stage_services: services, taken, clashes, world, .. } = &observed;
        let names = Names { rainbow: &key.name, prefix: Some(prefix), services, taken, troubles: &pods };
        let mut troubles = self.refused.troubles();
        troubles.extend(self.chains.troubles());
        let obstacle = effective.invalid.clone();
        let about = ReportInput {
            key,
            effective: &effective,
            app,
            names,
            obstacle,
            clashes,
            plan: &plan,
            world,
            troubles: &troubles,
            gates: &self.gates.statuses(),
            now,
        };
        let mut report = self.reporter.report(&about);

        let wake = plan.wake.map(|wake| clock.instant(wake).max(Instant::now() + SOON));
        let silent = self.reporting.until(turn.generation);
        let pods_due = pods_due.map(|due| clock.instant(due).max(Instant::now() + SOON));
        let wakes = [wake, report.next, pods_due, self.taken.next(), retry, ask_again, silent];
        wakes.into_iter().flatten().for_each(|wake| self.wait_until(wake));
        if silent.is_some() {
            // Nothing is cut that cannot be reported, and nothing is made that no finalizer would keep.
            if report.has_cuts() || work.hold.is_some() {
                work.keep_stages();
            }
            work.color_holds.clear();
            report.silence();
        }
        if work.is_empty() && report.is_empty() {
            self.rests = Some(app.changes);
            return NextStep::Nothing;
        }
        turn.run(Purpose::Plan, work, report)
    }

    /// Takes a turn, if one is due.
    pub(crate) fn step(&mut self, cache: &mut Cache, key: &Arc<Key>, with: &Environment<'_>) -> NextStep {
        if self.is_at_rest(cache, key) {
            return NextStep::Nothing;
        }
        (self.due, self.rests) = (None, None);
        if let Some(until) = self.unseen.until(cache, key) {
            self.wait_until(until);
            return NextStep::Nothing;
        }
        let Some(app) = cache.apps.get_mut(key) else { return NextStep::Forget };
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
        let others = ForeignObjects { siblings, scalers: cache.foreign_scalers(&key.namespace) };
        let Some(app) = cache.apps.get_mut(key) else { return NextStep::Forget };
        let prefix = prefix(app, &root);
        self.reconcile(&turn, app, &root, &prefix, others)
    }

    /// Reads the unknown part of the configuration that the application names, before the application is planned for. `None`: everything is
    /// known, or what is unknown waits for a later attempt.
    fn read(&mut self, turn: &Turn<'_>, cache: &mut Cache, root: &Root, with: &Environment<'_>) -> Option<NextStep> {
        let readables = cache.readables(with.settings.config);
        let app = cache.apps.get_mut(turn.key)?;
        app.config.readables = readables;
        if root.meta().deletion_timestamp.is_some() || app.has_no_config() {
            return None;
        }
        if reading::is_being_listed(app) {
            return Some(NextStep::Nothing);
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

    /// Handles a Rainbow that is gone. The garbage collector deletes what is left of it once no finalizer of Rainbow's holds it.
    fn leave(&mut self, key: &Arc<Key>, with: &Environment<'_>, is_held: bool) -> NextStep {
        self.stop(key, with);
        *self = Self { leaving: std::mem::take(&mut self.leaving), ..Self::default() };
        if !is_held {
            self.leaving.succeeded();
            return NextStep::Nothing;
        }
        if let Some(until) = self.leaving.until(None) {
            self.wait_until(until);
            return NextStep::Nothing;
        }
        let (client, key) = (with.client.clone(), Arc::clone(key));
        let leave = async move {
            let outcome = let_go(&client, &key).await;
            TurnResult { outcome, ..TurnResult::new(key, Purpose::Leave, None) }
        };
        NextStep::Run { writes: 1, turn: leave.boxed() }
    }

    /// Returns whether nothing has changed since a look that found nothing to do, and the next look is not due. An event that changes
    /// nothing is no reason to decide again.
    fn is_at_rest(&self, cache: &Cache, key: &Key) -> bool {
        let changes = cache.apps.get(key).map(|app| app.changes);
        changes.is_some() && changes == self.rests && self.due.is_none_or(|due| Instant::now() < due)
    }

    /// Takes in the result of a turn's writes.
    pub(crate) fn finished(&mut self, done: TurnResult, key: &Key, now: Time) {
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
                // Also after a success: an object that must still be released was not visible yet.
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

    /// Stops asking pods for their connections, and measuring gates.
    pub(crate) fn stop(&mut self, key: &Key, with: &Environment<'_>) {
        self.counting.stop(key, with.counter);
        self.gates.stop(with.measurer);
        if let Some(health) = with.health {
            self.gates.show(key, health);
        }
    }

    /// Takes in the answer of a gate's measurement. Returns whether there is news.
    pub(crate) fn measured(&mut self, answered: Answered, key: &Key, with: &Environment<'_>) -> bool {
        let Some(is_decided) = self.gates.answered(answered, with.measurer, with.clock.now()) else { return false };
        if let Some(health) = with.health {
            self.gates.show(key, health);
        }
        self.rests = None;
        // A verdict may end a release, and a measurement alone only changes the status.
        self.wait_until(Instant::now() + if is_decided { SOON } else { ANSWERS });
        true
    }

    /// Takes in that the templates of gates have changed. Returns whether that may matter.
    pub(crate) fn templates_changed(&mut self) -> bool {
        let concerned = self.gates.uses_templates();
        if concerned {
            self.rests = None;
            self.wait_until(Instant::now() + SOON);
        }
        concerned
    }

    /// Takes in that there is news about connections.
    pub(crate) fn answered(&mut self) {
        self.rests = None;
        self.wait_until(Instant::now() + ANSWERS);
    }

    /// Returns the time until which a write may arrive whose outcome this operator does not know.
    fn late_until(&self, settings: &OperatorSettings) -> Time {
        self.unanswered.map_or(settings.leads_since, |since| since.max(settings.leads_since)).after(ON_ITS_WAY)
    }

    /// Takes in that configuration was read, completely or not.
    pub(crate) fn has_read(&mut self, answers: &ConfigResults, done: &TurnResult) {
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
    /// Asks whether the objects of others still exist.
    fn ask(&self, names: Foreign) -> NextStep {
        let (client, key, generation) = (self.with.client.clone(), Arc::clone(self.key), self.generation);
        let writes = names.len();
        let ask = async move {
            let still = still_foreign(&client, &key, names.into_iter().collect()).await;
            TurnResult::new(key, Purpose::Ask(still.into_iter().collect()), generation)
        };
        NextStep::Run { writes, turn: ask.boxed() }
    }

    fn read(&self, questions: ConfigRequests) -> NextStep {
        let (client, key, generation) = (self.with.client.clone(), Arc::clone(self.key), self.generation);
        let writes = questions.len();
        let read = async move {
            let answers = read_config(&Site::new(&client, &key), questions).await;
            TurnResult { read: Some(answers), ..TurnResult::new(Arc::clone(&key), Purpose::Read, generation) }
        };
        NextStep::Run { writes, turn: read.boxed() }
    }

    /// Writes stages first. A color that a stage sends its first clients to is reported before that, and cuts are reported before they happen.
    /// Everything else is reported after it is done.
    fn run(&self, purpose: Purpose, work: PlanWrites, report: Report) -> NextStep {
        let (client, key, generation) = (self.with.client.clone(), Arc::clone(self.key), self.generation);
        let writes = work.writes() + report.writes();
        let run = async move {
            let mut done = TurnResult::new(Arc::clone(&key), purpose, generation);
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
        NextStep::Run { writes, turn: run.boxed() }
    }
}

impl TurnResult {
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

    /// Takes in the results of chains.
    fn carried_out(&mut self, chains: Vec<(ChainKey, Outcome)>) {
        for (chain, mut outcome) in chains {
            let services = std::mem::take(&mut outcome.services).into_iter();
            self.services.extend(services.map(|(name, refused)| (chain.clone(), name, refused)));
            self.chains.push((chain, outcome.failure.clone()));
            self.outcome.merge(outcome);
        }
    }

    /// Takes in the result of statuses, and returns whether they were written.
    fn reported(&mut self, outcome: Outcome) -> bool {
        let good = outcome.failure.is_none();
        let failure = outcome.failure.clone().map_or(Ok(()), Err);
        self.report = Some(self.report.take().map_or(failure.clone(), |before| before.and(failure)));
        self.outcome.merge(outcome);
        good
    }

    /// Returns the chains that failed.
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

/// Returns the prefix of all names. Existing objects keep theirs.
fn prefix(app: &App, root: &Root) -> String {
    app.prefix().or(root.rainbow.spec.name_prefix.as_deref()).unwrap_or_default().to_owned()
}

/// Objects of other owners in the namespace.
struct ForeignObjects {
    siblings: SiblingObjects,
    scalers: Arc<ForeignScalers>,
}

/// Objects that belong to another Rainbow, by kind and name.
type SiblingObjects = Vec<((Kind, String), Owner)>;

fn siblings(cache: &Cache, key: &Key, foreign: &Foreign) -> SiblingObjects {
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
