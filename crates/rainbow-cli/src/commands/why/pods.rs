//! Reasons why pods are not ready, in the words of their own statuses and of the newest warning about each.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use rainbow_api::labels;
use serde::Serialize;

use super::unready;
use crate::view;

/// Longest text of a container, in characters.
const LONGEST: usize = 300;

/// Pod that is not ready.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodWhy {
    pub(super) pod: String,
    pub(super) tier: String,
    /// Color that introduced the pod's instance.
    pub(super) color: String,
    /// Reasons, the most useful first.
    pub(super) reasons: Vec<String>,
    /// Time since which the pod is not ready (RFC 3339).
    pub(super) since: Option<String>,
}

/// Returns the pods of an application that are not ready and should be.
pub(super) fn explain(pods: &[Pod], events: Vec<Event>, now: Timestamp) -> Vec<PodWhy> {
    let unready: Vec<&Pod> = pods.iter().filter(|pod| !view::is_ready(pod) && !is_expected(pod, now)).collect();
    let names = unready.iter().filter_map(|pod| Some((pod.metadata.uid.clone()?, pod.metadata.name.clone()?)));
    let names: BTreeMap<String, String> = names.collect();
    let warnings = unready::newest(&names, events);
    let mut found: Vec<PodWhy> = unready.into_iter().map(|pod| one(pod, &warnings)).collect();
    found.sort_by(|a, b| (&a.color, &a.tier, &a.pod).cmp(&(&b.color, &b.tier, &b.pod)));
    found
}

/// Returns whether the pod ends as it should, or has ended.
fn is_expected(pod: &Pod, now: Timestamp) -> bool {
    let has_ended = matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded"));
    // The deletion timestamp is the time by which the pod should be gone.
    has_ended || pod.metadata.deletion_timestamp.as_ref().is_some_and(|time| time.0 >= now)
}

fn one(pod: &Pod, warnings: &BTreeMap<&str, (Timestamp, String)>) -> PodWhy {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let of = |key: &str| view::label(&pod.metadata, key).unwrap_or_default().to_owned();
    let mut reasons = reasons(pod);
    let warning = warnings.get(name.as_str()).map(|(_, text)| text.clone());
    // An event often repeats the kubelet's message about a container.
    reasons.extend(warning.filter(|warning| !reasons.iter().any(|reason| repeats(reason, warning))));
    if reasons.is_empty() {
        reasons.push("it is not ready yet".to_owned());
    }
    PodWhy { tier: of(labels::TIER), color: of(labels::COLOR), since: since(pod), pod: name, reasons }
}

/// Returns whether a reason and a warning quote the same message.
fn repeats(reason: &str, warning: &str) -> bool {
    warning.split_once(": ").is_some_and(|(_, message)| reason.contains(message))
}

fn reasons(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return vec!["no node has taken it yet".to_owned()] };
    if let Some(time) = &pod.metadata.deletion_timestamp {
        return vec![format!("it should have ended at {}", time.0)];
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let unscheduled = conditions.iter().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = unscheduled {
        return vec![told(condition.reason.as_deref(), condition.message.as_deref())];
    }
    if let Some(reason) = &status.reason {
        return vec![told(Some(reason), status.message.as_deref())];
    }
    let first = status.init_container_statuses.iter().flatten().filter(|container| !has_succeeded(container));
    let rest = status.container_statuses.iter().flatten();
    let mut reasons: Vec<String> = first.chain(rest).filter_map(container).collect();
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    for gate in gates {
        let found = conditions.iter().find(|condition| condition.type_ == gate.condition_type);
        if found.is_none_or(|condition| condition.status != "True") {
            let said = found.and_then(|condition| condition.message.as_ref()).filter(|message| !message.is_empty());
            let said = said.map(|message| format!(": {message}")).unwrap_or_default();
            reasons.push(format!("its readiness gate `{}` is not true{said}", gate.condition_type));
        }
    }
    reasons
}

fn has_succeeded(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.exit_code == 0) || container.ready
}

