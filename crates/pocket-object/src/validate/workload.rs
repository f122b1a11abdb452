//! Validation of kinds that make pods, and of kinds that count them.

use serde_json::Value;

use super::{Errors, pod};
use crate::{FieldError, json::text, selector::LabelSelector};

const SELECTOR_MISMATCH: &str = "`selector` does not match template `labels`";

/// Checks a Deployment, ReplicaSet, StatefulSet or DaemonSet.
pub(super) fn apps(kind: &str, object: &Value, errors: &mut Errors) {
    let null = Value::Null;
    let spec = object.get("spec").unwrap_or(&null);
    selector_and_template(spec, errors);
    errors.not_negative("spec.replicas", spec.get("replicas"));
    errors.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"));
    errors.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"));
    match kind {
        "Deployment" => {
            errors.one_of("spec.strategy.type", spec.pointer("/strategy/type"), &["Recreate", "RollingUpdate"]);
            if text(spec, "/strategy/type") == "Recreate" && spec.pointer("/strategy/rollingUpdate").is_some() {
                errors.add(FieldError::forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            } else if text(spec, "/strategy/type") == "RollingUpdate" {
                rolling_update(spec.pointer("/strategy/rollingUpdate"), "spec.strategy.rollingUpdate", errors);
            }
            let (deadline, ready) = (spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds"));
            errors.not_negative("spec.progressDeadlineSeconds", deadline);
            if let Some(deadline) = deadline
                && deadline.as_i64().is_some_and(|deadline| deadline <= ready.and_then(Value::as_i64).unwrap_or(0))
            {
                errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
            }
        }
        "StatefulSet" => {
            let policies = ["OrderedReady", "Parallel"];
            errors.one_of("spec.podManagementPolicy", spec.get("podManagementPolicy"), &policies);
            errors.one_of(
                "spec.updateStrategy.type",
                spec.pointer("/updateStrategy/type"),
                &["OnDelete", "RollingUpdate"],
            );
        }
        "DaemonSet" => {
            errors.one_of(
                "spec.updateStrategy.type",
                spec.pointer("/updateStrategy/type"),
                &["OnDelete", "RollingUpdate"],
            );
        }
        _ => {}
    }
}

fn selector_and_template(spec: &Value, errors: &mut Errors) {
    let labels = spec.pointer("/template/metadata/labels").unwrap_or(&Value::Null);
    match spec.get("selector") {
        None | Some(Value::Null) => errors.required("spec.selector", ""),
        Some(selector) => {
            errors.selector("spec.selector", selector);
            match LabelSelector::from_value(selector) {
                Ok(parsed) if parsed.is_empty() => {
                    errors.invalid("spec.selector", selector, "empty selector is invalid for deployment");
                }
                Ok(parsed) if !parsed.matches(labels) => {
                    errors.invalid("spec.template.metadata.labels", labels, SELECTOR_MISMATCH);
                }
                Err(error) => errors.invalid("spec.selector", selector, error.0),
                Ok(_) => {}
            }
        }
    }
    match spec.get("template") {
        None => errors.required("spec.template", ""),
        Some(template) => {
            pod::template(template, "spec.template", &["Always"], errors);
            if template.pointer("/spec/activeDeadlineSeconds").is_some() {
                let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
                errors.add(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", detail));
            }
        }
    }
}

fn rolling_update(rolling: Option<&Value>, path: &str, errors: &mut Errors) {
    let Some(rolling) = rolling else { return };
    let mut zero = 0;
    for field in ["maxUnavailable", "maxSurge"] {
        let Some(value) = rolling.get(field) else { continue };
        count_or_percent(&format!("{path}.{field}"), value, errors);
        zero += usize::from(*value == 0 || *value == "0%");
    }
    if zero == 2 {
        let value = rolling.get("maxUnavailable").unwrap_or(&Value::Null);
        errors.invalid(format!("{path}.maxUnavailable"), value, "may not be 0 when `maxSurge` is 0");
    }
}

/// Checks a number of pods, or a part of them: `3`, `25%`.
fn count_or_percent(path: &str, value: &Value, errors: &mut Errors) {
    match value {
        Value::String(text) => {
            let percent = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
            if percent.and_then(|digits| digits.parse::<u32>().ok()).is_none() {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                errors.invalid(path, value, detail);
            } else if path.ends_with("maxUnavailable")
                && percent.is_some_and(|digits| digits.parse::<u32>().is_ok_and(|n| n > 100))
            {
                errors.invalid(path, value, "must not be greater than 100%");
            }
        }
        value => errors.not_negative(path, Some(value)),
    }
}

pub(super) fn job(job: &Value, errors: &mut Errors) {
    job_spec(job.get("spec").unwrap_or(&Value::Null), "spec", errors);
    let spec = job.get("spec").unwrap_or(&Value::Null);
    // A Job that brings no selector has none until the server makes it.
    if let Some(selector) = spec.get("selector") {
        errors.selector("spec.selector", selector);
        let labels = spec.pointer("/template/metadata/labels").unwrap_or(&Value::Null);
        if LabelSelector::from_value(selector).is_ok_and(|selector| !selector.matches(labels)) {
            errors.invalid("spec.template.metadata.labels", labels, SELECTOR_MISMATCH);
        }
    } else if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        errors.required("spec.selector", "");
    }
}

fn job_spec(spec: &Value, path: &str, errors: &mut Errors) {
    for field in ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
        errors.not_negative(&format!("{path}.{field}"), spec.get(field));
    }
    errors.one_of(&format!("{path}.completionMode"), spec.get("completionMode"), &["Indexed", "NonIndexed"]);
    if text(spec, "/completionMode") == "Indexed" && spec.get("completions").is_none() {
        errors.required(format!("{path}.completions"), "when completion mode is Indexed");
    }
    match spec.get("template") {
        None => errors.required(format!("{path}.template"), ""),
        Some(template) => pod::template(template, &format!("{path}.template"), &["Never", "OnFailure"], errors),
    }
}

pub(super) fn cron_job(cron_job: &Value, errors: &mut Errors) {
    let schedule = text(cron_job, "/spec/schedule");
    if schedule.is_empty() {
        errors.required("spec.schedule", "");
    } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
        let count = schedule.split_whitespace().count();
        let detail = format!("expected exactly 5 fields, found {count}: [{schedule}]");
        errors.invalid("spec.schedule", &Value::from(schedule), detail);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    errors.one_of("spec.concurrencyPolicy", cron_job.pointer("/spec/concurrencyPolicy"), &policies);
    let null = Value::Null;
    job_spec(cron_job.pointer("/spec/jobTemplate/spec").unwrap_or(&null), "spec.jobTemplate.spec", errors);
}

pub(super) fn disruption_budget(budget: &Value, errors: &mut Errors) {
    let spec = budget.get("spec").unwrap_or(&Value::Null);
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if let Some(value) = spec.get(field) {
            count_or_percent(&format!("spec.{field}"), value, errors);
        }
    }
    if let Some(selector) = spec.get("selector") {
        errors.selector("spec.selector", selector);
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    errors.one_of("spec.unhealthyPodEvictionPolicy", spec.get("unhealthyPodEvictionPolicy"), &policies);
}

pub(super) fn autoscaler(autoscaler: &Value, errors: &mut Errors) {
    let spec = autoscaler.get("spec").unwrap_or(&Value::Null);
    for field in ["kind", "name"] {
        if text(spec, &format!("/scaleTargetRef/{field}")).is_empty() {
            errors.required(format!("spec.scaleTargetRef.{field}"), "");
        }
    }
    errors.at_least("spec.minReplicas", spec.get("minReplicas"), 1);
    let (min, max) = (spec.get("minReplicas").and_then(Value::as_i64), spec.get("maxReplicas"));
    match max.and_then(Value::as_i64) {
        Some(number) if number < 1 => {
            errors.invalid("spec.maxReplicas", max.unwrap_or(&Value::Null), "must be greater than 0");
        }
        Some(number) if min.is_some_and(|min| number < min) => {
            let detail = "must be greater than or equal to `minReplicas`";
            errors.invalid("spec.maxReplicas", max.unwrap_or(&Value::Null), detail);
        }
        Some(_) => {}
        None => errors.required("spec.maxReplicas", ""),
    }
}
