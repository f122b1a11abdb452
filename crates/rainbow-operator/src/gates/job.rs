//! Gate `job`: a Job in the Rainbow's namespace, whose exit code decides.
//!
//! Each measurement has a Job of its own. A measurement that finds its Job looks at it: an operator that starts again continues, and a Job
//! that runs delays nothing else. A finished Job stays for its log until its time to live is over.

use k8s_openapi::api::{
    batch::v1::{Job, JobStatus},
    core::v1::{ContainerStatus, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use rainbow_api::{FIELD_MANAGER, JobGate, labels};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Question},
    job_manifest,
};
use crate::{clock, live::NOT_PULLED, messages};

/// Reasons of a waiting container that does not start as its template is, beside an image that no node can get.
const NOT_CREATED: [&str; 2] = ["CreateContainerConfigError", "CreateContainerError"];
/// Label of a Job's pods with the Job's name, which the Job controller of every version sets.
const JOB_NAME: &str = "job-name";

/// Makes the Job of a measurement, or looks at it.
pub(crate) async fn measure(question: &Question<'_>, gate: &JobGate) -> Answer {
    let name = job_manifest::name(question);
    let query = Some(format!("job/{name}"));
    match look(question, gate, &name).await {
        Ok(Look::Runs(why)) => Answer::Pending { why },
        Ok(Look::Complete) => {
            let message = messages::job_complete(&name);
            Answer::Value { result: json!(0), names: vec![("message", json!(message))], is_good: true, query }
        }
        Ok(Look::Failed { code, message }) => {
            let result = code.map_or(Value::Null, Value::from);
            Answer::Value { result, names: vec![("message", json!(message))], is_good: false, query }
        }
        Err(why) => Answer::Error { why, query },
    }
}

/// State of a measurement's Job.
enum Look {
    /// The Job has not ended, in words.
    Runs(String),
    Complete,
    Failed {
        /// Exit code of the container that failed.
        code: Option<i32>,
        message: String,
    },
}

async fn look(question: &Question<'_>, gate: &JobGate, name: &str) -> Result<Look, String> {
    let jobs: Api<Job> = Api::namespaced(question.client.clone(), &question.place.namespace);
    let says = |error: kube::Error| messages::of_job(name, &words(error));
    let Some(job) = jobs.get_opt(name).await.map_err(says)? else {
        let job = serde_json::from_value(job_manifest::job(question, gate)?)
            .map_err(|error| messages::of_job(name, &error))?;
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        return match jobs.create(&parameters, &job).await {
            Err(error) if !is_conflict(&error) => Err(says(error)),
            Ok(_) | Err(_) => Ok(Look::Runs(messages::job_runs(name))),
        };
    };
    if !job.owner_references().iter().any(|owner| owner.uid == question.place.rainbow_uid) {
        return Err(messages::job_of_another(name));
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Look::Runs(messages::job_goes(name)));
    }
    let status = job.status.clone().unwrap_or_default();
    let ended = condition(&status, "Complete").map(|_| None).or_else(|| condition(&status, "Failed").map(Some));
    let Some(failed) = ended else { return running(question, gate, &jobs, &job).await };
    if is_of_earlier_release(question, &job) {
        delete(&jobs, &job, name).await?;
        return Ok(Look::Runs(messages::job_goes(name)));
    }
    let Some((reason, message)) = failed else { return Ok(Look::Complete) };
    let pods = pods(question, &job, name).await?;
    if reason == "DeadlineExceeded" {
        let waits = pods.iter().find_map(not_scheduled).map(|says| format!("{message}: {says}"));
        return Err(messages::of_job(name, &waits.unwrap_or(message)));
    }
    let ended = pods.iter().filter_map(failure).next_back();
    Ok(match ended {
        Some((code, message)) => Look::Failed { code: Some(code), message },
        None => Look::Failed { code: None, message: messages::of_job(name, &message) },
    })
}

