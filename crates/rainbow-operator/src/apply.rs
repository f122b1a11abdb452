//! Carries out writes and returns what to expect from the watches afterwards.

mod copies;
mod effect;
mod left_behind;
mod limit_ranges;
mod replica_sets;
mod serving;
mod site;

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use rainbow_api::{FIELD_MANAGER, labels};
use rainbow_plan::{Cascade, ChainKey};
use serde_json::{Map, Value, json};

pub(crate) use copies::{
    CopyToCheck, ReadRequests as ConfigRequests, ReadResults as ConfigResults, read as read_config,
};
use effect::Difference;
pub(crate) use left_behind::{is_held, let_go};
pub(crate) use site::Site;

use crate::{
    compile::{Batch, ChainWrites, Operation, SidecarResources},
    drift::{Content, Fingerprint},
    key::Key,
    kind::Kind,
    live::{label, rainbow_of, version},
    messages,
    uid::Uid,
};

/// Start of the API server's refusal of an applied object that has a field that the schema does not have, or a value of another type. The
/// API server answers it with code 500, up to 1.37 at least: <https://github.com/kubernetes/kubernetes/issues/139253>.
const NO_SUCH_FIELD: &str = "failed to create typed patch object";

/// State that a watch must show before the next plan. A decision on the state before a write could repeat the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) what: Expected,
}

/// State that is expected of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This version or a later one.
    Version(u64),
    /// Anything but the object of this uid at this version: the object changes or is deleted.
    Change { uid: String, version: u64 },
}

/// Reason why not everything was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The cluster has changed since the plan was made.
    #[error("{0}")]
    Stale(String),
    /// The name belongs to an object that is not Rainbow's.
    #[error("{}", messages::foreign(*kind, name))]
    Foreign { kind: Kind, name: String },
    /// The namespace is being deleted, so nothing is created in it.
    #[error("{0}")]
    Ending(String),
    /// The API server refuses the write, and will refuse it again.
    #[error("{0}")]
    Rejected(String),
    /// The API server cannot be reached or is busy.
    #[error("{0}")]
    Unavailable(String),
}

/// Result of writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) expectations: Vec<Expectation>,
    /// Objects that are as they should be, as the server answered: uid, hash of what was applied, digest of the content.
    pub(crate) settled: Vec<(Uid, Fingerprint, u64)>,
    pub(crate) failure: Option<Failure>,
    /// Services that were applied, each with the API server's refusal of a part of it, if there was one.
    pub(crate) services: Vec<(String, Option<String>)>,
}

impl Outcome {
    fn expect(&mut self, kind: Kind, name: &str, what: Expected) {
        self.expectations.push(Expectation { kind, name: name.to_owned(), what });
    }

    fn end(&mut self, key: &Key, kind: Kind, name: &str, result: Result<(), Failure>) {
        if let Err(failure) = result {
            tracing::debug!(app = %key, %kind, name, %failure, "not written");
            self.failure = Some(failure);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.expectations.extend(other.expectations);
        self.settled.extend(other.settled);
        self.services.extend(other.services);
        self.failure = self.failure.take().or(other.failure);
    }
}

/// Status that replaces the status of exactly the object that was seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusWrite {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    pub(crate) status: Value,
}

/// Writes statuses, all concurrently.
pub(crate) async fn write_statuses(client: &Client, key: &Key, writes: &[StatusWrite]) -> Outcome {
    let mut outcome = Outcome::default();
    for one in join_all(writes.iter().map(|write| write_status(client, key, write))).await {
        outcome.merge(one);
    }
    outcome
}

async fn write_status(client: &Client, key: &Key, write: &StatusWrite) -> Outcome {
    let StatusWrite { kind, name, uid, status } = write;
    let mut outcome = Outcome::default();
    let result = set_status(&api(client, key, *kind), *kind, name, uid.as_deref(), status, &mut outcome).await;
    outcome.end(key, *kind, name, result);
    outcome
}

fn api(client: &Client, key: &Key, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &key.namespace, &kind.resource())
}

/// Carries out chains, all concurrently, each up to its first failure. No chain waits for another.
pub(crate) async fn carry_out(site: &Site<'_>, chains: Vec<ChainWrites>) -> Vec<(ChainKey, Outcome)> {
    join_all(chains.into_iter().map(|chain| async move { (chain.key, in_turn(site, chain.batches).await) })).await
}

async fn in_turn(site: &Site<'_>, batches: Vec<Batch>) -> Outcome {
    let mut outcome = Outcome::default();
    for batch in batches {
        for one in join_all(batch.iter().map(|operation| carry_out_one(site, operation))).await {
            outcome.merge(one);
        }
        if outcome.failure.is_some() {
            break;
        }
    }
    outcome
}

