//! Deployments.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{ResourceExt, api::DeleteParams};
use pocket_controllers::{Controller, Settings, run_some};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LINGERS, UNREADY, condition};

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "annotations": { "team": "a" } },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "a", "image": image }] },
            },
        },
    })
}

fn image(image: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "a", "image": image }] } } } })
}

/// Returns whether a rollout is complete, by the rules of `kubectl rollout status`.
fn rolled_out(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let n = |value: &Value| value.as_i64().unwrap_or(0);
    deployment["metadata"]["generation"] == status["observedGeneration"]
        && n(&status["updatedReplicas"]) == n(&spec["replicas"])
        && n(&status["replicas"]) == n(&spec["replicas"])
        && n(&status["availableReplicas"]) == n(&spec["replicas"])
        && condition(deployment, "Progressing", "reason") == "NewReplicaSetAvailable"
}

fn revision(object: &impl ResourceExt) -> &str {
    object.annotations().get("deployment.kubernetes.io/revision").map_or("", String::as_str)
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().unwrap().replicas.unwrap()
}

async fn sets(cluster: &Cluster) -> Vec<ReplicaSet> {
    let mut sets = cluster.list::<ReplicaSet>().await;
    sets.sort_by_key(|set| revision(set).parse::<u32>().unwrap_or(0));
    sets
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_rolled_out() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment(3, "a:v1")).await;
    let done = cluster.until_is::<Deployment>("web", rolled_out).await;
    let value = serde_json::to_value(&done).unwrap();
    assert_eq!((condition(&value, "Available", "reason"), revision(&done)), ("MinimumReplicasAvailable", "1"));
    assert_eq!(value["status"].get("unavailableReplicas"), None);
    let set = sets(&cluster).await.remove(0);
    assert_eq!(
        condition(&value, "Progressing", "message"),
        format!("ReplicaSet \"{}\" has successfully progressed.", set.name_any())
    );
    let hash = set.labels()["pod-template-hash"].clone();
    assert_eq!((set.name_any(), set.annotations()["team"].as_str()), (format!("web-{hash}"), "a"));
    assert_eq!(
        (
            set.annotations()["deployment.kubernetes.io/desired-replicas"].as_str(),
            set.annotations()["deployment.kubernetes.io/max-replicas"].as_str()
        ),
        ("3", "4")
    );
    assert!(cluster.list::<Pod>().await.iter().all(|pod| pod.labels()["pod-template-hash"] == hash));
    cluster.settle().await;
    let before = cluster.api.revision();
    cluster.settle().await;
    assert_eq!(cluster.api.revision(), before, "nothing is written when nothing changes");
    let events = cluster.events().await;
    assert!(events.contains(&format!("ScalingReplicaSet Scaled up replica set web-{hash} from 0 to 3")), "{events:?}");
}

