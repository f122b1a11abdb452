//! State that the watches have shown, by application.

mod app;
mod names;
mod originals;
mod place;
mod scalers;

use rainbow_plan::Time;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    change::Change,
    key::Key,
    kind::{Kind, kind_of},
    live::{Live, Object},
};
pub(crate) use app::App;
use originals::Originals;
use place::{AppIndex, NameHash};
pub(crate) use scalers::InNamespace as ForeignScalers;
use scalers::Scalers;

/// All applications, and the application that each object belongs to.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// Boxed, because a table has room for twice as many entries as it holds.
    pub(crate) apps: HashMap<Arc<Key>, Box<App>>,
    /// Application under which each object is kept. The labels of an object may change.
    places: AppIndex,
    /// Autoscalers of other owners.
    scalers: Scalers,
    /// ConfigMaps and Secrets that applications name.
    originals: Originals,
    /// Last failure of a list that has not been complete yet, by kind.
    failed: HashMap<Kind, String>,
    /// Kinds of which a list has begun. Before the first list nothing is known, so nothing can be gone after it.
    begun: HashSet<Kind>,
    /// Objects that a later list under way has shown, by kind.
    listing: HashMap<Kind, HashSet<NameHash>>,
    listed: HashSet<Kind>,
    /// Highest resource version of a watch event, by kind. Events come in the order of versions, so everything up to it has been seen.
    seen: HashMap<Kind, u64>,
}

impl Cache {
    /// Returns whether every kind that all applications depend on has been listed once. Before that, absence means nothing.
    pub(crate) fn synced(&self) -> bool {
        Kind::ALWAYS.iter().all(|kind| self.listed.contains(kind))
    }

    /// Records that everything is seen for the first time: what happened before is unknown.
    pub(crate) fn start(&mut self, now: Time) {
        for app in self.apps.values_mut() {
            app.endpoints.start(now);
        }
    }

    /// Returns whether a write that was answered with this version has come back through the watch.
    pub(crate) fn has_seen(&self, key: &Key, kind: Kind, name: &str, version: u64) -> bool {
        self.seen.get(&kind).is_some_and(|seen| *seen >= version)
            || self.apps.get(key).and_then(|app| app.find(kind, name)).is_some_and(|(_, found)| found >= version)
    }