/// Looks at the pods of a Job that has not ended. A Job whose pod cannot start is deleted: a later start would answer a measurement that is over.
async fn running(question: &Question<'_>, gate: &JobGate, jobs: &Api<Job>, job: &Job) -> Result<Look, String> {
    let name = job.name_any();
    let pods = pods(question, job, &name).await?;
    let unscheduled = pods.iter().find_map(not_scheduled);
    let is_late = is_late(question, gate, job);
    if let Some(says) = pods.iter().find_map(does_not_start).or_else(|| unscheduled.clone().filter(|_| is_late)) {
        delete(jobs, job, &name).await?;
        return Err(messages::of_job(&name, &says));
    }
    let waits = unscheduled.map(|says| messages::of_job(&name, &says));
    Ok(Look::Runs(waits.unwrap_or_else(|| messages::job_runs(&name))))
}

/// Returns whether most of a Job's time is over. At its end the Job controller deletes the pods, and what the scheduler says of them is lost.
fn is_late(question: &Question<'_>, gate: &JobGate, job: &Job) -> bool {
    let Some(created) = job.creation_timestamp() else { return false };
    let most = job_manifest::deadline(gate).mul_f64(0.9).as_millis();
    let age = question.clock.now().0.saturating_sub(clock::from_timestamp(created.0).0);
    u128::try_from(age).is_ok_and(|age| age >= most)
}

/// Returns whether a Job that has ended was made when the stage had another change: the same color came to the stage before.
fn is_of_earlier_release(question: &Question<'_>, job: &Job) -> bool {
    let since = job.annotations().get(labels::MEASURES_SINCE).and_then(|text| clock::read(text));
    since.is_none_or(|since| since < question.since)
}

async fn delete(jobs: &Api<Job>, job: &Job, name: &str) -> Result<(), String> {
    let preconditions = Preconditions { uid: job.uid(), resource_version: None };
    match jobs.delete(name, &DeleteParams::background().preconditions(preconditions)).await {
        Err(error) if !is_gone(&error) => Err(messages::of_job(name, &words(error))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the pods of a Job, the oldest first.
async fn pods(question: &Question<'_>, job: &Job, name: &str) -> Result<Vec<Pod>, String> {
    let pods: Api<Pod> = Api::namespaced(question.client.clone(), &question.place.namespace);
    let list = pods.list(&ListParams::default().labels(&format!("{JOB_NAME}={name}"))).await;
    let mut pods = list.map_err(|error| messages::of_job(name, &words(error)))?.items;
    // An earlier Job of the name may have left pods.
    pods.retain(|pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref()));
    pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    Ok(pods)
}

/// Returns the reason and the message of a condition that is true.
fn condition(status: &JobStatus, type_: &str) -> Option<(String, String)> {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == type_ && condition.status == "True")?;
    let reason = found.reason.clone().unwrap_or_default();
    let message = found.message.clone().unwrap_or_else(|| reason.clone());
    Some((reason, message))
}

/// Returns the containers of a pod, main containers first.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let main = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    main.chain(init)
}

/// Returns why a container of a pod does not start, in the kubelet's words.
fn does_not_start(pod: &Pod) -> Option<String> {
    containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        if !NOT_PULLED.contains(&reason) && !NOT_CREATED.contains(&reason) {
            return None;
        }
        Some(messages::container_waits(&container.name, &container.image, reason, waiting.message.as_deref()))
    })
}

/// Returns why a pod has no node, in the scheduler's words.
fn not_scheduled(pod: &Pod) -> Option<String> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let scheduled = conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    scheduled.message.as_deref().map(messages::not_scheduled)
}

/// Returns the exit code of a container that failed, and its last line.
fn failure(pod: &Pod) -> Option<(i32, String)> {
    containers(pod).find_map(|container| {
        let state = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let ended = state.or(last).filter(|ended| ended.exit_code != 0)?;
        let message = messages::container_ended(
            &container.name,
            ended.exit_code,
            ended.reason.as_deref(),
            ended.message.as_deref(),
        );
        Some((ended.exit_code, message))
    })
}

/// Returns the API server's own words.
fn words(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        error => error.to_string(),
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

#[cfg(test)]
mod tests;
