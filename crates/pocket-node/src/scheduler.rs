//! Scheduler: binds pods to nodes, and reports why a pod fits nowhere, in kube-scheduler's own sentences.
//!
//! Applies the filters of kube-scheduler's default plugins, in their order (`filter`): cordons, taints, node
//! selectors and affinity, host ports, requests of resources, topology spread, affinity and anti-affinity of pods. Nothing is
//! scored: of several nodes that fit, the first by name is taken. Pods are never preempted.
//!
//! A pod that fits nowhere waits, and is tried again whenever a pod, a node or a namespace has changed.

mod affinity;
mod filter;
mod labels;
mod node;
mod pod;
mod ports;
mod report;
mod resources;
mod spread;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{Api, Client, ResourceExt, core::PartialObjectMeta, runtime::watcher};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    filter::Snapshot,
    node::NodeView,
    pod::PodView,
    report::{Refusal, Writer},
};
use crate::{
    events::Recorder,
    watch::{Change, Key, follow},
};

pub(crate) use {
    node::unsupported,
    ports::{HostPort, of as host_ports},
};

/// Name by which pods select this scheduler. Its events carry the name, too.
pub(crate) const NAME: &str = "default-scheduler";

pub struct Scheduler {
    client: Client,
    host: String,
}

impl Scheduler {
    /// Creates a scheduler for the pods of a cluster. Events carry the host's name.
    pub fn new(client: Client, host: impl Into<String>) -> Self {
        Self { client, host: host.into() }
    }

    /// Runs until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let (events, recording) = Recorder::new(self.client.clone(), NAME, self.host);
        let (sender, inputs) = mpsc::unbounded_channel();
        let writer = Writer { client: self.client.clone(), events, shutdown: shutdown.clone() };
        let queue = Queue {
            snapshot: Snapshot::default(),
            waiting: HashMap::new(),
            assumed: HashMap::new(),
            synced: Synced::default(),
            writer,
            tasks: TaskTracker::new(),
            inputs: sender.clone(),
        };
        tokio::select! {
            () = queue.run(inputs) => {}
            () = watch(self.client, sender) => {}
            () = recording => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Input of the scheduler's queue.
enum Input {
    Pod(Box<Change<Pod>>),
    Node(Box<Change<Node>>),
    Namespace(Box<Change<PartialObjectMeta<Namespace>>>),
    /// A pod could not be bound: its key and UID.
    NotBound(Key, String),
}

/// Watches everything that placing a pod depends on.
async fn watch(client: Client, inputs: mpsc::UnboundedSender<Input>) {
    let send = |input| {
        // The receiver lives as long as this future.
        let _ = inputs.send(input);
    };
    let config = watcher::Config::default;
    let pods = follow(Api::<Pod>::all(client.clone()), config(), |change| send(Input::Pod(Box::new(change))));
    let nodes = follow(Api::<Node>::all(client.clone()), config(), |change| send(Input::Node(Box::new(change))));
    let namespaces = follow(Api::<PartialObjectMeta<Namespace>>::all(client), config(), |change| {
        send(Input::Namespace(Box::new(change)));
    });
    tokio::join!(pods, nodes, namespaces);
}

/// Kinds that have been listed. Nothing is decided before all are: no pod may be refused because the nodes were not listed yet.
#[derive(Default)]
struct Synced {
    pods: bool,
    nodes: bool,
    namespaces: bool,
}

/// Pod without a node.
struct Waiting {
    pod: Arc<Pod>,
    view: PodView,
    /// Refusal that was reported last for the pod.
    said: Option<Refusal>,
}

/// Pods that wait for a node.
struct Queue {
    snapshot: Snapshot,
    waiting: HashMap<Key, Waiting>,
    /// UIDs of pods that are being bound and count as bound already.
    assumed: HashMap<Key, String>,
    synced: Synced,
    writer: Writer,
    tasks: TaskTracker,
    inputs: mpsc::UnboundedSender<Input>,
}

impl Queue {
    async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        while let Some(input) = inputs.recv().await {
            self.take(input);
            while let Ok(input) = inputs.try_recv() {
                self.take(input);
            }
            if self.synced.pods && self.synced.nodes && self.synced.namespaces {
                self.place();
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Pod(change) => match *change {
                Change::Put(pod) => self.put(Arc::new(pod)),
                Change::Gone(key) => self.forget(&key),
                Change::Synced => self.synced.pods = true,
            },
            Input::Node(change) => match *change {
                Change::Put(node) => {
                    self.snapshot.nodes.insert(node.name_any(), NodeView::of(&node));
                }
                Change::Gone(key) => {
                    self.snapshot.nodes.remove(&key.name);
                }
                Change::Synced => self.synced.nodes = true,
            },
            Input::Namespace(change) => match *change {
                Change::Put(namespace) => {
                    self.snapshot.namespaces.insert(namespace.name_any(), namespace.labels().clone());
                }
                Change::Gone(key) => {
                    self.snapshot.namespaces.remove(&key.name);
                }
                Change::Synced => self.synced.namespaces = true,
            },
            Input::NotBound(key, uid) => {
                if self.assumed.get(&key) == Some(&uid) {
                    self.forget(&key);
                }
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.remove(key);
        self.assumed.remove(key);
        self.snapshot.pods.remove(key);
    }

    fn put(&mut self, pod: Arc<Pod>) {
        let key = Key::of(&*pod);
        let view = PodView::of(&pod);
        if view.ended {
            return self.forget(&key);
        }
        if view.node.is_some() {
            self.forget(&key);
            self.snapshot.pods.insert(key, Arc::new(view));
            return;
        }
        let uid = pod.uid().unwrap_or_default();
        if self.assumed.get(&key).is_some_and(|assumed| *assumed == uid) {
            // The binding is under way.
            return;
        }
        let said =
            self.waiting.remove(&key).filter(|former| former.view.uid == view.uid).and_then(|former| former.said);
        self.forget(&key);
        if view.ours {
            self.waiting.insert(key, Waiting { pod, view, said });
        }
    }

    /// Tries to place every waiting pod: the highest priority first, then the oldest.
    fn place(&mut self) {
        let mut order: Vec<_> = self
            .waiting
            .iter()
            .map(|(key, waiting)| (Reverse(waiting.view.priority), waiting.view.created, key.clone()))
            .collect();
        order.sort();
        for (_, _, key) in order {
            let Some(waiting) = self.waiting.get_mut(&key) else { continue };
            let refusal = if waiting.view.gated {
                Refusal::gated()
            } else {
                match self.snapshot.place(&waiting.view) {
                    Ok(node) => {
                        self.bind(key, node);
                        continue;
                    }
                    Err(sentence) => Refusal::unschedulable(sentence),
                }
            };
            if waiting.said.as_ref() != Some(&refusal) {
                waiting.said = Some(refusal.clone());
                let (writer, pod) = (self.writer.clone(), waiting.pod.clone());
                self.tasks.spawn(async move { writer.refuse(&pod, &refusal).await });
            }
        }
    }

    fn bind(&mut self, key: Key, node: String) {
        let Some(Waiting { pod, mut view, .. }) = self.waiting.remove(&key) else { return };
        let uid = view.uid.clone();
        view.node = Some(node.clone());
        self.snapshot.pods.insert(key.clone(), Arc::new(view));
        self.assumed.insert(key.clone(), uid.clone());
        let (writer, inputs) = (self.writer.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            if !writer.bind(&pod, &node).await {
                // The queue may have ended already.
                let _ = inputs.send(Input::NotBound(key, uid));
            }
        });
    }
}

type Labels = BTreeMap<String, String>;
