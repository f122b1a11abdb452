//! Tables of the other kinds.

use jiff::Timestamp;
use serde_json::Value;

use super::{AGE, Kind, NAME, age, ago, name, number, or_none};
use crate::json::{entries, list, text, truth};

pub(super) const PLAIN: Kind = (&[NAME, AGE], |object, now| vec![name(object), age(object, now)]);

pub(super) const CREATED_AT: Kind = (&[NAME, ("Created At", "date", 0)], |object, _| {
    vec![name(object), Value::from(text(object, "/metadata/creationTimestamp"))]
});

pub(super) const NAMESPACE: Kind = (&[NAME, ("Status", "string", 0), AGE], |object, now| {
    vec![name(object), Value::from(text(object, "/status/phase")), age(object, now)]
});

pub(super) const NODE: Kind = (
    &[
        NAME,
        ("Status", "string", 0),
        ("Roles", "string", 0),
        AGE,
        ("Version", "string", 0),
        ("Internal-IP", "string", 1),
        ("External-IP", "string", 1),
        ("OS-Image", "string", 1),
        ("Kernel-Version", "string", 1),
        ("Container-Runtime", "string", 1),
    ],
    node,
);

fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    const ROLE: &str = "node-role.kubernetes.io/";
    let ready = list(node, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Ready");
    let mut status = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if truth(node, "/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = entries(node, "/metadata/labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE) {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        let found = list(node, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
        or_none(found.map(|address| text(address, "/address")).unwrap_or_default())
    };
    let info = |field: &str| {
        let text = text(node, &format!("/status/nodeInfo/{field}"));
        Value::from(if text.is_empty() { "<unknown>" } else { text })
    };
    vec![
        name(node),
        Value::from(status),
        or_none(roles.join(",")),
        age(node, now),
        Value::from(text(node, "/status/nodeInfo/kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

pub(super) const EVENT: Kind = (
    &[
        ("Last Seen", "string", 0),
        ("Type", "string", 0),
        ("Reason", "string", 0),
        ("Object", "string", 0),
        ("Subobject", "string", 1),
        ("Source", "string", 1),
        ("Message", "string", 0),
        ("First Seen", "string", 1),
        ("Count", "string", 1),
        ("Name", "string", 1),
    ],
    event,
);

/// Returns the row of an event. The two APIs of events name the same fields differently; objects of both are shown.
fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let first_of = |pointers: &[&str]| {
        pointers.iter().map(|pointer| text(event, pointer)).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
    };
    let first = first_of(&["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]);
    let mut last = first_of(&["/lastTimestamp", "/deprecatedLastTimestamp"]);
    let mut count = number(event, "/count").max(number(event, "/deprecatedCount")).max(1);
    if let Some(series) = event.get("series").filter(|series| series.is_object()) {
        text(series, "/lastObservedTime").clone_into(&mut last);
        count = number(series, "/count");
    }
    if last.is_empty() {
        last.clone_from(&first);
    }
    let kind = first_of(&["/involvedObject/kind", "/regarding/kind"]).to_lowercase();
    let target = first_of(&["/involvedObject/name", "/regarding/name"]);
    let component =
        first_of(&["/source/component", "/deprecatedSource/component", "/reportingComponent", "/reportingController"]);
    let host = first_of(&["/source/host", "/deprecatedSource/host", "/reportingInstance"]);
    vec![
        Value::from(ago(&last, now)),
        Value::from(text(event, "/type")),
        Value::from(text(event, "/reason")),
        Value::from(if target.is_empty() { kind } else { format!("{kind}/{target}") }),
        Value::from(first_of(&["/involvedObject/fieldPath", "/regarding/fieldPath"])),
        Value::from(if host.is_empty() { component } else { format!("{component}, {host}") }),
        Value::from(first_of(&["/message", "/note"]).trim()),
        Value::from(ago(&first, now)),
        Value::from(count),
        name(event),
    ]
}

pub(super) const CONFIG_MAP: Kind = (&[NAME, ("Data", "string", 0), AGE], |object, now| {
    let count = entries(object, "/data").count() + entries(object, "/binaryData").count();
    vec![name(object), Value::from(count), age(object, now)]
});

pub(super) const SECRET: Kind = (&[NAME, ("Type", "string", 0), ("Data", "string", 0), AGE], |object, now| {
    vec![
        name(object),
        Value::from(text(object, "/type")),
        Value::from(entries(object, "/data").count()),
        age(object, now),
    ]
});

pub(super) const SERVICE_ACCOUNT: Kind = (&[NAME, ("Secrets", "string", 0), AGE], |object, now| {
    vec![name(object), Value::from(list(object, "/secrets").len()), age(object, now)]
});

pub(super) const CLAIM: Kind = (
    &[
        NAME,
        ("Status", "string", 0),
        ("Volume", "string", 0),
        ("Capacity", "string", 0),
        ("Access Modes", "string", 0),
        ("StorageClass", "string", 0),
        ("VolumeAttributesClass", "string", 0),
        AGE,
        ("VolumeMode", "string", 1),
    ],
    |object, now| {
        let bound = !text(object, "/spec/volumeName").is_empty();
        let modes: Vec<&str> = list(object, "/status/accessModes")
            .iter()
            .filter_map(Value::as_str)
            .map(|mode| match mode {
                "ReadWriteOnce" => "RWO",
                "ReadOnlyMany" => "ROX",
                "ReadWriteMany" => "RWX",
                "ReadWriteOncePod" => "RWOP",
                other => other,
            })
            .collect();
        let deleted = object.pointer("/metadata/deletionTimestamp").is_some();
        vec![
            name(object),
            Value::from(if deleted { "Terminating" } else { text(object, "/status/phase") }),
            Value::from(text(object, "/spec/volumeName")),
            Value::from(if bound { text(object, "/status/capacity/storage") } else { "" }),
            Value::from(if bound { modes.join(",") } else { String::new() }),
            Value::from(text(object, "/spec/storageClassName")),
            Value::from(match text(object, "/spec/volumeAttributesClassName") {
                "" => "<unset>",
                name => name,
            }),
            age(object, now),
            Value::from(match text(object, "/spec/volumeMode") {
                "" => "<unset>",
                mode => mode,
            }),
        ]
    },
);

pub(super) const LEASE: Kind = (&[NAME, ("Holder", "string", 0), AGE], |object, now| {
    vec![name(object), Value::from(text(object, "/spec/holderIdentity")), age(object, now)]
});

pub(super) const PRIORITY_CLASS: Kind = (
    &[NAME, ("Value", "integer", 0), ("Global-Default", "boolean", 0), AGE, ("PreemptionPolicy", "string", 0)],
    |object, now| {
        vec![
            name(object),
            Value::from(number(object, "/value")),
            Value::from(truth(object, "/globalDefault")),
            age(object, now),
            Value::from(text(object, "/preemptionPolicy")),
        ]
    },
);

pub(super) const STORAGE_CLASS: Kind = (
    &[
        NAME,
        ("Provisioner", "string", 0),
        ("ReclaimPolicy", "string", 0),
        ("VolumeBindingMode", "string", 0),
        ("AllowVolumeExpansion", "string", 0),
        AGE,
    ],
    |object, now| {
        const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
        let mut shown = text(object, "/metadata/name").to_owned();
        if entries(object, "/metadata/annotations").any(|(key, value)| key == DEFAULT && value == "true") {
            shown.push_str(" (default)");
        }
        vec![
            Value::from(shown),
            Value::from(text(object, "/provisioner")),
            Value::from(text(object, "/reclaimPolicy")),
            Value::from(text(object, "/volumeBindingMode")),
            Value::from(truth(object, "/allowVolumeExpansion")),
            age(object, now),
        ]
    },
);

pub(super) const ROLE_BINDING: Kind = (
    &[
        NAME,
        ("Role", "string", 0),
        AGE,
        ("Users", "string", 1),
        ("Groups", "string", 1),
        ("ServiceAccounts", "string", 1),
    ],
    |object, now| {
        let role = format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
        let subjects = |kind: &str| {
            let names =
                list(object, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind).map(|subject| {
                    match text(subject, "/namespace") {
                        "" => text(subject, "/name").to_owned(),
                        namespace => format!("{namespace}/{}", text(subject, "/name")),
                    }
                });
            Value::from(names.collect::<Vec<_>>().join(", "))
        };
        vec![
            name(object),
            Value::from(role),
            age(object, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
);
