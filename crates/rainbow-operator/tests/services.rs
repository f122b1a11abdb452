//! Fields of Services: set, removed, kept, and written once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::time::Duration;

const STAGE: &str = "frontend-active";

/// Returns the application with these Services of stage `active` and of tier `backend`.
fn app(color: &str, stage: Value, tier: Value) -> Value {
    let mut app = seamless(color, 2);
    app["spec"]["stages"][1]["service"] = stage;
    app["spec"]["tiers"][0]["service"] = tier;
    app
}

async fn service(cluster: &Cluster, name: &str) -> Value {
    json!(cluster.api::<Service>().get(name).await.unwrap())
}

async fn serving(app: &Value) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(app).await;
    cluster.until("it serves", async |c: &Cluster| c.is_ready().await).await;
    cluster
}

/// Checks that nothing is written while nothing changes, not even by an operator that has just started.
async fn rests(cluster: &mut Cluster) {
    cluster.until("it is ready", async |c: &Cluster| c.is_ready().await).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    cluster.writes.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*cluster.writes.lock().unwrap(), [""; 0], "a steady state");
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let writes = cluster.writes.lock().unwrap().clone();
    assert_eq!(writes.iter().filter(|write| write.contains("/services")).count(), 0, "{writes:#?}");
}

/// Checks that fields of a Service have these values.
#[track_caller]
fn has(service: &Value, fields: &Value) {
    for (field, value) in fields.as_object().unwrap() {
        assert_eq!(service["spec"][field], *value, "{field} of {service:#}");
    }
}

/// Every field of a stage's Service is set, kept without a write, and removed again. A value that Kubernetes has chosen meanwhile may stay.
#[tokio::test(start_paused = true)]
async fn fields_of_a_stage_come_and_go() {
    let all = [
        (
            json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } }),
            json!({ "sessionAffinity": "None", "sessionAffinityConfig": null }),
        ),
        (json!({ "sessionAffinity": "ClientIP" }), json!({ "sessionAffinity": "None", "sessionAffinityConfig": null })),
        (
            json!({ "type": "NodePort", "externalTrafficPolicy": "Local" }),
            json!({ "type": "ClusterIP", "externalTrafficPolicy": null }),
        ),
        (json!({ "internalTrafficPolicy": "Local" }), json!({ "internalTrafficPolicy": "Cluster" })),
        (json!({ "trafficDistribution": "PreferClose" }), json!({ "trafficDistribution": null })),
        (json!({ "publishNotReadyAddresses": true }), json!({ "publishNotReadyAddresses": null })),
        (json!({ "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4"] }), json!({ "ipFamilies": ["IPv4"] })),
        (
            json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500,
                 "loadBalancerClass": "example.com/lb", "loadBalancerSourceRanges": ["10.0.0.0/8", "192.168.0.0/16"],
                 "allocateLoadBalancerNodePorts": false }),
            json!({ "type": "ClusterIP", "externalTrafficPolicy": null, "healthCheckNodePort": null, "loadBalancerClass": null,
                 "loadBalancerSourceRanges": null, "allocateLoadBalancerNodePorts": null }),
        ),
    ];
    for (fields, removed) in all {
        let mut cluster = serving(&app("v1", fields.clone(), json!({}))).await;
        has(&service(&cluster, STAGE).await, &fields);
        rests(&mut cluster).await;
        cluster.apply(&app("v1", json!({}), json!({}))).await;
        let is_removed = async |c: &Cluster| {
            let found = service(c, STAGE).await;
            removed.as_object().unwrap().iter().all(|(field, value)| found["spec"][field] == *value)
        };
        cluster.until(&format!("{fields} is removed"), is_removed).await;
        rests(&mut cluster).await;
    }
}

