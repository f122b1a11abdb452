//! Kubelet: takes the pods of its node, runs their containers, keeps their status.
//!
//! One task leads a pod through its life (`pod`), and one task runs each container (`container`). Both record what happens
//! in the pod's `tracker`. One writer per pod derives the status from it and writes it when it changed.

mod access;
mod backoff;
mod container;
#[cfg(test)]
mod fake;
mod lifecycle;
mod logs;
mod pod;
mod pod_context;
mod prepare;
mod status;
mod termination;
#[cfg(test)]
mod tests;
mod token;
mod tracker;
mod writer;

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, Client, ResourceExt, core::PartialObjectMeta, runtime::watcher};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{pod::Update, pod_context::PodContext};
use crate::{
    cluster::Cluster,
    env::Source,
    events::Recorder,
    net::NodeNet,
    runtime::Runtime,
    sync::lock,
    watch::{Change, Key, follow},
};

pub use access::{Access, AccessError};
pub use logs::LogQuery;

/// Settings of the kubelet.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the Node object, which another component creates.
    pub node_name: String,
    /// Directory of volumes and logs. No other component writes there.
    pub state_dir: PathBuf,
    /// Address of the cluster's DNS server.
    pub cluster_dns: Ipv4Addr,
    /// Cluster domain, usually `cluster.local`.
    pub cluster_domain: String,
    /// Host address at which pods' host ports are opened.
    pub host_ip: Ipv4Addr,
    /// Resolver configuration for pods with `dnsPolicy: Default`, usually the text of the host's `/etc/resolv.conf`.
    pub host_resolv_conf: String,
    /// Limit of a pod's termination when the node shuts down.
    pub shutdown_grace: Duration,
    /// Processors of the node, for `resourceFieldRef`.
    pub cpus: u32,
    /// Memory of the node in bytes, for `resourceFieldRef`.
    pub memory: u64,
}

pub struct Kubelet<R: Runtime> {
    shared: Arc<Shared<R>>,
    events: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// State that all of the kubelet's tasks share.
pub(crate) struct Shared<R: Runtime> {
    client: Client,
    runtime: R,
    net: NodeNet,
    cluster: Arc<Cluster>,
    config: Config,
    events: Recorder,
    /// Pods that have a task.
    pods: Mutex<HashMap<Key, Arc<PodContext<R>>>>,
    /// Namespaces and names of ConfigMaps and Secrets that changed.
    changes: broadcast::Sender<(String, Source)>,
    shutdown: CancellationToken,
}

impl<R: Runtime> Kubelet<R> {
    /// Creates a kubelet that runs pods with a runtime. The caller must keep `cluster` up to date ([`Cluster::run`]).
    pub fn new(client: Client, runtime: R, net: NodeNet, cluster: Arc<Cluster>, config: Config) -> Self {
        let (events, writer) = Recorder::new(client.clone(), "kubelet", config.node_name.clone());
        let shared = Arc::new(Shared {
            client,
            runtime,
            net,
            cluster,
            config,
            events,
            pods: Mutex::default(),
            changes: broadcast::channel(64).0,
            shutdown: CancellationToken::new(),
        });
        Self { shared, events: Box::pin(writer) }
    }

    /// Returns the access to logs, exec and port-forward for the API server.
    pub fn access(&self) -> Access<R> {
        Access::new(self.shared.clone())
    }

    /// Runs until shutdown, and then until all containers have ended. Objects in the API keep the state they have at the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { shared, events } = self;
        let events = tokio::spawn(events);
        let pods = TaskTracker::new();
        tokio::select! {
            () = Dispatch::new(shared.clone(), pods.clone()).run() => {}
            () = follow_objects(&shared) => {}
            () = shutdown.cancelled() => {}
        }
        shared.shutdown.cancel();
        pods.close();
        pods.wait().await;
        // An `Access` may hold the last reference to the shared state, and so to the recorder.
        events.abort();
    }
}

