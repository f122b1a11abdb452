//! Fields: which fields a kind has, who owns them, and which of them an apply removes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use http::{Method, Request, StatusCode};
use kube::Client;
use pocket_api::Options;
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn client() -> Client {
    pocket_api::Api::new(Options::default()).unwrap().client("default")
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    content: &str,
    body: impl ToString,
) -> (StatusCode, Value, Vec<String>) {
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    let response = client.send(request.body(body.to_string().into_bytes().into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let warnings = parts.headers.get_all("warning").iter().map(|value| {
        let text = value.to_str().unwrap();
        text.strip_prefix("299 - \"").and_then(|text| text.strip_suffix('"')).unwrap().replace("\\\"", "\"")
    });
    let warnings = warnings.collect();
    let bytes = body.collect_bytes().await.unwrap();
    (parts.status, serde_json::from_slice(&bytes).unwrap(), warnings)
}

fn deployment() -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": {
        "replicas": 1, "selector": { "matchLabels": { "app": "d" } }, "template": {
            "metadata": { "labels": { "app": "d" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } } })
}

#[tokio::test(start_paused = true)]
async fn unknown_and_double_fields_are_refused_told_or_ignored() {
    let client = client();
    let mut wrong = deployment();
    wrong["spec"]["template"]["spec"]["containers"][0]["imag"] = json!("x");
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let (code, status, _) = send(&client, Method::POST, &strict, "application/json", &wrong).await;
    assert_eq!((code, status["reason"].as_str()), (StatusCode::BAD_REQUEST, Some("BadRequest")));
    let unknown = "unknown field \"spec.template.spec.containers[0].imag\"";
    assert_eq!(
        status["message"],
        format!("Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: {unknown}")
    );
    let ignore = format!("{DEPLOYMENTS}?fieldValidation=Ignore&dryRun=All");
    let (code, made, warnings) = send(&client, Method::POST, &ignore, "application/json", &wrong).await;
    assert_eq!((code, warnings.len()), (StatusCode::CREATED, 0));
    assert!(made.pointer("/spec/template/spec/containers/0/imag").is_none());
    let (code, _, warnings) = send(&client, Method::POST, DEPLOYMENTS, "application/json", &wrong).await;
    assert_eq!((code, warnings), (StatusCode::CREATED, vec![unknown.to_owned()]));

    let twice = deployment().to_string().replace("\"replicas\":1", "\"replicas\":1,\"replicas\":2");
    let path = format!("{DEPLOYMENTS}/d");
    let (code, made, warnings) = send(&client, Method::PUT, &path, "application/json", &twice).await;
    assert_eq!((code, warnings), (StatusCode::OK, vec!["duplicate field \"spec.replicas\"".to_owned()]));
    assert_eq!(made["spec"]["replicas"], 2);
    let (_, status, _) =
        send(&client, Method::PUT, &format!("{path}?fieldValidation=Strict"), "application/json", &twice).await;
    assert_eq!(
        status["message"],
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: duplicate field \"spec.replicas\""
    );
}

