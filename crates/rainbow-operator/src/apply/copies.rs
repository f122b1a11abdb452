//! Content of ConfigMaps and Secrets: read to learn which copy follows from it, and read again to make exactly that copy.
//!
//! Content stays in memory only while a function here runs. No error and no log quotes it.

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Error,
    api::{DynamicObject, PostParams},
};
use rainbow_api::{ConfigKind, ConfigName, FIELD_MANAGER, labels};
use serde_json::Value;

use super::{Failure, Outcome, Site, api, classify, written};
use crate::{
    config::{ObjectToRead, ReadOutcome},
    content::{self, ContentKey},
    key::Key,
    kind::{Kind, kind_of},
    live::{Check, rainbow_of, version},
    messages,
    uid::Uid,
};

/// Data key in the Secret that holds the key.
const KEY: &str = "key";

/// Objects to read for an application.
#[derive(Clone, Debug)]
pub(crate) struct ReadRequests {
    pub(crate) originals: Vec<ObjectToRead>,
    pub(crate) copies: Vec<CopyToCheck>,
    pub(crate) key: Option<ContentKey>,
    /// Secret of the key, without the key.
    pub(crate) key_object: Value,
}

/// Copy whose content is to be compared with its name.
#[derive(Clone, Debug)]
pub(crate) struct CopyToCheck {
    pub(crate) copy: ConfigName,
    pub(crate) uid: Uid,
    /// Name of the object that was copied.
    pub(crate) of: String,
}

/// Results of the reads.
#[derive(Debug, Default)]
pub(crate) struct ReadResults {
    pub(crate) originals: Vec<(ObjectToRead, ReadOutcome)>,
    pub(crate) checks: Vec<(CopyToCheck, Check)>,
    pub(crate) key: Option<ContentKey>,
    /// Whether a read has failed.
    pub(crate) failed: bool,
}

impl ReadRequests {
    pub(crate) fn is_empty(&self) -> bool {
        self.originals.is_empty() && self.copies.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.originals.len() + self.copies.len()
    }
}

/// Reads everything that is asked for.
pub(crate) async fn read(site: &Site<'_>, questions: ReadRequests) -> ReadResults {
    let ReadRequests { originals, copies, key, key_object } = questions;
    let names = originals.iter().map(|one| &one.name).chain(copies.iter().map(|one| &one.copy));
    let has_secrets = names.into_iter().any(|name| name.kind == ConfigKind::Secret);
    let key = match has_secrets {
        true => ensure_key(site, key, key_object).await,
        false => key.ok_or_else(String::new),
    };
    let key_of = |kind: ConfigKind| match (kind, &key) {
        (ConfigKind::ConfigMap, _) => Ok(None),
        (ConfigKind::Secret, Ok(key)) => Ok(Some(key)),
        (ConfigKind::Secret, Err(why)) => Err(why.clone()),
    };
    let mut answers = ReadResults::default();
    for one in originals {
        let found = match key_of(one.name.kind) {
            Ok(key) => original(site.client, site.key, &one.name, key).await,
            Err(why) => ReadOutcome::Failed(why),
        };
        answers.failed |= matches!(found, ReadOutcome::Failed(_));
        answers.originals.push((one, found));
    }
    for one in copies {
        let check = match key_of(one.copy.kind) {
            Ok(key) => check(site.client, site.key, &one, key).await,
            Err(_) => Check::Unknown,
        };
        answers.failed |= check == Check::Unknown;
        answers.checks.push((one, check));
    }
    answers.key = key.ok();
    answers
}

async fn original(client: &Client, app: &Key, name: &ConfigName, key: Option<&ContentKey>) -> ReadOutcome {
    match get(client, app, name).await {
        Ok(None) => ReadOutcome::Absent,
        Ok(Some(object)) => {
            let copy = content::name_of_copy(&app.name, name, &object.data, key);
            ReadOutcome::Content { version: version(&object.metadata), copy }
        }
        Err(failure) => ReadOutcome::Failed(messages::not_read(name, &failure)),
    }
}

