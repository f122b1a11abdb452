//! What the watches have said, by application.

use rainbow_api::{Color, Tier, names};
use rainbow_plan::{InstanceName, Time};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    change::Change,
    count::Known,
    drift::Settled,
    endpoints::Endpoints,
    key::Key,
    kind::Kind,
    live::{Budget, Deployment, Live, Object, Pod, Root, Service, Slice, version},
    marks::Marks,
};

/// Everything known of one application.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) root: Option<Root>,
    /// By object name, as all below.
    pub(crate) colors: BTreeMap<String, Arc<Color>>,
    pub(crate) deployments: BTreeMap<String, Deployment>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) slices: BTreeMap<String, Slice>,
    pub(crate) budgets: BTreeMap<String, Budget>,
    /// Since when pods are endpoints of stages.
    pub(crate) endpoints: Endpoints,
    /// Since when pods carry their marks.
    pub(crate) marks: Marks,
    /// What is known of the connections of those pods that are asked.
    pub(crate) known: Known,
    /// Which objects were found in order.
    pub(crate) settled: Settled,
}

impl App {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
            && self.colors.is_empty()
            && self.deployments.is_empty()
            && self.services.is_empty()
            && self.pods.is_empty()
            && self.slices.is_empty()
            && self.budgets.is_empty()
    }

    /// What stands before the names of the Deployments that were made; `None` where there is none.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.deployments.iter().find_map(|(name, found)| {
            let plain = names::instance(None, &found.tier, &found.color);
            if found.tier.is_empty() || found.color.is_empty() { None } else { name.strip_suffix(plain.as_str()) }
        })
    }

    /// Where an instance's template is written down: any color that has the instance has the same tier.
    pub(crate) fn source(&self, instance: &InstanceName) -> Option<(&Arc<Color>, &Tier)> {
        let names_it = |color: &&Arc<Color>| {
            color.spec.instances.iter().any(|i| i.tier == instance.tier && i.color == instance.color)
        };
        // The color that introduced the instance, if it is still there: its objects belong to it.
        let color = self.colors.values().filter(names_it).max_by_key(|color| color.spec.color == instance.color)?;
        Some((color, color.spec.tiers.iter().find(|tier| tier.name == instance.tier)?))
    }

    /// A color and the name of its object.
    pub(crate) fn color(&self, color: &str) -> Option<(&str, &Arc<Color>)> {
        let found = self.colors.iter().find(|(_, found)| found.spec.color == color);
        found.map(|(name, found)| (name.as_str(), found))
    }

    /// Uid and resource version of an object as last seen.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<(&str, u64)> {
        match kind {
            Kind::Rainbow => {
                let meta = self.root.as_ref()?.meta();
                Some((meta.uid.as_deref().unwrap_or_default(), version(meta)))
            }
            Kind::Color => {
                let meta = &self.colors.get(name)?.metadata;
                Some((meta.uid.as_deref().unwrap_or_default(), version(meta)))
            }
            Kind::Deployment => self.deployments.get(name).map(|w| (w.meta.uid.as_str(), w.meta.version)),
            Kind::Service => self.services.get(name).map(|w| (w.meta.uid.as_str(), w.meta.version)),
            Kind::Pod => self.pods.get(name).map(|p| (p.meta.uid.as_str(), p.meta.version)),
            Kind::EndpointSlice => self.slices.get(name).map(|s| (s.meta.uid.as_str(), s.meta.version)),
            Kind::PodDisruptionBudget => self.budgets.get(name).map(|g| (g.meta.uid.as_str(), g.meta.version)),
        }
    }

    fn update_endpoints(&mut self, now: Time) {
        let slices = self.slices.values();
        self.endpoints.update(slices.map(|slice| (slice.service.as_str(), slice.ready.as_slice())), now);
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Rainbow => self.root = None,
            Kind::Color => drop(self.colors.remove(name)),
            Kind::Deployment => {
                if let Some(gone) = self.deployments.remove(name) {
                    self.settled.forget(&gone.meta.uid);
                }
            }
            Kind::Service => {
                if let Some(gone) = self.services.remove(name) {
                    self.settled.forget(&gone.meta.uid);
                }
            }
            Kind::Pod => drop(self.pods.remove(name)),
            Kind::EndpointSlice => drop(self.slices.remove(name)),
            Kind::PodDisruptionBudget => {
                if let Some(gone) = self.budgets.remove(name) {
                    self.settled.forget(&gone.meta.uid);
                }
            }
        }
    }
}

type Id = (Kind, String, String);

fn id(object: &Object) -> Id {
    (object.live.kind(), object.key.namespace.clone(), object.name.clone())
}

