//! Environment of a container, as the kubelet makes it. Pure: the objects that it refers to are fetched before.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use crate::{
    cluster::{Address, Service},
    downward::{self, DownwardError, NodeFacts},
};

/// A ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A ConfigMap of the pod's namespace, by name.
    ConfigMap(String),
    /// A Secret of the pod's namespace, by name.
    Secret(String),
}

/// Data of the objects that were looked up: `None` where there is no such object.
pub type Sources = BTreeMap<Source, Option<BTreeMap<String, Vec<u8>>>>;

/// Reason why a container's environment cannot be made. The container waits with `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A ConfigMap that is not optional is missing.
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    /// A Secret that is not optional is missing.
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    /// A key that is not optional is missing.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        key: String,
        /// Kind of the object: `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace of the pod.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// Unknown field or resource.
    #[error(transparent)]
    Downward(#[from] DownwardError),
}

/// Returns the ConfigMaps and Secrets that a container's environment refers to.
pub fn references(container: &Container) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for from in container.env_from.iter().flatten() {
        sources.extend(from.config_map_ref.iter().map(|reference| Source::ConfigMap(reference.name.clone())));
        sources.extend(from.secret_ref.iter().map(|reference| Source::Secret(reference.name.clone())));
    }
    for value in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        sources.extend(value.config_map_key_ref.iter().map(|reference| Source::ConfigMap(reference.name.clone())));
        sources.extend(value.secret_key_ref.iter().map(|reference| Source::Secret(reference.name.clone())));
    }
    sources
}

/// Builds the variables of a container from Services, `envFrom` and `env`; a later source overrides. The image's own are not included.
///
/// # Errors
/// When an object or a key that is not optional is missing.
pub fn container(
    pod: &Pod,
    container: &Container,
    facts: &NodeFacts,
    services: BTreeMap<String, String>,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut all = services.clone();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (found, missing) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => (
                sources.get(&Source::ConfigMap(map.name.clone())).cloned().flatten(),
                (map.optional != Some(true)).then(|| EnvError::NoConfigMap(map.name.clone())),
            ),
            (_, Some(secret)) => (
                sources.get(&Source::Secret(secret.name.clone())).cloned().flatten(),
                (secret.optional != Some(true)).then(|| EnvError::NoSecret(secret.name.clone())),
            ),
            _ => continue,
        };
        match (found, missing) {
            (Some(data), _) => all.extend(
                data.into_iter()
                    .map(|(key, value)| (format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned()))
                    .filter(|(key, _)| !key.is_empty() && !key.contains('=')),
            ),
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
    }
    // As in the kubelet, references see Services' variables and those of `env` before them, but not `envFrom`.
    let mut visible = services;
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &visible)),
            Some(_) => value_from(pod, container, facts, sources, variable)?,
        };
        if let Some(value) = value {
            visible.insert(variable.name.clone(), value.clone());
            all.insert(variable.name.clone(), value);
        }
    }
    Ok(all)
}

/// Resolves `valueFrom`. `None` means optional and missing: no such variable.
fn value_from(
    pod: &Pod,
    container: &Container,
    facts: &NodeFacts,
    sources: &Sources,
    variable: &EnvVar,
) -> Result<Option<String>, EnvError> {
    let Some(from) = &variable.value_from else {
        return Ok(None);
    };
    if let Some(field) = &from.field_ref {
        return Ok(Some(downward::field(pod, facts, &field.field_path)?));
    }
    if let Some(resource) = &from.resource_field_ref {
        return Ok(Some(downward::resource(pod, facts, Some(&container.name), resource)?));
    }
    let (source, kind, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(map), _) => (Source::ConfigMap(map.name.clone()), "ConfigMap", &map.name, &map.key, map.optional),
        (_, Some(secret)) => {
            (Source::Secret(secret.name.clone()), "Secret", &secret.name, &secret.key, secret.optional)
        }
        _ => return Ok(None),
    };
    let data = sources.get(&source).cloned().flatten();
    let missing = match &data {
        None if kind == "ConfigMap" => EnvError::NoConfigMap(name.clone()),
        None => EnvError::NoSecret(name.clone()),
        Some(_) => EnvError::NoKey {
            key: key.clone(),
            kind,
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: name.clone(),
        },
    };
    match data.and_then(|mut data| data.remove(key)) {
        Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        None if optional == Some(true) => Ok(None),
        None => Err(missing),
    }
}