/// Compares a copy with its name. A copy that is gone counts as intact, since the watch reports that.
async fn check(client: &Client, app: &Key, one: &CopyToCheck, key: Option<&ContentKey>) -> Check {
    match get(client, app, &one.copy).await {
        Ok(Some(found)) if Uid::of(found.metadata.uid.as_deref().unwrap_or_default()) == one.uid => {
            match is_copy(app, &one.copy, &one.of, &found, key) {
                true => Check::Intact,
                false => Check::Wrong,
            }
        }
        Ok(_) => Check::Intact,
        Err(_) => Check::Unknown,
    }
}

fn is_copy(app: &Key, copy: &ConfigName, of: &str, found: &DynamicObject, key: Option<&ContentKey>) -> bool {
    let source = ConfigName { kind: copy.kind, name: of.to_owned() };
    found.data["immutable"] == true && content::name_of_copy(&app.name, &source, &found.data, key) == copy.name
}

async fn get(client: &Client, app: &Key, name: &ConfigName) -> Result<Option<DynamicObject>, Failure> {
    let kind = kind_of(name.kind);
    api(client, app, kind).get_opt(&name.name).await.map_err(|error| classify(kind, &name.name, error))
}

/// Returns the key of the application. A known key is written again where its Secret is gone, so that no name changes.
async fn ensure_key(site: &Site<'_>, known: Option<ContentKey>, object: Value) -> Result<ContentKey, String> {
    let mut secret: Secret = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let name = secret.metadata.name.clone().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(site.client.clone(), &site.key.namespace);
    let told = |error: Error| messages::no_config_key(&name, &classify(Kind::Secret, &name, error));
    if let Some(found) = api.get_opt(&name).await.map_err(told)? {
        return key_in(&found, site.key).ok_or_else(|| messages::foreign_config_key(&name));
    }
    let key = known.unwrap_or_else(ContentKey::random);
    secret.data = Some([(KEY.to_owned(), ByteString(key.bytes().to_vec()))].into());
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    api.create(&parameters, &secret).await.map_err(told)?;
    Ok(key)
}

fn key_in(found: &Secret, app: &Key) -> Option<ContentKey> {
    let is_ours = found.metadata.labels.as_ref()?.get(labels::RAINBOW) == Some(&app.name);
    let bytes = found.data.as_ref()?.get(KEY)?;
    ContentKey::of(&bytes.0).filter(|_| is_ours)
}

/// Returns whether the object is a copy that this Rainbow has made.
fn is_ours(meta: &ObjectMeta, app: &Key) -> bool {
    let is_copy = meta.annotations.as_ref().is_some_and(|all| all.contains_key(labels::COPY_OF));
    is_copy && rainbow_of(meta) == Some(&app.name)
}

/// Makes a copy of an object, if the object still has the content that the copy is named after. Both are taken from one read.
pub(super) async fn create(
    site: &Site<'_>,
    source: &ConfigName,
    body: &Value,
    key: Option<&ContentKey>,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    site.takes_objects().await?;
    let Site { client, key: app, .. } = *site;
    let kind = kind_of(source.kind);
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let found = get(client, app, source).await?;
    let found = found.filter(|found| content::name_of_copy(&app.name, source, &found.data, key) == name);
    let Some(found) = found else { return Err(Failure::Stale(messages::config_changed(source))) };
    let mut body = body.clone();
    for (field, value) in content::copied(source.kind, &found.data) {
        body[field] = value;
    }
    // The error of this conversion could quote content, so it is replaced.
    let object: DynamicObject =
        serde_json::from_value(body).map_err(|_| Failure::Rejected(messages::config_changed(source)))?;
    let api = api(client, app, kind);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Err(Error::Api(status)) if status.reason == "AlreadyExists" => {
            match api.get_metadata_opt(name).await.map_err(|error| classify(kind, name, error))? {
                Some(found) if !is_ours(&found.metadata, app) => Err(Failure::Foreign { kind, name: name.to_owned() }),
                Some(_) | None => Err(Failure::Stale(messages::there_already(kind, name))),
            }
        }
        answer => written(answer, kind, name, &[], outcome).map(drop),
    }
}
