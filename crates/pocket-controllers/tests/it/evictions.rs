//! Answers of the eviction subresource. No controller runs: the tests write a budget's status.

use http::{Request, header};
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition};

struct Answer {
    code: u16,
    retry_after: Option<String>,
    body: Value,
}

impl Answer {
    fn cause(&self) -> &str {
        self.body["details"]["causes"][0]["message"].as_str().unwrap_or_default()
    }
}

impl Cluster {
    async fn running_pod(&self, name: &str, ready: bool) {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "web" } },
            "spec": { "nodeName": "pocket", "containers": [{ "name": "a", "image": "a:v1" }] } });
        self.create::<Pod>(pod).await;
        let ready = if ready { "True" } else { "False" };
        self.status::<Pod>(name, json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] }))
            .await;
    }

    async fn counted_budget(&self, name: &str, mut status: Value) {
        let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": name },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
        let budget: PodDisruptionBudget = self.create(budget).await;
        if status.get("observedGeneration").is_none() {
            status["observedGeneration"] = json!(budget.metadata.generation);
        }
        self.status::<PodDisruptionBudget>(name, status).await;
    }

    async fn evicts(&self, pod: &str, eviction: Value) -> Answer {
        let mut body = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod } });
        for (key, value) in eviction.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let request = Request::post(format!("/api/v1/namespaces/default/pods/{pod}/eviction"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(kube::client::Body::from(serde_json::to_vec(&body).unwrap()))
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        Answer { code, retry_after, body: serde_json::from_slice(&bytes).unwrap() }
    }

    async fn budget_status(&self, name: &str) -> Value {
        serde_json::to_value(self.get::<PodDisruptionBudget>(name).await.unwrap()).unwrap()
    }
}

