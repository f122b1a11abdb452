//! Rolling update: the new ReplicaSet grows into the available room, and the old ones shrink as it becomes available.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{Rollout, count, status};
use crate::{Error, queue::After};

impl Rollout<'_> {
    /// Takes one step: its changes trigger the next pass, which sees their result.
    pub(super) async fn roll(&mut self) -> Result<After, Error> {
        self.sync_revision(true).await?;
        let moved = self.grow_new().await? || self.shrink_old().await?;
        if !moved && status::is_complete(&self.deployment, &self.deployment.status.clone().unwrap_or_default()) {
            self.clean_up().await?;
        }
        self.sync_rollout_status().await
    }

    async fn grow_new(&mut self) -> Result<bool, Error> {
        let Some(new) = self.new.clone() else { return Ok(false) };
        let (have, want) = (count::spec_replicas(&new), self.replicas());
        let size = if have > want {
            want
        } else {
            let total = self.all().map(|set| count::spec_replicas(set)).sum();
            count::new_size(&self.spec, total, have)
        };
        self.scale(&new, size).await
    }

    async fn shrink_old(&mut self) -> Result<bool, Error> {
        let Some(new) = self.new.clone() else { return Ok(false) };
        if self.old.iter().all(|set| count::spec_replicas(set) == 0) {
            return Ok(false);
        }
        let total: i32 = self.all().map(|set| count::spec_replicas(set)).sum();
        let least = self.replicas() - count::max_unavailable(&self.spec);
        let unavailable = count::spec_replicas(&new) - count::available(&new);
        let most = total - least - unavailable;
        if most <= 0 {
            return Ok(false);
        }
        // Pods that do not serve anyway are removed first: they would only block the update.
        let mut gone = 0;
        for set in self.old.clone() {
            let (wanted, available) = (count::spec_replicas(&set), count::available(&set));
            if gone >= most {
                break;
            }
            if wanted == 0 || wanted == available {
                continue;
            }
            if wanted < available {
                // The ReplicaSet's controller has not caught up with the last step, so it is unknown which pods serve.
                return Ok(gone > 0);
            }
            let part = (most - gone).min(wanted - available);
            self.scale(&set, wanted - part).await?;
            gone += part;
        }
        // Serving pods are removed as far as enough stay available.
        let active = |set: &&Arc<ReplicaSet>| count::spec_replicas(set) > 0;
        let serving: i32 = self.old.iter().filter(active).chain(&self.new).map(|set| count::available(set)).sum();
        let mut surplus = serving - least;
        for set in self.old.clone() {
            let part = surplus.min(count::spec_replicas(&set));
            if part > 0 {
                self.scale(&set, count::spec_replicas(&set) - part).await?;
                surplus -= part;
                gone += part;
            }
        }
        Ok(gone > 0)
    }
}
