//! Watches, as reflectors and kubectl use them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::pin::pin;

use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use pocket_api::Options;
use serde_json::{Value, json};
use tower::ServiceExt;

fn config(name: &str, labels: Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

async fn patch(maps: &Api<ConfigMap>, name: &str, patch: Value) {
    maps.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

fn shown(event: &WatchEvent<ConfigMap>) -> String {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap_or_default();
    match event {
        WatchEvent::Added(map) => format!("ADDED {}", name(map)),
        WatchEvent::Modified(map) => format!("MODIFIED {}", name(map)),
        WatchEvent::Deleted(map) => format!("DELETED {}", name(map)),
        WatchEvent::Bookmark(_) => "BOOKMARK".into(),
        WatchEvent::Error(status) => format!("ERROR {}", status.code),
    }
}

#[tokio::test(start_paused = true)]
async fn from_a_list_on() {
    let maps: Api<ConfigMap> =
        Api::default_namespaced(pocket_api::Api::new(Options::default()).unwrap().client("default"));
    maps.create(&PostParams::default(), &config("old", json!({}))).await.unwrap();
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let events = maps.watch(&WatchParams::default().timeout(20), &version).await.unwrap();
    maps.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    patch(&maps, "a", json!({"data": {"k": "v"}})).await;
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let events: Vec<_> = events.map_ok(|event| shown(&event)).try_collect().await.unwrap();
    assert_eq!(events, ["ADDED a", "MODIFIED a", "DELETED a", "BOOKMARK"]);
}

#[tokio::test(start_paused = true)]
async fn objects_enter_and_leave_a_selection() {
    let maps: Api<ConfigMap> =
        Api::default_namespaced(pocket_api::Api::new(Options::default()).unwrap().client("default"));
    let params = WatchParams::default().labels("color=red").timeout(20).disable_bookmarks();
    let events = maps.watch(&params, "1").await;
    // Revision 1 was before the namespaces were created, but no event of a ConfigMap was ever forgotten.
    let events = events.unwrap();
    maps.create(&PostParams::default(), &config("a", json!({"color": "blue"}))).await.unwrap();
    patch(&maps, "a", json!({"metadata": {"labels": {"color": "red"}}})).await;
    patch(&maps, "a", json!({"data": {"k": "v"}})).await;
    patch(&maps, "a", json!({"metadata": {"labels": {"color": "blue"}}})).await;
    let left = maps.get("a").await.unwrap().metadata.resource_version;
    patch(&maps, "a", json!({"data": {"k": "w"}})).await;
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["ADDED a", "MODIFIED a", "DELETED a"]);
    let Some(WatchEvent::Deleted(last)) = events.last() else { panic!("no deletion") };
    assert_eq!(last.metadata.labels.as_ref().unwrap()["color"], "red");
    assert_eq!(last.metadata.resource_version, left);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let maps: Api<ConfigMap> =
        Api::default_namespaced(pocket_api::Api::new(Options::default()).unwrap().client("default"));
    maps.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    maps.create(&PostParams::default(), &config("b", json!({}))).await.unwrap();
    let params = WatchParams::default().initial_events();
    let mut events = pin!(maps.watch(&params, "0").await.unwrap());
    assert_eq!(shown(&events.next().await.unwrap().unwrap()), "ADDED a");
    assert_eq!(shown(&events.next().await.unwrap().unwrap()), "ADDED b");
    let Some(Ok(WatchEvent::Bookmark(bookmark))) = events.next().await else { panic!("no bookmark") };
    assert_eq!(bookmark.metadata.annotations["k8s.io/initial-events-end"], "true");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(shown(&events.next().await.unwrap().unwrap()), "DELETED a");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_keep_a_quiet_watch_fresh() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(api.client("default"), "kube-system");
    let mut events = pin!(maps.watch(&WatchParams::default(), "0").await.unwrap());
    let elsewhere: Api<ConfigMap> = Api::default_namespaced(api.client("default"));
    elsewhere.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    let Some(Ok(WatchEvent::Bookmark(bookmark))) = events.next().await else { panic!("no bookmark") };
    assert_eq!(bookmark.metadata.resource_version, api.revision().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_too_long_ago_has_expired() {
    let maps: Api<ConfigMap> =
        Api::default_namespaced(pocket_api::Api::new(Options::default()).unwrap().client("default"));
    let made = maps.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    let version = made.metadata.resource_version.unwrap();
    for n in 0..1100 {
        patch(&maps, "a", json!({"data": {"n": n.to_string()}})).await;
    }
    let events: Vec<_> = maps.watch(&WatchParams::default(), &version).await.unwrap().try_collect().await.unwrap();
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["ERROR 410"]);
}

#[tokio::test(start_paused = true)]
async fn old_events_are_forgotten_by_time() {
    let maps: Api<ConfigMap> =
        Api::default_namespaced(pocket_api::Api::new(Options::default()).unwrap().client("default"));
    let made = maps.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    let version = made.metadata.resource_version.unwrap();
    patch(&maps, "a", json!({"data": {"n": "1"}})).await;
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    patch(&maps, "a", json!({"data": {"n": "2"}})).await;
    let events: Vec<_> = maps.watch(&WatchParams::default(), &version).await.unwrap().try_collect().await.unwrap();
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["ERROR 410"]);
}

#[tokio::test(start_paused = true)]
async fn rows_are_watched_with_their_columns_once() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(api.client("default"));
    maps.create(&PostParams::default(), &config("a", json!({}))).await.unwrap();
    maps.create(&PostParams::default(), &config("b", json!({}))).await.unwrap();
    let request = http::Request::get("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io, application/json")
        .body(axum::body::Body::empty())
        .unwrap();
    let reply = api.router().oneshot(request).await.unwrap();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    let lines: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["object"]["kind"], "Table");
    assert!(!lines[0]["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(lines[1]["object"]["columnDefinitions"], json!([]));
    assert_eq!(lines[1]["object"]["rows"][0]["object"]["metadata"]["name"], "b");
}

#[tokio::test(start_paused = true)]
async fn options_that_contradict_each_other_are_refused() {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    for (query, code) in [
        ("watch=1&sendInitialEvents=true", 422),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422),
        ("watch=1&resourceVersion=x", 400),
        ("resourceVersion=999999", 504),
        ("continue=x", 400),
        ("limit=x", 400),
        ("labelSelector=a%20b%20c", 400),
    ] {
        let uri = format!("/api/v1/configmaps?{query}");
        let request = http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
        assert_eq!(api.router().oneshot(request).await.unwrap().status(), code, "{query}");
    }
}
