//! Tests of the proxy on loopback addresses that no other test uses, and ports that need no privilege.

use std::time::Duration;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::*;

struct Lab {
    cluster: Arc<Cluster>,
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Lab {
    fn new(host_ip: [u8; 4]) -> Self {
        Self::lagging(host_ip, Duration::ZERO)
    }

    fn lagging(host_ip: [u8; 4], min_sync_period: Duration) -> Self {
        let client = pocket_api::Api::new(pocket_api::Options::default()).unwrap().client("default");
        let cluster = Cluster::new();
        let net = NodeNet { handle: tokio::runtime::Handle::current(), node_ip: [127, 0, 0, 1].into() };
        let config =
            ProxyConfig { node_name: "pocket".into(), host_ip: host_ip.into(), not_mine: Vec::new(), min_sync_period };
        let shutdown = CancellationToken::new();
        tokio::spawn(Proxy::new(client.clone(), net, cluster.clone(), config).run(shutdown.clone()));
        Self { cluster, client, shutdown }
    }

    fn service(&self, name: &str, spec: serde_json::Value) {
        let service: core::Service = serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec}),
        )
        .unwrap();
        self.cluster.put_service(&service);
    }

    /// Sets the endpoints of a Service: all on 127.0.0.1, so each port has its own slice.
    fn endpoints(&self, name: &str, protocol: &str, ports: &[u16]) {
        for slot in 0..4 {
            let slice = format!("{name}-{slot}");
            match ports.get(slot) {
                Some(port) => self.cluster.put_slice(
                    &serde_json::from_value::<discovery::EndpointSlice>(json!({
                        "metadata": {"name": slice, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
                        "addressType": "IPv4", "ports": [{"name": "", "port": port, "protocol": protocol}],
                        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
                    }))
                    .unwrap(),
                ),
                None => self.cluster.remove_slice(&Key::new("default", slice)),
            }
        }
    }
}

/// Starts a server that greets with its name and then echoes until the client has sent everything. Returns its port.
async fn server(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                write.write_all(name.as_bytes()).await?;
                tokio::io::copy(&mut read, &mut write).await?;
                write.write_all(b"bye").await
            });
        }
    });
    port
}

async fn connect(address: (&str, u16)) -> TcpStream {
    for _ in 0..500 {
        if let Ok(stream) = TcpStream::connect(address).await {
            return stream;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody listens at {address:?}");
}

async fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut text = vec![0; length];
    timeout(Duration::from_secs(10), stream.read_exact(&mut text)).await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

async fn refused(address: (&str, u16)) {
    for _ in 0..500 {
        if TcpStream::connect(address).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("somebody still listens at {address:?}");
}

#[tokio::test]
async fn connections_outlive_every_change() {
    let lab = Lab::new([127, 77, 1, 1]);
    let (a, b) = (server("a").await, server("b").await);
    let address = ("127.77.1.2", 8000);
    lab.service("s", json!({"clusterIP": "127.77.1.2", "ports": [{"port": 8000}]}));
    refused(address).await;
    lab.endpoints("s", "TCP", &[a]);
    let mut old = connect(address).await;
    assert_eq!(read(&mut old, 1).await, "a");
    lab.endpoints("s", "TCP", &[b]);
    // The change takes effect as soon as the proxy has read it.
    let mut fresh = loop {
        let mut stream = connect(address).await;
        if read(&mut stream, 1).await == "b" {
            break stream;
        }
        sleep(Duration::from_millis(5)).await;
    };
    lab.endpoints("s", "TCP", &[]);
    refused(address).await;
    lab.cluster.remove_service(&Key::new("default", "s"));
    for (stream, text) in [(&mut old, "still here"), (&mut fresh, "me too")] {
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(read(stream, text.len()).await, text);
        // One side closes its direction, and the other continues.
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "bye");
    }
}

#[tokio::test]
async fn endpoints_that_come_and_go_leave_no_gap() {
    let lab = Lab::new([127, 77, 8, 1]);
    let port = server("a").await;
    lab.service("s", json!({"clusterIP": "127.77.8.2", "ports": [{"port": 8000}]}));
    for _ in 0..50 {
        lab.endpoints("s", "TCP", &[]);
        tokio::task::yield_now().await;
        lab.endpoints("s", "TCP", &[port]);
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut connect(("127.77.8.2", 8000)).await, 1).await, "a");
}

#[tokio::test]
async fn every_byte_arrives_both_ways() {
    let lab = Lab::new([127, 77, 2, 1]);
    let port = server("").await;
    lab.service("s", json!({"clusterIP": "127.77.2.2", "ports": [{"port": 8000}]}));
    lab.endpoints("s", "TCP", &[port]);
    let stream = connect(("127.77.2.2", 8000)).await;
    let (mut read, mut write) = stream.into_split();
    const SIZE: usize = 24 << 20;
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
    let writer = tokio::spawn(async move {
        let data: Vec<u8> = (0..SIZE).map(byte).collect();
        // The pieces have odd sizes, which mean nothing to the proxy.
        let mut rest = data.as_slice();
        let mut piece = 1;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            write.write_all(now).await.unwrap();
            rest = later;
            piece = piece * 7 % 1_000_003 + 1;
        }
        write.shutdown().await.unwrap();
    });
    let mut all = Vec::new();
    timeout(Duration::from_secs(120), read.read_to_end(&mut all)).await.unwrap().unwrap();
    writer.await.unwrap();
    assert_eq!(all.len(), SIZE + 3);
    assert!(all[..SIZE].iter().enumerate().all(|(at, found)| *found == byte(at)));
}

