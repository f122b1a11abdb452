//! Drain: the source of the evidence, and whether evidence can be had there.

use serde_json::Value;

use super::{Errors, SpecPart, list, tiers::number};
use crate::{Connections, HttpCount, RainbowSpec, Tier, names};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    errors.part = SpecPart::Drain;
    let asks: Vec<&str> = spec
        .tiers
        .iter()
        .filter(|tier| connections(spec, tier) == Connections::Http)
        .map(|tier| tier.name.as_str())
        .collect();
    match &spec.drain.http {
        None if !asks.is_empty() => errors.add(
            "spec.drain.http",
            format!("is missing, but connections is Http for {}: say which port, path and field answer", list(asks)),
        ),
        Some(_) if asks.is_empty() && spec.drain.connections != Connections::Http => {
            errors.add(
                "spec.drain.http",
                "is set, but connections is Http nowhere: set spec.drain.connections or a tier's",
            );
        }
        Some(http) => self::http(http, errors),
        None => {}
    }
    errors.part = SpecPart::Version;
    for tier in spec.tiers.iter().filter(|tier| connections(spec, tier) == Connections::Sidecar) {
        sidecar(tier, errors);
    }
}

/// Returns the source of the evidence for a tier.
pub fn connections(spec: &RainbowSpec, tier: &Tier) -> Connections {
    tier.connections.unwrap_or(spec.drain.connections)
}

fn http(http: &HttpCount, errors: &mut Errors) {
    number(http.port, "spec.drain.http.port", errors);
    if !http.path.starts_with('/') || http.path.contains(|c: char| c.is_control() || c.is_whitespace()) {
        errors.add(
            "spec.drain.http.path",
            format!("`{}` is no path: begin with `/` and use no blanks, such as /connections", http.path),
        );
    }
    // A pointer may have empty parts, since a key may be empty.
    if http.field.is_empty() || (!http.field.starts_with('/') && http.field.split('.').any(str::is_empty)) {
        errors.add(
            "spec.drain.http.field",
            format!(
                "`{}` names no field: use a JSON pointer such as /open, or a dotted path such as server.open",
                http.field
            ),
        );
    }
}

/// Checks that the template leaves the sidecar its name and its port, and the pod a network namespace of its own.
fn sidecar(tier: &Tier, errors: &mut Errors) {
    if !tier.tcp_ports().is_empty() && tier.template.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        errors.add(
            format!("spec.tiers[{}].template.spec.hostNetwork", tier.name),
            "is set, so that the pod's sockets cannot be told from its node's: set the tier's connections to Http or None",
        );
    }
    for port in tier.ports.iter().filter(|port| tier.container_port(port) == Some(names::SIDECAR_PORT)) {
        errors.add(
            format!("spec.tiers[{}].ports[{}]", tier.name, port.name),
            format!(
                "{} is the port in the pod where Rainbow's counter answers: use another, or set the tier's connections to Http or None",
                names::SIDECAR_PORT
            ),
        );
    }
    for kind in ["containers", "initContainers"] {
        let all = tier.template.pointer(&format!("/spec/{kind}")).and_then(Value::as_array);
        for (index, container) in all.into_iter().flatten().enumerate() {
            if container.get("name").and_then(Value::as_str) == Some(names::SIDECAR) {
                errors.add(
                    format!("spec.tiers[{}].template.spec.{kind}[{index}].name", tier.name),
                    format!("`{}` is the name of the container that Rainbow adds: use another", names::SIDECAR),
                );
            }
        }
    }
}
