//! Ways in which tests reach a Service. Differences between clusters are handled here and nowhere else.
//!
//! Load is sent to addresses of this machine and of private networks only, and only to those that the cluster reports as
//! its own.

mod guard;
mod port_forward;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use k8s_openapi::api::core::v1::{Node, Service, ServicePort};
use kube::{Api, Client, ResourceExt, api::ListParams};

/// Way to reach Services that the user of the suite chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// Node ports where nodes can be reached, else through the API.
    #[default]
    Auto,
    /// Node ports, on every node that can be reached.
    NodePort,
    /// Service addresses, where this machine has a route to them.
    ClusterIp,
    /// Through the API, to a ready pod of the Service: this tests everything but the cluster's own data plane.
    PortForward,
}

/// Way in which Services are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By their node port on any of these nodes.
    NodePorts(Vec<NodeAddress>),
    /// By their own address.
    ClusterIps,
    /// Through the API.
    PortForward,
}

/// Node that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    pub node: String,
    pub address: IpAddr,
}

/// Place where a Service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Node behind the address, if it belongs to one.
    pub node: Option<String>,
    pub address: SocketAddr,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/", self.address)
    }
}

impl Reach {
    /// Determines what is possible.
    pub(crate) async fn find(client: &Client, way: Way) -> Result<Self> {
        match way {
            Way::PortForward => return Ok(Self::PortForward),
            Way::ClusterIp => return Ok(Self::ClusterIps),
            Way::Auto | Way::NodePort => {}
        }
        let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items;
        let (mut usable, mut reasons) = (Vec::new(), Vec::new());
        for node in nodes {
            match guard::node_address(&node).await {
                Ok(address) => usable.push(NodeAddress { node: node.name_any(), address }),
                Err(reason) => reasons.push(reason),
            }
        }
        match way {
            _ if !usable.is_empty() => Ok(Self::NodePorts(usable)),
            Way::Auto => {
                eprintln!("Services are reached through the API: {}", reasons.join("; "));
                Ok(Self::PortForward)
            }
            _ => bail!("no node can be used: {}", reasons.join("; ")),
        }
    }

    /// Returns the places where a port of a Service answers: the named port, else the first.
    pub(crate) async fn places(&self, services: &Api<Service>, name: &str, port: Option<&str>) -> Result<Vec<Place>> {
        let service = services.get(name).await?;
        let found = find_port(&service, port).with_context(|| format!("Service {name} has no port {port:?}"))?;
        match self {
            Self::NodePorts(nodes) => {
                let number = found.node_port.with_context(|| format!("Service {name} has no node port"))?;
                let number = u16::try_from(number)?;
                let place = |at: &NodeAddress| Place {
                    node: Some(at.node.clone()),
                    address: SocketAddr::new(at.address, number),
                };
                Ok(nodes.iter().map(place).collect())
            }
            Self::ClusterIps => {
                let spec = service.spec.as_ref().context("a Service without a spec")?;
                let ip: IpAddr = spec.cluster_ip.as_deref().unwrap_or_default().parse().context("its address")?;
                guard::allowed(&format!("Service {name}"), ip).map_err(anyhow::Error::msg)?;
                Ok(vec![Place { node: None, address: SocketAddr::new(ip, u16::try_from(found.port)?) }])
            }
            Self::PortForward => {
                let address = port_forward::open(services.clone().into_client(), &service, found).await?;
                Ok(vec![Place { node: None, address }])
            }
        }
    }
}

fn find_port<'a>(service: &'a Service, name: Option<&str>) -> Option<&'a ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    match name {
        Some(name) => ports.iter().find(|port| port.name.as_deref() == Some(name)),
        None => ports.first(),
    }
}
