//! Part of a stage's Service that its clients depend on.
//!
//! The API server refuses an apply as a whole: for a value that this Kubernetes does not know, or that a policy forbids. A field that the
//! user sets in a Service must not block a release, and least of all a rollback. So the selector and the ports are written without the
//! rest, which stays as it is. The refusal is reported, and the whole is tried again later.

use kube::{
    Api,
    api::{DynamicObject, Patch},
};
use rainbow_api::labels;
use serde_json::{Value, json};

use super::merging;

/// Writes selector and ports of exactly the Service that an apply was for. `None`: these are refused as well, or the Service is another one
/// by now.
pub(super) async fn write(api: &Api<DynamicObject>, name: &str, applied: &Value) -> Option<DynamicObject> {
    let patch = serde_json::from_value(steps(applied)?).ok()?;
    api.patch(name, &merging(), &Patch::<()>::Json(patch)).await.ok()
}

/// Returns the steps of a JSON patch, which replaces a selector. A merge would keep keys that are no longer wanted.
fn steps(applied: &Value) -> Option<Value> {
    let metadata = &applied["metadata"];
    let mut steps = Vec::new();
    for (field, path) in [("uid", "/metadata/uid"), ("resourceVersion", "/metadata/resourceVersion")] {
        if let Some(value) = metadata.get(field) {
            steps.push(json!({ "op": "test", "path": path, "value": value }));
        }
    }
    // Hash of what was asked for, so that it is not asked for again at once, and the color that goes with the selector.
    for key in [labels::APPLIED, labels::SERVES] {
        if let Some(value) = metadata["annotations"].get(key) {
            let path = format!("/metadata/annotations/{}", key.replace('/', "~1"));
            steps.push(json!({ "op": "add", "path": path, "value": value }));
        }
    }
    let spec = applied["spec"].as_object()?;
    steps.push(json!({ "op": "add", "path": "/spec/selector", "value": spec.get("selector")? }));
    let mut ports = spec.get("ports")?.clone();
    for port in ports.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        // A port keeps the node port that it has.
        port.remove("nodePort");
    }
    steps.push(json!({ "op": "add", "path": "/spec/ports", "value": ports }));
    Some(Value::Array(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_and_ports_alone() {
        let applied = json!({
            "metadata": { "uid": "u", "resourceVersion": "7", "annotations": { "rainbow.dev/applied": "x", "team": "a" } },
            "spec": { "selector": { "a": "b" }, "ports": [{ "port": 80, "nodePort": 30080 }], "trafficDistribution": "Unknown" },
        });
        let expected = json!([
            { "op": "test", "path": "/metadata/uid", "value": "u" },
            { "op": "test", "path": "/metadata/resourceVersion", "value": "7" },
            { "op": "add", "path": "/metadata/annotations/rainbow.dev~1applied", "value": "x" },
            { "op": "add", "path": "/spec/selector", "value": { "a": "b" } },
            { "op": "add", "path": "/spec/ports", "value": [{ "port": 80 }] },
        ]);
        assert_eq!(steps(&applied), Some(expected));
        assert_eq!(steps(&json!({ "metadata": {}, "spec": { "ports": [] } })), None);
    }
}
