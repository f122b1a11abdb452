//! Report about an application: statuses, conditions, events. Facts come from the plan, words from `messages`.

mod cuts;
mod events;
mod pacing;
mod peers;
mod status;
mod troubles;

use kube::Client;
use rainbow_api::{Color, ColorStatus, Cut, HumanDuration, Rainbow, RainbowStatus, Reason};
use rainbow_plan::{Action, ChainKey, Plan, Time, World};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

use crate::{
    apply::{self, Outcome, StatusWrite},
    cache::App,
    domain::{Names, OnePeer},
    effective::Effective,
    gates::GateStatuses,
    key::Key,
    kind::Kind,
    messages,
};
use events::Note;
use pacing::{Pacing, Subject};

pub(crate) use crate::domain::Obstacle;
pub(crate) use peers::Owners;
pub(crate) use troubles::troubles;

/// Returns the reasons of all events that the operator writes, with their meanings.
pub fn events() -> impl Iterator<Item = (&'static str, &'static str)> {
    events::EventReason::ALL.into_iter().map(|reason| (reason.as_str(), reason.meaning()))
}

/// Shortest time between an event and the next event about a step of a shift. The steps of a slow shift are reported one by one, those of a
/// fast one not at all.
const STEPS_EVERY: Duration = Duration::from_secs(10);

/// State of an application's reports that is kept between its turns.
#[derive(Default)]
pub(crate) struct Reporter {
    pacing: Pacing,
    step_told: Option<Instant>,
    /// Subjects of notes that are published once, of which a note was published.
    told: BTreeSet<u64>,
    /// Owners of the addresses that are connected to every pod that holds a color.
    owners: Owners,
}

/// Input of a report.
pub(crate) struct ReportInput<'a> {
    pub(crate) key: &'a Key,
    pub(crate) effective: &'a Effective,
    pub(crate) app: &'a App,
    pub(crate) names: Names<'a>,
    /// Problem of the spec.
    pub(crate) obstacle: Option<Obstacle>,
    /// Reasons why stages keep their present Services.
    pub(crate) clashes: &'a [String],
    /// Plan without the chains that are not carried out now.
    pub(crate) plan: &'a Plan,
    /// World that the plan was made for.
    pub(crate) world: &'a World,
    /// Reasons why chains cannot be carried out.
    pub(crate) troubles: &'a Troubles,
    /// Results of gates, by stage.
    pub(crate) gates: &'a GateStatuses,
    pub(crate) now: Time,
}

/// Answers of the API server to the writes of each chain.
pub(crate) type Troubles = BTreeMap<ChainKey, Obstacle>;

/// Writes of a report.
pub(crate) struct Report {
    /// Statuses of colors that a stage is about to send its first clients to.
    served: Vec<StatusWrite>,
    /// Statuses with connections that are about to be cut.
    cuts: Vec<StatusWrite>,
    statuses: Vec<StatusWrite>,
    /// Events, each with the chain whose success it reports, if there is one.
    notes: Vec<(Option<ChainKey>, Note)>,
    /// Addresses that are connected to every pod that holds a color and whose owners are not known yet.
    nameless: BTreeSet<IpAddr>,
    /// Object that the events are about.
    rainbow: Arc<Rainbow>,
    now: Time,
    /// Time of the next report although nothing has changed.
    pub(crate) next: Option<Instant>,
}

impl Report {
    pub(crate) fn is_empty(&self) -> bool {
        self.served.is_empty() && self.cuts.is_empty() && self.statuses.is_empty() && self.nameless.is_empty()
    }

    /// Returns the number of writes.
    pub(crate) fn writes(&self) -> usize {
        self.served.len() + self.cuts.len() + self.statuses.len() + self.notes.len()
    }

    /// Returns whether a status or an event is to be written when everything else is done.
    pub(crate) fn has_statuses(&self) -> bool {
        !self.statuses.is_empty() || !self.notes.is_empty()
    }

    /// Discards all writes.
    pub(crate) fn silence(&mut self) {
        self.served.clear();
        self.cuts.clear();
        self.statuses.clear();
        self.notes.clear();
        self.nameless.clear();
    }

    /// Asks for the owners of the addresses that are connected to every pod that holds a color.
    pub(crate) async fn owners(&self, client: &Client) -> Owners {
        peers::owners(client, &self.nameless).await
    }

    /// Returns whether a stage is about to send its first clients to a color.
    pub(crate) fn has_served(&self) -> bool {
        !self.served.is_empty()
    }

    /// Records which colors stages are about to send clients to, so that a crash between the two cannot hide that a color has served.
    pub(crate) async fn announce_served(&self, client: &Client, key: &Key) -> Outcome {
        apply::write_statuses(client, key, &self.served).await
    }

