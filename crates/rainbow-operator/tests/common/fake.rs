//! Fakes of the controllers and the nodes of a cluster: Deployments get pods, pods become ready, Services get endpoint slices with the
//! labels of the Service. They do no more than the operator can notice.

use futures::{FutureExt, StreamExt, stream::select_all};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{Config, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
};

#[derive(Clone)]
pub struct Fake {
    /// Colors whose pods never become ready.
    pub broken: Arc<Mutex<BTreeSet<String>>>,
    /// Images that no node can pull.
    pub missing: Arc<Mutex<BTreeSet<String>>>,
    /// Number of pods made so far.
    pub made: Arc<Mutex<u32>>,
    /// Whether the endpoint controller does not see membership labels.
    pub sees_no_members: Arc<Mutex<bool>>,
}

impl Fake {
    pub fn start(client: Client) -> Self {
        let fake = Self {
            broken: Arc::default(),
            missing: Arc::default(),
            made: Arc::default(),
            sees_no_members: Arc::default(),
        };
        let this = fake.clone();
        tokio::spawn(async move {
            let all = || Config::default();
            let mut changes = select_all([
                watcher(Api::<Deployment>::all(client.clone()), all()).map(drop).boxed(),
                watcher(Api::<ReplicaSet>::all(client.clone()), all()).map(drop).boxed(),
                watcher(Api::<Pod>::all(client.clone()), all()).map(drop).boxed(),
                watcher(Api::<Service>::all(client.clone()), all()).map(drop).boxed(),
            ]);
            while changes.next().await.is_some() {
                // A look sees everything, so one is enough for all changes that have come.
                while changes.next().now_or_never().flatten().is_some() {}
                this.sync(&client).await;
            }
        });
        fake
    }

