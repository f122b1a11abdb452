//! Last write of an operator that no longer leads: it arrives after another operator has continued.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless, tally::Says};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use std::time::Duration;

fn flip(color: &str) -> Value {
    let mut rainbow = seamless(color, 2);
    rainbow["spec"]["stages"] = json!([{ "name": "active", "color": color }]);
    rainbow["spec"]["keep"] = json!({ "warm": "1s" });
    rainbow["spec"]["drain"] = json!({ "connections": "None", "settle": "1s", "deadline": "60s" });
    rainbow
}

/// Returns a cluster in which v1 serves and v2 is promoted. The first write whose name ends with `part` is lost, and its operator dies. The
/// next operator takes the stage back to v1.
async fn lost(part: &'static str) -> Cluster {
    let mut cluster = orphaned(part).await;
    cluster.start_operator();
    cluster
}

/// Returns the same cluster before the next operator starts.
async fn orphaned(part: &'static str) -> Cluster {
    let mut cluster = Cluster::start().await;
    cluster.apply(&flip("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    *cluster.lost.lock().unwrap() = Some(part);
    cluster.apply(&flip("v2")).await;
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert!(cluster.has_lost());
    cluster.kill_operator().await;
    *cluster.lost.lock().unwrap() = None;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_late_move_of_a_stage_moves_nothing() {
    let cluster = lost("/services/frontend-active").await;
    let serves = async |color: &str| {
        let service = cluster.api::<Service>().get("frontend-active").await.unwrap();
        service.spec.unwrap().selector.unwrap().get("rainbow.dev/color").is_some_and(|found| found == color)
    };
    cluster.until("v2 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |_: &Cluster| serves("v1").await).await;
    assert_eq!(cluster.late().await, [409]);
    assert!(serves("v1").await);
}

#[tokio::test(start_paused = true)]
async fn a_late_scale_down_ends_nothing() {
    let cluster = lost("/deployments/frontend-v1").await;
    // The next operator has scaled v1 down itself. A return scales it up again.
    cluster.until("v1 is retired", async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Retired")).await;
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(cluster.late().await, [409]);
    let deployment = cluster.api::<Deployment>().get("frontend-v1").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(2));
}

/// The return is requested while no operator leads: v1 has all its pods, and nothing has changed it since the decision for the lost write.
#[tokio::test(start_paused = true)]
async fn a_late_scale_down_does_not_end_what_serves_again() {
    let mut cluster = orphaned("/deployments/frontend-v1").await;
    cluster.promote("v1").await;
    cluster.start_operator();
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "active=v1").await;
    assert_eq!(cluster.late().await, [409]);
    let deployment = cluster.api::<Deployment>().get("frontend-v1").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(2));
}

/// The same holds for the operator's own write, whose connection broke.
#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_does_not_end_what_serves_again() {
    let cluster = Cluster::start().await;
    cluster.apply(&flip("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    *cluster.breaks.lock().unwrap() = true;
    *cluster.lost.lock().unwrap() = Some("/deployments/frontend-v1");
    cluster.apply(&flip("v2")).await;
    cluster.until("the write is lost", async |c: &Cluster| c.has_lost()).await;
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "active=v1").await;
    assert_eq!(cluster.late().await, [409]);
}

/// The same holds for pods with connections, which are ended one by one.
#[tokio::test(start_paused = true)]
async fn a_late_deletion_of_a_pod_does_not_end_what_serves_again() {
    let counted = |color: &str| {
        let mut rainbow = flip(color);
        rainbow["spec"]["drain"] = json!({ "connections": "Sidecar", "settle": "1s", "deadline": "600s" });
        rainbow
    };
    let mut cluster = Cluster::start().await;
    cluster.apply(&counted("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let pods = cluster.api::<Pod>().list(&ListParams::default().labels("rainbow.dev/tier=frontend")).await.unwrap();
    let names: Vec<String> = pods.items.iter().map(ResourceExt::name_any).collect();
    let [busy, idle] = names.as_slice() else { panic!("{names:?}") };
    cluster.tally.say(busy, Says::Count(1));
    cluster.tally.say(idle, Says::Count(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    cluster.apply(&counted("v2")).await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "active=v2").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let part: &'static str = format!("DELETE /api/v1/namespaces/default/pods/{idle}").leak();
    *cluster.lost.lock().unwrap() = Some(part);
    cluster.tally.say(idle, Says::Count(0));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.has_lost());
    cluster.kill_operator().await;
    *cluster.lost.lock().unwrap() = None;
    cluster.promote("v1").await;
    cluster.start_operator();
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "active=v1").await;
    assert_eq!(cluster.late().await, [409]);
}