/// All applications, and which object belongs to which.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) apps: HashMap<Key, App>,
    /// Where an object is kept: its labels may change under it.
    index: HashMap<Id, Key>,
    /// By kind: what a list under way has shown.
    listing: HashMap<Kind, HashSet<Id>>,
    listed: HashSet<Kind>,
    /// By kind: the highest resource version of a watch event. Events come in the order of versions, so everything up to
    /// it has been seen.
    seen: HashMap<Kind, u64>,
}

impl Cache {
    /// Whether every kind has been listed once: before, absence means nothing.
    pub(crate) fn synced(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.listed.contains(kind))
    }

    /// All is seen for the first time: what happened before is unknown.
    pub(crate) fn start(&mut self, now: Time) {
        for app in self.apps.values_mut() {
            let stages = app.services.iter().filter(|(_, service)| !service.stage.is_empty());
            for name in stages.map(|(name, _)| Some(name.as_str())).chain([None]) {
                app.endpoints.start(name, app.pods.keys().map(String::as_str), now);
            }
        }
    }

    /// Whether a write that was answered with this version has come back through the watch.
    pub(crate) fn has_seen(&self, key: &Key, kind: Kind, name: &str, version: u64) -> bool {
        self.seen.get(&kind).is_some_and(|seen| *seen >= version)
            || self.apps.get(key).and_then(|app| app.find(kind, name)).is_some_and(|(_, found)| found >= version)
    }

    /// Takes in a change of a kind and answers whose it is.
    pub(crate) fn change(&mut self, kind: Kind, change: Change<Object>, now: Time) -> Vec<Key> {
        match change {
            Change::Restarted => {
                self.listing.insert(kind, HashSet::new());
                Vec::new()
            }
            Change::Listed(object) => {
                self.listing.entry(kind).or_default().insert(id(&object));
                self.put(object, now)
            }
            Change::Complete => self.listing_done(kind, now),
            Change::Seen(object) => {
                self.note(kind, object.version);
                self.put(object, now)
            }
            Change::Gone(object) => {
                self.note(kind, object.version);
                self.take(&id(&object), now).into_iter().collect()
            }
            Change::Failed(error) => {
                tracing::warn!(%kind, %error, "a watch broke and starts again");
                Vec::new()
            }
        }
    }

    fn note(&mut self, kind: Kind, version: u64) {
        let seen = self.seen.entry(kind).or_default();
        *seen = (*seen).max(version);
    }

    fn listing_done(&mut self, kind: Kind, now: Time) -> Vec<Key> {
        let shown = self.listing.remove(&kind).unwrap_or_default();
        let gone: Vec<Id> = self.index.keys().filter(|id| id.0 == kind && !shown.contains(*id)).cloned().collect();
        let mut keys: Vec<Key> = gone.iter().filter_map(|id| self.take(id, now)).collect();
        self.listed.insert(kind);
        if self.synced() {
            keys.extend(self.apps.keys().cloned());
        }
        keys
    }

    fn put(&mut self, object: Object, now: Time) -> Vec<Key> {
        let id = id(&object);
        let mut keys = Vec::new();
        if self.index.get(&id).is_some_and(|key| *key != object.key) {
            keys.extend(self.take(&id, now));
        }
        let app = self.apps.entry(object.key.clone()).or_default();
        let name = object.name;
        match object.live {
            Live::Rainbow(root) => app.root = Some(root),
            Live::Color(Some(color)) => drop(app.colors.insert(name, color)),
            Live::Color(None) => drop(app.colors.remove(&name)),
            Live::Deployment(deployment) => drop(app.deployments.insert(name, *deployment)),
            Live::Service(service) => drop(app.services.insert(name, *service)),
            Live::Budget(budget) => drop(app.budgets.insert(name, *budget)),
            Live::Pod(mut pod) => {
                app.marks.see(&name, pod.said.mark, now);
                let same = |known: &&Pod| known.meta.uid == pod.meta.uid && known.ready == pod.ready;
                pod.ready_since = app.pods.get(&name).filter(same).map_or(now, |known| known.ready_since);
                app.pods.insert(name, *pod);
            }
            Live::Slice(slice) => {
                app.slices.insert(name, slice);
                app.update_endpoints(now);
                app.endpoints.prune(|pod| app.pods.contains_key(pod));
            }
        }
        self.index.insert(id, object.key.clone());
        keys.push(object.key);
        keys
    }

    fn take(&mut self, id: &Id, now: Time) -> Option<Key> {
        let key = self.index.remove(id)?;
        let app = self.apps.get_mut(&key)?;
        app.remove(id.0, &id.2);
        match id.0 {
            Kind::EndpointSlice => app.update_endpoints(now),
            Kind::Pod => {
                app.endpoints.forget(&id.2);
                app.marks.forget(&id.2);
            }
            Kind::Rainbow | Kind::Color | Kind::Deployment | Kind::Service | Kind::PodDisruptionBudget => {}
        }
        if app.is_empty() {
            self.apps.remove(&key);
        }
        Some(key)
    }
}