#[tokio::test(start_paused = true)]
async fn patches_are_read_as_strictly() {
    let client = client();
    send(&client, Method::POST, DEPLOYMENTS, "application/json", deployment()).await;
    let path = format!("{DEPLOYMENTS}/d?fieldValidation=Strict");
    let wrong = json!({ "spec": { "replica": 3 } });
    let (code, status, _) = send(&client, Method::PATCH, &path, STRATEGIC, &wrong).await;
    assert_eq!((code, status["reason"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("Invalid")));
    assert_eq!(
        status["message"],
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[replica:3]]\": strict decoding error: unknown field \"spec.replica\""
    );
    let (code, status, _) = send(&client, Method::PATCH, &path, MERGE, &wrong).await;
    let message = status["message"].as_str().unwrap();
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message.starts_with(" \"\" is invalid: patch: Invalid value: \"{\\\"apiVersion\\\":\\\"apps/v1\\\""),
        "{message}"
    );
    assert!(message.ends_with("\": strict decoding error: unknown field \"spec.replica\""), "{message}");
    let (code, _, warnings) = send(&client, Method::PATCH, &format!("{DEPLOYMENTS}/d"), MERGE, &wrong).await;
    assert_eq!((code, warnings), (StatusCode::OK, vec!["unknown field \"spec.replica\"".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_apply_of_a_field_that_the_kind_does_not_have_fails() {
    let client = client();
    let mut wrong = deployment();
    wrong["spec"]["template"]["spec"]["nonsense"] = json!(1);
    let path = format!("{DEPLOYMENTS}/d?fieldManager=m");
    let (code, status, _) = send(&client, Method::PATCH, &path, APPLY, &wrong).await;
    // A real API server answers so because it did not expect the error: <https://github.com/kubernetes/kubernetes/issues/139253>.
    let message = "failed to create typed patch object (/d; apps/v1, Kind=Deployment): \
                   .spec.template.spec.nonsense: field not declared in schema";
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        status,
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": 500 })
    );
    let mut wrong = deployment();
    wrong["metadata"]["namespace"] = json!("default");
    wrong["spec"]["replicas"] = json!("one");
    wrong["spec"]["template"]["spec"]["containers"] = json!([{ "name": "c" }, { "name": "c" }]);
    let (code, status, _) = send(&client, Method::PATCH, &path, APPLY, &wrong).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        status["message"],
        "failed to create typed patch object (default/d; apps/v1, Kind=Deployment): errors:\n  \
         .spec.replicas: expected numeric (int or float), got string\n  \
         .spec.template.spec.containers: duplicate entries for key [name=\"c\"]"
    );
}

/// Defines a custom kind with a list of stages, each of which must have a name.
async fn define(client: &Client) {
    let text = || json!({ "type": "string" });
    let stages = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": { "type": "object", "required": ["name", "promote"],
            "properties": { "name": text(), "promote": text(), "color": text() } } });
    let template = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object",
        "properties": { "stages": stages, "template": template } } } });
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "bows.example.dev" }, "spec": { "group": "example.dev", "scope": "Namespaced",
            "names": { "plural": "bows", "kind": "Bow" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, status, _) = send(client, Method::POST, path, "application/json", &definition).await;
    assert_eq!(code, StatusCode::CREATED, "{status}");
}

const BOW: &str = "/apis/example.dev/v1/namespaces/default/bows/b";

fn bow(stages: &Value) -> Value {
    json!({ "apiVersion": "example.dev/v1", "kind": "Bow", "metadata": { "name": "b" }, "spec": { "stages": stages } })
}

