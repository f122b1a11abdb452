//! Metadata of every object in the cluster: its owners and its finalizers. Kinds are found by discovery, so custom resources
//! are included.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future::join_all};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Discovery, ResourceExt,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    core::discovery::{Scope, verbs},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
};

/// Kind of objects.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

impl Kind {
    /// Returns the API of the kind in a namespace; a cluster-scoped kind ignores the namespace.
    pub(crate) fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }
}

/// Metadata that is kept of an object.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Arc<Kind>,
    pub(crate) uid: String,
    /// Empty for a cluster-scoped object.
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) deleting: bool,
    pub(crate) finalizers: Vec<String>,
}

impl Node {
    pub(crate) fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|have| have == finalizer)
    }

    /// Returns whether a reference in an object of that namespace can mean this object.
    pub(crate) fn may_own(&self, namespace: &str) -> bool {
        !self.kind.namespaced || self.namespace == namespace
    }
}

type Handler = Box<dyn Fn(Option<&Node>, Option<&Node>) + Send + Sync>;

/// Metadata of all objects. Clones share it.
#[derive(Clone)]
pub(crate) struct Objects(Arc<Inner>);

struct Inner {
    client: Client,
    used: AtomicBool,
    state: RwLock<GraphState>,
    handlers: RwLock<Vec<Handler>>,
    rediscover: Notify,
    /// Number of kinds that are not listed yet; `None` before the first discovery.
    missing: watch::Sender<Option<usize>>,
}

#[derive(Default)]
struct GraphState {
    nodes: HashMap<String, Arc<Node>>,
    /// Uids of owned objects, by the uid of the owner.
    owned: HashMap<String, HashSet<String>>,
    kinds: BTreeMap<(String, String), Arc<Kind>>,
}