/// Carries out one write.
pub(crate) async fn carry_out_one(site: &Site<'_>, operation: &Operation) -> Outcome {
    let Site { client, key, .. } = *site;
    let api = api(client, key, operation.kind());
    let mut outcome = Outcome::default();
    let result = match operation {
        Operation::Create { kind, name, body, counters } => {
            let body = match (site.takes_objects().await, counters) {
                (Err(failure), _) => Err(failure),
                (Ok(()), SidecarResources::Fitted) => limit_ranges::fit(site, name, body).await,
                (Ok(()), SidecarResources::Given) => Ok(body.clone()),
            };
            match body {
                Ok(body) => create(&api, *kind, name, &body, &mut outcome).await,
                Err(failure) => Err(failure),
            }
        }
        Operation::Copy { source, body, key, .. } => {
            copies::create(site, source, body, key.as_ref(), &mut outcome).await
        }
        Operation::Apply { kind, name, uid, body, hash } => {
            let force = uid.is_some();
            match if force { Ok(()) } else { may_make(site, &api, *kind, name, body).await } {
                Ok(()) => apply(&api, *kind, name, body, *hash, force, &mut outcome).await,
                Err(failure) => Err(failure),
            }
        }
        // A pod that is gone, or another pod of the same name, needs no label. Its watch reports the change.
        Operation::Label { name, body } => {
            let answer = api.patch(name, &merging(), &Patch::Merge(body)).await;
            let labeled = written(answer, Kind::Pod, name, &[404, 409, 422], &mut outcome);
            labeled.and_then(|labeled| effect::check(Kind::Pod, name, body, &labeled))
        }
        Operation::Touch { kind, name, body } => {
            let answer = api.patch(name, &merging(), &Patch::Merge(body)).await;
            written(answer, *kind, name, &[404, 409], &mut outcome).map(drop)
        }
        Operation::Amend { kind, name, version, body } => {
            amend(&api, *kind, name, *version, body.clone(), &mut outcome).await
        }
        Operation::Delete { kind, name, uid, version, cascade } => {
            delete(&api, *kind, name, uid, *version, *cascade, &mut outcome).await
        }
        Operation::DeleteReplicaSets { name, labels, cascade } => {
            delete_replica_sets(client, &api, key, name, labels, *cascade).await
        }
        Operation::SweepReplicaSets { name, labels } => {
            replica_sets::delete(client, key, name, labels, Cascade::Background).await
        }
        Operation::Control { name, uid, owner, controls } => {
            control(&api, name, uid, owner, *controls, &mut outcome).await
        }
        Operation::Finalizers { kind, name, version, finalizers } => {
            set_finalizers(&api, *kind, name, *version, finalizers, &mut outcome).await
        }
    };
    outcome.end(key, operation.kind(), operation.name(), result);
    outcome
}

/// Puts a finalizer on an object. Fails in a namespace that is being deleted, since the finalizer would only keep the namespace.
pub(crate) async fn hold(site: &Site<'_>, operation: &Operation) -> Outcome {
    match site.takes_objects().await {
        Ok(()) => carry_out_one(site, operation).await,
        Err(failure) => Outcome { failure: Some(failure), ..Outcome::default() },
    }
}

fn parameters(force: bool) -> PatchParams {
    let parameters = PatchParams::apply(FIELD_MANAGER);
    if force { parameters.force() } else { parameters }
}

/// Parameters of a patch that is not an apply.
fn merging() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Makes sure that an apply creates an object and does not take over another writer's. Watches do not see an object of ours that has lost
/// its labels: it gets `labels` again.
async fn nothing_there(
    api: &Api<DynamicObject>,
    key: &Key,
    kind: Kind,
    name: &str,
    labels: &Map<String, Value>,
) -> Result<(), Failure> {
    match api.get_opt(name).await {
        Ok(None) => Ok(()),
        Ok(Some(found)) if is_ours(&found, key) => {
            if label(&found.metadata, labels::RAINBOW) != key.name {
                relabel(api, kind, name, &found, labels).await?;
            }
            Err(Failure::Stale(messages::there_already(kind, name)))
        }
        Ok(Some(_)) => Err(Failure::Foreign { kind, name: name.to_owned() }),
        Err(error) => Err(classify(kind, name, error)),
    }
}

