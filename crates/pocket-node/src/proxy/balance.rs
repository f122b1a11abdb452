//! Choice of the endpoint for the next connection, as kube-proxy decides it (`pkg/proxy/topology.go`, Kubernetes 1.37).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddrV4},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use rand::seq::IndexedRandom;
use tokio::time::Instant;

use crate::{
    cluster::{Endpoint, Policy, Service, ServicePort, Slice},
    sync::{lock, read, write},
};

/// Endpoints of one port of a Service, as seen from one node under one traffic policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// Endpoints that take new connections: the ready ones, or, if none is, those that still serve while they terminate.
    pub(crate) usable: Vec<SocketAddrV4>,
    /// Endpoints that keep the UDP flows they have: all that serve, regardless of the policy for new ones.
    pub(crate) serving: Vec<SocketAddrV4>,
}

impl Endpoints {
    /// Sorts the endpoints of a Service's slices for one of its ports.
    pub(crate) fn of(slices: &[Arc<Slice>], port: &ServicePort, policy: Policy, node: &str) -> Self {
        let local = |endpoint: &Endpoint| policy == Policy::Cluster || endpoint.node.as_deref() == Some(node);
        let ready = filter(slices, port, |endpoint| endpoint.ready && local(endpoint));
        let usable = if ready.is_empty() {
            filter(slices, port, |endpoint| endpoint.serving && endpoint.terminating && local(endpoint))
        } else {
            ready
        };
        Self { usable, serving: filter(slices, port, |endpoint| endpoint.serving) }
    }
}

