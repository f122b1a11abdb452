//! Shadow Services: a shift by members starts on evidence that the endpoint controller has seen the labels.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::time::Duration;

const STAGE: &str = "frontend-active";
const SHADOW: &str = "frontend-active-shadow";

async fn service(cluster: &Cluster, name: &str) -> Option<Service> {
    cluster.api::<Service>().get_opt(name).await.unwrap()
}

async fn selector(cluster: &Cluster, name: &str) -> Value {
    json!(service(cluster, name).await.and_then(|service| service.spec?.selector))
}

/// Returns the number of endpoints of a Service.
async fn endpoints(cluster: &Cluster, service: &str) -> usize {
    let slice: EndpointSlice = cluster.api().get(&format!("{service}-x")).await.unwrap();
    slice.endpoints.len()
}

/// Changes something in the cluster, so that the endpoint controller looks again.
async fn look_again(cluster: &Cluster) {
    let pods = cluster.api::<Pod>();
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    let patch = json!({ "metadata": { "annotations": { "test": "look" } } });
    pods.patch(&pod, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Returns a cluster in which v1 is in `active`, v2 is ready, and the endpoint controller sees no membership label.
async fn before_a_shift() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&seamless("v2", 2)).await;
    cluster.until("v2 is in smoke", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    *cluster.fake.sees_no_members.lock().unwrap() = true;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_shift_waits_for_the_endpoint_controller() {
    let cluster = before_a_shift().await;
    cluster.promote("v2").await;
    cluster.until("there is a shadow", async |c: &Cluster| service(c, SHADOW).await.is_some()).await;
    let found = service(&cluster, SHADOW).await.unwrap();
    let spec = found.spec.clone().unwrap();
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"), "no client is given an address");
    assert_eq!(json!(spec.selector.unwrap())["member.rainbow.dev/active"], "yes");
    assert_eq!(found.owner_references()[0].kind, "Rainbow");
    // The wait is much longer than the one without evidence by a shadow.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(selector(&cluster, STAGE).await["rainbow.dev/color"], "v1");
    assert_eq!((endpoints(&cluster, STAGE).await, endpoints(&cluster, SHADOW).await), (2, 0));
    *cluster.fake.sees_no_members.lock().unwrap() = false;
    look_again(&cluster).await;
    let moved = async |c: &Cluster| selector(c, STAGE).await["member.rainbow.dev/active"] == "yes";
    cluster.until("the stage selects members", moved).await;
    assert!(endpoints(&cluster, STAGE).await >= 2);
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    assert!(service(&cluster, SHADOW).await.is_none());
}

/// The shadow is deleted with its stage, even where the operator dies in between.
#[tokio::test(start_paused = true)]
async fn a_stage_that_is_removed_leaves_no_shadow() {
    let mut cluster = before_a_shift().await;
    cluster.promote("v2").await;
    cluster.until("there is a shadow", async |c: &Cluster| service(c, SHADOW).await.is_some()).await;
    cluster.kill_operator().await;
    let mut without = seamless("v2", 2);
    without["spec"]["stages"].as_array_mut().unwrap().pop();
    cluster.apply(&without).await;
    cluster.start_operator();
    cluster.until("the shadow is gone", async |c: &Cluster| service(c, SHADOW).await.is_none()).await;
    cluster.until("the stage is gone", async |c: &Cluster| service(c, STAGE).await.is_none()).await;
}

/// The stage's Service gets another name while the shift starts: in the end there is at most one shadow, and then none.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_renamed_leaves_no_shadow() {
    let cluster = before_a_shift().await;
    cluster.promote("v2").await;
    cluster.until("there is a shadow", async |c: &Cluster| service(c, SHADOW).await.is_some()).await;
    let mut renamed = seamless("v2", 2);
    renamed["spec"]["stages"][1]["color"] = json!("v2");
    renamed["spec"]["stages"][1]["service"] = json!({ "name": "www" });
    cluster.apply(&renamed).await;
    cluster.until("there is another shadow", async |c: &Cluster| service(c, "www-shadow").await.is_some()).await;
    *cluster.fake.sees_no_members.lock().unwrap() = false;
    look_again(&cluster).await;
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    assert!(service(&cluster, SHADOW).await.is_none() && service(&cluster, "www-shadow").await.is_none());
}

/// An object that is not Rainbow's stays as it is, and a shift continues by time.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_stops_no_shift() {
    let cluster = before_a_shift().await;
    *cluster.fake.sees_no_members.lock().unwrap() = false;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": SHADOW },
        "spec": { "ports": [{ "port": 80 }], "selector": { "app": "other" } },
    });
    let made: Service = serde_json::from_value(foreign).unwrap();
    cluster.api().create(&PostParams::default(), &made).await.unwrap();
    let before = service(&cluster, SHADOW).await;
    cluster.promote("v2").await;
    let expected = format!("Service `{SHADOW}` exists and is not Rainbow's");
    let is_told = async |c: &Cluster| {
        c.condition("Stalled").await.is_some_and(|(is, _, message)| is == "True" && message.contains(&expected))
    };
    cluster.until("it is told", is_told).await;
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(service(&cluster, SHADOW).await, before, "untouched");
}

/// A flip to pods that the cluster knows is one write, without a shadow.
#[tokio::test(start_paused = true)]
async fn a_flip_has_no_shadow() {
    let cluster = before_a_shift().await;
    let mut flip = seamless("v2", 2);
    flip["spec"]["stages"][1] = json!({ "name": "active", "color": "v2", "shift": { "flip": {} } });
    cluster.apply(&flip).await;
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    let writes = cluster.writes.lock().unwrap().clone();
    assert_eq!(writes.iter().filter(|write| write.contains(SHADOW)).count(), 0, "{writes:#?}");
}
