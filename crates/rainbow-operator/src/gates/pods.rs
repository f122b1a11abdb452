//! Gate `pods`: restarts, kills for memory and lost readiness of a color's pods, as the watch shows them. No request is sent.

use rainbow_api::PodsGate;
use rainbow_plan::{Check, InstanceName, Place, Time};
use serde_json::{Value, json};
use std::time::Duration;

use crate::{
    cache::App,
    live::{Faults, Pod},
    messages,
};

/// Verdict on the pods of a color.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodsVerdict {
    /// Ends of containers that are or were started again.
    pub(crate) restarts: u32,
    /// Containers that were killed for their memory.
    pub(crate) oom_kills: u32,
    /// Pods that serve, were ready and are not.
    pub(crate) not_ready: u32,
    /// Limit that is exceeded, in words.
    pub(crate) failure: Option<String>,
    /// Time at which a pod will have been not ready for too long.
    pub(crate) next: Option<Time>,
}

impl PodsVerdict {
    /// Returns the counts, as the value of a measurement.
    pub(crate) fn result(&self) -> Value {
        json!({ "restarts": self.restarts, "oomKills": self.oom_kills, "notReady": self.not_ready })
    }
}

/// Judges the pods of the instances of a check's color by what has happened since a time. A pod that is deleted does not count.
pub(crate) fn judge(
    app: &App,
    check: &Check,
    gate: &PodsGate,
    instances: &[InstanceName],
    since: Time,
    now: Time,
) -> PodsVerdict {
    let mut verdict = PodsVerdict::default();
    if gate.disabled {
        return verdict;
    }
    let limit = gate.not_ready.map(|limit| limit.0);
    // Last kill, pod with most restarts, and pod that has been not ready for longest.
    let (mut kill, mut restarted, mut unready) = (None::<(Time, &str)>, None::<(u32, &str)>, None::<(Time, &str)>);
    for (name, pod, faults) in faulty(app, instances) {
        if let Some(at) = faults.oom_kills(since).max() {
            verdict.oom_kills = verdict.oom_kills.saturating_add(count(faults.oom_kills(since).count()));
            kill = kill.max(Some((at, name)));
        }
        let restarts = if pod.finished { 0 } else { faults.restarts(since) };
        if restarts > 0 {
            verdict.restarts = verdict.restarts.saturating_add(restarts);
            restarted = restarted.max(Some((restarts, name)));
        }
        if let Some(lost) = faults.unready_since.filter(|_| serves(pod) && !pod.finished) {
            verdict.not_ready = verdict.not_ready.saturating_add(1);
            let lost = (lost.max(since), name);
            unready = Some(unready.map_or(lost, |longest| longest.min(lost)));
        }
    }
    let until =
        |lost: Time, limit: Duration| Time(lost.0.saturating_add(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)));
    let killed = kill.filter(|_| exceeds(verdict.oom_kills, gate.oom_kills()));
    let restarted = restarted.filter(|_| exceeds(verdict.restarts, gate.restarts()));
    let unready = unready.zip(limit);
    let too_long = unready.filter(|((lost, _), limit)| until(*lost, *limit) <= now);
    verdict.next = unready.map(|((lost, _), limit)| until(lost, limit)).filter(|next| *next > now);
    verdict.failure = killed
        .map(|(at, pod)| messages::pod_killed(pod, at, verdict.oom_kills, gate.oom_kills()))
        .or_else(|| {
            let most = restarted?;
            Some(messages::pods_restarted(&check.color, verdict.restarts, gate.restarts(), most))
        })
        .or_else(|| too_long.map(|((lost, pod), _)| messages::pod_not_ready(pod, lost)));
    verdict
}

/// Returns the pods of instances that have faults and are not being deleted.
fn faulty<'a>(app: &'a App, instances: &[InstanceName]) -> impl Iterator<Item = (&'a str, &'a Pod, &'a Faults)> {
    app.pods.iter().filter_map(move |(name, pod)| {
        let faults = pod.faults.as_deref().filter(|_| !pod.meta.deleting)?;
        instances.contains(&pod.instance()).then_some((&**name, &**pod, faults))
    })
}

/// Returns whether Services select the pod when it is ready. Pods of an older version have no label for it, and no time of its removal.
fn serves(pod: &Pod) -> bool {
    matches!(pod.said.place, Place::In | Place::Out { since: None })
}

