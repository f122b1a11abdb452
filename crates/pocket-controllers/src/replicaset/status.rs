//! Status of a ReplicaSet.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
    core::v1::Pod,
};
use kube::ResourceExt;

use crate::{
    clock,
    pods::{self, Availability},
    queue::After,
};

/// Returns the status, and the time at which it will change by time alone.
pub(super) fn of(
    set: &ReplicaSet,
    spec: &ReplicaSetSpec,
    mine: &[Arc<Pod>],
    terminating: usize,
    failure: Option<(&str, String)>,
) -> (ReplicaSetStatus, After) {
    let old = set.status.clone().unwrap_or_default();
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let (mut labeled, mut ready, mut available, mut after) = (0, 0, 0, After::Rest);
    for pod in mine {
        if template.into_iter().flatten().all(|(key, value)| pod.labels().get(key) == Some(value)) {
            labeled += 1;
        }
        match pods::availability(pod, spec.min_ready_seconds.unwrap_or(0)) {
            Availability::NotReady => {}
            Availability::In(wait) => {
                ready += 1;
                after = after.or(After::Again(wait));
            }
            Availability::Available => {
                ready += 1;
                available += 1;
            }
        }
    }
    let mut conditions = old.conditions.clone().unwrap_or_default();
    match failure {
        Some((reason, message)) => {
            // A message that differs only in a pod's name is no news.
            if !conditions.iter().any(|have| have.type_ == FAILURE && have.reason.as_deref() == Some(reason)) {
                conditions.retain(|have| have.type_ != FAILURE);
                conditions.push(ReplicaSetCondition {
                    type_: FAILURE.to_owned(),
                    status: "True".to_owned(),
                    reason: Some(reason.to_owned()),
                    message: Some(message),
                    last_transition_time: Some(clock::time()),
                });
            }
        }
        None => conditions.retain(|have| have.type_ != FAILURE),
    }
    // A zero that was never written stays unwritten.
    let count = |new: i32, old: Option<i32>| if new == 0 && old.is_none() { None } else { Some(new) };
    let number = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let status = ReplicaSetStatus {
        replicas: number(mine.len()),
        fully_labeled_replicas: count(labeled, old.fully_labeled_replicas),
        ready_replicas: count(ready, old.ready_replicas),
        available_replicas: count(available, old.available_replicas),
        observed_generation: set.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
        terminating_replicas: Some(number(terminating)),
    };
    (status, after)
}

const FAILURE: &str = "ReplicaFailure";
