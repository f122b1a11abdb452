//! Services for pods and for the host: a user-space proxy that picks an endpoint per connection.
//!
//! Every port of a Service has a [`balance::Backend`], which says who takes the next connection, and listeners that feed it: at the
//! Service's address in the node's network; at its node port on the host's loopback; for a load balancer at its own port there.
//! A change of endpoints changes the backend in place and takes effect with the next connection. Connections that stand are not
//! touched by anything: not by endpoints that leave, not by the Service's deletion.
//!
//! Inside, a port without endpoints has no listener, so the kernel refuses connections at once, as kube-proxy's rules do.
//! On the host a port stays open, so that nobody else takes it meanwhile; connections are then reset.

mod balance;
mod loadbalancer;
mod splice;
mod tcp;
mod udp;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::{net::UdpSocket, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::balance::Backend;
use crate::{
    cluster::{Address, Cluster, Exposure, Protocol, Service, ServicePort},
    events::{Recorder, Severity},
    net::NodeNet,
    watch::Key,
};

/// What the proxy has to know.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// For events.
    pub node_name: String,
    /// Where node ports and load balancers are opened on the host.
    pub host_ip: Ipv4Addr,
    /// Service addresses that somebody else serves, such as the cluster's DNS server and the API server.
    pub not_mine: Vec<Ipv4Addr>,
}

/// The proxy.
pub struct Proxy {
    client: Client,
    net: NodeNet,
    cluster: Arc<Cluster>,
    config: ProxyConfig,
}

/// Where a port of a Service is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Front {
    /// In the node's network.
    Inside(SocketAddrV4),
    /// On the host.
    Host(u16),
}

/// What holds a port open.
struct Open {
    task: AbortOnDropHandle<()>,
}

impl Open {
    /// Closes it; when this returns, the port can be opened again.
    async fn close(self) {
        self.task.abort();
        // It ends by being aborted.
        let _ = self.task.await;
    }
}

/// One port of a Service.
struct Port {
    backend: Arc<Backend>,
    fronts: HashMap<Front, Result<Open, Refusal>>,
}

/// Why a port could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    /// As `PortStatus.error`.
    reason: &'static str,
    message: String,
}

/// Everything that is open.
struct State {
    client: Client,
    net: NodeNet,
    cluster: Arc<Cluster>,
    config: ProxyConfig,
    events: Recorder,
    pipes: Arc<splice::Pipes>,
    services: BTreeMap<Key, HashMap<(Protocol, u16), Port>>,
}

/// How often ports that others hold are tried again.
const RETRY: Duration = Duration::from_secs(15);

impl Proxy {
    /// A proxy for the Services of a cluster, which somebody keeps up to date ([`Cluster::run`]).
    pub fn new(client: Client, net: NodeNet, cluster: Arc<Cluster>, config: ProxyConfig) -> Self {
        Self { client, net, cluster, config }
    }

    /// Runs until the shutdown; then all ports are closed. Host ports are opened by the runtime that this runs on.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { client, net, cluster, config } = self;
        let (events, writer) = Recorder::new(client.clone(), "service-proxy", config.node_name.clone());
        let changes = cluster.subscribe();
        let state = State { client, net, cluster, config, events, pipes: Arc::default(), services: BTreeMap::new() };
        tokio::select! {
            () = state.run(changes) => {}
            () = writer => {}
            () = shutdown.cancelled() => {}
        }
    }
}

impl State {
    async fn run(mut self, mut changes: mpsc::UnboundedReceiver<Key>) {
        loop {
            let refused = self.services.values().flat_map(HashMap::values).flat_map(|port| port.fronts.values());
            let again = refused.into_iter().any(Result::is_err);
            tokio::select! {
                key = changes.recv() => match key {
                    Some(key) => if self.reconcile(&key).await {
                        // It may have freed what others wait for.
                        self.retry().await;
                    },
                    None => return,
                },
                () = tokio::time::sleep(RETRY), if again => self.retry().await,
            }
        }
    }

