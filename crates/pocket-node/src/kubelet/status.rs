//! Status of a pod, derived from the kubelet's knowledge. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
        HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use pocket_object::resources::qos_class;

use super::tracker::{Ended, RunState, Slot, View};

/// Rule by which containers of a pod are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    /// After every end.
    Always,
    /// After a failure.
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// Returns the policy of a pod.
    pub(crate) fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Returns whether a container that ended with this code is started again.
    pub(crate) fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Returns the phase, as the kubelet derives it from the containers.
pub(crate) fn phase(view: &View, policy: RestartPolicy) -> &'static str {
    if view.failed.is_some() {
        return "Failed";
    }
    let init_failed = view.init.iter().any(|slot| {
        !slot.sidecar && policy == RestartPolicy::Never && matches!(&slot.state, RunState::Ended(end) if end.code != 0)
    });
    if init_failed {
        return "Failed";
    }
    if !view.initialized {
        // The pod ended before its containers began, so it gets no further.
        return if view.over { "Failed" } else { "Pending" };
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for slot in &view.apps {
        match (&slot.state, &slot.last) {
            (RunState::Running { .. }, _) => running += 1,
            (RunState::Ended(end), _) | (RunState::Waiting { .. }, Some(end)) => {
                stopped += 1;
                succeeded += i32::from(end.code == 0);
            }
            (RunState::Waiting { .. }, None) => waiting += 1,
        }
    }
    let all_well = stopped == succeeded;
    if view.over && running == 0 {
        return if all_well && waiting == 0 { "Succeeded" } else { "Failed" };
    }
    match policy {
        _ if waiting > 0 => "Pending",
        _ if running > 0 => "Running",
        RestartPolicy::Always => "Running",
        _ if all_well => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}

/// Computes the whole status. From `old`, the status in the API, the times of unchanged conditions and conditions of others are kept.
pub(crate) fn compute(pod: &Pod, view: &View, node_ip: &str, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let phase = match old.phase.as_deref() {
        // A terminal phase is final.
        Some("Succeeded") => "Succeeded",
        Some("Failed") => "Failed",
        _ => phase(view, RestartPolicy::of(pod)),
    };
    let (reason, message) = view.failed.clone().unzip();
    PodStatus {
        conditions: Some(conditions(pod, view, phase, now)),
        container_statuses: Some(view.apps.iter().map(|slot| container(slot, false)).collect()),
        init_container_statuses: (!view.init.is_empty())
            .then(|| view.init.iter().map(|slot| container(slot, true)).collect()),
        host_ip: Some(node_ip.into()),
        host_ips: Some(vec![HostIP { ip: node_ip.into() }]),
        pod_ip: view.ip.map(|ip| ip.to_string()),
        pod_ips: view.ip.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        message: message.or(old.message),
        reason: reason.or(old.reason),
        phase: Some(phase.into()),
        // The class never changes, and the API server sets it when the pod is created.
        qos_class: old.qos_class.or_else(|| serde_json::to_value(pod).ok().map(|pod| qos_class(&pod).to_owned())),
        start_time: view.start_time.map(time),
        observed_generation: old.observed_generation,
        nominated_node_name: old.nominated_node_name,
        ephemeral_container_statuses: old.ephemeral_container_statuses,
        resize: old.resize,
        resource_claim_statuses: old.resource_claim_statuses,
    }
}

/// Reason and message of a condition that does not hold.
type Trouble = (String, Option<String>);

fn conditions(pod: &Pod, view: &View, phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let old = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let ended = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let not_initialized = (!view.initialized && phase != "Succeeded").then(|| {
        let names = names(view.init.iter().filter(|slot| match &slot.state {
            RunState::Ended(end) => end.code != 0,
            _ => !(slot.sidecar && slot.started),
        }));
        ("ContainersNotInitialized".into(), Some(format!("containers with incomplete status: [{names}]")))
    });
    let unready: Vec<_> =
        view.apps.iter().chain(view.init.iter().filter(|slot| slot.sidecar)).filter(|slot| !slot.ready).collect();
    let not_ready: Option<Trouble> = match ended {
        Some(reason) => Some((reason.into(), None)),
        None if unready.is_empty() => None,
        None => Some((
            "ContainersNotReady".into(),
            Some(format!("containers with unready status: [{}]", names(unready.into_iter()))),
        )),
    };
    let gates: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.readiness_gates.iter().flatten())
        .map(|gate| gate.condition_type.as_str())
        .filter(|gate| !old.iter().any(|condition| condition.type_ == *gate && condition.status == "True"))
        .collect();
    let gated = (!gates.is_empty()).then(|| {
        let message = format!("corresponding condition of pod readiness gate {gates:?} does not exist or is not True");
        ("ReadinessGatesNotReady".into(), Some(message))
    });

    let ours: [(&str, Option<Trouble>); 5] = [
        ("PodReadyToStartContainers", (!view.sandbox).then(|| (String::new(), None))),
        ("Initialized", not_initialized),
        ("Ready", not_ready.clone().or(gated)),
        ("ContainersReady", not_ready),
        ("PodScheduled", None),
    ];
    let mut all: Vec<_> = ours
        .into_iter()
        .map(|(type_, trouble)| {
            let status = if trouble.is_none() { "True" } else { "False" };
            let (reason, message) = trouble.unzip();
            let since = old
                .iter()
                .find(|former| former.type_ == type_ && former.status == status)
                .and_then(|former| former.last_transition_time.clone())
                .unwrap_or_else(|| time(now));
            PodCondition {
                type_: type_.into(),
                status: status.into(),
                reason: reason.filter(|reason: &String| !reason.is_empty()),
                message: message.flatten(),
                last_transition_time: Some(since),
                ..PodCondition::default()
            }
        })
        .collect();
    let foreign: Vec<_> =
        old.into_iter().filter(|former| !all.iter().any(|condition| condition.type_ == former.type_)).collect();
    all.extend(foreign);
    all
}

