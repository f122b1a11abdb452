//! Host ports that pods ask for (`nodeports`).

use k8s_openapi::api::core::v1::PodSpec;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// Host address; `0.0.0.0` means all.
    pub(crate) ip: String,
    pub(crate) protocol: String,
    pub(crate) port: u16,
    /// Port of the container that the host's port leads to.
    pub(crate) container_port: u16,
}

/// Address that stands for all of a host.
const ALL: &str = "0.0.0.0";

impl HostPort {
    /// Returns whether one node cannot open both ports.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let ips = self.ip == other.ip || self.ip == ALL || other.ip == ALL;
        ips && self.protocol == other.protocol && self.port == other.port
    }
}

/// Returns the host ports of a pod's containers and sidecars.
pub(crate) fn of(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let number = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                ip: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| ALL.to_owned()),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: port.host_port.and_then(number)?,
                container_port: number(port.container_port)?,
            })
        })
        .collect()
}
