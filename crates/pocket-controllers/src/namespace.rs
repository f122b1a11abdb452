//! Namespace controller: gives each namespace its `default` service account and the certificate that its pods trust, and empties
//! namespaces that are being deleted.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, NamespaceCondition, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Error, MANAGER, Shared, clock,
    objects::{Node, Objects},
    queue::{After, Queue},
};

const WORKERS: usize = 4;
/// Finalizer in the namespace's spec that this controller removes.
const FINALIZER: &str = "kubernetes";

/// ConfigMap with the authority's certificate, with which pods verify the API server.
const ROOT_CA: &str = "kube-root-ca.crt";
const ROOT_CA_KEY: &str = "ca.crt";

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue: Queue<String> = Queue::new();
    let reconciler = Arc::new(NamespaceReconciler {
        client: shared.client.clone(),
        objects: shared.objects.clone(),
        root_ca: shared.settings.root_ca.clone(),
    });
    let changed = queue.clone();
    let ending: Mutex<HashSet<String>> = Mutex::default();
    shared.objects.on_change(move |old, new| {
        let Some(node) = new.or(old) else { return };
        let mut ending = ending.lock().unwrap_or_else(PoisonError::into_inner);
        match node.kind.resource.kind.as_str() {
            "Namespace" if node.kind.resource.group.is_empty() => {
                if node.deleting && new.is_some() {
                    ending.insert(node.name.clone());
                } else {
                    ending.remove(&node.name);
                }
                changed.add(node.name.clone());
            }
            "ServiceAccount" if new.is_none() => changed.add(node.namespace.clone()),
            "ConfigMap" if node.name == ROOT_CA => changed.add(node.namespace.clone()),
            _ if ending.contains(&node.namespace) => changed.add(node.namespace.clone()),
            _ => {}
        }
    });
    tasks.spawn(async move {
        reconciler.objects.ready().await;
        queue.work(WORKERS, move |name| reconciler.clone().reconcile(name)).await;
    });
}

struct NamespaceReconciler {
    client: Client,
    objects: Objects,
    root_ca: Option<String>,
}