/// Outcome of one connection: the server's name, or the error that the client sees.
async fn meets(address: (&str, u16)) -> Result<char, io::ErrorKind> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.kind())?;
    let byte = timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap();
    byte.map(char::from).map_err(|error| error.kind())
}

/// Returns a port where no server listens.
async fn closed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn an_endpoint_that_refuses_fails_its_connections() {
    let lab = Lab::new([127, 77, 3, 1]);
    let (good, bad) = (server("g").await, closed().await);
    let address = ("127.77.3.2", 8000);
    lab.service("s", json!({"clusterIP": "127.77.3.2", "ports": [{"port": 8000}]}));
    lab.endpoints("s", "TCP", &[bad, good]);
    drop(connect(address).await);
    let mut met = HashMap::new();
    for _ in 0..200 {
        *met.entry(meets(address).await.map_err(|error| error.to_string())).or_insert(0) += 1;
    }
    let reset = io::ErrorKind::ConnectionReset.to_string();
    assert_eq!(met.len(), 2, "{met:?}");
    assert!(met[&Ok('g')] > 40 && met[&Err(reset)] > 40, "each connection has one endpoint: {met:?}");
}

#[tokio::test]
async fn an_affinity_to_an_endpoint_that_refuses_stays() {
    let lab = Lab::new([127, 77, 9, 1]);
    let (good, bad) = (server("g").await, closed().await);
    let address = ("127.77.9.2", 8000);
    let spec = json!({"clusterIP": "127.77.9.2", "ports": [{"port": 8000}], "sessionAffinity": "ClientIP"});
    lab.service("s", spec);
    lab.endpoints("s", "TCP", &[bad]);
    drop(connect(address).await);
    assert_eq!(meets(address).await, Err(io::ErrorKind::ConnectionReset));
    lab.endpoints("s", "TCP", &[bad, good]);
    sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        assert_eq!(meets(address).await, Err(io::ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn without_endpoints_connections_are_refused_everywhere() {
    let lab = Lab::new([127, 77, 10, 1]);
    let port = server("a").await;
    let ports = json!([{"port": 8080, "nodePort": 30_001}]);
    lab.service("s", json!({"type": "LoadBalancer", "clusterIP": "127.77.10.2", "ports": ports}));
    let addresses = [("127.77.10.2", 8080), ("127.77.10.1", 30_001), ("127.77.10.1", 8080)];
    for _ in 0..3 {
        lab.endpoints("s", "TCP", &[port]);
        for address in addresses {
            assert_eq!(read(&mut connect(address).await, 1).await, "a");
        }
        lab.endpoints("s", "TCP", &[]);
        for address in addresses {
            refused(address).await;
        }
    }
    // The ports stay reserved: another Service does not get them.
    lab.service("t", json!({"type": "LoadBalancer", "clusterIP": "127.77.10.3", "ports": ports}));
    lab.endpoints("t", "TCP", &[port]);
    assert_eq!(read(&mut connect(("127.77.10.3", 8080)).await, 1).await, "a");
    sleep(Duration::from_millis(100)).await;
    refused(("127.77.10.1", 30_001)).await;
    lab.cluster.remove_service(&Key::new("default", "s"));
    assert_eq!(read(&mut connect(("127.77.10.1", 30_001)).await, 1).await, "a");
}

#[tokio::test]
async fn a_local_policy_leaves_other_nodes_out() {
    let lab = Lab::new([127, 77, 11, 1]);
    let (here, there) = (server("h").await, server("t").await);
    let slice = |name: &str, port: u16, node: &str| {
        serde_json::from_value::<discovery::EndpointSlice>(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}, "nodeName": node}],
        }))
        .unwrap()
    };
    let spec = |policy: &str| {
        json!({"type": "NodePort", "clusterIP": "127.77.11.2", "internalTrafficPolicy": policy,
            "externalTrafficPolicy": policy, "ports": [{"port": 8080, "nodePort": 30_001}]})
    };
    let addresses = [("127.77.11.2", 8080), ("127.77.11.1", 30_001)];
    lab.service("s", spec("Local"));
    lab.cluster.put_slice(&slice("there", there, "other"));
    sleep(Duration::from_millis(100)).await;
    for address in addresses {
        refused(address).await;
    }
    lab.cluster.put_slice(&slice("here", here, "pocket"));
    for address in addresses {
        drop(connect(address).await);
        for _ in 0..20 {
            assert_eq!(meets(address).await, Ok('h'));
        }
    }
    lab.service("s", spec("Cluster"));
    for address in addresses {
        while meets(address).await != Ok('t') {}
    }
}