/// The Services of tiers have their fields from the start, and a change of one is another version.
#[tokio::test(start_paused = true)]
async fn fields_of_a_tier_are_part_of_its_version() {
    let fields = json!({
        "clusterIP": "None", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster", "trafficDistribution": "PreferClose",
        "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "publishNotReadyAddresses": true,
    });
    let mut said = fields.clone();
    said["labels"] = json!({ "team": "x" });
    said["annotations"] = json!({ "example.com/a": "b" });
    let mut cluster = serving(&app("v1", json!({}), said.clone())).await;
    let found = service(&cluster, "backend-v1").await;
    has(&found, &fields);
    assert_eq!(found["metadata"]["labels"]["team"], "x");
    assert_eq!(found["metadata"]["annotations"]["example.com/a"], "b");
    rests(&mut cluster).await;
    // Another version cannot have the same name.
    cluster.apply(&app("v1", json!({}), json!({}))).await;
    let is_refused = async |c: &Cluster| c.condition("Stalled").await.is_some_and(|(is, ..)| is == "True");
    cluster.until("it is refused", is_refused).await;
    cluster.apply(&app("v2", json!({}), json!({}))).await;
    cluster.until("v2 is in smoke", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    assert_ne!(service(&cluster, "backend-v2").await["spec"]["clusterIP"], "None");
    has(&service(&cluster, "backend-v1").await, &fields);
}

/// A stage's Service keeps its address, its main family, the class of its load balancer and its health check's port. The operator reports
/// that and continues.
#[tokio::test(start_paused = true)]
async fn what_cannot_change_is_kept_and_stops_nothing() {
    let balancer = |class: &str, port: u16| json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": class, "healthCheckNodePort": port });
    let cases = [
        (
            json!({}),
            json!({ "clusterIP": "None" }),
            "clusterIP: Service `frontend-active` has an address, and cannot become headless",
        ),
        (
            json!({ "clusterIP": "None" }),
            json!({ "type": "NodePort" }),
            "clusterIP: Service `frontend-active` is headless, and cannot get an address",
        ),
        (
            json!({}),
            json!({ "ipFamilies": ["IPv6"] }),
            "ipFamilies: Service `frontend-active` has IPv4 as its main family, which cannot change",
        ),
        (
            balancer("example.com/a", 30500),
            balancer("example.com/b", 30500),
            "loadBalancerClass: Service `frontend-active` has the load balancer class `example.com/a`, which cannot change",
        ),
        (
            json!({ "type": "LoadBalancer" }),
            json!({ "type": "LoadBalancer", "loadBalancerClass": "example.com/b" }),
            "loadBalancerClass: Service `frontend-active` has a load balancer without a class, and cannot get one",
        ),
        (
            balancer("example.com/a", 30500),
            balancer("example.com/a", 30501),
            "healthCheckNodePort: Service `frontend-active` has 30500, which cannot change",
        ),
    ];
    for (before, after, expected) in cases {
        let mut cluster = serving(&app("v1", before.clone(), json!({}))).await;
        let uid = service(&cluster, STAGE).await["metadata"]["uid"].clone();
        let mut changed = after.clone();
        changed["annotations"] = json!({ "example.com/a": "b" });
        let mut next = app("v2", changed, json!({}));
        next["spec"]["stages"][1]["color"] = json!("v2");
        cluster.apply(&next).await;
        cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
        let found = service(&cluster, STAGE).await;
        assert_eq!(
            (&found["metadata"]["uid"], &found["metadata"]["annotations"]["example.com/a"]),
            (&uid, &json!("b"))
        );
        let expected = format!("spec.stages[active].service.{expected}");
        let is_told = async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(is, _, message)| is == "True" && message.contains(&expected))
        };
        cluster.until(&expected, is_told).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        cluster.writes.lock().unwrap().clear();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(*cluster.writes.lock().unwrap(), [""; 0], "what is kept is not written again and again");
        // With the former values, everything is fine.
        next["spec"]["stages"][1]["service"] = before;
        cluster.apply(&next).await;
        rests(&mut cluster).await;
    }
}

/// A class that is removed from the spec is kept without a report: something else may have set it.
#[tokio::test(start_paused = true)]
async fn a_class_that_the_spec_does_not_name_is_kept() {
    let with = |class: Value| json!({ "type": "LoadBalancer", "loadBalancerClass": class });
    let mut cluster = serving(&app("v1", with(json!("example.com/a")), json!({}))).await;
    cluster.apply(&app("v1", json!({ "type": "LoadBalancer", "sessionAffinity": "ClientIP" }), json!({}))).await;
    let has_changed = async |c: &Cluster| service(c, STAGE).await["spec"]["sessionAffinity"] == "ClientIP";
    cluster.until("the rest is as the spec says", has_changed).await;
    has(&service(&cluster, STAGE).await, &json!({ "loadBalancerClass": "example.com/a" }));
    rests(&mut cluster).await;
}

/// A stage gets a headless Service under another name. Clients have the first Service until the second one serves.
#[tokio::test(start_paused = true)]
async fn another_name_makes_the_service_headless() {
    let mut cluster = serving(&app("v1", json!({}), json!({}))).await;
    cluster.apply(&app("v1", json!({ "clusterIP": "None", "name": "www" }), json!({}))).await;
    let is_gone = async |c: &Cluster| c.api::<Service>().get_opt(STAGE).await.unwrap().is_none();
    cluster.until("the first one is gone", is_gone).await;
    has(&service(&cluster, "www").await, &json!({ "clusterIP": "None" }));
    rests(&mut cluster).await;
}

