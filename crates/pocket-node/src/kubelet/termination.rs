//! Termination of one container: preStop hook, its turn, SIGTERM, SIGKILL.
//!
//! The steps and the use of the grace period are those of `killContainer` in `kuberuntime_container.go` and of
//! `kuberuntime_termination_order.go` (Kubernetes 1.37). All containers' hooks begin at once, also those of sidecars. A sidecar's
//! signal waits until the containers and all later sidecars have ended. Every container gets two seconds after its signal,
//! regardless of how long hook and turn have taken. Time is counted in whole seconds, rounded down.

use std::{pin::pin, time::Duration};

use k8s_openapi::api::core::v1::LifecycleHandler;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::lifecycle;
use crate::{
    probes::Prober,
    runtime::{Container, Exit},
};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// `minimumGracePeriodInSeconds` of the kubelet.
const LEAST_GRACE: u64 = 2;

/// Place of a container in the order in which those of its pod end.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Cancelled when this container has ended and will not start again.
    pub(super) ended: CancellationToken,
    /// Same tokens of the containers that end before this one.
    pub(super) after: Vec<CancellationToken>,
}

impl Order {
    /// Waits until all containers that end before have ended.
    async fn turn(&self) {
        for earlier in &self.after {
            earlier.cancelled().await;
        }
    }
}

/// Termination of one container.
pub(super) struct Termination<'a, C> {
    pub(super) prober: &'a Prober<'a, C>,
    pub(super) pre_stop: Option<&'a LifecycleHandler>,
    /// Order of termination, if the whole pod ends.
    pub(super) order: Option<&'a Order>,
    /// Deadline of the pod, which may become earlier meanwhile.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    /// End of the grace period as known at the beginning.
    pub(super) deadline: Instant,
    /// Reports that the hook has failed, and why.
    pub(super) hook_failed: &'a (dyn Fn(String) + Send + Sync),
}

impl<C: Container> Termination<'_, C> {
    /// Ends the container and returns how it exited.
    pub(super) async fn run(mut self) -> Exit {
        let container = self.prober.container;
        let mut grace = Grace { deadline: self.deadline, seconds: whole_seconds(self.deadline) };
        let (pre_stop, prober, hook_failed) = (self.pre_stop, self.prober, self.hook_failed);
        let hook = async move {
            if let Some(hook) = pre_stop
                && let Err(why) = lifecycle::run(hook, prober).await
            {
                hook_failed(why);
            }
        };
        // A hook that is too slow continues beside the other steps, as the kubelet's goroutine does.
        let mut hook = pin!(hook);
        let mut hook_running = false;
        if pre_stop.is_some() && grace.seconds > 0 {
            // The container's own exit does not end the wait: the kubelet does not check for it.
            hook_running = !grace.spend(&mut self.stop, &mut hook).await;
        }
        if let Some(order) = self.order
            && grace.seconds > 0
        {
            let turn = pin!(order.turn());
            tokio::select! {
                _ = grace.spend(&mut self.stop, turn) => {}
                () = &mut hook, if hook_running => std::future::pending().await,
            }
        }
        let signalled = Instant::now();
        let least = signalled + Duration::from_secs(LEAST_GRACE);
        let until = signalled + Duration::from_secs(grace.seconds.max(LEAST_GRACE));
        let stopped = async {
            tokio::select! {
                biased;
                exit = container.wait() => return exit,
                () = std::future::ready(()) => {}
            }
            container.signal(SIGTERM);
            tokio::select! {
                exit = container.wait() => return exit,
                () = reached(&mut self.stop, until, least) => {}
            }
            container.signal(SIGKILL);
            container.wait().await
        };
        let beside = async {
            if hook_running {
                hook.await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            exit = stopped => exit,
            () = beside => Exit::Signal(SIGKILL),
        }
    }
}

/// Rest of a grace period, in the kubelet's whole seconds.
struct Grace {
    deadline: Instant,
    seconds: u64,
}

impl Grace {
    /// Waits for a future within the grace period, and deducts the time. Returns whether the future has completed.
    async fn spend(&mut self, stop: &mut watch::Receiver<Option<Instant>>, what: impl Future<Output = ()>) -> bool {
        let began = Instant::now();
        let until = began + Duration::from_secs(self.seconds);
        let done = tokio::select! {
            biased;
            () = what => true,
            () = reached(stop, until, began) => false,
        };
        let spent = began.elapsed().as_secs();
        let sooner = stop.borrow().filter(|deadline| *deadline < self.deadline);
        self.seconds = self.seconds.saturating_sub(spent);
        if let Some(sooner) = sooner {
            self.deadline = sooner;
            self.seconds = self.seconds.min(whole_seconds(sooner));
        }
        done
    }
}

/// Returns the seconds until an instant, rounded up, so that a grace period that has just begun is not shortened.
fn whole_seconds(until: Instant) -> u64 {
    let left = until.saturating_duration_since(Instant::now());
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

/// Waits for an instant. A pod's deadline that becomes earlier meanwhile shortens the wait, but not below `least`.
async fn reached(stop: &mut watch::Receiver<Option<Instant>>, mut until: Instant, least: Instant) {
    let mut known = *stop.borrow_and_update();
    loop {
        tokio::select! {
            () = sleep_until(until) => return,
            changed = stop.changed() => if changed.is_err() {
                return sleep_until(until).await;
            },
        }
        let now = *stop.borrow_and_update();
        if let Some(deadline) = now
            && known.is_none_or(|known| deadline < known)
        {
            until = until.min(deadline.max(least));
            known = now;
        }
    }
}