#[tokio::test]
async fn changes_are_gathered_for_the_sync_period() {
    let period = Duration::from_secs(2);
    let lab = Lab::lagging([127, 77, 12, 1], period);
    let (a, b) = (server("a").await, server("b").await);
    let address = ("127.77.12.2", 8000);
    lab.service("s", json!({"clusterIP": "127.77.12.2", "ports": [{"port": 8000}]}));
    lab.endpoints("s", "TCP", &[a]);
    assert_eq!(read(&mut connect(address).await, 1).await, "a");
    let changed = Instant::now();
    lab.endpoints("s", "TCP", &[b]);
    while meets(address).await == Ok('a') {
        sleep(Duration::from_millis(10)).await;
    }
    // The round that opened the port began the period.
    assert!(changed.elapsed() > period / 2, "{:?}", changed.elapsed());
    assert_eq!(meets(address).await, Ok('b'));
}

#[tokio::test]
async fn a_reset_is_passed_on() {
    let lab = Lab::new([127, 77, 4, 1]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.service("s", json!({"clusterIP": "127.77.4.2", "ports": [{"port": 8000}]}));
    lab.endpoints("s", "TCP", &[listener.local_addr().unwrap().port()]);
    let mut client = connect(("127.77.4.2", 8000)).await;
    let (server, _) = listener.accept().await.unwrap();
    rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
    drop(server);
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn host_ports_and_who_holds_them() {
    let lab = Lab::new([127, 77, 5, 1]);
    let (a, b) = (server("a").await, server("b").await);
    let spec = |ip: &str, node_port: u16| json!({"type": "LoadBalancer", "clusterIP": ip, "ports": [{"port": 8080, "nodePort": node_port}]});
    lab.service("one", spec("127.77.5.2", 30_001));
    lab.endpoints("one", "TCP", &[a]);
    assert_eq!(read(&mut connect(("127.77.5.1", 8080)).await, 1).await, "a");
    assert_eq!(read(&mut connect(("127.77.5.1", 30_001)).await, 1).await, "a");
    lab.service("two", spec("127.77.5.3", 30_002));
    lab.endpoints("two", "TCP", &[b]);
    assert_eq!(read(&mut connect(("127.77.5.1", 30_002)).await, 1).await, "b");
    assert_eq!(read(&mut connect(("127.77.5.1", 8080)).await, 1).await, "a", "who came first keeps it");
    let events: Api<core::Event> = Api::namespaced(lab.client.clone(), "default");
    let event = loop {
        if let Some(event) = events.list(&ListParams::default()).await.unwrap().items.pop() {
            break event;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(event.involved_object.name.as_deref(), Some("two"));
    let message = event.message.unwrap();
    assert!(message.contains("127.77.5.1:8080 is held by the Service default/one"), "{message}");
    lab.cluster.remove_service(&Key::new("default", "one"));
    for _ in 0..500 {
        if let Ok(mut stream) = TcpStream::connect(("127.77.5.1", 8080)).await
            && read(&mut stream, 1).await == "b"
        {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the freed port was not taken");
}

#[tokio::test]
async fn the_status_says_where_a_load_balancer_is() {
    let lab = Lab::new([127, 77, 6, 1]);
    let spec = json!({"type": "LoadBalancer", "ports": [{"port": 8081, "name": "http"}]});
    let object: core::Service = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
    let services: Api<core::Service> = Api::namespaced(lab.client.clone(), "default");
    let made = services.create(&Default::default(), &object).await.unwrap();
    lab.cluster.put_service(&made);
    let ingress = loop {
        let status = services.get("s").await.unwrap().status.unwrap_or_default();
        match status.load_balancer.and_then(|balancer| balancer.ingress) {
            Some(ingress) if !ingress.is_empty() => break ingress,
            _ => sleep(Duration::from_millis(10)).await,
        }
    };
    assert_eq!(ingress[0].ip.as_deref(), Some("127.77.6.1"));
    let ports = ingress[0].ports.clone().unwrap();
    assert_eq!((ports[0].port, ports[0].error.as_deref()), (8081, None));
}

#[tokio::test]
async fn udp_has_sessions() {
    let lab = Lab::new([127, 77, 7, 1]);
    let echo = |name: &'static [u8]| async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut buffer = [0; 100];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                socket.send_to(&[name, &buffer[..length]].concat(), from).await.unwrap();
            }
        });
        port
    };
    let (a, b) = (echo(b"a").await, echo(b"b").await);
    lab.service("s", json!({"clusterIP": "127.77.7.2", "ports": [{"port": 5300, "protocol": "UDP"}]}));
    lab.endpoints("s", "UDP", &[a]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect("127.77.7.2:5300").await.unwrap();
    let ask = || async {
        loop {
            let mut buffer = [0; 100];
            // A datagram before the port is open is lost, as expected.
            if client.send(b"x").await.is_ok()
                && let Ok(Ok(length)) = timeout(Duration::from_millis(200), client.recv(&mut buffer)).await
            {
                return String::from_utf8_lossy(&buffer[..length]).into_owned();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(ask().await, "ax");
    lab.endpoints("s", "UDP", &[b]);
    for _ in 0..500 {
        if ask().await == "bx" {
            return;
        }
    }
    panic!("the session stayed with an endpoint that is gone");
}

#[tokio::test]
async fn a_udp_port_without_endpoints_is_unreachable() {
    let lab = Lab::new([127, 77, 13, 1]);
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let ports = json!([{"port": 5300, "nodePort": 30_053, "protocol": "UDP"}]);
    lab.service("s", json!({"type": "NodePort", "clusterIP": "127.77.13.2", "ports": ports}));
    for address in ["127.77.13.2:5300", "127.77.13.1:30053"] {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        for _ in 0..2 {
            lab.endpoints("s", "UDP", &[port]);
            let mut buffer = [0; 8];
            // A datagram before the port is open is lost, as expected.
            while timeout(Duration::from_millis(50), server.recv_from(&mut buffer)).await.is_err() {
                let _ = client.send(b"x").await;
            }
            lab.endpoints("s", "UDP", &[]);
            let refused = async {
                loop {
                    let sent = client.send(b"y").await;
                    let answer = timeout(Duration::from_millis(50), client.recv(&mut buffer)).await;
                    let errors = [sent.err(), answer.ok().and_then(Result::err)];
                    if errors.iter().flatten().any(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                        return;
                    }
                }
            };
            timeout(Duration::from_secs(10), refused).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_udp_session_stays_with_an_endpoint_that_refuses() {
    let lab = Lab::new([127, 77, 14, 1]);
    let bad = closed().await;
    lab.service("s", json!({"clusterIP": "127.77.14.2", "ports": [{"port": 5300, "protocol": "UDP"}]}));
    lab.endpoints("s", "UDP", &[bad]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect("127.77.14.2:5300").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let _ = client.send(b"x").await;
    sleep(Duration::from_millis(100)).await;
    let good = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    lab.endpoints("s", "UDP", &[bad, good.local_addr().unwrap().port()]);
    sleep(Duration::from_millis(100)).await;
    let mut buffer = [0; 8];
    for _ in 0..20 {
        let _ = client.send(b"x").await;
    }
    assert!(timeout(Duration::from_millis(200), good.recv(&mut buffer)).await.is_err(), "the flow has its endpoint");
}