/// Replaces `$(NAME)` with the variable's value if there is one; `$$` is a literal `$`; all other text stays.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// Builds the variables that describe Services to a container, as Docker's links did.
pub fn service_variables<'a>(services: impl IntoIterator<Item = &'a Service>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for service in services {
        let Address::Cluster(ip) = service.address else {
            continue;
        };
        let Some(first) = service.ports.first() else {
            continue;
        };
        let name = upper(&service.key.name);
        all.insert(format!("{name}_SERVICE_HOST"), ip.to_string());
        all.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
        let url = |port: &crate::cluster::ServicePort| {
            format!("{}://{ip}:{}", port.protocol.as_str().to_ascii_lowercase(), port.port)
        };
        all.insert(format!("{name}_PORT"), url(first));
        for port in &service.ports {
            if !port.name.is_empty() {
                all.insert(format!("{name}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
            }
            let prefix = format!("{name}_PORT_{}_{}", port.port, port.protocol.as_str());
            all.insert(format!("{prefix}_PROTO"), port.protocol.as_str().to_ascii_lowercase());
            all.insert(format!("{prefix}_PORT"), port.port.to_string());
            all.insert(format!("{prefix}_ADDR"), ip.to_string());
            all.insert(prefix, url(port));
        }
    }
    all
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{Exposure, Protocol, ServicePort},
        watch::Key,
    };
    use serde_json::json;

    const FACTS: NodeFacts = NodeFacts {
        host_ip: std::net::Ipv4Addr::new(10, 244, 0, 1),
        pod_ip: Some(std::net::Ipv4Addr::new(10, 244, 0, 7)),
        cpus: 2,
        memory: 1 << 30,
    };

    fn build(spec: serde_json::Value, sources: &Sources) -> Result<BTreeMap<String, String>, EnvError> {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [spec]}}),
        )
        .unwrap();
        let services = BTreeMap::from([("DB_SERVICE_HOST".to_owned(), "10.96.1.1".to_owned())]);
        container(&pod, &pod.spec.as_ref().unwrap().containers[0], &FACTS, services, sources)
    }

    fn sources() -> Sources {
        let data = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.as_bytes().to_vec())]));
        BTreeMap::from([
            (Source::ConfigMap("c".into()), data("COLOR", "red")),
            (Source::Secret("s".into()), data("TOKEN", "t")),
            (Source::ConfigMap("gone".into()), None),
        ])
    }

    #[test]
    fn expands_as_kubernetes_does() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())]);
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$(NO)", "$(NO)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("ü$(A)ü", "ü1ü"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn later_variables_see_earlier_ones() {
        let env = build(
            json!({"name": "c", "env": [
                {"name": "A", "value": "a"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "c"},
                {"name": "URL", "value": "tcp://$(DB_SERVICE_HOST)"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ]}),
            &Sources::new(),
        )
        .unwrap();
        assert_eq!(env["B"], "a$(C)");
        assert_eq!(env["URL"], "tcp://10.96.1.1");
        assert_eq!(env["IP"], "10.244.0.7");
    }

    #[test]
    fn from_config_maps_and_secrets() {
        let env = build(
            json!({"name": "c",
                "envFrom": [{"prefix": "X_", "configMapRef": {"name": "c"}}, {"configMapRef": {"name": "gone", "optional": true}}],
                "env": [
                    {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}},
                    {"name": "O", "valueFrom": {"secretKeyRef": {"name": "s", "key": "NO", "optional": true}}},
                    {"name": "E", "value": "$(X_COLOR)"},
                ]}),
            &sources(),
        )
        .unwrap();
        assert_eq!(env["X_COLOR"], "red");
        assert_eq!(env["T"], "t");
        assert!(!env.contains_key("O"));
        // The kubelet does not expand values from `envFrom`.
        assert_eq!(env["E"], "$(X_COLOR)");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (env, expected) in [
            (json!({"configMapKeyRef": {"name": "gone", "key": "K"}}), "configmap \"gone\" not found"),
            (json!({"configMapKeyRef": {"name": "c", "key": "K"}}), "couldn't find key K in ConfigMap n/c"),
            (json!({"secretKeyRef": {"name": "none", "key": "K"}}), "secret \"none\" not found"),
            (json!({"fieldRef": {"fieldPath": "spec.x"}}), "unsupported fieldPath: spec.x"),
        ] {
            let error = build(json!({"name": "c", "env": [{"name": "V", "valueFrom": env}]}), &sources()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let error = build(json!({"name": "c", "envFrom": [{"secretRef": {"name": "none"}}]}), &sources()).unwrap_err();
        assert_eq!(error.to_string(), "secret \"none\" not found");
    }

    #[test]
    fn services_as_variables() {
        let port = |name: &str, port| ServicePort { name: name.into(), protocol: Protocol::Tcp, port, node_port: None };
        let service = Service {
            key: Key::new("n", "my-db"),
            uid: String::new(),
            address: Address::Cluster(std::net::Ipv4Addr::new(10, 96, 0, 9)),
            exposure: Exposure::Inside,
            ports: vec![port("pg", 5432), port("web-ui", 80)],
            affinity: None,
            internal: crate::cluster::Policy::Cluster,
            external: crate::cluster::Policy::Cluster,
            publish_not_ready: false,
            ingress: Vec::new(),
        };
        let env = service_variables([&service]);
        assert_eq!(env["MY_DB_SERVICE_HOST"], "10.96.0.9");
        assert_eq!(env["MY_DB_SERVICE_PORT"], "5432");
        assert_eq!(env["MY_DB_SERVICE_PORT_WEB_UI"], "80");
        assert_eq!(env["MY_DB_PORT"], "tcp://10.96.0.9:5432");
        assert_eq!(env["MY_DB_PORT_80_TCP"], "tcp://10.96.0.9:80");
        assert_eq!(env["MY_DB_PORT_80_TCP_ADDR"], "10.96.0.9");
        assert!(service_variables([&Service { address: Address::Headless, ..service }]).is_empty());
    }
}
