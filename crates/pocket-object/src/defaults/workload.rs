//! Defaults of kinds that make pods.

use serde_json::json;

use super::pod;
use crate::json::{Object, child, child_or_new, default, each};

fn spec(object: &mut Object) -> Option<&mut Object> {
    child_or_new(object, "spec")
}

pub(super) fn deployment(object: &mut Object) {
    let Some(spec) = spec(object) else { return };
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = child_or_new(spec, "strategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
            && let Some(rolling) = child_or_new(strategy, "rollingUpdate")
        {
            default(rolling, "maxUnavailable", "25%");
            default(rolling, "maxSurge", "25%");
        }
    }
    pod::template(spec);
}

pub(super) fn replica_set(object: &mut Object) {
    let Some(spec) = spec(object) else { return };
    default(spec, "replicas", 1);
    pod::template(spec);
}

pub(super) fn replication_controller(object: &mut Object) {
    let Some(spec) = spec(object) else { return };
    default(spec, "replicas", 1);
    let labels = spec.get("template").and_then(|template| template.pointer("/metadata/labels")).cloned();
    if let Some(labels) = labels {
        default(spec, "selector", labels);
    }
    pod::template(spec);
}

pub(super) fn daemon_set(object: &mut Object) {
    let Some(spec) = spec(object) else { return };
    default(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child_or_new(spec, "updateStrategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
            && let Some(rolling) = child_or_new(strategy, "rollingUpdate")
        {
            default(rolling, "maxUnavailable", 1);
            default(rolling, "maxSurge", 0);
        }
    }
    pod::template(spec);
}

pub(super) fn stateful_set(object: &mut Object) {
    let Some(spec) = spec(object) else { return };
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = child_or_new(spec, "updateStrategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
            && let Some(rolling) = child_or_new(strategy, "rollingUpdate")
        {
            default(rolling, "partition", 0);
        }
    }
    if let Some(policy) = child_or_new(spec, "persistentVolumeClaimRetentionPolicy") {
        default(policy, "whenDeleted", "Retain");
        default(policy, "whenScaled", "Retain");
    }
    for claim in each(spec, "volumeClaimTemplates") {
        default(claim, "apiVersion", "v1");
        default(claim, "kind", "PersistentVolumeClaim");
        super::other::claim(claim);
        default(claim, "status", json!({ "phase": "Pending" }));
    }
    pod::template(spec);
}

pub(super) fn job(object: &mut Object) {
    spec(object).into_iter().for_each(job_spec);
}

fn job_spec(spec: &mut Object) {
    // A Job with only `parallelism` is a work queue. A Job with neither number runs one pod, once.
    if !spec.contains_key("parallelism") {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    pod::template(spec);
}

pub(super) fn cron_job(object: &mut Object) {
    let Some(spec) = spec(object) else { return };
    default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = child(spec, "jobTemplate").and_then(|template| child_or_new(template, "spec")) {
        job_spec(job);
    }
}
