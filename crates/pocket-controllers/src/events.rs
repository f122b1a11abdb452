//! Events, as `kubectl describe` and `kubectl get events` show them. Events are best effort: other work never waits for them.

use std::collections::HashMap;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{MANAGER, clock};

/// Writer of events.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Event>);

/// Greatest number of waiting events; more are dropped.
const BACKLOG: usize = 512;
/// Number of different events that are remembered, so that a repeated one is counted instead of written again.
const REMEMBERED: usize = 512;

impl Events {
    pub(crate) fn start(client: Client, tasks: &mut JoinSet<()>) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tasks.spawn(write(client, receiver));
        Self(sender)
    }

    pub(crate) fn normal<K: Resource<DynamicType = ()>>(
        &self,
        component: &str,
        about: &K,
        reason: &str,
        message: String,
    ) {
        self.send("Normal", component, about, reason, message);
    }

    pub(crate) fn warning<K: Resource<DynamicType = ()>>(
        &self,
        component: &str,
        about: &K,
        reason: &str,
        message: String,
    ) {
        self.send("Warning", component, about, reason, message);
    }

    fn send<K: Resource<DynamicType = ()>>(
        &self,
        kind: &str,
        component: &str,
        about: &K,
        reason: &str,
        message: String,
    ) {
        let meta = about.meta();
        let (now, name) = (clock::time(), meta.name.clone().unwrap_or_default());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", clock::now().as_nanosecond())),
                namespace: meta.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: Some(name),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                field_path: None,
            },
            type_: Some(kind.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource { component: Some(component.to_owned()), host: None }),
            reporting_component: Some(component.to_owned()),
            reporting_instance: Some(String::new()),
            ..Event::default()
        };
        if self.0.try_send(event).is_err() {
            tracing::debug!(reason, "an event is dropped");
        }
    }
}

/// Identity of an event: two events with the same identity are repetitions.
type Identity = (Option<String>, Option<String>, Option<String>);

async fn write(client: Client, mut events: mpsc::Receiver<Event>) {
    let mut known: HashMap<Identity, (String, i32)> = HashMap::new();
    while let Some(event) = events.recv().await {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let identity = (event.involved_object.uid.clone(), event.reason.clone(), event.message.clone());
        if let Some((name, count)) = known.get_mut(&identity) {
            let patch = repeated(*count + 1, event.last_timestamp.as_ref());
            if api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok() {
                *count += 1;
                continue;
            }
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match api.create(&params, &event).await {
            Ok(created) => drop(known.insert(identity, (created.metadata.name.unwrap_or_default(), 1))),
            Err(error) => tracing::debug!(%error, "an event is lost"),
        }
    }
}

fn repeated(count: i32, last: Option<&Time>) -> serde_json::Value {
    json!({ "count": count, "lastTimestamp": last })
}
