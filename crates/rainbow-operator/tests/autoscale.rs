//! Tiers that others scale: Rainbow's own autoscalers, those of other owners, any other controller. The tests write an autoscaler's size as
//! its controller does, to the scale of a Deployment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::{v1::Scale, v2::HorizontalPodAutoscaler},
    events::v1::Event,
};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use rainbow_api::Color;
use serde_json::{Value, json};
use std::time::Duration;

async fn scale(cluster: &Cluster, name: &str, replicas: i32) {
    let manager = Some("kube-controller-manager".to_owned());
    let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    let _: Scale = cluster.api::<Deployment>().patch_scale(name, &parameters, &patch).await.unwrap();
}

async fn replicas(cluster: &Cluster, name: &str) -> Option<i32> {
    cluster.api::<Deployment>().get_opt(name).await.unwrap()?.spec?.replicas
}

async fn scaler(cluster: &Cluster, name: &str) -> Option<HorizontalPodAutoscaler> {
    cluster.api::<HorizontalPodAutoscaler>().get_opt(name).await.unwrap()
}

/// Returns the lower limit of an autoscaler.
async fn least(cluster: &Cluster, name: &str) -> Option<i32> {
    scaler(cluster, name).await?.spec?.min_replicas
}

async fn taken_back(cluster: &Cluster) -> usize {
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    events.iter().filter(|event| event.reason.as_deref() == Some("ScaleTakenBack")).count()
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Returns the sample with a scaling policy for its frontend.
fn scaled(color: &str, field: &str, policy: Value) -> Value {
    let mut rainbow = seamless(color, 2);
    rainbow["spec"]["tiers"][1][field] = policy;
    rainbow
}

fn autoscaled(color: &str) -> Value {
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } } });
    scaled(color, "autoscale", json!({ "minReplicas": 2, "maxReplicas": 6, "metrics": [cpu] }))
}

