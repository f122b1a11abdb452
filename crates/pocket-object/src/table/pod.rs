//! Table of pods: the displayed state combines phase, containers and deletion.

use jiff::Timestamp;
use serde_json::Value;

use super::{AGE, Kind, NAME, age, ago, name, number, or_none};
use crate::json::{list, text, truth};

pub(super) const POD: Kind = (
    &[
        NAME,
        ("Ready", "string", 0),
        ("Status", "string", 0),
        ("Restarts", "string", 0),
        AGE,
        ("IP", "string", 1),
        ("Node", "string", 1),
        ("Nominated Node", "string", 1),
        ("Readiness Gates", "string", 1),
    ],
    row,
);

/// Sum of the states of a pod's containers.
struct Summary {
    status: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summary(pod);
    let sidecars = list(pod, "/spec/initContainers").iter().filter(|container| restarts_always(container)).count();
    let total = list(pod, "/spec/containers").len() + sidecars;
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts > 0 => format!("{} ({} ago)", summary.restarts, ago(&last.to_string(), now)),
        _ => summary.restarts.to_string(),
    };
    let ip = list(pod, "/status/podIPs").first().map_or_else(|| text(pod, "/status/podIP"), |ip| text(ip, "/ip"));
    vec![
        name(pod),
        Value::from(format!("{}/{total}", summary.ready)),
        Value::from(summary.status),
        Value::from(restarts),
        age(pod, now),
        or_none(ip),
        or_none(text(pod, "/spec/nodeName")),
        or_none(text(pod, "/status/nominatedNodeName")),
        or_none(gates(pod)),
    ]
}

fn restarts_always(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions").iter().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return String::new();
    }
    let open = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType"))).count();
    format!("{open}/{}", gates.len())
}

/// Returns the cause of a container's end: its reason, or its signal or exit code.
fn ending(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn finished(status: &Value) -> Option<Timestamp> {
    text(status, "/lastState/terminated/finishedAt").parse().ok()
}

fn summary(pod: &Value) -> Summary {
    let mut all = Summary { status: text(pod, "/status/phase").to_owned(), ready: 0, restarts: 0, last_restart: None };
    let reason = text(pod, "/status/reason");
    if !reason.is_empty() {
        reason.clone_into(&mut all.status);
    }
    let gated = |c: &&Value| text(c, "/type") == "PodScheduled" && text(c, "/reason") == "SchedulingGated";
    if list(pod, "/status/conditions").iter().any(|c| gated(&c)) {
        "SchedulingGated".clone_into(&mut all.status);
    }

    let (initializing, sidecar_restarts, sidecar_last) = init_containers(pod, &mut all);
    if !initializing || condition(pod, "Initialized") {
        all.restarts = sidecar_restarts;
        all.last_restart = sidecar_last;
        containers(pod, &mut all);
    }

    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        if reason == "NodeLost" {
            "Unknown".clone_into(&mut all.status);
        } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut all.status);
        }
    }
    all
}

/// Adds the init containers, up to the first that is not done. Returns whether there is such a container, and the restarts
/// of sidecars alone.
fn init_containers(pod: &Value, all: &mut Summary) -> (bool, i64, Option<Timestamp>) {
    let specs = list(pod, "/spec/initContainers");
    let (mut sidecar_restarts, mut sidecar_last) = (0, None);
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let is_sidecar = specs.iter().any(|spec| text(spec, "/name") == text(status, "/name") && restarts_always(spec));
        all.restarts += number(status, "/restartCount");
        all.last_restart = all.last_restart.max(finished(status));
        if is_sidecar {
            sidecar_restarts += number(status, "/restartCount");
            sidecar_last = sidecar_last.max(finished(status));
        }
        let terminated = status.pointer("/state/terminated");
        let waiting = text(status, "/state/waiting/reason");
        if terminated.is_some_and(|ended| number(ended, "/exitCode") == 0) {
            continue;
        }
        if is_sidecar && truth(status, "/started") {
            all.ready += usize::from(truth(status, "/ready"));
            continue;
        }
        all.status = match terminated {
            Some(ended) => format!("Init:{}", ending(ended)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", specs.len()),
        };
        return (true, sidecar_restarts, sidecar_last);
    }
    (false, sidecar_restarts, sidecar_last)
}

fn containers(pod: &Value, all: &mut Summary) {
    let mut any_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        all.restarts += number(status, "/restartCount");
        all.last_restart = all.last_restart.max(finished(status));
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut all.status);
        } else if let Some(ended) = status.pointer("/state/terminated") {
            all.status = ending(ended);
        } else if truth(status, "/ready") && status.pointer("/state/running").is_some() {
            any_running = true;
            all.ready += 1;
        }
    }
    if all.status == "Completed" && any_running {
        (if condition(pod, "Ready") { "Running" } else { "NotReady" }).clone_into(&mut all.status);
    }
}
