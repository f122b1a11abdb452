//! EndpointSlices and Endpoints.

use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LINGERS, UNREADY};

fn pod(name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "web" }, "annotations": annotations },
        "spec": { "containers": [{ "name": "a", "image": "a:v1", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
    })
}

fn service(extra: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "labels": { "team": "a" } },
        "spec": { "selector": { "app": "web" }, "ports": [{ "name": "web", "port": 80, "targetPort": "http" }] },
    });
    for (key, value) in extra.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

/// Returns the slices as text: ports, then each endpoint with its true conditions.
async fn slices(cluster: &Cluster) -> Vec<String> {
    let mut lines: Vec<String> = cluster
        .list::<EndpointSlice>()
        .await
        .iter()
        .map(|slice| {
            let ports: Vec<_> = slice.ports.iter().flatten().map(|port| port.port.unwrap().to_string()).collect();
            let mut endpoints: Vec<_> = slice
                .endpoints
                .iter()
                .map(|endpoint| {
                    let conditions = endpoint.conditions.as_ref().unwrap();
                    let flags = [
                        (conditions.ready, "ready"),
                        (conditions.serving, "serving"),
                        (conditions.terminating, "terminating"),
                    ];
                    let flags: Vec<_> =
                        flags.iter().filter(|(holds, _)| *holds == Some(true)).map(|(_, name)| *name).collect();
                    format!("{} {}", endpoint.target_ref.as_ref().unwrap().name.as_ref().unwrap(), flags.join("+"))
                })
                .collect();
            endpoints.sort();
            format!("{}: {}", ports.join(","), endpoints.join(", "))
        })
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn see<'a>(cluster: &'a Cluster, expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
    cluster.until(move || async move {
        let seen = slices(cluster).await;
        if seen == expected { Ok(()) } else { Err(seen) }
    })
}