async fn serving(rainbow: &Value) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(rainbow).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_of_each_instance_scales_it() {
    let cluster = serving(&autoscaled("v1")).await;
    cluster.until("there is an autoscaler", async |c: &Cluster| least(c, "frontend-v1").await == Some(2)).await;
    let made = scaler(&cluster, "frontend-v1").await.unwrap();
    assert_eq!(made.owner_references()[0].name, "seamless");
    let spec = made.spec.unwrap();
    assert_eq!((spec.scale_target_ref.name.as_str(), spec.max_replicas), ("frontend-v1", 6));
    assert_eq!(spec.metrics.unwrap()[0].resource.as_ref().unwrap().target.average_utilization, Some(60));
    assert!(scaler(&cluster, "backend-v1").await.is_none());
    scale(&cluster, "frontend-v1", 4).await;
    pass(60).await;
    cluster.until("ready", async |c: &Cluster| c.is_ready().await).await;
    // An apply of another field leaves the size.
    let mut other = autoscaled("v1");
    other["spec"]["progressDeadlineSeconds"] = json!(700);
    other["spec"]["tiers"][1]["autoscale"]["maxReplicas"] = json!(7);
    cluster.apply(&other).await;
    let applied = async |c: &Cluster| {
        let deployment = c.api::<Deployment>().get("frontend-v1").await.unwrap().spec.unwrap();
        let most = scaler(c, "frontend-v1").await.unwrap().spec.unwrap().max_replicas;
        deployment.progress_deadline_seconds == Some(700) && most == 7
    };
    cluster.until("applied", applied).await;
    pass(60).await;
    assert_eq!(replicas(&cluster, "frontend-v1").await, Some(4));
    scale(&cluster, "frontend-v1", 3).await;
    pass(60).await;
    assert_eq!(replicas(&cluster, "frontend-v1").await, Some(3), "the autoscaler makes smaller, too");
    assert_eq!(taken_back(&cluster).await, 0);
    assert_eq!(cluster.api::<Color>().list(&ListParams::default()).await.unwrap().items.len(), 1, "no new color");
    // Nothing is written in a steady state.
    cluster.writes.lock().unwrap().clear();
    pass(300).await;
    assert_eq!(*cluster.writes.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_release_starts_with_as_many_pods_as_serve() {
    let cluster = serving(&autoscaled("v1")).await;
    scale(&cluster, "frontend-v1", 5).await;
    cluster.until("scaled", async |c: &Cluster| c.state().await["pods"]["frontend-v1"] == 5).await;
    cluster.apply(&autoscaled("v2")).await;
    cluster.until("v2 is tried", async |c: &Cluster| c.summary().await.starts_with("smoke=v2")).await;
    // The own autoscaler of v2 has found this size, since v2 gets no load.
    scale(&cluster, "frontend-v2", 3).await;
    cluster.promote("v2").await;
    cluster
        .until("the floor of both", async |c: &Cluster| {
            (least(c, "frontend-v1").await, least(c, "frontend-v2").await) == (Some(5), Some(5))
        })
        .await;
    assert_eq!(replicas(&cluster, "frontend-v2").await, Some(5));
    // The autoscaler of a draining color is gone before the Deployment is scaled down.
    let mut before = None;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    for _ in 0..100_000 {
        let now = (scaler(&cluster, "frontend-v1").await.is_some(), replicas(&cluster, "frontend-v1").await);
        assert!(now.1.is_none_or(|replicas| replicas == 5) || !now.0, "{now:?} after {before:?}");
        before = Some(now);
        if cluster.color_phase("v1").await.as_deref() == Some("Retired") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.until("v1 is retired", async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Retired")).await;
    assert_eq!(least(&cluster, "frontend-v2").await, Some(2));
    assert!(scaler(&cluster, "frontend-v1").await.is_none());
    assert_eq!(taken_back(&cluster).await, 0);
}

/// An autoscaler removes pods of the new color in the middle of a shift: the shift finishes nevertheless.
#[tokio::test(start_paused = true)]
async fn a_shift_comes_to_its_end_although_it_is_scaled_in() {
    let mut rainbow = scaled("v1", "scaling", json!("External"));
    rainbow["spec"]["progressDeadlineSeconds"] = json!(120);
    let cluster = serving(&rainbow).await;
    scale(&cluster, "frontend-v1", 4).await;
    cluster.until("scaled", async |c: &Cluster| c.state().await["pods"]["frontend-v1"] == 4).await;
    rainbow["spec"]["color"] = json!("v2");
    for tier in rainbow["spec"]["tiers"].as_array_mut().unwrap() {
        let name = tier["name"].as_str().unwrap().to_owned();
        tier["template"]["spec"]["containers"][0]["image"] = json!(format!("{name}:v2"));
    }
    cluster.apply(&rainbow).await;
    cluster.until("v2 is tried", async |c: &Cluster| c.summary().await.starts_with("smoke=v2")).await;
    cluster.promote("v2").await;
    cluster.until("half way", async |c: &Cluster| c.summary().await.contains("v2 2/4")).await;
    scale(&cluster, "frontend-v2", 2).await;
    cluster
        .until("told", async |c: &Cluster| {
            let told = c.rainbow().await.status.unwrap().stages;
            told.iter().any(|stage| stage.message.as_deref().is_some_and(|message| message.contains("waits for 4")))
        })
        .await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    assert_eq!(replicas(&cluster, "frontend-v2").await, Some(2), "nobody has written against the other writer");
    assert_eq!(taken_back(&cluster).await, 0);
}

fn autoscaler(name: &str, kind: &str, target: &str) -> HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": name },
        "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": kind, "name": target }, "maxReplicas": 9 },
    }))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_of_another_owner_is_left_alone() {
    let cluster = serving(&seamless("v1", 2)).await;
    let scalers = cluster.api::<HorizontalPodAutoscaler>();
    scalers.create(&PostParams::default(), &autoscaler("keda-hpa-front", "Deployment", "frontend-v1")).await.unwrap();
    let told = async |c: &Cluster| {
        let color = c.api::<Color>().get("seamless-v1").await.unwrap();
        let ready = color.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.is_some_and(|ready| ready.message.contains("`keda-hpa-front`") && ready.status == "True")
    };
    cluster.until("the color says who scales it", told).await;
    scale(&cluster, "frontend-v1", 5).await;
    pass(60).await;
    assert_eq!((replicas(&cluster, "frontend-v1").await, taken_back(&cluster).await), (Some(5), 0));
    // Without the autoscaler, the size is Rainbow's again.
    scalers.delete("keda-hpa-front", &Default::default()).await.unwrap();
    cluster.until("taken back", async |c: &Cluster| replicas(c, "frontend-v1").await == Some(2)).await;
    assert_eq!(taken_back(&cluster).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_name_of_an_autoscaler_is_another_owners() {
    let cluster = Cluster::start().await;
    let scalers = cluster.api::<HorizontalPodAutoscaler>();
    scalers.create(&PostParams::default(), &autoscaler("frontend-v1", "StatefulSet", "db")).await.unwrap();
    cluster.apply(&autoscaled("v1")).await;
    cluster
        .until("the clash is a condition", async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(status, reason, message)| {
                status == "True" && reason == "Conflict" && message.contains("HorizontalPodAutoscaler `frontend-v1`")
            })
        })
        .await;
    assert_eq!(scaler(&cluster, "frontend-v1").await.unwrap().spec.unwrap().scale_target_ref.name, "db");
    scalers.delete("frontend-v1", &Default::default()).await.unwrap();
    cluster.until("made", async |c: &Cluster| c.is_ready().await && least(c, "frontend-v1").await == Some(2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_rainbow_takes_its_autoscalers_along() {
    let cluster = serving(&autoscaled("v1")).await;
    cluster.until("there is an autoscaler", async |c: &Cluster| least(c, "frontend-v1").await == Some(2)).await;
    cluster.delete().await;
    cluster
        .until("all is gone", async |c: &Cluster| {
            let rainbows = c.api::<rainbow_api::Rainbow>().list(&ListParams::default()).await.unwrap();
            rainbows.items.is_empty() && scaler(c, "frontend-v1").await.is_none()
        })
        .await;
}
