//! Quotas, and the conditions of ReplicaSets and Deployments when a quota is used up.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, ResourceQuota},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, ENDS, condition},
    replicaset::replica_set,
};

async fn quota(cluster: &Cluster, hard: Value) {
    cluster.create::<ResourceQuota>(json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } })).await;
    cluster.until_is::<ResourceQuota>("q", |quota| quota["status"]["used"].is_object()).await;
}

fn pod(name: &str, annotations: Value) -> Value {
    json!({ "metadata": { "name": name, "annotations": annotations },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } })
}

fn used(resource: &'static str, count: &'static str) -> impl Fn(&Value) -> bool {
    move |quota| quota["status"]["used"][resource] == count
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_counted_and_what_goes_makes_room() {
    let cluster = Cluster::new();
    cluster.create::<Pod>(pod("a", json!({}))).await;
    let map = |name: &str| json!({ "metadata": { "name": name } });
    cluster.create::<ConfigMap>(map("m")).await;
    quota(&cluster, json!({ "pods": "2", "count/configmaps": "5", "requests.storage": "1Gi" })).await;
    let counted = cluster.get::<ResourceQuota>("q").await.unwrap();
    let status = serde_json::to_value(counted.status.unwrap()).unwrap();
    // The namespace controller has created a ConfigMap of its own there.
    assert_eq!(status["used"], json!({ "pods": "1", "count/configmaps": "2", "requests.storage": "0" }));

    cluster.create::<Pod>(pod("b", json!({ ENDS: "Succeeded" }))).await;
    cluster.until_is::<ResourceQuota>("q", used("pods", "1")).await;
    cluster.until_is::<Pod>("b", |pod| pod["status"]["phase"] == "Succeeded").await;
    cluster.settle().await;
    assert!(used("pods", "1")(&serde_json::to_value(cluster.get::<ResourceQuota>("q").await).unwrap()));

    cluster.create::<Pod>(pod("c", json!({}))).await;
    let third = serde_json::from_value(pod("d", json!({}))).unwrap();
    let refused = cluster.of::<Pod>().create(&PostParams::default(), &third).await.unwrap_err().to_string();
    assert!(refused.contains("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"), "{refused}");
    cluster.delete::<Pod>("a", DeleteParams::default()).await;
    cluster.until_is::<ResourceQuota>("q", used("pods", "1")).await;
    cluster.delete::<ConfigMap>("m", DeleteParams::default()).await;
    cluster.until_is::<ResourceQuota>("q", used("count/configmaps", "1")).await;
    cluster.patch::<ResourceQuota>("q", json!({ "spec": { "hard": { "pods": "7" } } })).await;
    cluster.until_is::<ResourceQuota>("q", |quota| quota["status"]["hard"]["pods"] == "7").await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_at_rest_is_not_written() {
    let cluster = Cluster::new();
    cluster.create::<Pod>(pod("a", json!({}))).await;
    quota(&cluster, json!({ "pods": "2", "limits.cpu": "1000m" })).await;
    cluster.settle().await;
    let before = cluster.api.revision();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(cluster.api.revision(), before);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_a_quota_stops_says_so_and_comes_back_slowly() {
    let cluster = Cluster::new();
    quota(&cluster, json!({ "pods": "2" })).await;
    let mut set = replica_set("web", 4, json!({}));
    set["kind"] = json!("Deployment");
    cluster.create::<Deployment>(set).await;
    let failed = |object: &Value| condition(object, "ReplicaFailure", "reason") == "FailedCreate";
    let deployment = cluster.until_is::<Deployment>("web", failed).await;
    let deployment = serde_json::to_value(deployment).unwrap();
    let message = condition(&deployment, "ReplicaFailure", "message");
    assert!(
        message.starts_with("pods \"web-")
            && message
                .ends_with("\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        "{message}"
    );
    let sets = cluster.list::<ReplicaSet>().await;
    assert!(failed(&serde_json::to_value(&sets[0]).unwrap()));
    assert_eq!(cluster.list::<Pod>().await.len(), 2);
    let event = format!("FailedCreate Error creating: pods \"{}-", sets[0].name_any());
    assert!(cluster.events().await.iter().any(|text| text.starts_with(&event)));

    // Each attempt comes after a longer wait than the one before.
    let revision = |cluster: &Cluster| cluster.api.revision();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let before = revision(&cluster);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(revision(&cluster) - before <= 8, "{} writes in ten minutes", revision(&cluster) - before);
    cluster.patch::<ResourceQuota>("q", json!({ "spec": { "hard": { "pods": "10" } } })).await;
    tokio::time::sleep(Duration::from_secs(1100)).await;
    let whole = cluster.until_is::<Deployment>("web", |it| it["status"]["availableReplicas"] == 4).await;
    assert!(!failed(&serde_json::to_value(whole).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn quotas_of_other_namespaces_do_not_count() {
    let cluster = Cluster::new();
    quota(&cluster, json!({ "pods": "0" })).await;
    let elsewhere: Api<Pod> = Api::namespaced(cluster.client.clone(), "kube-public");
    let pod = serde_json::from_value(pod("a", json!({}))).unwrap();
    elsewhere.create(&PostParams::default(), &pod).await.unwrap();
    assert!(cluster.of::<Pod>().create(&PostParams::default(), &pod).await.is_err());
}
