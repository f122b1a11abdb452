//! Services and their endpoints, as the proxy, the DNS server and the kubelet need them: one watch for all three.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::{Api, Client, ResourceExt, runtime::watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    sync::{lock, read, write},
    watch::{Change, Key, follow},
};

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Parses the API's `protocol`. Returns `None` for a protocol that is not proxied (neither `UDP` nor `TCP`).
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }

    /// Returns the API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Kind of address at which clients reach a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Cluster IP.
    Cluster(Ipv4Addr),
    /// Addresses of the Service's pods.
    Headless,
    /// Name that the Service is an alias for.
    External(String),
    /// No address (yet).
    None,
}

/// Ports that a Service opens on the node, beyond its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// None.
    Inside,
    /// Node ports.
    NodePort,
    /// Node ports, and the Service's own ports.
    LoadBalancer,
}

/// Endpoints that a Service's traffic may reach: `internalTrafficPolicy`, `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Endpoints on the node at which the traffic arrives.
    Local,
}

impl Policy {
    fn parse(text: Option<&str>) -> Self {
        if text == Some("Local") { Self::Local } else { Self::Cluster }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Namespace and name.
    pub key: Key,
    pub uid: String,
    /// Kind of address at which clients reach the Service.
    pub address: Address,
    /// Ports that the Service opens on the node.
    pub exposure: Exposure,
    pub ports: Vec<ServicePort>,
    /// Duration of `sessionAffinity: ClientIP`; `None` without affinity.
    pub affinity: Option<Duration>,
    /// Policy for clients in the cluster.
    pub internal: Policy,
    /// Policy for clients outside.
    pub external: Policy,
    /// Pods that are not ready count as endpoints, too.
    pub publish_not_ready: bool,
    /// Load balancer ingress points of the Service's status.
    pub ingress: Vec<core::LoadBalancerIngress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty for the only port of a Service.
    pub name: String,
    pub protocol: Protocol,
    /// Port at the Service's address.
    pub port: u16,
    /// Port on the node.
    pub node_port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    /// Endpoint takes new connections.
    pub ready: bool,
    /// Endpoint would take new connections if it were not terminating.
    pub serving: bool,
    pub terminating: bool,
    /// Host name under the Service's name.
    pub hostname: Option<String>,
    /// Name of the endpoint's node.
    pub node: Option<String>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Port name, protocol, number.
    pub ports: Vec<(String, Protocol, u16)>,
    /// Endpoints; each has all the ports.
    pub endpoints: Vec<Endpoint>,
}

/// All Services and EndpointSlices, kept up to date by [`Cluster::run`].
#[derive(Debug, Default)]
pub struct Cluster {
    state: RwLock<ClusterState>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<Key>>>,
}

#[derive(Debug, Default)]
struct ClusterState {
    services: BTreeMap<Key, Arc<Service>>,
    /// By Service, then by name of the slice.
    slices: HashMap<Key, BTreeMap<String, Arc<Slice>>>,
    /// Service that each slice belongs to, by slice.
    owners: HashMap<Key, Key>,
}

impl Cluster {
    /// Creates an empty cluster.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Watches Services and EndpointSlices until shutdown.
    pub async fn run(self: Arc<Self>, client: Client, shutdown: CancellationToken) {
        let services =
            follow(Api::<core::Service>::all(client.clone()), watcher::Config::default(), |change| match change {
                Change::Put(service) => self.put_service(&service),
                Change::Gone(key) => self.remove_service(&key),
                Change::Synced => {}
            });
        let slices =
            follow(Api::<discovery::EndpointSlice>::all(client), watcher::Config::default(), |change| match change {
                Change::Put(slice) => self.put_slice(&slice),
                Change::Gone(key) => self.remove_slice(&key),
                Change::Synced => {}
            });
        tokio::select! {
            () = services => {}
            () = slices => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Returns a channel of keys of Services that changed or whose endpoints changed. Begins with the keys of all Services.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Key> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // One lock of the state covers both the first keys and the registration, so no change is missed in between.
        let state = read(&self.state);
        for key in state.services.keys() {
            // Cannot fail: the receiver still exists.
            let _ = sender.send(key.clone());
        }
        lock(&self.listeners).push(sender);
        receiver
    }

    pub fn service(&self, key: &Key) -> Option<Arc<Service>> {
        read(&self.state).services.get(key).cloned()
    }

    pub fn services_in(&self, namespace: &str) -> Vec<Arc<Service>> {
        let from = Key::new(namespace, "");
        let state = read(&self.state);
        state
            .services
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, service)| service.clone())
            .collect()
    }

    pub fn services(&self) -> Vec<Arc<Service>> {
        read(&self.state).services.values().cloned().collect()
    }

    pub fn slices(&self, service: &Key) -> Vec<Arc<Slice>> {
        read(&self.state).slices.get(service).map(|slices| slices.values().cloned().collect()).unwrap_or_default()
    }

