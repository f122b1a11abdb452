//! Other writers that scale Deployments of ours: `kubectl scale`, autoscalers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v1::Scale, events::v1::Event};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

/// Writes a scale as `kubectl scale` and the HPA controller do.
async fn scale(cluster: &Cluster, manager: &str, name: &str, replicas: i32) {
    let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    let _: Scale = cluster.api::<Deployment>().patch_scale(name, &parameters, &patch).await.unwrap();
}

async fn replicas(cluster: &Cluster, name: &str) -> i32 {
    cluster.api::<Deployment>().get(name).await.unwrap().spec.unwrap().replicas.unwrap()
}

/// Returns the notes of the events with a reason.
async fn notes(cluster: &Cluster, reason: &str) -> Vec<String> {
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let with = events.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    with.filter_map(|event| event.note).collect()
}

async fn serving() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 3)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_scale_by_hand_is_taken_back_with_one_event() {
    let mut cluster = serving().await;
    for wanted in [1, 2, 1] {
        scale(&cluster, "kubectl", "frontend-v1", wanted).await;
        let back = async |c: &Cluster| replicas(c, "frontend-v1").await == 3;
        cluster.until("taken back", back).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    let told = notes(&cluster, "ScaleTakenBack").await;
    let expected = "Deployment `frontend-v1` was scaled to 1 by `kubectl` and is taken back to 3: change `tiers[frontend].replicas` \
                    of Rainbow `seamless`, or set `tiers[frontend].autoscale`, or `tiers[frontend].scaling: External` where \
                    another controller decides";
    assert_eq!(told, [expected]);
    // Another operator does not report it again. Another writer is another event.
    cluster.kill_operator().await;
    cluster.start_operator();
    for manager in ["kubectl", "kube-controller-manager"] {
        scale(&cluster, manager, "frontend-v1", 2).await;
        cluster.until("taken back", async |c: &Cluster| replicas(c, "frontend-v1").await == 3).await;
    }
    cluster.until("told", async |c: &Cluster| notes(c, "ScaleTakenBack").await.len() == 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(notes(&cluster, "ScaleTakenBack").await.len(), 2);
}

/// The excess pods are taken out and drain, which takes a while. The event does not wait for that.
#[tokio::test(start_paused = true)]
async fn a_scale_up_is_told_at_once() {
    let mut cluster = serving().await;
    cluster.kill_operator().await;
    scale(&cluster, "kubectl", "frontend-v1", 5).await;
    let ready = async |c: &Cluster| {
        let status = c.api::<Deployment>().get("frontend-v1").await.unwrap().status.unwrap_or_default();
        status.ready_replicas == Some(5)
    };
    cluster.until("scaled", ready).await;
    cluster.start_operator();
    cluster.until("told", async |c: &Cluster| notes(c, "ScaleTakenBack").await.len() == 1).await;
    assert_eq!(replicas(&cluster, "frontend-v1").await, 5, "told before the pods are gone");
    cluster.until("taken back", async |c: &Cluster| replicas(c, "frontend-v1").await == 3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(notes(&cluster, "ScaleTakenBack").await.len(), 1);
}

/// A change of the spec is not another writer's change.
#[tokio::test(start_paused = true)]
async fn replicas_of_the_spec_are_not_told() {
    let cluster = serving().await;
    for wanted in [5, 2, 4] {
        cluster.apply(&seamless("v1", wanted)).await;
        let there = async |c: &Cluster| replicas(c, "frontend-v1").await == wanted as i32 && c.is_ready().await;
        cluster.until("sized", there).await;
    }
    assert_eq!(notes(&cluster, "ScaleTakenBack").await, Vec::<String>::new());
}
