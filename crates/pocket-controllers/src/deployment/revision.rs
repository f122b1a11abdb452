//! ReplicaSet of the Deployment's template: finds or creates it, with its revision.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{COMPONENT, Rollout, condition, count};
use crate::{Error, cache::Key, owner, patch};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its ReplicaSets do not get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
const MAX_HISTORY: usize = 2000;

/// Returns the revision in an object's annotation; 0 if there is none.
pub(super) fn of(object: &impl ResourceExt) -> i64 {
    object.annotations().get(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// Returns whether a ReplicaSet has this template, apart from the hash.
pub(super) fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(have) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return false };
    let (mut have, mut want) = (have.clone(), template.clone());
    for template in [&mut have, &mut want] {
        if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
            labels.remove(HASH);
        }
    }
    patch::is_same(&have, &want)
}

/// Returns a short name for a template. `collisions` leads to another one if the name is taken.
pub(super) fn hash(template: &PodTemplateSpec, collisions: i32) -> Result<String, Error> {
    // Same letters as in Kubernetes: no vowels and no digits that look like vowels, so that no words come out.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = Sha256::new_with_prefix(serde_json::to_vec(template)?);
    hasher.update(collisions.to_be_bytes());
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).copied().map(char::from);
    Ok(hasher.finalize().iter().take(10).filter_map(letter).collect())
}