/// Makes sure that an apply may create the object.
async fn may_make(
    site: &Site<'_>,
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    body: &Value,
) -> Result<(), Failure> {
    let Site { client, key, .. } = *site;
    site.takes_objects().await?;
    let none = Map::new();
    let labels = body["metadata"]["labels"].as_object().unwrap_or(&none);
    nothing_there(api, key, kind, name, labels).await?;
    match body["spec"]["selector"]["matchLabels"].as_object() {
        Some(labels) if kind == Kind::Deployment => replica_sets::none_goes(client, key, name, labels).await,
        Some(_) | None => Ok(()),
    }
}

/// Deletes the ReplicaSets that a Deployment has left behind. `api` is the API of Deployments.
async fn delete_replica_sets(
    client: &Client,
    api: &Api<DynamicObject>,
    key: &Key,
    name: &str,
    labels: &Map<String, Value>,
    cascade: Cascade,
) -> Result<(), Failure> {
    nothing_there(api, key, Kind::Deployment, name, labels).await?;
    replica_sets::delete(client, key, name, labels, cascade).await
}

fn is_ours(object: &DynamicObject, key: &Key) -> bool {
    rainbow_of(&object.metadata) == Some(&key.name)
}

/// Puts labels on exactly the object that was found.
async fn relabel(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    found: &DynamicObject,
    labels: &Map<String, Value>,
) -> Result<(), Failure> {
    let ObjectMeta { uid, resource_version, .. } = &found.metadata;
    let metadata = json!({ "uid": uid, "resourceVersion": resource_version, "labels": labels });
    let patched = api.patch(name, &merging(), &Patch::Merge(json!({ "metadata": metadata }))).await;
    patched.map(drop).map_err(|error| classify(kind, name, error))
}

async fn create(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    body: &Value,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let object: DynamicObject = serde_json::from_value(body.clone()).map_err(|e| Failure::Rejected(e.to_string()))?;
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Err(Error::Api(status)) if status.reason == "AlreadyExists" => {
            // The owner must be known: a user who is asked to delete the object will do so.
            let found = api.get_opt(name).await.map_err(|error| classify(kind, name, error))?;
            if found.is_none_or(|found| found.data["spec"]["rainbow"] == body["spec"]["rainbow"]) {
                return Err(Failure::Stale(messages::there_already(kind, name)));
            }
            Err(Failure::Rejected(messages::color_of_another(kind, name)))
        }
        answer => written(answer, kind, name, &[], outcome).map(drop),
    }
}

async fn apply(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    body: &Value,
    hash: Fingerprint,
    force: bool,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let answer = match api.patch(name, &parameters(force), &Patch::Apply(body)).await {
        Err(Error::Api(status)) if force && is_duplicate(&status) => {
            let replaced = replace(api, name, body).await.map_err(|error| classify(kind, name, error))?;
            let mut body = body.clone();
            if !body["metadata"]["resourceVersion"].is_null() {
                body["metadata"]["resourceVersion"] = json!(replaced.metadata.resource_version);
            }
            api.patch(name, &parameters(force), &Patch::Apply(&body)).await
        }
        answer => answer,
    };
    let (mut applied, refused) = match written(answer, kind, name, &[], outcome) {
        Err(Failure::Rejected(refusal)) if kind == Kind::Service && force => {
            let moved = serving::write(api, name, body).await.ok_or(Failure::Rejected(refusal.clone()))?;
            (written(Ok(moved), kind, name, &[], outcome)?, Some(refusal))
        }
        answer => (answer?, None),
    };
    if kind == Kind::Service {
        outcome.services.push((name.to_owned(), refused));
    }
    let mut difference = effect::difference(kind, body, &applied);
    if let Some(Difference::Additions(keys)) = difference {
        applied = reselect(api, name, &applied, keys, outcome).await?;
        difference = effect::difference(kind, body, &applied);
    }
    let uid = Uid::of(applied.metadata.uid.as_deref().unwrap_or_default());
    outcome.settled.push((uid, hash, Content::of(&applied.metadata, &applied.data["spec"]).digest()));
    difference.map_or(Ok(()), |difference| Err(difference.failure(kind, name, &applied)))
}

/// Returns whether another writer's edit has made an apply impossible. A key such as a port's number identifies an item of a list. An item
/// whose key was edited belongs to the other writer, and stays beside ours with the same name.
fn is_duplicate(status: &Status) -> bool {
    status.code == 422 && status.message.contains("Duplicate value")
}

/// Replaces the whole spec of an object with its lists, no matter which field manager has the items. Selector and ports of a Service change
/// in this one write.
async fn replace(api: &Api<DynamicObject>, name: &str, body: &Value) -> kube::Result<DynamicObject> {
    let mut metadata = json!({ "uid": body["metadata"]["uid"] });
    if let Some(version) = body["metadata"].get("resourceVersion") {
        metadata["resourceVersion"] = version.clone();
    }
    let body = json!({ "metadata": metadata, "spec": body["spec"] });
    api.patch(name, &merging(), &Patch::Merge(body)).await
}

