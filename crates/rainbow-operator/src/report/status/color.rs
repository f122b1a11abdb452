//! Status of a color.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time as ApiTime};
use rainbow_api::{
    self as api, Color, ColorStatus, ConditionType, Cut, DrainStatus, Evidence, Holder, PartStatus, RainbowSpec,
    Reason, TierScaling,
};
use rainbow_plan::{self as plan, ColorPhase, ColorReport, Connections, DrainReport, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Difference, Obstacle, condition, signed, states, whole_seconds};
use crate::{
    clock,
    count::{Known, Reading},
    domain::{self, Names, OnePeer},
    messages,
};

/// Number of peers that are named of a pod.
const PEERS: usize = 5;
/// Condition about pods whose connections cannot be read.
const UNKNOWN: ConditionType = ConditionType::ConnectionsUnknown;
/// Time for which a pod is asked again before it is reported that nothing is known of it.
pub(crate) const UNKNOWN_AFTER: Duration = Duration::from_secs(5);
/// Number of pods that a condition names.
const NAMED: usize = 3;
/// Number of cuts that a status keeps.
const CUTS: usize = 100;

/// Input of a status, beside the planner's report.
pub(crate) struct ColorStatusInput<'a> {
    pub(crate) generation: Option<i64>,
    pub(crate) names: &'a Names<'a>,
    pub(crate) known: &'a Known,
    /// Peer that is connected to every pod that holds the color.
    pub(crate) peer: Option<OnePeer>,
    /// Number of connections of peers that hold nothing, over all pods. `None`: there are none.
    pub(crate) ignored: Option<u64>,
    /// Connections that are being cut now.
    pub(crate) cut: &'a [Cut],
    /// Answer of the API server to the writes of the color's start and end.
    pub(crate) trouble: Option<Obstacle>,
    pub(crate) remembered: ColorPolicy,
    pub(crate) old: &'a ColorStatus,
    pub(crate) now: Time,
}

/// Policy about a color's own pods that a later spec must not change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ColorPolicy {
    /// Source of the evidence. `None`: as in the snapshot.
    evidence: Option<Evidence>,
    /// Seconds by tier, where they differ from the snapshot's.
    min_ready: BTreeMap<String, i32>,
    /// Policy by tier, where it differs from the snapshot's.
    scaling: BTreeMap<String, TierScaling>,
}

impl ColorPolicy {
    pub(crate) fn of(spec: &RainbowSpec, described: bool, color: &Color) -> Self {
        let evidence = domain::evidence(spec, described, color);
        let is_snapshot = color.spec.evidence.as_ref() == Some(&*evidence);
        let min_ready = color.spec.tiers.iter().filter_map(|tier| {
            let seconds = domain::min_ready(spec, described, color, tier);
            (seconds != tier.min_ready_seconds.unwrap_or(0)).then(|| (tier.name.clone(), seconds))
        });
        let scaling = color.spec.tiers.iter().filter_map(|tier| {
            let policy = domain::scaling(spec, described, color, tier);
            (policy != tier.scaling_policy()).then(|| (tier.name.clone(), policy))
        });
        let (min_ready, scaling) = (min_ready.collect(), scaling.collect());
        Self { min_ready, scaling, evidence: (!is_snapshot).then(|| evidence.into_owned()) }
    }
}

