//! Writes of the operator in the course of a release, counted by kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless, tally::Says};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Number of writes by kind: the resource, with `/status` where it is one.
type Table = BTreeMap<String, usize>;

/// Returns the kind of a write such as `PATCH /apis/apps/v1/namespaces/default/deployments/web-v1`.
fn kind(write: &str) -> String {
    let path = write.split_once(' ').unwrap().1;
    let mut parts = path.split("/namespaces/default/").nth(1).unwrap_or(path).split('/');
    let resource = parts.next().unwrap_or_default();
    match parts.nth(1) {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    }
}

/// Returns the writes since the last call.
fn written(cluster: &Cluster) -> Table {
    let mut table = Table::new();
    for write in std::mem::take(&mut *cluster.writes.lock().unwrap()) {
        *table.entry(kind(&write)).or_default() += 1;
    }
    table
}

/// Returns an application of one tier with five pods, whose active stage moves by `shift`.
fn one_tier(color: &str, shift: Value) -> Value {
    let mut rainbow = seamless(color, 5);
    let tiers = rainbow["spec"]["tiers"].as_array_mut().unwrap();
    tiers.remove(0);
    tiers[0].as_object_mut().unwrap().remove("needs");
    rainbow["spec"]["stages"] = json!([
        { "name": "preview", "promote": "Auto", "replicas": 1 },
        { "name": "active", "color": color, "shift": shift },
    ]);
    rainbow["spec"]["drain"] = json!({ "settle": "5s" });
    rainbow["spec"]["keep"] = json!({ "warm": "5s" });
    rainbow
}

/// Returns the writes of a release from v1 to v2 and of the end of v1. Each of the five pods of v1 has `connections`, which end one pod
/// after the other.
async fn release(application: impl Fn(&str) -> Value, connections: u64) -> Table {
    let cluster = Cluster::start().await;
    cluster.apply(&application("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let pods: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
    assert_eq!(pods.len(), 5);
    pods.iter().for_each(|pod| cluster.tally.say(pod, Says::Count(connections)));
    written(&cluster);
    cluster.apply(&application("v2")).await;
    cluster.until("v2 serves", async |c: &Cluster| c.is_ready().await).await;
    if connections > 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        for pod in &pods {
            cluster.tally.say(pod, Says::Count(0));
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    }
    let retired = async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Retired");
    cluster.until("v1 is retired", retired).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    written(&cluster)
}

/// Fails where there are more writes of a kind than `most` says.
#[track_caller]
fn check(found: &Table, most: &[(&str, usize)]) {
    let most: BTreeMap<&str, usize> = most.iter().copied().collect();
    println!("{} writes: {found:#?}", found.values().sum::<usize>());
    for (kind, count) in found {
        let limit = most.get(kind.as_str()).copied().unwrap_or(0);
        assert!(*count <= limit, "{count} writes of {kind}, at most {limit}: {found:#?}");
    }
}

fn flip(color: &str) -> Value {
    one_tier(color, json!({ "flip": {} }))
}

fn rolling(color: &str) -> Value {
    one_tier(color, json!({ "rolling": { "step": 1, "every": "2s" } }))
}

/// A flip costs at most 16 writes beside the events. No pod is written to. One status is written before the Service: it records that the color
/// serves, which a crash after the Service would hide.
#[tokio::test(start_paused = true)]
async fn a_flip_of_pods_without_connections_writes_to_no_pod() {
    let most = [("colors", 1), ("deployments", 2), ("services", 3)];
    let told = [("colors/status", 7), ("rainbows/status", 3), ("events", 5)];
    check(&release(flip, 0).await, &[most.as_slice(), &told].concat());
}

/// Each pod that drains costs a constant number of writes.
#[tokio::test(start_paused = true)]
async fn a_flip_of_pods_with_connections_writes_little_to_each() {
    let most = [
        ("colors", 1),
        ("deployments", 2),
        ("replicasets", 1),
        ("services", 3),
        ("poddisruptionbudgets", 2),
        ("pods", 15),
    ];
    // One status and one event are about the peer, which is connected to every pod.
    let told = [("colors/status", 18), ("rainbows/status", 3), ("events", 6)];
    check(&release(flip, 3).await, &[most.as_slice(), &told].concat());
}

/// Labels are added and removed twice for each pod: in mid-shift the stage's Service selects pods by a label. Two of the writes of Services
/// create and delete the stage's shadow Service.
#[tokio::test(start_paused = true)]
async fn a_rolling_shift_writes_a_status_a_step() {
    let most = [("colors", 1), ("deployments", 2), ("services", 6), ("pods", 20)];
    let told = [("colors/status", 9), ("rainbows/status", 11), ("events", 7)];
    check(&release(rolling, 0).await, &[most.as_slice(), &told].concat());
}

/// When a stage is taken back to a color that drains, the Service is written first, and no write is refused.
#[tokio::test(start_paused = true)]
async fn a_rollback_writes_the_service_first() {
    let cluster = Cluster::start().await;
    cluster.apply(&flip("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    pods.iter().for_each(|pod| cluster.tally.say(&pod.name_any(), Says::Count(3)));
    cluster.apply(&flip("v2")).await;
    cluster.until("v2 serves", async |c: &Cluster| c.is_ready().await).await;
    // By then the pods of v1 are held, and the Rainbow is their only controller.
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(cluster.color_phase("v1").await.as_deref(), Some("Draining"));
    written(&cluster);
    cluster.promote("v1").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.color_phase("v1").await.as_deref(), Some("Serving"));
    let writes = cluster.writes.lock().unwrap().clone();
    assert_eq!(writes.first().map(|write| kind(write)).as_deref(), Some("services"), "{writes:#?}");
    let disowned = writes.iter().filter(|write| kind(write) == "pods").count();
    assert_eq!(disowned, 10, "each pod loses its mark and its controller reference: {writes:#?}");
    assert_eq!(*cluster.refused.lock().unwrap(), Vec::<String>::new());
}
