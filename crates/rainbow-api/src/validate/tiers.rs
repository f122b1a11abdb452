//! Tiers: names, sizes, ports and needs.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::{Errors, SpecPart, list, not_a_label, services, template};
use crate::{Compatible, Config, ConfigName, RainbowSpec, Scaling, Tier, config_of, declared_port, names};

/// Largest number of copies of a color, as the schema of `Color` says.
const MAX_COPIES: usize = 256;

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    errors.part = SpecPart::Version;
    if spec.tiers.is_empty() {
        errors.add("spec.tiers", "is empty: an application has at least one tier");
    }
    errors.duplicates("spec.tiers", "tier", spec.tiers.iter().map(|tier| tier.name.as_str()));
    for tier in &spec.tiers {
        let path = format!("spec.tiers[{}]", tier.name);
        if !names::is_dns_label(&tier.name) {
            errors.add(format!("{path}.name"), not_a_label(&tier.name));
        }
        if tier.replicas < 0 {
            errors.add(format!("{path}.replicas"), format!("{} is negative: use 0 or more", tier.replicas));
        }
        scaling(tier, &path, errors);
        min_ready(spec, tier, &path, errors);
        ports(tier, &path, errors);
        needs(spec, tier, &path, errors);
        service(tier, &path, errors);
        template::check(tier, &path, errors);
    }
    config(spec, errors);
    if let Some(cycle) = cycle(&spec.tiers) {
        let path = format!("spec.tiers[{}].needs", cycle[0]);
        errors.add(path, format!("goes round in a circle: {}: take one of these needs away", cycle.join(" -> ")));
    }
}

/// Checks the number of copies: a color's list of copies has a limit.
fn config(spec: &RainbowSpec, errors: &mut Errors) {
    if spec.config == Config::Shared {
        return;
    }
    let all: BTreeSet<ConfigName> = spec.tiers.iter().flat_map(|tier| config_of(&tier.template).into_keys()).collect();
    if all.len() > MAX_COPIES {
        let message =
            format!("`Versioned` copies at most {MAX_COPIES} ConfigMaps and Secrets: the templates name {}", all.len());
        errors.add("spec.config", message);
    }
}

/// Checks that only one writer decides how many pods there are.
fn scaling(tier: &Tier, path: &str, errors: &mut Errors) {
    let Some(autoscale) = &tier.autoscale else { return };
    if tier.scaling == Scaling::External {
        let message = "is set, but `scaling: External` says that another controller decides: remove one of them";
        errors.add(format!("{path}.autoscale"), message);
    }
    for (field, message) in autoscale.errors() {
        errors.add(format!("{path}.autoscale{field}"), message);
    }
}

/// Checks `minReadySeconds` by a Deployment's rule, since every tier becomes a Deployment.
fn min_ready(spec: &RainbowSpec, tier: &Tier, path: &str, errors: &mut Errors) {
    let Some(seconds) = tier.min_ready_seconds else { return };
    let deadline = spec.progress_deadline();
    let path = format!("{path}.minReadySeconds");
    if seconds < 0 {
        errors.add(path, format!("{seconds} is negative: use 0 or more"));
    } else if seconds >= deadline {
        errors.add(
            path,
            format!("{seconds} is too long: use less than spec.progressDeadlineSeconds, which is {deadline}"),
        );
    }
}

fn ports(tier: &Tier, path: &str, errors: &mut Errors) {
    let ports = &tier.ports;
    errors.duplicates(&format!("{path}.ports"), "port", ports.iter().map(|port| port.name.as_str()));
    let mut taken: BTreeMap<(i32, &str), &str> = BTreeMap::new();
    for port in ports {
        let path = format!("{path}.ports[{}]", port.name);
        if !is_port_name(&port.name) {
            errors.add(
                format!("{path}.name"),
                format!(
                    "`{}` is no port name: use 1 to 15 lower case letters, digits and `-`, with at least one letter",
                    port.name
                ),
            );
        }
        number(port.port, &format!("{path}.port"), errors);
        let protocol = port.protocol();
        let target = format!("{path}.targetPort");
        match &port.target_port {
            Some(IntOrString::Int(port)) => number(*port, &target, errors),
            Some(IntOrString::String(name)) if declared_port(&tier.template, name, protocol).is_none() => errors.add(
                target,
                format!(
                    "no container of the template declares a {protocol} port `{name}`: declare it, or use the number"
                ),
            ),
            Some(IntOrString::String(_)) | None => {}
        }
        if !["TCP", "UDP", "SCTP"].contains(&protocol) {
            errors.add(format!("{path}.protocol"), format!("`{protocol}` is not supported: use TCP, UDP or SCTP"));
        }
        if let Some(other) = taken.insert((port.port, protocol), &port.name)
            && other != port.name
        {
            errors.add(
                format!("{path}.port"),
                format!("{protocol} {} is the port of `{other}` already: give each its own", port.port),
            );
        }
    }
}

pub(super) fn number(port: i32, path: &str, errors: &mut Errors) {
    if !(1..=65535).contains(&port) {
        errors.add(path, format!("{port} is no port number: use 1 to 65535"));
    }
}

/// Returns whether a name is a port's, as `IsValidPortName` of Kubernetes does (IANA service names).
fn is_port_name(name: &str) -> bool {
    names::is_dns_label(name)
        && name.len() <= 15
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && !name.contains("--")
}

