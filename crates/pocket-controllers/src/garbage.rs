//! Garbage collector: deletes objects that have lost all their owners, and carries out the policies of a deletion: foreground
//! (owned objects first) and orphan (owned objects stay).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Error, MANAGER, Shared,
    objects::{Node, Objects},
    queue::{After, Queue},
};

const WORKERS: usize = 8;
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Number of owners known to be gone that are remembered.
const REMEMBERED: usize = 500;

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue: Queue<String> = Queue::new();
    let collector = Arc::new(GarbageCollector {
        client: shared.client.clone(),
        objects: shared.objects.clone(),
        gone: Mutex::default(),
        queue: queue.clone(),
    });
    let (changed, objects) = (queue.clone(), shared.objects.clone());
    shared.objects.on_change(move |old, new| {
        if let Some(node) = new {
            // An object without owners that is not being deleted does not concern the collector.
            if node.deleting || !node.owners.is_empty() {
                changed.add(node.uid.clone());
            }
            if let Some(old) = old {
                // An owner that waits for its dependents is queued when a dependent no longer blocks it.
                released_owners(old, Some(node)).for_each(|uid| changed.add(uid));
            }
        } else if let Some(node) = old {
            objects.owned_by(&node.uid).into_iter().for_each(|owned| changed.add(owned.uid.clone()));
            released_owners(node, None).for_each(|uid| changed.add(uid));
        }
    });
    tasks.spawn(async move {
        collector.objects.ready().await;
        queue.work(WORKERS, move |uid| collector.clone().reconcile(uid)).await;
    });
}

/// Returns the owners that a change no longer blocks.
fn released_owners<'a>(old: &'a Node, new: Option<&'a Node>) -> impl Iterator<Item = String> + use<'a> {
    let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
    let still =
        move |uid: &str| new.is_some_and(|new| new.owners.iter().any(|owner| owner.uid == uid && blocks(owner)));
    old.owners.iter().filter(move |owner| blocks(owner) && !still(&owner.uid)).map(|owner| owner.uid.clone())
}

struct GarbageCollector {
    client: Client,
    objects: Objects,
    /// Uids of owners that were looked up and are gone.
    gone: Mutex<VecDeque<String>>,
    queue: Queue<String>,
}

/// Owners of an object, sorted by their meaning for it.
#[derive(Default)]
struct Owners {
    /// Owners that exist and do not wait for their dependents.
    solid: Vec<OwnerReference>,
    gone: Vec<OwnerReference>,
    /// Owners that are being deleted after their dependents.
    waiting: Vec<OwnerReference>,
    /// Whether an owner is of a kind that is not known (yet).
    unknown: bool,
}

impl GarbageCollector {
    async fn reconcile(self: Arc<Self>, uid: String) -> Result<After, Error> {
        let Some(node) = self.objects.get(&uid) else { return Ok(After::Rest) };
        if node.deleting {
            if node.has_finalizer(ORPHAN) {
                self.orphan(&node).await?;
            } else if node.has_finalizer(FOREGROUND) {
                self.foreground(&node).await?;
            }
            return Ok(After::Rest);
        }
        if !node.owners.is_empty() {
            self.check_owners(&node).await?;
        }
        Ok(After::Rest)
    }

    /// Deletes an object whose owners are all gone, or removes the gone owners from its list.
    async fn check_owners(&self, node: &Node) -> Result<(), Error> {
        let owners = self.owners(node).await?;
        if owners.unknown {
            return Ok(());
        }
        if !owners.solid.is_empty() {
            if owners.gone.is_empty() && owners.waiting.is_empty() {
                return Ok(());
            }
            return self.keep_owners(node, &owners.solid).await;
        }
        let waits = owners.waiting.iter().any(|owner| owner.block_owner_deletion == Some(true));
        let has_dependents = !self.objects.owned_by(&node.uid).is_empty();
        let policy = if waits && has_dependents || node.has_finalizer(FOREGROUND) {
            PropagationPolicy::Foreground
        } else if node.has_finalizer(ORPHAN) {
            PropagationPolicy::Orphan
        } else {
            PropagationPolicy::Background
        };
        tracing::debug!(kind = %node.kind.resource.kind, namespace = %node.namespace, name = %node.name, "its owners are gone");
        self.delete(node, policy).await
    }

