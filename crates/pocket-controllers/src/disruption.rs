//! Disruption controller: counts the pods that may be evicted under each PodDisruptionBudget, at the times of kube-controller-manager.
//!
//! A change of the budget or of a pod triggers a count; a change of the pods' Deployment or ReplicaSet does not. The numbers
//! may therefore belong to a size that is no longer wanted, until a pod changes. A budget that is ahead of a real one would
//! hide that from software that is developed against it.

mod expected;
mod stale;
mod status;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    events::Events,
    owner,
    queue::{After, Queue},
};

const COMPONENT: &str = "controllermanager";
const WORKERS: usize = 2;
/// A real controller checks everything again every 12 to 24 hours (`--min-resync-period`).
const RESYNC: Duration = Duration::from_secs(24 * 3600);

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let (queue, stale) = (Queue::new(), Queue::new());
    let reconciler = Arc::new(DisruptionReconciler {
        client: shared.client.clone(),
        budgets: shared.budgets.clone(),
        pods: shared.pods.clone(),
        sets: shared.replica_sets.clone(),
        deployments: shared.deployments.clone(),
        events: shared.events.clone(),
    });
    let changed = queue.clone();
    reconciler.budgets.on_change(move |_, new| new.into_iter().for_each(|budget| changed.add(Key::of(budget))));
    let (changed, marked) = (queue.clone(), stale.clone());
    let (budgets, events) = (reconciler.budgets.clone(), reconciler.events.clone());
    reconciler.pods.on_change(move |old, new| {
        // Only a pod's latest labels count: a label that a pod no longer has finds no budget.
        let Some(pod) = new.or(old) else { return };
        if let Some(budget) = budget_of(&budgets, &events, pod) {
            changed.add(Key::of(&*budget));
        }
        if let Some(wait) = new.and_then(stale::remaining) {
            marked.add_after(Key::of(pod), wait);
        }
    });
    reconciler.sets.keep();
    reconciler.deployments.keep();
    let (marked, cleaner) = (stale, reconciler.clone());
    tasks.spawn(async move {
        cleaner.pods.ready().await;
        marked.work(1, move |key| cleaner.clone().reset_stale(key)).await;
    });
    let (changed, budgets) = (queue.clone(), reconciler.budgets.clone());
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(RESYNC).await;
            budgets.all().iter().for_each(|budget| changed.add(Key::of(&**budget)));
        }
    });
    tasks.spawn(async move {
        reconciler.budgets.ready().await;
        reconciler.pods.ready().await;
        reconciler.sets.ready().await;
        reconciler.deployments.ready().await;
        queue.work(WORKERS, move |key| reconciler.clone().reconcile(key)).await;
    });
}

/// Returns the one budget for which a pod's change counts: the first of those that select the pod.
fn budget_of(budgets: &Cache<PodDisruptionBudget>, events: &Events, pod: &Pod) -> Option<Arc<PodDisruptionBudget>> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut matching = budgets.list(&namespace);
    matching.retain(|budget| budget.spec.as_ref().is_some_and(|spec| selects(spec, pod)));
    let first = matching.first()?;
    if matching.len() > 1 {
        let (pod_name, name) = (pod.name_any(), first.name_any());
        let message = format!(
            "Pod \"{namespace}\"/\"{pod_name}\" matches multiple PodDisruptionBudgets.  Chose \"{name}\" arbitrarily."
        );
        events.warning(COMPONENT, pod, "MultiplePodDisruptionBudgets", message);
    }
    Some(first.clone())
}

/// Returns whether a budget selects a pod. An empty selector selects all pods of the namespace, a missing one selects none.
fn selects(spec: &PodDisruptionBudgetSpec, pod: &Pod) -> bool {
    spec.selector
        .as_ref()
        .is_some_and(|selector| *selector == LabelSelector::default() || owner::selects(selector, pod.labels()))
}

struct DisruptionReconciler {
    client: Client,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    sets: Cache<ReplicaSet>,
    deployments: Cache<Deployment>,
    events: Events,
}

impl DisruptionReconciler {
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let Some(budget) = self.budgets.get(&key) else { return Ok(After::Rest) };
        let Some(spec) = budget.spec.as_ref() else { return Ok(After::Rest) };
        let mut mine = self.pods.list(&key.namespace);
        mine.retain(|pod| selects(spec, pod));
        if mine.is_empty() {
            self.events.normal(COMPONENT, &*budget, "NoPods", "No matching pods found".to_owned());
        }
        let expected = match self.expected(spec, &mine).await {
            Ok(expected) => expected,
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.events.warning(COMPONENT, &*budget, "CalculateExpectedPodCountFailed", message);
                // Nothing may be evicted until the count is known. The next change triggers another count.
                self.write(&budget, &status::failed(&budget, why)).await?;
                return Ok(After::Rest);
            }
        };
        if expected.unmanaged {
            let selector = expected::as_go_prints(spec.selector.as_ref());
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, \
                 the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                 for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
            );
            self.events.warning(COMPONENT, &*budget, "UnmanagedPods", message);
        }
        let counted = status::count_pods(&budget, &mine, &expected);
        for pod in counted.not_deleted {
            // The namespace occurs twice, as in Kubernetes.
            let message = format!(
                "Pod was expected by PDB {0}/{0} to be deleted but it wasn't",
                budget.namespace().unwrap_or_default()
            );
            self.events.warning(COMPONENT, &*pod, "NotDeleted", message);
        }
        self.write(&budget, &counted.status).await?;
        Ok(counted.recheck.into())
    }

    async fn write(&self, budget: &PodDisruptionBudget, status: &PodDisruptionBudgetStatus) -> Result<(), Error> {
        // Zeros are news, too, where no status was written yet.
        let old = budget.status.as_ref().map_or_else(|| Ok(json!({})), serde_json::to_value)?;
        if let Some(patch) = crate::patch::diff(&old, &serde_json::to_value(status)?)? {
            self.budgets.patch_status(budget, patch).await?;
        }
        Ok(())
    }
}
