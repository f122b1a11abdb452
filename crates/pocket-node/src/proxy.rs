//! Service proxy for pods and for the host: a user-space proxy that picks an endpoint per connection.
//!
//! Every port of a Service has a `balance::Backend` for clients in the cluster and one for clients outside, which choose the
//! endpoint of the next connection, and listeners that feed them: at the Service's address in the node's network; at its node port on
//! the host's loopback; for a load balancer at its own port there. A change of endpoints changes the backend in place and takes
//! effect with the next connection. Established connections are not touched by anything: not by endpoints that leave, not by the
//! Service's deletion.
//!
//! The proxy is not kinder than kube-proxy: one endpoint is picked at random and tried once, and a port without endpoints refuses
//! connections. A port under the policy `Local` whose endpoints are all on other nodes refuses, too, where kube-proxy drops.

mod balance;
pub(crate) mod host_port;
mod listener;
mod loadbalancer;
mod splice;
mod tcp;
mod udp;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::{
    net::UdpSocket,
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    balance::Endpoints,
    listener::{Front, Port, PortListener, Refusal, close_all, refusal},
};
use crate::{
    cluster::{Address, Cluster, Exposure, Protocol, Service, ServicePort},
    events::{Recorder, Severity},
    net::NodeNet,
    watch::Key,
};

/// Settings of the proxy.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Name of the node, for events.
    pub node_name: String,
    /// Host address at which node ports and load balancers are opened.
    pub host_ip: Ipv4Addr,
    /// Service addresses at which other servers listen, such as the cluster's DNS server and the API server.
    pub not_mine: Vec<Ipv4Addr>,
    /// Least time between two rounds of changes: kube-proxy's `minSyncPeriod`, which is one second there. Zero follows every
    /// change at once.
    pub min_sync_period: Duration,
}

pub struct Proxy {
    client: Client,
    net: NodeNet,
    cluster: Arc<Cluster>,
    config: ProxyConfig,
}

/// State of everything that is open.
struct ProxyState {
    client: Client,
    net: NodeNet,
    cluster: Arc<Cluster>,
    config: ProxyConfig,
    events: Recorder,
    pipes: Arc<splice::Pipes>,
    services: BTreeMap<Key, HashMap<(Protocol, u16), Port>>,
}

/// Interval at which ports that other programs hold are tried again.
const RETRY: Duration = Duration::from_secs(15);

impl Proxy {
    /// Creates a proxy for the Services of a cluster, which the caller keeps up to date ([`Cluster::run`]).
    pub fn new(client: Client, net: NodeNet, cluster: Arc<Cluster>, config: ProxyConfig) -> Self {
        Self { client, net, cluster, config }
    }

    /// Runs until shutdown; then all ports are closed. The runtime that this runs on opens the host ports.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { client, net, cluster, config } = self;
        let (events, writer) = Recorder::new(client.clone(), "service-proxy", config.node_name.clone());
        let changes = cluster.subscribe();
        let state =
            ProxyState { client, net, cluster, config, events, pipes: Arc::default(), services: BTreeMap::new() };
        tokio::select! {
            () = state.run(changes) => {}
            () = writer => {}
            () = shutdown.cancelled() => {}
        }
    }
}

