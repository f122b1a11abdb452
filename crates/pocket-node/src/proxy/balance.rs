//! Which endpoint gets the next connection. Pure but for the turn it keeps.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddrV4},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cluster::{Service, ServicePort, Slice},
    sync::{lock, read, write},
};

/// The endpoints that take new connections for a port of a Service: the ready ones, or, if none is, those that still serve while
/// they end.
pub(crate) fn endpoints(slices: &[Arc<Slice>], port: &ServicePort) -> Vec<SocketAddrV4> {
    let of = |wanted: fn(&crate::cluster::Endpoint) -> bool| {
        let mut found: Vec<_> = slices
            .iter()
            .flat_map(|slice| {
                let target = slice
                    .ports
                    .iter()
                    .find(|(name, protocol, _)| *name == port.name && *protocol == port.protocol)
                    .map(|(_, _, number)| *number);
                slice
                    .endpoints
                    .iter()
                    .filter(move |endpoint| wanted(endpoint))
                    .filter_map(move |endpoint| Some(SocketAddrV4::new(endpoint.ip, target?)))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let ready = of(|endpoint| endpoint.ready);
    if ready.is_empty() { of(|endpoint| endpoint.serving && endpoint.terminating) } else { ready }
}

/// The endpoints of one port of a Service, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Backend {
    endpoints: RwLock<Arc<[SocketAddrV4]>>,
    turn: AtomicUsize,
    /// `sessionAffinity: ClientIP`.
    affinity: Option<Affinity>,
}

#[derive(Debug)]
struct Affinity {
    lasts: Duration,
    clients: Mutex<HashMap<IpAddr, (SocketAddrV4, Instant)>>,
}

impl Backend {
    /// Of a Service, without endpoints yet.
    pub(crate) fn new(service: &Service) -> Self {
        Self {
            endpoints: RwLock::new(Arc::new([])),
            // Services do not all begin with the same pod.
            turn: AtomicUsize::new(rand::random::<u16>().into()),
            affinity: service.affinity.map(|lasts| Affinity { lasts, clients: Mutex::default() }),
        }
    }

    /// The affinity it was made for.
    pub(crate) fn affinity(&self) -> Option<Duration> {
        self.affinity.as_ref().map(|affinity| affinity.lasts)
    }

    /// From now on, these. Connections that stand are not touched.
    pub(crate) fn set(&self, endpoints: Vec<SocketAddrV4>) {
        if **read(&self.endpoints) != *endpoints {
            *write(&self.endpoints) = endpoints.into();
        }
    }

    /// The endpoints.
    pub(crate) fn endpoints(&self) -> Arc<[SocketAddrV4]> {
        read(&self.endpoints).clone()
    }

    /// The endpoint for a connection of this client, other than those it has tried in vain.
    pub(crate) fn pick(&self, client: IpAddr, tried: &[SocketAddrV4]) -> Option<SocketAddrV4> {
        let endpoints = self.endpoints();
        let mut picked = None;
        if let Some(affinity) = &self.affinity {
            let now = Instant::now();
            let mut clients = lock(&affinity.clients);
            picked = clients
                .get(&client)
                .filter(|(endpoint, until)| *until > now && endpoints.contains(endpoint) && !tried.contains(endpoint))
                .map(|(endpoint, _)| *endpoint);
            if clients.len() > 4096 {
                clients.retain(|_, (_, until)| *until > now);
            }
        }
        if picked.is_none() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            picked = (0..endpoints.len())
                .map(|step| endpoints[turn.wrapping_add(step) % endpoints.len()])
                .find(|endpoint| !tried.contains(endpoint));
        }
        if let (Some(affinity), Some(endpoint)) = (&self.affinity, picked) {
            lock(&affinity.clients).insert(client, (endpoint, Instant::now() + affinity.lasts));
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{Address, Endpoint, Exposure, Protocol},
        watch::Key,
    };
    use std::net::Ipv4Addr;

    fn endpoint(last: u8, ready: bool, serving: bool, terminating: bool) -> Endpoint {
        Endpoint { ip: Ipv4Addr::new(10, 0, 0, last), ready, serving, terminating, hostname: None }
    }

    fn service(affinity: Option<Duration>) -> Service {
        Service {
            key: Key::new("n", "s"),
            uid: String::new(),
            address: Address::None,
            exposure: Exposure::Inside,
            ports: Vec::new(),
            affinity,
            publish_not_ready: false,
            ingress: Vec::new(),
        }
    }

    fn at(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port)
    }

    #[test]
    fn chooses_who_takes_connections() {
        let port = |name: &str| ServicePort { name: name.into(), protocol: Protocol::Tcp, port: 80, node_port: None };
        let slice = |endpoints: Vec<Endpoint>| {
            Arc::new(Slice {
                ports: vec![("http".into(), Protocol::Tcp, 8080), ("m".into(), Protocol::Tcp, 9090)],
                endpoints,
            })
        };
        let up = endpoint(1, true, true, false);
        let starting = endpoint(2, false, false, false);
        let ending = endpoint(3, false, true, true);
        let dead = endpoint(4, false, false, true);
        for (slices, name, expected) in [
            (vec![slice(vec![up.clone(), starting.clone(), ending.clone()])], "http", vec![at(1, 8080)]),
            (vec![slice(vec![up.clone()])], "m", vec![at(1, 9090)]),
            (vec![slice(vec![up.clone()])], "other", vec![]),
            (vec![slice(vec![starting.clone(), ending.clone(), dead])], "http", vec![at(3, 8080)]),
            (vec![slice(vec![starting])], "http", vec![]),
            (vec![slice(vec![up.clone()]), slice(vec![up])], "http", vec![at(1, 8080)]),
        ] {
            assert_eq!(endpoints(&slices, &port(name)), expected);
        }
    }

    #[test]
    fn takes_turns_and_avoids_who_failed() {
        let backend = Backend::new(&service(None));
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(backend.pick(client, &[]), None);
        backend.set(vec![at(1, 1), at(2, 1), at(3, 1)]);
        let mut counts = HashMap::new();
        for _ in 0..30 {
            *counts.entry(backend.pick(client, &[]).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
        for _ in 0..3 {
            assert_eq!(backend.pick(client, &[at(1, 1), at(3, 1)]), Some(at(2, 1)));
        }
        assert_eq!(backend.pick(client, &[at(1, 1), at(2, 1), at(3, 1)]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_stay_with_their_endpoint() {
        let backend = Backend::new(&service(Some(Duration::from_secs(60))));
        backend.set(vec![at(1, 1), at(2, 1)]);
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let first = backend.pick(client, &[]).unwrap();
        for _ in 0..5 {
            assert_eq!(backend.pick(client, &[]), Some(first));
        }
        let other = if first == at(1, 1) { at(2, 1) } else { at(1, 1) };
        backend.set(vec![other]);
        assert_eq!(backend.pick(client, &[]), Some(other), "its endpoint is gone");
        backend.set(vec![first, other]);
        assert_eq!(backend.pick(client, &[]), Some(other), "and it stays with the new one");
        tokio::time::advance(Duration::from_secs(61)).await;
        let picks: Vec<_> = (0..2)
            .map(|_| {
                lock(&backend.affinity.as_ref().unwrap().clients).clear();
                backend.pick(client, &[]).unwrap()
            })
            .collect();
        assert_ne!(picks[0], picks[1], "forgotten, it takes its turn");
    }
}
