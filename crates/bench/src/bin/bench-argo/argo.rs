//! Argo Rollouts: its controller as a process of this machine, and the actions of its users.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use e2e::Scope;
use k8s_openapi::{
    api::core::v1::Service, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    manifests::{NAME, Release},
    proxy::Proxy,
};

/// Field manager of the user's applies.
const USER: &str = "bench";

/// Running controller for one namespace. Dropping it ends it.
pub(crate) struct Controller {
    child: Child,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    /// Starts the only controller of the namespace that the proxy's credentials name.
    pub(crate) fn start(program: &Path, proxy: &Proxy, namespace: &str) -> Result<Self> {
        let log = File::create(proxy.kubeconfig().with_extension("log")).context("the controller's log")?;
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(proxy.kubeconfig()).args(["--namespace", namespace, "--namespaced"]);
        command.args(["--leader-elect=false", "--loglevel=warn"]);
        for port in ["--metricsPort", "--healthzPort"] {
            command.args([port, &TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port().to_string()]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child })
    }
}

/// Returns whether the cluster has the CustomResourceDefinition of Rollouts.
pub(crate) async fn is_defined(client: &Client) -> Result<bool> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    Ok(definitions.get_opt("rollouts.argoproj.io").await?.is_some())
}

/// Applies a version, and the Services.
pub(crate) async fn apply(scope: &Scope, release: &Release<'_>) -> Result<()> {
    let params = PatchParams::apply(USER).force();
    for service in release.services() {
        let name = service["metadata"]["name"].as_str().context("a Service has a name")?;
        // The controller adds to the selector, so a Service is applied once.
        if scope.api::<Service>().get_opt(name).await?.is_none() {
            scope.api::<Service>().patch(name, &params, &Patch::Apply(&service)).await?;
        }
    }
    rollouts(scope).patch(NAME, &params, &Patch::Apply(release.rollout(scope.image_prefix()))).await?;
    Ok(())
}

/// Promotes the waiting version, as `kubectl argo rollouts promote` does.
pub(crate) async fn promote(scope: &Scope) -> Result<()> {
    let patch = json!({ "status": { "pauseConditions": null, "controllerPause": false } });
    rollouts(scope).patch_status(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Checks that the newest version waits to be promoted.
pub(crate) async fn waits(scope: &Scope) -> Result<()> {
    let status = status(scope).await?;
    ensure!(status["pauseConditions"].as_array().is_some_and(|pauses| !pauses.is_empty()), "no pause: {status}");
    Ok(())
}

/// Checks that the Rollout is as its spec says.
pub(crate) async fn settled(scope: &Scope) -> Result<()> {
    let status = status(scope).await?;
    ensure!(status["phase"] == "Healthy", "the phase is {}", status["phase"]);
    Ok(())
}

/// Returns the status, after a check that the controller has seen the newest spec.
async fn status(scope: &Scope) -> Result<Value> {
    let rollout = rollouts(scope).get(NAME).await?;
    let status = rollout.data["status"].clone();
    // The generation is a string: Argo Rollouts has made it from the number.
    let seen = status["observedGeneration"].as_str().and_then(|text| text.parse().ok());
    ensure!(seen == rollout.metadata.generation, "the controller has not seen the spec");
    Ok(status)
}

fn rollouts(scope: &Scope) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    Api::namespaced_with(scope.client.clone(), &scope.namespace, &kind)
}
