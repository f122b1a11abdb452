//! An instance's Service: how its dependents, and nobody else, reach it.

use rainbow_api::{Rainbow, Tier, TierPort, names};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Scope, instance_labels, managed, owner};
use crate::{kind::Kind, live};

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
            "ports": tier.ports.iter().map(|known| port(known, target(known).into())).collect::<Vec<_>>(),
        },
    })
}

/// A port with everything spelled out that is a key of the list or has a default: what is applied is what comes back.
fn port(port: &TierPort, target: Value) -> Value {
    let mut value = json!({
        "name": port.name,
        "port": port.port,
        "targetPort": target,
        "protocol": protocol(port),
    });
    if let Some(protocol) = &port.app_protocol {
        value["appProtocol"] = json!(protocol);
    }
    value
}

fn target(port: &TierPort) -> i32 {
    port.target_port.unwrap_or(port.port)
}

fn protocol(port: &TierPort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The ports of a tier in a Service that moves between colors. A port that the containers declare under its name is targeted by the
/// name, which is resolved for each pod: so pods with different numbers serve behind one Service.
pub(super) fn moving_ports(tier: &Tier) -> Vec<Value> {
    let template = live::template(tier);
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let declared: Vec<&Value> = containers.flat_map(|known| known["ports"].as_array().into_iter().flatten()).collect();
    let ports = tier.ports.iter().map(|known| {
        // As Kubernetes resolves a name: the first port with the name and the protocol.
        let named = declared.iter().find(|declared| {
            declared["name"] == known.name && declared["protocol"].as_str().unwrap_or("TCP") == protocol(known)
        });
        let is_target = named.is_some_and(|named| named["containerPort"] == target(known));
        port(known, if is_target { json!(known.name) } else { json!(target(known)) })
    });
    ports.collect()
}

/// Equal for tiers whose pods can serve behind one Service.
pub(crate) fn ports_digest(tier: &Tier) -> u64 {
    let mut hasher = DefaultHasher::new();
    json!(moving_ports(tier)).to_string().hash(&mut hasher);
    hasher.finish()
}
