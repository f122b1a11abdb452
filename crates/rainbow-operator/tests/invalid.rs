//! Invalid specs: no color is made of them, and everything else continues.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, ValidationDirective},
};
use rainbow_api::{Color, Rainbow};
use serde_json::{Value, json};
use std::time::Duration;

/// Returns a version that only the operator's own validation refuses.
fn broken(color: &str, replicas: u32) -> Value {
    let mut spec = seamless(color, replicas);
    spec["spec"]["tiers"][0]["template"]["spec"]["restartPolicy"] = json!("Never");
    spec
}

/// Index of the stage `active` in the sample.
const ACTIVE: usize = 1;

fn pin(spec: &Value, color: &str) -> Value {
    let mut spec = spec.clone();
    spec["spec"]["stages"][ACTIVE]["color"] = json!(color);
    spec
}

/// Returns a cluster in which v1 serves and `active` moves to v2 in steps.
async fn in_mid_shift(replicas: u32) -> (Cluster, Value) {
    let cluster = Cluster::start().await;
    let slow = |color: &str| {
        let mut spec = seamless(color, replicas);
        spec["spec"]["stages"][ACTIVE]["shift"]["rolling"]["every"] = json!("1h");
        spec
    };
    cluster.apply(&slow("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let v2 = slow("v2");
    cluster.apply(&v2).await;
    cluster.until("v2 is there", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.apply(&pin(&v2, "v2")).await;
    comes_to(&cluster, "smoke=v2, active=v1→v2 1/3").await;
    (cluster, pin(&v2, "v2"))
}

#[track_caller]
fn comes_to<'a>(cluster: &'a Cluster, summary: &'a str) -> impl Future<Output = ()> + 'a {
    cluster.until(summary, move |c: &Cluster| {
        let now = c.summary();
        async move { now.await == summary }
    })
}

/// Returns whether the condition says that the spec is invalid, and names the field.
async fn is_told(cluster: &Cluster, field: &str) -> bool {
    let ready = cluster.condition("Ready").await;
    let stalled = cluster.condition("Stalled").await;
    [(ready, "False"), (stalled, "True")].into_iter().all(|(condition, wanted)| {
        condition.is_some_and(|(is, reason, message)| {
            is == wanted && reason == "InvalidSpec" && message.starts_with(&format!("spec.{field}"))
        })
    })
}

/// Returns the ready endpoints of a Service, by color.
async fn endpoints(cluster: &Cluster, service: &str) -> Vec<String> {
    let slice = cluster.api::<EndpointSlice>().get_opt(&format!("{service}-x")).await.unwrap();
    let endpoints = slice.map(|slice| slice.endpoints).unwrap_or_default();
    let is_ready = |e: &&k8s_openapi::api::discovery::v1::Endpoint| {
        e.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
    };
    let mut names: Vec<String> = endpoints
        .iter()
        .filter(is_ready)
        .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone())
        .map(|name| name.rsplit_once('-').unwrap().0.to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn an_invalid_version_holds_nothing_up_in_mid_shift() {
    let (cluster, v2) = in_mid_shift(3).await;
    let before = endpoints(&cluster, "frontend-active").await;
    assert_eq!(before, ["frontend-v1", "frontend-v1", "frontend-v2"]);
    let mut v3 = broken("v3", 5);
    v3["spec"]["stages"] = v2["spec"]["stages"].clone();
    cluster.apply(&v3).await;
    let field = "tiers[backend].template.spec.restartPolicy";
    cluster.until("it is told", async |c: &Cluster| is_told(c, field).await).await;
    // A pod is lost, and its replacement joins.
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let member = |pod: &&Pod| pod.labels().contains_key("member.rainbow.dev/active") && pod.name_any().contains("-v1-");
    let lost = pods.iter().find(member).unwrap().name_any();
    cluster.api::<Pod>().delete(&lost, &DeleteParams::default()).await.unwrap();
    cluster
        .until("the replacement joins", async |c: &Cluster| {
            let gone = c.api::<Pod>().get_opt(&lost).await.unwrap().is_none();
            gone && endpoints(c, "frontend-active").await == before
        })
        .await;
    // The way back is open, and so is the way forward. Neither makes a color of the invalid version, or sizes one by it.
    cluster.apply(&pin(&v3, "v1")).await;
    comes_to(&cluster, "smoke=v2, active=v1").await;
    cluster.apply(&pin(&v3, "v2")).await;
    comes_to(&cluster, "smoke=v2, active=v1→v2 1/3").await;
    assert!(is_told(&cluster, field).await);
    let colors = cluster.api::<Color>().list(&ListParams::default()).await.unwrap();
    assert_eq!(colors.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["seamless-v1", "seamless-v2"]);
    assert_eq!(cluster.state().await["deployments"]["backend-v2"], json!(3));
    // The corrected spec moves forward.
    let mut corrected = seamless("v3", 3);
    corrected["spec"]["stages"] = v2["spec"]["stages"].clone();
    corrected["spec"]["stages"][ACTIVE]["shift"] = json!({ "flip": {} });
    cluster.apply(&corrected).await;
    comes_to(&cluster, "smoke=v3, active=v2").await;
    cluster.until("nothing is wrong", async |c: &Cluster| c.is_ready().await).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_with_an_invalid_version_goes_on_from_what_it_finds() {
    let (mut cluster, v2) = in_mid_shift(3).await;
    cluster.kill_operator().await;
    let mut v3 = broken("v3", 3);
    v3["spec"]["stages"] = v2["spec"]["stages"].clone();
    cluster.apply(&v3).await;
    cluster.start_operator();
    cluster.until("it is told", async |c: &Cluster| is_told(c, "tiers[backend]").await).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.summary().await, "smoke=v2, active=v1→v2 1/3");
    cluster.apply(&pin(&v3, "v1")).await;
    comes_to(&cluster, "smoke=v2, active=v1").await;
    assert_eq!(cluster.rainbow().await.status.unwrap().color.as_deref(), Some("v2"), "described last");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(cluster.color_phase("v2").await.as_deref(), Some("Serving"), "smoke stays where it is");
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_while_the_spec_is_invalid() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let mut v2 = seamless("v2", 2);
    v2["spec"]["stages"][ACTIVE]["shift"] = json!({ "flip": {} });
    cluster.apply(&pin(&v2, "v2")).await;
    comes_to(&cluster, "smoke=v2, active=v2").await;
    let mut v3 = broken("v3", 2);
    v3["spec"]["stages"] = pin(&v2, "v2")["spec"]["stages"].clone();
    cluster.apply(&v3).await;
    let is_over = async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Retired");
    cluster.until("v1 has drained", is_over).await;
    assert!(is_told(&cluster, "tiers[backend]").await);
}

/// An invalid field of a stage blocks that stage and no other. The way back stays open.
async fn invalid_stage(field: &'static str, change: impl Fn(&mut Value)) {
    let (mut cluster, v2) = in_mid_shift(3).await;
    let service = async |c: &Cluster| c.api::<Service>().get("frontend-active").await.unwrap().spec.unwrap();
    let before = service(&cluster).await;
    let mut invalid = v2.clone();
    change(&mut invalid["spec"]["stages"][ACTIVE]);
    cluster.apply(&invalid).await;
    cluster.until("it is told", async |c: &Cluster| is_told(c, field).await).await;
    // All other places get another version.
    for tier in [0, 1] {
        invalid["spec"]["tiers"][tier]["template"]["spec"]["containers"][0]["image"] = json!("x:v3");
    }
    invalid["spec"]["color"] = json!("v3");
    cluster.apply(&invalid).await;
    comes_to(&cluster, "smoke=v3, active=v1→v2 1/3").await;
    // Hours later the share is the same, under any leader.
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(cluster.summary().await, "smoke=v3, active=v1→v2 1/3");
    cluster.apply(&pin(&invalid, "v1")).await;
    comes_to(&cluster, "smoke=v3, active=v1").await;
    let after = service(&cluster).await;
    assert_eq!((after.type_, after.ports), (before.type_, before.ports), "{field}");
    cluster.apply(&pin(&invalid, "v2")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.summary().await, "smoke=v3, active=v1", "nothing moves forward");
    cluster.apply(&v2).await;
    comes_to(&cluster, "smoke=v2, active=v1→v2 1/3").await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_with_a_node_port_it_cannot_have_is_held() {
    let node_port = |stage: &mut Value| stage["service"] = json!({ "ports": [{ "name": "http", "nodePort": 30080 }] });
    invalid_stage("stages[active].service.ports[http].nodePort", node_port).await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_whose_pace_cannot_be_read_is_held() {
    let forever = |stage: &mut Value| stage["shift"]["rolling"]["every"] = json!("99999999999999999999h");
    invalid_stage("stages[active].shift.rolling.every", forever).await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_whose_service_has_the_name_of_another_is_held() {
    let same = |stage: &mut Value| stage["service"] = json!({ "name": "frontend-smoke" });
    invalid_stage("stages[active].service.name", same).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_cannot_be_read_is_the_last_one_or_ends_nothing() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 1)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let mut v2 = pin(&seamless("v2", 1), "v2");
    v2["spec"]["drain"]["settle"] = json!("99999999999999999999h");
    cluster.apply(&v2).await;
    comes_to(&cluster, "smoke=v2, active=v2").await;
    assert!(is_told(&cluster, "drain.settle").await);
    let phase = async |c: &Cluster, color: &str| c.color_phase(color).await.unwrap_or_default();
    cluster.until("v1 drains by the last policy", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    // An operator that starts does not know the last valid policy.
    cluster.kill_operator().await;
    let mut v3 = pin(&seamless("v3", 1), "v3");
    v3["spec"]["drain"] = v2["spec"]["drain"].clone();
    cluster.apply(&v3).await;
    cluster.start_operator();
    comes_to(&cluster, "smoke=v3, active=v3").await;
    tokio::time::sleep(Duration::from_secs(3 * 24 * 3600)).await;
    assert_eq!(phase(&cluster, "v2").await, "Draining", "nobody knows how long it may take");
    cluster.apply(&pin(&seamless("v3", 1), "v3")).await;
    cluster.until("it ends when that is known", async |c: &Cluster| phase(c, "v2").await == "Retired").await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_of_a_spec_that_never_was_valid() {
    let cluster = Cluster::start().await;
    cluster.apply(&broken("v1", 2)).await;
    cluster.until("it is told", async |c: &Cluster| is_told(c, "tiers[backend]").await).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = cluster.state().await;
    assert_eq!((&state["deployments"], &state["services"], &state["colors"]), (&json!({}), &json!({}), &json!({})));
    cluster.delete().await;
    let gone = async |c: &Cluster| c.condition("Ready").await.is_none();
    cluster.until("it can be deleted", gone).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_invalid_can_be_deleted_in_mid_shift() {
    let (cluster, v2) = in_mid_shift(3).await;
    let mut v3 = broken("v3", 3);
    v3["spec"]["stages"] = v2["spec"]["stages"].clone();
    v3["spec"]["stages"][ACTIVE]["shift"]["rolling"]["every"] = json!("99999999999999999999h");
    v3["spec"]["drain"] = json!({ "settle": "99999999999999999999h", "connections": "None" });
    cluster.apply(&v3).await;
    cluster.until("it is told", async |c: &Cluster| is_told(c, "").await).await;
    cluster.delete().await;
    let gone = async |c: &Cluster| {
        c.condition("Ready").await.is_none()
            && c.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty()
            && c.api::<Service>().list(&ListParams::default()).await.unwrap().items.is_empty()
    };
    cluster.until("all is gone", gone).await;
}

#[tokio::test(start_paused = true)]
async fn another_prefix_holds_nothing_up() {
    let (cluster, v2) = in_mid_shift(3).await;
    let mut renamed = v2.clone();
    renamed["spec"]["namePrefix"] = json!("new-");
    cluster.apply(&renamed).await;
    cluster.until("it is told", async |c: &Cluster| is_told(c, "namePrefix").await).await;
    cluster.apply(&pin(&renamed, "v1")).await;
    comes_to(&cluster, "smoke=v2, active=v1").await;
    let services = cluster.api::<Service>().list(&ListParams::default()).await.unwrap();
    assert!(services.iter().all(|service| !service.name_any().starts_with("new-")));
}

/// The definition has the fields of a pod, with their types.
#[tokio::test(start_paused = true)]
async fn the_api_server_refuses_in_a_template_what_it_refuses_in_a_deployment() {
    let cluster = Cluster::start().await;
    let rainbows: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), "default", &ApiResource::erase::<Rainbow>(&()));
    let apply = async |change: &dyn Fn(&mut Value)| {
        let mut manifest = seamless("v1", 1);
        change(&mut manifest["spec"]["tiers"][0]["template"]["spec"]);
        let validation = Some(ValidationDirective::Strict);
        let params = PatchParams { field_validation: validation, ..PatchParams::apply("user").force() };
        rainbows.patch("seamless", &params, &Patch::Apply(&manifest)).await.map(drop).map_err(|error| error.to_string())
    };
    let container =
        |field: &'static str, value: Value| move |pod: &mut Value| pod["containers"][0][field] = value.clone();
    let cases = [
        container("readinesProbe", json!({ "httpGet": { "port": 80 } })),
        container("image", json!("")),
        container("image", json!(null)),
        container("livenessProbe", json!({ "httpGet": { "prot": 80 } })),
        container("livenessProbe", json!({ "httpGet": { "port": [80] } })),
        container("resources", json!({ "limits": { "memory": "64MB" } })),
        container("ports", json!([{ "containerPort": "80" }])),
        container("env", json!([{ "name": "DEBUG", "value": true }])),
        container("command", json!("sh")),
    ];
    for (index, case) in cases.iter().enumerate() {
        assert!(apply(case).await.is_err(), "case {index}");
    }
    assert!(apply(&|pod: &mut Value| drop(pod.as_object_mut().unwrap().remove("containers"))).await.is_err());
    let fine = |pod: &mut Value| {
        pod["containers"][0]["resources"] = json!({ "limits": { "cpu": 0.5, "memory": "64Mi", "example.com/gpu": 1 } });
        pod["containers"][0]["env"] = json!(null);
        pod["containers"][0]["readinessProbe"] = json!({ "httpGet": { "port": "http" } });
        pod["affinity"] = json!(null);
    };
    assert_eq!(apply(&fine).await, Ok(()));
}

/// As for any kind, a client that does not ask for strict validation gets a warning, and the field is dropped.
#[tokio::test(start_paused = true)]
async fn a_field_that_no_pod_has_is_dropped_where_a_client_asks_for_no_more() {
    let cluster = Cluster::start().await;
    let rainbows: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), "default", &ApiResource::erase::<Rainbow>(&()));
    let mut manifest = seamless("v1", 1);
    manifest["spec"]["tiers"][0]["template"]["spec"]["futureField"] = json!(1);
    rainbows.create(&PostParams::default(), &serde_json::from_value(manifest).unwrap()).await.unwrap();
    let stored = rainbows.get("seamless").await.unwrap();
    let pod = &stored.data["spec"]["tiers"][0]["template"]["spec"];
    assert!(pod["futureField"].is_null() && pod["containers"].is_array(), "{pod}");
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
}
