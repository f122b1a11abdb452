//! EndpointSlices.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Meta, label};

/// The ready endpoints of a stage's Service, as one slice has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) meta: Meta,
    pub(crate) service: String,
    /// Names of pods.
    pub(crate) ready: Vec<String>,
}

impl Slice {
    pub(super) fn of(slice: &EndpointSlice) -> Self {
        let ready = slice.endpoints.iter().filter(|endpoint| {
            // "A nil value should be interpreted as true."
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
        });
        let pods = ready.filter_map(|endpoint| {
            endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?.name.clone()
        });
        Self {
            meta: Meta::of(&slice.metadata),
            service: label(&slice.metadata, "kubernetes.io/service-name").to_owned(),
            ready: pods.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_slice_names_its_ready_pods() {
        let pod = |name: &str| json!({ "kind": "Pod", "name": name, "namespace": "default" });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "frontend-active-x", "namespace": "default", "uid": "u", "resourceVersion": "7",
                "labels": { "kubernetes.io/service-name": "frontend-active", "rainbow.dev/rainbow": "seamless" },
            },
            "endpoints": [
                { "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "targetRef": pod("a") },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false }, "targetRef": pod("b") },
                { "addresses": ["10.0.0.3"], "conditions": {}, "targetRef": pod("c") },
                { "addresses": ["10.0.0.4"], "conditions": { "ready": true } },
            ],
        });
        let slice = Slice::of(&serde_json::from_value(slice).unwrap());
        assert_eq!((slice.service.as_str(), slice.meta.version), ("frontend-active", 7));
        assert_eq!(slice.ready, ["a", "c"]);
    }

    /// The API server writes a slice without endpoints as `null`.
    #[test]
    fn a_slice_may_have_no_endpoints() {
        let slice = json!({ "metadata": { "name": "x" }, "addressType": "IPv4", "endpoints": null });
        assert_eq!(Slice::of(&serde_json::from_value(slice).unwrap()).ready, Vec::<String>::new());
    }
}
