//! Addresses and node ports of Services.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use pocket_object::FieldError;
use rand::RngExt;
use serde_json::{Value, json};

use crate::{json::object, options::Options};

/// Owners of addresses and node ports. The writer keeps them; at start they are computed again from the Services.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    addresses: HashMap<Ipv4Addr, Arc<str>>,
    ports: HashMap<u16, Arc<str>>,
}

impl Allocations {
    /// Records a Service that was written (`new`) or removed (`None`).
    pub(crate) fn record(&mut self, key: &Arc<str>, old: Option<&Value>, new: Option<&Value>) {
        if let Some(old) = old {
            if let Some(address) = address(old) {
                self.addresses.remove(&address);
            }
            for port in node_ports(old).chain(health_port(old)) {
                self.ports.remove(&port);
            }
        }
        if let Some(new) = new {
            if let Some(address) = address(new) {
                self.addresses.insert(address, key.clone());
            }
            for port in node_ports(new).chain(health_port(new)) {
                self.ports.insert(port, key.clone());
            }
        }
    }

    /// Fills in what the Service leaves out, and checks what it sets.
    pub(crate) fn assign(
        &self,
        options: &Options,
        key: &Arc<str>,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Vec<FieldError>> {
        let kind = kind_of(new).to_owned();
        let old_kind = old.map(kind_of);
        if let Some(old) = old {
            keep(old, new, &kind);
            drop_dependent(old, new);
        }
        if kind == "ExternalName" {
            let spec = object(new, "spec");
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
                spec.remove(field);
            }
            return Ok(());
        }
        let before = old.filter(|_| old_kind != Some("ExternalName"));
        self.assign_address(options, key, before, new)?;
        let spec = object(new, "spec");
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        check_families(spec)?;
        let opens_ports = match kind.as_str() {
            "NodePort" => true,
            "LoadBalancer" => {
                *spec.entry("allocateLoadBalancerNodePorts").or_insert_with(|| json!(true)) != json!(false)
            }
            _ => return Ok(()),
        };
        spec.entry("externalTrafficPolicy").or_insert_with(|| json!("Cluster"));
        self.assign_ports(options, key, opens_ports, new)?;
        self.assign_health_port(options, key, old, new)
    }

