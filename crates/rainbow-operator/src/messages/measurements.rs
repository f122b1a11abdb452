//! Measurements of gates: why there is no answer, and what is wrong with a gate.

use rainbow_api::{GateStatus, GateVerdict, HumanDuration, KeyRef};
use std::{fmt::Display, time::Duration};

pub(crate) const NO_HTTP: &str = "the URL must begin with `http://` or `https://`";
pub(crate) const CREDENTIALS_IN_URL: &str = "the URL contains credentials: use `authentication`";
pub(crate) const CONDITION_TOO_LONG: &str = "the condition takes longer than 5s";
pub(crate) const CONDITION_CRASHED: &str = "the condition cannot be evaluated";
pub(crate) const NO_AUTHORITY: &str = "`tls.ca` contains no certificate in PEM";
pub(crate) const BOTH_CONDITIONS: &str = "the success condition and the failure condition are both true";
pub(crate) const NEITHER_CONDITION: &str = "neither the success condition nor the failure condition is true";
pub(crate) const NO_DATA: &str = "the answer has no value";
pub(crate) const NO_PROVIDER: &str =
    "the gate must have exactly one of `prometheus`, `web`, `job`, `traffic` and `manual`";
pub(crate) const TEMPLATES_UNREAD: &str = "waits for the list of GateTemplates";

/// Describes a text that is no URL. The text itself may contain values from Secrets.
pub(crate) fn no_url(why: impl Display) -> String {
    format!("the URL cannot be used: {why}")
}

pub(crate) fn no_header(name: &str) -> String {
    format!("header `{name}` has a name or a value that HTTP does not allow")
}

pub(crate) fn unknown_host(host: &str) -> String {
    format!("host `{host}` cannot be resolved")
}

pub(crate) fn no_connection(host: &str, port: u16, why: impl Display) -> String {
    format!("`{host}:{port}` cannot be connected: {why}")
}

pub(crate) fn no_tls(host: &str, why: impl Display) -> String {
    format!("TLS with `{host}` failed: {why}")
}

pub(crate) fn no_server_name(name: &str) -> String {
    format!("`{name}` cannot be the name of a certificate")
}

pub(crate) fn bad_authority(why: impl Display) -> String {
    format!("a certificate of `tls.ca` cannot be used: {why}")
}

pub(crate) fn broken(why: impl Display) -> String {
    format!("the connection broke: {why}")
}

pub(crate) fn too_slow(limit: Duration) -> String {
    format!("no answer within {}", HumanDuration(limit))
}

pub(crate) fn answer_too_long(bytes: usize) -> String {
    format!("the answer has more than {} KiB", bytes / 1024)
}

/// Describes an answer of a Prometheus server that has no result.
pub(crate) fn prometheus_refuses(status: u16, says: Option<&str>) -> String {
    match says {
        Some(says) => format!("the server answered {status}: {says}"),
        None => format!("the server answered {status}, and not as Prometheus does"),
    }
}

pub(crate) fn not_followed(status: u16, location: Option<&str>) -> String {
    match location {
        Some(location) => format!("the server answered {status}: the redirect to `{location}` is not followed"),
        None => format!("the server answered {status}: redirects are not followed"),
    }
}

pub(crate) fn not_numeric(kind: &str) -> String {
    format!("the query returns {kind}: it must return numbers")
}

pub(crate) fn no_json(status: u16) -> String {
    format!("the answer with status {status} is no JSON, which `jsonPath` needs")
}

pub(crate) fn bad_path(path: &str, why: impl Display) -> String {
    format!("`jsonPath` `{path}` cannot be used: {}", one_line(&why.to_string()))
}

pub(crate) fn unknown_name(name: &str) -> String {
    format!(
        "`{{{{{name}}}}}` is no name: use color, stage, tier, service, namespace, since, or args.NAME of the gate's template"
    )
}

pub(crate) const OPEN_NAME: &str = "a `{{` has no `}}`";

pub(crate) fn no_object(kind: &str, name: &str, namespace: &str) -> String {
    format!("{kind} `{name}` does not exist in namespace `{namespace}`")
}

pub(crate) fn no_key(kind: &str, reference: &KeyRef) -> String {
    format!("{kind} `{}` has no key `{}` with a text", reference.name, reference.key)
}

