//! Edits by others that make the API server refuse an apply: `Duplicate value`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{fmt::Debug, time::Duration};

/// Edits an object as `kubectl edit` does: with a merge patch, which replaces whole lists.
async fn edit<K>(api: &Api<K>, name: &str, change: impl Fn(&mut Value))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let before = json!(api.get(name).await.unwrap());
    let mut object = before.clone();
    change(&mut object);
    let parameters = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    let after = api.patch(name, &parameters, &Patch::Merge(json!({ "spec": object["spec"] }))).await.unwrap();
    assert_ne!(json!(after)["spec"], before["spec"]);
}

async fn ports(cluster: &Cluster, name: &str) -> Value {
    let spec = cluster.api::<Service>().get(name).await.unwrap().spec.unwrap();
    let port =
        |port| json!({ "name": json!(port)["name"], "port": json!(port)["port"], "target": json!(port)["targetPort"] });
    json!([spec.selector, spec.ports.unwrap().into_iter().map(port).collect::<Vec<_>>()])
}

#[tokio::test(start_paused = true)]
async fn a_port_of_a_service_that_is_edited_is_set_back() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let services = cluster.api::<Service>();
    for name in ["frontend-active", "backend-v1"] {
        let before = ports(&cluster, name).await;
        for number in [81, 8080] {
            edit(&services, name, |service| service["spec"]["ports"][0]["port"] = json!(number)).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(ports(&cluster, name).await, before, "{name}: {:?}", cluster.condition("Stalled").await);
            assert!(cluster.is_ready().await, "{:?}", cluster.condition("Ready").await);
        }
    }
}

/// The edit and a promotion come together: one write sets ports and selector.
#[tokio::test(start_paused = true)]
async fn a_promotion_is_not_held_up_by_an_edited_port() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&seamless("v2", 2)).await;
    cluster.until("v2 is in smoke", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    let services = cluster.api::<Service>();
    edit(&services, "frontend-active", |service| service["spec"]["ports"][0]["port"] = json!(81)).await;
    cluster.promote("v2").await;
    cluster.until("v2 serves", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(ports(&cluster, "frontend-active").await[1][0]["port"], 80);
}

#[tokio::test(start_paused = true)]
async fn a_port_of_a_container_that_is_edited_is_set_back() {
    let cluster = Cluster::start().await;
    let mut rainbow = seamless("v1", 2);
    let container = &mut rainbow["spec"]["tiers"][0]["template"]["spec"]["containers"][0];
    container["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    cluster.apply(&rainbow).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let deployments = cluster.api::<Deployment>();
    let containers =
        async || deployments.get("backend-v1").await.unwrap().spec.unwrap().template.spec.unwrap().containers;
    let before = containers().await;
    edit(&deployments, "backend-v1", |found| {
        let container = &mut found["spec"]["template"]["spec"]["containers"][0];
        container["ports"] = json!([{ "name": "http", "containerPort": 9999 }]);
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(containers().await, before, "{:?}", cluster.condition("Stalled").await);
    assert!(cluster.is_ready().await, "{:?}", cluster.condition("Ready").await);
}
