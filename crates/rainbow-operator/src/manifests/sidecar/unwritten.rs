//! Container of instances whose color has not recorded it. All versions that recorded none rendered this one, down to the byte. It is a
//! copy on purpose: a change here would restart every pod that such a version made, so do not change it.

use rainbow_api::{Sidecar, Tier, names};
use serde_json::{Value, json};

/// Default timeout of a probe in seconds.
const PROBE_TIMEOUT: i64 = 1;
/// Longest probe in seconds that the counter accepts.
const LONGEST_PROBE: i64 = 3600;

pub(super) fn container(tier: &Tier, template: &Value, sidecar: &Sidecar) -> Value {
    let ports: Vec<String> = tier.tcp_ports().iter().map(ToString::to_string).collect();
    let mut container = json!({
        "name": names::SIDECAR,
        "image": sidecar.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            { "name": "TALLY_PORTS", "value": ports.join(",") },
            { "name": "TALLY_NODE", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.hostIP" } } },
            { "name": "TALLY_PROBE_SECONDS", "value": (probe_timeout(template) + 1).to_string() },
        ],
        "resources": { "requests": { "cpu": "1m", "memory": "4Mi" }, "limits": { "memory": "16Mi" } },
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    if sidecar.native {
        container["restartPolicy"] = json!("Always");
    }
    container
}

fn probe_timeout(template: &Value) -> i64 {
    let containers = ["containers", "initContainers"].into_iter().filter_map(|list| template["spec"][list].as_array());
    let probes = containers.flatten().flat_map(|container| {
        ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter_map(|probe| container.get(probe))
    });
    let timeouts = probes.filter_map(|probe| probe.get("timeoutSeconds")?.as_i64());
    timeouts.max().unwrap_or(PROBE_TIMEOUT).clamp(PROBE_TIMEOUT, LONGEST_PROBE - 1)
}