    /// Assigns the port on which nodes report whether they have endpoints of the Service: for a load balancer under the policy `Local`.
    fn assign_health_port(
        &self,
        options: &Options,
        key: &Arc<str>,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Vec<FieldError>> {
        if !needs_health_port(new) {
            return Ok(());
        }
        let before = old.filter(|old| needs_health_port(old)).and_then(health_port);
        let taken: HashMap<u16, String> = node_ports(new).map(|number| (number, String::new())).collect();
        let path = "spec.healthCheckNodePort";
        let chosen = match (health_port(new), before) {
            (None, Some(before)) => before,
            (Some(wanted), Some(before)) if wanted != before => {
                let why = "cannot change healthCheckNodePort on loadBalancer service with externalTraffic=Local during update";
                return Err(vec![FieldError::invalid(path, &json!(wanted), why)]);
            }
            (Some(wanted), _) if self.ports.get(&wanted).is_some_and(|owner| owner != key) => {
                return Err(vec![FieldError::invalid(path, &json!(wanted), "provided port is already allocated")]);
            }
            (Some(wanted), _) => wanted,
            (None, None) => self.free_port(options, &taken)?,
        };
        object(new, "spec").insert("healthCheckNodePort".into(), json!(chosen));
        Ok(())
    }

    fn assign_address(
        &self,
        options: &Options,
        key: &Arc<str>,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Vec<FieldError>> {
        let first = |service: &Value| {
            let one = service.pointer("/spec/clusterIP").or_else(|| service.pointer("/spec/clusterIPs/0"));
            one.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let wanted = first(new);
        if let Some(before) = old.and_then(first)
            && wanted.as_ref() != Some(&before)
        {
            let value = json!(wanted.into_iter().collect::<Vec<_>>());
            return Err(vec![FieldError::invalid("spec.clusterIPs[0]", &value, "may not change once set")]);
        }
        let chosen = match wanted {
            Some(none) if none == "None" => none,
            Some(text) => {
                self.check_address(options, key, &text)?;
                text
            }
            None => self.free_address(options)?.to_string(),
        };
        let spec = object(new, "spec");
        spec.insert("clusterIPs".into(), json!([chosen]));
        spec.insert("clusterIP".into(), json!(chosen));
        Ok(())
    }

    fn check_address(&self, options: &Options, key: &Arc<str>, text: &str) -> Result<(), Vec<FieldError>> {
        let value = json!([text]);
        let fail = |why: String| Err(vec![FieldError::invalid("spec.clusterIPs", &value, why)]);
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            return Err(vec![FieldError::invalid("spec.clusterIPs[0]", &json!(text), why)]);
        };
        if !options.service_cidr.contains(address) {
            return fail(format!(
                "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                options.service_cidr
            ));
        }
        match self.addresses.get(&address) {
            Some(owner) if owner != key => {
                fail(format!("failed to allocate IP {address}: provided IP is already allocated"))
            }
            _ => Ok(()),
        }
    }

    /// Returns a free address. The lowest addresses are left to Services that name theirs, as in Kubernetes.
    fn free_address(&self, options: &Options) -> Result<Ipv4Addr, Vec<FieldError>> {
        let range = options.service_cidr.hosts();
        let (low, high) = (*range.start(), *range.end());
        let size = high.saturating_sub(low).saturating_add(1);
        let reserved = (size / 16).clamp(16, 256).min(size / 2);
        let start = rand::rng().random_range(reserved..size.max(reserved + 1));
        let upper = (start..size).chain(reserved..start).chain(0..reserved);
        upper
            .map(|offset| Ipv4Addr::from(low + offset))
            .find(|address| !self.addresses.contains_key(address) && *address != options.cluster_dns_ip)
            .ok_or_else(|| {
                vec![FieldError::forbidden("spec.clusterIPs", "failed to allocate a serviceIP: range is full")]
            })
    }

    fn assign_ports(
        &self,
        options: &Options,
        key: &Arc<str>,
        opens_ports: bool,
        new: &mut Value,
    ) -> Result<(), Vec<FieldError>> {
        let mut taken: HashMap<u16, String> = HashMap::new();
        let Some(ports) = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return Ok(()) };
        let mut errors = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let Some(number) = port.get("nodePort").and_then(Value::as_u64).filter(|number| *number > 0) else {
                continue;
            };
            let path = format!("spec.ports[{index}].nodePort");
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
            match u16::try_from(number) {
                Ok(number) if options.node_ports.contains(&number) => {
                    let elsewhere = self.ports.get(&number).is_some_and(|owner| owner != key);
                    if elsewhere || taken.insert(number, protocol.clone()) == Some(protocol) {
                        errors.push(FieldError::invalid(path, &json!(number), "provided port is already allocated"));
                    }
                }
                _ => errors.push(FieldError::invalid(
                    path,
                    &json!(number),
                    format!(
                        "provided port is not in the valid range. The range of valid ports is {}-{}",
                        options.node_ports.start(),
                        options.node_ports.end()
                    ),
                )),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if !opens_ports {
            return Ok(());
        }
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            if port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) == 0 {
                let number = self.free_port(options, &taken)?;
                taken.insert(number, String::new());
                port.insert("nodePort".into(), json!(number));
            }
        }
        Ok(())
    }

    fn free_port(&self, options: &Options, taken: &HashMap<u16, String>) -> Result<u16, Vec<FieldError>> {
        let (low, high) = (*options.node_ports.start(), *options.node_ports.end());
        let start = rand::rng().random_range(low..=high);
        (start..=high)
            .chain(low..start)
            .find(|port| !self.ports.contains_key(port) && !taken.contains_key(port))
            .ok_or_else(|| vec![FieldError::forbidden("spec.ports", "failed to allocate a nodePort: range is full")])
    }
}