fn filter(slices: &[Arc<Slice>], port: &ServicePort, wanted: impl Fn(&Endpoint) -> bool) -> Vec<SocketAddrV4> {
    let mut found = Vec::new();
    for slice in slices {
        let target = slice.ports.iter().find(|(name, protocol, _)| *name == port.name && *protocol == port.protocol);
        let Some((_, _, number)) = target else { continue };
        let endpoints = slice.endpoints.iter().filter(|endpoint| wanted(endpoint));
        found.extend(endpoints.map(|endpoint| SocketAddrV4::new(endpoint.ip, *number)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Endpoints of one port of a Service, and the clients that stay with their endpoint.
#[derive(Debug)]
pub(crate) struct Backend {
    endpoints: RwLock<Arc<Endpoints>>,
    /// `sessionAffinity: ClientIP`.
    affinity: Mutex<Option<Affinity>>,
}

#[derive(Debug)]
struct Affinity {
    lasts: Duration,
    clients: HashMap<IpAddr, (SocketAddrV4, Instant)>,
}

impl Backend {
    /// Creates the backend of a Service, without endpoints yet.
    pub(crate) fn new(service: &Service) -> Self {
        let backend = Self { endpoints: RwLock::default(), affinity: Mutex::default() };
        backend.set_affinity(service.affinity);
        backend
    }

    /// Creates the backend of a host port: one fixed endpoint.
    pub(crate) fn of_pod(endpoint: SocketAddrV4) -> Self {
        let endpoints = Endpoints { usable: vec![endpoint], serving: vec![endpoint] };
        Self { endpoints: RwLock::new(endpoints.into()), affinity: Mutex::default() }
    }

    /// Replaces the session affinity. An unchanged affinity keeps its clients.
    pub(crate) fn set_affinity(&self, lasts: Option<Duration>) {
        let mut affinity = lock(&self.affinity);
        if affinity.as_ref().map(|affinity| affinity.lasts) != lasts {
            *affinity = lasts.map(|lasts| Affinity { lasts, clients: HashMap::new() });
        }
    }

    /// Replaces the endpoints. Established connections are not touched.
    pub(crate) fn set(&self, endpoints: Endpoints) {
        if **read(&self.endpoints) != endpoints {
            *write(&self.endpoints) = endpoints.into();
        }
    }

    /// Returns whether a UDP flow to an endpoint continues.
    pub(crate) fn keeps(&self, endpoint: SocketAddrV4) -> bool {
        read(&self.endpoints).serving.contains(&endpoint)
    }

    /// Picks the endpoint for one connection of a client: at random, since kube-proxy's rules keep no order either, and only once,
    /// since those rules do not check whether the endpoint answers.
    pub(crate) fn pick(&self, client: IpAddr) -> Option<SocketAddrV4> {
        let endpoints = read(&self.endpoints).clone();
        let random = || endpoints.usable.choose(&mut rand::rng()).copied();
        let mut affinity = lock(&self.affinity);
        let Some(Affinity { lasts, clients }) = affinity.as_mut() else {
            drop(affinity);
            return random();
        };
        let now = Instant::now();
        let stays =
            clients.get(&client).filter(|(endpoint, until)| *until > now && endpoints.usable.contains(endpoint));
        let picked = stays.map(|(endpoint, _)| *endpoint).or_else(random)?;
        if clients.len() > 4096 {
            clients.retain(|_, (_, until)| *until > now);
        }
        // Every connection prolongs the affinity.
        clients.insert(client, (picked, now + *lasts));
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{Address, Exposure, Protocol},
        watch::Key,
    };
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn endpoint(last: u8, node: &str, ready: bool, serving: bool, terminating: bool) -> Endpoint {
        let node = Some(node.to_owned()).filter(|node| !node.is_empty());
        Endpoint { ip: Ipv4Addr::new(10, 0, 0, last), ready, serving, terminating, hostname: None, node }
    }

    fn service(affinity: Option<Duration>) -> Service {
        Service {
            key: Key::new("n", "s"),
            uid: String::new(),
            address: Address::None,
            exposure: Exposure::Inside,
            ports: Vec::new(),
            affinity,
            internal: Policy::Cluster,
            external: Policy::Cluster,
            publish_not_ready: false,
            ingress: Vec::new(),
        }
    }

    fn at(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port)
    }

    fn usable(endpoints: &[SocketAddrV4]) -> Endpoints {
        Endpoints { usable: endpoints.to_vec(), serving: endpoints.to_vec() }
    }

    #[test]
    fn which_endpoints_take_connections() {
        let port = |name: &str| ServicePort { name: name.into(), protocol: Protocol::Tcp, port: 80, node_port: None };
        let slice = |endpoints: &[&Endpoint]| {
            Arc::new(Slice {
                ports: vec![("http".into(), Protocol::Tcp, 8080), ("m".into(), Protocol::Tcp, 9090)],
                endpoints: endpoints.iter().map(|endpoint| (*endpoint).clone()).collect(),
            })
        };
        let up = endpoint(1, "here", true, true, false);
        let starting = endpoint(2, "here", false, false, false);
        let ending = endpoint(3, "here", false, true, true);
        let dead = endpoint(4, "here", false, false, true);
        let away = endpoint(5, "there", true, true, false);
        let nowhere = endpoint(6, "", true, true, false);
        let published = endpoint(7, "here", true, false, true);
        let (all, local) = (Policy::Cluster, Policy::Local);
        for (slices, name, policy, expected) in [
            (vec![slice(&[&up, &starting, &ending])], "http", all, vec![at(1, 8080)]),
            (vec![slice(&[&up])], "m", all, vec![at(1, 9090)]),
            (vec![slice(&[&up])], "other", all, vec![]),
            (vec![slice(&[&starting, &ending, &dead])], "http", all, vec![at(3, 8080)]),
            (vec![slice(&[&starting])], "http", all, vec![]),
            (vec![slice(&[&up]), slice(&[&up])], "http", all, vec![at(1, 8080)]),
            (vec![slice(&[&up, &away, &nowhere])], "http", all, vec![at(1, 8080), at(5, 8080), at(6, 8080)]),
            (vec![slice(&[&up, &away, &nowhere])], "http", local, vec![at(1, 8080)]),
            (vec![slice(&[&ending, &away])], "http", all, vec![at(5, 8080)]),
            (vec![slice(&[&ending, &away])], "http", local, vec![at(3, 8080)]),
            (vec![slice(&[&away, &nowhere])], "http", local, vec![]),
            // With `publishNotReadyAddresses` the slice reports them as ready, regardless of their other conditions.
            (vec![slice(&[&published])], "http", all, vec![at(7, 8080)]),
        ] {
            assert_eq!(Endpoints::of(&slices, &port(name), policy, "here").usable, expected);
        }
        let serving =
            Endpoints::of(&[slice(&[&up, &starting, &ending, &dead, &away])], &port("m"), local, "here").serving;
        assert_eq!(serving, [at(1, 9090), at(3, 9090), at(5, 9090)]);
    }

    #[test]
    fn picks_at_random() {
        let backend = Backend::new(&service(None));
        assert_eq!(backend.pick(CLIENT), None);
        backend.set(usable(&[at(1, 1), at(2, 1), at(3, 1)]));
        let mut counts = HashMap::new();
        for _ in 0..3000 {
            *counts.entry(backend.pick(CLIENT).unwrap()).or_insert(0) += 1;
        }
        // The bounds are ten standard deviations wide.
        assert!(counts.len() == 3 && counts.values().all(|count| (740..1260).contains(count)), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_stay_with_their_endpoint() {
        let backend = Backend::new(&service(Some(Duration::from_secs(60))));
        let all: Vec<_> = (1..=100).map(|last| at(last, 1)).collect();
        backend.set(usable(&all));
        let first = backend.pick(CLIENT).unwrap();
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert_eq!(backend.pick(CLIENT), Some(first), "each connection prolongs it");
        }
        let other = all.iter().copied().find(|endpoint| *endpoint != first).unwrap();
        backend.set(usable(&[other]));
        assert_eq!(backend.pick(CLIENT), Some(other), "its endpoint is gone");
        backend.set(usable(&[first, other]));
        assert_eq!(backend.pick(CLIENT), Some(other), "and it stays with the new one");
        backend.set(usable(&all));
        tokio::time::advance(Duration::from_secs(61)).await;
        let mut picks = std::collections::HashSet::new();
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(61)).await;
            picks.insert(backend.pick(CLIENT).unwrap());
        }
        assert!(picks.len() > 1, "forgotten, it gets any");
        let stays = backend.pick(CLIENT).unwrap();
        backend.set_affinity(Some(Duration::from_secs(60)));
        assert_eq!(backend.pick(CLIENT), Some(stays), "an affinity that stays keeps its clients");
        backend.set_affinity(None);
        let free: std::collections::HashSet<_> = (0..20).map(|_| backend.pick(CLIENT).unwrap()).collect();
        assert!(free.len() > 1, "without affinity it gets any");
    }
}
