//! ReplicaSets. They are not watched: only an instance that drains, or that is taken back while it drains, needs its own.

use kube::{
    Api, Client, Error,
    api::{DynamicObject, ListParams, Preconditions},
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
};
use rainbow_plan::Cascade;
use serde_json::{Map, Value};

use super::{Failure, classify, deletion};
use crate::{key::Key, kind::Kind, messages};

fn api(client: &Client, key: &Key) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "ReplicaSet"));
    Api::namespaced_with(client.clone(), &key.namespace, &resource)
}

/// Returns the query for objects with these labels.
fn with(labels: &Map<String, Value>) -> ListParams {
    let term = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let terms: Vec<String> = labels.iter().map(term).collect();
    ListParams::default().labels(&terms.join(","))
}

/// Deletes the ReplicaSets with these labels that no Deployment owns. ReplicaSets without pods are deleted first: as long as a pod has its
/// ReplicaSet, the planner knows that something is left to delete.
pub(super) async fn delete(
    client: &Client,
    key: &Key,
    deployment: &str,
    labels: &Map<String, Value>,
    cascade: Cascade,
) -> Result<(), Failure> {
    let api = api(client, key);
    let failed = |error| classify(Kind::Deployment, deployment, error);
    let list = api.list(&with(labels)).await.map_err(failed)?;
    let is_free = |set: &&DynamicObject| {
        let mut owners = set.metadata.owner_references.iter().flatten();
        set.metadata.deletion_timestamp.is_none() && owners.all(|owner| owner.controller != Some(true))
    };
    let mut free: Vec<&DynamicObject> = list.items.iter().filter(is_free).collect();
    free.sort_by_key(|set| set.data["status"]["replicas"].as_u64().unwrap_or(0));
    for set in free {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
        match api.delete(name, &deletion(cascade).preconditions(preconditions)).await {
            Ok(_) => {}
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Makes sure that no ReplicaSet of a Deployment that is about to be made is being deleted. Otherwise the Deployment controller would find
/// the name of its ReplicaSet taken, choose another name with another `pod-template-hash`, and start new pods beside the existing ones.
pub(super) async fn none_goes(
    client: &Client,
    key: &Key,
    deployment: &str,
    labels: &Map<String, Value>,
) -> Result<(), Failure> {
    let list = api(client, key).list_metadata(&with(labels)).await;
    let list = list.map_err(|error| classify(Kind::Deployment, deployment, error))?;
    let is_going = |set: &PartialObjectMeta<DynamicObject>| set.metadata.deletion_timestamp.is_some();
    if list.items.iter().any(is_going) {
        return Err(Failure::Stale(messages::replica_set_goes(deployment)));
    }
    Ok(())
}
