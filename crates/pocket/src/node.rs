//! Start of the node's software: kubelet, scheduler, Service proxy, DNS, and the API server's connection to it.

use std::{fs, net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use http::StatusCode;
use pocket_api::{Api, Duplex, ExecRequest, ExecStreams, LogRequest, NodeAccess, Status};
use pocket_node::{
    cluster::Cluster,
    dns::{Dns, DnsConfig, upstreams},
    kubelet::{Access, AccessError, Config, Kubelet, LogQuery},
    namespaces::Namespaces,
    net::NodeNet,
    network::{DNS_IP, POD_RANGE, SERVICE_RANGE},
    proxy::{Proxy, ProxyConfig},
    runtime::ExecSpec,
    scheduler::Scheduler,
};
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{NODE, files::Files, objects::Machine};

/// Domain of the names of Services.
const DOMAIN: &str = "cluster.local";
/// Time that pods have to end when the cluster ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Inputs of the node's software.
pub(crate) struct Parts<'a> {
    pub(crate) api: &'a Api,
    pub(crate) files: &'a Files,
    pub(crate) runtime: Namespaces,
    pub(crate) net: NodeNet,
    pub(crate) machine: &'a Machine,
    /// Address of the host at which node ports and load balancers listen.
    pub(crate) address: Ipv4Addr,
    pub(crate) proxy_delay: Duration,
}

/// Starts the node's software.
pub(crate) async fn start(
    parts: Parts<'_>,
    shutdown: &CancellationToken,
    essential: &mut JoinSet<&'static str>,
    polite: &mut JoinSet<()>,
) -> std::io::Result<()> {
    let Parts { api, files, runtime, net, machine, address, proxy_delay } = parts;
    let client = api.client("default");
    let resolv_conf = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let services = Cluster::new();
    let config = Config {
        node_name: NODE.to_owned(),
        state_dir: files.node(),
        cluster_dns: DNS_IP,
        cluster_domain: DOMAIN.to_owned(),
        host_ip: address,
        host_resolv_conf: resolv_conf.clone(),
        shutdown_grace: SHUTDOWN_GRACE,
        cpus: machine.cpus,
        memory: machine.memory,
    };
    let kubelet = Kubelet::new(client.clone(), runtime, net.clone(), services.clone(), config);
    api.set_node(Arc::new(Node(kubelet.access())));
    polite.spawn(kubelet.run(shutdown.clone()));
    polite.spawn(Scheduler::new(client.clone(), NODE).run(shutdown.clone()));

    let config = DnsConfig {
        listen: (DNS_IP, 53).into(),
        domain: DOMAIN.to_owned(),
        reverse: [SERVICE_RANGE, POD_RANGE].map(|range| (range.base, range.prefix)).to_vec(),
        upstreams: upstreams(&resolv_conf),
    };
    let dns = Dns::bind(&net, services.clone(), config).await?;
    let config = ProxyConfig {
        node_name: NODE.to_owned(),
        host_ip: address,
        not_mine: vec![DNS_IP],
        min_sync_period: proxy_delay,
    };
    let proxy = Proxy::new(client.clone(), net, services.clone(), config);
    // Ending pods still need these three tasks, so the tasks run until the very end.
    essential.spawn(named("the DNS server", dns.run(CancellationToken::new())));
    essential.spawn(named("the Service proxy", proxy.run(CancellationToken::new())));
    essential.spawn(named("the watch of Services", services.run(client, CancellationToken::new())));
    Ok(())
}

async fn named(name: &'static str, future: impl Future<Output = ()>) -> &'static str {
    future.await;
    name
}

/// Node as the API server sees it.
struct Node(Access<Namespaces>);

impl NodeAccess for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Status>> {
        let access = self.0.clone();
        Box::pin(async move {
            let LogRequest { namespace, pod, container, follow, previous, timestamps, tail_lines, since, limit_bytes } =
                request;
            let query =
                LogQuery { namespace, pod, container, follow, previous, timestamps, tail_lines, since, limit_bytes };
            Ok(access.logs(query).map_err(|error| status(&error))?.boxed())
        })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecStreams, Status>> {
        let access = self.0.clone();
        Box::pin(async move {
            let ExecRequest { namespace, pod, container, command, stdin, stdout, stderr, tty } = request;
            let spec = ExecSpec { argv: command, stdin, tty };
            let session = match access.exec(&namespace, &pod, &container, spec).await {
                Ok(session) => session,
                // A program that cannot be run is an answer of the container, not an error of the API.
                Err(AccessError::Failed(why)) => return Ok(not_run(why)),
                Err(error) => return Err(status(&error)),
            };
            let (exit, code) = oneshot::channel();
            let ended = session.exit;
            tokio::spawn(async move {
                let mut exit = exit;
                tokio::select! {
                    code = ended => {
                        let code = code.map(pocket_node::runtime::Exit::code);
                        let _ = exit.send(code.map_err(|_| "the program's end is unknown".to_owned()));
                    }
                    // No client waits any more: dropping our end asks the program to end.
                    () = exit.closed() => {}
                }
            });
            Ok(ExecStreams {
                stdin: session.stdin,
                stdout: stdout.then_some(session.stdout),
                stderr: if stderr { session.stderr } else { None },
                resize: session.resize,
                exit: code,
            })
        })
    }

    fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn Duplex>, Status>> {
        let (access, namespace, pod) = (self.0.clone(), namespace.to_owned(), pod.to_owned());
        Box::pin(async move {
            let stream = access.port_forward(&namespace, &pod, port).await.map_err(|error| status(&error))?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }
}

fn not_run(why: String) -> ExecStreams {
    let (exit, code) = oneshot::channel();
    let _ = exit.send(Err(why));
    ExecStreams { stdin: None, stdout: None, stderr: None, resize: None, exit: code }
}

fn status(error: &AccessError) -> Status {
    let (code, reason) = match error {
        AccessError::NoPod(_) => (StatusCode::NOT_FOUND, "NotFound"),
        AccessError::NoContainer(..) | AccessError::Waiting { .. } | AccessError::NoPrevious { .. } => {
            (StatusCode::BAD_REQUEST, "BadRequest")
        }
        AccessError::NotRunning(_) | AccessError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    };
    Status::new(code, reason, error.to_string())
}
