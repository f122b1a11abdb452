//! Strategy `Recreate`: all old pods are gone before the first new one is created.

use super::{Rollout, count, status};
use crate::{Error, cache::Key, owner, pods, queue::After};

impl Rollout<'_> {
    pub(super) async fn recreate(&mut self) -> Result<After, Error> {
        self.sync_revision(false).await?;
        for set in self.old.clone() {
            self.scale(&set, 0).await?;
        }
        if self.old_pods_run() {
            return self.sync_rollout_status().await;
        }
        self.sync_revision(true).await?;
        if let Some(new) = self.new.clone() {
            self.scale(&new, self.replicas()).await?;
        }
        if status::is_complete(&self.deployment, &self.deployment.status.clone().unwrap_or_default()) {
            self.clean_up().await?;
        }
        self.sync_rollout_status().await
    }

    /// Returns whether an old pod exists that has not ended, including pods that are being deleted.
    fn old_pods_run(&self) -> bool {
        let namespace = Key::of(&*self.deployment).namespace;
        self.old.iter().any(|set| count::status_replicas(set) > 0)
            || self.reconciler.pods.list(&namespace).iter().any(|pod| {
                !pods::is_terminal(pod) && self.old.iter().any(|set| owner::is_controlled_by(&**pod, &**set))
            })
    }
}
