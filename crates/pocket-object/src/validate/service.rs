//! Validation of Services and their endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::Errors;
use crate::{
    FieldError,
    json::{list, text},
    names,
};

pub(super) fn service(service: &Value, errors: &mut Errors) {
    let kind = text(service, "/spec/type");
    let headless = text(service, "/spec/clusterIP") == "None";
    let ports = list(service, "/spec/ports");
    errors.one_of(
        "spec.type",
        service.pointer("/spec/type"),
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    );
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    if kind == "ExternalName" {
        let name = text(service, "/spec/externalName");
        if name.is_empty() {
            errors.required("spec.externalName", "");
        } else {
            errors.named("spec.externalName", name.trim_end_matches('.'), names::subdomain);
        }
        if !text(service, "/spec/clusterIP").is_empty() {
            errors.add(FieldError::forbidden("spec.clusterIPs", "may not be set for ExternalName services"));
        }
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        errors.invalid(
            "spec.clusterIPs[0]",
            &Value::from("None"),
            format!("may not be set to 'None' for {kind} services"),
        );
    }
    let address = text(service, "/spec/clusterIP");
    if !address.is_empty() && !headless && address.parse::<IpAddr>().is_err() {
        errors.invalid(
            "spec.clusterIPs[0]",
            &Value::from(address),
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }

    let (mut seen_names, mut seen_ports, mut seen_node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let name = text(port, "/name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(format!("{at}.name"), "");
            }
        } else {
            errors.named(&format!("{at}.name"), name, names::label);
            if !seen_names.insert(name) {
                errors.add(FieldError::duplicate(format!("{at}.name"), &port["name"]));
            }
        }
        errors.port(&format!("{at}.port"), port.get("port").unwrap_or(&Value::from(0)));
        errors.one_of(&format!("{at}.protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        if let Some(target) = port.get("targetPort") {
            errors.port_or_name(&format!("{at}.targetPort"), target);
        }
        let protocol = text(port, "/protocol");
        if let Some(number) = port.get("port").and_then(Value::as_i64)
            && !seen_ports.insert((protocol, number))
        {
            let value = serde_json::json!({ "port": number, "protocol": protocol });
            errors.add(FieldError::duplicate(at.as_str(), &value));
        }
        let Some(node_port) = port.get("nodePort").filter(|number| **number != 0) else { continue };
        let at = format!("{at}.nodePort");
        match node_port.as_i64() {
            _ if !matches!(kind, "NodePort" | "LoadBalancer") => {
                errors.add(FieldError::forbidden(at, format!("may not be used when `type` is '{kind}'")));
            }
            Some(number) if (30_000..=32_767).contains(&number) => {
                if !seen_node_ports.insert((protocol, number)) {
                    errors.add(FieldError::duplicate(at, node_port));
                }
            }
            _ => errors.invalid(
                at,
                node_port,
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            ),
        }
    }
    errors.labels("spec.selector", service.pointer("/spec/selector"));
    affinity(service, errors);
    families(service, errors);
    load_balancer(service, kind, errors);
    let policies = ["Cluster", "Local"];
    errors.one_of("spec.internalTrafficPolicy", service.pointer("/spec/internalTrafficPolicy"), &policies);
    let policy = service.pointer("/spec/externalTrafficPolicy").filter(|policy| **policy != "");
    errors.one_of("spec.externalTrafficPolicy", policy, &policies);
    if policy.is_some() && !matches!(kind, "NodePort" | "LoadBalancer") && list(service, "/spec/externalIPs").is_empty()
    {
        let detail = "may only be set for externally-accessible services";
        errors.invalid("spec.externalTrafficPolicy", policy.unwrap_or(&Value::Null), detail);
    }
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    errors.one_of("spec.trafficDistribution", service.pointer("/spec/trafficDistribution"), &distributions);
}

/// Longest time of a session affinity: a day.
const LONGEST_AFFINITY: i64 = 86_400;

fn affinity(service: &Value, errors: &mut Errors) {
    errors.one_of("spec.sessionAffinity", service.pointer("/spec/sessionAffinity"), &["ClientIP", "None"]);
    let Some(seconds) = service.pointer("/spec/sessionAffinityConfig/clientIP/timeoutSeconds") else { return };
    if !seconds.as_i64().is_some_and(|seconds| (1..=LONGEST_AFFINITY).contains(&seconds)) {
        errors.invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            seconds,
            format!("must be greater than 0 and less than {LONGEST_AFFINITY}"),
        );
    }
}