fn names<'a>(slots: impl Iterator<Item = &'a Slot>) -> String {
    slots.map(|slot| slot.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn container(slot: &Slot, init: bool) -> ContainerStatus {
    let state = match &slot.state {
        RunState::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.clone()), message: message.clone() }),
            ..ContainerState::default()
        },
        RunState::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(time(*since)) }),
            ..ContainerState::default()
        },
        RunState::Ended(end) => terminated(end),
    };
    // An init container that has succeeded counts as ready.
    let through = init && !slot.sidecar && matches!(&slot.state, RunState::Ended(end) if end.code == 0);
    ContainerStatus {
        name: slot.name.clone(),
        image: slot.image.clone(),
        image_id: slot.image_id.clone(),
        container_id: slot.container_id.clone(),
        ready: slot.ready || through,
        started: Some(slot.started),
        restart_count: slot.restarts,
        state: Some(state),
        last_state: Some(slot.last.as_ref().map(terminated).unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

fn terminated(end: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: end.container_id.clone(),
            exit_code: end.code,
            finished_at: Some(time(end.finished)),
            message: end.message.clone(),
            reason: Some(end.reason.clone()),
            signal: end.signal,
            started_at: end.started.map(time),
        }),
        ..ContainerState::default()
    }
}

/// Rounds to whole seconds, as the API does, so that times can be compared with the API's.
fn time(timestamp: Timestamp) -> Time {
    Time(Timestamp::from_second(timestamp.as_second()).unwrap_or(timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::tracker::Tracker;
    use serde_json::json;

    fn end(code: i32) -> Ended {
        Ended {
            code,
            signal: None,
            reason: "x".into(),
            message: None,
            started: None,
            finished: Timestamp::UNIX_EPOCH,
            container_id: None,
        }
    }

    fn pod(policy: &str, init: usize, apps: usize) -> Pod {
        let containers = |prefix: &str, n: usize| {
            (0..n).map(|i| json!({"name": format!("{prefix}{i}"), "image": "i"})).collect::<Vec<_>>()
        };
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"restartPolicy": policy, "initContainers": containers("i", init), "containers": containers("c", apps)},
        }))
        .unwrap()
    }

    fn view(pod: &Pod, states: &[RunState]) -> View {
        let mut view = Tracker::new(pod, Timestamp::UNIX_EPOCH).read().clone();
        for (slot, state) in view.apps.iter_mut().zip(states) {
            slot.state = state.clone();
        }
        view
    }

    #[test]
    fn phases() {
        let run = RunState::Running { since: Timestamp::UNIX_EPOCH };
        let wait = RunState::Waiting { reason: "x".into(), message: None };
        let done = RunState::Ended(end(0));
        let bad = RunState::Ended(end(1));
        for (policy, states, expected) in [
            ("Always", vec![wait.clone(), wait.clone()], "Pending"),
            ("Always", vec![run.clone(), wait.clone()], "Pending"),
            ("Always", vec![run.clone(), run.clone()], "Running"),
            ("Always", vec![run.clone(), bad.clone()], "Running"),
            ("Always", vec![done.clone(), bad.clone()], "Running"),
            ("OnFailure", vec![done.clone(), done.clone()], "Succeeded"),
            ("OnFailure", vec![done.clone(), bad.clone()], "Running"),
            ("Never", vec![done.clone(), bad.clone()], "Failed"),
            ("Never", vec![done.clone(), run.clone()], "Running"),
            ("Never", vec![done.clone(), done.clone()], "Succeeded"),
        ] {
            let pod = pod(policy, 0, 2);
            assert_eq!(phase(&view(&pod, &states), RestartPolicy::of(&pod)), expected, "{policy} {states:?}");
        }
        // A container in backoff has run before, so the pod counts as running.
        let pod = pod("Always", 0, 1);
        let mut crashing = view(&pod, &[wait]);
        crashing.apps[0].last = Some(end(1));
        assert_eq!(phase(&crashing, RestartPolicy::Always), "Running");
        crashing.over = true;
        assert_eq!(phase(&crashing, RestartPolicy::Always), "Failed");
    }

    #[test]
    fn conditions_keep_their_times() {
        let mut pod = pod("Always", 0, 1);
        let mut view = view(&pod, &[RunState::Running { since: Timestamp::UNIX_EPOCH }]);
        view.sandbox = true;
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let first = compute(&pod, &view, "10.0.0.1", at(100));
        let ready = |status: &PodStatus| {
            status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").cloned().unwrap()
        };
        assert_eq!(ready(&first).status, "False");
        assert_eq!(ready(&first).message.as_deref(), Some("containers with unready status: [c0]"));
        pod.status = Some(first.clone());
        assert_eq!(compute(&pod, &view, "10.0.0.1", at(200)), first, "nothing changed, so nothing is written");
        view.apps[0].ready = true;
        let second = compute(&pod, &view, "10.0.0.1", at(300));
        assert_eq!(ready(&second).status, "True");
        assert_eq!(ready(&second).last_transition_time, Some(Time(at(300))));
        assert_eq!(second.phase.as_deref(), Some("Running"));
    }

    #[test]
    fn gates_hold_readiness_and_foreign_conditions_stay() {
        let mut pod = pod("Always", 0, 1);
        pod.spec.as_mut().unwrap().readiness_gates =
            Some(vec![k8s_openapi::api::core::v1::PodReadinessGate { condition_type: "x/y".into() }]);
        let mut view = view(&pod, &[RunState::Running { since: Timestamp::UNIX_EPOCH }]);
        view.apps[0].ready = true;
        let status = |pod: &Pod| {
            let status = compute(pod, &view, "10.0.0.1", Timestamp::UNIX_EPOCH);
            let of =
                |type_: &str| status.conditions.iter().flatten().find(|c| c.type_ == type_).map(|c| c.status.clone());
            (of("ContainersReady").unwrap(), of("Ready").unwrap(), of("x/y"))
        };
        assert_eq!(status(&pod), ("True".into(), "False".into(), None));
        pod.status = Some(PodStatus {
            conditions: Some(vec![PodCondition {
                type_: "x/y".into(),
                status: "True".into(),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        });
        assert_eq!(status(&pod), ("True".into(), "True".into(), Some("True".into())));
    }

    #[test]
    fn a_node_that_died_is_remembered() {
        let mut pod = pod("Always", 0, 1);
        pod.status = Some(
            serde_json::from_value(
                json!({"containerStatuses": [{"name": "c0", "image": "i", "imageID": "sha256:1", "ready": true,
                "restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}),
            )
            .unwrap(),
        );
        let view = Tracker::new(&pod, Timestamp::UNIX_EPOCH).read().clone();
        assert_eq!(view.apps[0].restarts, 2);
        assert_eq!(view.apps[0].last.as_ref().map(|end| (end.code, end.reason.as_str())), Some((255, "Unknown")));
        assert!(matches!(view.apps[0].state, RunState::Waiting { .. }));
    }
}
