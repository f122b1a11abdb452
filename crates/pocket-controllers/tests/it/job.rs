//! Jobs.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ENDS, condition};

fn job(phase: Option<&str>, spec: Value) -> Value {
    let annotations = phase.map(|phase| json!({ ENDS: phase }));
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "work" },
        "spec": {
            "template": {
                "metadata": { "annotations": annotations },
                "spec": { "restartPolicy": "Never", "containers": [{ "name": "a", "image": "a:v1" }] },
            },
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

#[track_caller]
fn ends<'a>(cluster: &'a Cluster, kind: &'a str) -> impl Future<Output = Value> + 'a {
    let done = cluster.until_is::<Job>("work", move |job| condition(job, kind, "status") == "True");
    async move { serde_json::to_value(done.await).unwrap() }
}

#[tokio::test(start_paused = true)]
async fn a_job_completes() {
    let cluster = Cluster::new();
    cluster.create::<Job>(job(Some("Succeeded"), json!({ "completions": 5, "parallelism": 2 }))).await;
    let job = ends(&cluster, "Complete").await;
    let status = &job["status"];
    assert_eq!((&status["succeeded"], status.get("failed"), status.get("active")), (&json!(5), None, None));
    assert!(status["startTime"].is_string() && status["completionTime"].is_string());
    assert_eq!(status.get("uncountedTerminatedPods").filter(|notes| !notes.is_null()), None);
    let pods = cluster.list::<Pod>().await;
    assert_eq!(pods.len(), 5);
    assert!(
        pods.iter().all(|pod| pod.finalizers().is_empty() && pod.labels()["batch.kubernetes.io/job-name"] == "work")
    );
    cluster.settle().await;
    assert!(cluster.events().await.contains(&"Completed Job completed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_up_to_the_limit() {
    let cluster = Cluster::new();
    let start = tokio::time::Instant::now();
    cluster.create::<Job>(job(Some("Failed"), json!({ "backoffLimit": 2 }))).await;
    let job = ends(&cluster, "Failed").await;
    assert_eq!((condition(&job, "Failed", "reason"), &job["status"]["failed"]), ("BackoffLimitExceeded", &json!(3)));
    assert_eq!(cluster.list::<Pod>().await.len(), 3);
    assert!(start.elapsed().as_secs() >= 30, "it waits 10 s, then 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_takes_too_long_is_ended() {
    let cluster = Cluster::new();
    cluster.create::<Job>(job(None, json!({ "parallelism": 3, "completions": 3, "activeDeadlineSeconds": 60 }))).await;
    let job = ends(&cluster, "Failed").await;
    assert_eq!(condition(&job, "Failed", "reason"), "DeadlineExceeded");
    cluster
        .until(|| async {
            let left = cluster.list::<Pod>().await.len();
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_goes_after_its_time() {
    let cluster = Cluster::new();
    cluster.create::<Job>(job(Some("Succeeded"), json!({ "ttlSecondsAfterFinished": 100 }))).await;
    ends(&cluster, "Complete").await;
    cluster.settle().await;
    assert!(cluster.get::<Job>("work").await.is_some());
    cluster
        .until(|| async {
            let left = (cluster.list::<Job>().await.len(), cluster.list::<Pod>().await.len());
            if left == (0, 0) { Ok(()) } else { Err(left) }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_waits() {
    let cluster = Cluster::new();
    cluster.create::<Job>(job(Some("Succeeded"), json!({ "suspend": true }))).await;
    ends(&cluster, "Suspended").await;
    cluster.settle().await;
    assert!(cluster.list::<Pod>().await.is_empty());
    cluster.patch::<Job>("work", json!({ "spec": { "suspend": false } })).await;
    let job = ends(&cluster, "Complete").await;
    assert_eq!(condition(&job, "Suspended", "status"), "False");
}

#[tokio::test(start_paused = true)]
async fn deleting_a_job_lets_its_pods_go() {
    let cluster = Cluster::new();
    cluster.create::<Job>(job(None, json!({}))).await;
    cluster.until_is::<Job>("work", |job| job["status"]["ready"] == 1).await;
    cluster.delete::<Job>("work", kube::api::DeleteParams::background()).await;
    cluster
        .until(|| async {
            let left = (cluster.list::<Job>().await.len(), cluster.list::<Pod>().await.len());
            if left == (0, 0) { Ok(()) } else { Err(left) }
        })
        .await;
}