    /// Finds the Service at an address, or the headless Service with an endpoint at it, and then also the endpoint's host name.
    pub fn at_address(&self, ip: Ipv4Addr) -> Option<(Key, Option<String>)> {
        let state = read(&self.state);
        if let Some(service) = state.services.values().find(|service| service.address == Address::Cluster(ip)) {
            return Some((service.key.clone(), None));
        }
        state.slices.iter().find_map(|(service, slices)| {
            let headless = state.services.get(service).is_some_and(|service| service.address == Address::Headless);
            let endpoint = slices.values().flat_map(|slice| &slice.endpoints).find(|endpoint| endpoint.ip == ip)?;
            headless.then(|| (service.clone(), Some(host_label(endpoint))))
        })
    }

    /// Stores a Service.
    pub fn put_service(&self, object: &core::Service) {
        let service = Arc::new(parse_service(object));
        let key = service.key.clone();
        let before = write(&self.state).services.insert(key.clone(), service.clone());
        if before.as_ref() != Some(&service) {
            self.notify(&key);
        }
    }

    pub fn remove_service(&self, key: &Key) {
        write(&self.state).services.remove(key);
        self.notify(key);
    }

    pub fn put_slice(&self, object: &discovery::EndpointSlice) {
        let key = Key::of(object);
        let owner = object
            .labels()
            .get("kubernetes.io/service-name")
            .filter(|_| object.address_type == "IPv4")
            .map(|service| Key::new(key.namespace.clone(), service));
        let Some(owner) = owner else {
            return self.remove_slice(&key);
        };
        let slice = Arc::new(parse_slice(object));
        let mut state = write(&self.state);
        if let Some(former) = state.owners.insert(key.clone(), owner.clone())
            && former != owner
            && let Some(slices) = state.slices.get_mut(&former)
        {
            slices.remove(&key.name);
        }
        let before = state.slices.entry(owner.clone()).or_default().insert(key.name, slice.clone());
        drop(state);
        if before.as_ref() != Some(&slice) {
            self.notify(&owner);
        }
    }

    pub fn remove_slice(&self, key: &Key) {
        let mut state = write(&self.state);
        let Some(owner) = state.owners.remove(key) else {
            return;
        };
        if let Some(slices) = state.slices.get_mut(&owner) {
            slices.remove(&key.name);
            if slices.is_empty() {
                state.slices.remove(&owner);
            }
        }
        drop(state);
        self.notify(&owner);
    }

    fn notify(&self, key: &Key) {
        lock(&self.listeners).retain(|listener| listener.send(key.clone()).is_ok());
    }
}

/// Returns the name of an endpoint under its Service's name: its host name, or its address with dashes.
pub fn host_label(endpoint: &Endpoint) -> String {
    endpoint.hostname.clone().unwrap_or_else(|| endpoint.ip.to_string().replace('.', "-"))
}

fn parse_service(object: &core::Service) -> Service {
    let spec = object.spec.clone().unwrap_or_default();
    let address = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
        (Some("ExternalName"), _) => Address::External(spec.external_name.unwrap_or_default()),
        (_, Some("None")) => Address::Headless,
        (_, Some(ip)) => ip.parse().map_or(Address::None, Address::Cluster),
        (_, None) => Address::None,
    };
    let exposure = match spec.type_.as_deref() {
        Some("NodePort") => Exposure::NodePort,
        Some("LoadBalancer") => Exposure::LoadBalancer,
        _ => Exposure::Inside,
    };
    let ports = spec
        .ports
        .unwrap_or_default()
        .into_iter()
        .filter_map(|port| {
            Some(ServicePort {
                name: port.name.unwrap_or_default(),
                protocol: Protocol::parse(port.protocol.as_deref())?,
                port: u16::try_from(port.port).ok()?,
                node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
            })
        })
        .collect();
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let seconds = spec.session_affinity_config.and_then(|config| config.client_ip).and_then(|c| c.timeout_seconds);
        Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10_800))
    });
    Service {
        key: Key::of(object),
        uid: object.uid().unwrap_or_default(),
        address,
        exposure,
        ports,
        affinity,
        internal: Policy::parse(spec.internal_traffic_policy.as_deref()),
        external: Policy::parse(spec.external_traffic_policy.as_deref()),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        ingress: object
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref()?.ingress.clone())
            .unwrap_or_default(),
    }
}

fn parse_slice(object: &discovery::EndpointSlice) -> Slice {
    let ports = object
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let number = port.port.and_then(|port| u16::try_from(port).ok())?;
            Some((port.name.clone().unwrap_or_default(), Protocol::parse(port.protocol.as_deref())?, number))
        })
        .collect();
    let endpoints = object
        .endpoints
        .iter()
        .filter_map(|endpoint| {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // A missing `ready` means true, and a missing `serving` means the value of `ready`.
            let ready = conditions.ready.unwrap_or(true);
            Some(Endpoint {
                ip: endpoint.addresses.first()?.parse().ok()?,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                hostname: endpoint.hostname.clone().filter(|name| !name.is_empty()),
                node: endpoint.node_name.clone(),
            })
        })
        .collect();
    Slice { ports, endpoints }
}
