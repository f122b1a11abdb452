//! The planner's report as the statuses of the resources.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time as ApiTime};
use rainbow_api::{
    self as api, ConditionType, GateStatus, GateVerdict, Hold, HumanDuration, RainbowStatus, Reason, ShiftStatus,
    StageStatus, TierStatus,
};
use rainbow_plan::{
    ChainKey, HoldReport, Problem, Report, ShiftPhase, ShiftReport, StageKey, StageReport, TierReport, Time, Waiting,
};
use std::{collections::BTreeMap, time::Duration};

use super::Troubles;
use crate::{
    clock::{self, timestamp},
    domain::{Names, Obstacle},
    gates::GateStatuses,
    messages,
};

mod color;

pub(crate) use color::{ColorPolicy, ColorStatusInput, UNKNOWN_AFTER, color, color_difference, serves_more};

/// Time from which a held shift is a warning: its stage has two versions, and needs the operator for as long as it is held.
pub(crate) const PAUSED_LONG: Duration = Duration::from_secs(3600);

/// Extent of a status's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// Nothing has changed: nothing is written.
    None,
    /// Counts of connections have changed, which happens all the time: it waits longer, since the next count comes soon.
    Counts,
    /// Numbers, times or sentences of something under way have changed: it waits for further changes.
    Minor,
    /// Something that tools and people wait for has changed, such as a phase or the reason of a condition: it is written at once, but not
    /// repeatedly.
    State,
    /// Something that the next plan depends on, or an obstacle, has changed: it is written at once.
    Major,
}

/// Input of a Rainbow's status besides the planner's report.
pub(crate) struct RainbowStatusInput<'a> {
    /// Generation of the spec that was planned for.
    pub(crate) generation: Option<i64>,
    pub(crate) names: &'a Names<'a>,
    /// Errors of the spec, and causes of the report's present or coming problems.
    pub(crate) causes: Vec<Obstacle>,
    /// Reason why the spec's version is not made yet, where that may pass by itself.
    pub(crate) waits: Option<Obstacle>,
    /// Answers of the API server to writes.
    pub(crate) troubles: &'a Troubles,
    pub(crate) overlaps: &'a Overlaps,
    /// Holds of the spec.
    pub(crate) holds: &'a [Hold],
    /// Results of gates, by stage.
    pub(crate) gates: &'a GateStatuses,
    pub(crate) old: &'a RainbowStatus,
    pub(crate) now: Time,
}

/// Time for which pods serve together, by stage, where that is not up to the cluster's own data plane.
pub(crate) type Overlaps = BTreeMap<String, HumanDuration>;

/// Returns the status of the Rainbow.
pub(crate) fn rainbow(report: &Report, basis: RainbowStatusInput<'_>) -> RainbowStatus {
    let RainbowStatusInput { generation, names, causes, waits, troubles, overlaps, holds, gates, old, now } = basis;
    let shift_before = |name: &str| old.stages.iter().find(|stage| stage.name == name)?.shift.as_ref();
    let tier_before = |stage: &str, tier: &str| {
        let before = old.stages.iter().find(|known| known.name == stage)?;
        before.tiers.iter().find(|known| known.tier == tier)?.shift.as_ref()
    };
    let one = |report: &StageReport| {
        let shift = report.shift.as_ref().map(|report_of| self::shift(report_of, shift_before(&report.name), now));
        let tier = |tier: &TierReport| {
            let before = tier_before(&report.name, &tier.tier);
            let shift = tier.report.shift.as_ref().map(|report_of| self::shift(report_of, before, now));
            let status = stage(&tier.report, None, shift, names, troubles, overlaps, now);
            TierStatus::of_stage(tier.tier.clone(), status)
        };
        let status = stage(report, hold_of(holds, report), shift, names, troubles, overlaps, now);
        let gates = gates.get(&report.name).cloned().unwrap_or_default();
        StageStatus { tiers: report.tiers.iter().map(tier).collect(), gates, ..status }
    };
    let stages: Vec<StageStatus> = report.stages.iter().map(one).collect();
    let steps = messages::steps(report, names);
    let paused = messages::paused(&stages).or(steps);
    let gated = messages::gated(report, names);
    let mut status = RainbowStatus {
        observed_generation: generation,
        color: report.described.clone(),
        summary: Some(summary(&stages)),
        stages,
        conditions: Vec::new(),
    };
    let refused = troubles.values().cloned().reduce(join);
    let obstacle = causes.into_iter().chain(refused).chain(obstacle(&report.problems, names)).reduce(join);
    let serving = report.stages.iter().all(|stage| stage.color.is_some());
    let follows = messages::following(report, names).is_some();
    let progress = (report.progressing || !serving || follows || paused.is_some() || gated.is_some())
        .then(|| progress(report, paused, gated, names));
    let progress = waits.map(|waits| (waits.reason, waits.message)).or(progress);
    status.conditions = conditions(obstacle.as_ref(), progress, generation, &old.conditions, now);
    status
}

