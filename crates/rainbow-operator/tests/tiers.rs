//! Callers that newer callees may serve, over the in-process API: each stage has callers of its own, and a release moves tier by tier.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Returns the seamless example with a backend that may be newer than its frontend. Each tier has a version of its own.
fn backward(color: &str, backend: &str, frontend: &str) -> Value {
    let mut rainbow = seamless(color, 2);
    for (tier, version) in [("backend", backend), ("frontend", frontend)] {
        let tiers = rainbow["spec"]["tiers"].as_array_mut().unwrap();
        let found = tiers.iter_mut().find(|found| found["name"] == tier).unwrap();
        found["template"]["spec"]["containers"][0]["image"] = json!(format!("{tier}:{version}"));
        if tier == "frontend" {
            found["needs"][0]["compatible"] = json!("Backward");
        }
    }
    rainbow["spec"]["stages"] = json!([
        { "name": "smoke", "promote": "Auto", "replicas": 1 },
        { "name": "active", "color": "v1", "shift": { "flip": {} } },
    ]);
    rainbow["spec"]["keep"] = json!({ "warm": "1s" });
    rainbow["spec"]["drain"] = json!({ "connections": "None", "settle": "1s", "deadline": "60s" });
    rainbow
}

async fn selects(cluster: &Cluster, service: &str) -> Option<String> {
    let service = cluster.api::<Service>().get_opt(service).await.unwrap()?;
    service.spec?.selector?.get("rainbow.dev/color").cloned()
}

/// Returns the pods by the Deployment that made them.
async fn pods(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in cluster.api::<Pod>().list(&ListParams::default()).await.unwrap() {
        let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
        let name = [label("rainbow.dev/tier"), label("rainbow.dev/belongs-to"), label("rainbow.dev/color")].join("/");
        all.entry(name).or_default().push(pod.name_any());
    }
    all.values_mut().for_each(|pods| pods.sort());
    all
}

#[tokio::test(start_paused = true)]
async fn a_release_goes_tier_by_tier() {
    let cluster = Cluster::start().await;
    cluster.apply(&backward("v1", "v1", "v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let deployment = cluster.api::<Deployment>().get("frontend-active-v1").await.unwrap();
    let env = serde_json::to_value(&deployment.spec.unwrap().template.spec.unwrap().containers[0].env).unwrap();
    assert_eq!(env[0], json!({ "name": "BACKEND", "value": "backend-active" }));
    assert_eq!(selects(&cluster, "backend-active").await.as_deref(), Some("v1"));
    let before = pods(&cluster).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), ["backend//v1", "frontend/active/v1", "frontend/smoke/v1"]);
    assert_eq!((before["backend//v1"].len(), before["frontend/smoke/v1"].len()), (2, 1));

    // In a release of the backend alone, smoke follows and no frontend is started.
    let mut v2 = backward("v2", "v2", "v1");
    v2["spec"]["stages"][1]["color"] = json!("v1");
    cluster.apply(&v2).await;
    cluster.until("smoke is at v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    assert_eq!(selects(&cluster, "backend-smoke").await.as_deref(), Some("v2"));
    assert_eq!(selects(&cluster, "backend-active").await.as_deref(), Some("v1"));
    cluster.promote("v2").await;
    cluster.until("active is at v2", async |c: &Cluster| c.is_ready().await).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(selects(&cluster, "backend-active").await.as_deref(), Some("v2"));
    assert_eq!(
        selects(&cluster, "frontend-active").await.as_deref(),
        Some("v1"),
        "the frontends of v1 are those of v2"
    );
    let after = pods(&cluster).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), ["backend//v2", "frontend/active/v1", "frontend/smoke/v1"]);
    assert_eq!(after["frontend/active/v1"], before["frontend/active/v1"], "no frontend was restarted");

    // A release of both tiers, and the way back.
    let mut v3 = backward("v3", "v3", "v3");
    v3["spec"]["stages"][1]["color"] = json!("v2");
    cluster.apply(&v3).await;
    cluster.until("smoke is at v3", async |c: &Cluster| c.summary().await == "smoke=v3, active=v2").await;
    cluster.promote("v3").await;
    cluster.until("active is at v3", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(selects(&cluster, "frontend-active").await.as_deref(), Some("v3"));
    cluster.promote("v2").await;
    cluster
        .until("the frontends are back", async |c: &Cluster| {
            selects(c, "frontend-active").await.as_deref() == Some("v1")
        })
        .await;
    assert_eq!(selects(&cluster, "backend-active").await.as_deref(), Some("v3"), "frontends of v3 are still there");
    let is_back = async |c: &Cluster| selects(c, "backend-active").await.as_deref() == Some("v2");
    cluster.until("the backend follows", is_back).await;
    assert!(!pods(&cluster).await.contains_key("frontend/active/v3"));
    cluster.delete().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_tiers_is_told_and_passed() {
    let cluster = Cluster::start().await;
    let mut v1 = backward("v1", "v1", "v1");
    v1["spec"]["stages"] = json!([{ "name": "active", "color": "v1", "shift": { "tiers": { "pause": {} } } }]);
    cluster.apply(&v1).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let mut v2 = backward("v2", "v2", "v2");
    v2["spec"]["stages"] = v1["spec"]["stages"].clone();
    v2["spec"]["stages"][0]["color"] = json!("v2");
    cluster.apply(&v2).await;
    cluster.until("the backend has moved", async |c: &Cluster| c.summary().await == "active=v1 backend=v2").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let (status, reason, message) = cluster.condition("Ready").await.unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Paused"));
    assert!(message.contains("tier `backend` has moved to color `v2`"), "{message}");
    assert_eq!(selects(&cluster, "frontend-active").await.as_deref(), Some("v1"));
    v2["spec"]["passed"] = json!([{ "stage": "active", "tier": "backend", "color": "v2" }]);
    cluster.apply(&v2).await;
    cluster.until("active is at v2", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(selects(&cluster, "frontend-active").await.as_deref(), Some("v2"));
}