    /// Returns whether connections are about to be cut.
    pub(crate) fn has_cuts(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Writes what is about to be cut before the pods are deleted, so that a crash between the two cannot hide a cut.
    pub(crate) async fn announce(&self, client: &Client, key: &Key) -> Outcome {
        apply::write_statuses(client, key, &self.cuts).await
    }

    /// Writes all other statuses and, once they are written, the events. Nothing is reported about what failed chains were to do.
    pub(crate) async fn publish(&self, client: &Client, key: &Key, failed: &BTreeSet<ChainKey>) -> Outcome {
        let outcome = apply::write_statuses(client, key, &self.statuses).await;
        if outcome.failure.is_none() {
            let notes =
                self.notes.iter().filter(|(after, _)| after.as_ref().is_none_or(|chain| !failed.contains(chain)));
            events::publish(client, &key.namespace, &self.rainbow, notes.map(|(_, note)| note), self.now).await;
        }
        outcome
    }
}

impl Reporter {
    /// Takes in the owners of addresses.
    pub(crate) fn named(&mut self, owners: Owners) {
        self.owners.extend(owners);
    }

    /// Returns the statuses to be written now, and the events about what has changed.
    pub(crate) fn report(&mut self, about: &ReportInput<'_>) -> Report {
        let ReportInput { key, effective, app, names, plan, world, troubles, gates, now, .. } = about;
        let rainbow = &effective.rainbow;
        let mut report = Report::new(rainbow, *now);
        if plan.actions().any(|action| matches!(action, Action::Release)) {
            return report;
        }
        let cut = cuts::cuts(plan, app, *now);
        let none = RainbowStatus::default();
        let old = rainbow.status.as_ref().unwrap_or(&none);
        for chain in &plan.chains {
            let told = |action| {
                let edited = || events::of_edit(action, world, old).or_else(|| events::of_scale(action, about));
                events::of_action(action).or_else(edited)
            };
            let notes = chain.actions.iter().filter_map(told);
            // A note that is published once is about another writer, so it does not depend on the chain's success.
            report.notes.extend(notes.map(|note| (note.once().is_none().then(|| chain.key.clone()), note)));
        }

        let instant = Instant::now();
        let mut round = self.pacing.round(instant);
        let generation = rainbow.metadata.generation;
        let conflict = |message: &String| Obstacle { reason: Reason::Conflict, message: message.clone() };
        let causes = about.obstacle.iter().cloned().chain(about.clashes.iter().map(conflict));
        let causes: Vec<Obstacle> = causes.chain(missing_image(app)).collect();
        let overlaps =
            world.spec.stages.iter().filter_map(|stage| Some((stage.name.clone(), HumanDuration(stage.overlap?))));
        let waits = about.effective.waits.clone();
        let (overlaps, holds) = (&overlaps.collect(), rainbow.spec.holds.as_slice());
        let basis = status::RainbowStatusInput {
            generation,
            names,
            causes,
            waits,
            troubles,
            overlaps,
            holds,
            gates,
            old,
            now: *now,
        };
        let new = status::rainbow(&plan.report, basis);
        if round.is_due(&Subject::Rainbow, status::rainbow_difference(old, &new)) {
            report.tell(events::of_rainbow(old, &new));
            report.statuses.push(of_rainbow(key, rainbow.metadata.uid.as_deref(), &new));
        }
        let paused = new.stages.iter().filter_map(|stage| status::paused_long_at(stage.shift.as_ref()?));
        let paused_long = paused.filter(|at| *at > *now).min().map(|at| after(at, *now));
        colors(about, &cut, &self.owners, &mut round, &mut report);
        let is_there = |of: &Subject| match of {
            Subject::Rainbow => true,
            Subject::Color(name) => plan.report.colors.iter().any(|known| known.name == *name),
        };
        let peers = peers::next(plan, *now).map(|at| after(at, *now));
        report.next = round.end(is_there).into_iter().chain(unknown(plan, *now)).chain(paused_long).chain(peers).min();
        report.notes.retain(|(_, note)| {
            if let Some(subject) = note.once() {
                return self.told.insert(subject);
            }
            let told = !note.is_step() || self.step_told.is_none_or(|last| instant >= last + STEPS_EVERY);
            if told {
                self.step_told = Some(instant);
            }
            told
        });
        report
    }
}

impl Report {
    fn new(rainbow: &Arc<Rainbow>, now: Time) -> Self {
        let rainbow = Arc::clone(rainbow);
        let (served, cuts, statuses, notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { served, cuts, statuses, notes, nameless: BTreeSet::new(), rainbow, now, next: None }
    }

    fn tell(&mut self, notes: impl IntoIterator<Item = Note>) {
        self.notes.extend(notes.into_iter().map(|note| (None, note)));
    }
}

fn colors(
    about: &ReportInput<'_>,
    cut: &BTreeMap<String, Vec<Cut>>,
    owners: &Owners,
    round: &mut pacing::Round<'_>,
    report: &mut Report,
) {
    let ReportInput { app, effective, plan, troubles, now, .. } = about;
    let none = ColorStatus::default();
    for found in &plan.report.colors {
        let Some((name, color)) = app.color(&found.name) else { continue };
        // The status of a color that the plan deletes is not needed any more.
        let goes = |action: &Action| matches!(action, Action::DeleteColor { color } if *color == found.name);
        if plan.actions().any(goes) {
            continue;
        }
        let old = color.status.as_ref().unwrap_or(&none);
        let cut = cut.get(&found.name).map(Vec::as_slice).unwrap_or_default();
        let generation = color.metadata.generation;
        let trouble = status::trouble_of_color(&found.name, troubles);
        let remembered = status::ColorPolicy::of(&effective.rainbow.spec, effective.describes(color), color);
        let (names, known) = (&about.names, &app.known);
        let ignored = ignored(app, color);
        let peer = match peers::one_peer(found, color, app, *now) {
            None => None,
            Some((address, pods)) => match owners.get(&address) {
                Some(owner) => Some(OnePeer { address, owner: owner.clone(), pods }),
                None => {
                    report.nameless.insert(address);
                    None
                }
            },
        };
        let basis = status::ColorStatusInput {
            generation,
            names,
            known,
            peer,
            ignored,
            cut,
            trouble,
            remembered,
            old,
            now: *now,
        };
        let new = status::color(found, &basis);
        if !round.is_due(&Subject::Color(found.name.clone()), status::color_difference(old, &new)) {
            continue;
        }
        report.tell(events::of_color(&found.name, old, &new));
        report.tell(events::of_cuts(&found.name, cut));
        let (name, uid) = (name.to_owned(), color.metadata.uid.clone());
        let write = StatusWrite { kind: Kind::Color, name, uid, status: json!(new) };
        let writes = if !cut.is_empty() {
            &mut report.cuts
        } else if status::serves_more(old, &new) {
            &mut report.served
        } else {
            &mut report.statuses
        };
        writes.push(write);
    }
}

/// Returns the number of connections of peers that hold nothing, over all pods of a color. `None`: there are none.
fn ignored(app: &App, color: &Color) -> Option<u64> {
    let instances = &color.spec.instances;
    let has = |tier: &str, of: &str| instances.iter().any(|known| known.tier == tier && known.color == of);
    let pods = app.pods.iter().filter(|(_, pod)| has(&pod.tier, &pod.color));
    let sum: u64 = pods.filter_map(|(name, _)| app.known.reading(name)).map(|reading| reading.ignored).sum();
    (sum > 0).then_some(sum)
}

fn of_rainbow(key: &Key, uid: Option<&str>, status: &rainbow_api::RainbowStatus) -> StatusWrite {
    let (name, uid) = (key.name.clone(), uid.map(str::to_owned));
    StatusWrite { kind: Kind::Rainbow, name, uid, status: json!(status) }
}

/// Returns when pods of which nothing is known must be reported.
fn unknown(plan: &Plan, now: Time) -> Option<Instant> {
    let since = plan.report.colors.iter().filter_map(|color| color.drain.as_ref()?.unknown_since);
    let told = since.map(|since| since.after(status::UNKNOWN_AFTER)).filter(|at| *at > now).min()?;
    Some(after(told, now))
}

/// Returns the instant of a time in the future.
fn after(at: Time, now: Time) -> Instant {
    Instant::now() + Duration::from_millis(at.0.saturating_sub(now.0).unsigned_abs())
}

/// Returns a problem for pods that never start because the image of Rainbow's own counter cannot be pulled. Users did not ask for that
/// container, so it is reported at once and by name: for each image, the first color.
fn missing_image(app: &App) -> Option<Obstacle> {
    let mut missing: BTreeMap<&str, &str> = BTreeMap::new();
    for pod in app.pods.values().filter(|pod| !pod.meta.deleting && !pod.finished) {
        if let Some(image) = &pod.missing_counter {
            missing.entry(&**image).or_insert(&*pod.color);
        }
    }
    let message = |(image, color): (&&str, &&str)| {
        let object = app.color(color).map_or(*color, |(name, _)| name);
        messages::no_counter_image(image, color, object)
    };
    let told: Vec<String> = missing.iter().map(message).collect();
    (!told.is_empty()).then(|| Obstacle { reason: Reason::CounterImageUnavailable, message: told.join("; ") })
}
