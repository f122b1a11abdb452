//! Fields of Services, by the rules of Kubernetes: what an API server would refuse is refused before anything is written.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Errors, tiers::number};
use crate::{SessionAffinityConfig, StageService, TierService, labels, names};

/// Longest time of a session affinity in seconds: a day.
const LONGEST_AFFINITY: i32 = 86_400;

/// Fields that the Services of stages and of tiers have in common.
struct Common<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    cluster_ip: Option<&'a str>,
    session_affinity: Option<&'a str>,
    session_affinity_config: Option<&'a SessionAffinityConfig>,
    internal_traffic_policy: Option<&'a str>,
    traffic_distribution: Option<&'a str>,
    ip_family_policy: Option<&'a str>,
    ip_families: &'a [String],
}

pub(super) fn of_tier(service: &TierService, path: &str, errors: &mut Errors) {
    let TierService {
        labels,
        annotations,
        cluster_ip,
        session_affinity,
        session_affinity_config,
        internal_traffic_policy,
        traffic_distribution,
        ip_family_policy,
        ip_families,
        publish_not_ready_addresses: _,
    } = service;
    let common = Common {
        labels,
        annotations,
        cluster_ip: cluster_ip.as_deref(),
        session_affinity: session_affinity.as_deref(),
        session_affinity_config: session_affinity_config.as_ref(),
        internal_traffic_policy: internal_traffic_policy.as_deref(),
        traffic_distribution: traffic_distribution.as_deref(),
        ip_family_policy: ip_family_policy.as_deref(),
        ip_families,
    };
    check(&common, path, errors);
}

pub(super) fn of_stage(service: &StageService, path: &str, errors: &mut Errors) {
    let StageService {
        name: _,
        type_,
        ports: _,
        labels,
        annotations,
        cluster_ip,
        session_affinity,
        session_affinity_config,
        external_traffic_policy,
        internal_traffic_policy,
        traffic_distribution,
        load_balancer_class,
        load_balancer_source_ranges,
        allocate_load_balancer_node_ports,
        health_check_node_port,
        ip_family_policy,
        ip_families,
        publish_not_ready_addresses: _,
    } = service;
    let common = Common {
        labels,
        annotations,
        cluster_ip: cluster_ip.as_deref(),
        session_affinity: session_affinity.as_deref(),
        session_affinity_config: session_affinity_config.as_ref(),
        internal_traffic_policy: internal_traffic_policy.as_deref(),
        traffic_distribution: traffic_distribution.as_deref(),
        ip_family_policy: ip_family_policy.as_deref(),
        ip_families,
    };
    check(&common, path, errors);
    let kind = type_.as_deref().unwrap_or("ClusterIP");
    let external = external_traffic_policy.as_deref();
    if cluster_ip.is_some() && kind != "ClusterIP" {
        errors.add(
            format!("{path}.clusterIP"),
            format!("a Service of type {kind} cannot be headless: remove this field, or set type: ClusterIP"),
        );
    }
    one_of(external, &["Cluster", "Local"], "externalTrafficPolicy", path, errors);
    if external.is_some() && !["NodePort", "LoadBalancer"].contains(&kind) {
        errors.add(
            format!("{path}.externalTrafficPolicy"),
            "is only possible for type NodePort or LoadBalancer: set service.type",
        );
    }
    let of_load_balancers = [
        ("loadBalancerClass", load_balancer_class.is_some()),
        ("loadBalancerSourceRanges", !load_balancer_source_ranges.is_empty()),
        ("allocateLoadBalancerNodePorts", allocate_load_balancer_node_ports.is_some()),
    ];
    for (field, _) in of_load_balancers.iter().filter(|(_, set)| *set && kind != "LoadBalancer") {
        errors.add(format!("{path}.{field}"), "is only possible for type LoadBalancer: set service.type");
    }
    if let Some(class) = load_balancer_class.as_deref().filter(|class| !names::is_qualified(class)) {
        errors.add(
            format!("{path}.loadBalancerClass"),
            format!("`{class}` is no class of load balancers: use a name such as `example.com/internal`"),
        );
    }
    for (index, range) in load_balancer_source_ranges.iter().enumerate().filter(|(_, range)| !is_range(range)) {
        errors.add(
            format!("{path}.loadBalancerSourceRanges[{index}]"),
            format!("`{range}` is no range of addresses: use one such as `10.0.0.0/8`"),
        );
    }
    let Some(port) = health_check_node_port else { return };
    let path = format!("{path}.healthCheckNodePort");
    number(*port, &path, errors);
    if (kind, external) != ("LoadBalancer", Some("Local")) {
        errors.add(path, "is only possible for type LoadBalancer with externalTrafficPolicy: Local: set both");
    }
}

