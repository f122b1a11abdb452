//! The planner's report as the statuses of the resources.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time as ApiTime};
use rainbow_api::{self as api, RainbowStatus, ShiftStatus, StageStatus};
use rainbow_plan::{ColorPhase, Problem, Report, ShiftPhase, ShiftReport, StageReport, Time};
use std::collections::BTreeMap;

use crate::clock::{self, timestamp};

mod color;

pub(crate) use color::{Basis, UNKNOWN, UNKNOWN_AFTER, color, color_difference};

/// How much a status has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// Not at all: nothing is written.
    None,
    /// In counts of connections, which change all the time: waits longer, for the next count is not far.
    Counts,
    /// In what people read: may wait a moment for more to change.
    Minor,
    /// In what the next plan goes by, or in what stands in the way: written at once.
    Major,
}

/// The reason that says who holds the places of colors, and with how many connections.
const TOO_MANY_COLORS: &str = "TooManyColors";

/// Something that keeps a Rainbow from being what its spec says, found before or after planning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// In CamelCase, for machines.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: String,
}

/// The status of the Rainbow. A `cause` is what is behind the problems of the report, or soon will be.
pub(crate) fn rainbow(
    report: &Report,
    color: &str,
    generation: Option<i64>,
    services: &BTreeMap<String, String>,
    cause: Option<Obstacle>,
    old: &RainbowStatus,
    now: Time,
) -> RainbowStatus {
    let stages: Vec<StageStatus> = report.stages.iter().map(|report| stage(report, services)).collect();
    let newest = report.colors.iter().any(|known| known.name == color).then(|| color.to_owned());
    let mut status = RainbowStatus {
        observed_generation: generation,
        color: newest.or_else(|| report.colors.first().map(|first| first.name.clone())),
        summary: Some(summary(&stages)),
        stages,
        conditions: Vec::new(),
    };
    let obstacle = both(cause, obstacle(&report.problems));
    let serving = report.stages.iter().all(|stage| stage.color.is_some());
    let progress = (report.progressing || !serving).then(|| progress(report));
    status.conditions = conditions(obstacle.as_ref(), progress, generation, &old.conditions, now);
    status
}

/// The status as it was, with an obstacle in its conditions: nothing else is known to be true any more, or false.
pub(crate) fn hindered(obstacle: &Obstacle, generation: Option<i64>, old: &RainbowStatus, now: Time) -> RainbowStatus {
    RainbowStatus {
        observed_generation: generation,
        conditions: conditions(Some(obstacle), None, generation, &old.conditions, now),
        ..old.clone()
    }
}

fn stage(report: &StageReport, services: &BTreeMap<String, String>) -> StageStatus {
    StageStatus {
        name: report.name.clone(),
        service: services.get(&report.name).cloned().unwrap_or_default(),
        color: report.color.clone(),
        target: report.target.clone(),
        previous: report.previous.clone(),
        since: report.since.map(clock::write),
        shift: report.shift.as_ref().map(shift),
        message: report.message.clone(),
    }
}

