//! Expiry of events.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn events_live_for_an_hour_after_their_last_write() {
    let server = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
    let events: Api<Event> = Api::namespaced(server.client("default"), "default");
    let names = async || {
        let list = events.list(&ListParams::default()).await.unwrap();
        list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    for name in ["once", "again"] {
        let event = json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "r"});
        events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(3000)).await;
    events.patch("again", &PatchParams::default(), &Patch::Merge(json!({"count": 2}))).await.unwrap();
    assert_eq!(server.expire_events().unwrap(), 0);
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!((server.expire_events().unwrap(), names().await), (1, vec!["again".to_owned()]));
    tokio::time::advance(Duration::from_secs(3000)).await;
    assert_eq!((server.expire_events().unwrap(), names().await.len()), (1, 0));
}