/// Returns why a container is not ready. `None`: the container is ready.
fn container(status: &ContainerStatus) -> Option<String> {
    if status.ready {
        return None;
    }
    let (name, state) = (&status.name, status.state.clone().unwrap_or_default());
    let restarts = match status.restart_count {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        restarts => format!(", {restarts} restarts"),
    };
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = |ended: &k8s_openapi::api::core::v1::ContainerStateTerminated| {
        let last_line = ended.message.as_deref().and_then(|message| message.trim().lines().next_back());
        let last_line = last_line.map(|line| format!(": {}", shortened(line))).unwrap_or_default();
        let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("ended with exit code {}{reason}{last_line}", ended.exit_code)
    };
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref();
        if matches!(reason, None | Some("ContainerCreating" | "PodInitializing")) {
            return Some(format!("container `{name}` is being made"));
        }
        let message = waiting.message.as_deref().filter(|_| last.is_none());
        let last = last.map(|last| format!("; it {}", ended(last))).unwrap_or_default();
        return Some(format!("container `{name}`: {}{last}{restarts}", told(reason, message)));
    }
    if let Some(terminated) = &state.terminated {
        return Some(format!("container `{name}` {}{restarts}", ended(terminated)));
    }
    let last = last.map(|last| format!("; before, it {}", ended(last))).unwrap_or_default();
    Some(format!("container `{name}` runs and is not ready{restarts}{last}"))
}

fn told(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message].into_iter().flatten().filter(|text| !text.is_empty());
    parts.map(shortened).collect::<Vec<_>>().join(": ")
}

fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(LONGEST).collect()
}

/// Returns the time since which the pod is not ready.
fn since(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let since = ready.and_then(|condition| condition.last_transition_time.as_ref());
    since.or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn explained(status: Value, events: Value) -> Vec<String> {
        let pod = json!({
            "metadata": {
                "name": "web-v2-a", "uid": "1",
                "labels": { "rainbow.dev/tier": "web", "rainbow.dev/color": "v2" },
            },
            "spec": { "containers": [], "readinessGates": [{ "conditionType": "x.dev/lb" }] },
            "status": status,
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let events = serde_json::from_value(events).unwrap();
        let found = explain(&[pod], events, "2026-01-01T00:01:00Z".parse().unwrap());
        found.into_iter().flat_map(|pod| pod.reasons).collect()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({
            "phase": "Pending", "conditions": [{ "type": "x.dev/lb", "status": "True" }],
            "containerStatuses": [{
                "name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last,
            }],
        })
    }

    #[test]
    fn a_container_says_what_ails_it() {
        let waiting = |reason: &str, message: &str| json!({ "waiting": { "reason": reason, "message": message } });
        let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": "a\nno database\n" } });
        assert_eq!(
            explained(container(waiting("CrashLoopBackOff", "back-off 5m0s"), ended.clone()), json!([])),
            ["container `web`: CrashLoopBackOff; it ended with exit code 1: no database, 3 restarts"]
        );
        let image = waiting("ImagePullBackOff", "Back-off pulling image web:v9");
        let event = |message: &str| {
            json!([{
                "metadata": {}, "involvedObject": { "uid": "1" }, "type": "Warning", "reason": "Failed", "message": message,
                "lastTimestamp": "2026-01-01T00:00:00Z",
            }])
        };
        let said = "container `web`: ImagePullBackOff: Back-off pulling image web:v9, 3 restarts";
        assert_eq!(explained(container(image.clone(), json!({})), event("Back-off pulling image web:v9")), [said]);
        assert_eq!(explained(container(image, json!({})), event("no such host")), [said, "Failed: no such host"]);
        assert_eq!(
            explained(container(json!({ "running": {} }), json!({})), event("Readiness probe failed: 503")),
            ["container `web` runs and is not ready, 3 restarts", "Failed: Readiness probe failed: 503"]
        );
        let killed = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        assert_eq!(
            explained(container(killed, json!({})), json!([])),
            ["container `web` ended with exit code 137 (OOMKilled), 3 restarts"]
        );
    }

    #[test]
    fn a_pod_may_have_no_node_or_wait_for_a_gate() {
        let unscheduled = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available" },
        ] });
        assert_eq!(explained(unscheduled, json!([])), ["Unschedulable: 0/1 nodes are available"]);
        let gate = json!({ "conditions": [{ "type": "x.dev/lb", "status": "False", "message": "no target" }] });
        assert_eq!(explained(gate, json!([])), ["its readiness gate `x.dev/lb` is not true: no target"]);
    }

    #[test]
    fn what_ends_or_is_ready_has_no_trouble() {
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(explained(ready, json!([])), [""; 0]);
        let pod = |time: &str| -> Pod {
            serde_json::from_value(json!({ "metadata": { "name": "a", "deletionTimestamp": time }, "status": {} }))
                .unwrap()
        };
        let of = |time: &str| explain(&[pod(time)], Vec::new(), "2026-01-01T00:01:00Z".parse().unwrap());
        assert_eq!(of("2026-01-01T00:01:10Z"), [], "it has time yet");
        assert_eq!(of("2026-01-01T00:00:10Z")[0].reasons, ["it should have ended at 2026-01-01T00:00:10Z"]);
    }
}