/// Kinds that change too often and own nothing.
const IGNORED: [&str; 1] = ["Event"];
const RETRY: Duration = Duration::from_secs(1);

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self(Arc::new(Inner {
            client,
            used: AtomicBool::new(false),
            state: RwLock::default(),
            handlers: RwLock::default(),
            rediscover: Notify::new(),
            missing: watch::Sender::new(None),
        }))
    }

    /// Calls a function with the old and the new state of each object that changes.
    pub(crate) fn on_change(&self, handler: impl Fn(Option<&Node>, Option<&Node>) + Send + Sync + 'static) {
        self.0.used.store(true, Ordering::Relaxed);
        self.0.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Waits until all kinds of the first discovery have been listed.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.0.missing.subscribe().wait_for(|missing| *missing == Some(0)).await;
    }

    pub(crate) fn get(&self, uid: &str) -> Option<Arc<Node>> {
        self.state().nodes.get(uid).cloned()
    }

    /// Returns the objects that name an object as their owner.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Arc<Node>> {
        let state = self.state();
        state.owned.get(uid).into_iter().flatten().filter_map(|uid| state.nodes.get(uid).cloned()).collect()
    }

    /// Returns the objects of a namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<Node>> {
        let state = self.state();
        state.nodes.values().filter(|node| node.kind.namespaced && node.namespace == namespace).cloned().collect()
    }

    /// Returns the kinds that can be listed, watched and deleted.
    pub(crate) fn kinds(&self) -> Vec<Arc<Kind>> {
        self.state().kinds.values().cloned().collect()
    }

    /// Returns a kind by the `apiVersion` and `kind` of a reference; the version may be any version of the group.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.state().kinds.get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, GraphState> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut GraphState) -> R) -> R {
        change(&mut self.0.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, kind: &Arc<Kind>, object: &PartialObjectMeta<DynamicObject>) {
        let node = Arc::new(Node {
            kind: kind.clone(),
            uid: object.uid().unwrap_or_default(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            owners: object.owner_references().to_vec(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.finalizers().to_vec(),
        });
        let old = self.change(|state| {
            let old = state.nodes.insert(node.uid.clone(), node.clone());
            state.unlink(old.as_deref());
            for owner in &node.owners {
                state.owned.entry(owner.uid.clone()).or_default().insert(node.uid.clone());
            }
            old
        });
        self.notify(old.as_deref(), Some(&node));
    }

    fn forget(&self, uid: &str) {
        let old = self.change(|state| {
            let old = state.nodes.remove(uid);
            state.unlink(old.as_deref());
            old
        });
        if let Some(old) = old {
            self.notify(Some(&old), None);
        }
    }

    fn notify(&self, old: Option<&Node>, new: Option<&Node>) {
        let definition = |node: &Node| node.kind.resource.kind == "CustomResourceDefinition";
        if old.into_iter().chain(new).any(definition) {
            self.0.rediscover.notify_one();
        }
        for handler in self.0.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(old, new);
        }
    }

    /// Starts discovery and the watches, if they are used.
    pub(crate) fn watch(&self, tasks: &mut JoinSet<()>) {
        if self.0.used.load(Ordering::Relaxed) {
            tasks.spawn(self.clone().discover());
        }
    }

    /// Finds kinds at the start and at each change of a definition, and watches each kind.
    async fn discover(self) {
        let mut tasks = JoinSet::new();
        let mut watched: BTreeMap<(String, String), (String, AbortHandle)> = BTreeMap::new();
        loop {
            let kinds = match self.kinds_now().await {
                Ok(kinds) => kinds,
                Err(error) => {
                    tracing::warn!(%error, "cannot discover the kinds; it is tried again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            let gone: Vec<_> = watched.keys().filter(|key| !kinds.contains_key(*key)).cloned().collect();
            for key in gone {
                if let Some((_, task)) = watched.remove(&key) {
                    task.abort();
                    self.forget_kind(&key);
                }
            }
            self.change(|state| state.kinds.clone_from(&kinds));
            let fresh: Vec<_> = kinds
                .into_iter()
                .filter(|(key, kind)| watched.get(key).is_none_or(|(version, _)| *version != kind.resource.api_version))
                .collect();
            let mut listed = Vec::new();
            for (key, kind) in fresh {
                let (done, waiter) = tokio::sync::oneshot::channel();
                let version = kind.resource.api_version.clone();
                let task = tasks.spawn(self.clone().follow(kind, done));
                if let Some((_, old)) = watched.insert(key, (version, task)) {
                    old.abort();
                }
                listed.push(waiter);
            }
            if self.0.missing.borrow().is_none() {
                self.0.missing.send_replace(Some(listed.len()));
                join_all(listed).await;
                self.0.missing.send_replace(Some(0));
            }
            self.0.rediscover.notified().await;
        }
    }

    async fn kinds_now(&self) -> Result<BTreeMap<(String, String), Arc<Kind>>, kube::Error> {
        let discovery = Discovery::new(self.0.client.clone()).run().await?;
        let mut kinds = BTreeMap::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                let usable =
                    [verbs::LIST, verbs::WATCH, verbs::DELETE].iter().all(|verb| capabilities.supports_operation(verb));
                if usable && !IGNORED.contains(&resource.kind.as_str()) {
                    let key = (resource.group.clone(), resource.kind.clone());
                    kinds.insert(key, Arc::new(Kind { resource, namespaced: capabilities.scope == Scope::Namespaced }));
                }
            }
        }
        Ok(kinds)
    }

    async fn follow(self, kind: Arc<Kind>, listed: tokio::sync::oneshot::Sender<()>) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.0.client.clone(), &kind.resource);
        let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let (mut listed, mut seen) = (Some(listed), HashSet::new());
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => seen.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    seen.insert(object.uid().unwrap_or_default());
                    self.put(&kind, &object);
                }
                Ok(watcher::Event::InitDone) => {
                    let of_kind = |node: &&Arc<Node>| Arc::ptr_eq(&node.kind, &kind) && !seen.contains(&node.uid);
                    let gone: Vec<_> =
                        self.state().nodes.values().filter(of_kind).map(|node| node.uid.clone()).collect();
                    gone.iter().for_each(|uid| self.forget(uid));
                    seen = HashSet::new();
                    if let Some(listed) = listed.take() {
                        // The waiting task may be gone, which is no error.
                        let _ = listed.send(());
                    }
                }
                Ok(watcher::Event::Apply(object)) => self.put(&kind, &object),
                Ok(watcher::Event::Delete(object)) => self.forget(&object.uid().unwrap_or_default()),
                Err(error) => tracing::debug!(kind = %kind.resource.kind, %error, "watch failed; it is tried again"),
            }
        }
    }

    fn forget_kind(&self, (group, kind): &(String, String)) {
        let is_it = |node: &&Arc<Node>| node.kind.resource.group == *group && node.kind.resource.kind == *kind;
        let gone: Vec<_> = self.state().nodes.values().filter(is_it).map(|node| node.uid.clone()).collect();
        gone.iter().for_each(|uid| self.forget(uid));
    }
}

impl GraphState {
    /// Removes an object from the lists of its owners.
    fn unlink(&mut self, node: Option<&Node>) {
        let Some(node) = node else { return };
        for owner in &node.owners {
            if let Some(owned) = self.owned.get_mut(&owner.uid) {
                owned.remove(&node.uid);
                if owned.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
    }
}
