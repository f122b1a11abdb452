//! Tracker of one pod: what the kubelet knows of it now. Container tasks write to it; the status writer reads it.

use std::{
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use tokio::sync::Notify;

use crate::{runtime::Exit, sync::lock};

/// Record of how a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code, as in `exitCode`.
    pub(crate) code: i32,
    /// Signal that ended the container.
    pub(crate) signal: Option<i32>,
    /// `Completed`, `Error`, `ContainerCannotRun`, …
    pub(crate) reason: String,
    /// Content of the termination log, or the reason why the container could not run.
    pub(crate) message: Option<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
    /// `pocket://…`
    pub(crate) container_id: Option<String>,
}

impl Ended {
    /// Converts a runtime's answer.
    pub(crate) fn new(
        exit: Exit,
        started: Timestamp,
        finished: Timestamp,
        container_id: String,
        message: Option<String>,
    ) -> Self {
        Self {
            code: exit.code(),
            signal: match exit {
                Exit::Signal(signal) => Some(signal),
                Exit::Code(_) => None,
            },
            reason: if exit.code() == 0 { "Completed" } else { "Error" }.into(),
            message,
            started: Some(started),
            finished,
            container_id: Some(container_id),
        }
    }
}

/// State of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Not running (yet, or at the moment).
    Waiting {
        /// `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff`, `ImagePullBackOff`, …
        reason: String,
        /// Details of the reason.
        message: Option<String>,
    },
    Running {
        /// Start of the run.
        since: Timestamp,
    },
    Ended(Ended),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// Image, as the pod names it.
    pub(crate) image: String,
    /// Native sidecar: an init container that runs beside the others.
    pub(crate) sidecar: bool,
    pub(crate) state: RunState,
    /// End of the previous run.
    pub(crate) last: Option<Ended>,
    /// Number of restarts.
    pub(crate) restarts: i32,
    /// Readiness, as probed.
    pub(crate) ready: bool,
    /// Container runs and has passed its startup probe and its postStart hook.
    pub(crate) started: bool,
    /// `sha256:…`
    pub(crate) image_id: String,
    /// `pocket://…`
    pub(crate) container_id: Option<String>,
}

/// State of the pod; containers are in the order of its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Time at which the kubelet accepted the pod.
    pub(crate) start_time: Option<Timestamp>,
    /// IP address; unset without a sandbox.
    pub(crate) ip: Option<Ipv4Addr>,
    /// Sandbox exists.
    pub(crate) sandbox: bool,
    pub(crate) init: Vec<Slot>,
    pub(crate) apps: Vec<Slot>,
    /// All init containers have completed (sidecars: have started).
    pub(crate) initialized: bool,
    /// Reason and message of a pod that has failed as a whole.
    pub(crate) failed: Option<(String, String)>,
    /// No container will be started any more.
    pub(crate) over: bool,
}

/// Index of a container in the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Init(usize),
    App(usize),
}

/// Shared view of a pod, with notifications.
#[derive(Debug)]
pub(crate) struct Tracker {
    view: Mutex<View>,
    /// Notified on every change, for the one task that writes the status.
    pub(crate) writer: Notify,
    /// Notified on every change, for the one task that leads the pod.
    pub(crate) leader: Notify,
    /// Notified on every change, for all log followers.
    pub(crate) log_followers: Notify,
}

impl Tracker {
    /// Creates the tracker of a pod. After a restart of the node it starts from the status that the former run left.
    pub(crate) fn new(pod: &Pod, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        let slots = |containers: &[k8s_openapi::api::core::v1::Container],
                     former: &Option<Vec<ContainerStatus>>,
                     reason: &str| {
            containers
                .iter()
                .map(|container| {
                    let before = former.iter().flatten().find(|status| status.name == container.name);
                    slot(container, before, reason, now)
                })
                .collect::<Vec<_>>()
        };
        let init = spec.init_containers.unwrap_or_default();
        let apps_wait = if init.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let view = View {
            start_time: status.start_time.as_ref().map(|time| time.0).or(Some(now)),
            init: slots(&init, &status.init_container_statuses, "PodInitializing"),
            apps: slots(&spec.containers, &status.container_statuses, apps_wait),
            initialized: init.is_empty(),
            ..View::default()
        };
        Self { view: Mutex::new(view), writer: Notify::new(), leader: Notify::new(), log_followers: Notify::new() }
    }

    pub(crate) fn read(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }

    /// Changes the view, and notifies all tasks that wait for a change.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let answer = change(&mut lock(&self.view));
        self.writer.notify_one();
        self.leader.notify_one();
        self.log_followers.notify_waiters();
        answer
    }

    pub(crate) fn slot<T>(&self, place: Place, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.update(|view| view.slot(place).map(change))
    }
}

impl View {
    pub(crate) fn slot(&mut self, place: Place) -> Option<&mut Slot> {
        match place {
            Place::Init(index) => self.init.get_mut(index),
            Place::App(index) => self.apps.get_mut(index),
        }
    }
}

fn slot(
    container: &k8s_openapi::api::core::v1::Container,
    before: Option<&ContainerStatus>,
    reason: &str,
    now: Timestamp,
) -> Slot {
    let mut slot = Slot {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        sidecar: container.restart_policy.as_deref() == Some("Always"),
        state: RunState::Waiting { reason: reason.into(), message: None },
        last: None,
        restarts: 0,
        ready: false,
        started: false,
        image_id: String::new(),
        container_id: None,
    };
    let Some(before) = before else {
        return slot;
    };
    slot.restarts = before.restart_count;
    slot.image_id.clone_from(&before.image_id);
    let state = before.state.clone().unwrap_or_default();
    let last =
        before.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| read_terminated(end, now));
    // Containers do not outlive the node's process. A container that ran ended with it, unobserved.
    slot.last = match state {
        ContainerState { running: Some(running), .. } => Some(Ended {
            code: 255,
            signal: None,
            reason: "Unknown".into(),
            message: Some("the node was stopped while the container ran".into()),
            started: running.started_at.map(|time| time.0),
            finished: now,
            container_id: before.container_id.clone(),
        }),
        ContainerState { terminated: Some(end), .. } => {
            let end = read_terminated(&end, now);
            slot.state = RunState::Ended(end.clone());
            slot.container_id.clone_from(&end.container_id);
            last
        }
        _ => last,
    };
    slot
}

fn read_terminated(end: &ContainerStateTerminated, now: Timestamp) -> Ended {
    Ended {
        code: end.exit_code,
        signal: end.signal,
        reason: end.reason.clone().unwrap_or_default(),
        message: end.message.clone(),
        started: end.started_at.as_ref().map(|time| time.0),
        finished: end.finished_at.as_ref().map_or(now, |time| time.0),
        container_id: end.container_id.clone(),
    }
}
