//! What the watches have said, by application.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use rainbow_api::{Color, Rainbow, RainbowStatus, labels, names};
use rainbow_plan::Time;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use crate::{
    count::Known,
    drift::Settled,
    endpoints::{self, Endpoints},
    live::{Kind, Pod, Slice, Workload, label, version},
    marks::Marks,
    watch::Change,
};

/// Which application: the namespace and the name of its `Rainbow`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A `Rainbow` as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// It was understood.
    Read(Arc<Rainbow>),
    /// The API server let something in that cannot be read, such as a duration beyond all bounds.
    Unreadable { meta: Arc<ObjectMeta>, status: Box<RainbowStatus>, error: String },
}

impl Root {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(rainbow) => &rainbow.metadata,
            Self::Unreadable { meta, .. } => meta,
        }
    }
}

/// Everything known of one application.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) root: Option<Root>,
    /// By object name, as all below.
    pub(crate) colors: BTreeMap<String, Arc<Color>>,
    pub(crate) deployments: BTreeMap<String, Workload>,
    pub(crate) services: BTreeMap<String, Workload>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) slices: BTreeMap<String, Slice>,
    /// PodDisruptionBudgets.
    pub(crate) guards: BTreeMap<String, Workload>,
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
            && self.guards.is_empty()
    }

    /// What stands before the names of the Deployments that were made; `None` where there is none.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.deployments.iter().find_map(|(name, found)| {
            let plain = names::instance(None, &found.tier, &found.color);
            if found.tier.is_empty() || found.color.is_empty() { None } else { name.strip_suffix(plain.as_str()) }
        })
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
            Kind::PodDisruptionBudget => self.guards.get(name).map(|g| (g.meta.uid.as_str(), g.meta.version)),
        }
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
                if let Some(gone) = self.guards.remove(name) {
                    self.settled.forget(&gone.meta.uid);
                }
            }
        }
    }
}

/// An object that a watch has shown, and whose it is.
pub(crate) struct Object {
    kind: Kind,
    key: Key,
    name: String,
    version: u64,
    content: Content,
}

enum Content {
    Rainbow(Root),
    /// `None`: it cannot be read.
    Color(Option<Arc<Color>>),
    Workload(Box<Workload>),
    Pod(Pod),
    Slice(Slice),
}

impl Object {
    fn new(kind: Kind, meta: &ObjectMeta, rainbow: &str, content: Content) -> Self {
        Self {
            kind,
            key: Key { namespace: meta.namespace.clone().unwrap_or_default(), name: rainbow.to_owned() },
            name: meta.name.clone().unwrap_or_default(),
            version: version(meta),
            content,
        }
    }

    pub(crate) fn rainbow(object: &DynamicObject) -> Self {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        let meta = object.metadata.clone();
        let status = object.data.get("status").cloned().unwrap_or_default();
        let root = match object.try_parse::<Rainbow>() {
            Ok(rainbow) => Root::Read(Arc::new(rainbow)),
            Err(error) => Root::Unreadable {
                meta: Arc::new(meta.clone()),
                status: serde_json::from_value(status).unwrap_or_default(),
                error: error.to_string(),
            },
        };
        let name = meta.name.clone().unwrap_or_default();
        Self::new(Kind::Rainbow, &meta, &name, Content::Rainbow(root))
    }

    pub(crate) fn color(object: &DynamicObject) -> Self {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        let meta = object.metadata.clone();
        let color = object.try_parse::<Color>();
        if let Err(error) = &color {
            tracing::warn!(color = ?meta.name, %error, "a Color cannot be read and is left out");
        }
        Self::new(Kind::Color, &meta, label(&meta, labels::RAINBOW), Content::Color(color.ok().map(Arc::new)))
    }

    pub(crate) fn workload(kind: Kind, meta: &ObjectMeta, rainbow: &str, workload: Workload) -> Self {
        Self::new(kind, meta, rainbow, Content::Workload(Box::new(workload)))
    }

    pub(crate) fn pod(meta: &ObjectMeta, rainbow: &str, pod: Pod) -> Self {
        Self::new(Kind::Pod, meta, rainbow, Content::Pod(pod))
    }

    pub(crate) fn slice(meta: &ObjectMeta, rainbow: &str, slice: Slice) -> Self {
        Self::new(Kind::EndpointSlice, meta, rainbow, Content::Slice(slice))
    }
}

type Id = (Kind, String, String);

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
            for name in stages.map(|(name, _)| name.as_str()).chain([endpoints::GONE]) {
                app.endpoints.start(name, app.pods.keys().map(String::as_str), now);
            }
        }
    }

    /// Whether a write that was answered with this version has come back through the watch.
    pub(crate) fn has_seen(&self, key: &Key, kind: Kind, name: &str, version: u64) -> bool {
        self.seen.get(&kind).is_some_and(|seen| *seen >= version)
            || self.apps.get(key).and_then(|app| app.find(kind, name)).is_some_and(|(_, found)| found >= version)
    }

    /// Takes in a change and answers whose it is.
    pub(crate) fn change(&mut self, change: Change, now: Time) -> Vec<Key> {
        match change {
            Change::Init(kind) => {
                self.listing.insert(kind, HashSet::new());
                Vec::new()
            }
            Change::Listed(object) => {
                let id = (object.kind, object.key.namespace.clone(), object.name.clone());
                self.listing.entry(object.kind).or_default().insert(id);
                self.put(object, now)
            }
            Change::Listing(kind) => self.listing_done(kind, now),
            Change::Seen(object) => {
                self.note(object.kind, object.version);
                self.put(object, now)
            }
            Change::Gone(object) => {
                self.note(object.kind, object.version);
                let id = (object.kind, object.key.namespace.clone(), object.name.clone());
                self.take(&id, now).into_iter().collect()
            }
            Change::Failed(kind, error) => {
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
        let id = (object.kind, object.key.namespace.clone(), object.name.clone());
        let mut keys = Vec::new();
        if self.index.get(&id).is_some_and(|key| *key != object.key) {
            keys.extend(self.take(&id, now));
        }
        let app = self.apps.entry(object.key.clone()).or_default();
        let name = object.name;
        let mut endpoints = false;
        match (object.kind, object.content) {
            (_, Content::Rainbow(root)) => app.root = Some(root),
            (_, Content::Color(color)) => match color {
                Some(color) => drop(app.colors.insert(name, color)),
                None => drop(app.colors.remove(&name)),
            },
            (Kind::PodDisruptionBudget, Content::Workload(guard)) => drop(app.guards.insert(name, *guard)),
            (Kind::Service, Content::Workload(service)) => drop(app.services.insert(name, *service)),
            (_, Content::Workload(deployment)) => drop(app.deployments.insert(name, *deployment)),
            (_, Content::Pod(mut pod)) => {
                app.marks.see(&name, pod.said.mark, now);
                let same = |known: &&Pod| known.meta.uid == pod.meta.uid && known.ready == pod.ready;
                pod.ready_since = app.pods.get(&name).filter(same).map_or(now, |known| known.ready_since);
                app.pods.insert(name, pod);
            }
            (_, Content::Slice(slice)) => {
                app.slices.insert(name, slice);
                endpoints = true;
            }
        }
        if endpoints {
            app.endpoints.update(&app.slices, now);
            app.endpoints.prune(|pod| app.pods.contains_key(pod));
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
            Kind::EndpointSlice => app.endpoints.update(&app.slices, now),
            Kind::Pod => {
                app.endpoints.forget(&id.2);
                app.marks.forget(&id.2);
            }
            _ => {}
        }
        if app.is_empty() {
            self.apps.remove(&key);
        }
        Some(key)
    }
}