fn exceeds(count: u32, limit: i32) -> bool {
    i64::from(count) > i64::from(limit)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Cache, change::Change, clock, key::Key, kind::Kind, live::Object};
    use rainbow_plan::Moment;

    fn at(second: i64) -> Time {
        Time(clock::read("2026-01-01T00:00:00Z").unwrap().0 + second * 1_000)
    }

    fn stamp(second: i64) -> String {
        clock::write(at(second))
    }

    /// Returns a pod that has ended a container once.
    fn pod(name: &str, color: &str, reason: &str, second: i64) -> Value {
        json!({
            "metadata": {
                "name": name, "namespace": "default", "uid": name, "creationTimestamp": stamp(0),
                "labels": { "rainbow.dev/rainbow": "shop", "rainbow.dev/tier": "web", "rainbow.dev/color": color, "rainbow.dev/serving": "yes" },
            },
            "status": { "containerStatuses": [{
                "name": "web", "restartCount": 1, "state": { "running": {} },
                "lastState": { "terminated": { "exitCode": 137, "reason": reason, "finishedAt": stamp(second) } },
            }] },
        })
    }

    fn unready(name: &str, second: i64) -> Value {
        let mut pod = pod(name, "v2", "Error", 1);
        let condition = |type_: &str, status: &str, second: i64| json!({ "type": type_, "status": status, "lastTransitionTime": stamp(second) });
        pod["status"] =
            json!({ "conditions": [condition("Initialized", "True", 0), condition("Ready", "False", second)] });
        pod
    }

    fn judged(pods: &[Value], gate: Value, now: i64) -> PodsVerdict {
        let mut cache = Cache::default();
        let all = pods.iter().cloned();
        cache.change(Kind::Pod, Change::Restarted, at(0));
        for pod in all {
            let pod = Object::pod(serde_json::from_value(pod).unwrap());
            cache.change(Kind::Pod, Change::Listed(pod), at(0));
        }
        cache.change(Kind::Pod, Change::Complete, at(0));
        let check = Check { stage: "active".into(), gate: "pods".into(), color: "v2".into(), moment: Moment::Watch };
        let app = &cache.apps[&Key { namespace: "default".into(), name: "shop".into() }];
        let instances = [InstanceName::shared("web", "v2"), InstanceName::shared("db", "v1")];
        judge(app, &check, &serde_json::from_value(gate).unwrap(), &instances, at(10), at(now))
    }

    #[test]
    fn a_kill_for_memory_fails() {
        let pods = [pod("a", "v2", "OOMKilled", 15), pod("b", "v2", "OOMKilled", 9), pod("c", "v1", "OOMKilled", 15)];
        let verdict = judged(&pods, json!({}), 20);
        assert_eq!(verdict.result(), json!({ "restarts": 1, "oomKills": 1, "notReady": 0 }));
        assert_eq!(
            verdict.failure.as_deref(),
            Some("pod `a` was killed for its memory (OOMKilled) at 2026-01-01T00:00:15Z")
        );
        assert_eq!(judged(&pods, json!({ "oomKills": 1 }), 20).failure, None);
        assert_eq!(judged(&pods, json!({ "disabled": true }), 20), PodsVerdict::default());
        let two = [pods[0].clone(), pod("b", "v2", "OOMKilled", 18)];
        assert_eq!(
            judged(&two, json!({ "oomKills": 1 }), 20).failure.as_deref(),
            Some("pod `b` was killed for its memory (OOMKilled) at 2026-01-01T00:00:18Z, one of 2, and 1 is allowed")
        );
    }

    #[test]
    fn restarts_have_a_limit() {
        let mut pods: Vec<Value> = ["a", "b", "c"].map(|name| pod(name, "v2", "Error", 15)).into();
        let verdict = judged(&pods, json!({}), 20);
        assert_eq!(verdict.restarts, 3);
        assert_eq!(
            verdict.failure.as_deref(),
            Some("containers of color `v2` have restarted 3 times, most of them in pod `a`, and 2 are allowed")
                .map(|text| text.replace("`a`", "`c`"))
                .as_deref()
        );
        assert_eq!(judged(&pods, json!({ "restarts": 3 }), 20).failure, None);
        pods[0]["metadata"]["deletionTimestamp"] = json!(stamp(16));
        assert_eq!(judged(&pods, json!({}), 20).restarts, 2, "a pod that is deleted does not count");
    }

    #[test]
    fn lost_readiness_has_a_limit() {
        let mut out = unready("c", 12);
        out["metadata"]["labels"].as_object_mut().unwrap().remove("rainbow.dev/serving");
        out["metadata"]["annotations"] = json!({ "rainbow.dev/out-since": stamp(11) });
        let pods = [unready("a", 12), unready("b", 5), out];
        let verdict = judged(&pods, json!({}), 60);
        assert_eq!(
            (verdict.not_ready, verdict.failure, verdict.next),
            (2, None, None),
            "without a limit it is only counted"
        );
        let verdict = judged(&pods, json!({ "notReady": "30s" }), 39);
        assert_eq!(
            (verdict.failure, verdict.next),
            (None, Some(at(40))),
            "the time counts from when the stage has moved"
        );
        let verdict = judged(&pods, json!({ "notReady": "30s" }), 40);
        assert_eq!(verdict.failure.as_deref(), Some("pod `b` has not been ready since 2026-01-01T00:00:10Z"));
    }
}
