//! Record of everything that a watch has ever reported of the objects of a namespace, also of short-lived ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// Entries of one kind of objects, and the different values that each entry has had.
#[derive(Debug)]
pub struct Ledger<V> {
    entries: Arc<Mutex<BTreeMap<String, BTreeSet<V>>>>,
    task: JoinHandle<()>,
}

impl<V> Drop for Ledger<V> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<V: Clone + Ord + Send + 'static> Ledger<V> {
    /// Watches from now on. `file` returns the entry of an object and its value; an object without an entry is left out.
    pub fn open<K>(api: Api<K>, file: impl Fn(&K) -> Option<(String, V)> + Send + 'static) -> Self
    where
        K: Resource<DynamicType: Clone + Default> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let entries = Arc::new(Mutex::new(BTreeMap::<String, BTreeSet<V>>::new()));
        let written = entries.clone();
        let watched = watcher(api, watcher::Config::default()).default_backoff();
        let task = watched.for_each(move |event| {
            // A watch that fails is started again.
            if let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event
                && let Some((entry, value)) = file(&object)
            {
                written.lock().unwrap_or_else(PoisonError::into_inner).entry(entry).or_default().insert(value);
            }
            ready(())
        });
        Self { entries, task: tokio::spawn(task) }
    }

    /// Returns all entries so far.
    pub fn entries(&self) -> BTreeMap<String, BTreeSet<V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
