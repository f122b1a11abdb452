//! Application that an object belongs to, by a short stand-in for the object's kind, namespace and name: there are as many entries as
//! objects in the cluster.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

use crate::{key::Key, kind::Kind};

/// 128 bits of two keyed hashes of kind, namespace and name. Among ten million objects, two have the same place with a probability below
/// 10⁻²⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameHash(u64, u64);

/// Application of each place.
#[derive(Debug, Default)]
pub(super) struct AppIndex {
    all: HashMap<NameHash, Arc<Key>>,
    first: RandomState,
    second: RandomState,
}

impl AppIndex {
    pub(super) fn of(&self, kind: Kind, namespace: &str, name: &str) -> NameHash {
        let object = (kind, namespace, name);
        NameHash(self.first.hash_one(object), self.second.hash_one(object))
    }

    pub(super) fn get(&self, place: NameHash) -> Option<&Arc<Key>> {
        self.all.get(&place)
    }

    pub(super) fn insert(&mut self, place: NameHash, key: Arc<Key>) {
        self.all.insert(place, key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn remove(&mut self, place: NameHash) -> Option<Arc<Key>> {
        self.all.remove(&place)
    }
}