/// A stage gets a headless Service under the same name, at the price of an outage, when its user deletes the Service.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_deleted_is_made_as_the_spec_says() {
    let mut cluster = serving(&app("v1", json!({}), json!({}))).await;
    cluster.apply(&app("v1", json!({ "clusterIP": "None" }), json!({}))).await;
    let is_told = async |c: &Cluster| c.condition("Stalled").await.is_some_and(|(is, ..)| is == "True");
    cluster.until("it is told", is_told).await;
    assert_ne!(service(&cluster, STAGE).await["spec"]["clusterIP"], "None");
    cluster.api::<Service>().delete(STAGE, &Default::default()).await.unwrap();
    let is_headless = async |c: &Cluster| {
        let found = c.api::<Service>().get_opt(STAGE).await.unwrap();
        found.is_some_and(|found| json!(found)["spec"]["clusterIP"] == "None")
    };
    cluster.until("it is headless", is_headless).await;
    rests(&mut cluster).await;
}

/// Stages that swap their node ports under the policy `Local` lose the policy with their type for a moment.
#[tokio::test(start_paused = true)]
async fn node_ports_are_swapped_under_a_local_policy() {
    let stages = |smoke: u16, active: u16| {
        let mut app = app("v1", json!({}), json!({}));
        for (index, port) in [(0, smoke), (1, active)] {
            app["spec"]["stages"][index]["service"] = json!({
                "type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{ "name": "http", "nodePort": port }],
            });
        }
        app
    };
    let mut cluster = serving(&stages(30001, 30002)).await;
    cluster.apply(&stages(30002, 30001)).await;
    let is_swapped = async |c: &Cluster| {
        let spec = service(c, STAGE).await["spec"].clone();
        spec["ports"][0]["nodePort"] == 30001 && spec["externalTrafficPolicy"] == "Local"
    };
    cluster.until("the ports are swapped", is_swapped).await;
    rests(&mut cluster).await;
}

/// Labels and annotations of others stay, through changes and shifts. Those that leave the spec are removed.
#[tokio::test(start_paused = true)]
async fn what_others_put_on_a_service_is_kept() {
    let own =
        |value: &str| json!({ "labels": { "team": value, "old": "x" }, "annotations": { "example.com/a": value } });
    let cluster = serving(&app("v1", own("x"), json!({}))).await;
    let others = json!({ "metadata": { "labels": { "cloud": "a" }, "annotations": { "cloud.example.com/id": "lb-1" },
                                       "finalizers": ["example.com/cloud"] } });
    let api = cluster.api::<Service>();
    for name in [STAGE, "backend-v1"] {
        api.patch(name, &PatchParams::default(), &Patch::Merge(&others)).await.unwrap();
    }
    let mut changed = app("v2", json!({ "labels": { "team": "y" } }), json!({}));
    changed["spec"]["stages"][1]["color"] = json!("v2");
    cluster.apply(&changed).await;
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    let found = service(&cluster, STAGE).await;
    let (labels, annotations) = (&found["metadata"]["labels"], &found["metadata"]["annotations"]);
    assert_eq!((&labels["team"], &labels["old"], &labels["cloud"]), (&json!("y"), &Value::Null, &json!("a")));
    assert_eq!((&annotations["example.com/a"], &annotations["cloud.example.com/id"]), (&Value::Null, &json!("lb-1")));
    assert_eq!(found["metadata"]["finalizers"], json!(["example.com/cloud"]));
    assert_eq!(service(&cluster, "backend-v1").await["metadata"]["labels"]["cloud"], "a");
}

/// An edit that admits other clients is reverted.
#[tokio::test(start_paused = true)]
async fn a_range_that_others_add_is_removed() {
    let ranges = json!({ "type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"] });
    let cluster = serving(&app("v1", ranges.clone(), json!({}))).await;
    let edit = Patch::Merge(json!({ "spec": { "loadBalancerSourceRanges": ["10.0.0.0/8", "0.0.0.0/0"] } }));
    cluster.api::<Service>().patch(STAGE, &PatchParams::default(), &edit).await.unwrap();
    let is_back =
        async |c: &Cluster| service(c, STAGE).await["spec"]["loadBalancerSourceRanges"] == json!(["10.0.0.0/8"]);
    cluster.until("it is set back", is_back).await;
}

