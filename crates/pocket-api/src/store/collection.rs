//! Objects of one kind and a bounded history of their changes.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::Objects;
use crate::json::to_bytes;

/// Greatest number of events kept per kind.
const MAX_EVENTS: usize = 1024;
/// Greatest number of bytes (approximately) of objects that history alone keeps alive per kind.
const MAX_BYTES: usize = 1 << 20;
/// Age at which an event is forgotten, as etcd's compaction does in a cluster.
const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(300);

/// Object at one revision.
#[derive(Debug)]
pub(crate) struct Stored {
    /// `namespace/name`.
    pub(crate) key: Arc<str>,
    /// Whole object as JSON.
    pub(crate) bytes: Bytes,
    /// Resource version.
    pub(crate) revision: u64,
    /// Time at which the object became so, or was read from disk.
    pub(crate) since: Instant,
    /// Labels: an object, or null.
    pub(crate) labels: Value,
    /// Values of the kind's selectable fields, in the order of the kind's table row.
    fields: Box<[Option<Box<str>>]>,
}

impl Stored {
    pub(crate) fn new(key: Arc<str>, value: &Value, revision: u64, fields: &[Arc<str>]) -> Self {
        let labels = value.pointer("/metadata/labels").cloned().unwrap_or(Value::Null);
        let fields = fields.iter().map(|path| field(value, path)).collect();
        Self { key, bytes: to_bytes(value), revision, since: Instant::now(), labels, fields }
    }

    pub(super) fn from_bytes(key: Arc<str>, bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let revision = value.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()?;
        Some(Self::new(key, &value, revision, &[]))
    }

    /// Returns the parsed object.
    pub(crate) fn value(&self) -> Value {
        // The bytes were made from a value, so they can be parsed.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Returns the namespace; empty for a cluster-scoped object.
    pub(crate) fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub(crate) fn name(&self) -> &str {
        self.key.split_once('/').map_or(&*self.key, |(_, name)| name)
    }

    /// Returns the value of a selectable field; an absent value is empty, as in Kubernetes.
    pub(crate) fn field(&self, fields: &[Arc<str>], path: &str) -> Option<String> {
        match path {
            "metadata.name" => Some(self.name().to_owned()),
            "metadata.namespace" => Some(self.namespace().to_owned()),
            _ => {
                let index = fields.iter().position(|known| **known == *path)?;
                Some(self.fields.get(index)?.as_deref().unwrap_or_default().to_owned())
            }
        }
    }
}

/// Returns a scalar at a dotted path, as text.
fn field(value: &Value, path: &str) -> Option<Box<str>> {
    let found = path.split('.').try_fold(value, |at, step| at.get(step))?;
    match found {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(_) | Value::Number(_) => Some(found.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// Change of an object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// Object after the change; of a deleted object, its last state at the revision of the deletion.
    pub(crate) object: Arc<Stored>,
    /// Object before the change; `None` if it was added.
    pub(crate) before: Option<Arc<Stored>>,
    at: Instant,
}

/// Error for events that are no longer kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expired {
    /// Oldest revision that can be requested.
    pub(crate) oldest: u64,
}

/// Objects of one kind with their history.
pub(super) struct Collection {
    pub(super) objects: Objects,
    history: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Revision up to which events are forgotten.
    forgotten: u64,
    changed: watch::Sender<u64>,
    indexed: Vec<Arc<str>>,
}

impl Collection {
    pub(super) fn new(forgotten: u64) -> Self {
        Self {
            objects: Objects::new(),
            history: VecDeque::new(),
            bytes: 0,
            forgotten,
            changed: watch::Sender::new(forgotten),
            indexed: Vec::new(),
        }
    }

    /// Adds an object from disk.
    pub(super) fn load(&mut self, stored: Stored) {
        self.objects.insert(stored.key.clone(), Arc::new(stored));
    }

    pub(super) fn forget(&mut self, revision: u64) {
        self.forgotten = revision;
    }

    /// Indexes `fields` in all objects.
    pub(super) fn index(&mut self, fields: &[Arc<str>]) {
        if self.indexed == fields {
            return;
        }
        self.indexed = fields.to_vec();
        let again: Vec<_> = self
            .objects
            .values()
            .map(|stored| Stored::new(stored.key.clone(), &stored.value(), stored.revision, fields))
            .collect();
        for stored in again {
            self.load(stored);
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Applies a change (`Some(Deleted)`, or `None` for create-or-replace) and records it.
    pub(super) fn apply(&mut self, kind: Option<EventKind>, stored: Arc<Stored>) {
        let revision = stored.revision;
        let before = match kind {
            Some(EventKind::Deleted) => self.objects.remove(&*stored.key),
            _ => self.objects.insert(stored.key.clone(), stored.clone()),
        };
        let kind = kind.unwrap_or(if before.is_some() { EventKind::Modified } else { EventKind::Added });
        self.bytes += stored.bytes.len();
        self.history.push_back(Arc::new(Event { kind, object: stored, before, at: Instant::now() }));
        self.trim();
        self.changed.send_replace(revision);
    }

    /// Forgets events that are too many or too old, but never the newest event.
    fn trim(&mut self) {
        let now = Instant::now();
        while self.history.len() > 1 {
            let Some(oldest) = self.history.front() else { break };
            let too_much = self.history.len() > MAX_EVENTS || self.bytes > MAX_BYTES;
            if !too_much && now.duration_since(oldest.at) < MAX_AGE {
                break;
            }
            self.forgotten = oldest.object.revision;
            self.bytes = self.bytes.saturating_sub(oldest.object.bytes.len());
            self.history.pop_front();
        }
    }

    pub(super) fn events_after(&self, revision: u64) -> Result<Vec<Arc<Event>>, Expired> {
        if revision < self.forgotten {
            return Err(Expired { oldest: self.forgotten });
        }
        let from = self.history.partition_point(|event| event.object.revision <= revision);
        Ok(self.history.range(from..).cloned().collect())
    }
}
