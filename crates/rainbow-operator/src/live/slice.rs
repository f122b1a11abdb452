//! EndpointSlices.

use rainbow_api::labels;
use std::sync::Arc;

use super::{Meta, ShownSlice, label};

/// Purpose of the Service that a slice is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SliceOf {
    Instance,
    Stage,
    /// The shadow Service of a stage.
    Shadow,
}

/// The ready endpoints of a Service, as one slice has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) meta: Meta,
    pub(crate) service: Box<str>,
    pub(crate) of: SliceOf,
    /// Names of pods.
    pub(crate) ready: Box<[Arc<str>]>,
}

impl Slice {
    pub(super) fn of(slice: &ShownSlice) -> Self {
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
            // "A nil value should be interpreted as true."
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
        });
        let pods = ready.filter_map(|endpoint| {
            endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?.name.as_deref()
        });
        // Slices have the labels of their Services.
        let has = |key: &str| !label(&slice.metadata, key).is_empty();
        let of = match (has(labels::SHADOW), has(labels::STAGE)) {
            (true, _) => SliceOf::Shadow,
            (false, true) => SliceOf::Stage,
            (false, false) => SliceOf::Instance,
        };
        Self {
            meta: Meta::of(&slice.metadata),
            service: label(&slice.metadata, "kubernetes.io/service-name").into(),
            of,
            ready: pods.map(Arc::from).collect(),
        }
    }
}

impl Slice {
    /// A later state of the slice says the same.
    pub(crate) fn is_repeated_by(&self, later: &Self) -> bool {
        // A new field has to be compared, too.
        let Self { meta, service, of, ready } = self;
        meta.is_repeated_by(&later.meta) && (service, of, ready) == (&later.service, &later.of, &later.ready)
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
                "labels": { "kubernetes.io/service-name": "frontend-active", "rainbow.dev/rainbow": "seamless", "rainbow.dev/stage": "active" },
            },
            "endpoints": [
                { "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "targetRef": pod("a") },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false }, "targetRef": pod("b") },
                { "addresses": ["10.0.0.3"], "conditions": {}, "targetRef": pod("c") },
                { "addresses": ["10.0.0.4"], "conditions": { "ready": true } },
            ],
        });
        let slice = Slice::of(&serde_json::from_value(slice).unwrap());
        assert_eq!((&*slice.service, slice.of, slice.meta.version), ("frontend-active", SliceOf::Stage, 7));
        let ready: Vec<&str> = slice.ready.iter().map(|pod| &**pod).collect();
        assert_eq!(ready, ["a", "c"]);
    }

    /// The API server writes a slice without endpoints as `null`.
    #[test]
    fn a_slice_may_have_no_endpoints() {
        let slice = json!({ "metadata": { "name": "x" }, "addressType": "IPv4", "endpoints": null });
        assert_eq!(Slice::of(&serde_json::from_value(slice).unwrap()).ready.len(), 0);
    }
}