impl Rollout<'_> {
    /// Updates revision and annotations of the new ReplicaSet, and creates it if it is missing and `create` is set.
    pub(super) async fn sync_revision(&mut self, create: bool) -> Result<(), Error> {
        let next = self.old.iter().map(|set| of(&**set)).max().unwrap_or(0) + 1;
        match self.new.clone() {
            Some(set) => self.sync_found(&set, next).await,
            None if create => self.create(next).await,
            None => Ok(()),
        }
    }

    async fn sync_found(&mut self, set: &ReplicaSet, next: i64) -> Result<(), Error> {
        let mut annotations = set.annotations().clone();
        copy_annotations(&self.deployment, &mut annotations);
        let had = of(set);
        if had < next {
            annotations.insert(REVISION.to_owned(), next.to_string());
            if had > 0 {
                let before = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
                annotations.insert(HISTORY.to_owned(), history(before, had));
            }
        }
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let same_min = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0) == min_ready;
        let mut set_now = set.clone();
        if annotations != *set.annotations() || !same_min {
            let patch = json!({ "metadata": { "annotations": annotations }, "spec": { "minReadySeconds": min_ready } });
            let written = self.reconciler.sets.patch(set, patch).await?;
            set_now = (*written).clone();
            self.replace(written);
        }
        let mut status = self.deployment.status.clone().unwrap_or_default();
        if condition::has_deadline(&self.spec) && condition::find(&status, condition::PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", set.name_any());
            condition::set(&mut status, condition::new(condition::PROGRESSING, "True", "FoundNewReplicaSet", message));
            self.write_status(&status).await?;
        }
        self.set_revision(&set_now).await
    }

    async fn set_revision(&mut self, set: &ReplicaSet) -> Result<(), Error> {
        let revision = of(set).to_string();
        if self.deployment.annotations().get(REVISION) == Some(&revision) {
            return Ok(());
        }
        self.annotate(BTreeMap::from([(REVISION.to_owned(), revision)])).await
    }

    async fn create(&mut self, revision: i64) -> Result<(), Error> {
        let mut status = self.deployment.status.clone().unwrap_or_default();
        let hash = hash(&self.spec.template, status.collision_count.unwrap_or(0))?;
        let total = self.old.iter().map(|set| count::spec_replicas(set)).sum();
        let size = count::new_size(&self.spec, total, 0);
        let set = self.replica_set(&hash, revision, size);
        let created = match self.reconciler.sets.create(&set).await {
            Ok(created) => created,
            Err(error) if error.code() == 409 => return self.name_taken(&set, error).await,
            Err(error) => {
                let message = format!("Failed to create new replica set \"{}\": {error}", set.name_any());
                if condition::has_deadline(&self.spec) && !crate::pods::namespace_ends(&error) {
                    let failed =
                        condition::new(condition::PROGRESSING, "False", "ReplicaSetCreateError", message.clone());
                    condition::set(&mut status, failed);
                    self.write_status(&status).await?;
                    self.reconciler.events.warning(COMPONENT, &*self.deployment, "ReplicaSetCreateError", message);
                }
                return Err(error);
            }
        };
        if size > 0 {
            let message = format!("Scaled up replica set {} from 0 to {size}", created.name_any());
            self.reconciler.events.normal(COMPONENT, &*self.deployment, "ScalingReplicaSet", message);
        }
        self.new = Some(created.clone());
        if condition::has_deadline(&self.spec) {
            let message = format!("Created new replica set \"{}\"", created.name_any());
            condition::set(
                &mut status,
                condition::new(condition::PROGRESSING, "True", "NewReplicaSetCreated", message),
            );
            self.write_status(&status).await?;
        }
        self.set_revision(&created).await
    }

    fn replica_set(&self, hash: &str, revision: i64, size: i32) -> ReplicaSet {
        let mut template = self.spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), hash.to_owned());
        let labels = labels.clone();
        let mut selector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.to_owned());
        let mut annotations = BTreeMap::from([(REVISION.to_owned(), revision.to_string())]);
        copy_annotations(&self.deployment, &mut annotations);
        annotations.extend(self.size_annotations());
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.deployment.name_any())),
                namespace: self.deployment.namespace(),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![owner::reference(&*self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(size),
                min_ready_seconds: self.spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        }
    }

    /// Returns the annotations in which each ReplicaSet remembers the Deployment's size, for the next change of the size.
    pub(super) fn size_annotations(&self) -> BTreeMap<String, String> {
        let desired = self.replicas();
        BTreeMap::from([
            (DESIRED.to_owned(), desired.to_string()),
            (MAX.to_owned(), desired.saturating_add(count::max_surge(&self.spec)).to_string()),
        ])
    }

    /// Handles a taken name of the new ReplicaSet: our own one has it that the cache did not show, or a foreign one.
    async fn name_taken(&mut self, set: &ReplicaSet, error: Error) -> Result<(), Error> {
        let there = self.reconciler.sets.live(&Key::of(set)).await?;
        let Some(there) = there else { return Err(error) };
        if owner::is_controlled_by(&there, &*self.deployment) && has_template(&there, &self.spec.template) {
            self.reconciler.sets.learn(there);
            return Err(error);
        }
        let mut status = self.deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(&status).await?;
        Err(error)
    }

    /// Writes a status, if it differs.
    pub(super) async fn write_status(
        &mut self,
        status: &k8s_openapi::api::apps::v1::DeploymentStatus,
    ) -> Result<bool, Error> {
        let old = self.deployment.status.clone().unwrap_or_default();
        let Some(patch) = patch::diff(&old, status)? else { return Ok(false) };
        self.deployment = self.reconciler.deployments.patch_status(&self.deployment, patch).await?;
        Ok(true)
    }

    /// Updates the condition that the Deployment is paused, or resumed.
    pub(super) async fn check_paused(&mut self) -> Result<(), Error> {
        if !condition::has_deadline(&self.spec) {
            return Ok(());
        }
        let mut status = self.deployment.status.clone().unwrap_or_default();
        let reason =
            |condition: Option<&DeploymentCondition>| condition.and_then(|c| c.reason.clone()).unwrap_or_default();
        let reason = reason(condition::find(&status, condition::PROGRESSING));
        if reason == condition::TIMED_OUT {
            return Ok(());
        }
        let (paused, was) = (self.spec.paused == Some(true), reason == "DeploymentPaused");
        let (reason, message) = match (paused, was) {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return Ok(()),
        };
        condition::set(&mut status, condition::new(condition::PROGRESSING, "Unknown", reason, message.to_owned()));
        self.write_status(&status).await.map(drop)
    }
}

/// Gives a ReplicaSet the annotations of its Deployment, except those that concern the Deployment itself.
fn copy_annotations(deployment: &Deployment, annotations: &mut BTreeMap<String, String>) {
    let foreign = deployment.annotations().iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    annotations.extend(foreign.map(|(key, value)| (key.clone(), value.clone())));
}

/// Adds a revision to the list of earlier ones; removes the oldest when the list grows too long.
fn history(before: &str, revision: i64) -> String {
    let mut all: Vec<String> = before.split(',').filter(|text| !text.is_empty()).map(str::to_owned).collect();
    all.push(revision.to_string());
    while all.len() > 1 && all.join(",").len() > MAX_HISTORY {
        all.remove(0);
    }
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_names() {
        let template = PodTemplateSpec::default();
        let (one, two) = (hash(&template, 0).unwrap(), hash(&template, 1).unwrap());
        assert_ne!(one, two);
        assert_eq!(one, hash(&template, 0).unwrap());
        assert!(one.len() == 10 && one.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn histories_are_bounded() {
        assert_eq!(history("", 1), "1");
        assert_eq!(history("1,3", 5), "1,3,5");
        let long = (0..1000).fold(String::new(), |before, revision| history(&before, revision));
        assert!(long.len() <= MAX_HISTORY && long.ends_with(",999"));
    }
}
