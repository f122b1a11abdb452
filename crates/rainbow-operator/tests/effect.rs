//! Writes that are answered with success and do not have the right effect.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

/// Policy that sets four pods for the backend, no matter what is asked for.
fn four_backends(path: &str, body: &mut Value) {
    if path.contains("/deployments/backend-") && body["spec"]["replicas"].is_u64() {
        body["spec"]["replicas"] = json!(4);
    }
}

/// Policy that removes membership labels from pods.
fn no_members(path: &str, body: &mut Value) {
    let labels = body.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
    if let (true, Some(labels)) = (path.contains("/pods/"), labels) {
        labels.retain(|key, _| !key.starts_with("member.rainbow.dev/"));
    }
}

/// Policy that narrows each selector of the stage.
fn narrow_stage(path: &str, body: &mut Value) {
    if path.ends_with("/services/frontend-active") && body["spec"]["selector"].is_object() {
        body["spec"]["selector"]["policy"] = json!("yes");
    }
}

/// Returns the number of the operator's writes to a path in ten minutes, and the Rainbow's condition after them.
async fn ten_minutes(cluster: &Cluster, part: &str) -> (usize, String) {
    cluster.writes.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let writes = cluster.writes.lock().unwrap().iter().filter(|write| write.contains(part)).count();
    let (status, reason, message) = cluster.condition("Stalled").await.unwrap();
    (writes, format!("{status} {reason} {message}"))
}

/// Number of writes in ten minutes with growing pauses of at most a minute.
const FEW: usize = 25;

