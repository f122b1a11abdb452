//! The rolling update: the new ReplicaSet grows into the room there is, and the old ones shrink as it becomes available.

use super::{Rollout, count, status};
use crate::{Error, queue::After};

impl Rollout<'_> {
    pub(super) async fn roll(&mut self) -> Result<After, Error> {
        self.sync_revision(true).await?;
        // Both steps in one go: the second sees the sizes that the first has written.
        self.grow_new().await?;
        self.shrink_old().await?;
        if status::is_complete(&self.deployment, &self.deployment.status.clone().unwrap_or_default()) {
            self.clean_up().await?;
        }
        self.sync_rollout_status().await
    }

    async fn grow_new(&mut self) -> Result<(), Error> {
        let Some(new) = self.new.clone() else { return Ok(()) };
        let (have, want) = (count::wanted(&new), self.replicas());
        let size = if have > want {
            want
        } else {
            let total = self.all().map(|set| count::wanted(set)).sum();
            count::new_size(&self.spec, total, have)
        };
        self.scale(&new, size).await.map(drop)
    }

    async fn shrink_old(&mut self) -> Result<(), Error> {
        let Some(new) = self.new.clone() else { return Ok(()) };
        if self.old.iter().all(|set| count::wanted(set) == 0) {
            return Ok(());
        }
        let total: i32 = self.all().map(|set| count::wanted(set)).sum();
        let least = self.replicas() - count::max_unavailable(&self.spec);
        let unavailable = count::wanted(&new) - count::available(&new);
        let most = total - least - unavailable;
        if most <= 0 {
            return Ok(());
        }
        // Pods that do not serve anyway go first: they would only stand in the way.
        let mut gone = 0;
        for set in self.old.clone() {
            let (wanted, available) = (count::wanted(&set), count::available(&set));
            let part = (most - gone).min(wanted - available);
            if part > 0 {
                self.scale(&set, wanted - part).await?;
                gone += part;
            }
        }
        // What serves goes as far as enough stays available.
        let available: i32 = self.all().map(|set| count::available(set).min(count::wanted(set))).sum();
        let mut surplus = available - least;
        for set in self.old.clone() {
            let part = surplus.min(count::wanted(&set));
            if part > 0 {
                self.scale(&set, count::wanted(&set) - part).await?;
                surplus -= part;
            }
        }
        Ok(())
    }
}