fn status(allowed: i32, healthy: i32, desired: i32) -> Value {
    json!({ "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": 3,
        "conditions": [{ "type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }] })
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_and_its_budget_say_so() {
    let cluster = Cluster::bare();
    cluster.running_pod("a", true).await;
    cluster.counted_budget("guard", status(1, 2, 1)).await;
    let dry = cluster.evicts("a", json!({ "deleteOptions": { "dryRun": ["All"] } })).await;
    assert_eq!(
        (dry.code, cluster.budget_status("guard").await["status"]["disruptionsAllowed"].as_i64()),
        (201, Some(1))
    );
    assert_eq!(cluster.evicts("a", json!({})).await.code, 201);
    let pod = serde_json::to_value(cluster.get::<Pod>("a").await.unwrap()).unwrap();
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    let target = ["status", "reason", "message"].map(|field| condition(&pod, "DisruptionTarget", field));
    assert_eq!(target, ["True", "EvictionByEvictionAPI", "Eviction API: evicting"]);
    let budget = cluster.budget_status("guard").await;
    assert_eq!(condition(&budget, "DisruptionAllowed", "reason"), "InsufficientPods");
    assert!(budget["status"]["disruptedPods"]["a"].is_string());
    assert_eq!(cluster.evicts("a", json!({})).await.code, 201, "one that is going may go");
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_spent_before_the_deletion_is_refused() {
    let cluster = Cluster::bare();
    cluster.running_pod("a", true).await;
    cluster.counted_budget("guard", status(2, 3, 1)).await;
    let stranger = json!({ "deleteOptions": { "preconditions": { "uid": "another pod" } } });
    assert_eq!(cluster.evicts("a", stranger).await.code, 409);
    assert_eq!(cluster.budget_status("guard").await["status"]["disruptionsAllowed"], 1);
    let pod = serde_json::to_value(cluster.get::<Pod>("a").await.unwrap()).unwrap();
    assert_eq!(condition(&pod, "DisruptionTarget", "status"), "");
    let version = pod["metadata"]["resourceVersion"].clone();
    let same = json!({ "deleteOptions": { "preconditions": { "resourceVersion": version } } });
    assert_eq!(cluster.evicts("a", same).await.code, 201, "the condition is no change that the client has missed");
    let other = cluster.evicts("a", json!({ "metadata": { "name": "b" } })).await;
    assert_eq!(other.body["message"], "name in URL does not match name in Eviction object");
}

#[tokio::test(start_paused = true)]
async fn refusals_say_why_and_whether_to_ask_again() {
    let check = async |status: Value, code: u16, retry_after: Option<&str>, message: &str, cause: &str| {
        let cluster = Cluster::bare();
        cluster.running_pod("a", true).await;
        cluster.counted_budget("guard", status).await;
        let answer = cluster.evicts("a", json!({})).await;
        assert_eq!((answer.code, answer.retry_after.as_deref()), (code, retry_after), "{}", answer.body);
        assert_eq!((answer.body["message"].as_str().unwrap(), answer.cause()), (message, cause));
        assert!(cluster.get::<Pod>("a").await.unwrap().metadata.deletion_timestamp.is_none());
    };
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut behind = status(1, 2, 1);
    behind["observedGeneration"] = json!(0);
    check(behind, 429, Some("10"), refused, "The disruption budget guard is still being processed by the server.")
        .await;
    // Clients repeat the request by themselves where the header is set.
    let needs = "The disruption budget guard needs 1 healthy pods and has 1 currently";
    check(status(0, 1, 1), 429, None, refused, needs).await;
    let mut failed = status(0, 3, 1);
    failed["conditions"] = json!([{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why",
        "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    let text = "The disruption budget guard does not allow evicting pods currently because it failed sync: why";
    check(failed, 429, None, refused, text).await;
    check(status(0, 3, 1), 429, None, refused, "The disruption budget guard does not allow evicting pods currently")
        .await;
    let negative = "poddisruptionbudgets.policy \"guard\" is forbidden: pdb disruptions allowed is negative";
    let text =
        "The disruption budget guard does not allow evicting pods currently: pdb disruptions allowed is negative";
    check(status(-1, 3, 1), 403, None, negative, text).await;
}

#[tokio::test(start_paused = true)]
async fn two_budgets_are_one_too_many() {
    let cluster = Cluster::bare();
    cluster.running_pod("a", true).await;
    for name in ["first", "second"] {
        cluster.counted_budget(name, status(1, 2, 1)).await;
    }
    let answer = cluster.evicts("a", json!({})).await;
    let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!((answer.code, answer.body["message"].as_str()), (500, Some(text)));
    // A pod that does not serve can be evicted under any budget.
    cluster.status::<Pod>("a", json!({ "phase": "Succeeded" })).await;
    assert_eq!(cluster.evicts("a", json!({})).await.code, 201);
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_not_ready_go_by_their_policy() {
    let check = async |policy: Option<&str>, allowed: i32, healthy: i32, desired: i32, expected: (u16, i64)| {
        let cluster = Cluster::bare();
        cluster.running_pod("sick", false).await;
        cluster.counted_budget("guard", status(allowed, healthy, desired)).await;
        if let Some(policy) = policy {
            let budget = cluster
                .patch::<PodDisruptionBudget>("guard", json!({ "spec": { "unhealthyPodEvictionPolicy": policy } }))
                .await;
            let observed = json!({ "observedGeneration": budget.metadata.generation });
            cluster.status::<PodDisruptionBudget>(&budget.name_any(), observed).await;
        }
        let code = cluster.evicts("sick", json!({})).await.code;
        let left = cluster.budget_status("guard").await["status"]["disruptionsAllowed"].as_i64().unwrap();
        assert_eq!((code, left), expected, "{policy:?} {allowed} {healthy} {desired}");
    };
    check(None, 0, 2, 2, (201, 0)).await;
    check(None, 1, 2, 1, (201, 1)).await;
    check(None, 0, 1, 2, (429, 0)).await;
    // Where no pod must be healthy, the budget is spent as for a healthy pod.
    check(None, 1, 0, 0, (201, 0)).await;
    check(Some("IfHealthyBudget"), 0, 1, 2, (429, 0)).await;
    check(Some("AlwaysAllow"), 0, 1, 2, (201, 0)).await;
}
