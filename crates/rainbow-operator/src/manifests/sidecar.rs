//! Container that counts connections, as it is put into a pod template.

mod resources;
mod security;
mod unwritten;

pub(crate) use resources::fit;

use rainbow_api::{Sidecar, SidecarSettings, Tier, names};
use serde_json::{Value, json};

/// Default timeout of a probe in seconds.
const PROBE_TIMEOUT: i64 = 1;
/// Longest probe in seconds that the counter accepts. The counter refuses a longer one, and its pod would never start.
const LONGEST_PROBE: i64 = 3600;

/// Returns the counter with its container, as it is put into the pods of a new instance from now on. The counter sees only the pod's own
/// sockets. It has no probe, so that it never decides whether the pod is ready, and ends as soon as it gets the signal.
pub(crate) fn recorded(tier: &Tier, template: &Value, image: &str, settings: &SidecarSettings) -> Sidecar {
    let mut container = container(tier, template, image, settings);
    // Every supported cluster runs native sidecars. Colors of earlier operators may have recorded a plain container.
    let native = settings.native.unwrap_or(true);
    if native {
        // The container that starts first ends last, so it counts to the end.
        container["restartPolicy"] = json!("Always");
    }
    Sidecar { image: image.to_owned(), native, container: Some(container) }
}

/// Puts the counter of an instance into its template. `written` is the container that the color has recorded for it.
pub(super) fn inject(template: &mut Value, tier: &Tier, sidecar: &Sidecar, written: Option<Value>) {
    let container = written.unwrap_or_else(|| unwritten::container(tier, template, sidecar));
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if sidecar.native {
        if let Some(list) = list(spec, "initContainers") {
            list.insert(0, container);
        }
    } else if let Some(list) = list(spec, "containers") {
        // The user's own containers stay first: tools take the first container where none is named.
        list.push(container);
    }
}

fn list<'a>(spec: &'a mut serde_json::Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    let list = spec.entry(name).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

/// Returns the container of new instances.
fn container(tier: &Tier, template: &Value, image: &str, settings: &SidecarSettings) -> Value {
    let ports: Vec<String> = tier.tcp_ports().iter().map(ToString::to_string).collect();
    json!({
        "name": names::SIDECAR,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            { "name": "TALLY_PORTS", "value": ports.join(",") },
            { "name": "TALLY_NODE", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.hostIP" } } },
            // A connection from the node that is older than any probe is a client's.
            { "name": "TALLY_PROBE_SECONDS", "value": (probe_timeout(template) + 1).to_string() },
        ],
        "resources": settings.resources.clone().unwrap_or_else(|| resources::of_template(template)),
        "securityContext": settings.security_context.clone().unwrap_or_else(|| security::of_template(template)),
    })
}

/// Returns the longest time in seconds that a probe of the template may take.
fn probe_timeout(template: &Value) -> i64 {
    let containers = ["containers", "initContainers"].into_iter().filter_map(|list| template["spec"][list].as_array());
    let probes = containers.flatten().flat_map(|container| {
        ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter_map(|probe| container.get(probe))
    });
    let timeouts = probes.filter_map(|probe| probe.get("timeoutSeconds")?.as_i64());
    timeouts.max().unwrap_or(PROBE_TIMEOUT).clamp(PROBE_TIMEOUT, LONGEST_PROBE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(template: Value) -> Tier {
        let ports = json!([
            { "name": "http", "port": 80, "targetPort": 8080 }, { "name": "raw", "port": 8081 },
            { "name": "also", "port": 81, "targetPort": 8080 }, { "name": "udp", "port": 53, "protocol": "UDP" },
        ]);
        serde_json::from_value(json!({ "name": "web", "ports": ports, "template": template })).unwrap()
    }

    fn injected(template: Value, native: bool) -> Value {
        with(template, &SidecarSettings { native: Some(native), ..SidecarSettings::default() })
    }

    fn with(template: Value, settings: &SidecarSettings) -> Value {
        let tier = tier(template);
        let mut template = tier.template.clone();
        let sidecar = recorded(&tier, &template, "tally:1", settings);
        inject(&mut template, &tier, &sidecar, sidecar.container.clone());
        template
    }

    #[test]
    fn golden() {
        let template = injected(json!({ "spec": { "containers": [{ "name": "web", "image": "web:1" }] } }), false);
        let expected = json!({ "spec": { "containers": [
            { "name": "web", "image": "web:1" },
            {
                "name": "rainbow-tally", "image": "tally:1", "imagePullPolicy": "IfNotPresent",
                "env": [
                    { "name": "TALLY_PORTS", "value": "8080,8081" },
                    { "name": "TALLY_NODE", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.hostIP" } } },
                    { "name": "TALLY_PROBE_SECONDS", "value": "2" },
                ],
                "resources": { "requests": { "cpu": "1m", "memory": "4Mi" }, "limits": { "memory": "16Mi" } },
                "securityContext": {
                    "runAsNonRoot": true,
                    "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
                },
            },
        ] } });
        assert_eq!(template, expected);
    }

    #[test]
    fn settings_replace_what_is_usual() {
        let template = || json!({ "spec": { "containers": [{ "name": "web", "image": "web:1" }] } });
        let settings =
            json!({ "resources": { "limits": { "memory": "32Mi" } }, "securityContext": { "runAsUser": 7 } });
        let template_of = |settings: Value| with(template(), &serde_json::from_value(settings).unwrap());
        let counter = &template_of(settings.clone())["spec"]["initContainers"][0];
        assert_eq!(
            (&counter["resources"], &counter["securityContext"]),
            (&settings["resources"], &settings["securityContext"])
        );
        assert_eq!(counter["restartPolicy"], "Always", "native where nothing is said");
        let none =
            &template_of(json!({ "resources": {}, "securityContext": {}, "native": false }))["spec"]["containers"][1];
        assert_eq!((&none["resources"], &none["securityContext"]), (&json!({}), &json!({})));
    }

    #[test]
    fn a_native_one_starts_first() {
        let user = json!({ "spec": {
            "containers": [{ "name": "web", "image": "web:1" }],
            "initContainers": [{ "name": "setup", "image": "setup:1" }],
        } });
        let template = injected(user.clone(), true);
        assert_eq!(template["spec"]["containers"], user["spec"]["containers"]);
        let init = template["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(
            (init[0]["name"].as_str(), init[0]["restartPolicy"].as_str()),
            (Some("rainbow-tally"), Some("Always"))
        );
        assert_eq!(init[1], user["spec"]["initContainers"][0]);
    }

    #[test]
    fn a_slow_probe_is_known() {
        let template = json!({ "spec": { "initContainers": null, "containers": [
            { "name": "a", "readinessProbe": { "timeoutSeconds": 3 }, "livenessProbe": { "timeoutSeconds": 9 } }, { "name": "b" },
        ] } });
        let template = injected(template, true);
        assert_eq!(template["spec"]["initContainers"][0]["env"][2]["value"], "10");
        let slow = json!({ "spec": { "containers": [{ "name": "a", "startupProbe": { "timeoutSeconds": 86_400 } }] } });
        assert_eq!(injected(slow, true)["spec"]["initContainers"][0]["env"][2]["value"], "3600", "the counter's limit");
    }
}
