//! Events, written in the background. A repeated event raises the count of the first one.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// Type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Debug)]
struct Entry {
    component: &'static str,
    about: ObjectReference,
    severity: Severity,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Accepts events without waiting. Events are dropped when the writer cannot keep up, as is usual in Kubernetes.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::Sender<Entry>,
    component: &'static str,
}

impl Recorder {
    const QUEUE: usize = 1024;

    /// Creates a recorder, and the task that writes for it. The task ends when all recorders are gone.
    pub fn new(client: Client, component: &'static str, host: String) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(Self::QUEUE);
        (Self { sender, component }, write(client, host, receiver))
    }

    /// Returns the same recorder in the name of another component.
    pub fn named(&self, component: &'static str) -> Self {
        Self { sender: self.sender.clone(), component }
    }

    pub fn record(&self, about: ObjectReference, severity: Severity, reason: &'static str, message: impl Into<String>) {
        let entry =
            Entry { component: self.component, about, severity, reason, message: message.into(), at: Timestamp::now() };
        if self.sender.try_send(entry).is_err() {
            tracing::debug!(reason, "event dropped");
        }
    }
}

/// Builds a reference to a pod, or to one of its containers.
pub fn pod_reference(pod: &Pod, container: Option<(&str, bool)>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: pod.namespace(),
        name: Some(pod.name_any()),
        uid: pod.uid(),
        resource_version: pod.resource_version(),
        field_path: container.map(|(name, init)| {
            let list = if init { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        }),
    }
}

/// Key of equal events of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EventKey {
    uid: String,
    field_path: Option<String>,
    reason: &'static str,
    message: String,
}

/// The latest events, kept so that a repeated one is counted.
#[derive(Debug, Default)]
struct RecentEvents {
    written: HashMap<EventKey, (String, i32)>,
    order: VecDeque<EventKey>,
}

impl RecentEvents {
    const KEPT: usize = 256;

    fn remember(&mut self, same: EventKey, name: String, count: i32) {
        if self.written.insert(same.clone(), (name, count)).is_none() {
            self.order.push_back(same);
        }
        while self.order.len() > Self::KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.written.remove(&oldest);
            }
        }
    }
}

async fn write(client: Client, host: String, mut receiver: mpsc::Receiver<Entry>) {
    let mut recent = RecentEvents::default();
    while let Some(entry) = receiver.recv().await {
        let namespace = entry.about.namespace.clone().unwrap_or_else(|| "default".into());
        let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let same = EventKey {
            uid: entry.about.uid.clone().unwrap_or_default(),
            field_path: entry.about.field_path.clone(),
            reason: entry.reason,
            message: entry.message.clone(),
        };
        if let Some((name, count)) = recent.written.get(&same).cloned() {
            let patch = json!({"count": count + 1, "lastTimestamp": Time(entry.at)});
            match events.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => {
                    recent.remember(same, name, count + 1);
                    continue;
                }
                // The event was cleaned up in the meantime: create a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::debug!(%error, "event not counted");
                    continue;
                }
            }
        }
        let object = entry.about.name.clone().unwrap_or_default();
        let name = format!("{object}.{:x}{:04x}", entry.at.as_nanosecond(), rand::random::<u16>());
        let event = Event {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: entry.about,
            reason: Some(entry.reason.into()),
            message: Some(entry.message),
            type_: Some(entry.severity.as_str().into()),
            count: Some(1),
            first_timestamp: Some(Time(entry.at)),
            last_timestamp: Some(Time(entry.at)),
            source: Some(EventSource { component: Some(entry.component.into()), host: Some(host.clone()) }),
            reporting_component: Some(entry.component.into()),
            reporting_instance: Some(host.clone()),
            ..Event::default()
        };
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => recent.remember(same, name, 1),
            // Happens in a namespace that is being deleted, for example.
            Err(error) => tracing::debug!(%error, "event not written"),
        }
    }
}
