//! Ways in which a gate is measured: addresses, credentials, templates and windows.

use super::{super::template, Errors};
use crate::{
    FreezeWindow, GateArgument, GateAuthentication, GateCheck, GateTls, HumanDuration, JobGate, ManualGate,
    TrafficGate, ValueSource, WebGate, pod_types,
};

/// Names of the ways in which a gate is measured, apart from a template.
pub(super) const NAMES: [&str; 5] = ["prometheus", "web", "job", "traffic", "manual"];

/// Returns the ways that are set.
pub(super) fn set(check: &GateCheck) -> Vec<&'static str> {
    let is_set = [
        check.prometheus.is_some(),
        check.web.is_some(),
        check.job.is_some(),
        check.traffic.is_some(),
        check.manual.is_some(),
    ];
    NAMES.into_iter().zip(is_set).filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

pub(super) fn check(check: &GateCheck, path: &str, errors: &mut Errors) {
    if let Some(prometheus) = &check.prometheus {
        let path = format!("{path}.prometheus");
        url(&prometheus.address, &format!("{path}.address"), "http://prometheus.monitoring:9090", errors);
        if prometheus.query.trim().is_empty() {
            errors.add(format!("{path}.query"), "is empty: write a query in PromQL");
        }
        if prometheus.range.as_ref().and_then(|range| range.step) == Some(HumanDuration::default()) {
            errors.add(format!("{path}.range.step"), "0s is too short: use a time such as 15s");
        }
        access(prometheus.authentication.as_ref(), prometheus.tls.as_ref(), &path, errors);
    }
    if let Some(web) = &check.web {
        self::web(web, &format!("{path}.web"), errors);
    }
    if let Some(job) = &check.job {
        self::job(job, &format!("{path}.job"), errors);
    }
    if let Some(traffic) = &check.traffic {
        self::traffic(traffic, &format!("{path}.traffic"), errors);
    }
    if let Some(manual) = &check.manual {
        self::manual(manual, &format!("{path}.manual"), errors);
    }
}

fn url(text: &str, path: &str, example: &str, errors: &mut Errors) {
    // A text in braces is replaced before the address is used.
    let is_http = text.starts_with("http://") || text.starts_with("https://") || text.starts_with("{{args.");
    if !is_http || text.contains(|c: char| c.is_control()) {
        errors.add(path, format!("`{text}` is no address: begin with http:// or https://, such as {example}"));
    }
}

fn web(web: &WebGate, path: &str, errors: &mut Errors) {
    url(&web.url, &format!("{path}.url"), "http://{{service}}/healthz", errors);
    if let Some(method) = web.method.as_deref().filter(|method| !["GET", "POST", "PUT"].contains(method)) {
        errors.add(format!("{path}.method"), format!("`{method}` is not supported: use GET, POST or PUT"));
    }
    errors.duplicates(&format!("{path}.headers"), "header", web.headers.iter().map(|header| header.name.as_str()));
    for header in &web.headers {
        argument(header, true, &format!("{path}.headers[{}]", header.name), errors);
    }
    access(web.authentication.as_ref(), web.tls.as_ref(), path, errors);
}

fn job(job: &JobGate, path: &str, errors: &mut Errors) {
    let spec = &job.template["spec"];
    let place = format!("{path}.template");
    template::value(&job.template, &pod_types::template(), &mut place.clone(), errors);
    template::containers(spec, &place, errors);
    if let Some(policy) = spec["restartPolicy"].as_str().filter(|policy| !["Never", "OnFailure"].contains(policy)) {
        errors.add(
            format!("{path}.template.spec.restartPolicy"),
            format!("`{policy}` is not possible in a Job: use Never or OnFailure"),
        );
    }
    if let Some(limit) = job.backoff_limit.filter(|limit| !(0..=16).contains(limit)) {
        errors.add(format!("{path}.backoffLimit"), format!("{limit} is out of range: use 0 to 16"));
    }
    if job.deadline == Some(HumanDuration::default()) {
        errors.add(format!("{path}.deadline"), "0s is too short: use a time such as 10m");
    }
}

fn traffic(traffic: &TrafficGate, path: &str, errors: &mut Errors) {
    for (field, number, most) in [("requests", traffic.requests, 100_000), ("concurrency", traffic.concurrency, 64)] {
        if let Some(number) = number.filter(|number| !(1..=most).contains(number)) {
            errors.add(format!("{path}.{field}"), format!("{number} is out of range: use 1 to {most}"));
        }
    }
    if let Some(text) = traffic.path.as_ref().filter(|text| !text.starts_with('/')) {
        errors.add(format!("{path}.path"), format!("`{text}` is no path: begin with `/`"));
    }
}

fn manual(manual: &ManualGate, path: &str, errors: &mut Errors) {
    if manual.approval == Some(false) && manual.freeze.is_empty() {
        errors.add(path, "asks for no approval and has no freeze window, so it always passes: set one of the two");
    }
    for (index, window) in manual.freeze.iter().enumerate() {
        freeze(window, &format!("{path}.freeze[{index}]"), errors);
    }
}

fn freeze(window: &FreezeWindow, path: &str, errors: &mut Errors) {
    for (field, mistake) in window.mistakes() {
        errors.add(format!("{path}.{field}"), mistake);
    }
}

fn access(authentication: Option<&GateAuthentication>, tls: Option<&GateTls>, path: &str, errors: &mut Errors) {
    if let Some(authentication) = authentication {
        let path = format!("{path}.authentication");
        if authentication.bearer.is_some() && authentication.basic.is_some() {
            errors.add(&path, "both bearer and basic are set: set one of them");
        }
        if let Some(bearer) = &authentication.bearer {
            source(bearer, &format!("{path}.bearer"), errors);
        }
        if let Some(basic) = &authentication.basic {
            source(&basic.password, &format!("{path}.basic.password"), errors);
        }
    }
    if let Some(ca) = tls.and_then(|tls| tls.ca.as_ref()) {
        source(ca, &format!("{path}.tls.ca"), errors);
    }
}

/// Checks an argument or a header.
pub(super) fn argument(argument: &GateArgument, needs_value: bool, path: &str, errors: &mut Errors) {
    match (&argument.value, &argument.value_from) {
        (Some(_), Some(_)) => errors.add(path, "both value and valueFrom are set: set one of them"),
        (None, None) if needs_value => errors.add(path, "has no value: set value or valueFrom"),
        (_, Some(from)) => source(from, &format!("{path}.valueFrom"), errors),
        (Some(_) | None, None) => {}
    }
}

fn source(source: &ValueSource, path: &str, errors: &mut Errors) {
    match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(_), None) | (None, Some(_)) => {}
        (None, None) => errors.add(path, "is empty: set secretKeyRef or configMapKeyRef"),
        (Some(_), Some(_)) => errors.add(path, "both secretKeyRef and configMapKeyRef are set: set one of them"),
    }
}
