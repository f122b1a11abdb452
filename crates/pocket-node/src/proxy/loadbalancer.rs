//! Load balancer status of a Service: where clients reach it.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, PortStatus, Service as ServiceObject};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::cluster::{Exposure, Service, ServicePort};

/// Returns the ingress points that a Service should have: the host's loopback, with each of its ports. A port that could not be
/// opened carries an error (`PortInUse`, `PortForbidden`); its node port works nevertheless.
pub(super) fn ingress(
    service: &Service,
    host: Ipv4Addr,
    refused: impl Fn(&ServicePort) -> Option<&'static str>,
) -> Vec<LoadBalancerIngress> {
    if service.exposure != Exposure::LoadBalancer {
        return Vec::new();
    }
    let ports = service.ports.iter().map(|port| PortStatus {
        port: port.port.into(),
        protocol: port.protocol.as_str().into(),
        error: refused(port).map(str::to_owned),
    });
    vec![LoadBalancerIngress {
        ip: Some(host.to_string()),
        ip_mode: Some("Proxy".into()),
        ports: Some(ports.collect()),
        hostname: None,
    }]
}

/// Writes the status if it differs from the Service's.
pub(super) async fn report(
    client: &Client,
    service: &Service,
    host: Ipv4Addr,
    refused: impl Fn(&ServicePort) -> Option<&'static str>,
) {
    let wanted = ingress(service, host, refused);
    if wanted == service.ingress {
        return;
    }
    let services: Api<ServiceObject> = Api::namespaced(client.clone(), &service.key.namespace);
    let list = if wanted.is_empty() { json!(null) } else { json!(wanted) };
    let patch = json!({"metadata": {"uid": service.uid}, "status": {"loadBalancer": {"ingress": list}}});
    // After a failure, the next change of the Service tries again; a Service that is gone is no failure.
    if let Err(error) = services.patch_status(&service.key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        tracing::debug!(service = %service.key, %error, "load balancer status not written");
    }
}