/// Describes an object that the operator must not read, and the right that it lacks.
pub(crate) fn no_right(kind: &str, resource: &str, name: &str, namespace: &str) -> String {
    format!(
        "{kind} `{name}` cannot be read: the operator needs the right `get` for {resource} `{name}` in namespace \
         `{namespace}`; bind the operator's ServiceAccount to a Role with resources [\"{resource}\"], resourceNames \
         [\"{name}\"] and verbs [\"get\"]"
    )
}

pub(crate) fn value_unread(kind: &str, name: &str, why: impl Display) -> String {
    format!("{kind} `{name}` cannot be read: {why}")
}

pub(crate) fn no_value(argument: &str) -> String {
    format!("argument `{argument}` has no value")
}

pub(crate) const NO_SOURCE: &str = "a value needs `secretKeyRef` or `configMapKeyRef`";

/// Describes a condition that is no expression.
pub(crate) fn bad_condition(field: &str, why: &str) -> String {
    format!("{field} is no CEL expression: {}", one_line(why))
}

pub(crate) fn failed_condition(field: &str, why: &str) -> String {
    format!("{field} cannot be evaluated: {}", one_line(why))
}

pub(crate) fn no_truth(field: &str) -> String {
    format!("{field} must be true or false")
}

pub(crate) fn unmet(condition: &str) -> String {
    format!("`{condition}` is false")
}

pub(crate) fn met(condition: &str) -> String {
    format!("`{condition}` is true")
}

pub(crate) fn deep_condition(brackets: usize) -> String {
    format!("more than {brackets} levels of brackets or conditions")
}

pub(crate) fn long_condition(operators: usize) -> String {
    format!("more than {operators} operators")
}

pub(crate) fn unknown_gate(gate: &str) -> String {
    format!("gate `{gate}` is not in spec.gates")
}

pub(crate) fn unknown_template(template: &str) -> String {
    format!("GateTemplate `{template}` does not exist")
}

pub(crate) fn unreadable_template(template: &str, why: &str) -> String {
    format!("GateTemplate `{template}` cannot be read: {}", one_line(why))
}

/// Describes that the cluster has no GateTemplates, or that the operator must not read them.
pub(crate) fn no_templates(template: &str, why: &str) -> String {
    format!("GateTemplate `{template}` cannot be read: {}; `rainbow install` grants the right", one_line(why))
}

/// Describes the end of a gate: the measurements that decided, and the reason of the last one.
pub(crate) fn too_many(kind: &str, number: i32, limit: i32, last: Option<&str>) -> String {
    let measurements = if number == 1 { "measurement" } else { "measurements" };
    let limit = if limit == 0 { String::new() } else { format!(", more than {limit}") };
    let last = last.map_or_else(String::new, |last| format!("; the last: {last}"));
    format!("{number} {kind} {measurements}{limit}{last}")
}

/// Describes the end of a gate whose question is not answered.
pub(crate) fn errors_in_a_row(number: i32, last: Option<&str>) -> String {
    let last = last.map_or_else(String::new, |last| format!("; the last: {last}"));
    match number {
        1 => format!("1 measurement without an answer{last}"),
        _ => format!("{number} measurements in a row without an answer{last}"),
    }
}

/// Note of an event about a gate.
pub(crate) fn gate_event(stage: &str, gate: &GateStatus) -> String {
    let GateStatus { name, color, tier, .. } = gate;
    let verdict = match gate.verdict {
        GateVerdict::Running => "is being measured",
        GateVerdict::Passed => "has passed",
        GateVerdict::Failed => "has failed",
        GateVerdict::Inconclusive => "is inconclusive",
        GateVerdict::NoData => "has no data",
    };
    let tier = tier.as_ref().map_or_else(String::new, |tier| format!(", tier {tier}"));
    let dry = if gate.dry_run { " (dry run)" } else { "" };
    let value = gate.measurements.last().and_then(|last| last.value.as_ref());
    let value = value.map_or_else(String::new, |value| format!(" with {value}"));
    // The reason of a gate without data says no more.
    let why = gate.message.as_ref().filter(|_| gate.verdict != GateVerdict::NoData);
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    format!("stage {stage}{tier}: gate {name} of color {color} {verdict}{value}{dry}{why}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
