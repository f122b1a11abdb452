//! Assembly of the cluster: API server, controllers and node in one process.

use std::{
    fs,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use pocket_api::{Api, Authenticator};
use pocket_image::ImageStore;
use pocket_node::{
    namespaces::{Config, Inside, Namespaces},
    net::NodeNet,
    network::{NODE_IP, Threads},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    arguments::Arguments,
    certificates::{self, Authority},
    files::{self, Files},
    kubeconfig, node,
    objects::{self, Machine},
    rest,
};

/// Usual port of a Kubernetes API server.
const USUAL_PORT: u16 = 6443;
/// Number of threads in the node's network: the Service proxy and DNS run on them.
const NODE_WORKERS: usize = 2;
/// Time that pods and controllers have to end.
const PATIENCE: Duration = Duration::from_secs(12);

/// Running cluster.
pub(crate) struct Cluster {
    api: Api,
    /// Where the API server listens on the host.
    address: SocketAddr,
    shutdown: CancellationToken,
    /// Tasks that must not end before the cluster does.
    essential: JoinSet<&'static str>,
    /// Tasks that may take time to end.
    polite: JoinSet<()>,
    /// Threads in the node's network, kept until the end.
    _threads: Threads,
}

impl Cluster {
    /// Starts everything; returns when the API answers and the node is ready.
    pub(crate) async fn start(
        files: &Files,
        arguments: &Arguments,
        inside: Inside,
        shutdown: &CancellationToken,
        step: &impl Fn(&str),
    ) -> Result<Self, Error> {
        let failed = |message: String| Error::Failed { message, log_tail: String::new(), log: files.log() };
        let listener = listen(files, arguments.address, arguments.api_port).await?;
        let address = listener.local_addr().map_err(Error::file("listen for", files.dir()))?;
        let port = address.port();
        let authority = Authority::open(files)?;
        let tls = authority.server(arguments.address)?;
        let options = pocket_api::Options {
            persistence: Some(files.cluster()),
            token_key: Some(certificates::token_key(files)?),
            ..pocket_api::Options::default()
        };
        fs::create_dir_all(files.cluster()).map_err(Error::file("make the directory", files.cluster()))?;
        let version = options.version.git_version.clone();
        let api = Api::new(options).map_err(|error| failed(format!("{}: {error}", files.cluster().display())))?;
        let mut essential = JoinSet::new();
        essential.spawn(run_essential(
            "the API server",
            pocket_api::serve(listener, tls.clone(), api.clone(), Authenticator::new()),
        ));
        // The API is published before the node starts, so that a caller that waits for the API alone does not wait for the node.
        publish(files, &authority, &arguments.name, address)?;
        step(&format!("API server on {}", server(address)));

        let images = ImageStore::open(files.images()).map_err(|error| failed(error.to_string()))?;
        let config = Config { dir: files.containers(), images };
        let (runtime, net, threads): (Namespaces, NodeNet, _) =
            inside.start(config, NODE_WORKERS).map_err(|error| failed(error.to_string()))?;
        // Pods reach the same API server on the node's address.
        let serve = serve_in_node(api.clone(), tls, port);
        essential.spawn(run_essential("the API server for pods", run_on(net.clone(), serve)));

        let client = api.client("default");
        let mut polite = JoinSet::new();
        let settings = pocket_controllers::Settings { root_ca: Some(authority.certificate().to_owned()) };
        polite.spawn(pocket_controllers::run(client.clone(), settings, shutdown.clone().cancelled_owned()));
        let machine = Machine::detect();
        node::start(
            node::Parts {
                api: &api,
                files,
                runtime,
                net,
                machine: &machine,
                address: arguments.address,
                proxy_delay: arguments.proxy_delay,
            },
            shutdown,
            &mut essential,
            &mut polite,
        )
        .await
        .map_err(|error| failed(format!("the cluster's DNS: {error}")))?;
        objects::install(&client, &machine, &version, address)
            .await
            .map_err(|error| failed(format!("the cluster's own objects: {error}")))?;
        let at_rest = api.clone();
        essential.spawn(async move {
            rest::watch(at_rest).await;
            "the watch for a rest"
        });
        step("node ready");
        Ok(Self { api, address, shutdown: shutdown.clone(), essential, polite, _threads: threads })
    }

    /// Returns a client inside the process.
    pub(crate) fn client(&self) -> kube::Client {
        self.api.client("default")
    }

    /// Returns the address of the API server.
    pub(crate) fn server(&self) -> String {
        server(self.address)
    }

    /// Waits until a task ends that must not end, and returns a sentence that names it.
    pub(crate) async fn failed(&mut self) -> String {
        loop {
            match self.essential.join_next().await {
                Some(Ok(what)) => return format!("{what} has ended"),
                Some(Err(error)) if error.is_panic() => return format!("a part of the cluster has failed: {error}"),
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends everything: pods and controllers first, while the API still answers.
    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, async { while self.polite.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("pods did not end in time: they are killed");
        }
        self.essential.shutdown().await;
    }
}

fn server(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// Writes the kubeconfig, and the port for the next start.
fn publish(files: &Files, authority: &Authority, name: &str, address: SocketAddr) -> Result<(), Error> {
    let config = kubeconfig::render(name, &server(address), &authority.administrator()?);
    files::write_private(&files.kubeconfig(), config.as_bytes())?;
    files::write_private(&files.port(), address.port().to_string().as_bytes())
}

/// Runs an essential task, and returns its name when it ends.
async fn run_essential(name: &'static str, future: impl Future<Output = io::Result<()>>) -> &'static str {
    if let Err(error) = future.await {
        tracing::error!(%error, "{name} has ended");
    }
    name
}

/// Runs a future in the node's network.
async fn run_on(net: NodeNet, future: impl Future<Output = io::Result<()>> + Send + 'static) -> io::Result<()> {
    net.run(future).await?
}

/// Serves the API on the node's address, to which the `kubernetes` Service leads.
async fn serve_in_node(api: Api, tls: Arc<rustls::ServerConfig>, port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((NODE_IP, port)).await?;
    pocket_api::serve(listener, tls, api, Authenticator::new()).await
}

/// Takes the port that is wanted; otherwise the one of last time, or the usual one, or any.
async fn listen(files: &Files, address: Ipv4Addr, wanted: u16) -> Result<TcpListener, Error> {
    let bind = |port: u16| TcpListener::bind(SocketAddr::from((address, port)));
    if wanted != 0 {
        return bind(wanted).await.map_err(|error| Error::Failed {
            message: format!("port {wanted} of {address} cannot be used ({error}): choose another one, or none"),
            log_tail: String::new(),
            log: files.log(),
        });
    }
    let last = fs::read_to_string(files.port()).ok().and_then(|text| text.trim().parse().ok());
    for port in last.into_iter().chain([USUAL_PORT]) {
        if let Ok(listener) = bind(port).await {
            return Ok(listener);
        }
    }
    bind(0).await.map_err(Error::file("listen for", files.dir()))
}
