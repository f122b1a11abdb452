//! Ends of a pod's containers, and loss of its readiness. Most pods have neither, and nothing is kept of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Timestamp;
use rainbow_plan::Time;

use super::shown::{Condition, ContainerStatus, ShownPod, Terminated};
use crate::clock;

/// Ends that are kept of a container. A pod in a crash loop ends a container every five minutes.
const KEPT_ENDS: usize = 16;
/// Reason of a container that was killed for its memory.
const OOM_KILLED: &str = "OOMKilled";

/// Faults of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Time when the pod was created.
    created: Time,
    /// Containers that have ended, tally's container and init containers included.
    containers: Vec<ContainerFaults>,
    /// Time when a pod that had been ready became not ready.
    pub(crate) unready_since: Option<Time>,
}

/// Ends of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ContainerFaults {
    name: Box<str>,
    /// Ends in their order. The API shows the last two; those before are kept as long as the operator runs.
    ends: Vec<End>,
}

/// End of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// Time of the end, in whole seconds as the kubelet writes it.
    at: Time,
    /// Number of ends of the container up to this one.
    number: u32,
    is_oom_kill: bool,
}

impl Faults {
    /// Returns the faults of a pod. `None`: there are none.
    pub(super) fn of(pod: &ShownPod) -> Option<Box<Self>> {
        let init = pod.status.init_container_statuses.iter().flatten().map(|status| (status, IsInit::Yes));
        let main = pod.status.container_statuses.iter().flatten().map(|status| (status, IsInit::No));
        let containers: Vec<_> = init.chain(main).filter_map(|(status, is_init)| ended(status, is_init)).collect();
        let unready_since = unready_since(pod.status.conditions.as_deref().unwrap_or_default());
        let created = pod.metadata.creation_timestamp.as_ref().map_or(Time(0), time);
        let is_none = containers.is_empty() && unready_since.is_none();
        (!is_none).then(|| Box::new(Self { created, containers, unready_since }))
    }

    /// Adds the ends that an earlier state of the pod has shown.
    pub(crate) fn add_known(&mut self, known: &Self) {
        for container in &mut self.containers {
            let Some(known) = known.containers.iter().find(|known| known.name == container.name) else { continue };
            let first = container.ends.first().map_or(Time(i64::MAX), |end| end.at);
            let mut ends: Vec<End> = known.ends.iter().filter(|end| end.at < first).copied().collect();
            ends.append(&mut container.ends);
            ends.drain(..ends.len().saturating_sub(KEPT_ENDS));
            container.ends = ends;
        }
    }

    /// Returns whether a later state shows nothing new.
    pub(super) fn is_repeated_by(&self, later: &Self) -> bool {
        let is_known = |container: &ContainerFaults| {
            let known = self.containers.iter().find(|known| known.name == container.name);
            known.is_some_and(|known| container.ends.iter().all(|end| known.ends.contains(end)))
        };
        self.unready_since == later.unready_since
            && self.containers.len() == later.containers.len()
            && later.containers.iter().all(is_known)
    }

    /// Returns how often containers have ended since a time, and are or were started again. Where the ends before that time are unknown,
    /// those that are known count.
    pub(crate) fn restarts(&self, since: Time) -> u32 {
        let since = to_the_second(since);
        self.containers.iter().map(|container| container.ended(since, self.created)).fold(0, u32::saturating_add)
    }

    /// Returns the times at which containers were killed for their memory since a time.
    pub(crate) fn oom_kills(&self, since: Time) -> impl Iterator<Item = Time> {
        let since = to_the_second(since);
        let ends = self.containers.iter().flat_map(|container| &container.ends);
        ends.filter(move |end| end.is_oom_kill && end.at >= since).map(|end| end.at)
    }
}