/// Removes keys from a Service's selector that another field manager has added. An apply leaves what others have.
async fn reselect(
    api: &Api<DynamicObject>,
    name: &str,
    found: &DynamicObject,
    keys: Vec<String>,
    outcome: &mut Outcome,
) -> Result<DynamicObject, Failure> {
    let ObjectMeta { uid, resource_version, .. } = &found.metadata;
    let keys: Map<String, Value> = keys.into_iter().map(|key| (key, Value::Null)).collect();
    let metadata = json!({ "uid": uid, "resourceVersion": resource_version });
    let body = json!({ "metadata": metadata, "spec": { "selector": keys } });
    let answer = api.patch(name, &merging(), &Patch::Merge(body)).await;
    written(answer, Kind::Service, name, &[404], outcome)
}

/// Records that the watch must show what was written. Each of the codes in `gone` means that the object is gone, or that another one has
/// its name.
fn written(
    answer: kube::Result<DynamicObject>,
    kind: Kind,
    name: &str,
    gone: &[u16],
    outcome: &mut Outcome,
) -> Result<DynamicObject, Failure> {
    match answer {
        Ok(object) => {
            outcome.expect(kind, name, Expected::Version(version(&object.metadata)));
            Ok(object)
        }
        Err(Error::Api(status)) if gone.contains(&status.code) => {
            Err(Failure::Stale(messages::not_what_it_was(kind, name, Some(&status.message))))
        }
        Err(error) => Err(classify(kind, name, error)),
    }
}

async fn amend(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    at: u64,
    mut body: Value,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    if at > 0 {
        body["metadata"] = json!({ "resourceVersion": at.to_string() });
    }
    let answer = api.patch(name, &merging(), &Patch::Merge(&body)).await;
    body["metadata"] = Value::Null;
    written(answer, kind, name, &[404], outcome).and_then(|amended| effect::check(kind, name, &body, &amended))
}

/// Replaces a whole status by a JSON patch. The patch tests the uid, so that the status of a deleted object is never written to its
/// successor. It also removes fields that another field manager wrote, which a server-side apply would leave.
async fn set_status(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    uid: Option<&str>,
    status: &Value,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut steps = vec![json!({ "op": "add", "path": "/status", "value": status })];
    if let Some(uid) = uid {
        steps.insert(0, json!({ "op": "test", "path": "/metadata/uid", "value": uid }));
    }
    let patch = serde_json::from_value(Value::Array(steps))
        .map_err(|error| Failure::Rejected(messages::no_patch(kind, name, &error)))?;
    let answer = api.patch_status(name, &merging(), &Patch::<()>::Json(patch)).await;
    // A failed test and a refused value have the same code. Another object of the same name is no error.
    if uid.is_some() && matches!(&answer, Err(Error::Api(refusal)) if refusal.code == 422) {
        let found = api.get_metadata_opt(name).await.map_err(|error| classify(kind, name, error))?;
        if found.is_none_or(|found| found.metadata.uid.as_deref() != uid) {
            return Err(Failure::Stale(messages::not_what_it_was(kind, name, None)));
        }
    }
    written(answer, kind, name, &[404, 409], outcome).map(drop)
}

async fn delete(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    uid: &str,
    at: u64,
    cascade: Cascade,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    // A pod is deleted because of what is known of it. A pod that has changed since is planned for again.
    let resource_version = (kind == Kind::Pod && at > 0).then(|| at.to_string());
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version };
    let parameters = deletion(cascade).preconditions(preconditions);
    match api.delete(name, &parameters).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(classify(kind, name, error)),
    }
    outcome.expect(kind, name, Expected::Change { uid: uid.to_owned(), version: at });
    Ok(())
}

fn deletion(cascade: Cascade) -> DeleteParams {
    match cascade {
        Cascade::Orphan => DeleteParams::orphan(),
        Cascade::Background => DeleteParams::background(),
    }
}

