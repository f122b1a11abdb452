//! Tables of Services, endpoints and other network kinds.

use serde_json::Value;

use super::{AGE, Kind, NAME, age, labels, name, number, or_none, selector};
use crate::json::{integer, list, text};

/// Number of endpoints or ports that are named before `+ n more...`.
const SHOWN: usize = 3;

pub(super) const SERVICE: Kind = (
    &[
        NAME,
        ("Type", "string", 0),
        ("Cluster-IP", "string", 0),
        ("External-IP", "string", 0),
        ("Port(s)", "string", 0),
        AGE,
        ("Selector", "string", 1),
    ],
    |service, now| {
        vec![
            name(service),
            Value::from(text(service, "/spec/type")),
            or_none(text(service, "/spec/clusterIP")),
            or_none(external_ip(service)),
            or_none(ports(service)),
            age(service, now),
            labels(service, "/spec/selector"),
        ]
    },
);

fn external_ip(service: &Value) -> String {
    let own = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).map(str::to_owned);
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let all: Vec<String> = ingress(service).into_iter().chain(own).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ => own.collect::<Vec<_>>().join(","),
    }
}

/// Returns the addresses of a load balancer.
fn ingress(object: &Value) -> Vec<String> {
    let addresses = list(object, "/status/loadBalancer/ingress").iter().map(|ingress| {
        let ip = text(ingress, "/ip");
        if ip.is_empty() { text(ingress, "/hostname") } else { ip }
    });
    addresses.filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = list(service, "/spec/ports")
        .iter()
        .map(|port| match (number(port, "/port"), number(port, "/nodePort"), text(port, "/protocol")) {
            (port, 0, protocol) => format!("{port}/{protocol}"),
            (port, node_port, protocol) => format!("{port}:{node_port}/{protocol}"),
        })
        .collect();
    ports.join(",")
}

/// Returns the first elements of a list, and the number of the remaining ones.
fn some(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(",");
    if all.len() > SHOWN { format!("{shown} + {} more...", all.len() - SHOWN) } else { shown }
}

pub(super) const ENDPOINTS: Kind = (&[NAME, ("Endpoints", "string", 0), AGE], |endpoints, now| {
    let mut all = Vec::new();
    for subset in list(endpoints, "/subsets") {
        let addresses = || list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let number = number(port, "/port");
            all.extend(
                addresses()
                    .map(|ip| if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") }),
            );
        }
    }
    vec![name(endpoints), or_none(some(&all)), age(endpoints, now)]
});

pub(super) const ENDPOINT_SLICE: Kind =
    (&[NAME, ("AddressType", "string", 0), ("Ports", "string", 0), ("Endpoints", "string", 0), AGE], |slice, now| {
        let ports: Vec<String> = list(slice, "/ports")
            .iter()
            .map(|port| match (integer(port, "/port"), text(port, "/name")) {
                (Some(number), _) => number.to_string(),
                (None, "") => "*".to_owned(),
                (None, name) => name.to_owned(),
            })
            .collect();
        let addresses: Vec<String> = list(slice, "/endpoints")
            .iter()
            .flat_map(|endpoint| list(endpoint, "/addresses"))
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect();
        let or_unset = |text: String| Value::from(if text.is_empty() { "<unset>".to_owned() } else { text });
        vec![
            name(slice),
            Value::from(text(slice, "/addressType")),
            or_unset(some(&ports)),
            or_unset(some(&addresses)),
            age(slice, now),
        ]
    });

pub(super) const INGRESS: Kind = (
    &[NAME, ("Class", "string", 0), ("Hosts", "string", 0), ("Address", "string", 0), ("Ports", "string", 0), AGE],
    |object, now| {
        let hosts: Vec<String> = list(object, "/spec/rules")
            .iter()
            .map(|rule| text(rule, "/host"))
            .filter(|host| !host.is_empty())
            .map(str::to_owned)
            .collect();
        let hosts = if hosts.is_empty() { "*".to_owned() } else { some(&hosts) };
        let ports = if list(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(object),
            or_none(text(object, "/spec/ingressClassName")),
            Value::from(hosts),
            Value::from(ingress(object).join(",")),
            Value::from(ports),
            age(object, now),
        ]
    },
);

pub(super) const INGRESS_CLASS: Kind =
    (&[NAME, ("Controller", "string", 0), ("Parameters", "string", 0), AGE], |object, now| {
        let parameters = match (text(object, "/spec/parameters/kind"), text(object, "/spec/parameters/apiGroup")) {
            ("", _) => String::new(),
            (kind, "") => format!("{kind}/{}", text(object, "/spec/parameters/name")),
            (kind, group) => format!("{kind}.{group}/{}", text(object, "/spec/parameters/name")),
        };
        vec![name(object), Value::from(text(object, "/spec/controller")), or_none(parameters), age(object, now)]
    });

pub(super) const NETWORK_POLICY: Kind = (&[NAME, ("Pod-Selector", "string", 0), AGE], |object, now| {
    vec![name(object), selector(object, "/spec/podSelector"), age(object, now)]
});