fn kind_of(service: &Value) -> &str {
    service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP")
}

fn address(service: &Value) -> Option<Ipv4Addr> {
    service.pointer("/spec/clusterIP")?.as_str()?.parse().ok()
}

fn node_ports(service: &Value) -> impl Iterator<Item = u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| u16::try_from(port.get("nodePort")?.as_u64()?).ok())
        .filter(|port| *port > 0)
}

/// Returns the port on which nodes report whether they have endpoints of the Service.
fn health_port(service: &Value) -> Option<u16> {
    u16::try_from(service.pointer("/spec/healthCheckNodePort")?.as_u64()?).ok().filter(|port| *port > 0)
}

fn needs_health_port(service: &Value) -> bool {
    let local = service.pointer("/spec/externalTrafficPolicy").is_some_and(|policy| policy == "Local");
    kind_of(service) == "LoadBalancer" && local
}

/// Checks the address families: the cluster has only IPv4.
fn check_families(spec: &serde_json::Map<String, Value>) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    if let Some(policy) = spec.get("ipFamilyPolicy").filter(|policy| **policy == "RequireDualStack") {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, why));
    }
    let families = spec.get("ipFamilies").and_then(Value::as_array).into_iter().flatten().enumerate();
    for (index, family) in families.filter(|(_, family)| **family == "IPv6") {
        let path = format!("spec.ipFamilies[{index}]");
        errors.push(FieldError::invalid(path, family, "not configured on this cluster"));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Removes the fields that the new type does not have when the type changes. A field that the same change sets stays, and is refused later.
fn drop_dependent(old: &Value, new: &mut Value) {
    let is_outside = |service: &Value| matches!(kind_of(service), "NodePort" | "LoadBalancer");
    let is_balancer = |service: &Value| kind_of(service) == "LoadBalancer";
    type HasField<'a> = &'a dyn Fn(&Value) -> bool;
    let dependent: [(&str, HasField<'_>); 4] = [
        ("externalTrafficPolicy", &is_outside),
        ("healthCheckNodePort", &needs_health_port),
        ("allocateLoadBalancerNodePorts", &is_balancer),
        ("loadBalancerClass", &is_balancer),
    ];
    for (field, needs) in dependent {
        let value = |service: &Value| service.pointer(&format!("/spec/{field}")).cloned();
        if needs(old) && !needs(new) && value(old) == value(new) {
            object(new, "spec").remove(field);
        }
    }
}

/// Keeps what was allocated when an update leaves it out; a change of type drops what no longer fits.
fn keep(old: &Value, new: &mut Value, kind: &str) {
    let had_address = kind_of(old) != "ExternalName";
    if kind != "ExternalName" && had_address {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let spec = object(new, "spec");
            let missing = spec.get(field).is_none_or(|value| value.is_null() || *value == json!(""));
            // A patch of `clusterIP` alone must not meet the old list.
            if let (true, Some(value)) = (missing, old.pointer(&format!("/spec/{field}"))) {
                spec.insert(field.into(), value.clone());
            }
        }
    }
    let opens = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let old_ports = old.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(ports) = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return };
    let same = |a: &Value, b: &Value| {
        let protocol = |port: &Value| port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
        a.get("port") == b.get("port") && protocol(a) == protocol(b)
    };
    for port in ports {
        let before = old_ports.iter().find(|old| same(old, port)).and_then(|old| old.get("nodePort")).cloned();
        let Some(port) = port.as_object_mut() else { continue };
        if opens(kind) {
            if let (None, Some(before)) = (port.get("nodePort"), before) {
                port.insert("nodePort".into(), before);
            }
        } else if opens(kind_of(old)) && before.is_some() && port.get("nodePort") == before.as_ref() {
            port.remove("nodePort");
        }
    }
}