#[tokio::test(start_paused = true)]
async fn a_size_that_a_policy_changes_is_told_and_not_fought_for() {
    let cluster = Cluster::start().await;
    *cluster.webhook.lock().unwrap() = Some(four_backends);
    cluster.apply(&seamless("v1", 2)).await;
    let (writes, said) = ten_minutes(&cluster, "/deployments/backend-v1").await;
    assert!(writes <= FEW, "{writes} writes");
    let field = "True Rejected Deployment `backend-v1`: a write of `spec.replicas` has no effect";
    assert!(said.starts_with(field), "{said}");
    *cluster.webhook.lock().unwrap() = None;
    cluster.until("all is well", async |c: &Cluster| c.is_ready().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_label_that_does_not_stay_is_told_and_stops_its_stage_alone() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    *cluster.webhook.lock().unwrap() = Some(no_members);
    cluster.apply(&seamless("v2", 2)).await;
    cluster.until("v2 is in smoke", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.promote("v2").await;
    let (writes, said) = ten_minutes(&cluster, "/pods/").await;
    assert!(writes <= 5 * FEW, "{writes} writes");
    assert!(said.contains("a write of `metadata.labels.member.rainbow.dev/active` has no effect"), "{said}");
    cluster.promote("v1").await;
    cluster.until("the way back is open", async |c: &Cluster| c.is_ready().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_a_policy_narrows_is_told() {
    let cluster = Cluster::start().await;
    *cluster.webhook.lock().unwrap() = Some(narrow_stage);
    cluster.apply(&seamless("v1", 2)).await;
    let (writes, said) = ten_minutes(&cluster, "/services/frontend-active").await;
    assert!(writes <= 2 * FEW, "{writes} writes");
    assert!(said.contains("Service `frontend-active`: a write of `spec.selector` has no effect"), "{said}");
}

/// Another writer's addition to a selector would leave the stage without endpoints. An apply leaves it, so the operator removes it.
#[tokio::test(start_paused = true)]
async fn what_another_writer_adds_to_a_selector_is_taken_back() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let services = cluster.api::<Service>();
    for name in ["frontend-active", "backend-v1"] {
        let before = services.get(name).await.unwrap().spec.unwrap().selector;
        let parameters = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        let added = json!({ "spec": { "selector": { "track": "stable" } } });
        services.patch(name, &parameters, &Patch::Merge(&added)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(services.get(name).await.unwrap().spec.unwrap().selector, before, "{name}");
        assert!(cluster.is_ready().await, "{:?}", cluster.condition("Ready").await);
    }
}

/// Injector that adds a container to each Deployment, and a label to each pod template.
fn inject(path: &str, body: &mut Value) {
    let Some(template) = body.pointer_mut("/spec/template").filter(|_| path.contains("/deployments/")) else { return };
    template["metadata"]["labels"]["injected"] = json!("yes");
    if let Some(containers) = template["spec"]["containers"].as_array_mut() {
        containers.push(json!({ "name": "proxy", "image": "proxy:1" }));
    }
}

/// The API server's answer counts as correct, and an operator that starts again finds everything of its own in it.
#[tokio::test(start_paused = true)]
async fn what_an_injector_adds_to_deployments_is_left_alone() {
    let mut cluster = Cluster::start().await;
    *cluster.webhook.lock().unwrap() = Some(inject);
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let (writes, said) = ten_minutes(&cluster, "/deployments/").await;
    assert_eq!((writes, said.as_str()), (0, "False NothingInTheWay nothing is stalled"));
    cluster.kill_operator().await;
    cluster.start_operator();
    assert_eq!(ten_minutes(&cluster, "/deployments/").await.0, 0);
}

/// `kubectl rollout restart` and reloaders of configuration write an annotation into a template. The Deployment replaces its pods, and
/// Rainbow does not interfere.
#[tokio::test(start_paused = true)]
async fn a_restart_that_others_ask_for_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let deployments = cluster.api::<Deployment>();
    let key = "kubectl.kubernetes.io/restartedAt";
    let annotation =
        json!({ "spec": { "template": { "metadata": { "annotations": { key: "2026-11-30T00:00:00Z" } } } } });
    let parameters = PatchParams { field_manager: Some("kubectl-rollout".into()), ..PatchParams::default() };
    deployments.patch("frontend-v1", &parameters, &Patch::Strategic(&annotation)).await.unwrap();
    let (writes, _) = ten_minutes(&cluster, "/deployments/").await;
    assert_eq!(writes, 0);
    let found = deployments.get("frontend-v1").await.unwrap().spec.unwrap().template.metadata.unwrap().annotations;
    assert!(found.is_some_and(|found| found.contains_key(key)));
}

/// Policy that labels every object with a manager.
fn managed_by_helm(_: &str, body: &mut Value) {
    if let Some(labels) = body.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.insert("app.kubernetes.io/managed-by".into(), json!("Helm"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_say_who_manages_an_object() {
    let cluster = Cluster::start().await;
    *cluster.webhook.lock().unwrap() = Some(managed_by_helm);
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&seamless("v2", 2)).await;
    cluster.until("v2 is in smoke", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.promote("v2").await;
    cluster.until("v2 serves", async |c: &Cluster| c.is_ready().await).await;
    let (writes, said) = ten_minutes(&cluster, "/services/").await;
    assert_eq!((writes, said.as_str()), (0, "False NothingInTheWay nothing is stalled"));
}

/// Kubernetes that does not know a value of a Service's policy.
fn unknown_distribution(path: &str, body: &mut Value) {
    if path.ends_with("/services/frontend-active") && body["spec"]["trafficDistribution"].is_string() {
        body["spec"]["trafficDistribution"] = json!("Unknown");
    }
}

/// A field of a stage's Service that the API server refuses blocks neither a release nor a rollback. The refusal is reported, the write is
/// tried again with growing pauses, and the refusal is forgotten once the spec is another one or the API server accepts the field.
#[tokio::test(start_paused = true)]
async fn a_refused_field_of_a_service_does_not_stop_its_stage() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    *cluster.webhook.lock().unwrap() = Some(unknown_distribution);
    let policy = |color: &str| {
        let mut rainbow = seamless(color, 2);
        for stage in rainbow["spec"]["stages"].as_array_mut().unwrap() {
            stage["service"] = json!({ "trafficDistribution": "PreferClose" });
        }
        rainbow
    };
    cluster.apply(&policy("v1")).await;
    let (writes, said) = ten_minutes(&cluster, "/services/frontend-active").await;
    assert!(writes <= 2 * FEW, "{writes} writes");
    assert!(said.starts_with("True Rejected Service `frontend-active`"), "{said}");
    cluster.apply(&policy("v2")).await;
    cluster.promote("v2").await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    let selector = cluster.api::<Service>().get("frontend-active").await.unwrap().spec.unwrap().selector.unwrap();
    assert_eq!(selector.get("rainbow.dev/color").map(String::as_str), Some("v1"), "{selector:?}");
    let (status, ..) = cluster.condition("Stalled").await.unwrap();
    assert_eq!(status, "True", "it is still told");
    *cluster.webhook.lock().unwrap() = None;
    cluster.until("all is well", async |c: &Cluster| c.condition("Stalled").await.unwrap().0 == "False").await;
    let spec = cluster.api::<Service>().get("frontend-active").await.unwrap().spec.unwrap();
    assert_eq!(spec.traffic_distribution.as_deref(), Some("PreferClose"));
}
