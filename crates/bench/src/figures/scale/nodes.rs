//! Substitute for the controllers and nodes of one namespace: Deployments get pods, which are ready at once, and Services
//! get endpoint slices.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::cluster::Cluster;

/// Interval of the checks of the namespace, which is also the time that its pods take to start.
const EVERY: Duration = Duration::from_millis(20);

/// Task that runs until it is dropped.
pub(super) struct Nodes(JoinHandle<()>);

impl Drop for Nodes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Nodes {
    pub(super) fn start(cluster: &Cluster, namespace: &str) -> Self {
        let (client, namespace) = (cluster.client.clone(), namespace.to_owned());
        Self(tokio::spawn(async move {
            let node = Node {
                deployments: Api::namespaced(client.clone(), &namespace),
                pods: Api::namespaced(client.clone(), &namespace),
                services: Api::namespaced(client.clone(), &namespace),
                slices: Api::namespaced(client, &namespace),
            };
            loop {
                // An object may go between a read and a write: the next round sees that.
                let _ = node.sync().await;
                tokio::time::sleep(EVERY).await;
            }
        }))
    }
}

struct Node {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    services: Api<Service>,
    slices: Api<EndpointSlice>,
}

impl Node {
    async fn sync(&self) -> Result<()> {
        let everything = ListParams::default();
        let deployments = self.deployments.list(&everything).await?.items;
        let pods = self.pods.list(&everything).await?.items;
        for deployment in &deployments {
            self.scale(deployment, &pods).await?;
        }
        for pod in &pods {
            if !deployments.iter().any(|deployment| owns(deployment, pod)) {
                self.pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
            }
        }
        let slices = self.slices.list(&everything).await?.items;
        for service in self.services.list(&everything).await?.items {
            self.endpoints(&service, &pods, &slices).await?;
        }
        Ok(())
    }

    async fn scale(&self, deployment: &Deployment, pods: &[Pod]) -> Result<()> {
        let spec = deployment.spec.as_ref().context("a Deployment has a spec")?;
        let wanted = usize::try_from(spec.replicas.unwrap_or(1))?;
        let own: Vec<&Pod> = pods.iter().filter(|pod| owns(deployment, pod)).collect();
        for _ in own.len()..wanted {
            let mut pod = Pod { spec: spec.template.spec.clone(), ..Pod::default() };
            pod.metadata = spec.template.metadata.clone().unwrap_or_default();
            pod.metadata.generate_name = Some(format!("{}-7c5ddbdf54-", deployment.name_any()));
            pod.metadata.owner_references = deployment.controller_owner_ref(&()).map(|owner| vec![owner]);
            let made = self.pods.create(&PostParams::default(), &pod).await?;
            let status = json!({ "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
            self.pods.patch_status(&made.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        for pod in own.iter().skip(wanted) {
            self.pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        }
        let observed = deployment.metadata.generation;
        let known = deployment.status.as_ref();
        let counted = known.and_then(|status| status.replicas) == Some(i32::try_from(wanted)?);
        if !counted || known.and_then(|status| status.observed_generation) != observed {
            let status =
                json!({ "status": { "observedGeneration": observed, "replicas": wanted, "readyReplicas": wanted } });
            let patch = Patch::Merge(status);
            self.deployments.patch_status(&deployment.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    async fn endpoints(&self, service: &Service, pods: &[Pod], slices: &[EndpointSlice]) -> Result<()> {
        let name = format!("{}-x", service.name_any());
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        let selected = |pod: &&Pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
        let mut names: Vec<String> = pods.iter().filter(selected).map(ResourceExt::name_any).collect();
        names.sort();
        let known = slices.iter().find(|slice| slice.name_any() == name);
        let there = known.map(|slice| {
            let of = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| endpoint.target_ref.as_ref()?.name.clone();
            slice.endpoints.iter().filter_map(of).collect::<Vec<_>>()
        });
        if there.as_ref() == Some(&names) {
            return Ok(());
        }
        let mut labels: BTreeMap<String, String> = service.labels().clone();
        labels.insert("kubernetes.io/service-name".into(), service.name_any());
        let endpoint = |pod: &String| {
            json!({
                "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": pod },
            })
        };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": name, "labels": labels },
            "endpoints": names.iter().map(endpoint).collect::<Vec<_>>(),
        });
        self.slices.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(slice)).await?;
        Ok(())
    }
}

fn owns(deployment: &Deployment, pod: &Pod) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref())
}
