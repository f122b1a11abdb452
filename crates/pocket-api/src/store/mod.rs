//! All objects, and what happened to them lately.
//!
//! An object is kept as its serialised JSON beside the few values that selectors ask for, so memory is proportional to
//! what clients would see. Reads take a snapshot of a persistent map and never wait for a writer. Writers are
//! serialised by [`Store::writer`]: a whole read-modify-write is one critical section, and no write is ever retried.

mod collection;
mod persist;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;

pub(crate) use self::collection::{Event, EventKind, Expired, Stored};
use self::{collection::Collection, persist::Persist};
use crate::{services::Allocations, status::Status};

/// Objects of one kind by `namespace/name` (`/name` if the kind has no namespaces).
pub(crate) type Objects = OrdMap<Arc<str>, Arc<Stored>>;

/// The key of an object in its collection.
pub(crate) fn key(namespace: &str, name: &str) -> Arc<str> {
    format!("{namespace}/{name}").into()
}

/// Where a kind's objects are kept and which of their values selectors may ask for.
#[derive(Debug)]
pub(crate) struct Storage {
    /// `group/plural`.
    pub(crate) id: Arc<str>,
    /// Selectable fields beyond `metadata.name` and `metadata.namespace`, as dotted paths.
    pub(crate) fields: Vec<Arc<str>>,
}

/// What only writers touch.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Addresses and ports that Services have.
    pub(crate) allocations: Allocations,
}

/// What to do with an object.
pub(crate) enum Change {
    /// Create or replace it.
    Put(Value),
    /// Remove it; the value is its last state.
    Delete(Value),
}

/// The store.
pub(crate) struct Store {
    writer: Mutex<Writer>,
    state: RwLock<State>,
    persist: Option<Persist>,
}

struct State {
    revision: u64,
    /// Events up to here were made before this process started and are not remembered.
    forgotten: u64,
    collections: HashMap<Arc<str>, Collection>,
}

impl Store {
    /// An empty store, or what was kept in `directory`.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, persist::OpenError> {
        let mut state = State { revision: 1, forgotten: 1, collections: HashMap::new() };
        let persist = match directory {
            None => None,
            Some(directory) => {
                let persist = Persist::open(directory)?;
                let revision = persist.load(|storage, key, bytes| {
                    let collection = state.collections.entry(storage.into()).or_insert_with(|| Collection::new(0));
                    if let Some(stored) = Stored::from_bytes(key.into(), bytes) {
                        collection.load(stored);
                    }
                })?;
                state.revision = revision.max(1);
                state.forgotten = state.revision;
                for collection in state.collections.values_mut() {
                    collection.forget(state.revision);
                }
                Some(persist)
            }
        };
        Ok(Self { writer: Mutex::new(Writer::default()), state: RwLock::new(state), persist })
    }

    /// The right to write. Held over a whole read-modify-write, never over an await.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a collection which fields to index; done once per kind, before its objects are selected by fields.
    pub(crate) fn index(&self, storage: &Storage) {
        self.with_collection(storage, |collection| collection.index(&storage.fields));
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// One object.
    pub(crate) fn get(&self, storage: &Storage, key: &str) -> Option<Arc<Stored>> {
        self.read().collections.get(&storage.id)?.objects.get(key).cloned()
    }

    /// All objects of a kind and the revision at which they were so.
    pub(crate) fn snapshot(&self, storage: &Storage) -> (Objects, u64) {
        let state = self.read();
        let objects = state.collections.get(&storage.id).map(|collection| collection.objects.clone());
        (objects.unwrap_or_default(), state.revision)
    }

    /// Changes when an event of the kind happens.
    pub(crate) fn subscribe(&self, storage: &Storage) -> watch::Receiver<u64> {
        self.with_collection(storage, |collection| collection.subscribe())
    }

    /// The events of a kind after `revision`, and the revision up to which these are all.
    pub(crate) fn events_after(&self, storage: &Storage, revision: u64) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let state = self.read();
        let events = match state.collections.get(&storage.id) {
            Some(collection) => collection.events_after(revision)?,
            None if revision < state.forgotten => return Err(Expired { oldest: state.forgotten }),
            None => Vec::new(),
        };
        Ok((events, state.revision))
    }

    /// Makes one change: it is durable, visible and announced when this returns, or not made at all.
    ///
    /// `_writer` proves that the caller has the right to write.
    pub(crate) fn commit(
        &self,
        _writer: &mut Writer,
        storage: &Storage,
        key: &Arc<str>,
        change: Change,
    ) -> Result<Arc<Stored>, Status> {
        let revision = self.revision() + 1;
        let (kind, mut value) = match change {
            Change::Put(value) => (None, value),
            Change::Delete(value) => (Some(EventKind::Deleted), value),
        };
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), Value::from(revision.to_string()));
        }
        let stored = Arc::new(Stored::new(key.clone(), &value, revision, &storage.fields));
        if let Some(persist) = &self.persist {
            let before = self.get(storage, key);
            let write = persist::Write {
                storage: &storage.id,
                key,
                before: before.as_ref().map(|stored| &stored.bytes),
                after: kind.is_none().then_some(&stored.bytes),
                revision,
            };
            persist.write(&write).map_err(|error| Status::storage(&error))?;
        }
        let mut state = self.write();
        state.revision = revision;
        let forgotten = state.forgotten;
        let collection = state.collections.entry(storage.id.clone()).or_insert_with(|| Collection::new(forgotten));
        collection.apply(kind, stored.clone());
        Ok(stored)
    }

    fn with_collection<T>(&self, storage: &Storage, act: impl FnOnce(&mut Collection) -> T) -> T {
        let mut state = self.write();
        let forgotten = state.forgotten;
        act(state.collections.entry(storage.id.clone()).or_insert_with(|| Collection::new(forgotten)))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) use self::persist::OpenError;

/// The objects whose key starts with `namespace/`, or all.
pub(crate) fn in_namespace<'a>(
    objects: &'a Objects,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = &'a Arc<Stored>> + 'a {
    let prefix = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let start: Arc<str> = prefix.as_str().into();
    objects.range(start..).map(|(_, stored)| stored).take_while(move |stored| stored.key.starts_with(&prefix))
}

/// Serialises a value; JSON values always can be.
pub(crate) fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}
