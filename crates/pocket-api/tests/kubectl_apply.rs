//! Requests of `kubectl apply`, client-side and server-side, and the owners of fields that they leave.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use http::{Method, Request, StatusCode};
use kube::Client;
use pocket_api::Options;
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const CLIENT_SIDE: &str = "kubectl-client-side-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// User with a kubectl.
struct Kubectl {
    client: Client,
}

impl Kubectl {
    fn new() -> Self {
        Self { client: pocket_api::Api::new(Options::default()).unwrap().client("default") }
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: impl ToString) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", content);
        let request = request.body(body.to_string().into_bytes().into()).unwrap();
        let (parts, body) = self.client.send(request).await.unwrap().into_parts();
        (parts.status, serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap())
    }

    async fn patch(&self, manager: &str, content: &str, patch: &Value) -> Value {
        let (code, object) = self.send(Method::PATCH, &format!("{WEB}?fieldManager={manager}"), content, patch).await;
        assert_eq!(code, StatusCode::OK, "{object}");
        object
    }

    async fn get(&self) -> Value {
        self.send(Method::GET, WEB, JSON, "").await.1
    }

    /// Runs `kubectl apply`: creates an object with an annotation, later patches the differences from the annotation.
    async fn apply(&self, intent: &Value, patch: Option<Value>) {
        let last = format!("{intent}\n");
        match patch {
            None => {
                let mut new = intent.clone();
                new["metadata"]["annotations"] = json!({ LAST_APPLIED: last });
                let path = format!("{DEPLOYMENTS}?fieldManager={CLIENT_SIDE}");
                assert_eq!(self.send(Method::POST, &path, JSON, &new).await.0, StatusCode::CREATED);
            }
            Some(mut patch) => {
                patch["metadata"]["annotations"] = json!({ LAST_APPLIED: last });
                self.patch(CLIENT_SIDE, STRATEGIC, &patch).await;
            }
        }
    }

    /// Runs `kubectl scale`.
    async fn scale(&self, replicas: i32) {
        let path = format!("{WEB}/scale?fieldManager=kubectl");
        let patch = json!({ "spec": { "replicas": replicas } });
        assert_eq!(self.send(Method::PATCH, &path, MERGE, patch).await.0, StatusCode::OK);
    }

    /// Runs `kubectl apply --server-side` with everything that it does after the apply itself.
    async fn apply_server_side(&self, intent: &Value, force: bool) -> (StatusCode, Value) {
        let path = format!("{WEB}?fieldManager=kubectl&force={force}");
        let (code, live) = self.send(Method::PATCH, &path, APPLY, intent).await;
        if code != StatusCode::OK {
            return (code, live);
        }
        let annotation = &live["metadata"]["annotations"][LAST_APPLIED];
        let live = if annotation.is_null() || owners_of_annotation(&live, "Apply").next().is_some() {
            live
        } else {
            let only = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "web", "namespace": "default", "annotations": { LAST_APPLIED: annotation } } });
            self.patch("kubectl-last-applied", APPLY, &only).await
        };
        if owners_of_annotation(&live, "Update").next().is_none() {
            return (code, live);
        }
        let patch = json!([
            { "op": "replace", "path": "/metadata/managedFields", "value": migrated(&live) },
            { "op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"] },
        ]);
        self.patch("kubectl", JSON_PATCH, &patch).await;
        self.send(Method::PATCH, &path, APPLY, intent).await
    }
}

fn entries(object: &Value) -> &Vec<Value> {
    object["metadata"]["managedFields"].as_array().unwrap()
}

fn owners_of_annotation<'a>(object: &'a Value, operation: &'a str) -> impl Iterator<Item = &'a Value> {
    let owns =
        |entry: &Value| entry["fieldsV1"]["f:metadata"]["f:annotations"][format!("f:{LAST_APPLIED}")].is_object();
    entries(object).iter().filter(move |entry| entry["operation"] == operation && owns(entry))
}