fn shift(report: &ShiftReport) -> ShiftStatus {
    ShiftStatus {
        from: report.from.clone(),
        to: report.to.clone(),
        phase: match report.phase {
            ShiftPhase::Preparing => api::ShiftPhase::Preparing,
            ShiftPhase::Shifting => api::ShiftPhase::Shifting,
            ShiftPhase::Paused => api::ShiftPhase::Paused,
            ShiftPhase::Finishing => api::ShiftPhase::Finishing,
        },
        moved: signed(report.moved),
        of: signed(report.of),
        started_at: clock::write(report.started),
        next_step_at: report.next_step.map(clock::write),
    }
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `active=v1→v2 3/5, smoke=v2`.
fn summary(stages: &[StageStatus]) -> String {
    let one = |stage: &StageStatus| match &stage.shift {
        // While a shift is finished, the stage serves its new color already.
        Some(shift) if shift.from != shift.to => {
            format!("{}={}→{} {}/{}", stage.name, shift.from, shift.to, shift.moved, shift.of)
        }
        _ => format!("{}={}", stage.name, stage.color.as_deref().unwrap_or("-")),
    };
    stages.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What is under way: a reason and a sentence.
fn progress(report: &Report) -> (&'static str, String) {
    let shifts: Vec<String> = report
        .stages
        .iter()
        .filter_map(|stage| {
            let shift = stage.shift.as_ref()?;
            let step = format!("{} of {} pods", shift.moved, shift.of);
            Some(format!("stage {} moves from {} to {}: {step}", stage.name, shift.from, shift.to))
        })
        .collect();
    if !shifts.is_empty() {
        return ("Shifting", shifts.join("; "));
    }
    let starting: Vec<&str> =
        report.colors.iter().filter(|c| c.phase == ColorPhase::Starting).map(|c| c.name.as_str()).collect();
    if !starting.is_empty() {
        return ("Starting", format!("color {} is on its way", starting.join(", ")));
    }
    let waiting: Vec<&str> = report.stages.iter().filter(|s| s.color.is_none()).map(|s| s.name.as_str()).collect();
    if !waiting.is_empty() {
        return ("Waiting", format!("stage {} serves no color yet", waiting.join(", ")));
    }
    ("Progressing", "colors are being brought to their sizes".to_owned())
}

/// All problems as one obstacle; the first one names the reason.
pub(crate) fn obstacle(problems: &[Problem]) -> Option<Obstacle> {
    let reason = match problems.first()? {
        Problem::ColorInUse { .. } | Problem::InstanceInUse { .. } => "ColorInUse",
        Problem::UnknownColor { .. } => "UnknownColor",
        Problem::Foreign { .. } => "Conflict",
        Problem::Stalled { .. } => "ProgressDeadlineExceeded",
        Problem::InUse { .. } | Problem::DeletingInUse { .. } => "InUse",
        Problem::TooManyColors { .. } => TOO_MANY_COLORS,
    };
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Some(Obstacle { reason, message: messages.join("; ") })
}

/// Two obstacles as one; the first one names the reason.
fn both(first: Option<Obstacle>, second: Option<Obstacle>) -> Option<Obstacle> {
    match (first, second) {
        (Some(first), Some(second)) => {
            Some(Obstacle { reason: first.reason, message: format!("{}; {}", first.message, second.message) })
        }
        (first, second) => first.or(second),
    }
}

/// The three conditions as kstatus reads them.
fn conditions(
    obstacle: Option<&Obstacle>,
    progress: Option<(&'static str, String)>,
    generation: Option<i64>,
    old: &[Condition],
    now: Time,
) -> Vec<Condition> {
    let quiet = |reason: &'static str, message: &str| (false, reason, message.to_owned());
    let stalled = match obstacle {
        Some(obstacle) => (true, obstacle.reason, obstacle.message.clone()),
        None => quiet("NothingInTheWay", "nothing is in the way"),
    };
    let reconciling = match &progress {
        Some((reason, message)) => (true, *reason, message.clone()),
        None => quiet("Settled", "nothing is under way"),
    };
    let ready = match (obstacle, progress) {
        (Some(obstacle), _) => (false, obstacle.reason, obstacle.message.clone()),
        (None, Some((reason, message))) => (false, reason, message),
        (None, None) => (true, "Settled", "everything is as the spec says".to_owned()),
    };
    [("Ready", ready), ("Reconciling", reconciling), ("Stalled", stalled)]
        .into_iter()
        .map(|(type_, (is, reason, message))| condition(type_, is, reason, message, generation, old, now))
        .collect()
}

fn condition(
    type_: &str,
    is: bool,
    reason: &str,
    message: String,
    generation: Option<i64>,
    old: &[Condition],
    now: Time,
) -> Condition {
    let status = if is { "True" } else { "False" };
    // The time of the transition stays while the status does.
    let since =
        old.iter().find(|old| old.type_ == type_ && old.status == status).map(|old| old.last_transition_time.clone());
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(|| ApiTime(whole_seconds(now))),
    }
}

/// `metav1.Time` has whole seconds: what is written is what comes back.
fn whole_seconds(now: Time) -> k8s_openapi::jiff::Timestamp {
    timestamp(Time(now.0 - now.0.rem_euclid(1000)))
}

/// Whether a condition tells of connections, whose numbers change all the time.
pub(crate) fn tells_counts(condition: &Condition) -> bool {
    condition.reason == TOO_MANY_COLORS
}

/// How a Rainbow's new status differs from the old one.
pub(crate) fn rainbow_difference(old: &RainbowStatus, new: &RainbowStatus) -> Difference {
    if old == new {
        return Difference::None;
    }
    let without_counts = |status: &RainbowStatus| {
        let mut status = status.clone();
        status.conditions.iter_mut().filter(|condition| tells_counts(condition)).for_each(|c| c.message.clear());
        status
    };
    if without_counts(old) == without_counts(new) {
        return Difference::Counts;
    }
    // When a shift began and that it ended can wait: the Service and its members say as much.
    let remembered = |new: &StageStatus| {
        let known = old.stages.iter().find(|old| old.name == new.name);
        known.is_some_and(|old| old.color == new.color && old.previous == new.previous)
    };
    let stalled = |status: &RainbowStatus| {
        let found = status.conditions.iter().find(|condition| condition.type_ == "Stalled")?;
        (found.status == "True").then(|| found.reason.clone())
    };
    if new.stages.iter().all(remembered) && stalled(old) == stalled(new) {
        Difference::Minor
    } else {
        Difference::Major
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shifting(moved: u32) -> Report {
        let stage = |name: &str, color: &str, shift| StageReport {
            name: name.into(),
            color: Some(color.into()),
            target: Some("v2".into()),
            previous: None,
            since: Some(Time(1_000)),
            shift,
            message: None,
        };
        let shift = ShiftReport {
            from: "v1".into(),
            to: "v2".into(),
            phase: ShiftPhase::Shifting,
            moved,
            of: 5,
            started: Time(2_000),
            next_step: None,
        };
        Report {
            stages: vec![stage("active", "v1", Some(shift)), stage("smoke", "v2", None)],
            colors: Vec::new(),
            problems: Vec::new(),
            progressing: true,
        }
    }

    fn status(report: &Report, old: &RainbowStatus, now: Time) -> RainbowStatus {
        rainbow(report, "v2", Some(3), &BTreeMap::new(), None, old, now)
    }

    fn get<'a>(status: &'a RainbowStatus, type_: &str) -> &'a Condition {
        status.conditions.iter().find(|c| c.type_ == type_).unwrap()
    }

    #[test]
    fn a_shift_reads_at_a_glance() {
        let status = status(&shifting(3), &RainbowStatus::default(), Time(5_500));
        assert_eq!(status.summary.as_deref(), Some("active=v1→v2 3/5, smoke=v2"));
        assert_eq!(
            (get(&status, "Ready").status.as_str(), get(&status, "Reconciling").status.as_str()),
            ("False", "True")
        );
        assert_eq!(get(&status, "Reconciling").message, "stage active moves from v1 to v2: 3 of 5 pods");
    }

    #[test]
    fn counters_are_minor_and_memory_is_major() {
        let old = status(&shifting(3), &RainbowStatus::default(), Time(5_500));
        assert_eq!(rainbow_difference(&old, &status(&shifting(3), &old, Time(9_000))), Difference::None);
        assert_eq!(rainbow_difference(&old, &status(&shifting(4), &old, Time(9_000))), Difference::Minor);
        let mut done = shifting(5);
        done.stages[0].shift = None;
        done.stages[0].color = Some("v2".into());
        assert_eq!(rainbow_difference(&old, &status(&done, &old, Time(9_000))), Difference::Major);
    }

    #[test]
    fn who_holds_the_places_is_told_seldom() {
        let waiting = |held_by: &str| {
            let problem = Problem::TooManyColors { color: "v9".into(), live: 8, held_by: held_by.into() };
            status(&Report { problems: vec![problem], ..shifting(3) }, &RainbowStatus::default(), Time(0))
        };
        let old = waiting("v1 (draining: 3 connections on 1 pod)");
        assert_eq!(rainbow_difference(&old, &waiting("v1 (draining: 2 connections on 1 pod)")), Difference::Counts);
        assert_eq!(rainbow_difference(&old, &status(&shifting(3), &old, Time(0))), Difference::Major);
    }

    #[test]
    fn a_status_survives_the_api_server() {
        let status = status(&shifting(3), &RainbowStatus::default(), Time(5_500));
        let back: RainbowStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        assert_eq!(back, status);
    }

    #[test]
    fn the_cause_comes_before_what_follows_from_it() {
        let mut report = shifting(3);
        let told = |report: &Report| {
            let cause = Obstacle { reason: "CounterImageUnavailable", message: "no image".into() };
            let old = RainbowStatus::default();
            let status = rainbow(report, "v2", None, &BTreeMap::new(), Some(cause), &old, Time(0));
            let stalled = get(&status, "Stalled");
            (get(&status, "Ready").status.clone(), stalled.reason.clone(), stalled.message.clone())
        };
        assert_eq!(told(&report), ("False".into(), "CounterImageUnavailable".into(), "no image".into()));
        report.problems = vec![Problem::ColorInUse { color: "v2".into() }];
        let (_, reason, message) = told(&report);
        assert_eq!(reason, "CounterImageUnavailable");
        assert!(message.starts_with("no image; "), "{message}");
    }

    #[test]
    fn all_problems_are_told() {
        let mut report = shifting(3);
        report.problems = vec![
            Problem::ColorInUse { color: "v2".into() },
            Problem::Foreign { kind: "Service", name: "frontend-active".into() },
        ];
        let status = status(&report, &RainbowStatus::default(), Time(0));
        let stalled = get(&status, "Stalled");
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "ColorInUse"));
        assert!(stalled.message.contains("give spec.color a new name; Service `frontend-active` exists"));
        assert_eq!(get(&status, "Ready").status, "False");
    }
}
