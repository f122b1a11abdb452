//! Status of a Deployment.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use kube::ResourceExt;

use super::{Rollout, condition, count};
use crate::{Error, clock, queue::After};

/// Returns whether all wanted pods exist, are new and available, and no other pods exist.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let is = |count: Option<i32>| count.unwrap_or(0) == replicas;
    is(status.updated_replicas)
        && is(status.replicas)
        && is(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

/// Returns whether the rollout has progressed between two states.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let n = |count: Option<i32>| count.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| n(status.replicas) - n(status.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

impl Rollout<'_> {
    /// Writes counts and availability, without the condition about progress.
    pub(super) async fn sync_status(&mut self) -> Result<After, Error> {
        let status = self.status();
        self.write_status(&status).await?;
        Ok(After::Rest)
    }

    /// Writes counts, availability and progress. A running deadline requeues the Deployment.
    pub(super) async fn sync_rollout_status(&mut self) -> Result<After, Error> {
        let old = self.deployment.status.clone().unwrap_or_default();
        let mut status = self.status();
        let current = condition::find(&old, condition::PROGRESSING).cloned();
        if !condition::has_deadline(&self.spec) {
            condition::remove(&mut status, condition::PROGRESSING);
        } else if !(status.replicas == status.updated_replicas && has_reason(current.as_ref(), condition::COMPLETE)) {
            self.progress(&old, &mut status, current.as_ref());
        }
        let failure =
            self.all().flat_map(|set| set.status.iter().flat_map(|status| status.conditions.iter().flatten()));
        let failure = failure.filter(|have| have.type_ == condition::FAILURE && have.status == "True").last();
        match failure {
            Some(failure) => {
                let reason = failure.reason.as_deref().unwrap_or_default();
                let message = failure.message.clone().unwrap_or_default();
                condition::set(&mut status, condition::new(condition::FAILURE, "True", reason, message));
            }
            None => condition::remove(&mut status, condition::FAILURE),
        }
        self.write_status(&status).await?;
        Ok(self.deadline(&status))
    }

    fn progress(&self, old: &DeploymentStatus, status: &mut DeploymentStatus, current: Option<&DeploymentCondition>) {
        let subject = match &self.new {
            Some(new) => format!("ReplicaSet \"{}\"", new.name_any()),
            None => format!("Deployment \"{}\"", self.deployment.name_any()),
        };
        let kind = condition::PROGRESSING;
        if is_complete(&self.deployment, status) {
            let message = format!("{subject} has successfully progressed.");
            condition::set(status, condition::new(kind, "True", condition::COMPLETE, message));
        } else if has_progressed(old, status) {
            let mut next = condition::new(kind, "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
            if let Some(current) = current.filter(|current| current.status == "True") {
                next.last_transition_time = current.last_transition_time.clone();
            }
            // Unlike other conditions, this one is renewed each time, because the deadline counts from it.
            condition::remove(status, kind);
            condition::set(status, next);
        } else if self.time_left(current).is_some_and(|left| left.is_none()) {
            let message = format!("{subject} has timed out progressing.");
            condition::set(status, condition::new(kind, "False", condition::TIMED_OUT, message));
        }
    }

    /// Returns the time left. `None`: no deadline runs; `Some(None)`: the deadline is over.
    fn time_left(&self, current: Option<&DeploymentCondition>) -> Option<Option<Duration>> {
        let current = current.filter(|current| !has_reason(Some(current), condition::COMPLETE))?;
        if has_reason(Some(current), condition::TIMED_OUT) {
            return Some(None);
        }
        let seconds = self.spec.progress_deadline_seconds?;
        Some(clock::remaining(current.last_update_time.as_ref()?, seconds.into()))
    }

    fn deadline(&self, status: &DeploymentStatus) -> After {
        let current = condition::find(status, condition::PROGRESSING);
        if !condition::has_deadline(&self.spec)
            || is_complete(&self.deployment, status)
            || has_reason(current, condition::TIMED_OUT)
        {
            return After::Rest;
        }
        // A little later than due, because times are cut to seconds.
        self.time_left(current)
            .map_or(After::Rest, |left| After::Again(left.unwrap_or_default() + Duration::from_millis(10)))
    }

    /// Returns the number of pods that are being deleted; `None` where a ReplicaSet does not report it.
    fn terminating(&self) -> Option<i32> {
        self.all()
            .map(|set| {
                let status = set.status.clone().unwrap_or_default();
                let never_looked_at = status.observed_generation.unwrap_or(0) == 0;
                status.terminating_replicas.or(never_looked_at.then_some(0))
            })
            .sum()
    }

    fn status(&self) -> DeploymentStatus {
        let old = self.deployment.status.clone().unwrap_or_default();
        let total: i32 = self.all().map(|set| count::status_replicas(set)).sum();
        // Wanted pods that do not exist are unavailable, too.
        let wanted: i32 = self.all().map(|set| count::spec_replicas(set)).sum();
        let available: i32 = self.all().map(|set| count::available(set)).sum();
        let ready = self.all().filter_map(|set| set.status.as_ref()?.ready_replicas).sum();
        let updated = self.new.as_ref().map_or(0, |set| count::status_replicas(set));
        // A zero is not written, because Kubernetes leaves it out.
        let count = |number: i32| (number != 0).then_some(number);
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: count(total),
            updated_replicas: count(updated),
            ready_replicas: count(ready),
            available_replicas: count(available),
            unavailable_replicas: count((wanted - available).max(0)),
            collision_count: old.collision_count,
            conditions: old.conditions,
            terminating_replicas: self.terminating(),
        };
        let enough = available >= self.replicas() - count::max_unavailable(&self.spec);
        let (holds, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        condition::set(&mut status, condition::new(condition::AVAILABLE, holds, reason, message.to_owned()));
        status
    }
}

fn has_reason(condition: Option<&DeploymentCondition>, reason: &str) -> bool {
    condition.is_some_and(|condition| condition.reason.as_deref() == Some(reason))
}
