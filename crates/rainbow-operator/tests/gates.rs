//! Gates from the spec to the status: the operator asks a real server on loopback. The clock runs, since a server does not wait for a paused
//! one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use axum::{Router, routing::get};
use common::{Cluster, seamless};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use rainbow_api::{GateStatus, GateVerdict};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::net::TcpListener;

/// Starts a server that says whether all is well, and returns its URL.
async fn server(is_well: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/check", listener.local_addr().unwrap());
    let answer = move || async move { json!({ "ok": is_well.load(Relaxed) }).to_string() };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/check", get(answer))).await.unwrap() });
    url
}

async fn gate(cluster: &Cluster, color: &str) -> Option<GateStatus> {
    let stages = cluster.rainbow().await.status?.stages;
    stages.into_iter().flat_map(|stage| stage.gates).find(|gate| gate.name == "check" && gate.color == color)
}

async fn verdict(cluster: &Cluster, color: &str) -> Option<GateVerdict> {
    gate(cluster, color).await.map(|gate| gate.verdict)
}

async fn events(cluster: &Cluster) -> Vec<(String, String)> {
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    events.into_iter().map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_gate_is_measured_after_a_stage_has_moved() {
    let is_well = Arc::new(AtomicBool::new(true));
    let url = server(Arc::clone(&is_well)).await;
    let rainbow = |color: &str| {
        let mut rainbow = seamless(color, 1);
        rainbow["spec"]["gates"] =
            json!([{ "name": "check", "interval": "1s", "web": { "url": url, "jsonPath": "{.ok}" } }]);
        // The first stage follows the newest color.
        rainbow["spec"]["stages"][0]["gates"] = json!({ "after": ["check"], "for": "3s" });
        rainbow
    };
    let cluster = Cluster::start().await;
    cluster.apply(&rainbow("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&rainbow("v2")).await;
    cluster.until("the gate has passed", async |c: &Cluster| verdict(c, "v2").await == Some(GateVerdict::Passed)).await;
    let passed = gate(&cluster, "v2").await.unwrap();
    assert_eq!(passed.measurements[0].query.as_deref(), Some(url.as_str()));
    assert_eq!(passed.measurements[0].value.as_deref(), Some("true"));
    cluster
        .until("an event says so", async |c: &Cluster| {
            events(c)
                .await
                .iter()
                .any(|(reason, note)| reason == "GatePassed" && note.contains("gate check of color v2 has passed"))
        })
        .await;
    is_well.store(false, Relaxed);
    cluster.until("the gate has failed", async |c: &Cluster| verdict(c, "v2").await == Some(GateVerdict::Failed)).await;
    cluster
        .until("an event says so", async |c: &Cluster| {
            let note = "stage smoke: gate check of color v2 has failed with false: 1 bad measurement";
            events(c).await.iter().any(|(reason, said)| reason == "GateFailed" && said.starts_with(note))
        })
        .await;
}
