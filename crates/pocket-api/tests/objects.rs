//! Objects through the typed client, in process: the behaviour that every controller and operator relies on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Secret, Service},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use pocket_api::Options;
use serde_json::{Value, json};

fn client() -> Client {
    pocket_api::Api::new(Options::default()).unwrap().client("default")
}

fn config(name: &str, data: serde_json::Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap()
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "app:v1"}]}}))
    .unwrap()
}

fn deployment(name: &str, replicas: i32) -> Deployment {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "app:v1"}]}}}}))
    .unwrap()
}

fn refused<T: std::fmt::Debug>(result: kube::Result<T>, code: u16, reason: &str) -> String {
    match result {
        Err(kube::Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (code, reason), "{}", status.message);
            status.message
        }
        other => panic!("expected {code} {reason}, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn create_get_list_delete() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let made = maps.create(&PostParams::default(), &config("a", json!({"k": "v"}))).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    assert_eq!(maps.get("a").await.unwrap().data, made.data);
    let message = refused(maps.create(&PostParams::default(), &config("a", json!({}))).await, 409, "AlreadyExists");
    assert_eq!(message, "configmaps \"a\" already exists");
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(refused(maps.get("a").await, 404, "NotFound"), "configmaps \"a\" not found");
}

#[tokio::test(start_paused = true)]
async fn errors_name_the_group() {
    let deployments: Api<Deployment> = Api::default_namespaced(client());
    assert_eq!(refused(deployments.get("x").await, 404, "NotFound"), "deployments.apps \"x\" not found");
}

#[tokio::test(start_paused = true)]
async fn generated_names_differ() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let mut map = config("", json!({}));
    map.metadata.name = None;
    map.metadata.generate_name = Some("web-".into());
    let first = maps.create(&PostParams::default(), &map).await.unwrap().metadata.name.unwrap();
    let second = maps.create(&PostParams::default(), &map).await.unwrap().metadata.name.unwrap();
    assert!(first.starts_with("web-") && first.len() == 9 && first != second, "{first} {second}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_update_is_a_conflict() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let old = maps.create(&PostParams::default(), &config("a", json!({"k": "1"}))).await.unwrap();
    let mut new = old.clone();
    new.data = Some([("k".to_owned(), "2".to_owned())].into());
    let new = maps.replace("a", &PostParams::default(), &new).await.unwrap();
    assert_ne!(new.metadata.resource_version, old.metadata.resource_version);
    let message = refused(maps.replace("a", &PostParams::default(), &old).await, 409, "Conflict");
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_is_no_write() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(api.client("default"));
    maps.create(&PostParams::default(), &config("a", json!({"k": "1"}))).await.unwrap();
    let before = api.revision();
    let same = maps.get("a").await.unwrap();
    maps.replace("a", &PostParams::default(), &same).await.unwrap();
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "1"}}))).await.unwrap();
    assert_eq!(api.revision(), before);
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await.unwrap();
    assert_eq!(api.revision(), before + 1);
}

/// As on a real API server: the version is compared with that of an object that exists, and with no other.
#[tokio::test(start_paused = true)]
async fn an_apply_with_a_version_that_no_object_has_only_creates() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(api.client("default"));
    let intent = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "resourceVersion": "1" }, "data": { "k": "1" },
    });
    let force = PatchParams::apply("one").force();
    let made = maps.patch("a", &force, &Patch::Apply(&intent)).await.unwrap();
    assert_ne!(made.metadata.resource_version.as_deref(), Some("1"));
    let message = refused(maps.patch("a", &force, &Patch::Apply(&intent)).await, 409, "Conflict");
    assert!(message.contains("the object has been modified"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn apply_twice_writes_once_and_conflicts_are_named() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(api.client("default"));
    let intent = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "1"}});
    maps.patch("a", &PatchParams::apply("one"), &Patch::Apply(&intent)).await.unwrap();
    let before = api.revision();
    maps.patch("a", &PatchParams::apply("one"), &Patch::Apply(&intent)).await.unwrap();
    assert_eq!(api.revision(), before);
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "2"}});
    let message = refused(maps.patch("a", &PatchParams::apply("two"), &Patch::Apply(&other)).await, 409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .data.k");
    let taken = maps.patch("a", &PatchParams::apply("two").force(), &Patch::Apply(&other)).await.unwrap();
    assert_eq!(taken.data.unwrap()["k"], "2");
}

