//! Tests of the cluster itself: an embedded one must not be kinder to its clients and pods than a real one, so both run them.

use anyhow::{Context, Result, ensure};
use e2e::{Scope, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

/// Builds a pod with the backend of the two-tier example.
fn pod(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["containers"] = json!([{"name": "c", "image": "backend:v1", "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}}]);
    spec["terminationGracePeriodSeconds"] = json!(1);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "lonely"}}, "spec": spec})
}

async fn ready(scope: &Scope, name: &str) -> Result<Pod> {
    eventually(&format!("{name} is ready"), || async {
        let pod = scope.api::<Pod>().get(name).await?;
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        ensure!(conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True"), "{:?}", pod.status);
        Ok(pod)
    })
    .await
}

/// Checks that a pod that must not be beside another one waits, reports that in the scheduler's words, and runs when the other is gone.
pub(crate) async fn a_pod_that_does_not_fit_waits(scope: &mut Scope) -> Result<()> {
    // All nodes are in one part of the cluster by this key.
    let term = json!({"topologyKey": "kubernetes.io/os", "labelSelector": {"matchLabels": {"app": "lonely"}}});
    let spec = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    scope.apply_manifest(&pod("one", &spec))?;
    ready(scope, "one").await?;
    scope.apply_manifest(&pod("two", &spec))?;
    eventually("the second pod is unschedulable", || async {
        let pod = scope.api::<Pod>().get("two").await?;
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled").context("unseen")?;
        let message = scheduled.message.unwrap_or_default();
        ensure!(scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable"), "{message}");
        ensure!(message.contains("node(s) didn't match pod anti-affinity rules"), "{message}");
        Ok(())
    })
    .await?;
    scope.api::<Pod>().delete("one", &DeleteParams::default()).await?;
    ready(scope, "two").await?;
    Ok(())
}

/// Checks that, of two endpoints of a Service, the refusing one fails its share of the connections, and none is sent to the other instead.
pub(crate) async fn an_endpoint_that_refuses_fails_its_connections(scope: &mut Scope) -> Result<()> {
    scope.apply_manifest(&pod("one", &json!({})))?;
    let pod = ready(scope, "one").await?;
    let address = pod.status.and_then(|status| status.pod_ip).context("an address")?;
    let node = pod.spec.and_then(|spec| spec.node_name);
    scope.apply_manifest(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "half"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}}))?;
    // The same pod twice, once at a port where it does not listen.
    for port in [8080, 8081] {
        scope.apply_manifest(&json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("half-{port}"), "labels": {"kubernetes.io/service-name": "half"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "nodeName": node, "conditions": {"ready": true}}]}))?;
    }
    let url = scope.url("half").await?;
    eventually("the Service has both endpoints", || async {
        let mut failed = 0;
        for _ in 0..40 {
            failed += i32::from(e2e::load::query(&url).await.is_err());
        }
        // Half of them, give or take five standard deviations.
        ensure!((5..=35).contains(&failed), "{failed} of 40 connections failed");
        Ok(())
    })
    .await
}
