//! Container tasks of a pod: their start in order, and their end.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
};

use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::stop::{Stop, StopRequests};
use crate::{
    kubelet::{
        container::{Actor, Role},
        pod_context::PodContext,
        termination::Order,
        tracker::{Place, RunState, View},
    },
    runtime::Runtime,
};

/// Container tasks of a pod.
pub(super) struct PodContainers<R: Runtime> {
    context: Arc<PodContext<R>>,
    sandbox: Arc<R::Sandbox>,
    /// Init containers and containers.
    regular: JoinSet<()>,
    /// Native sidecars.
    sidecars: JoinSet<()>,
    /// Deadline for all tasks to end, set when the pod must end.
    stop: watch::Sender<Option<Instant>>,
    /// Order in which sidecars and containers end.
    orders: HashMap<Place, Order>,
    /// Places whose task was started.
    spawned: HashSet<Place>,
}

impl<R: Runtime> PodContainers<R> {
    pub(super) fn new(context: Arc<PodContext<R>>, sandbox: Arc<R::Sandbox>) -> Self {
        let orders = orders(&context.tracker.read());
        Self {
            context,
            sandbox,
            regular: JoinSet::new(),
            sidecars: JoinSet::new(),
            stop: watch::Sender::new(None),
            orders,
            spawned: HashSet::new(),
        }
    }

    /// Starts the task of a container. Returns the token that is cancelled when the next container may start.
    fn spawn(&mut self, place: Place, role: Role) -> CancellationToken {
        let begun = CancellationToken::new();
        let actor = Actor {
            context: self.context.clone(),
            sandbox: self.sandbox.clone(),
            place,
            role,
            stop: self.stop.subscribe(),
            order: self.orders.get(&place).cloned().unwrap_or_default(),
            begun: begun.clone(),
        };
        let tasks = if role == Role::Sidecar { &mut self.sidecars } else { &mut self.regular };
        tasks.spawn(actor.run());
        self.spawned.insert(place);
        begun
    }

    /// Starts all containers in order, and waits until none of them will run again (sidecars may).
    ///
    /// Dropping the future leaves the containers to `end`.
    pub(super) async fn run(&mut self) {
        let (init, apps) = {
            let view = self.context.tracker.read();
            (view.init.iter().map(|slot| slot.sidecar).collect::<Vec<_>>(), view.apps.len())
        };
        for (index, sidecar) in init.into_iter().enumerate() {
            let place = Place::Init(index);
            if sidecar {
                self.spawn(place, Role::Sidecar);
                self.until_started(index).await;
            } else {
                self.spawn(place, Role::Init);
                while self.regular.join_next().await.is_some() {}
                let through = self
                    .context
                    .tracker
                    .read()
                    .init
                    .get(index)
                    .is_some_and(|slot| matches!(&slot.state, RunState::Ended(end) if end.code == 0));
                if !through {
                    return;
                }
            }
        }
        self.context.tracker.update(|view| {
            view.initialized = true;
            for slot in &mut view.apps {
                if let RunState::Waiting { reason, .. } = &mut slot.state {
                    *reason = "ContainerCreating".into();
                }
            }
        });
        for index in 0..apps {
            // Containers start one after the other, hooks included; a container that cannot start delays no other one.
            self.spawn(Place::App(index), Role::App).cancelled().await;
        }
        while self.regular.join_next().await.is_some() {}
    }

    async fn until_started(&self, index: usize) {
        loop {
            if self.context.tracker.read().init.get(index).is_none_or(|slot| slot.started) {
                return;
            }
            self.context.tracker.leader.notified().await;
        }
    }

    /// Ends the running containers. The deadline may become earlier meanwhile, for example by a deletion.
    pub(super) async fn end(&mut self, stop: Stop, requests: &mut StopRequests) {
        // No sidecar waits for a container that was never started.
        for (place, order) in &self.orders {
            if !self.spawned.contains(place) {
                order.ended.cancel();
            }
        }
        let mut deadline = stop.deadline;
        self.stop.send_replace(Some(deadline));
        let (regular, sidecars, stop) = (&mut self.regular, &mut self.sidecars, &self.stop);
        let all = async {
            while regular.join_next().await.is_some() {}
            while sidecars.join_next().await.is_some() {}
        };
        let mut all = pin!(all);
        loop {
            tokio::select! {
                () = &mut all => return,
                sooner = requests.wait_for_earlier_stop(deadline) => {
                    deadline = sooner.deadline;
                    stop.send_replace(Some(deadline));
                }
            }
        }
    }
}

/// Returns the order in which the containers of a pod end: first the containers, then the sidecars from the last to the first.
fn orders(view: &View) -> HashMap<Place, Order> {
    let mut orders: HashMap<Place, Order> =
        (0..view.apps.len()).map(|index| (Place::App(index), Order::default())).collect();
    let containers: Vec<CancellationToken> = orders.values().map(|order| order.ended.clone()).collect();
    let mut later = None;
    for (index, _) in view.init.iter().enumerate().rev().filter(|(_, slot)| slot.sidecar) {
        let after = containers.iter().cloned().chain(later).collect();
        let order = Order { ended: CancellationToken::new(), after };
        later = Some(order.ended.clone());
        orders.insert(Place::Init(index), order);
    }
    orders
}
