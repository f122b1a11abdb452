//! Changes of size: of one ReplicaSet, and of the Deployment in the middle of a rollout.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt;
use serde_json::json;

use super::{COMPONENT, Rollout, count, revision};
use crate::Error;

impl Rollout<'_> {
    /// Returns whether the Deployment's size has changed since its ReplicaSets were sized.
    pub(super) fn is_scaling(&self) -> bool {
        let desired =
            |set: &ReplicaSet| set.annotations().get(revision::DESIRED).and_then(|text| text.parse::<i32>().ok());
        let mut active = self.all().filter(|set| count::spec_replicas(set) > 0);
        active.any(|set| desired(set).is_some_and(|desired| desired != self.replicas()))
    }

    /// Sets the size of a ReplicaSet, and the Deployment's size in its annotations.
    pub(super) async fn scale(&mut self, set: &ReplicaSet, size: i32) -> Result<bool, Error> {
        let (before, sizes) = (count::spec_replicas(set), self.size_annotations());
        let remembered = sizes.iter().all(|(key, value)| set.annotations().get(key) == Some(value));
        if before == size && remembered {
            return Ok(false);
        }
        let patch = json!({ "metadata": { "annotations": sizes }, "spec": { "replicas": size } });
        let written = self.reconciler.sets.patch(set, patch).await?;
        self.replace(written);
        if before != size {
            let way = if size > before { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {} from {before} to {size}", set.name_any());
            self.reconciler.events.normal(COMPONENT, &*self.deployment, "ScalingReplicaSet", message);
        }
        Ok(before != size)
    }

    /// Brings the ReplicaSets to the Deployment's size without advancing the rollout.
    pub(super) async fn scale_all(&mut self) -> Result<(), Error> {
        let replicas = self.replicas();
        let active: Vec<Arc<ReplicaSet>> = self.all().filter(|set| count::spec_replicas(set) > 0).cloned().collect();
        let only = match active.as_slice() {
            [] => self.new.clone().or_else(|| self.old.last().cloned()),
            [only] => Some(only.clone()),
            _ => None,
        };
        if let Some(only) = only {
            return self.scale(&only, replicas).await.map(drop);
        }
        if self.is_saturated() {
            for set in self.old.clone() {
                if count::spec_replicas(&set) > 0 {
                    self.scale(&set, 0).await?;
                }
            }
            return Ok(());
        }
        if !count::is_rolling(&self.spec) {
            return Ok(());
        }
        let allowed = if replicas > 0 { replicas.saturating_add(count::max_surge(&self.spec)) } else { 0 };
        let total: i32 = active.iter().map(|set| count::spec_replicas(set)).sum();
        let mut sets = active;
        let created = |set: &ReplicaSet| set.metadata.creation_timestamp.clone();
        if allowed >= total {
            sets.sort_by_key(|set| Reverse((count::spec_replicas(set), created(set))));
        } else {
            sets.sort_by_key(|set| (Reverse(count::spec_replicas(set)), created(set)));
        }
        let before = |set: &ReplicaSet| {
            let max =
                set.annotations().get(revision::MAX).and_then(|text| text.parse::<i32>().ok()).filter(|max| *max > 0);
            max.or_else(|| self.deployment.status.as_ref()?.replicas).unwrap_or(total)
        };
        let measured: Vec<(i32, i32)> = sets.iter().map(|set| (count::spec_replicas(set), before(set))).collect();
        let sizes = count::spread(&measured, replicas, allowed, allowed - total);
        for (set, size) in sets.iter().zip(sizes) {
            self.scale(set, size).await?;
        }
        Ok(())
    }

    /// Returns whether the new ReplicaSet has all pods already.
    fn is_saturated(&self) -> bool {
        let Some(new) = &self.new else { return false };
        let desired = new.annotations().get(revision::DESIRED).and_then(|text| text.parse::<i32>().ok());
        let replicas = self.replicas();
        desired == Some(replicas) && count::spec_replicas(new) == replicas && count::available(new) == replicas
    }
}
