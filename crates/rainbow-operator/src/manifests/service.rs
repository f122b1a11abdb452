//! An instance's Service: how its dependents, and nobody else, reach it.

use rainbow_api::{Rainbow, Tier, TierPort, names};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};

use super::{Scope, instance_labels, managed, owner};
use crate::kind::Kind;

/// The Service of a tier's instance.
pub(crate) fn service(scope: &Scope<'_>, rainbow: &Rainbow, tier: &Tier, instance: &InstanceName) -> Value {
    let selector = instance_labels(scope, &instance.tier, &instance.color);
    json!({
        "apiVersion": Kind::Service.api_version(),
        "kind": Kind::Service.name(),
        "metadata": {
            "name": names::instance(scope.prefix, &instance.tier, &instance.color),
            "namespace": scope.namespace,
            "labels": managed(selector.clone()),
            "ownerReferences": owner(scope, rainbow),
        },
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": tier.ports.iter().map(port).collect::<Vec<_>>(),
        },
    })
}

/// A port with everything spelled out that is a key of the list or has a default: what is applied is what comes back.
pub(super) fn port(port: &TierPort) -> Value {
    let mut value = json!({
        "name": port.name,
        "port": port.port,
        "targetPort": port.target_port.unwrap_or(port.port),
        "protocol": port.protocol.as_deref().unwrap_or("TCP"),
    });
    if let Some(protocol) = &port.app_protocol {
        value["appProtocol"] = json!(protocol);
    }
    value
}