fn needs(spec: &RainbowSpec, tier: &Tier, path: &str, errors: &mut Errors) {
    errors.duplicates(&format!("{path}.needs"), "need", tier.needs.iter().map(|need| need.tier.as_str()));
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for need in &tier.needs {
        let path = format!("{path}.needs[{}]", need.tier);
        match spec.tiers.iter().find(|other| other.name == need.tier) {
            None => errors.add(
                format!("{path}.tier"),
                format!(
                    "there is no tier `{}`: use one of {}",
                    need.tier,
                    list(spec.tiers.iter().map(|tier| tier.name.as_str()).filter(|name| *name != tier.name))
                ),
            ),
            Some(needed) if need.compatible == Compatible::Backward => compatible(needed, tier, errors),
            Some(needed) if needed.ports.is_empty() => errors.add(
                format!("spec.tiers[{}].ports", needed.name),
                format!("is empty, but tier `{}` needs this tier: name the ports it is reached on", tier.name),
            ),
            Some(_) => {}
        }
        if let (Some(port), Some(needed)) = (&need.port, spec.tiers.iter().find(|other| other.name == need.tier))
            && needed.needed_port(need).is_none()
            && !needed.ports.is_empty()
        {
            let names = list(needed.ports.iter().map(|port| port.name.as_str()));
            errors
                .add(format!("{path}.port"), format!("tier `{}` has no port `{port}`: use one of {names}", need.tier));
        }
        let env = need.env.clone().unwrap_or_else(|| names::default_env(&need.tier));
        if !is_env_name(&env) {
            errors.add(
                format!("{path}.env"),
                format!("`{env}` is no name of an environment variable: use letters, digits, `_`, `-` and `.`, not beginning with a digit"),
            );
        }
        if let Some(other) = taken.insert(env.clone(), &need.tier)
            && other != need.tier
        {
            errors.add(
                format!("{path}.env"),
                format!("`{env}` receives the address of `{other}` already: set another env"),
            );
        }
        for container in containers_with_env(&tier.template, &env) {
            errors.add(
                format!("{path}.env"),
                format!(
                    "container `{container}` sets `{env}` itself: take it out of the template, or hand the address over in another env"
                ),
            );
        }
    }
}

/// Checks a callee that may be newer: its address is a Service that moves from color to color at one moment for all callers.
fn compatible(needed: &Tier, caller: &Tier, errors: &mut Errors) {
    let path = format!("spec.tiers[{}]", needed.name);
    let of = || format!("tier `{}` needs this tier with `compatible: Backward`", caller.name);
    if needed.ports.is_empty() {
        errors.add(format!("{path}.ports"), format!("is empty, but {}: name the ports it is reached on", of()));
    }
    if needed.service.is_headless() {
        let text = format!("is `None`, but {}, and clients of a headless Service keep old answers: remove it", of());
        errors.add(format!("{path}.service.clusterIP"), text);
    }
    if needed.service.internal_traffic_policy.as_deref() == Some("Local") {
        let text = format!("is `Local`, but {}, whose pods are on any node: remove it", of());
        errors.add(format!("{path}.service.internalTrafficPolicy"), text);
    }
}

/// Returns whether a name is an environment variable's, as `IsEnvVarName` of Kubernetes does.
fn is_env_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty()
        && name.bytes().all(allowed)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name != "."
        && !name.starts_with("..")
}

fn containers_with_env<'a>(template: &'a Value, env: &str) -> Vec<&'a str> {
    ["containers", "initContainers"]
        .iter()
        .filter_map(|list| template.pointer(&format!("/spec/{list}"))?.as_array())
        .flatten()
        .filter(|container| {
            let variables = container.get("env").and_then(Value::as_array);
            variables.is_some_and(|all| all.iter().any(|v| v.get("name").and_then(Value::as_str) == Some(env)))
        })
        .map(|container| container.get("name").and_then(Value::as_str).unwrap_or_default())
        .collect()
}

fn service(tier: &Tier, path: &str, errors: &mut Errors) {
    let path = format!("{path}.service");
    if tier.ports.is_empty() && !tier.service.is_plain() {
        errors.add(&path, "is about no Service, since the tier has no ports: name the ports that it is reached on");
    }
    services::of_tier(&tier.service, &path, errors);
}

/// Returns the first cycle of needs, as the names on it, with the first one again at the end.
fn cycle(tiers: &[Tier]) -> Option<Vec<String>> {
    let needs: BTreeMap<&str, Vec<&str>> = tiers
        .iter()
        .map(|tier| (tier.name.as_str(), tier.needs.iter().map(|need| need.tier.as_str()).collect()))
        .collect();
    let mut done = BTreeSet::new();
    for tier in tiers {
        // A depth-first walk with its own stack, as deep as the chain is long for any input. The path holds a tier and the index of its
        // next need.
        let mut path: Vec<(&str, usize)> = vec![(&tier.name, 0)];
        while let Some((name, next)) = path.last_mut() {
            let Some(need) = needs.get(name).and_then(|all| all.get(*next)) else {
                done.insert(*name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = path.iter().position(|(on_path, _)| on_path == need) {
                let circle = path[at..].iter().map(|(name, _)| *name).chain([*need]);
                return Some(circle.map(str::to_owned).collect());
            }
            if !done.contains(need) {
                path.push((need, 0));
            }
        }
    }
    None
}
