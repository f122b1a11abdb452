//! Checks of one application: which are measured now, and what came of them.

use rainbow_api::{GateStatus, GateVerdict, MeasurementOutcome, PODS_GATE, RainbowStatus};
use rainbow_plan::{Check, CheckOutcome, Moment, Plan, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    answer::Place,
    judge::{Judged, Judgement},
    place::{Site, stage_and_tier},
    pods,
    record::{CHECKS, Record},
    settings::Settings,
    task::{Answered, CheckId, Measurer, Work},
    verdict,
};
use crate::{
    cache::App,
    domain,
    effective::Effective,
    health::{GateFigures, Health},
    key::Key,
    messages,
};

/// Next identity of a check, of all applications.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Results of gates as the status has them, by stage.
pub(crate) type GateStatuses = BTreeMap<String, Vec<GateStatus>>;

/// Checks of an application that are kept between its turns.
#[derive(Default)]
pub(crate) struct Gates {
    /// Whether the results of the status were taken over.
    restored: bool,
    courses: BTreeMap<Check, Course>,
    /// Checks that no plan names any more, of the latest release.
    ended: Vec<Record>,
    /// Number of measurements that this operator has made, by stage and gate.
    made: BTreeMap<(String, String), BTreeMap<MeasurementOutcome, u64>>,
}

/// Check that plans name.
struct Course {
    id: CheckId,
    settings: Settings,
    /// Latest time that plans have given for the check. `None`: the check is from the status, and no plan has named it yet.
    asked: Option<Time>,
    record: Record,
    /// Place of the measurement that is ordered, and its time. `None`: none is ordered.
    ordered: Option<(Place, Time)>,
    /// Time of the last answer, and whether it was a measurement.
    last: Option<(Time, Option<MeasurementOutcome>)>,
}

impl Course {
    fn new(record: Record) -> Self {
        let (id, settings) = (NEXT.fetch_add(1, Relaxed), Settings::Unknown);
        Self { id, settings, asked: None, record, ordered: None, last: None }
    }

    /// Takes over the settings, and measures from the beginning where they are others than before.
    fn set(&mut self, since: Time, settings: Settings, measurer: &Measurer) {
        let is_later = self.asked.is_some_and(|asked| since > asked);
        let is_other = match (&self.settings, &settings) {
            // A template that is not known for a moment is still the one that it was.
            (Settings::Unknown, _) | (_, Settings::Unknown) => false,
            (before, after) => before != after,
        };
        if is_later || is_other {
            measurer.stop(self.id);
            *self = Self::new(Record::new(self.record.check.clone(), since));
        }
        self.asked = self.asked.max(Some(since));
        if settings != Settings::Unknown {
            self.settings = settings;
        }
    }

    /// Orders the next measurement, if there is to be one.
    fn order(&mut self, key: &Key, place: impl FnOnce(&Check) -> Place, measurer: &Measurer) {
        let Settings::Gate { gate, args } = &self.settings else { return };
        if !verdict::goes_on(gate, &self.record.check.moment, self.record.verdict) {
            if self.ordered.take().is_some() {
                measurer.stop(self.id);
            }
            return;
        }
        let first = self.record.since.after(gate.initial_delay.unwrap_or_default().0);
        let due = match (self.last, &self.ordered) {
            (_, Some((_, due))) => *due,
            (Some((at, outcome)), None) => first.max(at.after(verdict::pause(gate, outcome))),
            (None, None) => first,
        };
        let place = Place { args: args.clone(), ..place(&self.record.check) };
        if self.ordered.as_ref().is_some_and(|(known, _)| *known == place) {
            return;
        }
        let work = Work {
            check: self.record.check.clone(),
            gate: gate.clone(),
            place: place.clone(),
            since: self.record.since,
            number: verdict::number(&self.record.counts),
        };
        measurer.measure(key, self.id, due, work);
        self.ordered = Some((place, due));
    }

    /// Takes in the answer of a measurement. Returns whether the verdict has changed.
    fn answered(&mut self, judgement: Judgement, now: Time) -> bool {
        let Settings::Gate { gate, .. } = &self.settings else { return false };
        let before = self.record.verdict;
        match judgement {
            Judgement::Pending { why } => {
                self.last = Some((now, None));
                if before == GateVerdict::Running {
                    self.record.message = Some(why);
                }
            }
            Judgement::Measured(judged) => {
                let (outcome, why) = (judged.outcome, judged.message.clone());
                self.last = Some((now, Some(outcome)));
                self.record.add(judged, now);
                let verdict = verdict::after(gate, &self.record.counts, before, outcome);
                let is_settled =
                    verdict == before && matches!(verdict, GateVerdict::Passed | GateVerdict::Inconclusive);
                let message = match is_settled {
                    true => self.record.message.clone(),
                    false => verdict::reason(gate, &self.record.counts, verdict, why.as_deref()),
                };
                self.record.decide(verdict, message, now);
            }
        }
        self.record.verdict != before
    }
}

