//! Manifest of an instance's Service, through which only its dependents reach it.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rainbow_api::{Rainbow, Tier, TierPort, declared_port, service_fields};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Scope, instance_labels, owned, serving_labels, with_said};
use crate::{domain::object_name, kind::Kind};

/// Returns the Service of a tier's instance. `labeled`: its pods carry the serving label.
pub(crate) fn service(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    tier: &Tier,
    instance: &InstanceName,
    labeled: bool,
) -> Value {
    let labels = instance_labels(scope, instance);
    let name = object_name(scope.prefix, instance);
    let spec = json!({
        "type": "ClusterIP",
        "selector": serving_labels(scope, instance, labeled),
        "ports": tier.ports.iter().map(|known| port(known, json!(known.target()))).collect::<Vec<_>>(),
    });
    let object = owned(scope, rainbow, Kind::Service, &name, labels, spec);
    with_said(object, &tier.service.labels, &tier.service.annotations, service_fields(&tier.service))
}

/// Returns a port with every field that is a key of the list or has a default, so that the server's answer equals what is applied.
fn port(port: &TierPort, target: Value) -> Value {
    let mut value = json!({
        "name": port.name,
        "port": port.port,
        "targetPort": target,
        "protocol": port.protocol(),
    });
    if let Some(protocol) = &port.app_protocol {
        value["appProtocol"] = json!(protocol);
    }
    value
}

/// Returns the ports of a tier in a Service that moves between colors. A port that the containers declare under its name is targeted by
/// that name, which is resolved for each pod, so that pods with different numbers can serve behind one Service.
pub(super) fn moving_ports(tier: &Tier, template: &Value) -> Vec<Value> {
    let ports = tier.ports.iter().map(|known| {
        let target = known.target();
        let declared = declared_port(template, &known.name, known.protocol()).map(IntOrString::Int);
        port(known, if declared == Some(target.clone()) { json!(known.name) } else { json!(target) })
    });
    ports.collect()
}

/// Returns a digest that is equal for tiers whose pods can serve behind one Service. The tier's template must not be packed.
pub(crate) fn ports_digest(tier: &Tier) -> u64 {
    let mut hasher = DefaultHasher::new();
    json!(moving_ports(tier, &tier.template)).to_string().hash(&mut hasher);
    hasher.finish()
}
