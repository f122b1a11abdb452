//! Validation of pods and pod templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Errors;
use crate::{
    FieldError,
    json::{entries, list, text},
    names,
    quantity::Quantity,
};

pub(super) fn check(pod: &Value, errors: &mut Errors) {
    spec(pod.get("spec").unwrap_or(&Value::Null), "spec", errors);
}

/// Checks a pod template. `policies` are the restart policies that its workload allows.
pub(super) fn template(template: &Value, path: &str, policies: &[&str], errors: &mut Errors) {
    errors.labels(&format!("{path}.metadata.labels"), template.pointer("/metadata/labels"));
    spec(template.get("spec").unwrap_or(&Value::Null), &format!("{path}.spec"), errors);
    let policy = template.pointer("/spec/restartPolicy");
    if policy.is_some_and(|policy| ["Always", "OnFailure", "Never"].iter().any(|known| policy == known)) {
        errors.one_of(&format!("{path}.spec.restartPolicy"), policy, policies);
    }
}

fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    if list(spec, "/containers").is_empty() {
        errors.required(format!("{path}.containers"), "");
    }
    let volumes = volumes(spec, path, errors);
    let mut seen = BTreeSet::new();
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list(spec, &format!("/{kind}")).iter().enumerate() {
            let at = format!("{path}.{kind}[{index}]");
            if !text(container, "/name").is_empty() && !seen.insert(text(container, "/name")) {
                errors.add(FieldError::duplicate(format!("{at}.name"), &container["name"]));
            }
            self::container(container, kind, &at, &volumes, errors);
        }
    }
    ports_on_host(spec, path, errors);

    errors.one_of(&format!("{path}.restartPolicy"), spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    let dns = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    errors.one_of(&format!("{path}.dnsPolicy"), spec.get("dnsPolicy"), &dns);
    if text(spec, "/dnsPolicy") == "None" && list(spec, "/dnsConfig/nameservers").is_empty() {
        errors.required(
            format!("{path}.dnsConfig.nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    errors.not_negative(&format!("{path}.terminationGracePeriodSeconds"), spec.get("terminationGracePeriodSeconds"));
    errors.at_least(&format!("{path}.activeDeadlineSeconds"), spec.get("activeDeadlineSeconds"), 1);
    errors.labels(&format!("{path}.nodeSelector"), spec.get("nodeSelector"));
    for (field, rule) in [
        ("serviceAccountName", names::subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
        ("priorityClassName", names::subdomain),
    ] {
        let name = text(spec, &format!("/{field}"));
        if !name.is_empty() {
            errors.named(&format!("{path}.{field}"), name, rule);
        }
    }
    for (index, toleration) in list(spec, "/tolerations").iter().enumerate() {
        let at = format!("{path}.tolerations[{index}]");
        let effects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
        let effect = toleration.get("effect").filter(|effect| **effect != "");
        errors.one_of(&format!("{at}.effect"), effect, &effects);
        let operator = toleration.get("operator").filter(|operator| **operator != "");
        errors.one_of(&format!("{at}.operator"), operator, &["Equal", "Exists"]);
        if text(toleration, "/key").is_empty() && text(toleration, "/operator") != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(format!("{at}.operator"), &Value::from(text(toleration, "/operator")), detail);
        }
    }
}

/// Checks the volumes, and returns their names.
fn volumes<'a>(spec: &'a Value, path: &str, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in list(spec, "/volumes").iter().enumerate() {
        let at = format!("{path}.volumes[{index}]");
        let name = text(volume, "/name");
        if name.is_empty() {
            errors.required(format!("{at}.name"), "");
        } else {
            errors.named(&format!("{at}.name"), name, names::label);
            if !seen.insert(name) {
                errors.add(FieldError::duplicate(format!("{at}.name"), &volume["name"]));
            }
        }
        let sources: Vec<&String> = entries(volume, "").map(|(key, _)| key).filter(|key| *key != "name").collect();
        match sources.as_slice() {
            [] => errors.required(at.as_str(), "must specify a volume type"),
            [source] => {
                let required = match source.as_str() {
                    "configMap" => Some("name"),
                    "secret" => Some("secretName"),
                    "hostPath" => Some("path"),
                    "persistentVolumeClaim" => Some("claimName"),
                    _ => None,
                };
                if let Some(field) = required
                    && text(volume, &format!("/{source}/{field}")).is_empty()
                {
                    errors.required(format!("{at}.{source}.{field}"), "");
                }
            }
            [_, more @ ..] => {
                for source in more {
                    errors.add(FieldError::forbidden(
                        format!("{at}.{source}"),
                        "may not specify more than 1 volume type",
                    ));
                }
            }
        }
    }
    seen
}

fn container(container: &Value, kind: &str, at: &str, volumes: &BTreeSet<&str>, errors: &mut Errors) {
    let name = text(container, "/name");
    if name.is_empty() {
        errors.required(format!("{at}.name"), "");
    } else {
        errors.named(&format!("{at}.name"), name, names::label);
    }
    let image = text(container, "/image");
    if image.is_empty() {
        errors.required(format!("{at}.image"), "");
    } else if image.trim() != image {
        errors.invalid(format!("{at}.image"), &container["image"], "must not have leading or trailing whitespace");
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&format!("{at}.imagePullPolicy"), container.get("imagePullPolicy"), &policies);
    let policies = ["FallbackToLogsOnError", "File"];
    errors.one_of(&format!("{at}.terminationMessagePolicy"), container.get("terminationMessagePolicy"), &policies);
    ports(container, at, errors);
    env(container, at, errors);
    mounts(container, at, volumes, errors);

    // An init container that restarts is a sidecar, and may have every field of a container.
    let restarts = text(container, "/restartPolicy") == "Always";
    if kind == "initContainers" {
        errors.one_of(&format!("{at}.restartPolicy"), container.get("restartPolicy"), &["Always"]);
    } else if container.get("restartPolicy").is_some() {
        errors.add(FieldError::forbidden(format!("{at}.restartPolicy"), "may not be set for non-init containers"));
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(name) else { continue };
        let at = format!("{at}.{name}");
        if kind == "initContainers" && !restarts {
            errors.add(FieldError::forbidden(at, "may not be set for init containers without restartPolicy=Always"));
            continue;
        }
        handler(probe, &at, &["exec", "grpc", "httpGet", "tcpSocket"], errors);
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            errors.not_negative(&format!("{at}.{field}"), probe.get(field));
        }
        if name != "readinessProbe"
            && let Some(threshold) = probe.get("successThreshold").filter(|threshold| **threshold != 1)
        {
            errors.invalid(format!("{at}.successThreshold"), threshold, "must be 1");
        }
    }
    for name in ["postStart", "preStop"] {
        if let Some(hook) = container.pointer(&format!("/lifecycle/{name}")) {
            handler(hook, &format!("{at}.lifecycle.{name}"), &["exec", "httpGet", "sleep", "tcpSocket"], errors);
        }
    }
    for (name, request) in entries(container, "/resources/requests") {
        if let Some(limit) = container.pointer("/resources/limits").and_then(|limits| limits.get(name))
            && let (Some(asked), Some(allowed)) = (Quantity::of(request), Quantity::of(limit))
            && asked > allowed
        {
            let detail = format!("must be less than or equal to {name} limit of {}", plain(limit));
            errors.invalid(format!("{at}.resources.requests"), &Value::from(plain(request)), detail);
        }
    }
    for of in ["requests", "limits"] {
        for (name, amount) in entries(container, &format!("/resources/{of}")) {
            match Quantity::of(amount) {
                None => errors.invalid(
                    format!("{at}.resources.{of}[{name}]"),
                    amount,
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                ),
                Some(value) if value.is_negative() => {
                    errors.invalid(
                        format!("{at}.resources.{of}[{name}]"),
                        amount,
                        "must be greater than or equal to 0",
                    );
                }
                Some(_) => {}
            }
        }
    }
}

fn ports(container: &Value, at: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, port) in list(container, "/ports").iter().enumerate() {
        let at = format!("{at}.ports[{index}]");
        match port.get("containerPort") {
            None => errors.required(format!("{at}.containerPort"), ""),
            Some(number) => errors.port(&format!("{at}.containerPort"), number),
        }
        if let Some(number) = port.get("hostPort").filter(|number| **number != 0) {
            errors.port(&format!("{at}.hostPort"), number);
        }
        let name = text(port, "/name");
        if !name.is_empty() {
            errors.named(&format!("{at}.name"), name, names::port_name);
            if !seen.insert(name) {
                errors.add(FieldError::duplicate(format!("{at}.name"), &port["name"]));
            }
        }
        errors.one_of(&format!("{at}.protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

/// Checks that no two containers of a pod take the same port of the host.
fn ports_on_host(spec: &Value, path: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (container_index, container) in list(spec, "/containers").iter().enumerate() {
        for (index, port) in list(container, "/ports").iter().enumerate() {
            let Some(number) = port.get("hostPort").and_then(Value::as_i64).filter(|number| *number != 0) else {
                continue;
            };
            if !seen.insert((text(port, "/protocol"), text(port, "/hostIP"), number)) {
                let at = format!("{path}.containers[{container_index}].ports[{index}].hostPort");
                errors.add(FieldError::duplicate(at, &Value::from(format!("{}/{number}", text(port, "/protocol")))));
            }
        }
    }
}

fn env(container: &Value, at: &str, errors: &mut Errors) {
    for (index, variable) in list(container, "/env").iter().enumerate() {
        let at = format!("{at}.env[{index}]");
        let name = text(variable, "/name");
        if name.is_empty() {
            errors.required(format!("{at}.name"), "");
        } else {
            errors.named(&format!("{at}.name"), name, names::env_name);
        }
        if let Some(value) = variable.get("value").filter(|value| !value.is_string()) {
            errors.add(FieldError::type_invalid(format!("{at}.value"), value, "must be a string (quote it)"));
        }
        let Some(from) = variable.get("valueFrom") else { continue };
        let at = format!("{at}.valueFrom");
        if !text(variable, "/value").is_empty() {
            errors.invalid(at.as_str(), &Value::from(""), "may not be specified when `value` is not empty");
        }
        let sources: Vec<&str> = entries(from, "").map(|(key, _)| key.as_str()).collect();
        let known = ["configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef"];
        match sources.as_slice() {
            [source] if known.contains(source) => match *source {
                "fieldRef" => field_ref(from, &at, errors),
                "configMapKeyRef" | "secretKeyRef" => {
                    for field in ["name", "key"] {
                        if text(from, &format!("/{source}/{field}")).is_empty() {
                            errors.required(format!("{at}.{source}.{field}"), "");
                        }
                    }
                }
                _ => {}
            },
            [] => errors.invalid(
                at,
                &Value::from(""),
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            ),
            [_] => {}
            _ => errors.invalid(at, &Value::from(""), "may not have more than one field specified at a time"),
        }
    }
}

fn field_ref(from: &Value, at: &str, errors: &mut Errors) {
    const FIELDS: &[&str] = &[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let path = text(from, "/fieldRef/fieldPath");
    let at = format!("{at}.fieldRef.fieldPath");
    if path.is_empty() {
        errors.required(at, "");
    } else if !FIELDS.contains(&path)
        && !path.starts_with("metadata.labels['")
        && !path.starts_with("metadata.annotations['")
    {
        errors.add(FieldError::not_supported(at, &Value::from(path), FIELDS));
    }
}

fn mounts(container: &Value, at: &str, volumes: &BTreeSet<&str>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let at = format!("{at}.volumeMounts[{index}]");
        let name = text(mount, "/name");
        if name.is_empty() {
            errors.required(format!("{at}.name"), "");
        } else if !volumes.contains(name) {
            errors.add(FieldError::not_found(format!("{at}.name"), &mount["name"]));
        }
        let path = text(mount, "/mountPath");
        if path.is_empty() {
            errors.required(format!("{at}.mountPath"), "");
        } else if !seen.insert(path) {
            errors.invalid(format!("{at}.mountPath"), &mount["mountPath"], "must be unique");
        }
        let sub_path = text(mount, "/subPath");
        if sub_path.starts_with('/') {
            errors.invalid(format!("{at}.subPath"), &mount["subPath"], "must be a relative path");
        }
        if sub_path.split('/').any(|part| part == "..") {
            errors.invalid(format!("{at}.subPath"), &mount["subPath"], "must not contain '..'");
        }
    }
}

fn handler(handler: &Value, at: &str, kinds: &[&str], errors: &mut Errors) {
    let found: Vec<&&str> = kinds.iter().filter(|kind| handler.get(**kind).is_some()).collect();
    match found.as_slice() {
        [] => errors.required(at, "must specify a handler type"),
        [_] => {}
        [_, more @ ..] => {
            for kind in more {
                errors.add(FieldError::forbidden(format!("{at}.{kind}"), "may not specify more than 1 handler type"));
            }
        }
    }
    if handler.get("exec").is_some() && list(handler, "/exec/command").is_empty() {
        errors.required(format!("{at}.exec.command"), "");
    }
    for kind in ["httpGet", "tcpSocket"] {
        if let Some(target) = handler.get(kind) {
            match target.get("port") {
                None => errors.required(format!("{at}.{kind}.port"), ""),
                Some(port) => errors.port_or_name(&format!("{at}.{kind}.port"), port),
            }
        }
    }
    if handler.get("httpGet").is_some() {
        errors.one_of(&format!("{at}.httpGet.scheme"), handler.pointer("/httpGet/scheme"), &["HTTP", "HTTPS"]);
    }
    if handler.get("grpc").is_some() {
        errors.port(&format!("{at}.grpc.port"), handler.pointer("/grpc/port").unwrap_or(&Value::Null));
    }
}

fn plain(amount: &Value) -> String {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned)
}
