//! Wanted endpoints of a Service. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service, ServicePort},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use crate::pods;

/// Endpoints with the same address family and the same ports, which can share a slice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// Address family: `IPv4` or `IPv6`.
    pub(super) address_type: &'static str,
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// Returns the selector of a Service whose endpoints this controller keeps.
pub(super) fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

pub(super) fn selects(service: &Service, pod: &Pod) -> bool {
    let labels = pod.labels();
    selector(service).is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// Returns whether two states of a pod look the same to every Service.
pub(super) fn is_alike(old: &Pod, new: &Pod) -> bool {
    let spec = |pod: &Pod| {
        pod.spec.as_ref().map(|spec| (spec.node_name.clone(), spec.hostname.clone(), spec.subdomain.clone()))
    };
    old.metadata.uid == new.metadata.uid
        && old.metadata.labels == new.metadata.labels
        && old.metadata.deletion_timestamp.is_some() == new.metadata.deletion_timestamp.is_some()
        && pods::phase(old) == pods::phase(new)
        && pods::is_ready(old) == pods::is_ready(new)
        && addresses(old) == addresses(new)
        && spec(old) == spec(new)
}

pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Returns a pod's addresses, in its order.
pub(super) fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    let many: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    if many.is_empty() { status.pod_ip.as_deref().into_iter().filter(|ip| !ip.is_empty()).collect() } else { many }
}

/// Returns the families of a Service's addresses.
fn families(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let listed = spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten();
    let families: Vec<_> = listed.map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

/// Returns the endpoints, grouped by family and ports.
pub(super) fn groups(service: &Service, all: &[Arc<Pod>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for family in families(service) {
        for pod in all {
            if pods::is_terminal(pod) {
                continue;
            }
            let of_family = |ip: &&str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"));
            let Some(address) = addresses(pod).into_iter().find(of_family) else { continue };
            let (ports, endpoint) = (ports(service, pod), endpoint(service, pod, address));
            match groups.iter_mut().find(|group| group.address_type == family && group.ports == ports) {
                Some(group) => group.endpoints.push(endpoint),
                None => groups.push(Group { address_type: family, ports, endpoints: vec![endpoint] }),
            }
        }
        // A Service without any endpoint has an empty slice, which shows that the controller has processed it.
        if !groups.iter().any(|group| group.address_type == family) {
            groups.push(Group { address_type: family, ports: Vec::new(), endpoints: Vec::new() });
        }
    }
    groups
}

/// Returns a Service's ports as this pod has them. A named port that the pod lacks is left out.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let listed = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    listed
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target(port, pod)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        Some(IntOrString::String(name)) if !name.is_empty() => name,
        Some(IntOrString::Int(number)) if *number != 0 => return Some(*number),
        _ => return Some(port.port),
    };
    let spec = pod.spec.as_ref()?;
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    // Init containers that continue to run (sidecars) count like other containers.
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut all = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let found =
        all.find(|have| have.name.as_ref() == Some(name) && have.protocol.as_deref().unwrap_or("TCP") == protocol);
    found.map(|port| port.container_port)
}

fn endpoint(service: &Service, pod: &Pod, address: &str) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let spec = pod.spec.as_ref();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref());
    let named = subdomain.is_some_and(|subdomain| subdomain == service.name_any());
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: spec.filter(|_| named).and_then(|spec| spec.hostname.clone()),
        node_name: spec.and_then(|spec| spec.node_name.clone()),
        target_ref: Some(target_ref(pod)),
        ..Endpoint::default()
    }
}

pub(super) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.namespace(),
        name: Some(pod.name_any()),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
