//! PodDisruptionBudgets and evictions.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{ResourceExt, api::EvictParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LINGERS, UNREADY};

fn deployment(name: &str, replicas: i32, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name }, "annotations": annotations },
                "spec": { "containers": [{ "name": "a", "image": "a:v1" }] },
            },
        },
    })
}

fn budget(selector: &Value, spec: &Value) -> Value {
    let mut budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
        "spec": { "selector": selector } });
    for (key, value) in spec.as_object().unwrap() {
        budget["spec"][key] = value.clone();
    }
    budget
}

fn counts(allowed: i64, healthy: i64, desired: i64, expected: i64) -> impl Fn(&Value) -> bool {
    move |budget| {
        let status = &budget["status"];
        let found = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]
            .map(|field| status[field].as_i64());
        found == [allowed, healthy, desired, expected].map(Some)
            && status["observedGeneration"] == budget["metadata"]["generation"]
    }
}

impl Cluster {
    async fn evict(&self, pod: &str) -> Result<(), (u16, String)> {
        match self.of::<Pod>().evict(pod, &EvictParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => {
                let cause = status.details.as_ref().and_then(|details| details.causes.first().cloned());
                Err((status.code, cause.map(|cause| cause.message).unwrap_or_default()))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_counted_and_kept() {
    let cluster = Cluster::new();
    // No controller replaces these pods, and they take time to end.
    for name in ["a", "b", "c", "d"] {
        let metadata = json!({ "name": name, "labels": { "app": "web" }, "annotations": { LINGERS: "30" } });
        let pod = json!({ "metadata": metadata, "spec": { "containers": [{ "name": "a", "image": "a:v1" }] } });
        cluster.create::<Pod>(pod).await;
    }
    let spec = json!({ "minAvailable": 2 });
    cluster.create::<PodDisruptionBudget>(budget(&json!({ "matchLabels": { "app": "web" } }), &spec)).await;
    cluster.until_is::<PodDisruptionBudget>("web", counts(2, 4, 2, 4)).await;
    // Without a pause, so the result must not depend on a count of the controller in between.
    let mut answers = Vec::new();
    for name in ["a", "b", "c", "a"] {
        answers.push(cluster.evict(name).await.map_err(|(code, _)| code));
    }
    assert_eq!(answers, [Ok(()), Ok(()), Err(429), Ok(())], "one that is going may go");
    cluster.until_is::<PodDisruptionBudget>("web", counts(0, 2, 2, 4)).await;
    let message = "The disruption budget web needs 2 healthy pods and has 2 currently";
    assert_eq!(cluster.evict("d").await, Err((429, message.to_owned())));
    cluster.until_is::<PodDisruptionBudget>("web", counts(0, 2, 2, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn shares_are_of_what_the_deployment_wants() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment("web", 4, &json!({}))).await;
    let spec = json!({ "maxUnavailable": "50%" });
    cluster.create::<PodDisruptionBudget>(budget(&json!({ "matchLabels": { "app": "web" } }), &spec)).await;
    cluster.until_is::<PodDisruptionBudget>("web", counts(2, 4, 2, 4)).await;
    cluster.evict(&cluster.list::<Pod>().await[0].name_any()).await.unwrap();
    // The evicted pod is replaced.
    cluster.until_is::<PodDisruptionBudget>("web", counts(2, 4, 2, 4)).await;
    cluster.patch::<Deployment>("web", json!({ "spec": { "replicas": 1 } })).await;
    cluster.until_is::<PodDisruptionBudget>("web", counts(1, 1, 0, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_zero_lets_nothing_go_and_costs_nothing_to_those_unready() {
    let cluster = Cluster::new();
    cluster.create::<Deployment>(deployment("web", 2, &json!({}))).await;
    cluster.create::<Deployment>(deployment("sick", 1, &json!({ UNREADY: "" }))).await;
    cluster.settle().await;
    // An empty selector selects all pods of the namespace.
    cluster.create::<PodDisruptionBudget>(budget(&json!({}), &json!({ "maxUnavailable": 0 }))).await;
    cluster.until_is::<PodDisruptionBudget>("web", counts(0, 2, 3, 3)).await;
    for pod in cluster.list::<Pod>().await {
        assert_eq!(cluster.evict(&pod.name_any()).await.map_err(|(code, _)| code), Err(429));
    }
    cluster
        .patch::<PodDisruptionBudget>("web", json!({ "spec": { "unhealthyPodEvictionPolicy": "AlwaysAllow" } }))
        .await;
    for pod in cluster.list::<Pod>().await {
        let allowed = pod.name_any().starts_with("sick");
        assert_eq!(cluster.evict(&pod.name_any()).await.is_ok(), allowed, "{}", pod.name_any());
    }
    // A cluster at rest writes nothing.
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    let revision = cluster.api.revision();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(cluster.api.revision(), revision);
}