impl Gates {
    /// Takes over the results that the status has, at the first look of an operator.
    pub(crate) fn restore(&mut self, status: Option<&RainbowStatus>) {
        if std::mem::replace(&mut self.restored, true) {
            return;
        }
        for record in status.into_iter().flat_map(Record::all) {
            match record.ended {
                Some(_) => self.ended.push(record),
                None => {
                    // The time of the last answer tells when the next measurement is due.
                    let last = record.measurements.last();
                    let last = last.and_then(|last| Some((crate::clock::read(&last.at)?, Some(last.outcome))));
                    let course = Course { last, ..Course::new(record) };
                    self.courses.insert(course.record.check.clone(), course);
                }
            }
        }
    }

    /// Checks the pods, which needs no measurement. Returns when to look again.
    pub(crate) fn watch_pods(&mut self, app: &App, effective: &Effective, now: Time) -> Option<Time> {
        let mut next: Option<Time> = None;
        for course in self.courses.values_mut() {
            let Settings::Pods(gate) = &course.settings else { continue };
            let Course { record, .. } = course;
            let (stage, _) = stage_and_tier(&record.check.stage);
            let Some((_, color)) = app.color(&record.check.color) else { continue };
            if record.verdict == GateVerdict::Failed || effective.rainbow.spec.stages.iter().all(|s| s.name != stage) {
                continue;
            }
            let instances = domain::instances(&color.spec, std::iter::once(stage));
            let found = pods::judge(app, &record.check, gate, &instances, record.since, now);
            if let Some(why) = found.failure.clone() {
                let value = Some(found.result().to_string());
                let outcome = MeasurementOutcome::Failed;
                record.add(Judged { outcome, value, query: None, message: Some(why.clone()) }, now);
                record.decide(GateVerdict::Failed, Some(why), now);
            }
            next = next.into_iter().chain(found.next).min();
        }
        next
    }

    /// Returns the outcomes for the next plan.
    pub(crate) fn outcomes(&self) -> BTreeMap<Check, CheckOutcome> {
        let outcome = |(check, course): (&Check, &Course)| {
            verdict::outcome(course.record.verdict).map(|outcome| (check.clone(), outcome))
        };
        self.courses.iter().filter_map(outcome).collect()
    }

    /// Measures the checks that the plan names, and no others. Returns whether a verdict is known now without a measurement.
    pub(crate) fn follow(&mut self, key: &Key, site: &Site<'_>, plan: &Plan, measurer: &Measurer, now: Time) -> bool {
        self.forget(plan, measurer, now);
        let spec = &site.effective.rainbow.spec;
        let mut news = false;
        for (check, since) in &plan.checks {
            let is_new = !self.courses.contains_key(check);
            let course =
                self.courses.entry(check.clone()).or_insert_with(|| Course::new(Record::new(check.clone(), *since)));
            course.set(*since, Settings::of(spec, check, &measurer.templates), measurer);
            course.record.dry_run = spec.gates.iter().any(|gate| gate.name == check.gate && gate.check.dry_run);
            match &course.settings {
                Settings::Invalid(why) => {
                    let before = course.record.verdict;
                    if before != GateVerdict::Failed {
                        let why = why.clone();
                        course.record.decide(GateVerdict::Inconclusive, Some(why), now);
                    }
                    news |= course.record.verdict != before;
                }
                Settings::Unknown => course.record.message = Some(messages::TEMPLATES_UNREAD.to_owned()),
                // An end of a container from before the plan named the check may decide it.
                Settings::Pods(_) => news |= is_new,
                Settings::Gate { .. } => course.order(key, |check| site.place(check, Vec::new()), measurer),
            }
        }
        self.prune(plan);
        let known: BTreeSet<(String, String)> =
            self.records().map(|record| (record.check.stage.clone(), record.check.gate.clone())).collect();
        self.made.retain(|of, _| known.contains(of));
        news
    }

    /// Stops the checks that the plan does not name. Their results stay in the status.
    fn forget(&mut self, plan: &Plan, measurer: &Measurer, now: Time) {
        let gone: Vec<Check> = self.courses.keys().filter(|check| !plan.checks.contains_key(*check)).cloned().collect();
        for check in gone {
            let Some(Course { id, mut record, settings, .. }) = self.courses.remove(&check) else { continue };
            measurer.stop(id);
            if matches!(settings, Settings::Pods(_)) && record.verdict == GateVerdict::Running {
                record.decide(GateVerdict::Passed, None, now);
            }
            record.ended = Some(now);
            // A check that is asked for again has one result: the last.
            self.ended.retain(|known| known.check != check);
            self.ended.push(record);
        }
    }