    async fn owners(&self, node: &Node) -> Result<Owners, Error> {
        let mut owners = Owners::default();
        for owner in &node.owners {
            match self.objects.get(&owner.uid) {
                Some(found) if found.may_own(&node.namespace) => {
                    let waits = found.deleting && found.has_finalizer(FOREGROUND);
                    if waits { &mut owners.waiting } else { &mut owners.solid }.push(owner.clone());
                }
                // An owner in another namespace is not valid.
                Some(_) => owners.gone.push(owner.clone()),
                None => match self.is_there(node, owner).await? {
                    Some(true) => owners.solid.push(owner.clone()),
                    Some(false) => owners.gone.push(owner.clone()),
                    None => owners.unknown = true,
                },
            }
        }
        Ok(owners)
    }

    /// Looks up an owner that is not in the graph, because the graph may be behind. Returns `None` if its kind is not known.
    async fn is_there(&self, node: &Node, owner: &OwnerReference) -> Result<Option<bool>, Error> {
        if self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(&owner.uid) {
            return Ok(Some(false));
        }
        let Some(kind) = self.objects.kind(&owner.api_version, &owner.kind) else { return Ok(None) };
        let there = if kind.namespaced && node.namespace.is_empty() {
            false
        } else {
            let found = kind.api(&self.client, &node.namespace).get_metadata_opt(&owner.name).await?;
            found.is_some_and(|found| found.uid().as_ref() == Some(&owner.uid))
        };
        if !there {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.push_back(owner.uid.clone());
            if gone.len() > REMEMBERED {
                gone.pop_front();
            }
        }
        Ok(Some(there))
    }

    /// Carries out a foreground deletion: first deletes the objects that block the owner, then lets the owner go.
    async fn foreground(&self, node: &Node) -> Result<(), Error> {
        let owned = self.objects.owned_by(&node.uid);
        let blocks = |dependent: &Node| {
            dependent.owners.iter().any(|owner| owner.uid == node.uid && owner.block_owner_deletion == Some(true))
        };
        let blocking: Vec<_> = owned.iter().filter(|dependent| blocks(dependent)).collect();
        if blocking.is_empty() {
            return self.remove_finalizer(node, FOREGROUND).await;
        }
        for dependent in blocking {
            self.queue.add(dependent.uid.clone());
        }
        Ok(())
    }

    /// Carries out a deletion that orphans owned objects: removes their owner references, then lets the owner go.
    async fn orphan(&self, node: &Node) -> Result<(), Error> {
        for dependent in self.objects.owned_by(&node.uid) {
            let others: Vec<_> = dependent.owners.iter().filter(|owner| owner.uid != node.uid).cloned().collect();
            self.keep_owners(&dependent, &others).await?;
        }
        self.remove_finalizer(node, ORPHAN).await
    }

    async fn keep_owners(&self, node: &Node, owners: &[OwnerReference]) -> Result<(), Error> {
        let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
        self.patch(node, json!({ "metadata": { "uid": node.uid, "ownerReferences": owners } })).await
    }

    async fn remove_finalizer(&self, node: &Node, finalizer: &str) -> Result<(), Error> {
        // Other finalizers may have been added or removed since: read the object again, and write only over the version that was read.
        let api = node.kind.api(&self.client, &node.namespace);
        let Some(live) = api.get_metadata_opt(&node.name).await? else { return Ok(()) };
        if live.uid().as_ref() != Some(&node.uid) {
            return Ok(());
        }
        let left: Vec<_> = live.finalizers().iter().filter(|have| *have != finalizer).collect();
        if left.len() == live.finalizers().len() {
            return Ok(());
        }
        let meta = json!({ "uid": node.uid, "resourceVersion": live.resource_version(), "finalizers": left });
        self.patch(node, json!({ "metadata": meta })).await
    }

    async fn patch(&self, node: &Node, patch: Value) -> Result<(), Error> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let api = node.kind.api(&self.client, &node.namespace);
        match api.patch_metadata(&node.name, &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an object that still has the owners on which the decision was based. The graph may be behind: an object that has
    /// just been orphaned has no owner references any more, and its owner is gone by now.
    async fn delete(&self, node: &Node, policy: PropagationPolicy) -> Result<(), Error> {
        let api = node.kind.api(&self.client, &node.namespace);
        let Some(live) = api.get_metadata_opt(&node.name).await? else { return Ok(()) };
        if live.uid().as_ref() != Some(&node.uid) || live.owner_references() != node.owners {
            return Ok(());
        }
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(node.uid.clone()),
                resource_version: live.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match api.delete(&node.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            // The object has changed since, or another object has the name.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.queue.add(node.uid.clone());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