/// Makes an owner the controller of a pod that has none, or removes that owner reference. Other owners of the pod stay.
async fn control(
    api: &Api<DynamicObject>,
    name: &str,
    uid: &str,
    owner: &OwnerReference,
    controls: bool,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let stale = || Failure::Stale(messages::not_what_it_was(Kind::Pod, name, None));
    let found = api.get_metadata_opt(name).await.map_err(|error| classify(Kind::Pod, name, error))?;
    let found = found.filter(|found| found.metadata.uid.as_deref() == Some(uid)).ok_or_else(stale)?;
    let mut owners = found.metadata.owner_references.unwrap_or_default();
    if controls && owners.iter().any(|known| known.controller == Some(true)) {
        return Err(stale());
    }
    owners.retain(|known| known.uid != owner.uid);
    if controls {
        owners.push(owner.clone());
    }
    let metadata = json!({
        "uid": uid, "resourceVersion": found.metadata.resource_version, "ownerReferences": owners,
    });
    let answer = api.patch(name, &merging(), &Patch::Merge(json!({ "metadata": metadata }))).await;
    written(answer, Kind::Pod, name, &[404, 409], outcome).map(drop)
}

async fn set_finalizers(
    api: &Api<DynamicObject>,
    kind: Kind,
    name: &str,
    at: u64,
    finalizers: &[String],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut metadata = json!({ "finalizers": finalizers });
    if at > 0 {
        metadata["resourceVersion"] = json!(at.to_string());
    }
    match api.patch(name, &merging(), &Patch::Merge(json!({ "metadata": metadata }))).await {
        Ok(patched) => {
            let uid = patched.metadata.uid.clone().unwrap_or_default();
            outcome.expect(kind, name, Expected::Change { uid, version: at });
            Ok(())
        }
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(classify(kind, name, error)),
    }
}

fn classify(kind: Kind, name: &str, error: Error) -> Failure {
    let text = |status: &Status| messages::of_object(kind, name, &status.message);
    match error {
        Error::Api(status) => match status.code {
            409 | 410 => Failure::Stale(text(&status)),
            429 => Failure::Unavailable(text(&status)),
            403 if site::is_ending(&status) => Failure::Ending(text(&status)),
            400..=499 => Failure::Rejected(text(&status)),
            500 if status.message.contains(NO_SUCH_FIELD) => Failure::Rejected(text(&status)),
            _ => Failure::Unavailable(text(&status)),
        },
        other => Failure::Unavailable(messages::of_object(kind, name, &other)),
    }
}

/// Returns those of these objects that still exist and are not Rainbow's.
pub(crate) async fn still_foreign(client: &Client, key: &Key, names: Vec<(Kind, String)>) -> Vec<(Kind, String)> {
    let mut still = Vec::new();
    for (kind, name) in names {
        match api(client, key, kind).get_opt(&name).await {
            Ok(None) => {}
            Ok(Some(found)) if is_ours(&found, key) => {}
            // An answer that is unknown does not mean that the object is gone.
            Ok(Some(_)) | Err(_) => still.push((kind, name)),
        }
    }
    still
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: u16, message: &str, expected: fn(String) -> Failure) {
        let status = Status { code, message: message.into(), ..Status::default() };
        let failure = classify(Kind::Deployment, "a-v1", Error::Api(Box::new(status)));
        assert_eq!(failure, expected(format!("Deployment `a-v1`: {message}")));
    }

    #[test]
    fn what_a_refusal_means() {
        check(409, "the object has been modified", Failure::Stale);
        check(422, "Deployment.apps \"a-v1\" is invalid: spec.replicas: Invalid value: -1", Failure::Rejected);
        check(403, "deployments.apps is forbidden: exceeded quota", Failure::Rejected);
        check(429, "too many requests", Failure::Unavailable);
        check(503, "the server is currently unable to handle the request", Failure::Unavailable);
        check(500, "etcdserver: request timed out", Failure::Unavailable);
        // Text of Kubernetes 1.37.
        let unknown = "failed to create typed patch object (default/a-v1; apps/v1, Kind=Deployment): \
                       .spec.template.spec.wrong: field not declared in schema";
        check(500, unknown, Failure::Rejected);
    }

    /// A user who learns from a message that a color belongs to another Rainbow deletes it.
    #[tokio::test]
    async fn whose_a_name_is_is_not_guessed() {
        let busy = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
            let (code, reason) = match *request.method() {
                http::Method::POST => (409, "AlreadyExists"),
                _ => (503, "ServiceUnavailable"),
            };
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason,
            });
            let response = http::Response::builder().status(code);
            response.body(kube::client::Body::from(status.to_string().into_bytes()))
        });
        let api = Api::namespaced_with(Client::new(busy, "default"), "default", &Kind::Color.resource());
        let body = json!({ "metadata": { "name": "shop-v1" }, "spec": { "rainbow": "shop" } });
        let created = create(&api, Kind::Color, "shop-v1", &body, &mut Outcome::default()).await;
        assert!(matches!(created, Err(Failure::Unavailable(_))), "{created:?}");
    }
}
