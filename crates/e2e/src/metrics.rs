//! External metrics whose values a test sets, for the controller of HorizontalPodAutoscalers.
//!
//! The registration is for the whole cluster, so only one test at a time can have it.

use std::{path::PathBuf, thread};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::{Scope, eventually, kubeconfig::config};

/// Name of the image, of the pod and of its Service.
pub const PROGRAM: &str = "external-metrics";
const API_SERVICE: &str = "v1beta1.external.metrics.k8s.io";
const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// External metrics of the cluster. Dropping this removes them from the API: the adapter must exist as long as it is registered, since no
/// namespace can be deleted while a part of the API does not answer.
pub struct ExternalMetrics {
    client: Client,
    namespace: String,
    kubeconfig: PathBuf,
}

impl ExternalMetrics {
    /// Starts the adapter in the test's namespace, and registers it.
    ///
    /// # Errors
    /// When the adapter does not start, or does not answer through the API.
    pub async fn start(scope: &Scope) -> Result<Self> {
        let namespace = scope.namespace.clone();
        scope.api::<Pod>().create(&PostParams::default(), &serde_json::from_value(pod(scope.image_prefix()))?).await?;
        scope.api::<Service>().create(&PostParams::default(), &serde_json::from_value(service())?).await?;
        eventually("the metrics adapter is ready", || async {
            let status = scope.api::<Pod>().get(PROGRAM).await?.status.context("no status yet")?;
            let ready =
                status.conditions.iter().flatten().any(|found| found.type_ == "Ready" && found.status == "True");
            ensure!(ready, "it is {status:?}");
            Ok(())
        })
        .await?;
        let metrics = Self { client: scope.client.clone(), namespace, kubeconfig: scope.kubeconfig().to_owned() };
        let registration = serde_json::from_value(registration(&metrics.namespace))?;
        Api::<APIService>::all(scope.client.clone()).create(&PostParams::default(), &registration).await?;
        eventually("the metrics adapter answers through the API", || metrics.set("probe", 0)).await?;
        Ok(metrics)
    }

    /// Sets a metric of the test's namespace.
    ///
    /// # Errors
    /// When the adapter does not accept the value.
    pub async fn set(&self, metric: &str, value: u32) -> Result<()> {
        let path = format!("/apis/{GROUP_VERSION}/namespaces/{}/{metric}", self.namespace);
        let value = value.to_string();
        let request = http::Request::put(path).body(value.clone().into_bytes())?;
        let answer: Value = self.client.request(request).await?;
        let set = &answer["items"][0]["value"];
        ensure!(*set == *value, "the metric is {set}");
        Ok(())
    }
}

impl Drop for ExternalMetrics {
    fn drop(&mut self) {
        // A test that is abandoned ends here as well, and cannot wait in its own runtime.
        let kubeconfig = self.kubeconfig.clone();
        let removed = thread::spawn(move || remove(&kubeconfig)).join();
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("{API_SERVICE} is left: {error:#}"),
            Err(_) => eprintln!("{API_SERVICE} is left: its removal panicked"),
        }
    }
}

fn remove(kubeconfig: &std::path::Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_from(config(kubeconfig).await?)?;
        Api::<APIService>::all(client).delete(API_SERVICE, &DeleteParams::default()).await?;
        Ok(())
    })
}

fn pod(image_prefix: &str) -> Value {
    json!({
        "metadata": { "name": PROGRAM, "labels": { "app": PROGRAM } },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [{
            "name": PROGRAM, "image": format!("{image_prefix}{PROGRAM}:v1"), "imagePullPolicy": "IfNotPresent",
            "readinessProbe": { "tcpSocket": { "port": 8443 }, "periodSeconds": 1 },
        }] },
    })
}

fn service() -> Value {
    json!({
        "metadata": { "name": PROGRAM },
        "spec": { "selector": { "app": PROGRAM }, "ports": [{ "port": 443, "targetPort": 8443 }] },
    })
}

fn registration(namespace: &str) -> Value {
    json!({
        "metadata": { "name": API_SERVICE },
        "spec": {
            "group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": { "namespace": namespace, "name": PROGRAM, "port": 443 },
        },
    })
}
