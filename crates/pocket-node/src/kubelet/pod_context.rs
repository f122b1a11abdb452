//! State that the tasks of one pod share.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as ContainerDef, ObjectReference, Pod};
use kube::ResourceExt;
use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    status::RestartPolicy,
    tracker::{Place, Tracker},
};
use crate::{
    downward::NodeFacts,
    env::Source,
    events::{Severity, pod_reference},
    proxy::host_port::HostPorts,
    runtime::Runtime,
    sync::lock,
    watch::Key,
};

/// State that the tasks of one pod share.
pub(crate) struct PodContext<R: Runtime> {
    pub(super) node: Arc<Shared<R>>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) tracker: Tracker,
    latest: Mutex<Arc<Pod>>,
    /// Pod as it is run, with the kubelet's additions.
    pub(super) effective: Mutex<Arc<Pod>>,
    /// Running containers by name.
    pub(super) running: Mutex<HashMap<String, Arc<R::Container>>>,
    /// Directory of each volume on the node.
    pub(super) volumes: Mutex<BTreeMap<String, PathBuf>>,
    /// Host ports, while the sandbox exists.
    pub(super) host_ports: Mutex<Option<HostPorts>>,
    /// Notified when a new state of the object was stored.
    pub(super) updated: Notify,
    /// Cancelled when no status may be written any more.
    pub(super) silent: CancellationToken,
}

impl<R: Runtime> PodContext<R> {
    pub(super) fn new(node: Arc<Shared<R>>, key: Key, pod: Arc<Pod>) -> Self {
        Self {
            node,
            key,
            uid: pod.uid().unwrap_or_default(),
            tracker: Tracker::new(&pod, Timestamp::now()),
            latest: Mutex::new(pod.clone()),
            effective: Mutex::new(pod),
            running: Mutex::default(),
            volumes: Mutex::default(),
            host_ports: Mutex::default(),
            updated: Notify::new(),
            silent: CancellationToken::new(),
        }
    }

    /// Returns the object as last seen.
    pub(super) fn pod(&self) -> Arc<Pod> {
        lock(&self.latest).clone()
    }

    /// Stores the newest state of the object.
    pub(super) fn set_latest(&self, pod: Arc<Pod>) {
        *lock(&self.latest) = pod;
        self.tracker.writer.notify_one();
        self.updated.notify_one();
    }

    pub(super) fn is_silent(&self) -> bool {
        // A shutdown ends containers but not pods: they start again with the node. So their end is not written to the status.
        self.silent.is_cancelled() || self.node.shutdown.is_cancelled()
    }

    /// Returns the pod as it is run.
    pub(super) fn effective(&self) -> Arc<Pod> {
        lock(&self.effective).clone()
    }

    /// Returns a container's definition.
    pub(super) fn definition(&self, place: Place) -> Option<ContainerDef> {
        let pod = self.effective();
        let spec = pod.spec.as_ref()?;
        match place {
            Place::Init(index) => spec.init_containers.as_ref()?.get(index).cloned(),
            Place::App(index) => spec.containers.get(index).cloned(),
        }
    }

    /// Returns the directory of the pod's volumes and files.
    pub(super) fn dir(&self) -> PathBuf {
        self.node.config.state_dir.join("pods").join(&self.uid)
    }

    /// Returns the directory with a log directory for each container.
    pub(super) fn log_dir(&self) -> PathBuf {
        let name = format!("{}_{}_{}", self.key.namespace, self.key.name, self.uid);
        self.node.config.state_dir.join("logs").join(name)
    }

    pub(super) fn facts(&self) -> NodeFacts {
        NodeFacts {
            host_ip: self.node.net.node_ip,
            pod_ip: self.tracker.read().ip,
            cpus: self.node.config.cpus,
            memory: self.node.config.memory,
        }
    }

    pub(super) fn event(&self, severity: Severity, reason: &'static str, message: impl Into<String>) {
        self.node.events.record(pod_reference(&self.pod(), None), severity, reason, message);
    }

    /// Builds the reference for events about a container.
    pub(super) fn container_reference(&self, name: &str, place: Place) -> ObjectReference {
        pod_reference(&self.pod(), Some((name, matches!(place, Place::Init(_)))))
    }

    /// Returns the pod's host name.
    pub(super) fn hostname(&self) -> String {
        let pod = self.effective();
        let spec = pod.spec.as_ref();
        let mut name = spec.and_then(|spec| spec.hostname.clone()).unwrap_or_else(|| self.key.name.clone());
        // Linux takes 63 bytes at most, and a name is ASCII.
        name.truncate(63);
        name.trim_end_matches(['-', '.']).to_owned()
    }

    /// Returns the policy by which containers are restarted.
    pub(super) fn policy(&self) -> RestartPolicy {
        RestartPolicy::of(&self.pod())
    }

    /// Waits until a ConfigMap or Secret of the pod's namespace has changed: a missing object may exist now.
    pub(super) async fn object_changed(&self, mut changes: broadcast::Receiver<(String, Source)>) {
        loop {
            match changes.recv().await {
                Ok((namespace, _)) if namespace != self.key.namespace => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}
