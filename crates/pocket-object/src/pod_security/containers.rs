//! Containers of a pod, and sentences about them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Pod;
use crate::json::{list, text};

impl<'a> Pod<'a> {
    /// Returns all containers in the order in which sentences name them.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["/initContainers", "/containers", "/ephemeralContainers"].into_iter().flat_map(move |lists| list(spec, lists))
    }

    /// Returns the names of the containers that match.
    pub(super) fn containers_where(&self, bad: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| bad(container)).map(|container| text(container, "/name")).collect()
    }

    pub(super) fn is_windows(&self) -> bool {
        text(self.spec, "/os/name") == "windows"
    }

    /// Returns whether root in the pod is not root of the node.
    pub(super) fn has_user_namespace(&self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }
}

/// Returns `container "a"` or `containers "a", "b"`.
pub(super) fn named(names: &[&str]) -> String {
    format!("{} {}", if names.len() == 1 { "container" } else { "containers" }, quoted(names.iter().copied()))
}

/// Names the pod and the containers that set a field: `pod and container "a"`. `None` if there are none.
pub(super) fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    match (pod, containers) {
        (false, []) => None,
        (true, []) => Some("pod".to_owned()),
        (false, names) => Some(named(names)),
        (true, names) => Some(format!("pod and {}", named(names))),
    }
}

/// Returns `"a", "b"`.
pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Forbidden values that containers (and perhaps the pod) set, with the names of those containers.
#[derive(Default)]
pub(super) struct Forbidden<'a> {
    pub(super) pod: bool,
    pub(super) containers: Vec<&'a str>,
    pub(super) values: BTreeSet<String>,
}

impl<'a> Forbidden<'a> {
    /// Checks a field of the security contexts of the pod and of all its containers.
    pub(super) fn of(pod: &Pod<'a>, field: &str, allowed: impl Fn(&str) -> bool) -> Self {
        let mut found = Self::default();
        let mut bad = |holder: &Value| {
            let parent = holder.pointer("/securityContext").and_then(|context| context.get(field));
            let type_ = parent.map(|parent| text(parent, "/type").to_owned()).filter(|type_| !allowed(type_));
            found.values.extend(type_.clone());
            type_.is_some()
        };
        let by_pod = bad(pod.spec);
        let containers = pod.containers().filter(|container| bad(container)).map(|container| text(container, "/name"));
        let containers = containers.collect();
        found.pod = by_pod;
        found.containers = containers;
        found
    }
}