/// Returns the owners as client-go's `csaupgrade` migrates them: the client-side manager's fields belong to `kubectl`.
fn migrated(object: &Value) -> Value {
    fn union(into: &mut Value, from: &Value) {
        for (name, below) in from.as_object().unwrap() {
            union(into.as_object_mut().unwrap().entry(name.clone()).or_insert_with(|| json!({})), below);
        }
    }
    let is_old = |entry: &Value| entry["manager"] == CLIENT_SIDE && entry["operation"] == "Update";
    let old = entries(object).iter().find(|entry| is_old(entry)).unwrap();
    let mut kept: Vec<Value> = entries(object).iter().filter(|entry| !is_old(entry)).cloned().collect();
    let own = kept.iter_mut().find(|entry| entry["manager"] == "kubectl" && entry["operation"] == "Apply").unwrap();
    union(&mut own["fieldsV1"], &old["fieldsV1"]);
    kept.into()
}

/// Returns managers and operations by name, and whether each owns the number of replicas.
fn owners(object: &Value) -> Vec<(String, bool)> {
    let owner = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        let name = [text("manager"), text("operation"), text("subresource")].join(" ").trim_end().to_owned();
        (name, entry["fieldsV1"]["f:spec"]["f:replicas"].is_object())
    };
    let mut owners: Vec<_> = entries(object).iter().map(owner).collect();
    owners.sort();
    owners
}

fn web(replicas: i32, env: &Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "default" },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } }, "template": {
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "c", "image": "i", "env": env }] } } } })
}

fn variables(object: &Value) -> Vec<&str> {
    let list = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    list.into_iter().flatten().map(|variable| variable["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_scale_takes_the_replicas_from_a_client_side_apply_and_gives_them_back() {
    let kubectl = Kubectl::new();
    let (two, three) = (web(2, &json!([])), web(3, &json!([])));
    kubectl.apply(&two, None).await;
    kubectl.scale(1).await;
    let by_both = [("kubectl Update scale".to_owned(), true), (format!("{CLIENT_SIDE} Update"), false)];
    assert_eq!(owners(&kubectl.get().await), by_both);
    // A patch by a client-side apply conflicts with no manager.
    kubectl.apply(&three, Some(json!({ "spec": { "replicas": 3 } }))).await;
    let live = kubectl.get().await;
    assert_eq!(live["spec"]["replicas"], 3);
    assert_eq!(owners(&live), [(format!("{CLIENT_SIDE} Update"), true)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_side_apply_after_client_side_ones_leaves_no_owner_behind() {
    let kubectl = Kubectl::new();
    let env = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]);
    kubectl.apply(&web(3, &env), None).await;
    kubectl.scale(1).await;
    // A field that another manager has changed conflicts, although the annotation names it.
    let (code, status) = kubectl.apply_server_side(&web(3, &env), false).await;
    assert_eq!((code, status["reason"].as_str()), (StatusCode::CONFLICT, Some("Conflict")));
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    // A field that only the annotation's manager owns does not conflict, and a variable that has left the file is removed.
    let fewer = json!([{ "name": "A", "value": "9" }]);
    let (code, live) = kubectl.apply_server_side(&web(3, &fewer), true).await;
    assert_eq!(code, StatusCode::OK, "{live}");
    assert_eq!((&live["spec"]["replicas"], variables(&live)), (&json!(3), vec!["A"]));
    let after = [("kubectl Apply".to_owned(), true), ("kubectl-last-applied Apply".to_owned(), false)];
    assert_eq!(owners(&live), after);
    let last: Value = serde_json::from_str(live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap()).unwrap();
    assert_eq!(last, web(3, &fewer), "a client-side apply may follow");

    // After the migration, kubectl sends one request and nothing changes.
    let (code, again) = kubectl.apply_server_side(&web(3, &fewer), false).await;
    assert_eq!((code, &again["metadata"]), (StatusCode::OK, &live["metadata"]));
    let (code, live) = kubectl.apply_server_side(&web(2, &json!([])), false).await;
    assert_eq!(code, StatusCode::OK, "{live}");
    assert_eq!((&live["spec"]["replicas"], variables(&live)), (&json!(2), vec![]));
}

#[tokio::test(start_paused = true)]
async fn owners_that_are_written_for_an_older_version_conflict() {
    let kubectl = Kubectl::new();
    kubectl.apply(&web(1, &json!([])), None).await;
    let old = kubectl.get().await;
    kubectl.scale(2).await;
    let patch = json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": entries(&old) },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": old["metadata"]["resourceVersion"] },
    ]);
    let (code, status) = kubectl.send(Method::PATCH, &format!("{WEB}?fieldManager=kubectl"), JSON_PATCH, patch).await;
    assert_eq!((code, status["reason"].as_str()), (StatusCode::CONFLICT, Some("Conflict")), "{status}");
}
