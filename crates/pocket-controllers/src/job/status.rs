//! Status of a Job, and the decisions that follow from it. Pure, except for the clock.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use crate::{clock, pods, queue::After};

const DEFAULT_BACKOFF_LIMIT: i32 = 6;

pub(super) fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Returns the time at which a Job has finished, if it has.
pub(super) fn finished(job: &Job) -> Option<Time> {
    let status = job.status.as_ref()?;
    let end = ["Complete", "Failed"].into_iter().filter_map(|kind| find(status, kind)).find(|c| c.status == "True")?;
    Some(end.last_transition_time.clone().unwrap_or_else(clock::time))
}

fn set(status: &mut JobStatus, kind: &str, holds: bool, reason: &str, message: &str) {
    let holds = if holds { "True" } else { "False" };
    if find(status, kind).is_some_and(|have| have.status == holds) {
        return;
    }
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|have| have.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: holds.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(clock::time()),
        last_transition_time: Some(clock::time()),
    });
}

/// Records the pods that have ended, before they are released.
pub(super) fn note_ended(status: &mut JobStatus, ended: &[Arc<Pod>]) {
    for pod in ended {
        let uid = pod.uid().unwrap_or_default();
        let notes = status.uncounted_terminated_pods.get_or_insert_default();
        let known = notes.succeeded.iter().chain(&notes.failed).flatten().any(|have| *have == uid);
        if !known {
            let list = if pods::phase(pod) == "Succeeded" { &mut notes.succeeded } else { &mut notes.failed };
            list.get_or_insert_default().push(uid);
        }
    }
}

/// Adds the recorded pods to the sums, once their finalizers are gone. Returns the number of newly failed pods.
pub(super) fn count_released(status: &mut JobStatus) -> usize {
    let Some(notes) = status.uncounted_terminated_pods.take() else { return 0 };
    let UncountedTerminatedPods { succeeded, failed } = notes;
    let add = |sum: &mut Option<i32>, uids: Option<Vec<String>>| {
        let count = uids.map_or(0, |uids| uids.len());
        if count > 0 {
            *sum = Some(sum.unwrap_or(0).saturating_add(i32::try_from(count).unwrap_or(i32::MAX)));
        }
        count
    };
    add(&mut status.succeeded, succeeded);
    add(&mut status.failed, failed)
}

/// Returns reason and message of the Job's failure, if it fails.
pub(super) fn failure(job: &Job, spec: &JobSpec, status: &JobStatus, active: &[Arc<Pod>]) -> Option<(String, String)> {
    let why = |reason: &str, message: &str| Some((reason.to_owned(), message.to_owned()));
    if let Some(decided) = find(status, "FailureTarget").filter(|condition| condition.status == "True") {
        return Some((decided.reason.clone().unwrap_or_default(), decided.message.clone().unwrap_or_default()));
    }
    if spec.completion_mode.as_deref() == Some("Indexed") {
        return why(
            "CompletionModeNotSupported",
            "Completion mode Indexed is not supported by this cluster; use NonIndexed",
        );
    }
    let limit = spec.backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT);
    let on_failure = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
    let restarts: i32 = active
        .iter()
        .flat_map(|pod| pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()))
        .map(|container| container.restart_count)
        .sum();
    let restarted_too_often = on_failure && if limit == 0 { restarts > 0 } else { restarts >= limit };
    if status.failed.unwrap_or(0) > limit || restarted_too_often {
        return why("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let started =
        job.status.as_ref().and_then(|status| status.start_time.as_ref()).filter(|_| spec.suspend != Some(true));
    if let (Some(started), Some(seconds)) = (started, spec.active_deadline_seconds)
        && clock::remaining(started, seconds).is_none()
    {
        return why("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    None
}

/// Returns the time of the active deadline.
pub(super) fn deadline(spec: &JobSpec, status: &JobStatus) -> After {
    let (Some(started), Some(seconds)) = (&status.start_time, spec.active_deadline_seconds) else { return After::Rest };
    clock::remaining(started, seconds).into()
}

/// Returns whether enough pods have succeeded. Without `completions` one success is enough, once the others have ended.
pub(super) fn has_succeeded(spec: &JobSpec, status: &JobStatus, active: usize) -> bool {
    let succeeded = status.succeeded.unwrap_or(0);
    if find(status, "SuccessCriteriaMet").is_some_and(|condition| condition.status == "True") {
        return true;
    }
    match spec.completions {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0 && active == 0,
    }
}

/// Returns the number of pods that should run at once now.
pub(super) fn wanted_pods(spec: &JobSpec, status: &JobStatus, active: usize) -> usize {
    let (parallelism, succeeded) = (spec.parallelism.unwrap_or(1), status.succeeded.unwrap_or(0));
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    match spec.completions {
        Some(completions) => count(parallelism.min(completions - succeeded)),
        // After the first success no more pods are started, and the running ones may end.
        None if succeeded > 0 => active,
        None => count(parallelism),
    }
}

pub(super) fn set_suspended(status: &mut JobStatus, suspended: bool) {
    if suspended {
        set(status, "Suspended", true, "JobSuspended", "Job suspended");
        status.start_time = None;
    } else if find(status, "Suspended").is_some_and(|condition| condition.status == "True") {
        set(status, "Suspended", false, "JobResumed", "Job resumed");
        status.start_time = Some(clock::time());
    }
}

pub(super) fn set_counts(status: &mut JobStatus, active: usize, ready: usize, terminating: usize) {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    status.active = (active > 0).then(|| number(active));
    status.ready = Some(number(ready));
    status.terminating = Some(number(terminating));
}

/// Records the decision to fail, and, when the last pod is gone, the failure.
pub(super) fn set_failed(status: &mut JobStatus, reason: &str, message: &str, gone: bool) {
    set(status, "FailureTarget", true, reason, message);
    if gone {
        set(status, "Failed", true, reason, message);
    }
}

/// Records the decision to succeed, and, when the last pod is gone, the success.
pub(super) fn set_complete(status: &mut JobStatus, gone: bool) {
    const REASON: &str = "CompletionsReached";
    const MESSAGE: &str = "Reached expected number of succeeded pods";
    set(status, "SuccessCriteriaMet", true, REASON, MESSAGE);
    if gone {
        set(status, "Complete", true, REASON, MESSAGE);
        status.completion_time = Some(clock::time());
    }
}