/// Returns the status of a color.
pub(crate) fn color(report: &ColorReport, basis: &ColorStatusInput<'_>) -> ColorStatus {
    let ColorStatusInput { generation, old, now, .. } = basis;
    let (phase, ready) = match report.phase {
        ColorPhase::Starting => (api::ColorPhase::Starting, false),
        ColorPhase::Ready => (api::ColorPhase::Ready, true),
        ColorPhase::Serving => (api::ColorPhase::Serving, report.ready >= report.wanted),
        ColorPhase::Draining => (api::ColorPhase::Draining, false),
        ColorPhase::Retired => (api::ColorPhase::Retired, false),
        ColorPhase::Stalled => (api::ColorPhase::Stalled, false),
    };
    let message = |waiting| messages::waiting(waiting, Some(&report.name), basis.names);
    let message = report.waiting.as_ref().map(message).unwrap_or_default();
    let ready = condition(ConditionType::Ready, ready, phase.into(), message, *generation, &old.conditions, *now);
    let mut conditions = vec![ready];
    conditions.extend(basis.trouble.as_ref().map(|Obstacle { reason, message }| {
        condition(ConditionType::Stalled, true, *reason, message.clone(), *generation, &old.conditions, *now)
    }));
    conditions.extend(report.drain.as_ref().filter(|drain| drain.pods > 0).map(|drain| unknown(drain, basis)));
    conditions.extend(basis.peer.as_ref().filter(|_| report.drain.is_some()).map(|peer| {
        let message = messages::one_peer(peer, basis.names.rainbow);
        condition(ConditionType::HeldByOnePeer, true, Reason::OnePeer, message, *generation, &old.conditions, *now)
    }));
    ColorStatus {
        phase: Some(phase),
        ready: Some(format!("{}/{}", report.ready, report.wanted)),
        stages: (!report.stages.is_empty()).then(|| report.stages.join(",")),
        connections: connections(report),
        rejected_by: report.rejected_by.as_ref().map(|by| format!("{}/{}", by.stage, by.gate)),
        drain: drain(report, basis),
        released_at: report.released.map(clock::write),
        retired_at: report.retired.map(clock::write),
        entries: report.entries.clone(),
        demoted: report.demoted,
        served: report.served.clone(),
        parts: report.parts.iter().map(part).collect(),
        evidence: basis.remembered.evidence.clone(),
        min_ready_seconds: basis.remembered.min_ready.clone(),
        scaling: basis.remembered.scaling.clone(),
        replicas: report.sizes.iter().map(|(tier, size)| (tier.clone(), signed(*size))).collect(),
        conditions,
    }
}

/// Returns the memory of tiers that one stage has for itself.
fn part(part: &plan::PartMemory) -> PartStatus {
    PartStatus {
        stage: part.key.stage.clone(),
        tier: part.key.tier.clone(),
        released_at: part.released.map(clock::write),
        retired_at: part.retired.map(clock::write),
        demoted: part.demoted,
        replicas: part.sizes.iter().map(|(tier, size)| (tier.clone(), signed(*size))).collect(),
        served: part.served.clone(),
    }
}

