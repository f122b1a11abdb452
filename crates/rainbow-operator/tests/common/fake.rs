//! Stand-ins for the controllers and the nodes of a cluster: Deployments get pods, pods become ready, Services get
//! endpoint slices with the labels of the Service. No more than the operator can notice.

use futures::{StreamExt, stream::select_all};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{Config, watcher},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

#[derive(Clone)]
pub struct Fake {
    /// Colors whose pods never become ready.
    pub broken: Arc<Mutex<BTreeSet<String>>>,
    /// Images that no node can pull.
    pub missing: Arc<Mutex<BTreeSet<String>>>,
    /// Pods made so far.
    pub made: Arc<Mutex<u32>>,
}

impl Fake {
    pub fn start(client: Client) -> Self {
        let fake = Self { broken: Arc::default(), missing: Arc::default(), made: Arc::default() };
        let this = fake.clone();
        tokio::spawn(async move {
            let all = || Config::default();
            let mut changes = select_all([
                watcher(Api::<Deployment>::all(client.clone()), all()).map(drop).boxed(),
                watcher(Api::<Pod>::all(client.clone()), all()).map(drop).boxed(),
                watcher(Api::<Service>::all(client.clone()), all()).map(drop).boxed(),
            ]);
            while changes.next().await.is_some() {
                this.sync(&client).await;
            }
        });
        fake
    }

    async fn sync(&self, client: &Client) {
        let list = ListParams::default();
        let deployments = Api::<Deployment>::all(client.clone()).list(&list).await.unwrap().items;
        let pods = Api::<Pod>::all(client.clone()).list(&list).await.unwrap().items;
        let services = Api::<Service>::all(client.clone()).list(&list).await.unwrap().items;
        let api: Api<Pod> = Api::namespaced(client.clone(), "default");
        for deployment in &deployments {
            self.scale(client, &api, deployment, &pods).await;
        }
        for pod in &pods {
            let owner = &pod.owner_references()[0].uid;
            if !deployments.iter().any(|deployment| deployment.uid().as_ref() == Some(owner)) {
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

    /// The status of a pod with a container before the others whose image cannot be pulled.
    fn not_pulled(&self, pod: &Pod) -> Option<serde_json::Value> {
        let missing = self.missing.lock().unwrap();
        let init = pod.spec.as_ref()?.init_containers.iter().flatten();
        let stuck = init.clone().find(|c| c.image.as_ref().is_some_and(|image| missing.contains(image)))?;
        Some(json!({ "status": { "phase": "Pending", "initContainerStatuses": [{
            "name": stuck.name, "image": stuck.image, "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } },
        }] } }))
    }

    async fn scale(&self, client: &Client, api: &Api<Pod>, deployment: &Deployment, pods: &[Pod]) {
        let spec = deployment.spec.as_ref().unwrap();
        let uid = deployment.uid().unwrap();
        let mut own: Vec<&Pod> = pods
            .iter()
            .filter(|pod| pod.owner_references()[0].uid == uid && pod.metadata.deletion_timestamp.is_none())
            .collect();
        // The last ones go first: those that are not ready, then the cheapest, as the ReplicaSet controller has it.
        own.sort_by_key(|pod| (!ready(pod), -cost(pod), pod.name_any()));
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap();
        for _ in own.len()..wanted {
            let number = {
                let mut made = self.made.lock().unwrap();
                *made += 1;
                *made
            };
            let mut pod = Pod { spec: spec.template.spec.clone(), ..Pod::default() };
            pod.metadata = spec.template.metadata.clone().unwrap();
            pod.metadata.name = Some(format!("{}-{number}", deployment.name_any()));
            pod.metadata.owner_references = Some(vec![deployment.controller_owner_ref(&()).unwrap()]);
            api.create(&PostParams::default(), &pod).await.unwrap();
        }
        for pod in own.iter().skip(wanted) {
            let _ = api.delete(&pod.name_any(), &DeleteParams::default()).await;
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

    async fn slice(&self, api: &Api<EndpointSlice>, service: &Service, pods: &[Pod], existing: &[EndpointSlice]) {
        let name = format!("{}-x", service.name_any());
        let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.clone()) else { return };
        let selected = |pod: &&Pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
        let endpoints: Vec<_> = pods
            .iter()
            .filter(selected)
            .map(|pod| {
                json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": ready(pod) },
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