fn check(service: &Common<'_>, path: &str, errors: &mut Errors) {
    keys(service.labels, &format!("{path}.labels"), errors);
    for (key, value) in service.labels.iter().filter(|(_, value)| !names::is_label_value(value)) {
        errors.add(
            format!("{path}.labels[{key}]"),
            format!("`{value}` is no label value: use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit"),
        );
    }
    keys(service.annotations, &format!("{path}.annotations"), errors);
    if let Some(address) = service.cluster_ip.filter(|address| *address != "None") {
        errors.add(
            format!("{path}.clusterIP"),
            format!("`{address}` is not supported: use None for a headless Service, or remove this field"),
        );
    }
    one_of(service.session_affinity, &["ClientIP", "None"], "sessionAffinity", path, errors);
    if let Some(config) = service.session_affinity_config {
        let path = format!("{path}.sessionAffinityConfig");
        if service.session_affinity != Some("ClientIP") {
            errors.add(&path, "is only possible with sessionAffinity: ClientIP: set service.sessionAffinity");
        }
        let seconds = config.client_ip.as_ref().and_then(|client| client.timeout_seconds);
        if let Some(seconds) = seconds.filter(|seconds| !(1..=LONGEST_AFFINITY).contains(seconds)) {
            errors.add(
                format!("{path}.clientIP.timeoutSeconds"),
                format!("{seconds} is not possible: use 1 to {LONGEST_AFFINITY}, which is a day"),
            );
        }
    }
    one_of(service.internal_traffic_policy, &["Cluster", "Local"], "internalTrafficPolicy", path, errors);
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    one_of(service.traffic_distribution, &distributions, "trafficDistribution", path, errors);
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    one_of(service.ip_family_policy, &policies, "ipFamilyPolicy", path, errors);
    families(service, path, errors);
}

fn families(service: &Common<'_>, path: &str, errors: &mut Errors) {
    let families = service.ip_families;
    let path = format!("{path}.ipFamilies");
    for (index, family) in families.iter().enumerate() {
        if !["IPv4", "IPv6"].contains(&family.as_str()) {
            errors.add(format!("{path}[{index}]"), format!("`{family}` is not supported: use IPv4 or IPv6"));
        } else if families[..index].contains(family) {
            errors.add(format!("{path}[{index}]"), format!("`{family}` is there twice: name each family once"));
        }
    }
    let is_dual = service.ip_family_policy.is_some_and(|policy| policy != "SingleStack");
    if families.len() > 1 && !is_dual {
        errors.add(path, "names two families: set service.ipFamilyPolicy to PreferDualStack or RequireDualStack");
    }
}

fn one_of(value: Option<&str>, allowed: &[&str], field: &str, path: &str, errors: &mut Errors) {
    let Some(value) = value.filter(|value| !allowed.contains(value)) else { return };
    let [first @ .., last] = allowed else { return };
    errors.add(format!("{path}.{field}"), format!("`{value}` is not supported: use {} or {last}", first.join(", ")));
}

/// Checks the keys of labels or of annotations.
fn keys(all: &BTreeMap<String, String>, path: &str, errors: &mut Errors) {
    for key in all.keys() {
        if labels::is_reserved(key) {
            errors.add(format!("{path}[{key}]"), "is set by Rainbow itself: remove it");
        } else if !names::is_qualified(key) {
            errors.add(
                format!("{path}[{key}]"),
                format!("`{key}` is no key: use a name of at most 63 letters, digits, `-`, `_` and `.`, after a domain and `/` if you like"),
            );
        }
    }
}

/// Returns whether a text is a range of addresses as Kubernetes reads it, such as `10.0.0.0/8`.
fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.trim().split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}