    /// Returns the application that an object belongs to.
    pub(crate) fn owner(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Key>> {
        self.places.get(self.places.of(kind, namespace, name)).filter(|key| !key.name.is_empty())
    }

    /// Returns the autoscalers of other owners in a namespace.
    pub(crate) fn foreign_scalers(&self, namespace: &str) -> Arc<ForeignScalers> {
        self.scalers.of(namespace)
    }

    /// Takes in a change of a kind and returns the applications that it concerns.
    pub(crate) fn change(&mut self, kind: Kind, change: Change<Object>, now: Time) -> Vec<Arc<Key>> {
        match change {
            Change::Restarted => {
                if !self.begun.insert(kind) {
                    self.listing.insert(kind, HashSet::new());
                }
                Vec::new()
            }
            Change::Listed(object) => {
                let place = self.places.of(kind, &object.key.namespace, &object.name);
                if let Some(shown) = self.listing.get_mut(&kind) {
                    shown.insert(place);
                }
                self.put(kind, place, object, now)
            }
            Change::Complete => self.listing_done(kind, now),
            Change::Seen(object) => {
                self.note(kind, object.version);
                let place = self.places.of(kind, &object.key.namespace, &object.name);
                self.put(kind, place, object, now)
            }
            Change::Gone(object) => {
                self.note(kind, object.version);
                let place = self.places.of(kind, &object.key.namespace, &object.name);
                let mut keys: Vec<Arc<Key>> = self.take(kind, place, &object.name, now).into_iter().collect();
                if kind == Kind::HorizontalPodAutoscaler {
                    keys.extend(self.take_foreign_scaler(&object.key.namespace, &object.name));
                }
                if let Live::Config(kind, _) = object.live {
                    keys.extend(self.original_missed(place, kind, &object.name));
                }
                keys
            }
            Change::Failed(error) => {
                tracing::warn!(%kind, %error, "a watch broke and starts again");
                let is_first = self.failed.insert(kind, error.to_string()).is_none();
                self.config_changed(kind, is_first)
            }
        }
    }

    fn note(&mut self, kind: Kind, version: u64) {
        let seen = self.seen.entry(kind).or_default();
        *seen = (*seen).max(version);
    }

    fn listing_done(&mut self, kind: Kind, now: Time) -> Vec<Arc<Key>> {
        let mut keys = Vec::new();
        let shown = self.listing.remove(&kind);
        if let Some(shown) = &shown {
            for (place, name) in self.not_shown(kind, shown) {
                keys.extend(self.take(kind, place, &name, now));
            }
            if kind == Kind::HorizontalPodAutoscaler {
                for (namespace, name) in self.scalers.not_shown(&self.places, shown) {
                    keys.extend(self.take_foreign_scaler(&namespace, &name));
                }
            }
        }
        if matches!(kind, Kind::ConfigMap | Kind::Secret) {
            keys.extend(self.originals_not_shown(kind, shown.as_ref()));
        }
        self.failed.remove(&kind);
        let is_first = self.listed.insert(kind);
        keys.extend(self.config_changed(kind, is_first));
        if self.synced() {
            keys.extend(self.apps.keys().cloned());
        }
        keys
    }

    /// Returns the objects of a kind that a list has not shown.
    fn not_shown(&self, kind: Kind, shown: &HashSet<NameHash>) -> Vec<(NameHash, Box<str>)> {
        let places = |(key, app): (&Arc<Key>, &App)| {
            let place = |name: Box<str>| (self.places.of(kind, &key.namespace, &name), name);
            app.names_of(kind).into_iter().map(place).collect::<Vec<_>>()
        };
        self.apps
            .iter()
            .map(|(key, app)| (key, &**app))
            .flat_map(places)
            .filter(|(place, _)| !shown.contains(place))
            .collect()
    }

    fn put(&mut self, kind: Kind, place: NameHash, object: Object, now: Time) -> Vec<Arc<Key>> {
        let mut keys = Vec::new();
        if let Live::Scaler(scaler) = &object.live {
            let Key { namespace, .. } = &object.key;
            if !scaler.is_ours {
                // An autoscaler of Rainbow's may have lost its labels.
                keys.extend(self.take(kind, place, &object.name, now));
                for deployment in self.scalers.put(namespace, &object.name, scaler) {
                    keys.extend(self.scaled(namespace, &deployment));
                }
                return keys;
            }
            keys.extend(self.take_foreign_scaler(namespace, &object.name));
        }
        if let Live::Config(kind, None) = &object.live {
            // A copy may have lost what identifies it as one.
            let (kind, name) = (*kind, object.name);
            keys.extend(self.take(kind_of(kind), place, &name, now));
            keys.extend(self.original_seen(place, kind, &name, object.version));
            return keys;
        }
        if self.places.get(place).is_some_and(|key| **key != object.key) {
            keys.extend(self.take(kind, place, &object.name, now));
        }
        let key = match self.apps.get_key_value(&object.key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::new(object.key),
        };
        let app = self.apps.entry(Arc::clone(&key)).or_default();
        app.put(&object.name, object.live, now);
        if matches!(kind, Kind::Rainbow | Kind::Color) {
            self.follow_config(&key);
        }
        self.places.insert(place, Arc::clone(&key));
        keys.push(key);
        keys
    }

    fn take_foreign_scaler(&mut self, namespace: &str, name: &str) -> Option<Arc<Key>> {
        let deployment = self.scalers.remove(namespace, name)?;
        self.scaled(namespace, &deployment)
    }

    /// Records a change for the application whose Deployment another owner's autoscaler scales, or has scaled. Returns that application.
    fn scaled(&mut self, namespace: &str, deployment: &str) -> Option<Arc<Key>> {
        let key = self.owner(Kind::Deployment, namespace, deployment).cloned()?;
        self.apps.get_mut(&key)?.changes += 1;
        Some(key)
    }

    fn take(&mut self, kind: Kind, place: NameHash, name: &str, now: Time) -> Option<Arc<Key>> {
        let key = self.places.remove(place)?;
        let app = self.apps.get_mut(&key)?;
        app.remove(kind, name);
        if matches!(kind, Kind::Rainbow | Kind::Color) {
            self.follow_config(&key);
        }
        let app = self.apps.get_mut(&key)?;
        match kind {
            Kind::EndpointSlice => app.update_endpoints(now),
            Kind::Pod => {
                app.endpoints.forget(name);
                app.marks.forget(name);
            }
            Kind::Rainbow
            | Kind::Color
            | Kind::Deployment
            | Kind::Service
            | Kind::PodDisruptionBudget
            | Kind::HorizontalPodAutoscaler
            | Kind::ConfigMap
            | Kind::Secret => {}
        }
        if app.is_empty() {
            self.apps.remove(&key);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests;
