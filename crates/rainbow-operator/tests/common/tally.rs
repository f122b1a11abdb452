//! Fake of the counters in the pods, asked through the API server.

use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// Answer of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// This many connections on port 8080.
    Count(u64),
    /// This many connections of each of these addresses on port 8080.
    Peers(Vec<(&'static str, u64)>),
    /// No connection, as the counter has seen since this instant.
    Nobody(tokio::time::Instant),
    /// This many connections that are too young to be distinguished from probes.
    Fresh(u64),
    /// Something that is no answer of a counter.
    Garbage(&'static str),
    /// No answer, ever.
    Hangs,
}

#[derive(Clone, Default)]
pub struct Tally {
    /// Answers by name of the pod. Other pods have no connections.
    says: Arc<Mutex<BTreeMap<String, Says>>>,
    /// Names of the pods that were asked.
    asked: Arc<Mutex<BTreeSet<String>>>,
    answers: Arc<Mutex<u64>>,
}

impl Tally {
    pub fn say(&self, pod: &str, says: Says) {
        self.says.lock().unwrap().insert(pod.to_owned(), says);
    }

    /// Returns the pods that were asked since the last call.
    pub fn asked(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub async fn answer(&self, pod: &str) -> http::Response<axum::body::Body> {
        self.asked.lock().unwrap().insert(pod.to_owned());
        let at = {
            let mut answers = self.answers.lock().unwrap();
            *answers += 1;
            *answers
        };
        let says = self.says.lock().unwrap().get(pod).cloned().unwrap_or(Says::Count(0));
        let body = |count: u64, fresh: u64, idle: u64| {
            let peers: Vec<_> =
                (count > 0).then(|| json!({ "address": "10.1.0.9", "count": count })).into_iter().collect();
            let port = json!({ "port": 8080, "count": count, "fresh": fresh, "oldestSeconds": at, "peers": peers });
            json!({ "ports": [port], "count": count, "fresh": fresh, "at": at, "complete": true, "idleSeconds": idle })
                .to_string()
        };
        let of_peers = |all: Vec<(&str, u64)>| {
            let count: u64 = all.iter().map(|(_, count)| count).sum();
            let peers: Vec<_> =
                all.iter().map(|(address, count)| json!({ "address": address, "count": count })).collect();
            let port = json!({ "port": 8080, "count": count, "fresh": 0, "oldestSeconds": at, "peers": peers });
            json!({ "ports": [port], "count": count, "fresh": 0, "at": at, "complete": true, "idleSeconds": 0 })
                .to_string()
        };
        reply(match says {
            Says::Peers(all) => of_peers(all),
            Says::Count(count) => body(count, 0, 0),
            Says::Nobody(since) => body(0, 0, since.elapsed().as_secs()),
            Says::Fresh(fresh) => body(0, fresh, 0),
            Says::Garbage(text) => text.to_owned(),
            Says::Hangs => return futures::future::pending().await,
        })
    }
}

/// Returns the pod that a request is to be passed on to, if it asks for connections.
pub fn asked(uri: &http::Uri) -> Option<&str> {
    let pods = uri.path().strip_prefix("/api/v1/namespaces/default/pods/")?;
    pods.strip_suffix(":9798/proxy/connections")
        .or_else(|| pods.strip_suffix(":8080/proxy/stats").filter(|_| uri.query() == Some("all=1")))
}

pub fn reply(body: String) -> http::Response<axum::body::Body> {
    http::Response::new(axum::body::Body::from(body))
}

/// Returns the answer of an API server whose connection to the pod breaks.
pub fn unavailable() -> http::Response<axum::body::Body> {
    let mut response = reply("no answer".to_owned());
    *response.status_mut() = http::StatusCode::GATEWAY_TIMEOUT;
    response
}