/// Returns the number that `kubectl get colors` shows. `None` where nothing is known, since a zero would mean that no client is connected.
fn connections(report: &ColorReport) -> Option<i64> {
    let unknown = report.drain.as_ref().is_some_and(|drain| drain.unknown > 0);
    report.connections.filter(|count| *count > 0 || !unknown).map(long)
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn drain(report: &ColorReport, basis: &ColorStatusInput<'_>) -> Option<DrainStatus> {
    let before = basis.old.drain.clone().unwrap_or_default();
    let mut cut = before.cut;
    for new in basis.cut {
        if !cut.iter().any(|known| known.pod == new.pod && known.port == new.port) && cut.len() < CUTS {
            cut.push(new.clone());
        }
    }
    match &report.drain {
        Some(drain) => Some(DrainStatus {
            since: clock::write(drain.since),
            deadline: drain.deadline.map(clock::write),
            connections: report.connections.map_or(0, long),
            ignored: basis.ignored.map_or(0, long),
            unknown_pods: signed(drain.unknown),
            pods: signed(drain.pods),
            holders: drain.holders.iter().map(|found| holder(found, basis.known)).collect(),
            cut,
        }),
        // The cuts stay readable as long as the color does not come back.
        None if report.phase == ColorPhase::Retired && !cut.is_empty() => {
            Some(DrainStatus { since: before.since, deadline: before.deadline, cut, ..DrainStatus::default() })
        }
        None => None,
    }
}

fn holder(found: &plan::Holder, known: &Known) -> Holder {
    let reading = known.reading(&found.pod);
    let (connections, unknown) = match found.connections {
        Connections::Busy { count, .. } => (Some(i64::from(count)), None),
        Connections::Idle { .. } => (Some(0), None),
        Connections::Uncounted => (None, None),
        Connections::Unknown { .. } => (reading.map(|reading| long(reading.count)), Some(why(&found.pod, known))),
    };
    let shown = reading.filter(|_| connections != Some(0));
    Holder {
        pod: found.pod.clone(),
        tier: found.tier.clone(),
        connections,
        ignored: reading.map(|reading| long(reading.ignored)).filter(|number| *number > 0),
        unnamed: shown.map(|reading| long(reading.unnamed)).filter(|number| *number > 0),
        oldest_seconds: shown.and_then(Reading::oldest_seconds).map(long),
        peers: shown.map(peers).unwrap_or_default(),
        unknown,
    }
}

fn peers(reading: &Reading) -> Vec<String> {
    reading.peers().iter().take(PEERS).map(|(address, _)| address.to_string()).collect()
}

fn why(pod: &str, known: &Known) -> String {
    known.failure(pod).unwrap_or(messages::NOT_ASKED).to_owned()
}

/// Returns the condition about pods of which nothing is known, with the reasons.
fn unknown(drain: &DrainReport, basis: &ColorStatusInput<'_>) -> Condition {
    let since = drain.unknown_since.filter(|since| drain.unknown > 0 && basis.now >= since.after(UNKNOWN_AFTER));
    let Some(since) = since else {
        let message = messages::ALL_KNOWN.to_owned();
        return condition(UNKNOWN, false, Reason::Counted, message, basis.generation, &basis.old.conditions, basis.now);
    };
    let unknown = |holder: &&plan::Holder| matches!(holder.connections, Connections::Unknown { .. });
    let named = drain.holders.iter().filter(unknown).take(NAMED);
    let pods: Vec<(&str, String)> = named.map(|found| (found.pod.as_str(), why(&found.pod, basis.known))).collect();
    let pods: Vec<(&str, &str)> = pods.iter().map(|(pod, why)| (*pod, why.as_str())).collect();
    let message = messages::unknown(drain.unknown, &pods);
    let known = UNKNOWN.find_true(&basis.old.conditions);
    Condition {
        // The time since when it has been so, not since it was noticed.
        last_transition_time: known
            .map_or_else(|| ApiTime(whole_seconds(since)), |old| old.last_transition_time.clone()),
        ..condition(UNKNOWN, true, Reason::NoAnswer, message, basis.generation, &[], basis.now)
    }
}

/// Returns how a color's new status differs from the old one.
pub(crate) fn color_difference(old: &ColorStatus, new: &ColorStatus) -> Difference {
    if old == new {
        return Difference::None;
    }
    let (steady_old, steady_new) = (without_ages(old), without_ages(new));
    if steady_old == steady_new {
        return Difference::None;
    }
    if memory(old) != memory(new) {
        Difference::Major
    } else if state(old) != state(new) {
        Difference::State
    } else if without_counts(steady_old) == without_counts(steady_new) {
        Difference::Counts
    } else {
        Difference::Minor
    }
}

/// Returns whether a stage, or an address, sends clients to the color that has not done so before, as far as the old status says.
pub(crate) fn serves_more(old: &ColorStatus, new: &ColorStatus) -> bool {
    let all = |status: &ColorStatus| -> BTreeSet<String> {
        let parts = status.parts.iter().filter_map(|part| part.served.as_ref());
        status.served.iter().chain(parts).flatten().cloned().collect()
    };
    !all(new).is_subset(&all(old))
}

/// Returns the part that the planner reads back, and how much was cut. Each field of a status is either here or left out by name.
fn memory(status: &ColorStatus) -> impl PartialEq + '_ {
    let ColorStatus {
        phase: _,
        ready: _,
        stages: _,
        connections: _,
        rejected_by,
        drain,
        released_at,
        retired_at,
        entries,
        demoted,
        replicas,
        scaling,
        evidence,
        min_ready_seconds,
        parts,
        served,
        conditions: _,
    } = status;
    let cut = drain.as_ref().map_or(0, |drain| drain.cut.len());
    (
        (released_at, retired_at, demoted, served, rejected_by),
        (entries, replicas, parts),
        (evidence, min_ready_seconds, scaling),
        cut,
    )
}

