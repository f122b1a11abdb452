//! Cluster for tests: API server, controllers, and a node that marks pods as running.

use std::{fmt::Debug, future::Future, time::Duration};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Event, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub(crate) struct Cluster {
    pub(crate) api: pocket_api::Api,
    pub(crate) client: Client,
}

/// Annotation of a pod's template: the pod never becomes ready.
pub(crate) const UNREADY: &str = "test/unready";
/// Annotation of a pod's template: the pod ends with this phase.
pub(crate) const ENDS: &str = "test/ends";
/// Annotation of a pod's template: the pod needs that number of seconds to end when it is deleted.
pub(crate) const LINGERS: &str = "test/lingers";

pub(crate) trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Serialize
    + Debug
    + Send
    + Sync
    + 'static
{
}
impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + Debug
        + Send
        + Sync
        + 'static
{
}

impl Cluster {
    /// Returns a cluster with all controllers and the node.
    pub(crate) fn new() -> Self {
        let cluster = Self::bare();
        cluster.control("root");
        tokio::spawn(node(cluster.client.clone()));
        cluster
    }

    /// Starts the controllers, with a text in the place of the authority's certificate.
    pub(crate) fn control(&self, root_ca: &str) -> tokio::task::JoinHandle<()> {
        let settings = pocket_controllers::Settings { root_ca: Some(root_ca.to_owned()) };
        tokio::spawn(pocket_controllers::run(self.client.clone(), settings, std::future::pending()))
    }

    /// Returns the API server alone.
    pub(crate) fn bare() -> Self {
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let client = api.client("default");
        Self { api, client }
    }

    pub(crate) fn of<K: Namespaced>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create<K: Namespaced>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        self.of::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    pub(crate) async fn get<K: Namespaced>(&self, name: &str) -> Option<K> {
        self.of::<K>().get_opt(name).await.unwrap()
    }

    pub(crate) async fn list<K: Namespaced>(&self) -> Vec<K> {
        self.of::<K>().list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn patch<K: Namespaced>(&self, name: &str, patch: Value) -> K {
        self.of::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    pub(crate) async fn delete<K: Namespaced>(&self, name: &str, params: DeleteParams) {
        self.of::<K>().delete(name, &params).await.unwrap();
    }

    /// Waits until a question has an answer; fails with the last observation.
    #[track_caller]
    pub(crate) fn until<T, S: Debug, F: Future<Output = Result<T, S>>>(
        &self,
        question: impl Fn() -> F,
    ) -> impl Future<Output = T> {
        let place = std::panic::Location::caller();
        async move {
            let mut last = None;
            for _ in 0..3000 {
                match question().await {
                    Ok(answer) => return answer,
                    Err(seen) => last = Some(seen),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("waited in vain at {place}: {:#?}", last.unwrap());
        }
    }

    /// Waits until an object satisfies a condition.
    #[track_caller]
    pub(crate) fn until_is<'a, K: Namespaced>(
        &'a self,
        name: &'a str,
        is: impl Fn(&Value) -> bool + 'a,
    ) -> impl Future<Output = K> + 'a {
        let is = std::rc::Rc::new(is);
        self.until(move || {
            let is = is.clone();
            async move {
                let object = self.get::<K>(name).await;
                match object {
                    Some(object) if is(&serde_json::to_value(&object).unwrap()) => Ok(object),
                    other => Err(other),
                }
            }
        })
    }

    /// Waits until everything is at rest.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// Returns reasons and messages of all events, oldest first.
    pub(crate) async fn events(&self) -> Vec<String> {
        let mut events = self.list::<Event>().await;
        events.sort_by_key(|event| event.metadata.resource_version.clone().unwrap().parse::<u64>().unwrap());
        events
            .into_iter()
            .map(|event| format!("{} {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect()
    }

    pub(crate) async fn status<K: Namespaced>(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.of::<K>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }
}

/// Returns the value of a condition's field.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str, field: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .and_then(|condition| condition[field].as_str())
        .unwrap_or_default()
}

/// Returns the time of day as the controllers see it: ahead of the real one by the lead of the clock.
fn now() -> String {
    thread_local! {
        static CLOCK: (std::time::Instant, tokio::time::Instant) = (std::time::Instant::now(), tokio::time::Instant::now());
    }
    let ahead = CLOCK.with(|(real, paced)| paced.elapsed().saturating_sub(real.elapsed()));
    let now = k8s_openapi::jiff::Timestamp::now() + k8s_openapi::jiff::SignedDuration::try_from(ahead).unwrap();
    k8s_openapi::jiff::Timestamp::from_second(now.as_second()).unwrap().to_string()
}

/// Pretends to run pods.
async fn node(client: Client) {
    let all: Api<Pod> = Api::all(client.clone());
    let mut pods = watcher(all, watcher::Config::default()).boxed();
    let mut started = std::collections::HashSet::new();
    let mut ended = std::collections::HashSet::new();
    while let Some(event) = pods.next().await {
        let (watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = event.unwrap() else { continue };
        let uid = pod.uid().unwrap();
        if pod.metadata.deletion_timestamp.is_some() {
            if ended.insert(uid) {
                tokio::spawn(end(client.clone(), pod));
            }
        } else if started.insert(uid) {
            tokio::spawn(start(client.clone(), pod, started.len()));
        }
    }
}

async fn start(client: Client, pod: Pod, number: usize) {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap());
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "pocket" },
    });
    // The pod may have been deleted meanwhile, here and below.
    if api.create_subresource::<Value, Value>("binding", &name, &PostParams::default(), &binding).await.is_err() {
        return;
    }
    let ready = if pod.annotations().contains_key(UNREADY) { "False" } else { "True" };
    let condition = |kind: &str| json!({ "type": kind, "status": ready, "lastTransitionTime": now() });
    let ip = format!("10.244.{}.{}", number / 250, number % 250 + 1);
    let status = json!({
        "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "startTime": now(),
        "conditions": [condition("ContainersReady"), condition("Ready")],
    });
    let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await;
    if let Some(phase) = pod.annotations().get(ENDS) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let status = json!({ "phase": phase, "conditions": [{ "type": "Ready", "status": "False" }] });
        let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await;
    }
}

async fn end(client: Client, pod: Pod) {
    let lingers = pod.annotations().get(LINGERS).map_or(0, |seconds| seconds.parse().unwrap());
    tokio::time::sleep(Duration::from_secs(lingers)).await;
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap());
    let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
}
