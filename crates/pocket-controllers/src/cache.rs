//! Cache of all objects of one kind, fed by a watch and by the answers to the controllers' own writes.
//!
//! Own writes are visible at once, so a controller never acts twice on an old view, and needs no record of expected changes
//! such as Kubernetes' own controllers keep. The cache handles three races: an old event that comes after a newer answer
//! (resource versions decide), an answer that comes after the event of the deletion (remembered uids decide), and a list
//! from before an own write (the object is requested by name).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use crate::{Error, MANAGER};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

/// Kind of objects that can be cached.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Serialize
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// Cache of one kind. Clones share it.
pub(crate) struct Cache<K>(Arc<Inner<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

type Handler<K> = Box<dyn Fn(Option<&K>, Option<&K>) + Send + Sync>;

struct Inner<K> {
    client: Client,
    state: RwLock<CacheState<K>>,
    handlers: RwLock<Vec<Handler<K>>>,
    slim: fn(&mut K),
    used: AtomicBool,
    ready: watch::Sender<bool>,
}

struct CacheState<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Own writes that the watch has not shown yet.
    unseen: BTreeSet<Key>,
    /// Uids of recently deleted objects.
    deleted: VecDeque<String>,
}

/// Number of deletions that may come between a write and its answer.
const REMEMBERED: usize = 512;

impl<K: Kind> Cache<K> {
    /// Makes an empty cache. `slim` removes the fields that no controller needs.
    pub(crate) fn new(client: Client, slim: fn(&mut K)) -> Self {
        let state = CacheState { objects: BTreeMap::new(), unseen: BTreeSet::new(), deleted: VecDeque::new() };
        Self(Arc::new(Inner {
            client,
            state: RwLock::new(state),
            handlers: RwLock::default(),
            slim,
            used: AtomicBool::new(false),
            ready: watch::Sender::new(false),
        }))
    }

    /// Calls a function with the old and the new state of each object that changes.
    pub(crate) fn on_change(&self, handler: impl Fn(Option<&K>, Option<&K>) + Send + Sync + 'static) {
        self.keep();
        self.0.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Keeps the cache although it has no handler.
    pub(crate) fn keep(&self) {
        self.0.used.store(true, Ordering::Relaxed);
    }

    /// Waits until the cache has all objects.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as the cache, so the wait cannot fail.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.state().objects.get(key).cloned()
    }