impl NamespaceReconciler {
    async fn reconcile(self: Arc<Self>, name: String) -> Result<After, Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let Some(namespace) = api.get_opt(&name).await? else { return Ok(After::Rest) };
        if namespace.metadata.deletion_timestamp.is_none() {
            // Pods have a token as soon as there is an account, and then need the certificate.
            self.root_ca(&name).await?;
            self.service_account(&name).await?;
            return Ok(After::Rest);
        }
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|have| have == FINALIZER) {
            return Ok(After::Rest);
        }
        let failures = self.delete_content(&name).await;
        let left = self.objects.in_namespace(&name);
        let unseen = if left.is_empty() && failures.is_empty() { self.count_unwatched(&name).await? } else { 0 };
        let empty = left.is_empty() && failures.is_empty() && unseen == 0;
        let conditions = conditions(&namespace, &left, unseen, &failures);
        let have = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        if conditions != have {
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let patch = json!({ "status": { "conditions": conditions } });
            api.patch_status(&name, &params, &Patch::Merge(patch)).await?;
        }
        if let Some(failure) = failures.into_iter().next() {
            return Err(Error::Other(failure));
        }
        if unseen > 0 {
            return Err(Error::Other(format!("namespace {name} still has {unseen} objects")));
        }
        if empty {
            self.finalize(&api, &name).await?;
        }
        // The end of each remaining object requeues the namespace.
        Ok(After::Rest)
    }

    async fn service_account(&self, namespace: &str) -> Result<(), Error> {
        let there =
            |node: &Arc<Node>| node.kind.resource.kind == "ServiceAccount" && node.name == "default" && !node.deleting;
        if self.objects.in_namespace(namespace).iter().any(there) {
            return Ok(());
        }
        let account = ServiceAccount { metadata: named("default", namespace), ..ServiceAccount::default() };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        unless_late(api.create(&by_manager(), &account).await)
    }

    /// Creates or restores the ConfigMap with the authority's certificate, and replaces an old certificate.
    async fn root_ca(&self, namespace: &str) -> Result<(), Error> {
        let Some(certificate) = &self.root_ca else { return Ok(()) };
        let data = BTreeMap::from([(ROOT_CA_KEY.to_owned(), certificate.clone())]);
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        match api.get_opt(ROOT_CA).await? {
            Some(map) if map.data.as_ref() == Some(&data) => Ok(()),
            Some(map) => {
                let patch = crate::patch::diff(&json!({ "data": map.data }), &json!({ "data": data }))?;
                let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                unless_late(api.patch(ROOT_CA, &params, &Patch::Merge(patch.unwrap_or_default())).await)
            }
            None => {
                let map = ConfigMap { metadata: named(ROOT_CA, namespace), data: Some(data), ..ConfigMap::default() };
                unless_late(api.create(&by_manager(), &map).await)
            }
        }
    }

    /// Requests the deletion of everything in a namespace. Returns the requests that failed.
    async fn delete_content(&self, namespace: &str) -> Vec<String> {
        let kinds: BTreeMap<String, _> = self
            .objects
            .in_namespace(namespace)
            .iter()
            .filter(|node| !node.deleting)
            .map(|node| (format!("{}/{}", node.kind.resource.api_version, node.kind.resource.kind), node.kind.clone()))
            .collect();
        let mut failures = Vec::new();
        for kind in kinds.values() {
            let all = kind
                .api(&self.client, namespace)
                .delete_collection(&DeleteParams::background(), &ListParams::default())
                .await;
            match all {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => failures
                    .push(format!("cannot delete all {} in namespace {namespace}: {error}", kind.resource.plural)),
            }
        }
        failures
    }

    /// Returns the number of objects that the metadata does not show: it may be a moment behind, and does not have all kinds.
    async fn count_unwatched(&self, namespace: &str) -> Result<usize, Error> {
        let mut count = 0;
        for kind in self.objects.kinds().iter().filter(|kind| kind.namespaced) {
            let api = kind.api(&self.client, namespace);
            match api.list_metadata(&ListParams::default().limit(100)).await {
                Ok(found) => count += found.items.len(),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    async fn finalize(&self, api: &Api<Namespace>, name: &str) -> Result<(), Error> {
        let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(self.client.clone(), name);
        events.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let Some(mut live) = api.get_opt(name).await? else { return Ok(()) };
        if let Some(finalizers) = live.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|have| have != FINALIZER);
        }

        match api.replace_subresource("finalize", name, &PostParams::default(), &live).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn named(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() }
}

fn by_manager() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// Ignores that another client was faster, or that the namespace is gone or ending: the change of the namespace requeues it.
fn unless_late<T>(result: Result<T, kube::Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the conditions about the namespace's end, in the words of Kubernetes.
fn conditions(
    namespace: &Namespace,
    left: &[Arc<Node>],
    unseen: usize,
    failures: &[String],
) -> Vec<NamespaceCondition> {
    let have = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for node in left {
        let resource = &node.kind.resource;
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        *kinds.entry(format!("{}{group}", resource.plural)).or_default() += 1;
        for finalizer in &node.finalizers {
            *finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }
    let list = |counts: &BTreeMap<String, usize>, text: &str| {
        counts
            .iter()
            .map(|(name, count)| format!("{name} {text} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let content = match (left.len(), unseen) {
        (0, 0) => None,
        (0, unseen) => Some(format!("Some resources are remaining: {unseen} resource instances")),
        _ => Some(format!("Some resources are remaining: {}", list(&kinds, "has"))),
    };
    let held = (!finalizers.is_empty())
        .then(|| format!("Some content in the namespace has finalizers remaining: {}", list(&finalizers, "in")));
    let failed = (!failures.is_empty()).then(|| failures.join("; "));
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered", "", None),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
            "",
            None,
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
            "ContentDeletionFailed",
            failed,
        ),
        (
            "NamespaceContentRemaining",
            "ContentRemoved",
            "All content successfully removed",
            "SomeResourcesRemain",
            content,
        ),
        (
            "NamespaceFinalizersRemaining",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
            "SomeFinalizersRemain",
            held,
        ),
    ];
    rows.into_iter()
        .map(|(kind, good, all_good, bad, problem)| {
            let (status, reason) = if problem.is_some() { ("True", bad) } else { ("False", good) };
            let message = problem.unwrap_or_else(|| all_good.to_owned());
            let old = have.iter().find(|condition| condition.type_ == kind && condition.status == status);
            NamespaceCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: old.map_or_else(|| Some(clock::time()), |old| old.last_transition_time.clone()),
            }
        })
        .collect()
}
