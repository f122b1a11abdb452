//! Facts that a pod may learn about itself: `fieldRef` and `resourceFieldRef`, in variables and in files.

use std::net::Ipv4Addr;

use k8s_openapi::{
    api::core::v1::{Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;

/// Facts that the node adds to the pod object.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts {
    pub host_ip: Ipv4Addr,
    pub pod_ip: Option<Ipv4Addr>,
    /// The node's processors: the limit where a container sets none.
    pub cpus: u32,
    /// The node's memory in bytes: the limit where a container sets none.
    pub memory: u64,
}

/// Reason why a reference has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownwardError {
    /// Unknown field.
    #[error("unsupported fieldPath: {0}")]
    UnsupportedField(String),
    /// Unknown container.
    #[error("container {0} not found")]
    NoContainer(String),
    /// Unknown resource.
    #[error("unsupported container resource: {0}")]
    UnsupportedResource(String),
}

/// Returns the value of a `fieldRef`.
///
/// # Errors
/// When the path names no field that pods may read.
pub fn field(pod: &Pod, facts: &NodeFacts, path: &str) -> Result<String, DownwardError> {
    if let Some((map, key)) = subscript(path) {
        return match map {
            "metadata.labels" => Ok(pod.labels().get(key).cloned().unwrap_or_default()),
            "metadata.annotations" => Ok(pod.annotations().get(key).cloned().unwrap_or_default()),
            _ => Err(DownwardError::UnsupportedField(path.to_owned())),
        };
    }
    let spec = pod.spec.as_ref();
    let pod_ip = || facts.pod_ip.map(|ip| ip.to_string()).unwrap_or_default();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into())
        }
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => pod_ip(),
        _ => return Err(DownwardError::UnsupportedField(path.to_owned())),
    })
}

/// Splits `metadata.labels['x']` into its parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    Some((map, key.trim_matches(|c| c == '\'' || c == '"')))
}

/// Formats a map as files show it: one `key="value"` a line, sorted.
fn lines(map: &std::collections::BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// Returns the value of a `resourceFieldRef`. `container` is the container that asks, unless the reference names another.
///
/// # Errors
/// When the reference names an unknown container or resource.
pub fn resource(
    pod: &Pod,
    facts: &NodeFacts,
    container: Option<&str>,
    reference: &ResourceFieldSelector,
) -> Result<String, DownwardError> {
    let name = reference.container_name.as_deref().filter(|name| !name.is_empty()).or(container).unwrap_or_default();
    let spec = pod.spec.as_ref();
    let found = spec
        .into_iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .find(|container| container.name == name)
        .ok_or_else(|| DownwardError::NoContainer(name.to_owned()))?;
    let unsupported = || DownwardError::UnsupportedResource(reference.resource.clone());
    let (kind, resource) = reference.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = found.resources.clone().unwrap_or_default();
    let set = match kind {
        "limits" => resources.limits,
        "requests" => resources.requests,
        _ => return Err(unsupported()),
    };
    let set = set.and_then(|set| set.get(resource).and_then(nanos));
    let whole_node = match (kind, resource) {
        ("limits", "cpu") => i128::from(facts.cpus) * 1_000_000_000,
        ("limits", "memory") => i128::from(facts.memory) * 1_000_000_000,
        (_, "cpu" | "memory" | "ephemeral-storage") => 0,
        (_, other) if other.starts_with("hugepages-") => 0,
        _ => return Err(unsupported()),
    };
    let divisor = reference.divisor.as_ref().and_then(nanos).unwrap_or(0);
    Ok(divided(set.unwrap_or(whole_node), divisor).to_string())
}

/// Returns a quantity in billionths. `None` if the text is no quantity.
fn nanos(Quantity(text): &Quantity) -> Option<i128> {
    pocket_object::quantity::Quantity::parse(text).map(pocket_object::quantity::Quantity::nanos)
}

/// Divides a quantity by a divisor, rounded up, as `resourceFieldRef` requires. A divisor of 0 counts as 1.
fn divided(quantity: i128, divisor: i128) -> i128 {
    let divisor = if divisor <= 0 { 1_000_000_000 } else { divisor };
    if quantity <= 0 { 0 } else { (quantity + divisor - 1) / divisor }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x", "a/b": "c d"}},
            "spec": {"nodeName": "pocket", "containers": [
                {"name": "one", "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "10Mi"}}}, {"name": "two"}]},
        }))
        .unwrap()
    }

    const FACTS: NodeFacts = NodeFacts {
        host_ip: Ipv4Addr::new(10, 244, 0, 1),
        pod_ip: Some(Ipv4Addr::new(10, 244, 0, 7)),
        cpus: 2,
        memory: 1 << 30,
    };

    #[test]
    fn fields() {
        for (path, expected) in [
            ("metadata.name", Ok("p")),
            ("metadata.namespace", Ok("n")),
            ("metadata.uid", Ok("u")),
            ("metadata.labels['app']", Ok("x")),
            ("metadata.labels['missing']", Ok("")),
            ("metadata.labels", Ok("a/b=\"c d\"\napp=\"x\"")),
            ("spec.nodeName", Ok("pocket")),
            ("spec.serviceAccountName", Ok("default")),
            ("status.podIP", Ok("10.244.0.7")),
            ("status.hostIP", Ok("10.244.0.1")),
            ("spec.containers", Err("unsupported fieldPath: spec.containers")),
            ("spec['x']", Err("unsupported fieldPath: spec['x']")),
        ] {
            let answer = field(&pod(), &FACTS, path).map_err(|error| error.to_string());
            assert_eq!(answer.as_deref().map_err(String::as_str), expected, "{path}");
        }
    }

    #[test]
    fn resources() {
        for (container, name, divisor, expected) in [
            ("one", "limits.cpu", "1m", Ok("250")),
            ("one", "limits.cpu", "0", Ok("1")),
            ("one", "requests.memory", "1Mi", Ok("10")),
            ("two", "limits.cpu", "1", Ok("2")),
            ("two", "limits.memory", "1Mi", Ok("1024")),
            ("two", "requests.cpu", "1", Ok("0")),
            ("three", "limits.cpu", "1", Err("container three not found")),
            ("one", "limits.gpu", "1", Err("unsupported container resource: limits.gpu")),
            ("one", "cpu", "1", Err("unsupported container resource: cpu")),
        ] {
            let reference = ResourceFieldSelector {
                container_name: None,
                divisor: Some(Quantity(divisor.into())),
                resource: name.into(),
            };
            let answer = resource(&pod(), &FACTS, Some(container), &reference).map_err(|error| error.to_string());
            assert_eq!(answer.as_deref().map_err(String::as_str), expected, "{container} {name}/{divisor}");
        }
    }

    #[test]
    fn divides_and_rounds_up() {
        let n = |text: &str| nanos(&Quantity(text.into())).unwrap();
        for (quantity, divisor, expected) in [
            ("250m", "1", 1),
            ("250m", "1m", 250),
            ("64Mi", "1Mi", 64),
            ("65Mi", "64Mi", 2),
            ("1500m", "0", 2),
            ("0", "1", 0),
        ] {
            assert_eq!(divided(n(quantity), n(divisor)), expected, "{quantity}/{divisor}");
        }
    }
}
