//! Store of all objects and of their recent changes.
//!
//! An object is kept as its serialised JSON beside the few values that selectors need, so memory is proportional to
//! what clients would see. Reads take a snapshot of a persistent map and never wait for a writer. Writers are
//! serialised by [`Store::writer`]: a whole read-modify-write is one critical section, and no write is ever retried.

mod collection;
mod persist;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;

pub(crate) use self::collection::{Event, EventKind, Expired, Stored};
use self::{collection::Collection, persist::Persist};
use crate::{resource::Storage, services::Allocations, status::Status};

/// Objects of one kind by `namespace/name` (`/name` if the kind has no namespaces).
pub(crate) type Objects = OrdMap<Arc<str>, Arc<Stored>>;

/// Returns the key of an object in its collection.
pub(crate) fn key(namespace: &str, name: &str) -> Arc<str> {
    format!("{namespace}/{name}").into()
}

/// State that only writers touch.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Addresses and ports of Services.
    pub(crate) allocations: Allocations,
}

/// Change of an object.
pub(crate) enum Change {
    /// Creates or replaces the object.
    Put(Value),
    /// Removes the object; the value is its last state.
    Delete(Value),
}

/// Store of all objects.
pub(crate) struct Store {
    writer: Mutex<Writer>,
    state: RwLock<StoreState>,
    persist: Option<Persist>,
}

struct StoreState {
    revision: u64,
    /// Revision up to which events were made before this process started and are not kept.
    forgotten: u64,
    collections: HashMap<Arc<str>, Collection>,
}

impl Store {
    /// Returns an empty store, or the store that was kept in `directory`.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, persist::OpenError> {
        let mut state = StoreState { revision: 1, forgotten: 1, collections: HashMap::new() };
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

    /// Returns the right to write. Held over a whole read-modify-write, never over an await.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the fields that a collection indexes; called once per kind, before its objects are selected by fields.
    pub(crate) fn index(&self, storage: &Storage) {
        self.with_collection(storage, |collection| collection.index(&storage.fields));
    }

    /// Returns the newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// Returns one object.
    pub(crate) fn get(&self, storage: &Storage, key: &str) -> Option<Arc<Stored>> {
        self.read().collections.get(&storage.id)?.objects.get(key).cloned()
    }

    /// Returns all objects of a kind and the revision of this state.
    pub(crate) fn snapshot(&self, storage: &Storage) -> (Objects, u64) {
        let state = self.read();
        let objects = state.collections.get(&storage.id).map(|collection| collection.objects.clone());
        (objects.unwrap_or_default(), state.revision)
    }

    /// Returns a receiver whose value changes with every event of the kind.
    pub(crate) fn subscribe(&self, storage: &Storage) -> watch::Receiver<u64> {
        self.with_collection(storage, |collection| collection.subscribe())
    }

    /// Returns the events of a kind after `revision`, and the revision up to which they are complete.
    pub(crate) fn events_after(&self, storage: &Storage, revision: u64) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let state = self.read();
        let events = match state.collections.get(&storage.id) {
            Some(collection) => collection.events_after(revision)?,
            None if revision < state.forgotten => return Err(Expired { oldest: state.forgotten }),
            None => Vec::new(),
        };
        Ok((events, state.revision))
    }

    /// Makes one change. When this returns, the change is stored, visible and announced, or it was not made at all.
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

    fn read(&self) -> std::sync::RwLockReadGuard<'_, StoreState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, StoreState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) use self::persist::OpenError;

/// Returns the objects whose key starts with `namespace/`, or all objects.
pub(crate) fn in_namespace<'a>(
    objects: &'a Objects,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = &'a Arc<Stored>> + 'a {
    let prefix = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let start: Arc<str> = prefix.as_str().into();
    objects.range(start..).map(|(_, stored)| stored).take_while(move |stored| stored.key.starts_with(&prefix))
}
