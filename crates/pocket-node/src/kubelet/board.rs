//! What the kubelet knows of one pod at this moment. Container tasks write to it; the status writer reads it.

use std::{
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use tokio::sync::Notify;

use crate::{runtime::Exit, sync::lock};

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// As `exitCode`.
    pub(crate) code: i32,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// `Completed`, `Error`, `ContainerCannotRun`, …
    pub(crate) reason: String,
    /// What it left in its termination log, or why it could not run.
    pub(crate) message: Option<String>,
    /// When it was started.
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    pub(crate) finished: Timestamp,
    /// `pocket://…`
    pub(crate) container_id: Option<String>,
}

impl Ended {
    /// From a runtime's answer.
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

/// Where a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not running (yet, or for now).
    Waiting {
        /// `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff`, `ImagePullBackOff`, …
        reason: String,
        /// More about it.
        message: Option<String>,
    },
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Ended.
    Ended(Ended),
}

/// One container of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Name.
    pub(crate) name: String,
    /// Image, as the pod names it.
    pub(crate) image: String,
    /// A native sidecar: an init container that runs beside the others.
    pub(crate) sidecar: bool,
    /// Where it is.
    pub(crate) state: State,
    /// How it ended the time before.
    pub(crate) last: Option<Ended>,
    /// How often it was restarted.
    pub(crate) restarts: i32,
    /// Readiness, as probed.
    pub(crate) ready: bool,
    /// Runs and has passed its startup probe and its postStart hook.
    pub(crate) started: bool,
    /// `sha256:…`
    pub(crate) image_id: String,
    /// `pocket://…`
    pub(crate) container_id: Option<String>,
}

/// The pod, by the containers' order in its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// When the kubelet took the pod.
    pub(crate) start_time: Option<Timestamp>,
    /// Its address; unset without a sandbox.
    pub(crate) ip: Option<Ipv4Addr>,
    /// The sandbox stands.
    pub(crate) sandbox: bool,
    /// Init containers.
    pub(crate) init: Vec<Slot>,
    /// Containers.
    pub(crate) apps: Vec<Slot>,
    /// All init containers are through (sidecars: started).
    pub(crate) initialized: bool,
    /// The pod has failed as a whole: reason and message.
    pub(crate) failed: Option<(String, String)>,
    /// No container will be started any more.
    pub(crate) over: bool,
}

/// Index of a container on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// An init container.
    Init(usize),
    /// A container.
    App(usize),
}

/// The view, shared, with a bell.
#[derive(Debug)]
pub(crate) struct Board {
    view: Mutex<View>,
    /// Rung on every change for the one task that writes the status.
    pub(crate) changed: Notify,
    /// Rung on every change for the one task that leads the pod.
    pub(crate) progressed: Notify,
    /// Rung on every change for anybody who follows a log.
    pub(crate) told: Notify,
}

impl Board {
    /// For a pod as its object says; after a restart of the node with what the former run has left in the status.
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
        Self { view: Mutex::new(view), changed: Notify::new(), progressed: Notify::new(), told: Notify::new() }
    }

    /// Reads.
    pub(crate) fn read(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }

    /// Changes the pod.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let answer = change(&mut lock(&self.view));
        self.changed.notify_one();
        self.progressed.notify_one();
        self.told.notify_waiters();
        answer
    }

    /// Changes a container.
    pub(crate) fn slot<T>(&self, place: Place, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.update(|view| view.slot(place).map(change))
    }
}

impl View {
    /// A container.
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
        state: State::Waiting { reason: reason.into(), message: None },
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
    let last = before.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| ended(end, now));
    // Containers do not outlive the node's process. One that ran was ended with it, which nobody saw.
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
            let end = ended(&end, now);
            slot.state = State::Ended(end.clone());
            slot.container_id.clone_from(&end.container_id);
            last
        }
        _ => last,
    };
    slot
}

fn ended(end: &ContainerStateTerminated, now: Timestamp) -> Ended {
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