fn hold_of<'a>(holds: &'a [Hold], report: &StageReport) -> Option<&'a Hold> {
    holds.iter().find(|hold| hold.stage == report.name)
}

fn stage(
    report: &StageReport,
    hold: Option<&Hold>,
    shift: Option<ShiftStatus>,
    names: &Names<'_>,
    troubles: &Troubles,
    overlaps: &Overlaps,
    now: Time,
) -> StageStatus {
    let chains = [StageKey::of(&report.name), StageKey::shadow(&report.name)].map(ChainKey::Stage);
    let trouble = chains.iter().find_map(|chain| troubles.get(chain)).map(|trouble| trouble.message.clone());
    let paused = shift.as_ref().filter(|shift| is_paused_long(shift, now)).map(messages::paused_long);
    StageStatus {
        name: report.name.clone(),
        service: names.service(&report.name),
        color: report.color.clone(),
        target: report.target.clone(),
        previous: report.previous.clone(),
        since: report.since.map(clock::write),
        shift,
        overlap: overlaps.get(&report.name).copied(),
        degraded_since: report.degraded.as_ref().map(|degraded| clock::write(degraded.since)),
        degraded_color: report.degraded.as_ref().map(|degraded| degraded.color.clone()),
        rejected: report.rejected.as_ref().map(|rejected| rejected.color.clone()),
        rejected_by: report.rejected.as_ref().and_then(|rejected| rejected.gate.clone()),
        approved: report.approved.clone(),
        gates: Vec::new(),
        held: report.hold == Some(HoldReport::Holds) && hold.is_some_and(|hold| hold.color.is_some()),
        ended_hold: match &report.hold {
            Some(HoldReport::Ended { id }) => Some(id.clone()),
            Some(HoldReport::Holds) | None => None,
        },
        message: trouble.or(paused).or_else(|| waiting(report, hold, names)),
        tiers: Vec::new(),
    }
}

/// Returns why the stage does not move. A user's hold is named where nothing else keeps the stage.
fn waiting(report: &StageReport, hold: Option<&Hold>, names: &Names<'_>) -> Option<String> {
    let is_held = report.hold == Some(HoldReport::Holds);
    let color_hold = hold.filter(|hold| is_held && hold.color.is_some());
    match (&report.waiting, color_hold) {
        (None | Some(Waiting::Pinned { .. }), Some(hold)) => Some(messages::held(hold, names.rainbow)),
        (Some(waiting), _) => Some(messages::waiting(waiting, report.color.as_deref(), names)),
        (None, None) => hold.filter(|hold| hold.paused).map(|hold| messages::paused_at_rest(hold, names.rainbow)),
    }
}

/// Returns when the shift will have been held for long. `None`: it is not held.
pub(crate) fn paused_long_at(shift: &ShiftStatus) -> Option<Time> {
    Some(clock::read(shift.paused_since.as_deref()?)?.after(PAUSED_LONG))
}

fn is_paused_long(shift: &ShiftStatus, now: Time) -> bool {
    paused_long_at(shift).is_some_and(|at| at <= now)
}