#[tokio::test(start_paused = true)]
async fn generation_and_status_are_kept_apart() {
    let deployments: Api<Deployment> = Api::default_namespaced(client());
    let mut wanted = deployment("web", 1);
    wanted.status = Some(serde_json::from_value(json!({"replicas": 7})).unwrap());
    let made = deployments.create(&PostParams::default(), &wanted).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(made.status.unwrap_or_default().replicas, None);

    let status = json!({"status": {"replicas": 3}, "spec": {"replicas": 9}});
    let after = deployments.patch_status("web", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_eq!(after.metadata.generation, Some(1));
    assert_eq!((after.spec.unwrap().replicas, after.status.unwrap().replicas), (Some(1), Some(3)));

    let both = json!({"status": {"replicas": 8}, "spec": {"replicas": 2}});
    let after = deployments.patch("web", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!(after.metadata.generation, Some(2));
    assert_eq!((after.spec.unwrap().replicas, after.status.unwrap().replicas), (Some(2), Some(3)));

    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let after = deployments.patch("web", &PatchParams::default(), &Patch::Merge(&labels)).await.unwrap();
    assert_eq!(after.metadata.generation, Some(2));
}

#[tokio::test(start_paused = true)]
async fn scale() {
    let deployments: Api<Deployment> = Api::default_namespaced(client());
    deployments.create(&PostParams::default(), &deployment("web", 1)).await.unwrap();
    let scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let patch = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scale = deployments.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(4));
    let live = deployments.get("web").await.unwrap();
    assert_eq!((live.spec.unwrap().replicas, live.metadata.generation), (Some(4), Some(2)));
    let patch = Patch::Merge(json!({"spec": {"replicas": -1}}));
    refused(deployments.patch_scale("web", &PatchParams::default(), &patch).await, 422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn dry_runs_write_nothing() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(api.client("default"));
    let before = api.revision();
    let dry = PostParams { dry_run: true, ..Default::default() };
    let made = maps.create(&dry, &config("a", json!({}))).await.unwrap();
    assert!(made.metadata.uid.is_some());
    assert_eq!(api.revision(), before);
    refused(maps.get("a").await, 404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let mut map = config("a", json!({}));
    map.metadata.finalizers = Some(vec!["example.com/one".into(), "example.com/two".into()]);
    maps.create(&PostParams::default(), &map).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let held = maps.get("a").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    let more = json!({"metadata": {"finalizers": ["example.com/one", "example.com/two", "example.com/three"]}});
    let message = refused(maps.patch("a", &PatchParams::default(), &Patch::Merge(&more)).await, 422, "Invalid");
    assert!(message.contains("no new finalizers can be added if the object is being deleted"), "{message}");
    let one = json!({"metadata": {"finalizers": ["example.com/two"]}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&one)).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_some());
    let none = json!({"metadata": {"finalizers": null}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn propagation_becomes_finalizers() {
    let deployments: Api<Deployment> = Api::default_namespaced(client());
    for (policy, finalizer) in
        [(PropagationPolicy::Foreground, "foregroundDeletion"), (PropagationPolicy::Orphan, "orphan")]
    {
        deployments.create(&PostParams::default(), &deployment("web", 1)).await.unwrap();
        let params = DeleteParams { propagation_policy: Some(policy), ..Default::default() };
        deployments.delete("web", &params).await.unwrap();
        assert_eq!(deployments.get("web").await.unwrap().metadata.finalizers.unwrap(), [finalizer]);
        let none = json!({"metadata": {"finalizers": []}});
        deployments.patch("web", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
        assert!(deployments.get_opt("web").await.unwrap().is_none());
    }
    deployments.create(&PostParams::default(), &deployment("web", 1)).await.unwrap();
    deployments.delete("web", &DeleteParams::background()).await.unwrap();
    assert!(deployments.get_opt("web").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn preconditions_of_a_deletion() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let made = maps.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    let with = |uid: Option<String>, version: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: version }),
        ..Default::default()
    };
    let message = refused(maps.delete("a", &with(Some("other".into()), None)).await, 409, "Conflict");
    assert!(message.contains("Precondition failed: UID in precondition: other, UID in object meta: "), "{message}");
    refused(maps.delete("a", &with(None, Some("1".into()))).await, 409, "Conflict");
    maps.delete("a", &with(made.metadata.uid, made.metadata.resource_version)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_goes_gracefully() {
    let pods: Api<Pod> = Api::default_namespaced(client());
    // A pod that is on no node is deleted at once.
    pods.create(&PostParams::default(), &pod("a")).await.unwrap();
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());

    let made = pods.create(&PostParams::default(), &pod("a")).await.unwrap();
    assert_eq!(made.status.unwrap().phase.as_deref(), Some("Pending"));
    bind(&pods, "a", "node-1").await.unwrap();
    refused(bind(&pods, "a", "node-2").await, 409, "Conflict");
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    let going = pods.get("a").await.unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    assert!(going.status.unwrap().conditions.unwrap().iter().any(|c| c.type_ == "PodScheduled" && c.status == "True"));
    // A second deletion may shorten the grace period, but not extend it.
    pods.delete("a", &DeleteParams { grace_period_seconds: Some(60), ..Default::default() }).await.unwrap();
    assert_eq!(pods.get("a").await.unwrap().metadata.deletion_grace_period_seconds, Some(30));
    pods.delete("a", &DeleteParams { grace_period_seconds: Some(5), ..Default::default() }).await.unwrap();
    assert_eq!(pods.get("a").await.unwrap().metadata.deletion_grace_period_seconds, Some(5));
    pods.delete("a", &DeleteParams { grace_period_seconds: Some(0), ..Default::default() }).await.unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

async fn bind(pods: &Api<Pod>, name: &str, node: &str) -> kube::Result<serde_json::Value> {
    let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"kind": "Node", "name": node}});
    pods.create_subresource("binding", name, &PostParams::default(), &body).await
}

#[tokio::test(start_paused = true)]
async fn lists_by_selectors_and_in_pages() {
    let pods: Api<Pod> = Api::default_namespaced(client());
    for name in ["a", "b", "c", "d", "e"] {
        pods.create(&PostParams::default(), &pod(name)).await.unwrap();
    }
    let names = |list: kube::core::ObjectList<Pod>| -> Vec<String> {
        list.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
    };
    assert_eq!(names(pods.list(&ListParams::default().labels("app in (a, c)")).await.unwrap()), ["a", "c"]);
    assert_eq!(names(pods.list(&ListParams::default().fields("metadata.name=b")).await.unwrap()), ["b"]);
    bind(&pods, "d", "node-1").await.unwrap();
    assert_eq!(names(pods.list(&ListParams::default().fields("spec.nodeName=node-1")).await.unwrap()), ["d"]);
    assert_eq!(names(pods.list(&ListParams::default().fields("status.phase!=Pending")).await.unwrap()), [""; 0]);
    let message = refused(pods.list(&ListParams::default().fields("spec.color=red")).await, 400, "BadRequest");
    assert_eq!(message, "field label not supported: spec.color");

    let first = pods.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    let token = first.metadata.continue_.clone().unwrap();
    let version = first.metadata.resource_version.clone();
    assert_eq!(names(first), ["a", "b"]);
    // An object that is deleted meanwhile is still in the list that was begun.
    pods.delete("c", &DeleteParams::default()).await.unwrap();
    let second = pods.list(&ListParams::default().limit(3).continue_token(&token)).await.unwrap();
    assert_eq!(second.metadata.resource_version, version);
    assert_eq!(names(second), ["c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn namespaces() {
    let client = client();
    let nowhere: Api<ConfigMap> = Api::namespaced(client.clone(), "nowhere");
    let message = refused(nowhere.create(&PostParams::default(), &config("a", json!({}))).await, 404, "NotFound");
    assert_eq!(message, "namespaces \"nowhere\" not found");

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let names: Vec<_> = namespaces.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(names.len(), 4);
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    let made = namespaces.create(&PostParams::default(), &shop).await.unwrap();
    assert_eq!(made.metadata.labels.unwrap()["kubernetes.io/metadata.name"], "shop");
    assert_eq!(made.spec.unwrap().finalizers.unwrap(), ["kubernetes"]);
    refused(namespaces.delete("default", &DeleteParams::default()).await, 403, "Forbidden");

    let inside: Api<ConfigMap> = Api::namespaced(client.clone(), "shop");
    inside.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let going = namespaces.get("shop").await.unwrap();
    assert_eq!(going.status.unwrap().phase.as_deref(), Some("Terminating"));
    let message = refused(inside.create(&PostParams::default(), &config("b", json!({}))).await, 403, "Forbidden");
    assert!(message.ends_with("because it is being terminated"), "{message}");
    let emptied: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.replace_subresource("finalize", "shop", &PostParams::default(), &emptied).await.unwrap();
    assert!(namespaces.get_opt("shop").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn secrets_take_plain_text() {
    let secrets: Api<Secret> = Api::default_namespaced(client());
    let secret = serde_json::from_value(json!({"metadata": {"name": "a"}, "stringData": {"k": "plain"}})).unwrap();
    let made = secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(made.data.unwrap()["k"].0, b"plain");
    assert!(made.string_data.is_none());
}

#[tokio::test(start_paused = true)]
async fn services_get_addresses_and_ports() {
    let services: Api<Service> = Api::default_namespaced(client());
    let service = |name: &str, spec: Value| -> Service {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let port = json!([{"port": 80}]);
    let create = async |name: &str, spec| services.create(&PostParams::default(), &service(name, spec)).await;
    let a = create("a", json!({"ports": port})).await.unwrap().spec.unwrap();
    let address = a.cluster_ip.unwrap();
    assert!(address.starts_with("10.96."), "{address}");
    assert_eq!(a.cluster_ips.unwrap(), [address.as_str()]);
    assert_eq!(a.ip_families.unwrap(), ["IPv4"]);

    let message = refused(create("b", json!({"ports": port, "clusterIP": address})).await, 422, "Invalid");
    assert!(message.contains("provided IP is already allocated"), "{message}");
    let message = refused(create("b", json!({"ports": port, "clusterIP": "1.2.3.4"})).await, 422, "Invalid");
    assert!(message.contains("is not in the valid range"), "{message}");
    let headless = create("headless", json!({"ports": port, "clusterIP": "None"})).await.unwrap().spec.unwrap();
    assert_eq!(headless.cluster_ip.as_deref(), Some("None"));

    let node = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    create("node", node.clone()).await.unwrap();
    let message = refused(create("node2", node.clone()).await, 422, "Invalid");
    assert!(
        message.contains("spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"),
        "{message}"
    );
    // A replace that does not name the port keeps it; a change of the type releases it.
    let again = json!({"metadata": {"name": "node"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    let kept: Service = serde_json::from_value(again).unwrap();
    let kept = services.replace("node", &PostParams::default(), &kept).await.unwrap().spec.unwrap();
    assert_eq!(kept.ports.unwrap()[0].node_port, Some(30080));
    let plain = Patch::Merge(json!({"spec": {"type": "ClusterIP"}}));
    let plain = services.patch("node", &PatchParams::default(), &plain).await.unwrap().spec.unwrap();
    assert_eq!(plain.ports.unwrap()[0].node_port, None);
    create("node2", node).await.unwrap();
    services.delete("node2", &DeleteParams::default()).await.unwrap();
    let chosen = create("node3", json!({"type": "NodePort", "ports": [{"port": 80}]})).await.unwrap().spec.unwrap();
    assert!((30000..=32767).contains(&chosen.ports.unwrap()[0].node_port.unwrap()));

    services.delete("a", &DeleteParams::default()).await.unwrap();
    create("b", json!({"ports": port, "clusterIP": address})).await.unwrap();
    let change = Patch::Merge(json!({"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}}));
    let message = refused(services.patch("b", &PatchParams::default(), &change).await, 422, "Invalid");
    assert!(message.contains("may not change once set"), "{message}");
}

/// Fields of a Service that cannot change, and those that a change of its type drops.
#[tokio::test(start_paused = true)]
async fn fields_of_load_balancers() {
    let services: Api<Service> = Api::default_namespaced(client());
    let service = |name: &str, spec: Value| -> Service {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let create = async |name: &str, spec: Value| services.create(&PostParams::default(), &service(name, spec)).await;
    let change = async |name: &str, spec: Value| {
        let patch = Patch::Merge(json!({ "spec": spec }));
        services.patch(name, &PatchParams::default(), &patch).await
    };
    let ports = json!([{ "port": 80 }]);
    let local = json!({
        "type": "LoadBalancer", "ports": ports, "externalTrafficPolicy": "Local", "loadBalancerClass": "example.com/a",
    });
    let made = create("a", local).await.unwrap().spec.unwrap();
    let port = made.health_check_node_port.unwrap();
    assert!((30000..=32767).contains(&port));
    assert_eq!(
        change("a", json!({ "healthCheckNodePort": null })).await.unwrap().spec.unwrap().health_check_node_port,
        Some(port)
    );
    for (spec, expected) in [
        (json!({ "healthCheckNodePort": port ^ 1 }), "cannot change healthCheckNodePort"),
        (
            json!({ "loadBalancerClass": "example.com/b" }),
            "spec.loadBalancerClass: Invalid value: \"example.com/b\": may not change once set",
        ),
        (json!({ "loadBalancerClass": null }), "spec.loadBalancerClass: Invalid value"),
        (
            json!({ "ipFamilies": ["IPv6"] }),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (json!({ "ipFamilyPolicy": "RequireDualStack" }), "this cluster is not configured for dual-stack services"),
        (
            json!({ "type": "ClusterIP", "externalTrafficPolicy": "Cluster" }),
            "may only be set for externally-accessible services",
        ),
    ] {
        let message = refused(change("a", spec.clone()).await, 422, "Invalid");
        assert!(message.contains(expected), "{spec}: {message}");
    }
    let wanted = json!({ "type": "LoadBalancer", "ports": ports, "externalTrafficPolicy": "Local", "healthCheckNodePort": port });
    let message = refused(create("b", wanted.clone()).await, 422, "Invalid");
    assert!(message.contains("spec.healthCheckNodePort: Invalid value"), "{message}");
    let plain = change("a", json!({ "type": "ClusterIP" })).await.unwrap().spec.unwrap();
    assert_eq!(
        (plain.load_balancer_class, plain.health_check_node_port, plain.external_traffic_policy),
        (None, None, None)
    );
    create("b", wanted).await.unwrap();
}
