//! Objects that every cluster has: its node, and the Services of its API and its DNS.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use pocket_node::network::{API_IP, DNS_IP, NODE_IP, POD_RANGE};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::NODE;

/// Greatest number of pods on the node: the number of its addresses.
const MAX_PODS: u32 = POD_RANGE.size() - 3;
const MANAGER: &str = "pocket";

/// Properties of the machine for the status of its Node.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: u32,
    /// Bytes of memory.
    pub(crate) memory: u64,
    kernel: String,
    os_image: String,
    machine_id: String,
    boot_id: String,
}

impl Machine {
    pub(crate) fn detect() -> Self {
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let info = rustix::system::sysinfo();
        let os_release = read("/etc/os-release");
        let pretty = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            memory: info.totalram.saturating_mul(u64::from(info.mem_unit)),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            os_image: pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned()),
            machine_id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
        }
    }
}

/// Makes or brings up to date the node and the cluster's own Services.
pub(crate) async fn install(client: &Client, machine: &Machine, version: &str, api: SocketAddr) -> kube::Result<()> {
    let services = Api::<Service>::namespaced(client.clone(), "default");
    ensure(&services, "kubernetes", &kubernetes_service()).await?;
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), "default");
    ensure(&slices, "kubernetes", &kubernetes_endpoints(api.port())).await?;
    let system = Api::<Service>::namespaced(client.clone(), "kube-system");
    ensure(&system, "kube-dns", &dns_service()).await?;

    let nodes = Api::<Node>::all(client.clone());
    ensure(&nodes, NODE, &node()).await?;
    let status = json!({ "status": node_status(machine, version, api.ip()) });
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// Creates an object, or merges it into the existing one.
async fn ensure<K>(api: &Api<K>, name: &str, object: &Value) -> kube::Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    if api.get_opt(name).await?.is_some() {
        api.patch(name, &PatchParams::default(), &Patch::Merge(object)).await?;
        return Ok(());
    }
    let typed: K = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }, &typed).await?;
    Ok(())
}

fn kubernetes_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "kubernetes", "labels": { "component": "apiserver", "provider": "kubernetes" } },
        "spec": {
            "type": "ClusterIP", "clusterIP": API_IP,
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": 443 }],
        },
    })
}

fn kubernetes_endpoints(port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4",
        "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [NODE_IP], "conditions": { "ready": true } }],
    })
}

fn dns_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "kube-dns", "labels": { "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS" } },
        "spec": {
            "type": "ClusterIP", "clusterIP": DNS_IP,
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
            ],
        },
    })
}

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": NODE, "labels": {
            "kubernetes.io/hostname": NODE,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(),
            "node-role.kubernetes.io/control-plane": "",
        } },
        "spec": { "podCIDR": POD_RANGE.to_string(), "podCIDRs": [POD_RANGE.to_string()] },
    })
}

fn node_status(machine: &Machine, version: &str, address: IpAddr) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let resources = json!({
        "cpu": machine.cpus.to_string(),
        "memory": format!("{}Ki", machine.memory / 1024),
        "pods": MAX_PODS.to_string(),
    });
    // Address at which node ports are open for readers on the host: the host's loopback. The node's own address means nothing on the host,
    // where another machine may have it; pods learn it as `status.hostIP`.
    let addresses: [(&str, String); 2] = [("InternalIP", address.to_string()), ("Hostname", NODE.to_owned())];
    json!({
        "addresses": addresses.map(|(kind, address)| json!({ "type": kind, "address": address })),
        "capacity": resources,
        "allocatable": resources,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "nodeInfo": {
            "architecture": architecture(),
            "bootID": machine.boot_id,
            "containerRuntimeVersion": concat!("pocket://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": machine.kernel,
            "kubeProxyVersion": version,
            "kubeletVersion": version,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.machine_id,
        },
    })
}

/// Returns the architecture in the vocabulary of images and nodes.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_start_changes_nothing_else() {
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let client = api.client("default");
        let machine = Machine::detect();
        assert!(machine.cpus > 0 && machine.memory > 1 << 20);
        install(&client, &machine, "v1.33.0+pocket", ([127, 0, 0, 1], 6443).into()).await.unwrap();
        let nodes = Api::<Node>::all(client.clone());
        let first = nodes.get(NODE).await.unwrap();
        nodes
            .patch(NODE, &PatchParams::default(), &Patch::Merge(json!({ "metadata": { "labels": { "mine": "yes" } } })))
            .await
            .unwrap();
        install(&client, &machine, "v1.33.0+pocket", ([127, 0, 0, 1], 7443).into()).await.unwrap();
        let second = nodes.get(NODE).await.unwrap();
        assert_eq!(first.metadata.uid, second.metadata.uid);
        assert_eq!(second.metadata.labels.unwrap()["mine"], "yes");
        let ready = second.status.unwrap().conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!(ready.status, "True");
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), "default");
        assert_eq!(slices.get("kubernetes").await.unwrap().ports.unwrap()[0].port, Some(7443));
        let dns = Api::<Service>::namespaced(client, "kube-system").get("kube-dns").await.unwrap();
        assert_eq!(dns.spec.unwrap().cluster_ip.unwrap(), "10.96.0.10");
    }
}