/// Old and new pods serve together for as long as the senders of clients need, even where the spec changes that in the same write that
/// moves the stage.
#[tokio::test(start_paused = true)]
async fn a_policy_that_comes_with_the_move_counts() {
    for (fields, overlap) in [
        (json!({ "type": "NodePort", "externalTrafficPolicy": "Local" }), common::PROPAGATION),
        (json!({ "internalTrafficPolicy": "Local" }), common::PROPAGATION),
    ] {
        let flip = |color: &str, service: Value| {
            let mut app = app(color, service, json!({}));
            app["spec"]["stages"][1]["shift"] = json!({ "flip": {} });
            app["spec"]["stages"][1]["color"] = json!(color);
            app
        };
        let cluster = serving(&flip("v1", json!({}))).await;
        cluster.apply(&flip("v2", fields.clone())).await;
        cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
        // Members of both colors served together: pods were labeled.
        let writes = cluster.writes.lock().unwrap().clone();
        let labeled = writes.iter().filter(|write| write.contains("/pods/")).count();
        assert!(
            labeled > 0,
            "{fields}: one set of endpoints does not take over from the other as a whole: {writes:#?}"
        );
        let status = cluster.rainbow().await.status.unwrap();
        assert_eq!(status.stages[1].overlap.map(|overlap| overlap.0), Some(overlap), "{fields}");
    }
}

/// A stage that publishes pods that are not ready counts only ready pods: it does not move to a color that is not ready, and a pod that is
/// not ready makes no step.
#[tokio::test(start_paused = true)]
async fn pods_that_are_not_ready_count_for_nothing() {
    let publishes = || json!({ "publishNotReadyAddresses": true });
    let release = |color: &str| {
        let mut app = app(color, publishes(), publishes());
        app["spec"]["tiers"][1]["service"] = publishes();
        app["spec"]["stages"][0]["service"] = publishes();
        app["spec"]["stages"][1]["color"] = json!(color);
        app
    };
    let cluster = serving(&release("v1")).await;
    cluster.fake.broken.lock().unwrap().insert("v2".to_owned());
    cluster.apply(&release("v2")).await;
    let has_pods = async |c: &Cluster| {
        let pods = c.api::<Pod>().list(&ListParams::default().labels("rainbow.dev/color=v2")).await.unwrap();
        pods.items.len() >= 2
    };
    cluster.until("v2 has pods", has_pods).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let selector = service(&cluster, STAGE).await["spec"]["selector"].clone();
    assert_eq!(selector["rainbow.dev/color"], "v1");
    assert!(cluster.summary().await.starts_with("smoke=v1"), "{}", cluster.summary().await);
    let pods = cluster.api::<Pod>().list(&ListParams::default().labels("member.rainbow.dev/active")).await.unwrap();
    assert_eq!(pods.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), [""; 0]);
    cluster.fake.broken.lock().unwrap().clear();
    // The fake looks again when something changes.
    let pod = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items[0].name_any();
    let touch = Patch::Merge(json!({ "metadata": { "annotations": { "test": "look" } } }));
    cluster.api::<Pod>().patch(&pod, &PatchParams::default(), &touch).await.unwrap();
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
}

/// A value that the API server would refuse in a Service is refused by the schema of Rainbow, with the field's name, without the operator.
#[tokio::test(start_paused = true)]
async fn the_schema_refuses_what_kubernetes_would() {
    let cluster = Cluster::without_operator().await;
    for (service, expected) in [
        (
            json!({ "externalTrafficPolicy": "Local" }),
            "externalTrafficPolicy: only possible for type NodePort or LoadBalancer",
        ),
        (json!({ "type": "NodePort", "loadBalancerClass": "a/b" }), "only possible for type LoadBalancer"),
        (
            json!({ "type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"] }),
            "only possible for type LoadBalancer",
        ),
        (json!({ "type": "LoadBalancer", "healthCheckNodePort": 30500 }), "healthCheckNodePort: only possible for"),
        (json!({ "type": "NodePort", "clusterIP": "None" }), "clusterIP: None is only possible for type ClusterIP"),
        (json!({ "sessionAffinityConfig": {} }), "sessionAffinityConfig: only possible with sessionAffinity ClientIP"),
        (json!({ "ipFamilies": ["IPv4", "IPv6"] }), "two families need ipFamilyPolicy"),
        (json!({ "clusterIP": "10.0.0.1" }), "clusterIP: Unsupported value"),
        (json!({ "trafficDistribution": "Near" }), "trafficDistribution: Unsupported value"),
    ] {
        let refused = cluster.try_apply(&app("v1", service.clone(), json!({}))).await;
        let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(expected), "{service}: {message}");
    }
    let inner = json!({ "sessionAffinityConfig": {} });
    assert!(cluster.try_apply(&app("v1", json!({}), inner)).await.is_err());
    let fine = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500 });
    cluster.try_apply(&app("v1", fine, json!({ "clusterIP": "None" }))).await.unwrap();
}
