//! Application of which a thousand copies are measured.

use serde_json::{Value, json};

/// Number of live colors: one serves, the others drain for a day.
pub(super) const COLORS: usize = 3;
/// Pods of each of the two tiers of a color.
const REPLICAS: i32 = 5;
/// Number of pods of an application.
pub(super) const PODS: usize = COLORS * 2 * REPLICAS as usize;
/// Name of the Rainbow in each namespace.
pub(super) const NAME: &str = "shop";

/// Builds a Rainbow of two tiers and two stages, with a template of ordinary size.
pub(super) fn manifest(namespace: &str, color: &str, settle: &str) -> Value {
    json!({
        "apiVersion": "rainbow.dev/v1alpha1",
        "kind": "Rainbow",
        "metadata": { "name": NAME, "namespace": namespace },
        "spec": {
            "color": color,
            "tiers": [tier("backend", color, &json!([])), tier("frontend", color, &json!([{ "tier": "backend" }]))],
            "stages": [
                { "name": "smoke", "promote": "Auto", "replicas": 1 },
                { "name": "active", "promote": "Auto", "shift": { "flip": {} } },
            ],
            "drain": { "connections": "None", "settle": settle, "deadline": "48h" },
            "keep": { "live": COLORS, "history": 1 },
        },
    })
}

fn tier(name: &str, color: &str, needs: &Value) -> Value {
    let probe = |path: &str, period: u32| json!({ "httpGet": { "path": path, "port": 8080 }, "periodSeconds": period, "timeoutSeconds": 2 });
    json!({
        "name": name,
        "replicas": REPLICAS,
        "needs": needs,
        "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
        "template": {
            "metadata": { "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "8080" } },
            "spec": {
                "containers": [{
                    "name": name,
                    "image": format!("registry.example.com/shop/{name}:{color}"),
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "env": [
                        { "name": "LOG_LEVEL", "value": "info" },
                        { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                        { "name": "DATABASE_URL", "valueFrom": { "secretKeyRef": { "name": "database", "key": "url" } } },
                    ],
                    "readinessProbe": probe("/ready", 2),
                    "livenessProbe": probe("/alive", 10),
                    "resources": {
                        "requests": { "cpu": "100m", "memory": "128Mi" },
                        "limits": { "memory": "256Mi" },
                    },
                    "volumeMounts": [{ "name": "config", "mountPath": "/etc/shop" }],
                }],
                "volumes": [{ "name": "config", "configMap": { "name": "shop" } }],
                "terminationGracePeriodSeconds": 30,
            },
        },
    })
}