fn families(service: &Value, errors: &mut Errors) {
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.one_of("spec.ipFamilyPolicy", service.pointer("/spec/ipFamilyPolicy"), &policies);
    let families = list(service, "/spec/ipFamilies");
    for (index, family) in families.iter().enumerate() {
        let at = format!("spec.ipFamilies[{index}]");
        errors.one_of(&at, Some(family), &["IPv4", "IPv6"]);
        if families[..index].contains(family) {
            errors.add(FieldError::duplicate(at, family));
        }
    }
    if families.len() > 1
        && let Some(policy) = service.pointer("/spec/ipFamilyPolicy").filter(|policy| **policy == "SingleStack")
    {
        let detail = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
        errors.invalid("spec.ipFamilyPolicy", policy, detail);
    }
}

fn load_balancer(service: &Value, kind: &str, errors: &mut Errors) {
    let is_one = kind == "LoadBalancer";
    for field in ["loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"] {
        let value = service.pointer(&format!("/spec/{field}"));
        let is_set = value.is_some_and(|value| value.as_array().is_none_or(|all| !all.is_empty()));
        if is_set && !is_one {
            errors
                .add(FieldError::forbidden(format!("spec.{field}"), "may only be used when `type` is 'LoadBalancer'"));
        }
    }
    let class = text(service, "/spec/loadBalancerClass");
    if is_one && !class.is_empty() {
        errors.named("spec.loadBalancerClass", class, names::qualified_name);
    }
    for (index, range) in list(service, "/spec/loadBalancerSourceRanges").iter().enumerate() {
        if !range.as_str().is_some_and(is_range) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid(format!("spec.loadBalancerSourceRanges[{index}]"), range, detail);
        }
    }
    let local = text(service, "/spec/externalTrafficPolicy") == "Local";
    if let Some(port) = service.pointer("/spec/healthCheckNodePort").filter(|port| **port != 0 && !(is_one && local)) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid("spec.healthCheckNodePort", port, detail);
    }
}

fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.trim().split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

pub(super) fn endpoints(endpoints: &Value, errors: &mut Errors) {
    for (index, subset) in list(endpoints, "/subsets").iter().enumerate() {
        let at = format!("subsets[{index}]");
        for list_name in ["addresses", "notReadyAddresses"] {
            for (place, address) in list(subset, &format!("/{list_name}")).iter().enumerate() {
                endpoint_address(&format!("{at}.{list_name}[{place}].ip"), text(address, "/ip"), errors);
            }
        }
        for (place, port) in list(subset, "/ports").iter().enumerate() {
            errors.port(&format!("{at}.ports[{place}].port"), port.get("port").unwrap_or(&Value::from(0)));
        }
    }
}

pub(super) fn endpoint_slice(slice: &Value, errors: &mut Errors) {
    let kind = text(slice, "/addressType");
    if kind.is_empty() {
        errors.required("addressType", "");
    } else {
        errors.one_of("addressType", slice.get("addressType"), &["FQDN", "IPv4", "IPv6"]);
    }
    for (index, endpoint) in list(slice, "/endpoints").iter().enumerate() {
        let at = format!("endpoints[{index}].addresses");
        let addresses = list(endpoint, "/addresses");
        if addresses.is_empty() {
            errors.required(at.as_str(), "must contain at least 1 address");
        }
        if addresses.len() > 100 {
            errors.add(FieldError::too_many(at.as_str(), addresses.len(), 100));
        }
        for (place, address) in addresses.iter().enumerate() {
            let at = format!("{at}[{place}]");
            let address_text = address.as_str().unwrap_or_default();
            match (kind, address_text.parse::<IpAddr>()) {
                ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {
                    endpoint_address(&at, address_text, errors)
                }
                ("IPv4" | "IPv6", _) => {
                    let family = kind.trim_start_matches("IP");
                    errors.invalid(at, address, format!("must be a valid IP{family} address"));
                }
                ("FQDN", _) => errors.named(&at, address_text, names::subdomain),
                _ => {}
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in list(slice, "/ports").iter().enumerate() {
        let at = format!("ports[{index}]");
        let name = text(port, "/name");
        if !seen.insert(name) {
            errors.add(FieldError::duplicate(format!("{at}.name"), &Value::from(name)));
        }
        if !name.is_empty() {
            errors.named(&format!("{at}.name"), name, names::label);
        }
        if let Some(number) = port.get("port") {
            errors.port(&format!("{at}.port"), number);
        }
        errors.one_of(&format!("{at}.protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

/// Checks an address of an endpoint: it must not be one that means the node or the network itself.
fn endpoint_address(at: &str, address: &str, errors: &mut Errors) {
    let value = Value::from(address);
    let Ok(ip) = address.parse::<IpAddr>() else {
        errors.invalid(at, &value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return;
    };
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_unspecified() {
        errors.invalid(at, &value, "may not be unspecified (0.0.0.0 or ::)");
    } else if ip.is_loopback() {
        errors.invalid(at, &value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    } else if link_local {
        errors.invalid(at, &value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    } else if ip.is_multicast() {
        errors.invalid(at, &value, "may not be in the multicast range (224.0.0.0/4, ff00::/10)");
    }
}
