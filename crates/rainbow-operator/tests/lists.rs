//! Lists of the operator: they are streamed where the API server does that, and come in pages elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use axum::{body::Body as Reply, response::IntoResponse};
use common::{Cluster, PROPAGATION, seamless};
use http::StatusCode;
use kube::{Client, client::Body};
use rainbow_operator::{Clock, Options, run};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// Outcome of a streamed list.
#[derive(Clone, Copy, PartialEq)]
enum Streams {
    Served,
    /// The API server answers as with the feature gate `WatchList` off.
    Refused,
    /// The connection ends before everything was sent.
    BrokenOff,
}

/// Operator whose lists and watches are all noted.
struct Operator {
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Operator {
    fn start(cluster: &Cluster, streams: Streams) -> Self {
        let (router, asked) = (cluster.api.router(), Arc::<Mutex<Vec<String>>>::default());
        let noted = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (router, noted) = (router.clone(), Arc::clone(&noted));
            async move {
                let query = request.uri().query().unwrap_or_default().to_owned();
                if query.contains("limit=") || query.contains("watch=true") {
                    noted.lock().unwrap().push(query.clone());
                }
                match streams {
                    Streams::Refused if query.contains("sendInitialEvents") => Ok(refusal()),
                    Streams::BrokenOff if query.contains("sendInitialEvents") => Ok(Reply::empty().into_response()),
                    _ => router.oneshot(request).await,
                }
            }
        });
        let options = Options { propagation: PROPAGATION, clock: Clock::tokio(), ..Options::default() };
        let run = run(Client::new(service, "default"), options);
        Self { asked, task: tokio::spawn(async move { run.await.unwrap() }) }
    }

    fn asked(&self, text: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|query| query.contains(text)).count()
    }
}

fn refusal() -> http::Response<Reply> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
        "message": "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for \
                    watch unless the WatchList feature gate is enabled",
    });
    (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(status)).into_response()
}

/// Makes a release with lists that are served in this way. Returns the numbers of streamed lists and of pages that were requested.
async fn released(streams: Streams) -> (usize, usize) {
    let cluster = Cluster::without_operator().await;
    cluster.apply(&seamless("v1", 1)).await;
    let operator = Operator::start(&cluster, streams);
    cluster.until("it is released", Cluster::is_ready).await;
    operator.task.abort();
    let operator = Operator::start(&cluster, streams);
    cluster.apply(&seamless("v2", 1)).await;
    cluster.until("the next one, too", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    operator.task.abort();
    (operator.asked("sendInitialEvents=true"), operator.asked("limit="))
}

/// Number of kinds that are watched.
const KINDS: usize = 8;

#[tokio::test(start_paused = true)]
async fn a_list_is_streamed() {
    assert_eq!(released(Streams::Served).await, (KINDS, 0), "one of each kind");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_streamed_comes_in_pages() {
    assert_eq!(released(Streams::Refused).await, (KINDS, KINDS));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_comes_in_pages() {
    assert_eq!(released(Streams::BrokenOff).await, (KINDS, KINDS));
}
