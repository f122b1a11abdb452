//! Paths and queries of requests.

use std::sync::Arc;

use http::Uri;
use pocket_object::selector::{FieldSelector, LabelSelector};

use crate::{
    registry::Registry,
    resource::{Resource, Subresource},
    status::Status,
    store::Stored,
};

/// Object or collection that a path names.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    /// Namespace; `None` for all namespaces, or for a cluster-scoped kind.
    pub(crate) namespace: Option<String>,
    /// Name of the object; `None` for the collection.
    pub(crate) name: Option<String>,
    /// Subresource of the object.
    pub(crate) sub: Option<Subresource>,
}

impl Target {
    /// Reads the parts of a path after the version.
    pub(crate) fn find(registry: &Registry, group: &str, version: &str, rest: &[&str]) -> Result<Self, Status> {
        let (namespace, rest) = match rest {
            // `/namespaces/x` and its subresources are the namespace itself.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some(decode(namespace)), rest),
            rest => (None, rest),
        };
        let (plural, name, sub) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(decode(name)), None),
            [plural, name, sub] => (plural, Some(decode(name)), Some(*sub)),
            [plural, name, sub @ "proxy", ..] => (plural, Some(decode(name)), Some(*sub)),
            _ => return Err(Status::no_such_path()),
        };
        let resource = registry.find(group, version, plural).ok_or_else(Status::no_such_path)?.clone();
        if namespace.is_some() != resource.namespaced && (namespace.is_some() || name.is_some()) {
            return Err(Status::no_such_path());
        }
        let sub = match sub {
            Some(sub) => Some(resource.subresource(sub).ok_or_else(Status::no_such_path)?.clone()),
            None => None,
        };
        Ok(Self { resource, namespace, name, sub })
    }

    /// Returns the namespace, or an empty text.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// Returns the name, or an empty text.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

fn decode(part: &str) -> String {
    if !part.contains('%') {
        return part.to_owned();
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Query of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(uri: &Uri) -> Self {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        Self(pairs.map(|pairs| pairs.0).unwrap_or_default())
    }

    /// Returns the first value of a parameter, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether a parameter is present with a value other than `false` or `0`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && !matches!(value.as_str(), "false" | "0"))
    }

    /// Returns a number, or 400.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Status::bad_request(format!(
                        "invalid value \"{text}\" for query parameter {name}: must be a number"
                    ))
                })
            })
            .transpose()
    }

    /// Returns whether the write is a dry run. Every value of `dryRun` must be `All`.
    pub(crate) fn dry_run(&self) -> Result<bool, Status> {
        match self.all("dryRun").find(|value| *value != "All") {
            Some(other) => {
                Err(Status::bad_request(format!("invalid dryRun value \"{other}\": supported values: \"All\"")))
            }
            None => Ok(self.all("dryRun").next().is_some()),
        }
    }
}

/// Selection of the objects of a list or watch.
pub(crate) struct Selection {
    namespace: Option<String>,
    name: Option<String>,
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    known: Vec<Arc<str>>,
}

impl Selection {
    pub(crate) fn new(target: &Target, query: &Query) -> Result<Self, Status> {
        let labels = query.get("labelSelector").map(LabelSelector::parse).transpose();
        let labels = labels.map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
        let fields = query.get("fieldSelector").map(FieldSelector::parse).transpose();
        let fields = fields.map_err(|error| Status::bad_request(error.to_string()))?;
        let known = target.resource.storage.fields.clone();
        for requirement in fields.iter().flat_map(|selector| selector.requirements()) {
            let path = requirement.path.as_str();
            let usual = matches!(path, "metadata.name" | "metadata.namespace");
            if !usual && !known.iter().any(|field| **field == *path) {
                return Err(Status::bad_request(format!("field label not supported: {path}")));
            }
        }
        Ok(Self { namespace: target.namespace.clone(), name: target.name.clone(), labels, fields, known })
    }

    /// Returns the one namespace of the selection, if there is one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns whether an object is selected.
    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == stored.namespace())
            && self.name.as_deref().is_none_or(|name| name == stored.name())
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&stored.labels))
            && self.fields.as_ref().is_none_or(|fields| fields.matches(|path| stored.field(&self.known, path)))
    }
}
