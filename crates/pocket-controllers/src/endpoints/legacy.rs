//! Endpoints, the older form of EndpointSlices, for `kubectl get endpoints` and old clients.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
        discovery::v1,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{HEADLESS, desired};
use crate::{Error, patch, pods};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const ME: &str = "endpoint-controller";
/// Greatest number of addresses; more are left out, as in Kubernetes.
const MAX_ADDRESSES: usize = 1000;

/// Returns the Endpoints of a Service.
pub(super) fn endpoints(service: &Service, all: &[Arc<Pod>]) -> Endpoints {
    let mut subsets: Vec<EndpointSubset> = Vec::new();
    let publish = desired::publishes_not_ready(service);
    for pod in all.iter().take(MAX_ADDRESSES) {
        let leaves = pods::is_terminal(pod) || pod.metadata.deletion_timestamp.is_some() && !publish;
        let address = desired::addresses(pod).into_iter().find(|ip| ip.parse::<IpAddr>().is_ok());
        let (false, Some(ip)) = (leaves, address) else { continue };
        let ports: Vec<EndpointPort> = desired::ports(service, pod).into_iter().map(port).collect();
        // A Service does not lead to a pod that has none of its ports.
        if ports.is_empty() && !desired::is_headless(service) {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.to_owned(),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(desired::target_ref(pod)),
            hostname: None,
        };
        let ports = (!ports.is_empty()).then_some(ports);
        let at = subsets.iter().position(|subset| subset.ports == ports).unwrap_or_else(|| {
            subsets.push(EndpointSubset { ports, ..EndpointSubset::default() });
            subsets.len() - 1
        });
        if let Some(subset) = subsets.get_mut(at) {
            let ready = publish || pods::is_ready(pod);
            let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
            list.get_or_insert_default().push(address);
        }
    }
    for subset in &mut subsets {
        for list in subset.addresses.iter_mut().chain(&mut subset.not_ready_addresses) {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
    }
    let mut labels: BTreeMap<String, String> = service.labels().clone();
    labels.insert(MANAGED_BY.to_owned(), ME.to_owned());
    if desired::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

fn port(port: v1::EndpointPort) -> EndpointPort {
    EndpointPort {
        name: port.name.filter(|name| !name.is_empty()),
        port: port.port.unwrap_or(0),
        protocol: port.protocol,
        app_protocol: port.app_protocol,
    }
}

/// Returns the patch from the current to the wanted Endpoints.
pub(super) fn difference(have: &Endpoints, want: &Endpoints) -> Result<Option<Value>, Error> {
    let view =
        |endpoints: &Endpoints| json!({ "metadata": { "labels": endpoints.labels() }, "subsets": endpoints.subsets });
    if patch::is_same(&view(have), &view(want)) {
        return Ok(None);
    }
    patch::diff(&view(have), &view(want))
}
