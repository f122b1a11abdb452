//! HTTP server of a test on this machine, for gates that send requests: its answer is what the test says, and every request is remembered.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::eventually;

/// Request that the server got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method and path with query, such as `GET /check/v2`.
    pub line: String,
    /// Value of the header `Authorization`.
    pub authorization: Option<String>,
    pub body: String,
}

#[derive(Debug)]
struct State {
    status: StatusCode,
    body: Value,
    seen: Vec<Seen>,
}

/// Running server. Dropping it ends it.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl WebServer {
    /// Starts the server with an answer.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(answer: Value) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { status: StatusCode::OK, body: answer, seen: Vec::new() }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| reply(Arc::clone(&shared), request));
                tokio::spawn(async move {
                    // A client that goes away in the middle is no error of the server.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, state, task })
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Changes the answer.
    pub fn answer(&self, answer: Value) {
        lock(&self.state).body = answer;
    }

    /// Changes the status of the answer.
    pub fn status(&self, status: StatusCode) {
        lock(&self.state).status = status;
    }

    /// Returns the requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// Waits until the server has got a number of requests more than it has now.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn asked_again(&self, times: usize) -> Result<()> {
        let wanted = self.seen().len() + times;
        eventually(&format!("{wanted} requests came"), || async {
            let seen = self.seen().len();
            ensure!(seen >= wanted, "{seen} came");
            Ok(())
        })
        .await
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn reply(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri());
    let authorization = request.headers().get(http::header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut state = lock(&state);
    state.seen.push(Seen { line, authorization, body });
    let mut response = Response::new(Full::from(state.body.to_string()));
    *response.status_mut() = state.status;
    Ok(response)
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
