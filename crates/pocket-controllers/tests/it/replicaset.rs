//! ReplicaSets.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    ResourceExt,
    api::DeleteParams,
    runtime::watcher::{self, watcher},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LINGERS, Namespaced, UNREADY, condition};

pub(crate) fn replica_set(name: &str, replicas: i32, annotations: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": name },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name }, "annotations": annotations },
                "spec": { "containers": [{ "name": "a", "image": "a:v1" }] },
            },
        },
    })
}

fn ready(count: i64) -> impl Fn(&Value) -> bool {
    move |set| set["status"]["availableReplicas"].as_i64().unwrap_or(0) == count && set["status"]["replicas"] == count
}

fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

#[tokio::test(start_paused = true)]
async fn as_many_pods_as_wanted_and_never_more() {
    let cluster = Cluster::new();
    cluster.create::<ReplicaSet>(replica_set("web", 20, json!({}))).await;
    let set = cluster.until_is::<ReplicaSet>("web", ready(20)).await;
    assert_eq!(set.status.unwrap().observed_generation, set.metadata.generation);
    let created = |events: Vec<String>| events.iter().filter(|event| event.starts_with("SuccessfulCreate")).count();
    cluster.settle().await;
    assert_eq!((cluster.list::<Pod>().await.len(), created(cluster.events().await)), (20, 20));

    let pod = &cluster.list::<Pod>().await[0];
    let owner = &pod.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller, owner.block_owner_deletion),
        ("ReplicaSet", Some(true), Some(true))
    );
    assert!(pod.name_any().starts_with("web-") && pod.metadata.generate_name.as_deref() == Some("web-"));

    for replicas in [3, 7, 0, 2] {
        cluster.patch::<ReplicaSet>("web", json!({ "spec": { "replicas": replicas } })).await;
        cluster.until_is::<ReplicaSet>("web", ready(replicas)).await;
        cluster.settle().await;
        assert_eq!(cluster.list::<Pod>().await.len() as i64, replicas);
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_is_replaced() {
    let cluster = Cluster::new();
    cluster.create::<ReplicaSet>(replica_set("web", 3, json!({}))).await;
    cluster.until_is::<ReplicaSet>("web", ready(3)).await;
    let before = cluster.list::<Pod>().await;
    cluster.delete::<Pod>(&before[0].name_any(), DeleteParams::default()).await;
    cluster.status::<Pod>(&before[1].name_any(), json!({ "phase": "Failed" })).await;
    cluster.settle().await;
    cluster.until_is::<ReplicaSet>("web", ready(3)).await;
    let after = names(&cluster.list::<Pod>().await);
    assert!(!after.contains(&before[0].name_any()) && after.contains(&before[2].name_any()));
    assert_eq!(after.len(), 4, "a failed pod stays to be looked at");
}

#[tokio::test(start_paused = true)]
async fn pods_are_adopted_and_released_by_their_labels() {
    let cluster = Cluster::new();
    let lone = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "lone", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "a", "image": "a:v1" }] },
    });
    cluster.create::<Pod>(lone).await;
    cluster.create::<ReplicaSet>(replica_set("web", 2, json!({}))).await;
    cluster.until_is::<ReplicaSet>("web", ready(2)).await;
    let pods = cluster.list::<Pod>().await;
    assert!(pods.len() == 2 && names(&pods).contains("lone"));
    assert!(pods.iter().all(|pod| pod.owner_references().len() == 1));

    cluster.patch::<Pod>("lone", json!({ "metadata": { "labels": { "app": "other" } } })).await;
    cluster.settle().await;
    cluster.until_is::<ReplicaSet>("web", ready(2)).await;
    let pods = cluster.list::<Pod>().await;
    let lone = pods.iter().find(|pod| pod.name_any() == "lone").unwrap();
    assert!(pods.len() == 3 && lone.owner_references().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_cheapest_pod_goes_first() {
    let cluster = Cluster::new();
    cluster.create::<ReplicaSet>(replica_set("web", 4, json!({}))).await;
    cluster.until_is::<ReplicaSet>("web", ready(4)).await;
    let cheap = cluster.list::<Pod>().await[2].name_any();
    let cost = json!({ "metadata": { "annotations": { "controller.kubernetes.io/pod-deletion-cost": "-1" } } });
    cluster.patch::<Pod>(&cheap, cost).await;
    cluster.patch::<ReplicaSet>("web", json!({ "spec": { "replicas": 3 } })).await;
    cluster.until_is::<ReplicaSet>("web", ready(3)).await;
    assert!(!names(&cluster.list::<Pod>().await).contains(&cheap));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_available_after_its_time_only() {
    let cluster = Cluster::new();
    let mut set = replica_set("web", 1, json!({}));
    set["spec"]["minReadySeconds"] = json!(30);
    cluster.create::<ReplicaSet>(set).await;
    let start = tokio::time::Instant::now();
    cluster.until_is::<ReplicaSet>("web", |set| set["status"]["readyReplicas"] == 1).await;
    let early = start.elapsed();
    cluster.until_is::<ReplicaSet>("web", ready(1)).await;
    assert!(early.as_secs() < 5 && start.elapsed().as_secs() >= 28, "{early:?} {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_created_is_told() {
    let cluster = Cluster::new();
    let mut set = replica_set("web", 2, json!({}));
    // A template is checked less strictly than a pod.
    set["spec"]["template"]["metadata"]["finalizers"] = json!(["not a finalizer"]);
    cluster.create::<ReplicaSet>(set).await;
    let set =
        cluster.until_is::<ReplicaSet>("web", |set| condition(set, "ReplicaFailure", "reason") == "FailedCreate").await;
    assert_eq!(set.status.unwrap().replicas, 0);
    assert!(cluster.events().await.iter().any(|event| event.starts_with("FailedCreate Error creating: ")));
}

#[tokio::test(start_paused = true)]
async fn unready_pods_are_counted_but_not_ready() {
    let cluster = Cluster::new();
    cluster.create::<ReplicaSet>(replica_set("web", 2, json!({ UNREADY: "" }))).await;
    cluster.settle().await;
    let set = cluster.get::<ReplicaSet>("web").await.unwrap();
    let status = serde_json::to_value(set.status).unwrap();
    assert_eq!(
        (&status["replicas"], &status["fullyLabeledReplicas"], status.get("readyReplicas")),
        (&json!(2), &json!(2), None)
    );
}

/// A crash may come between any two writes: the next run continues from the present state.
#[tokio::test(start_paused = true)]
async fn controllers_may_be_killed_at_any_moment() {
    let cluster = Cluster::bare();
    cluster.create::<ReplicaSet>(replica_set("web", 30, json!({}))).await;
    for round in 0..40 {
        let task = cluster.control("root");
        // Every other task of this thread gets that number of turns; then the controllers are killed.
        for _ in 0..round * 7 {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
        assert!(cluster.list::<Pod>().await.len() <= 30);
    }
    cluster.control("root");
    cluster.until_is::<ReplicaSet>("web", |set| set["status"]["replicas"] == 30).await;
    assert_eq!(cluster.list::<Pod>().await.len(), 30);
}

/// Records the status of an object after each of its changes, in order.
pub(crate) fn history<K: Namespaced>(cluster: &Cluster) -> Arc<Mutex<Vec<Value>>> {
    let (seen, api) = (Arc::new(Mutex::new(Vec::new())), cluster.of::<K>());
    let states = seen.clone();
    tokio::spawn(async move {
        let mut changes = watcher(api, watcher::Config::default()).boxed();
        while let Some(event) = changes.next().await {
            let (watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event.unwrap() else { continue };
            states.lock().unwrap().push(serde_json::to_value(object).unwrap());
        }
    });
    seen
}

#[tokio::test(start_paused = true)]
async fn a_size_is_observed_before_it_is_reached() {
    let cluster = Cluster::new();
    let seen = history::<ReplicaSet>(&cluster);
    cluster.create::<ReplicaSet>(replica_set("web", 3, json!({}))).await;
    cluster.until_is::<ReplicaSet>("web", ready(3)).await;
    cluster.patch::<ReplicaSet>("web", json!({ "spec": { "replicas": 1 } })).await;
    cluster.until_is::<ReplicaSet>("web", ready(1)).await;
    let observed: Vec<(i64, i64)> = seen
        .lock()
        .unwrap()
        .iter()
        .filter(|set| set["metadata"]["generation"] == set["status"]["observedGeneration"])
        .map(|set| (set["metadata"]["generation"].as_i64().unwrap(), set["status"]["replicas"].as_i64().unwrap()))
        .collect();
    assert!(observed.contains(&(1, 0)) && observed.contains(&(2, 3)), "{observed:?}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_ending_are_counted_apart() {
    let cluster = Cluster::new();
    cluster.create::<ReplicaSet>(replica_set("web", 3, json!({ LINGERS: "20" }))).await;
    let set = cluster.until_is::<ReplicaSet>("web", ready(3)).await;
    assert_eq!(set.status.unwrap().terminating_replicas, Some(0));
    cluster.patch::<ReplicaSet>("web", json!({ "spec": { "replicas": 1 } })).await;
    cluster.settle().await;
    let status = cluster.get::<ReplicaSet>("web").await.unwrap().status.unwrap();
    assert_eq!((status.replicas, status.terminating_replicas), (1, Some(2)));
    cluster.until_is::<ReplicaSet>("web", |set| set["status"]["terminatingReplicas"] == 0).await;
}