fn shift(report: &ShiftReport, before: Option<&ShiftStatus>, now: Time) -> ShiftStatus {
    let known = before.and_then(|before| before.paused_since.clone());
    let paused_since = (report.phase == ShiftPhase::Paused).then(|| known.unwrap_or_else(|| clock::write(now)));
    ShiftStatus {
        from: report.from.clone(),
        to: report.to.clone(),
        phase: match report.phase {
            ShiftPhase::Preparing => api::ShiftPhase::Preparing,
            ShiftPhase::Shifting => api::ShiftPhase::Shifting,
            ShiftPhase::Paused => api::ShiftPhase::Paused,
            ShiftPhase::Waiting => api::ShiftPhase::Waiting,
            ShiftPhase::Finishing => api::ShiftPhase::Finishing,
        },
        moved: signed(report.moved),
        of: signed(report.of),
        started_at: clock::write(report.started),
        next_step_at: report.next_step.map(clock::write),
        step: (report.steps > 0).then(|| signed(report.step.index.saturating_add(1))),
        steps: (report.steps > 0).then(|| signed(report.steps)),
        step_since: report.step.since.map(clock::write),
        paused_since,
    }
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Returns a summary of the stages, such as `active=v1→v2 3/5, smoke=v2`.
fn summary(stages: &[StageStatus]) -> String {
    let one = |stage: &StageStatus| match &stage.shift {
        // While a shift finishes, the stage already serves its new color.
        Some(shift) if shift.from != shift.to => {
            format!("{}={}→{} {}/{}", stage.name, shift.from, shift.to, shift.moved, shift.of)
        }
        _ => {
            let held = if stage.held { " held" } else { "" };
            // Tiers that have already moved, or have not moved yet.
            let apart = stage.tiers.iter().filter(|tier| tier.color != stage.color);
            let apart = apart.map(|tier| format!(" {}={}", tier.tier, tier.color.as_deref().unwrap_or("-")));
            format!("{}={}{held}{}", stage.name, stage.color.as_deref().unwrap_or("-"), apart.collect::<String>())
        }
    };
    stages.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns a reason and a sentence for what is under way.
fn progress(report: &Report, paused: Option<String>, gated: Option<String>, names: &Names<'_>) -> (Reason, String) {
    // A shift that waits for pods does not hide why they do not start, nor that a color waits for a slot.
    let because = |message: String| {
        let why = [messages::unready(report, names), messages::without_slot(report, names)];
        let why = why.into_iter().flatten().filter(|why| *why != message);
        why.fold(message.clone(), |all, why| format!("{all}; {why}"))
    };
    let shifting = || messages::shifting(report).map(|message| (Reason::Shifting, because(message)));
    let starting = || messages::starting(report, names).map(|message| (Reason::Starting, message));
    let degraded = || messages::degraded(report, names).map(|message| (Reason::Degraded, message));
    let queued = || messages::without_slot(report, names).map(|message| (Reason::Waiting, because(message)));
    let waiting = || messages::without_color(report).map(|message| (Reason::Waiting, message));
    let following = || messages::following(report, names).map(|message| (Reason::Waiting, because(message)));
    let paused = || paused.map(|message| (Reason::Paused, because(message)));
    let gated = || gated.map(|message| (Reason::Checking, because(message)));
    let sizing = || (Reason::Progressing, messages::SIZING.to_owned());
    shifting()
        .or_else(degraded)
        .or_else(queued)
        .or_else(starting)
        .or_else(gated)
        .or_else(paused)
        .or_else(following)
        .or_else(waiting)
        .unwrap_or_else(sizing)
}

/// Returns all problems as one obstacle. The first one gives the reason.
fn obstacle(problems: &[Problem], names: &Names<'_>) -> Option<Obstacle> {
    let reason = match problems.first()? {
        Problem::ColorInUse { .. } | Problem::InstanceInUse { .. } => Reason::ColorInUse,
        Problem::CopyLost { .. } => Reason::ConfigLost,
        Problem::UnknownColor { .. } => Reason::UnknownColor,
        Problem::Foreign { .. } => Reason::Conflict,
        Problem::Stalled { .. } => Reason::ProgressDeadlineExceeded,
        Problem::Degraded { .. } => Reason::Degraded,
        Problem::RolledBack { .. } => Reason::RolledBack,
        Problem::InUse { .. } | Problem::DeletingInUse { .. } => Reason::InUse,
        Problem::TooManyColors { .. } => Reason::TooManyColors,
    };
    let messages: Vec<String> = problems.iter().map(|problem| messages::problem(problem, names)).collect();
    Some(Obstacle { reason, message: messages.join("; ") })
}

/// Joins two obstacles. The first one gives the reason.
fn join(first: Obstacle, second: Obstacle) -> Obstacle {
    Obstacle { reason: first.reason, message: format!("{}; {}", first.message, second.message) }
}

/// Returns what the API server says about the writes of a color's start and end.
pub(crate) fn trouble_of_color(color: &str, troubles: &Troubles) -> Option<Obstacle> {
    let chains = [ChainKey::Start(color.to_owned()), ChainKey::End(color.to_owned())];
    chains.iter().filter_map(|chain| troubles.get(chain).cloned()).reduce(join)
}

/// Returns the three conditions as kstatus reads them.
fn conditions(
    obstacle: Option<&Obstacle>,
    progress: Option<(Reason, String)>,
    generation: Option<i64>,
    old: &[Condition],
    now: Time,
) -> Vec<Condition> {
    let quiet = |reason: Reason, message: &str| (false, reason, message.to_owned());
    let stalled = match obstacle {
        Some(obstacle) => (true, obstacle.reason, obstacle.message.clone()),
        None => quiet(Reason::NothingInTheWay, messages::NOTHING_IN_THE_WAY),
    };
    let reconciling = match &progress {
        Some((reason, message)) => (true, *reason, message.clone()),
        None => quiet(Reason::Settled, messages::NOTHING_UNDER_WAY),
    };
    let ready = match (obstacle, progress) {
        (Some(obstacle), _) => (false, obstacle.reason, obstacle.message.clone()),
        (None, Some((reason, message))) => (false, reason, message),
        (None, None) => (true, Reason::Settled, messages::SETTLED.to_owned()),
    };
    [(ConditionType::Ready, ready), (ConditionType::Reconciling, reconciling), (ConditionType::Stalled, stalled)]
        .into_iter()
        .map(|(type_, (is, reason, message))| condition(type_, is, reason, message, generation, old, now))
        .collect()
}

fn condition(
    type_: ConditionType,
    is: bool,
    reason: Reason,
    message: String,
    generation: Option<i64>,
    old: &[Condition],
    now: Time,
) -> Condition {
    let status = if is { "True" } else { "False" };
    // The transition time stays while the status does.
    let since = type_.find(old).filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    Condition {
        type_: type_.to_string(),
        status: status.to_owned(),
        reason: reason.to_string(),
        message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(|| ApiTime(whole_seconds(now))),
    }
}

/// Returns a time in whole seconds, as `metav1.Time` has them, so that the server's answer equals what is written.
fn whole_seconds(now: Time) -> k8s_openapi::jiff::Timestamp {
    timestamp(Time(now.0 - now.0.rem_euclid(1000)))
}

/// Returns whether a condition's message has numbers of connections, which change all the time.
pub(crate) fn tells_counts(condition: &Condition) -> bool {
    Reason::of(condition) == Some(Reason::TooManyColors)
}

/// Returns how a Rainbow's new status differs from the old one.
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
    // The start and the end of a shift are not part of the memory: the Service and its members tell them.
    let remembered = |new: &StageStatus| {
        let known = old.stages.iter().find(|old| old.name == new.name);
        known.is_some_and(|old| memory(old) == memory(new))
    };
    let stalled =
        |status: &RainbowStatus| ConditionType::Stalled.find_true(&status.conditions).map(|found| found.reason.clone());
    if !new.stages.iter().all(remembered) || stalled(old) != stalled(new) {
        Difference::Major
    } else if state(old) != state(new) {
        Difference::State
    } else {
        Difference::Minor
    }
}

/// Returns the part that tools and people wait for.
fn state(status: &RainbowStatus) -> impl PartialEq + '_ {
    let shift = |shift: &ShiftStatus| (shift.from.clone(), shift.to.clone(), shift.phase);
    let stage = |stage: &StageStatus| {
        let shift = stage.shift.as_ref().map(shift);
        (stage.name.clone(), stage.service.clone(), stage.target.clone(), shift, stage.message.is_some())
    };
    let stages: Vec<_> = status.stages.iter().map(stage).collect();
    (
        status.observed_generation,
        status.color.as_deref(),
        stages,
        states(&status.conditions, |found| found.observed_generation),
    )
}