#[tokio::test(start_paused = true)]
async fn an_element_that_no_manager_applies_any_more_goes_as_a_whole() {
    let client = client();
    define(&client).await;
    let apply = async |manager: &str, stages: Value| {
        send(&client, Method::PATCH, &format!("{BOW}?fieldManager={manager}"), APPLY, bow(&stages)).await
    };
    apply("kubectl", json!([{ "name": "active", "promote": "Manual" }])).await;
    // Another manager sets a field of the element, which does not make it an owner of the element.
    let path = format!("{BOW}?fieldManager=rainbow");
    let color = json!([{ "op": "add", "path": "/spec/stages/0/color", "value": "v2" }]);
    let (code, ..) = send(&client, Method::PATCH, &path, "application/json-patch+json", &color).await;
    assert_eq!(code, StatusCode::OK);
    let (code, renamed, _) = apply("kubectl", json!([{ "name": "live", "promote": "Manual" }])).await;
    assert_eq!(code, StatusCode::OK, "{renamed}");
    assert_eq!(renamed["spec"]["stages"], json!([{ "name": "live", "promote": "Manual" }]));
    let owners = renamed["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(owners.len(), 1, "the other manager owns nothing any more: {owners:?}");

    // A manager that applies owns the element with its key, so that it stays.
    apply("rainbow", json!([{ "name": "live", "promote": "Manual", "color": "v3" }])).await;
    let (code, kept, _) = apply("kubectl", json!([{ "name": "new", "promote": "Auto" }])).await;
    assert_eq!(code, StatusCode::OK, "{kept}");
    assert_eq!(
        kept["spec"]["stages"],
        json!([{ "name": "live", "promote": "Manual", "color": "v3" }, { "name": "new", "promote": "Auto" }])
    );
}

#[tokio::test(start_paused = true)]
async fn a_custom_kind_takes_the_fields_that_its_schema_declares_or_preserves() {
    let client = client();
    define(&client).await;
    let path = format!("{BOW}?fieldManager=m");
    let mut open = bow(&json!([]));
    open["spec"]["template"] = json!({ "spec": { "nonsense": 1 } });
    let (code, made, warnings) = send(&client, Method::PATCH, &path, APPLY, &open).await;
    assert_eq!((code, warnings.len()), (StatusCode::CREATED, 0));
    assert_eq!(made["spec"]["template"]["spec"]["nonsense"], 1);
    open["spec"]["nonsense"] = json!(1);
    let (code, status, _) = send(&client, Method::PATCH, &path, APPLY, &open).await;
    assert_eq!((code, &status["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!(500)));
    assert_eq!(
        status["message"],
        "failed to create typed patch object (/b; example.dev/v1, Kind=Bow): .spec.nonsense: field not declared in schema"
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_that_no_manager_applies_any_more_goes_with_what_others_added_to_it() {
    let client = client();
    let apply = async |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({ "name": name, "image": "i" })).collect();
        let mut object = deployment();
        object["spec"]["template"]["spec"]["containers"] = containers.into();
        send(&client, Method::PATCH, &format!("{DEPLOYMENTS}/d?fieldManager=m"), APPLY, &object).await
    };
    let containers = |object: &Value| -> Vec<String> {
        let list = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        list.iter().map(|container| container["name"].as_str().unwrap().to_owned()).collect()
    };
    apply(&["a", "b"]).await;
    let path = format!("{DEPLOYMENTS}/d?fieldManager=other");
    let others = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "b", "env": [{ "name": "X", "value": "y" }] }, { "name": "injected", "image": "i" }] } } } });
    let (code, both, _) = send(&client, Method::PATCH, &path, STRATEGIC, &others).await;
    assert_eq!((code, containers(&both)), (StatusCode::OK, ["a", "b", "injected"].map(str::to_owned).to_vec()));
    let (code, after, _) = apply(&["a"]).await;
    assert_eq!(code, StatusCode::OK, "{after}");
    assert_eq!(containers(&after), ["a", "injected"], "the other manager's own container stays");
    let owned = after["metadata"]["managedFields"].to_string();
    assert!(!owned.contains("\\\"name\\\":\\\"b\\\""), "{owned}");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_fills_in_belongs_to_no_manager() {
    let client = client();
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" },
        "spec": { "selector": { "a": "b" }, "ports": [{ "port": 80 }] } });
    let path = "/api/v1/namespaces/default/services?fieldManager=kubectl-create";
    let (_, made, _) = send(&client, Method::POST, path, "application/json", &service).await;
    assert!(made["spec"]["clusterIP"].is_string());
    assert_eq!(
        made["metadata"]["managedFields"][0]["fieldsV1"],
        json!({ "f:spec": { "f:internalTrafficPolicy": {}, "f:ports": { ".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {
            ".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} } },
            "f:selector": {}, "f:sessionAffinity": {}, "f:type": {} } })
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_of_owners_forgets_all() {
    let client = client();
    send(&client, Method::POST, DEPLOYMENTS, "application/json", deployment()).await;
    let path = format!("{DEPLOYMENTS}/d");
    let (_, made, _) = send(&client, Method::PATCH, &path, MERGE, json!({ "metadata": { "managedFields": [] } })).await;
    assert!(made["metadata"].get("managedFields").is_none());
    let (_, made, _) = send(&client, Method::PATCH, &path, MERGE, json!({ "spec": { "replicas": 4 } })).await;
    assert!(made["metadata"].get("managedFields").is_none(), "nothing is tracked any more");
    let (code, status, _) = send(&client, Method::PATCH, &format!("{path}?fieldManager=m"), APPLY, deployment()).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas"
    );
}