    /// Forgets the results of earlier releases: those of other colors than the one that a stage moves to now. What a stage was taken back from
    /// stays, so that people see why.
    fn prune(&mut self, plan: &Plan) {
        for stage in &plan.report.stages {
            let parts = || std::iter::once(stage).chain(stage.tiers.iter().map(|tier| &tier.report));
            let mut kept: Vec<&str> = parts().filter_map(|part| Some(part.shift.as_ref()?.to.as_str())).collect();
            let is_of = |check: &Check| stage_and_tier(&check.stage).0 == stage.name;
            let named = plan.checks.keys().filter(|check| is_of(check) && check.moment != Moment::Watch);
            kept.extend(named.map(|check| check.color.as_str()));
            if kept.is_empty() {
                continue;
            }
            kept.extend(parts().filter_map(|part| Some(part.rejected.as_ref()?.color.as_str())));
            self.ended.retain(|record| !is_of(&record.check) || kept.contains(&record.check.color.as_str()));
        }
        let is_known = |record: &Record| {
            let (stage, _) = stage_and_tier(&record.check.stage);
            plan.report.stages.iter().any(|known| known.name == stage)
        };
        self.ended.retain(|record| is_known(record) && !self.courses.contains_key(&record.check));
        for stage in &plan.report.stages {
            let is_of = |check: &Check| stage_and_tier(&check.stage).0 == stage.name;
            let running = self.courses.keys().filter(|check| is_of(check)).count();
            let ended = self.ended.iter().filter(|record| is_of(&record.check)).count();
            let mut too_many = (running + ended).saturating_sub(CHECKS);
            // The oldest come first.
            self.ended.retain(|record| {
                let goes = too_many > 0 && is_of(&record.check);
                too_many -= usize::from(goes);
                !goes
            });
        }
    }

    /// Takes in the answer of a measurement, and orders the next one. Returns whether a verdict has changed. `None`: the answer is of a check
    /// that was stopped.
    pub(crate) fn answered(&mut self, answered: Answered, measurer: &Measurer, now: Time) -> Option<bool> {
        let Answered { key, id, judgement } = answered;
        let course = self.courses.values_mut().find(|course| course.id == id)?;
        let (place, _) = course.ordered.take()?;
        let Check { stage, gate, .. } = &course.record.check;
        if let Judgement::Measured(judged) = &judgement {
            let made = self.made.entry((stage.clone(), gate.clone())).or_default();
            *made.entry(judged.outcome).or_default() += 1;
        }
        let has_changed = course.answered(judgement, now);
        course.order(&key, |_| place, measurer);
        Some(has_changed)
    }

    /// Stops all measurements.
    pub(crate) fn stop(&mut self, measurer: &Measurer) {
        for course in std::mem::take(&mut self.courses).into_values() {
            measurer.stop(course.id);
        }
        *self = Self::default();
    }

    /// Returns whether a gate waits for, or uses, a `GateTemplate`.
    pub(crate) fn uses_templates(&self) -> bool {
        // Every check looks its template up again, so it is enough that there are checks.
        !self.courses.is_empty()
    }

    /// Returns the results for the status. Every release is watched by the check of pods: as long as that finds nothing, there is nothing to
    /// write.
    pub(crate) fn statuses(&self) -> GateStatuses {
        let is_silent = |record: &Record| record.check.gate == PODS_GATE && record.verdict != GateVerdict::Failed;
        let mut records: Vec<&Record> = self.records().filter(|record| !is_silent(record)).collect();
        records.sort_by(|a, b| (a.since, &a.check).cmp(&(b.since, &b.check)));
        let mut all = GateStatuses::new();
        for record in records {
            let (stage, _) = stage_and_tier(&record.check.stage);
            all.entry(stage.to_owned()).or_default().push(record.status());
        }
        for gates in all.values_mut() {
            let too_many = gates.len().saturating_sub(CHECKS);
            gates.drain(..too_many);
        }
        all
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.ended.iter().chain(self.courses.values().map(|course| &course.record))
    }

    /// Shows the figures of the gates that the status has, and no others.
    pub(crate) fn show(&self, key: &Key, health: &Health) {
        let mut latest: BTreeMap<(String, String), &Record> = BTreeMap::new();
        let mut records: Vec<&Record> = self.records().collect();
        records.sort_by_key(|record| record.since);
        for record in records {
            latest.insert((record.check.stage.clone(), record.check.gate.clone()), record);
        }
        let figures = latest.iter().map(|((stage, gate), record)| GateFigures {
            stage: stage.clone(),
            gate: gate.clone(),
            verdict: record.verdict.as_str(),
            measurements: self
                .made
                .get(&(stage.clone(), gate.clone()))
                .into_iter()
                .flatten()
                .map(|(outcome, number)| (outcome.as_str(), *number))
                .collect(),
        });
        health.gates(&key.namespace, &key.name, figures.collect());
    }
}
