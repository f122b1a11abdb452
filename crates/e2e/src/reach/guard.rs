//! Guard that decides which addresses the suite may send load to.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use tokio::{net::TcpStream, time::timeout};

/// Time limit for a node's kubelet to accept a connection.
const ANSWER: Duration = Duration::from_secs(2);
/// Port of a kubelet, unless the node reports another one.
const KUBELET: u16 = 10250;

/// Returns the address of a node if load may go there, else the reason against it.
pub(super) async fn node_address(node: &Node) -> Result<IpAddr, String> {
    let name = node.name_any();
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let text = addresses.iter().find(|address| address.type_ == "InternalIP").map(|address| &address.address);
    let text = text.ok_or_else(|| format!("node {name} has no InternalIP"))?;
    let ip: IpAddr = text.parse().map_err(|_| format!("node {name} has the address {text}, which is none"))?;
    allowed(&format!("node {name}"), ip)?;
    // The embedded cluster's node is this machine: it has no kubelet that listens.
    if ip.is_loopback() {
        return Ok(ip);
    }
    let endpoint = status.and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    let port = endpoint.and_then(|endpoint| u16::try_from(endpoint.port).ok()).filter(|port| *port != 0);
    let kubelet = SocketAddr::new(ip, port.unwrap_or(KUBELET));
    match timeout(ANSWER, TcpStream::connect(kubelet)).await {
        Ok(Ok(_)) => Ok(ip),
        Ok(Err(error)) => Err(format!("node {name} does not answer at {kubelet}: {error}")),
        Err(_) => Err(format!("node {name} does not answer at {kubelet} within {ANSWER:?}")),
    }
}

/// Allows only this machine, private networks, and the networks that are reserved for benchmarks.
pub(super) fn allowed(what: &str, ip: IpAddr) -> Result<(), String> {
    let inside = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || is_shared_or_benchmark(ip),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    if inside {
        return Ok(());
    }
    Err(format!("{what} has the address {ip}, which is no private one: tests send no load to public addresses"))
}

/// Returns whether an address is in 100.64.0.0/10 (between a provider and its customers) or 198.18.0.0/15 (benchmarks).
fn is_shared_or_benchmark(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_load_leaves_private_networks() {
        let inside = [
            "127.0.0.1",
            "10.1.2.3",
            "172.18.0.2",
            "192.168.49.2",
            "100.64.0.1",
            "198.18.0.11",
            "198.19.0.1",
            "::1",
            "fd00::1",
        ];
        let outside =
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "169.254.1.1", "0.0.0.0", "2001:db8::1", "fe80::1"];
        for ip in inside {
            assert_eq!(allowed("x", ip.parse().unwrap()), Ok(()), "{ip}");
        }
        for ip in outside {
            let said = allowed("node n", ip.parse().unwrap()).unwrap_err();
            assert!(said.contains("node n") && said.contains(ip), "{said}");
        }
    }

    #[tokio::test]
    async fn a_node_must_answer_before_load_goes_there() {
        // No program may listen on port 1 of a loopback address, but a node on loopback is this machine: it is accepted.
        let node = |ip: &str, port: u16| -> Node {
            serde_json::from_value(json!({ "metadata": { "name": "n" }, "status": {
                "addresses": [{ "type": "Hostname", "address": "n" }, { "type": "InternalIP", "address": ip }],
                "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
            } }))
            .unwrap()
        };
        assert_eq!(node_address(&node("127.0.0.1", 1)).await, Ok(Ipv4Addr::LOCALHOST.into()));
        assert!(node_address(&node("203.0.113.1", 1)).await.unwrap_err().contains("public"));
        assert!(node_address(&node("none", 1)).await.unwrap_err().contains("which is none"));
        let bare: Node = serde_json::from_value(json!({ "metadata": { "name": "bare" } })).unwrap();
        assert_eq!(node_address(&bare).await, Err("node bare has no InternalIP".to_owned()));
    }
}
