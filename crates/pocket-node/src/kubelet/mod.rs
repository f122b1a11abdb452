//! The kubelet: takes the pods of its node, runs their containers, keeps their status.
//!
//! One task leads a pod through its life ([`pod`]), one task runs each container ([`container`]); both put what happens on the
//! pod's [`board`], from which one writer per pod derives the status and writes it when it changed.
//! It also binds pods that wait for a node, because there is only this one.

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
mod scheduler;
mod status;
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

use k8s_openapi::api::core::v1::{Binding, ConfigMap, Node, ObjectReference, Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::watcher,
};
use serde_json::json;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    pod::{PodContext, Update},
    scheduler::{Decision, NodeView},
};
use crate::{
    cluster::Cluster,
    env::Source,
    events::{Recorder, Severity, pod_reference},
    net::NodeNet,
    runtime::Runtime,
    sync::lock,
    watch::{Change, Key, follow},
};

pub use access::{Access, AccessError};
pub use logs::LogQuery;

/// In whose name pods are bound.
const SCHEDULER: &str = "default-scheduler";

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

/// Gives every pod its task, and pods without a node the node.
struct Dispatch<R: Runtime> {
    shared: Arc<Shared<R>>,
    tasks: TaskTracker,
    /// By namespace and name.
    pods: HashMap<Key, Entry>,
    /// Pods that did not fit, until the node or they change; with what was said about it.
    waiting: HashMap<Key, (Arc<Pod>, String)>,
    node: Option<NodeView>,
}

struct Entry {
    uid: String,
    updates: watch::Sender<Update>,
}

enum Input {
    Pod(Box<Change<Pod>>),
    Node(Box<Change<Node>>),
}

impl<R: Runtime> Dispatch<R> {
    fn new(shared: Arc<Shared<R>>, tasks: TaskTracker) -> Self {
        Self { shared, tasks, pods: HashMap::new(), waiting: HashMap::new(), node: None }
    }

    async fn run(mut self) {
        let (sender, mut inputs) = mpsc::unbounded_channel();
        let client = self.shared.client.clone();
        let to = sender.clone();
        let pods = follow(Api::<Pod>::all(client.clone()), watcher::Config::default(), move |change| {
            // The receiver lives as long as this future.
            let _ = to.send(Input::Pod(Box::new(change)));
        });
        let field = format!("metadata.name={}", self.shared.config.node_name);
        let nodes = follow(Api::<Node>::all(client), watcher::Config::default().fields(&field), move |change| {
            let _ = sender.send(Input::Node(Box::new(change)));
        });
        let inputs = async {
            while let Some(input) = inputs.recv().await {
                match input {
                    Input::Pod(change) => match *change {
                        Change::Put(pod) => self.put(Arc::new(pod)),
                        Change::Gone(key) => self.gone(&key),
                        Change::Synced => self.clean(),
                    },
                    Input::Node(change) => match *change {
                        Change::Put(node) => self.put_node(Some(NodeView::of(&node))),
                        Change::Gone(_) => self.put_node(None),
                        Change::Synced => {}
                    },
                }
            }
        };
        tokio::join!(pods, nodes, inputs);
    }

    fn put(&mut self, pod: Arc<Pod>) {
        let key = Key::of(&*pod);
        let uid = pod.uid().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        if self.pods.get(&key).is_some_and(|entry| entry.uid != uid) {
            // Deleted and made again between two looks.
            self.gone(&key);
        }
        if node.is_empty() {
            return self.schedule(key, pod);
        }
        self.waiting.remove(&key);
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
        self.waiting.remove(key);
        if let Some(entry) = self.pods.remove(key) {
            entry.updates.send_modify(|update| update.gone = true);
        }
    }

    fn put_node(&mut self, node: Option<NodeView>) {
        if self.node == node {
            return;
        }
        self.node = node;
        for (key, (pod, _)) in self.waiting.clone() {
            self.schedule(key, pod);
        }
    }

    fn schedule(&mut self, key: Key, pod: Arc<Pod>) {
        let said = self.waiting.remove(&key).map(|(_, said)| said);
        let (reason, message) = match scheduler::decide(&pod, self.node.as_ref()) {
            Decision::NotOurs => return,
            Decision::Bind => {
                self.tasks.spawn(bind(self.shared.clone(), pod));
                return;
            }
            Decision::Gated => {
                ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates".to_owned())
            }
            Decision::Unschedulable(why) => ("Unschedulable", why),
        };
        if said.as_ref() != Some(&message) {
            self.tasks.spawn(report_unscheduled(self.shared.clone(), pod.clone(), reason, message.clone()));
        }
        self.waiting.insert(key, (pod, message));
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

async fn bind<R: Runtime>(shared: Arc<Shared<R>>, pod: Arc<Pod>) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let mut delay = backoff::Doubling::setup();
    let binding = Binding {
        metadata: kube::api::ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: pod.uid(),
            ..Default::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(shared.config.node_name.clone()),
            ..ObjectReference::default()
        },
    };
    loop {
        let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &namespace);
        let answer: Result<serde_json::Value, _> =
            pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        match answer {
            Ok(_) => {
                let message = format!("Successfully assigned {namespace}/{name} to {}", shared.config.node_name);
                let events = shared.events.named(SCHEDULER);
                events.record(pod_reference(&pod, None), Severity::Normal, "Scheduled", message);
                return;
            }
            // Gone, bound already, or another pod of that name: the watch will tell.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(pod = %format_args!("{namespace}/{name}"), %error, "binding failed");
                tokio::select! {
                    () = tokio::time::sleep(delay.delay()) => {}
                    () = shared.shutdown.cancelled() => return,
                }
            }
        }
    }
}

async fn report_unscheduled<R: Runtime>(shared: Arc<Shared<R>>, pod: Arc<Pod>, reason: &'static str, message: String) {
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &pod.namespace().unwrap_or_default());
    let old = pod.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    let told = old.iter().any(|condition| {
        condition.type_ == "PodScheduled"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_ref() == Some(&message)
    });
    if told {
        return;
    }
    let mut conditions: Vec<_> = old
        .into_iter()
        .filter(|condition| condition.type_ != "PodScheduled")
        .map(|condition| json!(condition))
        .collect();
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now());
    conditions.push(json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastTransitionTime": now,
    }));
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Pending", "conditions": conditions}});
    if let Err(error) = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        tracing::debug!(%error, "condition of an unscheduled pod not written");
    }
    if reason == "Unschedulable" {
        let events = shared.events.named(SCHEDULER);
        events.record(pod_reference(&pod, None), Severity::Warning, "FailedScheduling", message);
    }
}
