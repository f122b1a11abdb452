//! Names that clash: an object of ours has one purpose.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use rainbow_api::{Color, Rainbow};
use serde_json::{Value, json};
use std::time::Duration;

const ACTIVE: usize = 1;

async fn at_v2() -> (Cluster, Value) {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let v2 = seamless("v2", 2);
    cluster.apply(&v2).await;
    cluster.until("v2 is in smoke", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    (cluster, v2)
}

async fn service(cluster: &Cluster, name: &str) -> Option<Service> {
    cluster.api::<Service>().get_opt(name).await.unwrap()
}

/// Returns the identity, the labels and the spec of a Service.
async fn content(cluster: &Cluster, name: &str) -> Value {
    let found = service(cluster, name).await.unwrap();
    json!([found.metadata.uid, found.metadata.labels, found.spec])
}

async fn stalled(cluster: &Cluster) -> (String, String) {
    let condition = cluster.condition("Stalled").await;
    condition.filter(|(is, ..)| is == "True").map(|(_, reason, message)| (reason, message)).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_stage_named_like_a_living_color_takes_nothing_over() {
    let (cluster, v2) = at_v2().await;
    let before = content(&cluster, "backend-v1").await;
    let mut spec = v2.clone();
    spec["spec"]["stages"].as_array_mut().unwrap().push(json!({ "name": "v1", "tier": "backend" }));
    cluster.apply(&spec).await;
    cluster.until("it is told", async |c: &Cluster| stalled(c).await.0 == "Conflict").await;
    assert_eq!(
        stalled(&cluster).await.1,
        "stage `v1` cannot have Service `backend-v1`, which is that of tier `backend` of color `v1`: rename the stage, or set \
         another spec.stages[v1].service.name"
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(content(&cluster, "backend-v1").await, before, "untouched");
    // With another name, everything is fine.
    spec["spec"]["stages"][2]["service"] = json!({ "name": "backend-direct" });
    cluster.apply(&spec).await;
    cluster
        .until("it is made", async |c: &Cluster| service(c, "backend-direct").await.is_some() && c.is_ready().await)
        .await;
    assert_eq!(content(&cluster, "backend-v1").await, before, "untouched");
}

#[tokio::test(start_paused = true)]
async fn a_service_name_of_an_instance_is_refused_and_the_stage_keeps_its_own() {
    let (cluster, v2) = at_v2().await;
    let before = content(&cluster, "backend-v1").await;
    let mut spec = v2.clone();
    spec["spec"]["stages"][ACTIVE]["service"] = json!({ "name": "backend-v1" });
    cluster.apply(&spec).await;
    cluster.until("it is told", async |c: &Cluster| stalled(c).await.0 == "Conflict").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(content(&cluster, "backend-v1").await, before, "untouched");
    // The stage continues under its present name.
    spec["spec"]["stages"][ACTIVE]["color"] = json!("v2");
    cluster.apply(&spec).await;
    cluster.until("it moves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    assert!(service(&cluster, "frontend-active").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_color_whose_names_are_taken_is_not_made() {
    let (cluster, v2) = at_v2().await;
    let mut spec = v2.clone();
    spec["spec"]["stages"].as_array_mut().unwrap().push(json!({ "name": "v3", "tier": "backend", "color": "v1" }));
    cluster.apply(&spec).await;
    cluster.until("the stage serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1, v3=v1").await;
    let before = content(&cluster, "backend-v3").await;
    let mut v3 = seamless("v3", 2);
    v3["spec"]["stages"] = spec["spec"]["stages"].clone();
    cluster.apply(&v3).await;
    let told = "tier `backend` of color `v3` cannot have Service `backend-v3`, which is that of stage `v3`";
    cluster.until("it is told", async |c: &Cluster| stalled(c).await.1.contains(told)).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(content(&cluster, "backend-v3").await, before, "untouched");
    assert!(cluster.api::<Color>().get_opt("seamless-v3").await.unwrap().is_none());
    assert_eq!(cluster.summary().await, "smoke=v2, active=v1, v3=v1");
    // Tier and color have the same name together as another tier and another color.
    let mut other = seamless("b-v1", 2);
    other["spec"]["tiers"].as_array_mut().unwrap().push(json!({
        "name": "x", "template": { "spec": { "containers": [{ "name": "x", "image": "x:1" }] } } }));
    other["spec"]["stages"] = v2["spec"]["stages"].clone();
    other["spec"]["stages"].as_array_mut().unwrap().iter_mut().for_each(|stage| stage["tier"] = json!("frontend"));
    cluster.apply(&other).await;
    cluster.until("the color is made", async |c: &Cluster| c.summary().await.starts_with("smoke=b-v1")).await;
    let mut same = seamless("v1b", 2);
    same["spec"]["color"] = json!("v1");
    same["spec"]["tiers"][0]["name"] = json!("x-b");
    same["spec"]["tiers"][1]["needs"][0]["tier"] = json!("x-b");
    same["spec"]["color"] = json!("v1x");
    cluster.apply(&same).await;
    cluster.until("another one, too", async |c: &Cluster| c.summary().await.starts_with("smoke=v1x")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_renamed_under_its_service_keeps_what_it_serves() {
    let (cluster, mut spec) = at_v2().await;
    spec["spec"]["stages"][ACTIVE]["service"] = json!({ "name": "front" });
    spec["spec"]["stages"][ACTIVE]["shift"]["rolling"]["every"] = json!("1h");
    cluster.apply(&spec).await;
    cluster.until("it is there", async |c: &Cluster| service(c, "front").await.is_some() && c.is_ready().await).await;
    let before = service(&cluster, "front").await.unwrap();
    spec["spec"]["stages"][ACTIVE]["name"] = json!("live");
    cluster.apply(&spec).await;
    cluster
        .until("it is renamed", async |c: &Cluster| c.summary().await == "smoke=v2, live=v1" && c.is_ready().await)
        .await;
    let after = service(&cluster, "front").await.unwrap();
    assert_eq!((before.uid(), before.spec.unwrap().selector), (after.uid(), after.spec.unwrap().selector));
    assert_eq!(after.metadata.labels.unwrap()["rainbow.dev/stage"], "live");

    // The same holds in the middle of a shift.
    spec["spec"]["stages"][ACTIVE]["color"] = json!("v2");
    cluster.apply(&spec).await;
    cluster.until("it moves", async |c: &Cluster| c.summary().await == "smoke=v2, live=v1→v2 1/2").await;
    spec["spec"]["stages"][ACTIVE]["name"] = json!("main");
    cluster.apply(&spec).await;
    cluster.until("it is renamed again", async |c: &Cluster| c.summary().await == "smoke=v2, main=v1→v2 1/2").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.summary().await, "smoke=v2, main=v1→v2 1/2");
    let selector = service(&cluster, "front").await.unwrap().spec.unwrap().selector.unwrap();
    assert!(
        selector.contains_key("member.rainbow.dev/live"),
        "the shift ends with the labels that it began with: {selector:?}"
    );
    spec["spec"]["stages"][ACTIVE]["shift"] = json!({ "flip": {} });
    cluster.apply(&spec).await;
    cluster.until("it ends", async |c: &Cluster| c.summary().await == "smoke=v2, main=v2" && c.is_ready().await).await;
    let labeled = async |c: &Cluster| {
        let pods = c.api::<Pod>().list(&ListParams::default()).await.unwrap();
        pods.iter().any(|pod| pod.labels().keys().any(|key| key.starts_with("member.rainbow.dev/")))
    };
    cluster.until("no label is left", async |c: &Cluster| !labeled(c).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_removed_in_mid_shift_leaves_no_label() {
    let (cluster, mut spec) = at_v2().await;
    spec["spec"]["stages"][ACTIVE]["shift"]["rolling"]["every"] = json!("1h");
    spec["spec"]["stages"][ACTIVE]["color"] = json!("v2");
    cluster.apply(&spec).await;
    cluster.until("it moves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1→v2 1/2").await;
    spec["spec"]["stages"].as_array_mut().unwrap().pop();
    cluster.apply(&spec).await;
    let labeled = async |c: &Cluster| {
        let pods = c.api::<Pod>().list(&ListParams::default()).await.unwrap();
        pods.iter().any(|pod| pod.labels().keys().any(|key| key.starts_with("member.rainbow.dev/")))
    };
    cluster
        .until("it is gone", async |c: &Cluster| service(c, "frontend-active").await.is_none() && !labeled(c).await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_another_rainbow_has_is_told_by_its_name() {
    let (cluster, _) = at_v2().await;
    let mut other = seamless("v1", 1);
    other["metadata"]["name"] = json!("other");
    cluster.api::<Rainbow>().patch("other", &PatchParams::apply("user"), &Patch::Apply(&other)).await.unwrap();
    let told = "cannot have Deployment `backend-v1`, which is that of Rainbow `seamless`";
    let is_told = async |c: &Cluster| {
        let status = c.api::<Rainbow>().get("other").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.message.contains(told))
    };
    cluster.until("it is told", is_told).await;
}

/// The old Service of a stage that was renamed waits for the controller that made its load balancer. The stage continues.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_slow_to_delete_holds_nothing_up() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let finalizers = json!({ "metadata": { "finalizers": ["service.kubernetes.io/load-balancer-cleanup"] } });
    let services = cluster.api::<Service>();
    services.patch("frontend-active", &PatchParams::default(), &Patch::Merge(&finalizers)).await.unwrap();
    let renamed = |color: &str| {
        let mut rainbow = seamless(color, 2);
        rainbow["spec"]["stages"][1] = json!({ "name": "active", "promote": "Auto", "service": { "name": "front" } });
        rainbow
    };
    cluster.apply(&renamed("v1")).await;
    let deleted =
        async |_: &Cluster| services.get("frontend-active").await.unwrap().metadata.deletion_timestamp.is_some();
    cluster.until("the old one is deleted", deleted).await;
    cluster.apply(&renamed("v2")).await;
    let begin = tokio::time::Instant::now();
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await.contains("active=v2")).await;
    assert!(begin.elapsed() < std::time::Duration::from_secs(8), "{:?}", begin.elapsed());
    cluster.writes.lock().unwrap().clear();
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    let again = cluster.writes.lock().unwrap().iter().filter(|write| write.starts_with("DELETE")).count();
    assert_eq!(again, 0, "it is deleted once");
}
