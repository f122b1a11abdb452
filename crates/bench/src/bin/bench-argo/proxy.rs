//! Proxy between a controller and the API server, which counts the controller's writes and can make them slow.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};
use kube::{Client, Config};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{clients::now, writes::Write};

/// Size limit of a request's body: somewhat more than etcd takes.
const LIMIT: usize = 4 << 20;
/// Headers that belong to one connection. A proxied request has two connections.
const OF_A_CONNECTION: [HeaderName; 4] =
    [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];

/// Proxy on a port of its own. Dropping it ends it.
pub(crate) struct Proxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    client: Client,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Time that each write waits before it is forwarded.
    delay: Duration,
    writes: Vec<Write>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    /// Starts a proxy to a cluster, and writes a kubeconfig into `dir` that points at it.
    pub(crate) async fn start(mut config: Config, dir: &Path, namespace: &str) -> Result<Self> {
        // A watch without changes is silent for minutes.
        config.read_timeout = None;
        let shared = Arc::new(Shared { client: Client::try_from(config)?, seen: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        let kubeconfig = dir.join(format!("proxy-{namespace}.json"));
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": { "server": server } }],
            "users": [{ "name": "bench", "user": {} }],
            "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench", "namespace": namespace } }],
        });
        std::fs::write(&kubeconfig, text.to_string()).context("the proxy's kubeconfig")?;
        Ok(Self { kubeconfig, shared, server: task })
    }

    /// Returns the kubeconfig for the controller that is to be watched.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Delays each write of the controller before it is forwarded.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.shared.seen().delay = delay;
    }

    /// Returns the writes since a moment, in milliseconds since the Unix epoch.
    pub(crate) fn writes_since(&self, since: i64) -> Vec<Write> {
        self.shared.seen().writes.iter().filter(|write| write.at >= since).cloned().collect()
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a write. Returns its number, and the time that it has to wait.
    fn record(&self, write: Write) -> (usize, Duration) {
        let mut seen = self.seen();
        seen.writes.push(write);
        (seen.writes.len() - 1, seen.delay)
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match pass_on(&shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("the proxy of the bench: {error:#}")).into_response(),
    }
}

async fn pass_on(shared: &Shared, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, LIMIT).await?;
    let write = Write::of(now(), &parts.method, parts.uri.path()).map(|write| shared.record(write));
    if let Some((_, delay)) = write {
        tokio::time::sleep(delay).await;
    }
    OF_A_CONNECTION.iter().for_each(|name| drop(parts.headers.remove(name)));
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = http::Request::builder().method(parts.method.clone()).uri(path);
    if let Some(headers) = onward.headers_mut() {
        *headers = parts.headers;
    }
    // A watch is a stream: its body is forwarded as it arrives.
    let mut response = shared.client.send(onward.body(kube::client::Body::from(body))?).await?.map(Body::new);
    OF_A_CONNECTION.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    if let Some((number, _)) = write
        && let Some(write) = shared.seen().writes.get_mut(number)
    {
        write.status = response.status().as_u16();
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, TryStreamExt};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{ListParams, PostParams, WatchEvent, WatchParams},
        config::{KubeConfigOptions, Kubeconfig},
    };
    use std::time::Instant;

    /// Starts an API server, and returns a client of it through a proxy.
    async fn through(dir: &Path) -> (Proxy, Client, JoinHandle<()>) {
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, api.router()).await;
        });
        let proxy = Proxy::start(Config::new(uri), dir, "default").await.unwrap();
        let kubeconfig = Kubeconfig::read_from(proxy.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        (proxy, Client::try_from(config).unwrap(), server)
    }

    fn config_map(name: &str) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
    }

    #[tokio::test]
    async fn passes_on_reads_watches_and_refusals_and_counts_writes() {
        let dir = tempfile::tempdir().unwrap();
        let (proxy, client, _server) = through(dir.path()).await;
        let maps = Api::<ConfigMap>::default_namespaced(client);
        let mut watch = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
        maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
        assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
        assert!(
            matches!(watch.try_next().await.unwrap(), Some(WatchEvent::Added(map)) if map.metadata.name.as_deref() == Some("a"))
        );
        let refused = maps.create(&PostParams::default(), &config_map("a")).await.unwrap_err();
        assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
        let writes = proxy.writes_since(0);
        let said: Vec<_> =
            writes.iter().map(|write| (write.verb.as_str(), write.resource.as_str(), write.status)).collect();
        assert_eq!(said, [("POST", "configmaps", 201), ("POST", "configmaps", 409)]);
        assert!(proxy.writes_since(i64::MAX).is_empty());
    }

    #[tokio::test]
    async fn a_slow_write_delays_no_read() {
        let dir = tempfile::tempdir().unwrap();
        let (proxy, client, _server) = through(dir.path()).await;
        let maps = Api::<ConfigMap>::default_namespaced(client);
        let delay = Duration::from_millis(300);
        proxy.slow_down(delay);
        let begin = Instant::now();
        let (params, map) = (PostParams::default(), config_map("a"));
        let create = async {
            maps.create(&params, &map).await.unwrap();
            begin.elapsed()
        };
        let look = async { maps.list(&ListParams::default()).await.unwrap().items.len() };
        let (took, found) = tokio::join!(create, look);
        assert!(took >= delay, "{took:?}");
        assert_eq!(found, 0);
    }
}
