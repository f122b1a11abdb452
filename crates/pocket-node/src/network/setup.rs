//! Setup of the network of the node and of a pod. Runs in single-threaded helper processes.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    NODE_IP, POD_RANGE, SERVICE_RANGE,
    netlink::{Index, Netlink},
};

const BRIDGE: &str = "pocket0";
const POD_INTERFACE: &str = "eth0";

/// Failed step: what was tried, and the system's error.
pub(crate) type Failed = (String, io::Error);

fn step<T>(what: impl FnOnce() -> String, result: io::Result<T>) -> Result<T, Failed> {
    result.map_err(|error| (what(), error))
}

/// Sets up the calling thread's fresh network namespace as the node's. Returns the bridge.
pub(crate) fn node() -> Result<Index, Failed> {
    let text = |text: &'static str| move || text.to_owned();
    let mut netlink = step(text("open a netlink socket"), Netlink::open())?;
    let lo = step(text("find the loopback interface"), netlink.index("lo"))?;
    step(text("set the node's loopback up"), netlink.set_up(lo))?;
    step(
        || format!("route the Services' addresses {SERVICE_RANGE} to the node"),
        netlink.add_local_route(SERVICE_RANGE, lo),
    )?;
    let bridge = step(
        text("make the node's bridge (is the kernel module `bridge` there?)"),
        netlink.add_bridge(BRIDGE, hardware_address(NODE_IP)),
    )?;
    step(|| format!("give the bridge the address {NODE_IP}"), netlink.add_address(bridge, NODE_IP, POD_RANGE.prefix))?;
    step(text("set the node's bridge up"), netlink.set_up(bridge))?;
    sysctl("net/ipv4/ip_unprivileged_port_start", "0");
    Ok(bridge)
}

/// Derives the hardware address from the IP address, so that neighbour caches stay right when an address is reused.
fn hardware_address(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x02, 0x00, a, b, c, d]
}

/// Connects a pod's fresh network namespace to the bridge. Begins in the node's namespace and ends in the pod's.
pub(crate) fn pod(bridge: Index, host_name: &str, ip: Ipv4Addr, pod: BorrowedFd<'_>) -> Result<(), Failed> {
    let text = |text: &'static str| move || text.to_owned();
    let mac = hardware_address(ip);
    let mut node = step(text("open a netlink socket"), Netlink::open())?;
    step(
        text("make the pod's interface (is the kernel module `veth` there?)"),
        node.add_veth(host_name, bridge, POD_INTERFACE, mac, pod),
    )?;

    let enter = move_into_link_name_space(pod.as_fd(), Some(LinkNameSpaceType::Network));
    step(text("enter the pod's network namespace"), enter.map_err(io::Error::from))?;
    let mut netlink = step(text("open a netlink socket"), Netlink::open())?;
    let lo = step(text("find the pod's loopback interface"), netlink.index("lo"))?;
    step(text("set the pod's loopback up"), netlink.set_up(lo))?;
    let eth0 = step(text("find the pod's interface"), netlink.index(POD_INTERFACE))?;
    // Link-local IPv6 would only cost: no route leads to it.
    sysctl("net/ipv6/conf/eth0/disable_ipv6", "1");
    step(|| format!("give the pod the address {ip}"), netlink.add_address(eth0, ip, POD_RANGE.prefix))?;
    step(text("set the pod's interface up"), netlink.set_up(eth0))?;
    step(text("set the pod's default route"), netlink.add_default_route(NODE_IP))?;
    // As in every container runtime, programs without privileges may listen on port 80.
    sysctl("net/ipv4/ip_unprivileged_port_start", "0");
    Ok(())
}

/// Sets a kernel parameter of the current network namespace. Failures are ignored: a kernel without the parameter is fine.
fn sysctl(name: &str, value: &str) {
    let _ = fs::write(format!("/proc/sys/{name}"), value);
}