impl ContainerFaults {
    fn ended(&self, since: Time, created: Time) -> u32 {
        let (Some(first), Some(last)) = (self.ends.first(), self.ends.last()) else { return 0 };
        let before = self.ends.iter().rfind(|end| end.at < since).map(|end| end.number);
        // The pod is younger: all its ends came later.
        let before = before.or_else(|| (created >= since).then_some(0));
        last.number.saturating_sub(before.unwrap_or_else(|| first.number.saturating_sub(1)))
    }
}

/// Whether a container is an init container, which may end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsInit {
    Yes,
    No,
}

fn ended(status: &ContainerStatus, is_init: IsInit) -> Option<ContainerFaults> {
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let now = now.filter(|now| is_init == IsInit::No || now.exit_code != 0);
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let has_ended_well =
        !runs && now.is_none() && status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    // While a container waits to be started again, its count is that of the start before.
    let of_last = match (runs || has_ended_well, &now) {
        (true, _) | (false, Some(_)) => status.restart_count,
        (false, None) => status.restart_count.saturating_add(1),
    };
    let last = last.and_then(|last| End::of(last, of_last));
    let now = now.and_then(|now| End::of(now, status.restart_count.saturating_add(1)));
    let ends: Vec<End> = last.into_iter().chain(now).collect();
    (!ends.is_empty()).then(|| ContainerFaults { name: status.name.as_str().into(), ends })
}

impl End {
    fn of(ended: &Terminated, number: u32) -> Option<Self> {
        let at = time(ended.finished_at.as_ref()?);
        Some(Self { at, number, is_oom_kill: ended.reason.as_deref() == Some(OOM_KILLED) })
    }
}

/// Returns since when a pod that was ready is not. A pod that has not been ready yet has had that condition since before it was initialized.
fn unready_since(conditions: &[Condition]) -> Option<Time> {
    let find = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
    let changed = |condition: &Condition| condition.last_transition_time.as_ref().map(time);
    let lost = find("Ready").filter(|ready| ready.status != "True").and_then(changed)?;
    let initialized = find("Initialized").filter(|condition| condition.status == "True").and_then(changed)?;
    (lost > initialized).then_some(lost)
}

fn time(timestamp: &Timestamp) -> Time {
    clock::from_timestamp(timestamp.0)
}