/// Returns conditions without their messages and times, and with their generation where `generation` gives it.
fn states(
    conditions: &[Condition],
    generation: impl Fn(&Condition) -> Option<i64>,
) -> Vec<(&str, &str, &str, Option<i64>)> {
    let all = conditions.iter();
    all.map(|found| (found.type_.as_str(), found.status.as_str(), found.reason.as_str(), generation(found))).collect()
}

/// Returns what a stage remembers from one look to the next.
fn memory(stage: &StageStatus) -> impl PartialEq + '_ {
    let StageStatus {
        color,
        previous,
        degraded_since,
        degraded_color,
        rejected,
        rejected_by,
        approved,
        ended_hold,
        gates,
        tiers,
        ..
    } = stage;
    // A check that has no verdict begins again if it is lost.
    let gates = gates.iter().filter(|gate| gate.verdict != GateVerdict::Running || gate.ended_at.is_some());
    let gate = |gate: &GateStatus| {
        let GateStatus { name, color, moment, at, tier, verdict, .. } = gate;
        (name.clone(), color.clone(), *moment, *at, tier.clone(), *verdict, gate.ended_at.is_some())
    };
    let gates: Vec<_> = gates.map(gate).collect();
    // A pause or a gate begins when the status says so.
    let step =
        |shift: &Option<ShiftStatus>| shift.as_ref().and_then(|shift| Some((shift.step?, shift.step_since.clone())));
    let tier = |tier: &TierStatus| {
        let degraded = (tier.degraded_since.clone(), tier.degraded_color.clone());
        // The callers follow when it is known for how long a tier has served them, so `since` is included.
        (
            tier.tier.clone(),
            tier.color.clone(),
            tier.previous.clone(),
            tier.since.clone(),
            degraded,
            tier.rejected.clone(),
            step(&tier.shift),
        )
    };
    let tiers: Vec<_> = tiers.iter().map(tier).collect();
    (
        color,
        previous,
        degraded_since,
        degraded_color,
        (rejected, rejected_by, approved, gates),
        ended_hold,
        step(&stage.shift),
        tiers,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PodTrouble, Urgency};
    use rainbow_plan::{self as plan, ColorReport, LivesBecause, LivingColor, Object, Shortfall, Waiting};

    const NAMES: Names<'static> = Names {
        rainbow: "shop",
        prefix: Some("s-"),
        services: &BTreeMap::new(),
        taken: &BTreeMap::new(),
        troubles: &BTreeMap::new(),
    };

    fn shifting(moved: u32) -> Report {
        let stage = |name: &str, color: &str, shift| StageReport {
            name: name.into(),
            color: Some(color.into()),
            target: Some("v2".into()),
            previous: None,
            since: Some(Time(1_000)),
            shift,
            degraded: None,
            rejected: None,
            approved: None,
            hold: None,
            waiting: None,
            tiers: Vec::new(),
        };
        let shift = ShiftReport {
            from: "v1".into(),
            to: "v2".into(),
            phase: ShiftPhase::Shifting,
            moved,
            of: 5,
            started: Time(2_000),
            next_step: None,
            step: Default::default(),
            steps: 0,
        };
        Report {
            stages: vec![stage("active", "v1", Some(shift)), stage("smoke", "v2", None)],
            colors: Vec::new(),
            problems: Vec::new(),
            described: Some("v2".into()),
            progressing: true,
        }
    }

    /// A verdict is written at once, since the next operator continues from it. A measurement waits for others.
    #[test]
    fn a_verdict_is_more_urgent_than_a_measurement() {
        let with = |change: &dyn Fn(&mut GateStatus)| {
            let mut gate: GateStatus = serde_json::from_value(serde_json::json!({
                "name": "errors", "color": "v2", "moment": "After", "verdict": "Running", "since": "2026-11-30T19:00:00Z",
            }))
            .unwrap();
            change(&mut gate);
            let stage = StageStatus { name: "active".into(), gates: vec![gate], ..StageStatus::default() };
            RainbowStatus { stages: vec![stage], ..RainbowStatus::default() }
        };
        let running = with(&|_| ());
        let none = StageStatus { name: "active".into(), ..StageStatus::default() };
        let none = RainbowStatus { stages: vec![none], ..RainbowStatus::default() };
        let measured = with(&|gate| gate.counts.passed = 1);
        let failed = with(&|gate| gate.verdict = GateVerdict::Failed);
        let ended = with(&|gate| gate.ended_at = Some("2026-11-30T19:01:00Z".into()));
        assert_eq!(rainbow_difference(&running, &running), Difference::None);
        assert_eq!(rainbow_difference(&none, &running), Difference::Minor);
        assert_eq!(rainbow_difference(&running, &measured), Difference::Minor);
        assert_eq!(rainbow_difference(&running, &failed), Difference::Major);
        assert_eq!(rainbow_difference(&running, &ended), Difference::Major);
    }

    fn status(report: &Report, old: &RainbowStatus, now: Time) -> RainbowStatus {
        because(report, None, old, now)
    }

    fn because(report: &Report, cause: Option<Obstacle>, old: &RainbowStatus, now: Time) -> RainbowStatus {
        let (names, troubles, overlaps, gates) = (&NAMES, &Troubles::new(), &Overlaps::new(), &GateStatuses::new());
        let causes = cause.into_iter().collect();
        let holds = &[Hold {
            stage: "smoke".into(),
            color: Some("v2".into()),
            by: Some("ann".into()),
            since: Some("2026-11-30T19:00:00Z".into()),
            revision: Some(3),
            paused: false,
        }];
        let basis = RainbowStatusInput {
            generation: Some(3),
            names,
            causes,
            waits: None,
            troubles,
            overlaps,
            holds,
            gates,
            old,
            now,
        };
        rainbow(report, basis)
    }

    fn get(status: &RainbowStatus, type_: ConditionType) -> &Condition {
        type_.find(&status.conditions).unwrap()
    }

    #[test]
    fn a_shift_reads_at_a_glance() {
        let status = status(&shifting(3), &RainbowStatus::default(), Time(5_500));
        assert_eq!(status.summary.as_deref(), Some("active=v1→v2 3/5, smoke=v2"));
        assert_eq!(
            (
                get(&status, ConditionType::Ready).status.as_str(),
                get(&status, ConditionType::Reconciling).status.as_str()
            ),
            ("False", "True")
        );
        assert_eq!(get(&status, ConditionType::Reconciling).message, "stage active moves from v1 to v2: 3 of 5 pods");
    }

    #[test]
    fn a_shift_does_not_hide_why_pods_do_not_start() {
        let mut report = shifting(0);
        let lacks = vec![Shortfall::Pods { tier: "web".into(), ready: 0, wanted: 1 }];
        report.colors.push(ColorReport {
            rejected_by: None,
            name: "v2".into(),
            phase: plan::ColorPhase::Starting,
            ready: 0,
            wanted: 1,
            stages: Vec::new(),
            released: None,
            retired: None,
            entries: BTreeMap::new(),
            demoted: false,
            sizes: BTreeMap::new(),
            served: None,
            connections: None,
            drain: None,
            waiting: Some(Waiting::ForPods { lacks }),
            parts: Vec::new(),
        });
        let says = |urgency| {
            let trouble = PodTrouble { object: "web-v2-x".into(), says: "no image".into(), urgency };
            let troubles = [(("v2".to_owned(), "web".to_owned()), trouble)].into();
            progress(&report, None, None, &Names { troubles: &troubles, ..NAMES })
        };
        let shift = "stage active moves from v1 to v2: 0 of 5 pods";
        assert_eq!(says(Urgency::Starting), (Reason::Shifting, shift.to_owned()));
        let stuck = format!("{shift}; color v2: web 0/1 ready (web-v2-x: no image)");
        assert_eq!(says(Urgency::Stuck), (Reason::Shifting, stuck));
    }

    #[test]
    fn a_pause_of_a_stage_at_rest_is_reported() {
        let rest = &shifting(3).stages[1];
        let hold = Hold {
            stage: "smoke".into(),
            color: None,
            by: Some("ann".into()),
            since: None,
            revision: None,
            paused: true,
        };
        let message = waiting(rest, Some(&hold), &NAMES);
        let expected = "paused by ann: the stage does not move before `rainbow resume shop --stage smoke`";
        assert_eq!(message.as_deref(), Some(expected));
        assert_eq!(waiting(rest, None, &NAMES), None);
    }

    #[test]
    fn a_hold_says_whose_it_is_and_what_ends_it() {
        let mut held = shifting(3);
        held.stages[1].hold = Some(HoldReport::Holds);
        let new = status(&held, &RainbowStatus::default(), Time(5_500));
        assert_eq!(new.summary.as_deref(), Some("active=v1→v2 3/5, smoke=v2 held"));
        assert_eq!(
            new.stages[1].message.as_deref(),
            Some(
                "held at `v2` by ann since 2026-11-30T19:00:00Z until a later color, or \
                 `rainbow promote shop --stage smoke`"
            )
        );
        let mut ended = held.clone();
        ended.stages[1].hold = Some(HoldReport::Ended { id: "v2@2026-11-30T19:00:00Z".into() });
        let next = status(&ended, &new, Time(6_000));
        assert_eq!((next.stages[1].held, next.stages[1].message.as_deref()), (false, None));
        assert_eq!(rainbow_difference(&new, &next), Difference::Major, "the next plan goes by it");
    }

    #[test]
    fn counters_are_minor_and_memory_is_major() {
        let old = status(&shifting(3), &RainbowStatus::default(), Time(5_500));
        assert_eq!(rainbow_difference(&old, &status(&shifting(3), &old, Time(9_000))), Difference::None);
        assert_eq!(rainbow_difference(&old, &status(&shifting(4), &old, Time(9_000))), Difference::Minor);
        let mut finishing = shifting(5);
        finishing.stages[0].shift.as_mut().unwrap().phase = ShiftPhase::Finishing;
        assert_eq!(rainbow_difference(&old, &status(&finishing, &old, Time(9_000))), Difference::State);
        let mut done = shifting(5);
        done.stages[0].shift = None;
        done.stages[0].color = Some("v2".into());
        assert_eq!(rainbow_difference(&old, &status(&done, &old, Time(9_000))), Difference::Major);
    }

    #[test]
    fn who_holds_the_places_is_told_seldom() {
        let waiting = |connections: u64| {
            let because =
                LivesBecause::Drains { connections, busy: 1, unknown: 0, unknown_since: None, deadline: None };
            let living = vec![LivingColor { color: "v1".into(), because }];
            let problem = Problem::TooManyColors { color: "v9".into(), living };
            status(&Report { problems: vec![problem], ..shifting(3) }, &RainbowStatus::default(), Time(0))
        };
        let old = waiting(3);
        assert_eq!(rainbow_difference(&old, &waiting(2)), Difference::Counts);
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
            let cause = Obstacle { reason: Reason::CounterImageUnavailable, message: "no image".into() };
            let status = because(report, Some(cause), &RainbowStatus::default(), Time(0));
            let stalled = get(&status, ConditionType::Stalled);
            (get(&status, ConditionType::Ready).status.clone(), stalled.reason.clone(), stalled.message.clone())
        };
        assert_eq!(told(&report), ("False".into(), "CounterImageUnavailable".into(), "no image".into()));
        report.problems = vec![Problem::ColorInUse { color: "v2".into(), config: Vec::new() }];
        let (_, reason, message) = told(&report);
        assert_eq!(reason, "CounterImageUnavailable");
        assert!(message.starts_with("no image; "), "{message}");
    }

    #[test]
    fn all_problems_are_told() {
        let mut report = shifting(3);
        report.problems = vec![
            Problem::ColorInUse { color: "v2".into(), config: Vec::new() },
            Problem::Foreign { object: Object::Service(rainbow_plan::InstanceName::shared("backend", "v2")) },
        ];
        let status = status(&report, &RainbowStatus::default(), Time(0));
        let stalled = get(&status, ConditionType::Stalled);
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "ColorInUse"));
        assert!(stalled.message.contains("give spec.color a new name; Service `s-backend-v2` exists"));
        assert_eq!(get(&status, ConditionType::Ready).status, "False");
    }
}
