//! ConfigMaps and Secrets that applications name. Nothing is kept of others.

use rainbow_api::{ConfigKind, ConfigName};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Cache,
    place::{AppIndex, NameHash},
};
use crate::{
    config::{ReadAccess, ReadAccesses},
    key::Key,
    kind::{ConfigAccess, Kind, kind_of},
};

/// Applications that name an object, by its place.
#[derive(Debug, Default)]
pub(super) struct Originals(HashMap<NameHash, Vec<Arc<Key>>>);

impl Originals {
    fn of(&self, place: NameHash) -> &[Arc<Key>] {
        self.0.get(&place).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, place: NameHash, key: &Arc<Key>) {
        self.0.entry(place).or_default().push(Arc::clone(key));
    }

    fn remove(&mut self, place: NameHash, key: &Key) {
        if let Some(all) = self.0.get_mut(&place) {
            all.retain(|known| **known != *key);
            if all.is_empty() {
                self.0.remove(&place);
            }
        }
    }
}

fn place(places: &AppIndex, key: &Key, name: &ConfigName) -> NameHash {
    places.of(kind_of(name.kind), &key.namespace, &name.name)
}

impl Cache {
    /// Returns whether the objects of each kind can be read, with this right.
    pub(crate) fn readables(&self, access: ConfigAccess) -> ReadAccesses {
        let of = |kind: Kind| match self.failed.get(&kind) {
            _ if !access.kinds().contains(&kind) => ReadAccess::NotAllowed,
            _ if self.listed.contains(&kind) => ReadAccess::Yes,
            Some(failure) => ReadAccess::Failed(failure.clone()),
            None => ReadAccess::NotYet,
        };
        ReadAccesses { config_maps: of(Kind::ConfigMap), secrets: of(Kind::Secret) }
    }

    /// Follows the objects that an application names now, which may be others than before.
    pub(super) fn follow_config(&mut self, key: &Arc<Key>) {
        let Some(app) = self.apps.get_mut(key) else { return };
        let (new, old) = app.config.follow(&app.configured());
        new.iter().for_each(|name| self.originals.add(place(&self.places, key, name), key));
        old.iter().for_each(|name| self.originals.remove(place(&self.places, key, name), key));
    }

    /// Takes in an object that the watch has shown, and returns the applications for which that is news.
    pub(super) fn original_seen(
        &mut self,
        place: NameHash,
        kind: ConfigKind,
        name: &str,
        version: u64,
    ) -> Vec<Arc<Key>> {
        let name = ConfigName { kind, name: name.to_owned() };
        let mut keys = self.originals.of(place).to_vec();
        keys.retain(|key| {
            let Some(app) = self.apps.get_mut(key) else { return false };
            let is_news = app.config.see(&name, version);
            app.changes += u64::from(is_news);
            is_news
        });
        keys
    }

    /// Takes in that an object is gone, and returns the applications for which that is news.
    pub(super) fn original_missed(&mut self, place: NameHash, kind: ConfigKind, name: &str) -> Vec<Arc<Key>> {
        let name = ConfigName { kind, name: name.to_owned() };
        let mut keys = self.originals.of(place).to_vec();
        keys.retain(|key| {
            let Some(app) = self.apps.get_mut(key) else { return false };
            let is_news = app.config.miss(&name);
            app.changes += u64::from(is_news);
            is_news
        });
        keys
    }

    /// Takes in that the objects of a kind that a list has not shown are gone. `None`: the list was the first one, and nothing was known
    /// before it.
    pub(super) fn originals_not_shown(&mut self, kind: Kind, shown: Option<&HashSet<NameHash>>) -> Vec<Arc<Key>> {
        let Some(shown) = shown else { return Vec::new() };
        let mut missed: Vec<(NameHash, ConfigName)> = Vec::new();
        for (key, app) in &self.apps {
            let names = app.config.names().filter(|name| kind_of(name.kind) == kind);
            let places = names.map(|name| (place(&self.places, key, name), name.clone()));
            missed.extend(places.filter(|(place, _)| !shown.contains(place)));
        }
        let gone = |(place, name): (NameHash, ConfigName)| self.original_missed(place, name.kind, &name.name);
        missed.into_iter().flat_map(gone).collect()
    }

    /// Takes in whether it has changed that a kind can be read, and returns the applications that name objects of the kind.
    pub(super) fn config_changed(&mut self, kind: Kind, is_changed: bool) -> Vec<Arc<Key>> {
        if !is_changed || !matches!(kind, Kind::ConfigMap | Kind::Secret) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        for (key, app) in &mut self.apps {
            if app.config.names().any(|name| kind_of(name.kind) == kind) {
                app.changes += 1;
                keys.push(Arc::clone(key));
            }
        }
        keys
    }
}