#[tokio::test(start_paused = true)]
async fn slices_follow_pods() {
    let cluster = Cluster::new();
    cluster.create::<Service>(service(json!({}))).await;
    see(&cluster, &[": "]).await;
    cluster.create::<Pod>(pod("a", json!({ LINGERS: "30" }))).await;
    cluster.create::<Pod>(pod("b", json!({ UNREADY: "" }))).await;
    see(&cluster, &["8080: a ready+serving, b "]).await;
    let slice = cluster.list::<EndpointSlice>().await.remove(0);
    assert_eq!(slice.labels()["kubernetes.io/service-name"], "web");
    assert_eq!(slice.labels()["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!((slice.labels()["team"].as_str(), slice.owner_references()[0].kind.as_str()), ("a", "Service"));
    assert_eq!(slice.endpoints[0].node_name.as_deref(), Some("pocket"));

    cluster.delete::<Pod>("a", DeleteParams::default()).await;
    see(&cluster, &["8080: a serving+terminating, b "]).await;
    see(&cluster, &["8080: b "]).await;
    cluster.patch::<Pod>("b", json!({ "metadata": { "labels": { "app": "other" } } })).await;
    see(&cluster, &[": "]).await;
    cluster.patch::<Service>("web", json!({ "spec": { "selector": { "app": "other" } } })).await;
    see(&cluster, &["8080: b "]).await;
    cluster.delete::<Service>("web", DeleteParams::default()).await;
    see(&cluster, &[]).await;
    assert!(cluster.list::<Endpoints>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn kinds_of_services() {
    let cluster = Cluster::new();
    cluster.create::<Pod>(pod("a", json!({ UNREADY: "" }))).await;
    cluster.create::<Service>(service(json!({ "clusterIP": "None", "publishNotReadyAddresses": true }))).await;
    see(&cluster, &["8080: a ready"]).await;
    let slice = cluster.list::<EndpointSlice>().await.remove(0);
    assert_eq!(slice.labels()["service.kubernetes.io/headless"], "");
    cluster.delete::<Service>("web", DeleteParams::default()).await;
    see(&cluster, &[]).await;

    cluster.create::<Service>(service(json!({ "ports": [{ "port": 80 }] }))).await;
    see(&cluster, &["80: a "]).await;
    cluster.delete::<Service>("web", DeleteParams::default()).await;
    see(&cluster, &[]).await;

    // Endpoints of a Service without a selector belong to another client.
    cluster.create::<Service>(service(json!({ "selector": null }))).await;
    let own = json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": "web" }, "subsets": [{ "addresses": [{ "ip": "192.0.2.1" }] }] });
    let own = cluster.create::<Endpoints>(own).await;
    cluster.settle().await;
    assert_eq!(cluster.get::<Endpoints>("web").await.unwrap().metadata.resource_version, own.metadata.resource_version);
    assert!(slices(&cluster).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn endpoints_for_old_clients() {
    let cluster = Cluster::new();
    cluster.create::<Service>(service(json!({}))).await;
    cluster.create::<Pod>(pod("a", json!({}))).await;
    cluster.create::<Pod>(pod("b", json!({ UNREADY: "" }))).await;
    see(&cluster, &["8080: a ready+serving, b "]).await;
    let endpoints = cluster.until_is::<Endpoints>("web", |e| !e["subsets"][0]["notReadyAddresses"][0].is_null()).await;
    let subset = serde_json::to_value(&endpoints.subsets.unwrap()[0]).unwrap();
    assert_eq!(subset["addresses"][0]["targetRef"]["name"], "a");
    assert_eq!(subset["notReadyAddresses"][0]["targetRef"]["name"], "b");
    assert_eq!(subset["ports"], json!([{ "name": "web", "port": 8080, "protocol": "TCP" }]));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_hand_is_undone_and_rest_is_quiet() {
    let cluster = Cluster::new();
    cluster.create::<Service>(service(json!({}))).await;
    cluster.create::<Pod>(pod("a", json!({}))).await;
    see(&cluster, &["8080: a ready+serving"]).await;
    cluster.settle().await;
    let before = cluster.api.revision();
    cluster.settle().await;
    assert_eq!(cluster.api.revision(), before);
    let name = cluster.list::<EndpointSlice>().await[0].name_any();
    cluster.patch::<EndpointSlice>(&name, json!({ "endpoints": [] })).await;
    see(&cluster, &["8080: a ready+serving"]).await;
    cluster.delete::<EndpointSlice>(&name, DeleteParams::default()).await;
    see(&cluster, &["8080: a ready+serving"]).await;
}

#[tokio::test(start_paused = true)]
async fn many_endpoints_need_several_slices() {
    let cluster = Cluster::new();
    cluster.create::<Service>(service(json!({}))).await;
    let mut set = crate::replicaset::replica_set("web", 130, json!({}));
    set["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    cluster.create::<k8s_openapi::api::apps::v1::ReplicaSet>(set).await;
    cluster
        .until(|| async {
            let slices = cluster.list::<EndpointSlice>().await;
            let ready = |slice: &EndpointSlice| {
                slice.endpoints.iter().filter(|e| e.conditions.as_ref().unwrap().ready == Some(true)).count()
            };
            let mut counts: Vec<_> = slices.iter().map(ready).collect();
            counts.sort_unstable();
            if counts == [30, 100] { Ok(()) } else { Err(counts) }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn slices_of_a_service_that_leaves_orphans_stay() {
    let cluster = Cluster::new();
    cluster.create::<Service>(service(json!({}))).await;
    cluster.create::<Pod>(pod("a", json!({}))).await;
    see(&cluster, &["8080: a ready+serving"]).await;
    cluster.delete::<Service>("web", DeleteParams::orphan()).await;
    cluster.until(|| async { cluster.get::<Service>("web").await.map_or(Ok(()), Err) }).await;
    cluster.settle().await;
    let left = cluster.list::<EndpointSlice>().await;
    assert!(left.len() == 1 && left[0].owner_references().is_empty(), "{left:?}");
    // Endpoints have no owner: their controller deletes them.
    assert!(cluster.list::<Endpoints>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_hand_is_not_undone_at_once() {
    let cluster = Cluster::new();
    cluster.create::<Service>(service(json!({}))).await;
    cluster.create::<Pod>(pod("a", json!({}))).await;
    see(&cluster, &["8080: a ready+serving"]).await;
    cluster.settle().await;
    let name = cluster.list::<EndpointSlice>().await[0].name_any();
    cluster.patch::<EndpointSlice>(&name, json!({ "endpoints": [] })).await;
    cluster.patch::<Endpoints>("web", json!({ "subsets": [] })).await;
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    assert_eq!(slices(&cluster).await, ["8080: "]);
    see(&cluster, &["8080: a ready+serving"]).await;
}
