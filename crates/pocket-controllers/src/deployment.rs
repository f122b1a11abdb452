//! Deployment controller: moves Deployments from one ReplicaSet to the next, as `kube-controller-manager` does.

mod condition;
mod count;
mod recreate;
mod revision;
mod rolling;
mod scale;
mod status;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, ReplicaSet},
    core::v1::Pod,
};
use kube::ResourceExt;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    events::Events,
    owner,
    queue::{After, Queue},
};

const COMPONENT: &str = "deployment-controller";
const WORKERS: usize = 8;

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue = Queue::new();
    let reconciler = Arc::new(DeploymentReconciler {
        deployments: shared.deployments.clone(),
        sets: shared.replica_sets.clone(),
        pods: shared.pods.clone(),
        events: shared.events.clone(),
    });
    let changed = queue.clone();
    reconciler
        .deployments
        .on_change(move |_, new| new.into_iter().for_each(|deployment| changed.add(Key::of(deployment))));
    let (changed, deployments) = (queue.clone(), reconciler.deployments.clone());
    reconciler.sets.on_change(move |old, new| {
        for set in old.into_iter().chain(new) {
            let namespace = set.namespace().unwrap_or_default();
            if let Some(name) = owner::controller_name::<Deployment>(set) {
                changed.add(Key::new(namespace, name));
            } else if owner::controller(set).is_none() && set.metadata.deletion_timestamp.is_none() {
                let selects = |spec: &DeploymentSpec| owner::selects(&spec.selector, set.labels());
                let all = deployments.list(&namespace);
                let matching = all.iter().filter(|deployment| deployment.spec.as_ref().is_some_and(selects));
                matching.for_each(|deployment| changed.add(Key::of(&**deployment)));
            }
        }
    });
    // `Recreate` waits until the last old pod is gone.
    let (changed, sets, deployments) = (queue.clone(), reconciler.sets.clone(), reconciler.deployments.clone());
    reconciler.pods.on_change(move |old, new| {
        let Some(pod) = old.filter(|_| new.is_none_or(crate::pods::is_terminal)) else { return };
        let namespace = pod.namespace().unwrap_or_default();
        let Some(set) =
            owner::controller_name::<ReplicaSet>(pod).and_then(|name| sets.get(&Key::new(&namespace, name)))
        else {
            return;
        };
        let Some(name) = owner::controller_name::<Deployment>(&*set) else { return };
        let key = Key::new(namespace, name);
        let recreates =
            |deployment: Arc<Deployment>| deployment.spec.as_ref().is_some_and(|spec| !count::is_rolling(spec));
        if deployments.get(&key).is_some_and(recreates) {
            changed.add(key);
        }
    });
    tasks.spawn(async move {
        reconciler.deployments.ready().await;
        reconciler.sets.ready().await;
        reconciler.pods.ready().await;
        queue.work(WORKERS, move |key| reconciler.clone().reconcile(key)).await;
    });
}

struct DeploymentReconciler {
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    events: Events,
}

/// One pass over a Deployment and its ReplicaSets. Results of writes are taken over at once, so the pass stays up to date.
struct Rollout<'a> {
    reconciler: &'a DeploymentReconciler,
    deployment: Arc<Deployment>,
    spec: DeploymentSpec,
    /// ReplicaSet with the Deployment's template, if there is one.
    new: Option<Arc<ReplicaSet>>,
    /// All other ReplicaSets, oldest first.
    old: Vec<Arc<ReplicaSet>>,
}

impl DeploymentReconciler {
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(After::Rest) };
        let Some(spec) = deployment.spec.clone() else { return Ok(After::Rest) };
        let selects_all = spec.selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && spec.selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
        if selects_all {
            let message = "This deployment is selecting all pods. A non-empty selector is required.".to_owned();
            self.events.warning(COMPONENT, &*deployment, "SelectingAll", message);
            return Ok(After::Rest);
        }
        let all = self.sets.list(&key.namespace);
        let mine = owner::claim(&*deployment, &self.deployments, &spec.selector, all, &self.sets).await?;
        let mut rollout = Rollout::new(&self, deployment, spec, mine);
        rollout.run().await
    }
}

impl<'a> Rollout<'a> {
    fn new(
        reconciler: &'a DeploymentReconciler,
        deployment: Arc<Deployment>,
        spec: DeploymentSpec,
        mut mine: Vec<Arc<ReplicaSet>>,
    ) -> Self {
        mine.sort_by(|a, b| {
            let created = |set: &ReplicaSet| set.metadata.creation_timestamp.clone();
            created(a).cmp(&created(b)).then_with(|| a.name_any().cmp(&b.name_any()))
        });
        // Of several ReplicaSets with the same template the oldest one counts, so that every pass picks the same one.
        let at = mine.iter().position(|set| revision::has_template(set, &spec.template));
        let new = at.map(|at| mine.remove(at));
        Self { reconciler, deployment, spec, new, old: mine }
    }

    async fn run(&mut self) -> Result<After, Error> {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.sync_status().await;
        }
        self.check_paused().await?;
        if self.spec.paused == Some(true) || self.is_scaling() {
            self.sync_revision(false).await?;
            self.scale_all().await?;
            if self.spec.paused == Some(true) {
                self.clean_up().await?;
            }
            return self.sync_status().await;
        }
        if count::is_rolling(&self.spec) { self.roll().await } else { self.recreate().await }
    }

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// Returns all ReplicaSets.
    fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    /// Replaces a ReplicaSet by its new state.
    fn replace(&mut self, set: Arc<ReplicaSet>) {
        let uid = set.metadata.uid.clone();
        for have in self.old.iter_mut().chain(&mut self.new) {
            if have.metadata.uid == uid {
                *have = set;
                return;
            }
        }
    }

    /// Deletes old ReplicaSets past the history limit, the oldest revisions first.
    async fn clean_up(&mut self) -> Result<(), Error> {
        let Some(limit) = self.spec.revision_history_limit.filter(|limit| *limit != i32::MAX) else { return Ok(()) };
        let mut cleanable: Vec<_> =
            self.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).cloned().collect();
        let surplus = cleanable.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        cleanable.sort_by_key(|set| revision::of(&**set));
        for set in cleanable.into_iter().take(surplus) {
            let status = set.status.clone().unwrap_or_default();
            let settled = set.metadata.generation <= status.observed_generation;
            if status.replicas == 0 && count::spec_replicas(&set) == 0 && settled {
                self.reconciler.sets.delete(&set).await?;
                self.old.retain(|have| have.metadata.uid != set.metadata.uid);
            }
        }
        Ok(())
    }

    /// Sets annotations of the Deployment.
    async fn annotate(&mut self, annotations: BTreeMap<String, String>) -> Result<(), Error> {
        let patch = json!({ "metadata": { "annotations": annotations } });
        self.deployment = self.reconciler.deployments.patch(&self.deployment, patch).await?;
        Ok(())
    }
}
