//! The kubelet: takes the pods of its node, runs their containers, keeps their status.
//!
//! One task leads a pod through its life ([`pod`]), one task runs each container ([`container`]); both put what happens on the
//! pod's [`board`], from which one writer per pod derives the status and writes it when it changed.

mod access;
mod backoff;
mod board;
mod container;
#[cfg(test)]
mod fake;
mod lifecycle;
mod logs;
mod pod;
mod prepare;
mod qos;
mod status;
mod termination;
#[cfg(test)]
mod tests;
mod token;
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

use self::pod::{PodContext, Update};
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

/// What the kubelet has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of its Node object, which others make.
    pub node_name: String,
    /// Where volumes and logs live. Nobody else writes there.
    pub state_dir: PathBuf,
    /// Address of the cluster's DNS server.
    pub cluster_dns: Ipv4Addr,
    /// Usually `cluster.local`.
    pub cluster_domain: String,
    /// Where pods' host ports are opened on the host.
    pub host_ip: Ipv4Addr,
    /// What pods with `dnsPolicy: Default` get, usually the text of the host's `/etc/resolv.conf`.
    pub host_resolv_conf: String,
    /// At most so long may a pod take to end when the node shuts down.
    pub shutdown_grace: Duration,
    /// The node's processors, for `resourceFieldRef`.
    pub cpus: u32,
    /// The node's memory in bytes, for `resourceFieldRef`.
    pub memory: u64,
}

/// The kubelet.
pub struct Kubelet<R: Runtime> {
    shared: Arc<Shared<R>>,
    events: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What all of the kubelet's tasks use.
pub(crate) struct Shared<R: Runtime> {
    client: Client,
    runtime: R,
    net: NodeNet,
    cluster: Arc<Cluster>,
    config: Config,
    events: Recorder,
    /// By namespace and name: the pods that have a task.
    pods: Mutex<HashMap<Key, Arc<PodContext<R>>>>,
    /// Namespaces and names of ConfigMaps and Secrets that changed.
    changes: broadcast::Sender<(String, Source)>,
    shutdown: CancellationToken,
}

impl<R: Runtime> Kubelet<R> {
    /// A kubelet that runs pods with a runtime. `cluster` must be kept up to date by somebody ([`Cluster::run`]).
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

    /// Logs, exec and port-forward for the API server.
    pub fn access(&self) -> Access<R> {
        Access::new(self.shared.clone())
    }

    /// Runs until the shutdown, and then until all containers have ended. Objects in the API stay as they are then.
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
        // The last of the shared state, and so of the recorder, may be held by an Access.
        events.abort();
    }
}

/// Tells pods of ConfigMaps and Secrets that changed. Only metadata is watched: who shows an object fetches it.
async fn follow_objects<R: Runtime>(shared: &Shared<R>) {
    let tell = |namespace: String, source: Source| {
        // Nobody listens: no pod shows an object.
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

/// Gives every pod of the node its task.
struct Dispatch<R: Runtime> {
    shared: Arc<Shared<R>>,
    tasks: TaskTracker,
    /// By namespace and name.
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
            // Deleted and made again between two looks.
            self.gone(&key);
        }
        if node != self.shared.config.node_name {
            return;
        }
        if let Some(entry) = self.pods.get(&key) {
            if let Some(context) = lock(&self.shared.pods).get(&key).filter(|context| context.uid == uid) {
                context.latest(pod.clone());
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

    /// What pods left that are no more, in a former life of the node.
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
