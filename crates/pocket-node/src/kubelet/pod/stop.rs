//! Requests to end a pod, and the deadline that follows from them.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Latest state of a pod's object.
#[derive(Clone, Debug)]
pub(in crate::kubelet) struct Update {
    pub(in crate::kubelet) pod: Arc<Pod>,
    /// Object no longer exists.
    pub(in crate::kubelet) gone: bool,
}

/// Reason why a pod must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Object is being deleted: it is removed when the pod has ended.
    Deleted,
    /// Object no longer exists.
    Gone,
    /// Node shuts down.
    Shutdown,
    /// Pod has run for longer than `activeDeadlineSeconds`.
    Deadline,
}

/// Request to end a pod, with the deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) cause: Cause,
    pub(super) deadline: Instant,
}

/// Sources of the request to end.
pub(super) struct StopRequests {
    pub(super) updates: watch::Receiver<Update>,
    pub(super) shutdown: CancellationToken,
    pub(super) shutdown_grace: Duration,
    pub(super) active_deadline: Option<Instant>,
    /// Shortest grace period requested, and the time at which the deletion was first seen.
    pub(super) deletion: Option<(Duration, Instant)>,
    /// Node shuts down.
    pub(super) ending: bool,
}

impl StopRequests {
    /// Waits until the pod must end. Returns at once if it must end already.
    pub(super) async fn wait_for_stop(&mut self) -> Stop {
        loop {
            if let Some(stop) = self.check() {
                return stop;
            }
            self.wait_for_change().await;
        }
    }

    /// Waits until the deadline becomes earlier than `than`.
    pub(super) async fn wait_for_earlier_stop(&mut self, than: Instant) -> Stop {
        loop {
            self.wait_for_change().await;
            if let Some(stop) = self.check()
                && stop.deadline < than
            {
                return stop;
            }
        }
    }

    /// Waits until there is something new to look at.
    async fn wait_for_change(&mut self) {
        if self.ending {
            return std::future::pending().await;
        }
        tokio::select! {
            // Without the dispatcher there is no node.
            changed = self.updates.changed() => self.ending |= changed.is_err(),
            () = self.shutdown.cancelled() => self.ending = true,
            () = at(self.active_deadline) => {}
        }
    }

    /// Returns the request that holds now, if there is one.
    pub(super) fn check(&mut self) -> Option<Stop> {
        let now = Instant::now();
        self.ending |= self.shutdown.is_cancelled();
        let update = self.updates.borrow_and_update().clone();
        if update.gone {
            return Some(Stop { cause: Cause::Gone, deadline: now });
        }
        // The node's shutdown does not wait longer than this, whatever grace period a pod has.
        let latest = now + self.shutdown_grace;
        if update.pod.metadata.deletion_timestamp.is_some() {
            let grace = update.pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            // A later look at the same request does not prolong it, and a shorter grace period also counts from the first one.
            let (former, since) = self.deletion.unwrap_or((grace, now));
            let grace = former.min(grace);
            self.deletion = Some((grace, since));
            let deadline = since + grace;
            let deadline = if self.ending { deadline.min(latest) } else { deadline };
            return Some(Stop { cause: Cause::Deleted, deadline });
        }
        if self.ending {
            return Some(Stop { cause: Cause::Shutdown, deadline: latest.min(now + grace_of(&update.pod)) });
        }
        if self.active_deadline.is_some_and(|deadline| deadline <= now) {
            self.active_deadline = None;
            return Some(Stop { cause: Cause::Deadline, deadline: now + grace_of(&update.pod) });
        }
        None
    }
}

/// Waits until an instant; without one, indefinitely.
pub(super) async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Returns the grace period that the pod's spec sets.
pub(super) fn grace_of(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