    async fn sync(&self, client: &Client) {
        let list = ListParams::default();
        let deployments = Api::<Deployment>::all(client.clone()).list(&list).await.unwrap().items;
        let sets = Api::<ReplicaSet>::all(client.clone()).list(&list).await.unwrap().items;
        let pods = Api::<Pod>::all(client.clone()).list(&list).await.unwrap().items;
        orphan(client, &deployments, &sets).await;
        orphan(client, &sets, &pods).await;
        let services = Api::<Service>::all(client.clone()).list(&list).await.unwrap().items;
        let api: Api<Pod> = Api::namespaced(client.clone(), "default");
        for deployment in deployments.iter().filter(|found| found.metadata.deletion_timestamp.is_none()) {
            self.scale(client, deployment, &sets, &pods).await;
        }
        for set in &sets {
            if is_lost(set, &deployments) {
                let api: Api<ReplicaSet> = Api::namespaced(client.clone(), "default");
                let _ = api.delete(&set.name_any(), &DeleteParams::background()).await;
            } else if set.metadata.deletion_timestamp.is_none() {
                self.refill(&api, set, &pods).await;
            }
        }
        // Pods of others belong to their tests.
        for pod in pods.iter().filter(|pod| pod.labels().contains_key("rainbow.dev/color")) {
            if is_lost(pod, &sets) {
                let _ = api.delete(&pod.name_any(), &DeleteParams::default()).await;
            } else if let Some(status) = self.not_pulled(pod) {
                let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
            } else if !ready(pod) && !self.broken.lock().unwrap().contains(&pod.labels()["rainbow.dev/color"]) {
                let status = json!({ "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": [
                    { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
                let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
            }
        }
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
        let existing = slices.list(&list).await.unwrap().items;
        for service in &services {
            self.slice(&slices, service, &pods, &existing).await;
        }
        for slice in &existing {
            if !services.iter().any(|service| format!("{}-x", service.name_any()) == slice.name_any()) {
                let _ = slices.delete(&slice.name_any(), &DeleteParams::default()).await;
            }
        }
    }

    /// Returns the status of a pod that has an init container whose image cannot be pulled.
    fn not_pulled(&self, pod: &Pod) -> Option<serde_json::Value> {
        let missing = self.missing.lock().unwrap();
        let init = pod.spec.as_ref()?.init_containers.iter().flatten();
        let stuck = init.clone().find(|c| c.image.as_ref().is_some_and(|image| missing.contains(image)))?;
        Some(json!({ "status": { "phase": "Pending", "initContainerStatuses": [{
            "name": stuck.name, "image": stuck.image, "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } },
        }] } }))
    }

    /// Keeps a Deployment's ReplicaSet: creates one, or adopts one that has no owner.
    async fn scale(&self, client: &Client, deployment: &Deployment, sets: &[ReplicaSet], pods: &[Pod]) {
        let api: Api<ReplicaSet> = Api::namespaced(client.clone(), "default");
        let spec = deployment.spec.clone().unwrap();
        let owner = json!([deployment.controller_owner_ref(&()).unwrap()]);
        let name = format!("{}-set", deployment.name_any());
        let known = sets.iter().find(|set| set.name_any() == name);
        let own = pods.iter().filter(|pod| known.is_some_and(|set| is_of(*pod, set))).collect::<Vec<_>>();
        match known {
            None => {
                let set = json!({
                    "metadata": { "name": name, "labels": deployment.labels(), "ownerReferences": owner },
                    "spec": { "replicas": spec.replicas, "selector": spec.selector, "template": spec.template },
                });
                api.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
            }
            Some(set) if set.metadata.deletion_timestamp.is_some() => panic!("{name} is made while it goes"),
            Some(set) => {
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
                if replicas != spec.replicas || set.owner_references().is_empty() {
                    let metadata = json!({ "ownerReferences": owner });
                    let patch = json!({ "metadata": metadata, "spec": { "replicas": spec.replicas } });
                    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
                }
            }
        }
        let counts = json!({
            "observedGeneration": deployment.metadata.generation,
            "replicas": own.len(),
            "readyReplicas": own.iter().filter(|pod| ready(pod)).count(),
        });
        let known = serde_json::to_value(&deployment.status).unwrap();
        if ["observedGeneration", "replicas", "readyReplicas"].iter().any(|field| known[field] != counts[field]) {
            let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
            let patch = Patch::Merge(json!({ "status": counts }));
            let _ = api.patch_status(&deployment.name_any(), &PatchParams::default(), &patch).await;
        }
    }

    /// Adopts pods, and creates or deletes some.
    async fn refill(&self, api: &Api<Pod>, set: &ReplicaSet, pods: &[Pod]) {
        let spec = set.spec.as_ref().unwrap();
        let selector = spec.selector.match_labels.clone().unwrap();
        let selected = |pod: &Pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
        let owner = set.controller_owner_ref(&()).unwrap();
        let alive = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        for pod in alive.clone().filter(|pod| pod.owner_references().is_empty() && selected(pod)) {
            let patch = json!({ "metadata": { "uid": pod.uid(), "ownerReferences": [owner] } });
            let _ = api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        }
        let is_own = |pod: &&Pod| is_of(*pod, set) || (pod.owner_references().is_empty() && selected(pod));
        let mut own: Vec<&Pod> = alive.filter(is_own).collect();
        // The last pods go first: those that are not ready, then the cheapest, as in the ReplicaSet controller.
        own.sort_by_key(|pod| (!ready(pod), -cost(pod), pod.name_any()));
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap();
        for _ in own.len()..wanted {
            let number = {
                let mut made = self.made.lock().unwrap();
                *made += 1;
                *made
            };
            let template = spec.template.clone().unwrap();
            let mut pod = Pod { spec: template.spec, ..Pod::default() };
            pod.metadata = template.metadata.unwrap();
            pod.metadata.name = Some(format!("{}-{number}", set.name_any().trim_end_matches("-set")));
            pod.metadata.owner_references = Some(vec![owner.clone()]);
            api.create(&PostParams::default(), &pod).await.unwrap();
        }
        for pod in own.iter().skip(wanted) {
            let _ = api.delete(&pod.name_any(), &DeleteParams::default()).await;
        }
    }

    async fn slice(&self, api: &Api<EndpointSlice>, service: &Service, pods: &[Pod], existing: &[EndpointSlice]) {
        let name = format!("{}-x", service.name_any());
        let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.clone()) else { return };
        let is_seen = !selector.keys().any(|key| key.starts_with("member.")) || !*self.sees_no_members.lock().unwrap();
        let selected = |pod: &&Pod| is_seen && selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
        let publishes = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
        let endpoints: Vec<_> = pods
            .iter()
            .filter(selected)
            .map(|pod| {
                json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": publishes || ready(pod), "serving": ready(pod) },
                        "targetRef": { "kind": "Pod", "name": pod.name_any(), "namespace": "default" } })
            })
            .collect();
        let mut labels: BTreeMap<String, String> = service.labels().clone();
        labels.insert("kubernetes.io/service-name".into(), service.name_any());
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": name, "namespace": "default", "labels": labels },
            "addressType": "IPv4", "endpoints": endpoints,
        });
        let wanted: EndpointSlice = serde_json::from_value(object).unwrap();
        match existing.iter().find(|slice| slice.name_any() == name) {
            None => drop(api.create(&PostParams::default(), &wanted).await),
            Some(slice) if slice.endpoints != wanted.endpoints => {
                let patch = Patch::Merge(json!({ "endpoints": endpoints }));
                let _ = api.patch(&name, &PatchParams::default(), &patch).await;
            }
            Some(_) => {}
        }
    }
}

fn cost(pod: &Pod) -> i64 {
    let annotation = pod.annotations().get("controller.kubernetes.io/pod-deletion-cost");
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Returns whether the owner is one of the object's owners.
fn is_of(object: &impl ResourceExt, owner: &impl ResourceExt) -> bool {
    object.owner_references().iter().any(|known| Some(&known.uid) == owner.uid().as_ref())
}

/// Returns whether the garbage collector deletes the object: an owner of this kind is gone.
fn is_lost<K: Resource<DynamicType = ()>>(object: &impl ResourceExt, owners: &[K]) -> bool {
    let mut lost = object.owner_references().iter().filter(|owner| owner.kind == K::kind(&()));
    lost.any(|owner| !owners.iter().any(|known| known.meta().uid.as_ref() == Some(&owner.uid)))
}

/// Removes the owner references to objects that are deleted without their dependents, as the garbage collector does.
async fn orphan<O, D>(client: &Client, owners: &[O], dependents: &[D])
where
    O: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    D: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let (owner_api, api): (Api<O>, Api<D>) =
        (Api::namespaced(client.clone(), "default"), Api::namespaced(client.clone(), "default"));
    for owner in owners.iter().filter(|owner| owner.finalizers().iter().any(|finalizer| finalizer == "orphan")) {
        for dependent in dependents.iter().filter(|dependent| is_of(*dependent, owner)) {
            let patch = json!({ "metadata": { "uid": dependent.uid(), "ownerReferences": null } });
            let _ = api.patch(&dependent.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        }
        let patch = json!({ "metadata": { "finalizers": null } });
        let _ = owner_api.patch(&owner.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
    }
}