/// Checks that there are never too many pods during an update, nor too few available ones.
async fn check_update(replicas: i32, surge: Value, unavailable: Value, most: usize, least: usize) {
    let cluster = Cluster::new();
    let mut object = deployment(replicas, "a:v1");
    object["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } });
    object["spec"]["minReadySeconds"] = json!(3);
    cluster.create::<Deployment>(object).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    cluster.patch::<Deployment>("web", image("a:v2")).await;
    loop {
        let pods = cluster.list::<Pod>().await;
        let alive: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
        let ready = alive.iter().filter(|pod| {
            pod.status
                .iter()
                .flat_map(|s| s.conditions.iter().flatten())
                .any(|c| c.type_ == "Ready" && c.status == "True")
        });
        assert!(ready.count() >= least, "too few");
        assert!(alive.len() <= most, "{} of {most}", alive.len());
        let now = cluster.get::<Deployment>("web").await.unwrap();
        if rolled_out(&serde_json::to_value(&now).unwrap()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sets = sets(&cluster).await;
    assert_eq!(sets.iter().map(size).collect::<Vec<_>>(), [0, replicas]);
    assert_eq!(sets.iter().map(revision).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn updates_keep_their_bounds() {
    check_update(5, json!("25%"), json!("25%"), 7, 4).await;
    check_update(4, json!(1), json!(0), 5, 4).await;
    check_update(4, json!(0), json!(1), 4, 3).await;
    check_update(10, json!("100%"), json!(0), 20, 10).await;
    check_update(1, json!("25%"), json!("25%"), 2, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_gets_ready_stays_out() {
    let cluster = Cluster::new();
    let mut object = deployment(4, "a:v1");
    object["spec"]["progressDeadlineSeconds"] = json!(60);
    cluster.create::<Deployment>(object).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    let mut bad = image("a:v2");
    bad["spec"]["template"]["metadata"] = json!({ "annotations": { UNREADY: "" } });
    cluster.patch::<Deployment>("web", bad).await;
    let start = tokio::time::Instant::now();
    let stuck = cluster
        .until_is::<Deployment>("web", |d| condition(d, "Progressing", "reason") == "ProgressDeadlineExceeded")
        .await;
    assert!((58..90).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let value = serde_json::to_value(&stuck).unwrap();
    assert_eq!(condition(&value, "Progressing", "status"), "False");
    assert!(condition(&value, "Progressing", "message").ends_with("has timed out progressing."));
    assert_eq!(stuck.status.unwrap().available_replicas, Some(3));

    // `kubectl rollout undo` writes the old template back: the old ReplicaSet is the new one again.
    let mut good = image("a:v1");
    good["spec"]["template"]["metadata"] = json!({ "annotations": null });
    cluster.patch::<Deployment>("web", good).await;
    let done = cluster.until_is::<Deployment>("web", rolled_out).await;
    let sets = sets(&cluster).await;
    assert_eq!(sets.iter().map(revision).collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(sets.iter().map(size).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(
        (revision(&done), sets[1].annotations()["deployment.kubernetes.io/revision-history"].as_str()),
        ("3", "1")
    );
}

#[tokio::test(start_paused = true)]
async fn old_versions_are_kept_up_to_the_limit() {
    let cluster = Cluster::new();
    let mut object = deployment(1, "a:v1");
    object["spec"]["revisionHistoryLimit"] = json!(2);
    cluster.create::<Deployment>(object).await;
    for version in 2..6 {
        cluster.until_is::<Deployment>("web", rolled_out).await;
        cluster.patch::<Deployment>("web", image(&format!("a:v{version}"))).await;
    }
    cluster.until_is::<Deployment>("web", rolled_out).await;
    cluster.settle().await;
    assert_eq!(sets(&cluster).await.iter().map(revision).collect::<Vec<_>>(), ["3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn scaling_in_the_middle_is_spread() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment(10, "a:v1")).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    let mut bad = image("a:v2");
    bad["spec"]["template"]["metadata"] = json!({ "annotations": { UNREADY: "" } });
    cluster.patch::<Deployment>("web", bad).await;
    cluster.settle().await;
    assert_eq!(sets(&cluster).await.iter().map(size).collect::<Vec<_>>(), [8, 5]);
    cluster.patch::<Deployment>("web", json!({ "spec": { "replicas": 20 } })).await;
    cluster.settle().await;
    let sizes: Vec<_> = sets(&cluster).await.iter().map(size).collect();
    assert_eq!(sizes.iter().sum::<i32>(), 25);
    assert!(sizes[0] > 8 && sizes[1] > 5, "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_move() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment(2, "a:v1")).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    let mut patch = image("a:v2");
    patch["spec"]["paused"] = json!(true);
    cluster.patch::<Deployment>("web", patch).await;
    cluster.patch::<Deployment>("web", json!({ "spec": { "replicas": 3 } })).await;
    let paused = cluster.until_is::<Deployment>("web", |d| d["status"]["availableReplicas"] == 3).await;
    assert_eq!(condition(&serde_json::to_value(paused).unwrap(), "Progressing", "reason"), "DeploymentPaused");
    assert_eq!(sets(&cluster).await.iter().map(size).collect::<Vec<_>>(), [3]);
    cluster.patch::<Deployment>("web", json!({ "spec": { "paused": false } })).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    assert_eq!(sets(&cluster).await.iter().map(size).collect::<Vec<_>>(), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn recreate_never_runs_both() {
    let cluster = Cluster::new();
    let mut object = deployment(3, "a:v1");
    object["spec"]["strategy"] = json!({ "type": "Recreate" });
    object["spec"]["template"]["metadata"]["annotations"] = json!({ LINGERS: "20" });
    cluster.create::<Deployment>(object).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    cluster.patch::<Deployment>("web", image("a:v2")).await;
    loop {
        let mut images: Vec<_> = cluster
            .list::<Pod>()
            .await
            .iter()
            .map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone())
            .collect();
        images.dedup();
        assert!(images.len() <= 1, "{images:?}");
        let now = cluster.get::<Deployment>("web").await.unwrap();
        if rolled_out(&serde_json::to_value(&now).unwrap()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(sets(&cluster).await.iter().map(size).collect::<Vec<_>>(), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_gets_another_hash() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment(1, "a:v1")).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    let name = sets(&cluster).await[0].name_any();
    // Everything is deleted, and another client takes the name that the next ReplicaSet wants.
    cluster.delete::<Deployment>("web", DeleteParams::background()).await;
    cluster
        .until(|| async { if cluster.list::<ReplicaSet>().await.is_empty() { Ok(()) } else { Err("still there") } })
        .await;
    cluster.create::<ReplicaSet>(crate::replicaset::replica_set(&name, 0, json!({}))).await;
    cluster.create::<Deployment>(deployment(1, "a:v1")).await;
    let done = cluster.until_is::<Deployment>("web", rolled_out).await;
    assert_eq!(done.status.unwrap().collision_count, Some(1));
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn replica_sets_are_adopted_after_an_orphaning_deletion() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment(2, "a:v1")).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    let before: Vec<_> = cluster.list::<Pod>().await.iter().map(ResourceExt::name_any).collect();
    cluster.delete::<Deployment>("web", DeleteParams::orphan()).await;
    cluster.until(|| async { cluster.get::<Deployment>("web").await.map_or(Ok(()), Err) }).await;
    cluster.settle().await;
    assert!(sets(&cluster).await[0].owner_references().is_empty());
    cluster.create::<Deployment>(deployment(2, "a:v1")).await;
    cluster.until_is::<Deployment>("web", rolled_out).await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 1);
    assert_eq!(cluster.list::<Pod>().await.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), before);
}

/// Returns a cluster with the Deployment controller alone: the test writes the status of ReplicaSets.
fn alone() -> Cluster {
    let cluster = Cluster::bare();
    let client = cluster.client.clone();
    tokio::spawn(run_some(client, Settings::default(), &[Controller::Deployment], std::future::pending()));
    cluster
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_not_there_yet_are_unavailable() {
    let cluster = alone();
    cluster.create::<Deployment>(deployment(3, "a:v1")).await;
    cluster.settle().await;
    let status = cluster.get::<Deployment>("web").await.unwrap().status.unwrap();
    assert_eq!((status.replicas, status.unavailable_replicas, status.terminating_replicas), (None, Some(3), Some(0)));
    let name = sets(&cluster).await[0].name_any();
    let counts = json!({ "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "terminatingReplicas": 2, "observedGeneration": 1 });
    cluster.status::<ReplicaSet>(&name, counts).await;
    cluster.settle().await;
    let status = cluster.get::<Deployment>("web").await.unwrap().status.unwrap();
    assert_eq!((status.unavailable_replicas, status.terminating_replicas), (None, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_waits_for_replica_sets_to_catch_up() {
    let cluster = alone();
    let mut object = deployment(4, "a:v1");
    object["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 } });
    cluster.create::<Deployment>(object).await;
    cluster.settle().await;
    let say = async |set: usize, available: i32| {
        let set = &sets(&cluster).await[set];
        let counts = json!({ "replicas": available, "readyReplicas": available, "availableReplicas": available,
            "observedGeneration": set.metadata.generation });
        cluster.status::<ReplicaSet>(&set.name_any(), counts).await;
        cluster.settle().await;
        sets(&cluster).await.iter().map(size).collect::<Vec<_>>()
    };
    assert_eq!(say(0, 4).await, [4]);
    cluster.patch::<Deployment>("web", image("a:v2")).await;
    cluster.settle().await;
    assert_eq!(sets(&cluster).await.iter().map(size).collect::<Vec<_>>(), [3, 2]);
    // The old one still reports 4, so it is not known whether one more may be removed.
    assert_eq!(say(1, 2).await, [3, 2]);
    // 3 + 2 are available and 3 must be: two are removed, and the new one takes their room.
    assert_eq!(say(0, 3).await, [1, 4]);
}