    async fn retry(&mut self) {
        let waiting: Vec<Key> = self
            .services
            .iter()
            .filter(|(_, ports)| ports.values().any(|port| port.fronts.values().any(Result::is_err)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in waiting {
            self.reconcile(&key).await;
        }
    }

    /// Brings a Service's ports in line with it; whether it let go of a port of the host.
    async fn reconcile(&mut self, key: &Key) -> bool {
        let service = self.cluster.service(key);
        let slices = self.cluster.slices(key);
        let mut former = self.services.remove(key).unwrap_or_default();
        let specs = service.as_ref().map(|service| service.ports.as_slice()).unwrap_or_default();
        let affinity = service.as_ref().and_then(|service| service.affinity);
        // First what is no longer wanted, so that its ports are free for what is.
        let mut freed = false;
        let mut kept = HashMap::new();
        for spec in specs {
            let id = (spec.protocol, spec.port);
            if former.get(&id).is_some_and(|port| port.backend.affinity() == affinity)
                && let Some(port) = former.remove(&id)
            {
                kept.insert(id, port);
            }
        }
        let unwanted: Vec<_> = former.into_values().flat_map(|port| port.fronts).collect();
        for front in unwanted {
            freed |= close(front).await;
        }
        let mut ports = HashMap::new();
        for spec in specs {
            let Some(service) = &service else { continue };
            let id = (spec.protocol, spec.port);
            let endpoints = balance::endpoints(&slices, spec);
            let mut port = kept
                .remove(&id)
                .unwrap_or_else(|| Port { backend: Arc::new(Backend::new(service)), fronts: HashMap::new() });
            let wanted = self.wanted(service, spec, !endpoints.is_empty());
            port.backend.set(endpoints);
            let unwanted: Vec<_> = port.fronts.keys().filter(|front| !wanted.contains(front)).copied().collect();
            for front in unwanted {
                if let Some(open) = port.fronts.remove(&front) {
                    freed |= close((front, open)).await;
                }
            }
            for front in wanted {
                if matches!(port.fronts.get(&front), Some(Ok(_))) {
                    continue;
                }
                let said = port.fronts.remove(&front).and_then(Result::err);
                let opened = self.open(key, front, spec.protocol, &port.backend, &ports).await;
                if let Err(refusal) = &opened
                    && said.as_ref() != Some(refusal)
                {
                    self.complain(service, refusal);
                }
                port.fronts.insert(front, opened);
            }
            ports.insert(id, port);
        }
        if let Some(service) = &service {
            let outcome = |spec: &ServicePort| {
                let port = ports.get(&(spec.protocol, spec.port))?;
                port.fronts.get(&Front::Host(spec.port)).and_then(|front| front.as_ref().err()).map(|why| why.reason)
            };
            loadbalancer::report(&self.client, service, self.config.host_ip, outcome).await;
            self.services.insert(key.clone(), ports);
        }
        freed
    }

    fn wanted(&self, service: &Service, port: &ServicePort, served: bool) -> Vec<Front> {
        let mut fronts = Vec::new();
        if let Address::Cluster(ip) = service.address
            && served
            && !self.config.not_mine.contains(&ip)
        {
            fronts.push(Front::Inside(SocketAddrV4::new(ip, port.port)));
        }
        if service.exposure != Exposure::Inside {
            fronts.extend(port.node_port.map(Front::Host));
        }
        if service.exposure == Exposure::LoadBalancer {
            fronts.push(Front::Host(port.port));
        }
        fronts
    }

    async fn open(
        &self,
        key: &Key,
        front: Front,
        protocol: Protocol,
        backend: &Arc<Backend>,
        siblings: &HashMap<(Protocol, u16), Port>,
    ) -> Result<Open, Refusal> {
        let node = self.net.handle.clone();
        let (backend, pipes) = (backend.clone(), self.pipes.clone());
        let opened = match (front, protocol) {
            (Front::Inside(address), Protocol::Tcp) => {
                let listener = self.net.run(tcp::listen(address)).await.and_then(|bound| bound);
                listener.map(|listener| self.net.handle.spawn(tcp::accept(listener, backend, pipes, node)))
            }
            (Front::Inside(address), Protocol::Udp) => {
                let socket = self.net.run(UdpSocket::bind(address)).await.and_then(|bound| bound);
                socket.map(|socket| self.net.handle.spawn(udp::forward(socket, backend, node)))
            }
            (Front::Host(port), Protocol::Tcp) => tcp::listen(SocketAddrV4::new(self.config.host_ip, port))
                .await
                .map(|listener| tokio::spawn(tcp::accept(listener, backend, pipes, node))),
            (Front::Host(port), Protocol::Udp) => UdpSocket::bind((self.config.host_ip, port))
                .await
                .map(|socket| tokio::spawn(udp::forward(socket, backend, node))),
        };
        opened.map(|task| Open { task: AbortOnDropHandle::new(task) }).map_err(|error| {
            let holder = self.holder(key, front, protocol, siblings);
            refusal(front, self.config.host_ip, &error, holder)
        })
    }

    /// Which Service holds a front.
    fn holder(
        &self,
        key: &Key,
        front: Front,
        protocol: Protocol,
        siblings: &HashMap<(Protocol, u16), Port>,
    ) -> Option<Key> {
        let holds = |ports: &HashMap<(Protocol, u16), Port>| {
            ports.iter().any(|((of, _), port)| *of == protocol && matches!(port.fronts.get(&front), Some(Ok(_))))
        };
        if holds(siblings) {
            return Some(key.clone());
        }
        self.services.iter().find(|(_, ports)| holds(ports)).map(|(key, _)| key.clone())
    }

    fn complain(&self, service: &Service, refusal: &Refusal) {
        tracing::warn!(service = %service.key, "{}", refusal.message);
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Service".into()),
            namespace: Some(service.key.namespace.clone()),
            name: Some(service.key.name.clone()),
            uid: Some(service.uid.clone()),
            ..ObjectReference::default()
        };
        self.events.record(about, Severity::Warning, refusal.reason, refusal.message.clone());
    }
}

/// Closes a port if it is open; whether the host has it back.
async fn close((front, open): (Front, Result<Open, Refusal>)) -> bool {
    match open {
        Ok(open) => {
            open.close().await;
            matches!(front, Front::Host(_))
        }
        Err(_) => false,
    }
}

/// Why a port could not be opened, and what helps.
fn refusal(front: Front, host: Ipv4Addr, error: &io::Error, holder: Option<Key>) -> Refusal {
    let address = match front {
        Front::Inside(address) => address,
        Front::Host(port) => SocketAddrV4::new(host, port),
    };
    match (error.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(holder)) => Refusal {
            reason: "PortInUse",
            message: format!(
                "port {address} is held by the Service {holder}; use the node port, or give one of them another port"
            ),
        },
        (io::ErrorKind::AddrInUse, None) => Refusal {
            reason: "PortInUse",
            message: format!(
                "port {address} is held by another program of this machine; use the node port, or end that program"
            ),
        },
        (io::ErrorKind::PermissionDenied, _) => Refusal {
            reason: "PortForbidden",
            message: format!(
                "port {address} cannot be opened without privileges (net.ipv4.ip_unprivileged_port_start); use the node port"
            ),
        },
        (_, _) => Refusal { reason: "PortUnavailable", message: format!("port {address} cannot be opened: {error}") },
    }
}

#[cfg(test)]
mod tests;
