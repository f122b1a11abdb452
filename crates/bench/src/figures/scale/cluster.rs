//! API server in this process, without nodes and controllers, which the operator reaches over loopback.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use super::application;

/// Number of applications that are copied at the same time.
const COPIES: usize = 8;

pub(super) struct Cluster {
    pub(super) api: pocket_api::Api,
    pub(super) client: Client,
    dir: TempDir,
    server: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Cluster {
    pub(super) async fn start() -> Result<Self> {
        let api = pocket_api::Api::new(pocket_api::Options::default())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = api.router();
        let server = tokio::spawn(async move {
            // Ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        let client = api.client("default");
        for crd in rainbow_operator::install::definitions() {
            create(&client, None, &serde_json::from_value(crd)?).await?;
        }
        let dir = TempDir::with_prefix("rainbow-bench-")?;
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig(address))?;
        Ok(Self { api, client, dir, server })
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub(super) async fn namespace(&self, name: &str) -> Result<()> {
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Default::default()
        };
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// Applies a Rainbow as a user does.
    pub(super) async fn apply(&self, manifest: &Value) -> Result<()> {
        let namespace = manifest["metadata"]["namespace"].as_str().context("no namespace")?;
        let api = api(&self.client, Some(namespace), &kind("rainbow.dev/v1alpha1", "Rainbow"));
        api.patch(application::NAME, &PatchParams::apply("user").force(), &Patch::Apply(manifest)).await?;
        Ok(())
    }

    /// Returns whether the application in a namespace is ready, and serves a color in every stage.
    pub(super) async fn serves(&self, namespace: &str, color: &str) -> Result<bool> {
        let api = api(&self.client, Some(namespace), &kind("rainbow.dev/v1alpha1", "Rainbow"));
        let found = api.get(application::NAME).await?;
        let status = &found.data["status"];
        let seen = status["observedGeneration"].as_i64() == found.metadata.generation;
        let ready = status["conditions"].as_array().into_iter().flatten();
        let ready = ready.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        Ok(seen && ready && status["summary"] == format!("smoke={color}, active={color}"))
    }

    /// Copies all objects of a namespace into other, new namespaces.
    pub(super) async fn copy(&self, from: &str, to: Vec<String>) -> Result<()> {
        let mut objects = Vec::new();
        for (api_version, name) in [
            ("rainbow.dev/v1alpha1", "Rainbow"),
            ("rainbow.dev/v1alpha1", "Color"),
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("discovery.k8s.io/v1", "EndpointSlice"),
            ("v1", "Pod"),
        ] {
            let kind = kind(api_version, name);
            let found = api(&self.client, Some(from), &kind).list(&ListParams::default()).await?;
            objects.extend(found.items.into_iter().map(|object| (kind.clone(), object)));
        }
        let objects = &objects;
        let copies = to.into_iter().map(|namespace| async move { self.copy_to(objects, &namespace).await });
        stream::iter(copies).buffer_unordered(COPIES).try_collect().await
    }

    async fn copy_to(&self, objects: &[(ApiResource, DynamicObject)], namespace: &str) -> Result<()> {
        self.namespace(namespace).await?;
        let mut root = None;
        for (kind, object) in objects {
            let mut copy = object.clone();
            let status = copy.data.as_object_mut().and_then(|data| data.remove("status"));
            copy.metadata.namespace = Some(namespace.to_owned());
            copy.metadata.uid = None;
            copy.metadata.resource_version = None;
            copy.metadata.managed_fields = None;
            copy.types = Some(kube::core::TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
            for owner in copy.metadata.owner_references.iter_mut().flatten().filter(|owner| owner.kind == "Rainbow") {
                owner.uid = root.clone().context("the Rainbow comes first")?;
            }
            if kind.kind == "Service" {
                for field in ["clusterIP", "clusterIPs"] {
                    copy.data["spec"].as_object_mut().and_then(|spec| spec.remove(field));
                }
            }
            let made = create(&self.client, Some(namespace), &copy).await?;
            if kind.kind == "Rainbow" {
                root = made.uid();
            }
            if let Some(status) = status {
                let patch = Patch::Merge(json!({ "status": status }));
                api(&self.client, Some(namespace), kind)
                    .patch_status(&made.name_any(), &PatchParams::default(), &patch)
                    .await?;
            }
        }
        Ok(())
    }
}

fn kubeconfig(address: SocketAddr) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{ "name": "bench", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "bench", "user": {} }],
        "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
    })
    .to_string()
}

pub(super) fn kind(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

pub(super) fn api(client: &Client, namespace: Option<&str>, kind: &ApiResource) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    }
}

async fn create(client: &Client, namespace: Option<&str>, object: &DynamicObject) -> Result<DynamicObject> {
    let types = object.types.as_ref().context("the object has no kind")?;
    let kind = kind(&types.api_version, &types.kind);
    let name = object.name_any();
    let created = api(client, namespace, &kind).create(&PostParams::default(), object).await;
    created.with_context(|| format!("cannot create {} {name}", kind.kind))
}
