//! EndpointSlices, as the watch shows them.

use rainbow_api::labels;
use std::sync::Arc;

use super::{Meta, ShownSlice, label};

/// Purpose of the Service that a slice belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SliceOf {
    Instance,
    Stage,
    /// Shadow Service of a stage.
    Shadow,
}

/// Ready endpoints of a Service, as one slice has them. For a stage's Service these are the pods that clients are sent to. The other
/// Services are evidence that the endpoint controller has seen pods as ready, so there the pods themselves must be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) meta: Meta,
    pub(crate) service: Box<str>,
    pub(crate) of: SliceOf,
    pub(crate) ready: Box<[Arc<str>]>,
}

impl Slice {
    pub(super) fn of(slice: &ShownSlice) -> Self {
        // Slices have the labels of their Services.
        let has = |key: &str| !label(&slice.metadata, key).is_empty();
        let of = match (has(labels::SHADOW), has(labels::STAGE)) {
            (true, _) => SliceOf::Shadow,
            (false, true) => SliceOf::Stage,
            (false, false) => SliceOf::Instance,
        };
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
            let Some(conditions) = &endpoint.conditions else { return true };
            // "A nil value should be interpreted as true."
            let sent_to = conditions.ready.unwrap_or(true);
            // With `publishNotReadyAddresses` an endpoint is called ready even if its pod is not.
            let pod_is_ready = conditions.serving.unwrap_or(true) && !conditions.terminating.unwrap_or(false);
            match of {
                SliceOf::Stage => sent_to,
                SliceOf::Instance | SliceOf::Shadow => sent_to && pod_is_ready,
            }
        });
        let pods = ready.filter_map(|endpoint| {
            endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?.name.as_deref()
        });
        Self {
            meta: Meta::of(&slice.metadata),
            service: label(&slice.metadata, "kubernetes.io/service-name").into(),
            of,
            ready: pods.map(Arc::from).collect(),
        }
    }
}

impl Slice {
    /// Returns whether a later state of the slice says the same.
    pub(crate) fn is_repeated_by(&self, later: &Self) -> bool {
        // The pattern names every field: a new field must be compared, too.
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

    /// A stage may send its clients to pods that are not ready. These are no evidence that the endpoint controller has seen them ready.
    #[test]
    fn a_pod_that_is_published_is_not_ready() {
        let ready = |label: &str| {
            let endpoint = |name: &str, conditions: serde_json::Value| json!({ "addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": { "kind": "Pod", "name": name } });
            let slice = json!({
                "metadata": { "name": "x", "labels": { label: "x" } }, "addressType": "IPv4",
                "endpoints": [
                    endpoint("ready", json!({ "ready": true, "serving": true, "terminating": false })),
                    endpoint("starts", json!({ "ready": true, "serving": false, "terminating": false })),
                    endpoint("ends", json!({ "ready": true, "serving": true, "terminating": true })),
                    endpoint("down", json!({ "ready": false, "serving": false, "terminating": false })),
                ],
            });
            let slice = Slice::of(&serde_json::from_value(slice).unwrap());
            slice.ready.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ready(labels::STAGE), ["ready", "starts", "ends"], "clients are sent to them");
        assert_eq!(ready(labels::SHADOW), ["ready"]);
        assert_eq!(ready(labels::COLOR), ["ready"]);
    }

    /// The API server writes a slice without endpoints as `null`.
    #[test]
    fn a_slice_may_have_no_endpoints() {
        let slice = json!({ "metadata": { "name": "x" }, "addressType": "IPv4", "endpoints": null });
        assert_eq!(Slice::of(&serde_json::from_value(slice).unwrap()).ready.len(), 0);
    }
}
