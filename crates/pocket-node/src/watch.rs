//! Watch on all objects of a kind that survives breaks and re-lists.

use std::{collections::HashSet, fmt::Debug, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace; empty for an object without one.
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Change of an object.
pub(crate) enum Change<K> {
    /// Object is new or changed. Also sent after a re-list if nothing changed.
    Put(K),
    /// Object is gone.
    Gone(Key),
    /// Every existing object has been reported once.
    Synced,
}

/// Reports changes indefinitely. Watch errors are retried with a growing delay.
pub(crate) async fn follow<K>(api: Api<K>, config: watcher::Config, mut on: impl FnMut(Change<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    const FIRST_DELAY: Duration = Duration::from_millis(50);
    const LAST_DELAY: Duration = Duration::from_secs(5);

    // Only keys are kept, to find after a re-list which objects have gone meanwhile.
    let mut known: HashSet<Key> = HashSet::new();
    let mut listed: HashSet<Key> = HashSet::new();
    let mut delay = FIRST_DELAY;
    let mut events = pin!(watcher::watcher(api, config));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(Key::of(&object));
                known.insert(Key::of(&object));
                on(Change::Put(slim(object)));
            }
            Ok(Event::InitDone) => {
                known.retain(|key| {
                    let there = listed.contains(key);
                    if !there {
                        on(Change::Gone(key.clone()));
                    }
                    there
                });
                listed = HashSet::new();
                on(Change::Synced);
            }
            Ok(Event::Apply(object)) => {
                known.insert(Key::of(&object));
                on(Change::Put(slim(object)));
            }
            Ok(Event::Delete(object)) => {
                let key = Key::of(&object);
                known.remove(&key);
                on(Change::Gone(key));
            }
            Err(error) => {
                tracing::warn!(%error, "watch broke off; trying again in {delay:?}");
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(LAST_DELAY);
                continue;
            }
        }
        delay = FIRST_DELAY;
    }
}

/// Drops the field ownership: it is half of an object, and no reader here needs it.
fn slim<K: Resource>(mut object: K) -> K {
    object.managed_fields_mut().clear();
    object
}