/// Returns the begin of a time's second: the kubelet writes whole seconds, so an end of the same second may have come later.
fn to_the_second(time: Time) -> Time {
    Time(time.0.div_euclid(1_000).saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn faults(statuses: Value) -> Option<Box<Faults>> {
        let pod = json!({
            "metadata": { "name": "web-v1-x", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "containerStatuses": statuses },
        });
        Faults::of(&serde_json::from_value(pod).unwrap())
    }

    fn terminated(second: u32, reason: &str) -> Value {
        let code = if reason == "Completed" { 0 } else { 137 };
        json!({ "terminated": { "exitCode": code, "reason": reason, "finishedAt": format!("2026-01-01T00:00:{second:02}Z") } })
    }

    fn web(restarts: u32, state: Value, last: Value) -> Value {
        json!([{ "name": "web", "restartCount": restarts, "state": state, "lastState": last }])
    }

    fn at(second: i64) -> Time {
        Time(clock::read("2026-01-01T00:00:00Z").unwrap().0 + second * 1_000)
    }

    #[test]
    fn a_pod_without_faults_costs_nothing() {
        assert_eq!(faults(web(0, json!({ "running": {} }), json!({}))), None);
        assert_eq!(faults(web(0, json!({ "waiting": { "reason": "ContainerCreating" } }), json!({}))), None);
    }

    #[test]
    fn restarts_count_once_in_every_state() {
        let (runs, waits) = (json!({ "running": {} }), json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
        for (restarts, state, last, expected) in [
            (0, terminated(10, "Error"), json!({}), 1),
            (0, waits.clone(), terminated(10, "Error"), 1),
            (1, runs.clone(), terminated(10, "Error"), 1),
            (1, terminated(20, "Error"), terminated(10, "Error"), 2),
            (1, waits, terminated(20, "Error"), 2),
            (2, runs, terminated(20, "Completed"), 2),
        ] {
            let found = faults(web(restarts, state.clone(), last)).unwrap();
            assert_eq!(found.restarts(at(0)), expected, "{restarts} {state}");
            assert_eq!(found.restarts(at(21)), 0, "{restarts} {state}: all came before");
        }
    }

    /// The API shows the last end only; those before are remembered, or counted where the pod is younger than the time.
    #[test]
    fn restarts_before_a_time_do_not_count() {
        let known = faults(web(3, json!({ "running": {} }), terminated(10, "Error"))).unwrap();
        let mut later = faults(web(7, json!({ "running": {} }), terminated(40, "Error"))).unwrap();
        assert_eq!(later.restarts(at(20)), 1, "as many as are known");
        assert_eq!(later.restarts(Time(at(0).0 - 1_000)), 7, "the pod is younger");
        later.add_known(&known);
        assert_eq!(later.restarts(at(20)), 4);
        assert_eq!(later.restarts(at(41)), 0);
        let again = faults(web(7, json!({ "running": {} }), terminated(40, "Error"))).unwrap();
        assert!(later.is_repeated_by(&again) && !known.is_repeated_by(&again));
        for second in 41..59 {
            let mut next = faults(web(second, json!({ "running": {} }), terminated(second, "Error"))).unwrap();
            next.add_known(&later);
            later = next;
        }
        assert_eq!(later.containers[0].ends.len(), KEPT_ENDS);
    }

    #[test]
    fn kills_for_memory_are_told_from_other_ends() {
        let both = faults(web(1, terminated(20, "OOMKilled"), terminated(10, "OOMKilled"))).unwrap();
        assert_eq!(both.oom_kills(at(0)).collect::<Vec<_>>(), [at(10), at(20)]);
        assert_eq!(both.oom_kills(Time(at(20).0 + 900)).collect::<Vec<_>>(), [at(20)], "times have whole seconds");
        assert_eq!(both.oom_kills(at(21)).count(), 0);
        assert_eq!(
            faults(web(1, json!({ "running": {} }), terminated(10, "Error"))).unwrap().oom_kills(at(0)).count(),
            0
        );
    }

    #[test]
    fn an_init_container_may_end_well() {
        let init = |restarts: u32, state: Value, last: Value| {
            let mut statuses = web(restarts, state, last);
            let pod = json!({ "metadata": {}, "status": { "initContainerStatuses": statuses.take() } });
            Faults::of(&serde_json::from_value(pod).unwrap())
        };
        assert_eq!(init(0, terminated(10, "Completed"), json!({})), None);
        let since = at(0);
        assert_eq!(init(1, terminated(20, "Completed"), terminated(10, "Error")).unwrap().restarts(since), 1);
        assert_eq!(init(0, terminated(10, "Error"), json!({})).unwrap().restarts(since), 1);
        assert_eq!(
            init(1, json!({ "running": {} }), terminated(10, "Completed")).unwrap().restarts(since),
            1,
            "a sidecar"
        );
    }

    #[test]
    fn readiness_is_lost_by_a_pod_that_had_it() {
        let lost = |ready: (&str, u32), initialized: (&str, u32)| {
            let condition = |type_: &str, (status, second): (&str, u32)| json!({ "type": type_, "status": status, "lastTransitionTime": format!("2026-01-01T00:00:{second:02}Z") });
            let conditions = [condition("Initialized", initialized), condition("Ready", ready)];
            let pod = json!({ "metadata": {}, "status": { "conditions": conditions } });
            Faults::of(&serde_json::from_value(pod).unwrap()).and_then(|faults| faults.unready_since)
        };
        assert_eq!(lost(("False", 30), ("True", 5)), Some(at(30)));
        assert_eq!(lost(("True", 30), ("True", 5)), None);
        assert_eq!(lost(("False", 5), ("True", 5)), None, "it starts");
        assert_eq!(lost(("False", 1), ("True", 5)), None, "it starts, after its init containers");
        assert_eq!(lost(("False", 1), ("False", 1)), None);
    }
}