/// Notifies pods of ConfigMaps and Secrets that changed. Only metadata is watched: a pod that shows an object fetches it.
async fn follow_objects<R: Runtime>(shared: &Shared<R>) {
    let tell = |namespace: String, source: Source| {
        // Fails when no pod shows an object: then there is no receiver.
        let _ = shared.changes.send((namespace, source));
    };
    let maps =
        follow(Api::<PartialObjectMeta<ConfigMap>>::all(shared.client.clone()), watcher::Config::default(), |change| {
            match change {
                Change::Put(map) => tell(map.namespace().unwrap_or_default(), Source::ConfigMap(map.name_any())),
                Change::Gone(key) => tell(key.namespace, Source::ConfigMap(key.name)),
                Change::Synced => {}
            }
        });
    let secrets =
        follow(Api::<PartialObjectMeta<Secret>>::all(shared.client.clone()), watcher::Config::default(), |change| {
            match change {
                Change::Put(secret) => tell(secret.namespace().unwrap_or_default(), Source::Secret(secret.name_any())),
                Change::Gone(key) => tell(key.namespace, Source::Secret(key.name)),
                Change::Synced => {}
            }
        });
    tokio::join!(maps, secrets);
}

/// Starts a task for every pod of the node.
struct Dispatch<R: Runtime> {
    shared: Arc<Shared<R>>,
    tasks: TaskTracker,
    pods: HashMap<Key, Entry>,
}

struct Entry {
    uid: String,
    updates: watch::Sender<Update>,
}

impl<R: Runtime> Dispatch<R> {
    fn new(shared: Arc<Shared<R>>, tasks: TaskTracker) -> Self {
        Self { shared, tasks, pods: HashMap::new() }
    }

    async fn run(mut self) {
        let (sender, mut changes) = mpsc::unbounded_channel();
        let pods = follow(Api::<Pod>::all(self.shared.client.clone()), watcher::Config::default(), move |change| {
            // The receiver lives as long as this future.
            let _ = sender.send(change);
        });
        let changes = async {
            while let Some(change) = changes.recv().await {
                match change {
                    Change::Put(pod) => self.put(Arc::new(pod)),
                    Change::Gone(key) => self.gone(&key),
                    Change::Synced => self.clean(),
                }
            }
        };
        tokio::join!(pods, changes);
    }

    fn put(&mut self, pod: Arc<Pod>) {
        let key = Key::of(&*pod);
        let uid = pod.uid().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        if self.pods.get(&key).is_some_and(|entry| entry.uid != uid) {
            // The pod was deleted and created again between two events.
            self.gone(&key);
        }
        if node != self.shared.config.node_name {
            return;
        }
        if let Some(entry) = self.pods.get(&key) {
            if let Some(context) = lock(&self.shared.pods).get(&key).filter(|context| context.uid == uid) {
                context.set_latest(pod.clone());
            }
            entry.updates.send_replace(Update { pod, gone: false });
            return;
        }
        let (updates, receiver) = watch::channel(Update { pod: pod.clone(), gone: false });
        let context = Arc::new(PodContext::new(self.shared.clone(), key.clone(), pod));
        lock(&self.shared.pods).insert(key.clone(), context.clone());
        self.pods.insert(key, Entry { uid, updates });
        self.tasks.spawn(pod::run(context, receiver));
    }

    fn gone(&mut self, key: &Key) {
        if let Some(entry) = self.pods.remove(key) {
            entry.updates.send_modify(|update| update.gone = true);
        }
    }

    /// Removes the directories of pods that no longer exist, left by a former run of the node.
    fn clean(&self) {
        let uids: Vec<&str> = self.pods.values().map(|entry| entry.uid.as_str()).collect();
        let state = &self.shared.config.state_dir;
        for dir in ["pods", "logs"] {
            for entry in std::fs::read_dir(state.join(dir)).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let of = name.rsplit('_').next().unwrap_or_default();
                if !uids.contains(&of) {
                    pod::remove_dir(&entry.path());
                }
            }
        }
    }
}