impl ProxyState {
    async fn run(mut self, mut changes: mpsc::UnboundedReceiver<Key>) {
        let mut changed = BTreeSet::new();
        // Changes that arrive before this instant are collected until then.
        let mut next = Instant::now();
        loop {
            let refused = self.services.values().flat_map(|ports| ports.values()).flat_map(|port| port.fronts.values());
            let again = refused.into_iter().any(Result::is_err);
            tokio::select! {
                biased;
                key = changes.recv() => match key {
                    Some(key) => drop(changed.insert(key)),
                    None => return,
                },
                () = sleep_until(next), if !changed.is_empty() => {
                    let mut freed = false;
                    for key in std::mem::take(&mut changed) {
                        freed |= self.reconcile(&key).await;
                    }
                    if freed {
                        // Another Service may wait for the port.
                        self.retry().await;
                    }
                    next = Instant::now() + self.config.min_sync_period;
                }
                () = sleep(RETRY), if again => self.retry().await,
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

    /// Brings a Service's ports in line with its spec; returns whether a port of the host was released.
    async fn reconcile(&mut self, key: &Key) -> bool {
        let service = self.cluster.service(key);
        let slices = self.cluster.slices(key);
        let mut former = self.services.remove(key).unwrap_or_default();
        let specs = service.as_ref().map(|service| service.ports.as_slice()).unwrap_or_default();
        let affinity = service.as_ref().and_then(|service| service.affinity);
        // Closes unwanted ports first, so that they are free for the wanted ones.
        let mut freed = false;
        let mut kept = HashMap::new();
        for spec in specs {
            let id = (spec.protocol, spec.port);
            if let Some(port) = former.remove(&id) {
                // A port stays open when the affinity changes.
                port.inside.set_affinity(affinity);
                port.outside.set_affinity(affinity);
                kept.insert(id, port);
            }
        }
        for port in former.into_values() {
            freed |= close_all(port.fronts).await;
        }
        let mut ports = HashMap::new();
        for spec in specs {
            let Some(service) = &service else { continue };
            let id = (spec.protocol, spec.port);
            let mut port = kept.remove(&id).unwrap_or_else(|| Port::new(service));
            let wanted = self.wanted(service, spec);
            let (keep, unwanted) = port.fronts.into_iter().partition(|(front, _)| wanted.contains(front));
            port.fronts = keep;
            freed |= close_all(unwanted).await;
            let inside = Endpoints::of(&slices, spec, service.internal, &self.config.node_name);
            let outside = Endpoints::of(&slices, spec, service.external, &self.config.node_name);
            let served = |front: &Front| match front {
                Front::Inside(_) => !inside.usable.is_empty(),
                Front::Host(_) => !outside.usable.is_empty(),
            };
            // A listener shuts before the endpoints leave it, so that connections that are established already still get one of those.
            for (_, listener) in port.fronts.iter_mut().filter(|(front, _)| !served(front)) {
                if let Ok(listener) = listener {
                    listener.shut().await;
                }
            }
            let open: Vec<(Front, bool)> = wanted.into_iter().map(|front| (front, served(&front))).collect();
            port.inside.set(inside);
            port.outside.set(outside);
            for (front, served) in open {
                let (former_refusal, listener) = match port.fronts.remove(&front) {
                    Some(Ok(listener)) => (None, Ok(listener)),
                    refused => {
                        let opened = self.open(key, front, spec.protocol, &port, &ports).await;
                        (refused.and_then(Result::err), opened)
                    }
                };
                let listener = match listener {
                    Ok(mut listener) if served => match listener.open() {
                        Ok(()) => Ok(listener),
                        Err(error) => {
                            listener.close().await;
                            Err(refusal(front, self.config.host_ip, &error, None))
                        }
                    },
                    Ok(mut listener) => {
                        listener.shut().await;
                        Ok(listener)
                    }
                    Err(refusal) => Err(refusal),
                };
                if let Err(refusal) = &listener
                    && former_refusal.as_ref() != Some(refusal)
                {
                    self.complain(service, refusal);
                }
                port.fronts.insert(front, listener);
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

    fn wanted(&self, service: &Service, port: &ServicePort) -> Vec<Front> {
        let mut fronts = Vec::new();
        if let Address::Cluster(ip) = service.address
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
        port: &Port,
        siblings: &HashMap<(Protocol, u16), Port>,
    ) -> Result<PortListener, Refusal> {
        let refuse = |error, holder| Err(refusal(front, self.config.host_ip, &error, holder));
        // Checked first, because the kernel lets a port be bound twice while neither socket listens.
        if let Some(holder) = self.holder(key, front, protocol, siblings) {
            return refuse(io::ErrorKind::AddrInUse.into(), Some(holder));
        }
        let node = self.net.handle.clone();
        let backend = port.backend(front).clone();
        let (address, home) = match front {
            Front::Inside(address) => (address, node.clone()),
            Front::Host(port) => (SocketAddrV4::new(self.config.host_ip, port), Handle::current()),
        };
        let inside = matches!(front, Front::Inside(_));
        match protocol {
            Protocol::Tcp => {
                let listener = match inside {
                    true => self.net.run(tcp::listen(address)).await.and_then(|bound| bound),
                    false => tcp::listen(address).await,
                };
                let relay = tcp::Relay { backend, pipes: self.pipes.clone(), node };
                match listener {
                    Ok(listener) => Ok(PortListener::Tcp(tcp::TcpPort::new(listener, home, relay))),
                    Err(error) => refuse(error, None),
                }
            }
            Protocol::Udp => {
                let socket = match inside {
                    true => self.net.run(UdpSocket::bind(address)).await.and_then(|bound| bound),
                    false => UdpSocket::bind(address).await,
                };
                match socket {
                    Ok(socket) => Ok(PortListener::Udp(udp::UdpPort::new(socket, &home, backend, node))),
                    Err(error) => refuse(error, None),
                }
            }
        }
    }

    /// Returns the Service that holds a front.
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

#[cfg(test)]
mod tests;