    /// Returns the objects of a namespace, by name.
    pub(crate) fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state();
        let from = Key::new(namespace, "");
        state
            .objects
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Returns the objects of all namespaces.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.state().objects.values().cloned().collect()
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, CacheState<K>> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut CacheState<K>) -> R) -> R {
        change(&mut self.0.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn notify(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        for handler in self.0.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(old.map(Arc::as_ref), new.map(Arc::as_ref));
        }
    }

    /// Takes over an object if it is newer than the cached one.
    fn put(&self, mut object: K, source: Source) -> Arc<K> {
        object.meta_mut().managed_fields = None;
        (self.0.slim)(&mut object);
        let (key, object) = (Key::of(&object), Arc::new(object));
        let replaced = self.change(|state| {
            let old = state.objects.get(&key).cloned();
            if object.meta().uid.as_ref().is_some_and(|uid| state.deleted.contains(uid)) {
                return None;
            }
            if source == Source::Watch && old.as_ref().is_none_or(|old| version(&**old) <= version(&*object)) {
                state.unseen.remove(&key);
            }
            if old.as_ref().is_some_and(|old| version(&**old) >= version(&*object)) {
                return None;
            }
            if source == Source::Write {
                state.unseen.insert(key.clone());
            }
            state.objects.insert(key, object.clone());
            Some(old)
        });
        if let Some(old) = replaced {
            self.notify(old.as_ref(), Some(&object));
        }
        object
    }

    /// Forgets an object, unless its name belongs to another object by now.
    fn forget(&self, key: &Key, uid: Option<&str>) {
        let gone = self.change(|state| {
            if let Some(uid) = uid {
                state.deleted.push_back(uid.to_owned());
                if state.deleted.len() > REMEMBERED {
                    state.deleted.pop_front();
                }
            }
            let same = state.objects.get(key).is_some_and(|have| uid.is_none() || have.meta().uid.as_deref() == uid);
            if !same {
                return None;
            }
            state.unseen.remove(key);
            state.objects.remove(key)
        });
        if let Some(old) = gone {
            self.notify(Some(&old), None);
        }
    }

    /// Starts the watch, if the cache is used.
    pub(crate) fn watch(&self, tasks: &mut JoinSet<()>) {
        if self.0.used.load(Ordering::Relaxed) {
            tasks.spawn(self.clone().follow());
        }
    }

    async fn follow(self) {
        let api: Api<K> = Api::all(self.0.client.clone());
        let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut listed = BTreeSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(Key::of(&object));
                    self.put(object, Source::Watch);
                }
                Ok(watcher::Event::InitDone) => {
                    self.drop_unlisted(&listed).await;
                    listed = BTreeSet::new();
                    self.0.ready.send_replace(true);
                }
                Ok(watcher::Event::Apply(object)) => drop(self.put(object, Source::Watch)),
                Ok(watcher::Event::Delete(object)) => self.forget(&Key::of(&object), object.meta().uid.as_deref()),
                Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "watch failed; it is tried again"),
            }
        }
    }

    /// Handles a new list: an object that is not in it is gone, unless it was written after the list was made.
    async fn drop_unlisted(&self, listed: &BTreeSet<Key>) {
        let missing: Vec<(Key, Option<String>, bool)> = {
            let state = self.state();
            let absent = state.objects.iter().filter(|(key, _)| !listed.contains(key));
            absent.map(|(key, object)| (key.clone(), object.meta().uid.clone(), state.unseen.contains(key))).collect()
        };
        for (key, uid, written) in missing {
            let there = written && {
                let api: Api<K> = Api::namespaced(self.0.client.clone(), &key.namespace);
                matches!(api.get_opt(&key.name).await, Ok(Some(found)) if found.meta().uid == uid)
            };
            if !there {
                self.forget(&key, uid.as_deref());
            }
        }
    }

    fn api(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.0.client.clone(), namespace)
    }

    /// Reads an object from the API server, past the cache.
    pub(crate) async fn live(&self, key: &Key) -> Result<Option<K>, Error> {
        Ok(self.api(&key.namespace).get_opt(&key.name).await?)
    }

    /// Takes over an object that was read past the cache.
    pub(crate) fn learn(&self, object: K) {
        self.put(object, Source::Write);
    }

    pub(crate) async fn create(&self, object: &K) -> Result<Arc<K>, Error> {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let created = self.api(&namespace).create(&params, object).await?;
        Ok(self.put(created, Source::Write))
    }

    /// Applies a merge patch to an object, if the object is still as the cache has it.
    pub(crate) async fn patch(&self, object: &K, patch: Value) -> Result<Arc<K>, Error> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(locked(object, patch));
        let result = self.api(&Key::of(object).namespace).patch(&object.name_any(), &params, &patch).await;
        self.record_write(object, result)
    }

    /// Applies a merge patch to an object's status, if the object is still as the cache has it.
    pub(crate) async fn patch_status(&self, object: &K, status: Value) -> Result<Arc<K>, Error> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(locked(object, serde_json::json!({ "status": status })));
        let result = self.api(&Key::of(object).namespace).patch_status(&object.name_any(), &params, &patch).await;
        self.record_write(object, result)
    }

    fn record_write(&self, object: &K, result: Result<K, kube::Error>) -> Result<Arc<K>, Error> {
        match result {
            // The patch removed the last finalizer, and with it the object.
            Ok(new) if !object.finalizers().is_empty() && is_ended(&new) => {
                self.forget(&Key::of(object), object.meta().uid.as_deref());
                Ok(Arc::new(new))
            }
            Ok(new) => Ok(self.put(new, Source::Write)),
            Err(error) => {
                if let kube::Error::Api(status) = &error
                    && status.code == 404
                {
                    self.forget(&Key::of(object), object.meta().uid.as_deref());
                }
                Err(error.into())
            }
        }
    }

    /// Deletes this object and no other of its name. Succeeds if the object is gone already.
    pub(crate) async fn delete(&self, object: &K) -> Result<(), Error> {
        let key = Key::of(object);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: object.meta().uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api(&key.namespace).delete(&key.name, &params).await {
            Ok(answer) => {
                if let Some(left) =
                    answer.left().filter(|left| left.meta().deletion_timestamp.is_some() && !is_ended(left))
                {
                    self.put(left, Source::Write);
                    return Ok(());
                }
                self.forget(&key, object.meta().uid.as_deref());
                Ok(())
            }
            // 409 means that another object has the name by now.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                self.forget(&key, object.meta().uid.as_deref());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Watch,
    Write,
}

/// Returns whether an answer shows the last state of an object that is gone.
fn is_ended(object: &impl Resource) -> bool {
    let meta = object.meta();
    let held = meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    meta.deletion_timestamp.is_some() && !held && meta.deletion_grace_period_seconds.unwrap_or(0) <= 0
}

/// Returns the resource version as a number. Kubernetes guarantees since 1.35 that the versions of a resource are comparable; they were before, too.
fn version(object: &impl Resource) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}

/// Makes a merge patch fail if the object has changed meanwhile.
fn locked(object: &impl Resource, mut patch: Value) -> Value {
    let meta = object.meta();
    patch["metadata"]["resourceVersion"] = meta.resource_version.clone().into();
    patch["metadata"]["uid"] = meta.uid.clone().into();
    patch
}
