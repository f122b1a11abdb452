//! Custom kinds, and state that outlives the server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use k8s_openapi::{
    api::core::v1::{ConfigMap, Service},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchParams},
};
use pocket_api::Options;
use serde_json::{Value, json};

fn definition() -> CustomResourceDefinition {
    let schema = |size: &str| {
        json!({"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "required": [size], "properties": {
                size: {"type": "integer", "minimum": 0}, "color": {"type": "string", "default": "red"}},
                "x-kubernetes-validations": [{"rule": format!("self.{size} < 10"), "message": "too big"}]},
            "status": {"type": "object", "properties": {"size": {"type": "integer"}}}}}})
    };
    let scale =
        json!({"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}});
    serde_json::from_value(json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {"name": "v1", "served": true, "storage": true, "subresources": scale, "schema": schema("size")},
            {"name": "v1beta1", "served": true, "storage": false, "subresources": scale, "schema": schema("size")}]}}))
    .unwrap()
}

fn widgets(client: Client, version: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "example.com".into(),
        version: version.into(),
        api_version: format!("example.com/{version}"),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    Api::default_namespaced_with(client, &resource)
}

fn widget(name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}),
    )
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_custom_kind_lives_and_dies_with_its_definition() {
    let client = pocket_api::Api::new(Options::default()).unwrap().client("default");
    let objects = widgets(client.clone(), "v1");
    assert!(objects.list(&ListParams::default()).await.is_err());
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let made = definitions.create(&PostParams::default(), &definition()).await.unwrap();
    assert!(made.status.unwrap().conditions.unwrap().iter().any(|c| c.type_ == "Established" && c.status == "True"));

    let made = objects.create(&PostParams::default(), &widget("a", json!({"size": 3, "other": 1}))).await.unwrap();
    assert_eq!(made.data["spec"], json!({"size": 3, "color": "red"}));
    assert_eq!(made.metadata.generation, Some(1));
    for wrong in [json!({"size": -1}), json!({"size": 10}), json!({}), json!({"size": "3"})] {
        let error = objects.create(&PostParams::default(), &widget("b", wrong.clone())).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 422), "{wrong}: {error}");
    }
    let beta = widgets(client.clone(), "v1beta1").get("a").await.unwrap();
    assert_eq!(beta.types.unwrap().api_version, "example.com/v1beta1");

    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    objects.patch_scale("a", &PatchParams::default(), &patch).await.unwrap();
    let status = Patch::Merge(json!({"status": {"size": 5}, "spec": {"size": 1}}));
    let after = objects.patch_status("a", &PatchParams::default(), &status).await.unwrap();
    assert_eq!((&after.data["spec"]["size"], &after.data["status"]["size"]), (&json!(5), &json!(5)));
    assert_eq!(after.metadata.generation, Some(2));

    definitions.delete("widgets.example.com", &DeleteParams::default()).await.unwrap();
    assert!(definitions.get_opt("widgets.example.com").await.unwrap().is_none());
    assert!(objects.list(&ListParams::default()).await.is_err());
    // No old object is left when the kind is defined again.
    definitions.create(&PostParams::default(), &definition()).await.unwrap();
    assert!(objects.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_definition_waits_for_the_finalizers_of_its_objects() {
    let client = pocket_api::Api::new(Options::default()).unwrap().client("default");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &definition()).await.unwrap();
    let objects = widgets(client.clone(), "v1");
    let mut held = widget("a", json!({"size": 1}));
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    objects.create(&PostParams::default(), &held).await.unwrap();
    definitions.delete("widgets.example.com", &DeleteParams::default()).await.unwrap();
    assert!(definitions.get("widgets.example.com").await.unwrap().metadata.deletion_timestamp.is_some());
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    objects.patch("a", &PatchParams::default(), &free).await.unwrap();
    assert!(definitions.get_opt("widgets.example.com").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_broken_schema_is_refused() {
    let client = pocket_api::Api::new(Options::default()).unwrap().client("default");
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let mut broken = serde_json::to_value(definition()).unwrap();
    broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"][0]["rule"] =
        json!("self.size <");
    let broken = serde_json::from_value(broken).unwrap();
    let error = definitions.create(&PostParams::default(), &broken).await.unwrap_err().to_string();
    assert!(
        error.contains("spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn state_outlives_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let persistence = Some(directory.path().to_owned());
        pocket_api::Api::new(Options { persistence, ..Options::default() })
    };
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).unwrap();
    let service = |name: &str| -> Service {
        serde_json::from_value(json!({"metadata": {"name": name},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}}))
        .unwrap()
    };
    let (revision, uid) = {
        let api = open().unwrap();
        let client = api.client("default");
        Api::<CustomResourceDefinition>::all(client.clone())
            .create(&PostParams::default(), &definition())
            .await
            .unwrap();
        widgets(client.clone(), "v1").create(&PostParams::default(), &widget("w", json!({"size": 1}))).await.unwrap();
        Api::<Service>::default_namespaced(client.clone()).create(&PostParams::default(), &service("a")).await.unwrap();
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let uid = maps.create(&PostParams::default(), &map).await.unwrap().metadata.uid;
        assert!(open().is_err(), "two servers must not share a file");
        (api.revision(), uid)
    };
    // The client's own task releases the server when it runs next.
    let api = loop {
        match open() {
            Ok(api) => break api,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(api.revision(), revision);
    let client = api.client("default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    assert_eq!(maps.get("a").await.unwrap().metadata.uid, uid);
    assert_eq!(widgets(client.clone(), "v1").get("w").await.unwrap().data["spec"]["size"], 1);
    // Allocated addresses and ports are still taken.
    let services: Api<Service> = Api::default_namespaced(client);
    assert!(services.create(&PostParams::default(), &service("b")).await.is_err());
    // A watch from before the restart cannot be continued.
    let mut events = std::pin::pin!(maps.watch(&WatchParams::default(), &(revision - 1).to_string()).await.unwrap());
    let first = futures::StreamExt::next(&mut events).await.unwrap().unwrap();
    assert!(matches!(first, kube::api::WatchEvent::Error(status) if status.code == 410));
}