/// Returns the part that tools and people wait for. The generation that a condition is about is no news of a color.
fn state(status: &ColorStatus) -> impl PartialEq + '_ {
    (status.phase, &status.stages, states(&status.conditions, |_| None))
}

/// Returns the status without ages, which grow by themselves and are no change.
fn without_ages(status: &ColorStatus) -> ColorStatus {
    let mut status = status.clone();
    for holder in status.drain.iter_mut().flat_map(|drain| &mut drain.holders) {
        holder.oldest_seconds = None;
    }
    status
}

/// Returns the part that does not depend on counts.
fn without_counts(mut status: ColorStatus) -> ColorStatus {
    status.connections = None;
    if let Some(drain) = &mut status.drain {
        (drain.connections, drain.ignored, drain.unknown_pods, drain.holders) = (0, 0, 0, Vec::new());
    }
    let counting = [UNKNOWN.as_str(), ConditionType::HeldByOnePeer.as_str()];
    for condition in status.conditions.iter_mut().filter(|condition| counting.contains(&condition.type_.as_str())) {
        condition.message.clear();
    }
    for condition in status.conditions.iter_mut().filter(|condition| condition.type_ == ConditionType::Ready.as_str()) {
        condition.message.clear();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::{CountMethod, Validity};

    const POD: &str = r#"{"ports":[{"port":8081,"count":3,"oldestSeconds":12,"peers":[{"address":"10.0.0.2","count":3}]}],"count":3,"fresh":0,"at":1,"complete":true}"#;

    fn known(answer: Result<u64, &str>) -> Known {
        let mut known = Known::default();
        known.ask([("p", "u", CountMethod::Asked)].into_iter(), Duration::from_secs(30), Time(0));
        let reading = answer.map_err(str::to_owned).map(|age| {
            let text = POD.replace("12", &age.to_string());
            let source = crate::count::Source::Tally { ports: vec![8081] };
            crate::count::read(&source, text.as_bytes()).unwrap()
        });
        let minute = Duration::from_secs(60);
        known.answer("p", "u", reading, Time(0), Validity { next: minute, last: minute });
        known
    }

    fn report(count: Option<u32>) -> ColorReport {
        let connections = match count {
            Some(count) => Connections::Busy { count, since: Time(0) },
            None => Connections::Unknown { since: Time(0) },
        };
        ColorReport {
            rejected_by: None,
            name: "v1".into(),
            phase: ColorPhase::Draining,
            ready: 1,
            wanted: 1,
            stages: Vec::new(),
            released: Some(Time(0)),
            retired: None,
            entries: Default::default(),
            demoted: false,
            sizes: Default::default(),
            served: None,
            connections: count.map(u64::from),
            drain: Some(DrainReport {
                since: Time(0),
                deadline: Some(Time(60_000)),
                pods: 1,
                unknown: u32::from(count.is_none()),
                unknown_since: count.is_none().then_some(Time(0)),
                holders: vec![plan::Holder { pod: "p".into(), tier: "web".into(), connections }],
            }),
            waiting: None,
            parts: Vec::new(),
        }
    }

    fn status(report: &ColorReport, known: &Known, old: &ColorStatus, now: i64, cut: &[Cut]) -> ColorStatus {
        let (services, troubles, taken) = (&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new());
        let names = &Names { rainbow: "colors", prefix: None, services, troubles, taken };
        let remembered = ColorPolicy::default();
        color(
            report,
            &ColorStatusInput {
                generation: Some(1),
                names,
                known,
                peer: None,
                ignored: None,
                cut,
                trouble: None,
                remembered,
                old,
                now: Time(now),
            },
        )
    }

    #[test]
    fn who_holds_it_can_be_read() {
        let status = status(&report(Some(3)), &known(Ok(12)), &ColorStatus::default(), 1_000, &[]);
        let drain = serde_json::to_value(status.drain.as_ref().unwrap()).unwrap();
        assert_eq!(
            drain,
            serde_json::json!({
                "since": "1970-01-01T00:00:00Z", "deadline": "1970-01-01T00:01:00Z", "connections": 3, "unknownPods": 0, "pods": 1,
                "holders": [{ "pod": "p", "tier": "web", "connections": 3, "oldestSeconds": 12, "peers": ["10.0.0.2"] }],
            })
        );
        assert_eq!(status.connections, Some(3));
    }

    #[test]
    fn unknown_is_told_after_a_while_and_since_when() {
        let known = known(Err("no answer within 2 s"));
        let find = |status: &ColorStatus| UNKNOWN.find(&status.conditions).cloned().unwrap();
        let young = status(&report(None), &known, &ColorStatus::default(), 4_999, &[]);
        assert_eq!(find(&young).status, "False");
        let old = status(&report(None), &known, &young, 5_000, &[]);
        let condition = find(&old);
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "NoAnswer"));
        assert_eq!(condition.message, "the connections of 1 pod are not known, so it is kept: p: no answer within 2 s");
        assert_eq!(condition.last_transition_time, ApiTime(whole_seconds(Time(0))));
        assert_eq!(old.drain.as_ref().unwrap().holders[0].unknown.as_deref(), Some("no answer within 2 s"));
        assert_eq!(color_difference(&old, &status(&report(None), &known, &old, 90_000, &[])), Difference::None);
    }

    #[test]
    fn where_nothing_is_known_no_zero_is_shown() {
        let known = known(Err("no answer within 2 s"));
        let shown = |sum| {
            let report = ColorReport { connections: Some(sum), ..report(None) };
            status(&report, &known, &ColorStatus::default(), 1_000, &[])
        };
        assert_eq!(shown(0).connections, None);
        assert_eq!(shown(7).connections, Some(7), "at least those");
        assert_eq!(color_difference(&shown(0), &shown(7)), Difference::Counts);
    }

    #[test]
    fn ages_are_no_change_and_counts_are_one_that_waits() {
        let old = status(&report(Some(3)), &known(Ok(12)), &ColorStatus::default(), 1_000, &[]);
        let older = status(&report(Some(3)), &known(Ok(99)), &old, 88_000, &[]);
        assert_ne!(old, older);
        assert_eq!(color_difference(&old, &older), Difference::None);
        assert_eq!(
            color_difference(&old, &status(&report(Some(2)), &known(Ok(12)), &old, 2_000, &[])),
            Difference::Counts
        );
        let mut later = report(Some(3));
        later.drain.as_mut().unwrap().deadline = None;
        assert_eq!(color_difference(&old, &status(&later, &known(Ok(12)), &old, 2_000, &[])), Difference::Minor);
    }

    #[test]
    fn what_the_planner_reads_back_is_written_at_once() {
        let part = |released_at: Option<&str>| PartStatus {
            stage: "active".into(),
            tier: None,
            released_at: released_at.map(ToOwned::to_owned),
            retired_at: None,
            demoted: false,
            replicas: BTreeMap::new(),
            served: None,
        };
        let with = |parts| ColorStatus { parts, ..ColorStatus::default() };
        let released = with(vec![part(Some("2026-11-30T12:00:00Z"))]);
        assert_eq!(color_difference(&with(vec![part(None)]), &released), Difference::Major);
    }

    #[test]
    fn what_was_cut_stays_and_is_told_once() {
        let cut = [Cut { pod: "p".into(), port: Some(8081), connections: Some(3), oldest_seconds: Some(12) }];
        let old = status(&report(Some(3)), &known(Ok(12)), &ColorStatus::default(), 1_000, &[]);
        let ended = status(&report(Some(3)), &known(Ok(12)), &old, 60_000, &cut);
        assert_eq!(color_difference(&old, &ended), Difference::Major);
        let again = status(&report(Some(3)), &known(Ok(12)), &ended, 61_000, &cut);
        assert_eq!(again.drain.unwrap().cut, cut);
        let mut gone = report(None);
        (gone.phase, gone.drain) = (ColorPhase::Retired, None);
        let retired = status(&gone, &Known::default(), &ended, 70_000, &[]);
        assert_eq!(retired.drain.as_ref().unwrap().cut, cut);
        assert_eq!(retired.drain.as_ref().unwrap().holders, []);
        gone.phase = ColorPhase::Serving;
        assert_eq!(status(&gone, &Known::default(), &retired, 80_000, &[]).drain, None);
    }
}
