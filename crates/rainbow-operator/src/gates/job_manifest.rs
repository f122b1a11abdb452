//! Job of one measurement, as it is created.

use kube::Resource;
use rainbow_api::{JobGate, Rainbow, labels, names};
use rainbow_plan::Moment;
use serde_json::{Map, Value, json};
use std::time::Duration;

use super::answer::{Place, Question};
use crate::{clock, messages};

/// Time for which a Job is kept after its end, so that its log can be read.
const KEPT_SECONDS: u32 = 3600;
/// Time after which a Job is ended, where the gate names none.
const DEADLINE: Duration = Duration::from_secs(600);

/// Returns the name of the Job of a measurement.
pub(super) fn name(question: &Question<'_>) -> String {
    let check = question.check;
    let moment = match &check.moment {
        Moment::Before => json!("before"),
        Moment::During { moved } => json!(["during", moved]),
        Moment::Step { index } => json!(["step", index]),
        Moment::Between { tier } => json!(["between", tier]),
        Moment::After => json!("after"),
        Moment::Watch => json!("watch"),
    };
    let measurement = json!([check.stage, check.gate, check.color, moment, question.number]);
    names::gate_job(&question.place.rainbow, &check.gate, &measurement)
}

/// Returns the time after which a Job is ended.
pub(super) fn deadline(gate: &JobGate) -> Duration {
    gate.deadline.map_or(DEADLINE, |deadline| deadline.0)
}

/// Returns the Job of a measurement.
///
/// # Errors
/// Fails where the gate's template is none, in words.
pub(super) fn job(question: &Question<'_>, gate: &JobGate) -> Result<Value, String> {
    let place = question.place;
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(question),
            "namespace": place.namespace,
            "labels": { labels::RAINBOW: place.rainbow, labels::MANAGED_BY: labels::MANAGER },
            "annotations": { labels::MEASURES_SINCE: clock::write(question.since) },
            "ownerReferences": [{
                "apiVersion": Rainbow::api_version(&()), "kind": Rainbow::kind(&()), "name": place.rainbow, "uid": place.rainbow_uid,
            }],
        },
        "spec": {
            "backoffLimit": gate.backoff_limit.unwrap_or(0).max(0),
            "activeDeadlineSeconds": deadline(gate).as_secs().max(1),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": template(question, &gate.template)?,
        },
    }))
}

/// Returns the pod template with what Rainbow adds to it.
fn template(question: &Question<'_>, written: &Value) -> Result<Value, String> {
    let mut template = written.clone();
    // With a label of Rainbow's, Services would send clients to the Job's pod.
    let labels = template.pointer("/metadata/labels").and_then(Value::as_object);
    if let Some(key) = labels.and_then(|labels| labels.keys().find(|key| labels::is_reserved(key))) {
        return Err(messages::reserved_label(key));
    }
    let spec = template.get_mut("spec").and_then(Value::as_object_mut).ok_or(messages::NO_POD_TEMPLATE)?;
    spec.entry("restartPolicy").or_insert(json!("Never"));
    let variables = variables(question);
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            // The last line of the log is then the reason of a failure.
            container.entry("terminationMessagePolicy").or_insert(json!("FallbackToLogsOnError"));
            add_variables(container, &variables)?;
        }
    }
    Ok(template)
}

/// Adds variables before those of the container, which may refer to them. A variable that the container has keeps its value.
fn add_variables(container: &mut Map<String, Value>, variables: &[(String, String)]) -> Result<(), String> {
    let written = match container.remove("env") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(written)) => written,
        Some(_) => return Err(messages::NO_LIST_OF_VARIABLES.to_owned()),
    };
    let has = |name: &str| written.iter().any(|variable| variable["name"] == name);
    let added = variables.iter().filter(|(name, _)| !has(name));
    let mut env: Vec<Value> = added.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    env.extend(written);
    container.insert("env".to_owned(), json!(env));
    Ok(())
}

/// Returns Rainbow's variables. A tier whose variable has the name of another one loses it.
fn variables(question: &Question<'_>) -> Vec<(String, String)> {
    let Place { service, candidate, stage, ports, tiers, .. } = question.place;
    let first = ports.first().map(|(_, number, _)| number);
    let address = |service: &str| first.map(|port| format!("{service}:{port}"));
    let mut variables: Vec<(String, String)> = [
        ("ACTIVE", address(service)),
        ("CANDIDATE", candidate.as_deref().and_then(address)),
        ("COLOR", Some(question.check.color.clone())),
        ("STAGE", Some(stage.clone())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    for (name, address) in tiers {
        if !variables.iter().any(|(known, _)| known == name) {
            variables.push((name.clone(), address.clone()));
        }
    }
    variables
}
