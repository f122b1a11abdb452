//! Tables of kinds that make pods.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    AGE, Kind, NAME, age,
    age::{between, since},
    containers, labels, name, number, or_none, selector,
};
use crate::json::{integer, list, text};

const CONTAINERS: super::Head = ("Containers", "string", 1);
const IMAGES: super::Head = ("Images", "string", 1);
const SELECTOR: super::Head = ("Selector", "string", 1);
const TEMPLATE: &str = "/spec/template/spec";

pub(super) const DEPLOYMENT: Kind = (
    &[
        NAME,
        ("Ready", "string", 0),
        ("Up-to-date", "string", 0),
        ("Available", "string", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    |object, now| {
        let [names, images] = containers(object, TEMPLATE);
        let ready = format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"));
        vec![
            name(object),
            Value::from(ready),
            Value::from(number(object, "/status/updatedReplicas")),
            Value::from(number(object, "/status/availableReplicas")),
            age(object, now),
            names,
            images,
            selector(object, "/spec/selector"),
        ]
    },
);

pub(super) const REPLICA_SET: Kind = (
    &[
        NAME,
        ("Desired", "integer", 0),
        ("Current", "integer", 0),
        ("Ready", "integer", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    |object, now| {
        let [names, images] = containers(object, TEMPLATE);
        // A ReplicationController's selector is a plain map.
        let has_expressions = ["matchLabels", "matchExpressions"]
            .iter()
            .any(|field| object.pointer(&format!("/spec/selector/{field}")).is_some_and(|value| !value.is_string()));
        vec![
            name(object),
            Value::from(number(object, "/spec/replicas")),
            Value::from(number(object, "/status/replicas")),
            Value::from(number(object, "/status/readyReplicas")),
            age(object, now),
            names,
            images,
            if has_expressions { selector(object, "/spec/selector") } else { labels(object, "/spec/selector") },
        ]
    },
);

pub(super) const STATEFUL_SET: Kind = (&[NAME, ("Ready", "string", 0), AGE, CONTAINERS, IMAGES], |object, now| {
    let [names, images] = containers(object, TEMPLATE);
    let ready = format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"));
    vec![name(object), Value::from(ready), age(object, now), names, images]
});

pub(super) const DAEMON_SET: Kind = (
    &[
        NAME,
        ("Desired", "integer", 0),
        ("Current", "integer", 0),
        ("Ready", "integer", 0),
        ("Up-to-date", "integer", 0),
        ("Available", "integer", 0),
        ("Node Selector", "string", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    |object, now| {
        let [names, images] = containers(object, TEMPLATE);
        let mut cells = vec![name(object)];
        cells.extend(
            [
                "desiredNumberScheduled",
                "currentNumberScheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
            ]
            .map(|field| Value::from(number(object, &format!("/status/{field}")))),
        );
        cells.extend([
            labels(object, &format!("{TEMPLATE}/nodeSelector")),
            age(object, now),
            names,
            images,
            selector(object, "/spec/selector"),
        ]);
        cells
    },
);

pub(super) const CONTROLLER_REVISION: Kind =
    (&[NAME, ("Controller", "string", 0), ("Revision", "string", 0), AGE], |object, now| {
        let owner = list(object, "/metadata/ownerReferences")
            .iter()
            .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
            .map(|owner| {
                let group = text(owner, "/apiVersion").split_once('/').map(|(group, _)| format!(".{group}"));
                let kind = text(owner, "/kind").to_lowercase();
                format!("{kind}{}/{}", group.unwrap_or_default(), text(owner, "/name"))
            });
        vec![
            name(object),
            or_none(owner.unwrap_or_default()),
            Value::from(number(object, "/revision")),
            age(object, now),
        ]
    });

pub(super) const JOB: Kind = (
    &[
        NAME,
        ("Status", "string", 0),
        ("Completions", "string", 0),
        ("Duration", "string", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    |object, now| {
        let [names, images] = containers(object, TEMPLATE);
        vec![
            name(object),
            Value::from(job_status(object)),
            Value::from(completions(object)),
            Value::from(duration(object, now)),
            age(object, now),
            names,
            images,
            selector(object, "/spec/selector"),
        ]
    },
);

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        list(job, "/status/conditions").iter().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if job.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let done = number(job, "/status/succeeded");
    match (integer(job, "/spec/completions"), integer(job, "/spec/parallelism").unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |pointer: &str| text(job, pointer).parse::<Timestamp>().ok();
    let Some(start) = time("/status/startTime") else { return String::new() };
    between(start, time("/status/completionTime").unwrap_or(now)).unwrap_or_default()
}

pub(super) const CRON_JOB: Kind = (
    &[
        NAME,
        ("Schedule", "string", 0),
        ("Timezone", "string", 0),
        ("Suspend", "boolean", 0),
        ("Active", "integer", 0),
        ("Last Schedule", "string", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    |object, now| {
        let [names, images] = containers(object, "/spec/jobTemplate/spec/template/spec");
        let suspended = crate::json::truth(object, "/spec/suspend");
        vec![
            name(object),
            Value::from(text(object, "/spec/schedule")),
            or_none(text(object, "/spec/timeZone")),
            Value::from(if suspended { "True" } else { "False" }),
            Value::from(list(object, "/status/active").len()),
            or_none(since(text(object, "/status/lastScheduleTime"), now).unwrap_or_default()),
            age(object, now),
            names,
            images,
            selector(object, "/spec/jobTemplate/spec/selector"),
        ]
    },
);

/// Returns a number or a percentage, or `N/A`.
fn or_not_applicable(object: &Value, pointer: &str) -> Value {
    match object.pointer(pointer) {
        Some(Value::String(text)) => Value::from(text.as_str()),
        Some(Value::Number(number)) => Value::from(number.to_string()),
        _ => Value::from("N/A"),
    }
}

pub(super) const DISRUPTION_BUDGET: Kind = (
    &[
        NAME,
        ("Min Available", "string", 0),
        ("Max Unavailable", "string", 0),
        ("Allowed Disruptions", "integer", 0),
        AGE,
    ],
    |object, now| {
        vec![
            name(object),
            or_not_applicable(object, "/spec/minAvailable"),
            or_not_applicable(object, "/spec/maxUnavailable"),
            Value::from(number(object, "/status/disruptionsAllowed")),
            age(object, now),
        ]
    },
);

pub(super) const AUTOSCALER: Kind = (
    &[
        NAME,
        ("Reference", "string", 0),
        ("Targets", "string", 0),
        ("MinPods", "string", 0),
        ("MaxPods", "string", 0),
        ("Replicas", "string", 0),
        AGE,
    ],
    |object, now| {
        let target =
            format!("{}/{}", text(object, "/spec/scaleTargetRef/kind"), text(object, "/spec/scaleTargetRef/name"));
        let minimum = integer(object, "/spec/minReplicas").map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
        vec![
            name(object),
            Value::from(target),
            or_none(targets(object)),
            Value::from(minimum),
            Value::from(number(object, "/spec/maxReplicas")),
            Value::from(number(object, "/status/currentReplicas")),
            age(object, now),
        ]
    },
);

/// Returns `cpu: 10%/80%`, or the part of it that is known.
fn targets(autoscaler: &Value) -> String {
    let metrics = list(autoscaler, "/spec/metrics").iter().map(|metric| {
        let resource = text(metric, "/resource/name");
        if text(metric, "/type") != "Resource" || resource.is_empty() {
            return format!("{}: <unknown>", text(metric, "/type"));
        }
        let current = list(autoscaler, "/status/currentMetrics")
            .iter()
            .find(|current| text(current, "/resource/name") == resource);
        let known = |of: &Value, at: &str| {
            let percent = integer(of, &format!("{at}/averageUtilization")).map(|number| format!("{number}%"));
            percent.or_else(|| Some(text(of, &format!("{at}/averageValue")).to_owned()).filter(|text| !text.is_empty()))
        };
        let unknown = || "<unknown>".to_owned();
        let is = current.and_then(|current| known(current, "/resource/current")).unwrap_or_else(unknown);
        format!("{resource}: {is}/{}", known(metric, "/resource/target").unwrap_or_else(unknown))
    });
    metrics.collect::<Vec<_>>().join(", ")
}
