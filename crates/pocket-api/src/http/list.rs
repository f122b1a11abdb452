//! Lists: consistent, and in pages on request.

use std::sync::Arc;

use axum::response::Response;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};

use super::present::{self, Form, IncludeObject};
use crate::{
    Api, convert,
    reply::{bytes_reply, json_reply},
    request::{Query, Selection, Target},
    status::Status,
    store::{Objects, Stored, in_namespace},
};

/// Number of snapshots kept for clients that page through lists. Snapshots share their unchanged objects with the store.
const MAX_PAGED: usize = 16;

/// Position at which a list continues.
struct Continue {
    revision: u64,
    /// Last key that was sent.
    after: String,
}

impl Continue {
    fn encode(revision: u64, after: &str) -> String {
        URL_SAFE_NO_PAD.encode(json!({"v": "pocket/v1", "rv": revision, "after": after}).to_string())
    }

    fn decode(token: &str) -> Result<Self, Status> {
        let parse = || {
            let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
            Some(Self { revision: value["rv"].as_u64()?, after: value["after"].as_str()?.to_owned() })
        };
        parse().ok_or_else(|| Status::bad_request("continue key is not valid: it was not made by this server"))
    }
}

/// Handles GET of a collection.
pub(crate) fn list(api: &Api, target: &Target, query: &Query, form: Form) -> Result<Response, Status> {
    let selection = Selection::new(target, query)?;
    let limit = query.number::<usize>("limit")?.filter(|limit| *limit > 0);
    let from = query.get("continue").map(Continue::decode).transpose()?;
    let (objects, revision) = snapshot(api, target, query, from.as_ref())?;

    let mut selected = in_namespace(&objects, selection.namespace())
        .filter(|stored| from.as_ref().is_none_or(|from| *stored.key > *from.after))
        .filter(|stored| selection.matches(stored));
    let items: Vec<Arc<Stored>> = selected.by_ref().take(limit.unwrap_or(usize::MAX)).cloned().collect();
    let left = if limit.is_some() { selected.count() } else { 0 };

    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (true, Some(last)) = (left > 0, items.last()) {
        metadata["continue"] = Value::from(Continue::encode(revision, &last.key));
        if query.get("labelSelector").is_none() && query.get("fieldSelector").is_none() {
            metadata["remainingItemCount"] = Value::from(left);
        }
        keep(api, &target.resource.storage.id, revision, objects.clone());
    }
    Ok(show(target, &items, &metadata, form, IncludeObject::of(query)))
}

/// Returns the current objects, or the objects at the beginning of a paged list.
fn snapshot(api: &Api, target: &Target, query: &Query, from: Option<&Continue>) -> Result<(Objects, u64), Status> {
    let storage = &target.resource.storage;
    let Some(from) = from else {
        let (objects, revision) = api.store().snapshot(storage);
        check_revision(query, revision)?;
        return Ok((objects, revision));
    };
    if from.revision == 0 {
        // An earlier list expired, and the client accepted the offer to continue with the current objects.
        return Ok(api.store().snapshot(storage));
    }
    let pages = api.pages();
    let kept = pages.iter().find(|(revision, id, _)| *revision == from.revision && *id == storage.id);
    kept.map(|(revision, _, objects)| (objects.clone(), *revision)).ok_or_else(|| {
        let mut status = Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of \
             the results. Continuing with the provided token results in an inconsistent list - objects that were \
             created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
        status.continue_token = Some(Continue::encode(0, &from.after).into());
        status
    })
}

/// Checks the requested revision: a list at a future revision is impossible, and one at an exact past revision is not kept.
fn check_revision(query: &Query, current: u64) -> Result<(), Status> {
    let matching = query.get("resourceVersionMatch");
    let Some(text) = query.get("resourceVersion") else {
        return match matching {
            Some(_) if !query.flag("sendInitialEvents") => {
                Err(Status::bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            _ => Ok(()),
        };
    };
    let wanted: u64 = text
        .parse()
        .map_err(|_| Status::bad_request(format!("invalid resource version \"{text}\": must be a number")))?;
    if wanted > current {
        let mut status = Status::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Too large resource version: {wanted}, current: {current}"),
        );
        status.details = Some(Box::new(json!({"retryAfterSeconds": 1, "causes": [
            {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]})));
        return Err(status);
    }
    if matching == Some("Exact") && wanted != current {
        return Err(Status::expired(format!("The resourceVersion for the provided list is too old: {wanted}")));
    }
    Ok(())
}

fn keep(api: &Api, id: &Arc<str>, revision: u64, objects: Objects) {
    let mut pages = api.pages();
    if pages.iter().any(|(known, known_id, _)| *known == revision && known_id == id) {
        return;
    }
    if pages.len() == MAX_PAGED {
        pages.pop_front();
    }
    pages.push_back((revision, id.clone(), objects));
}

fn show(target: &Target, items: &[Arc<Stored>], metadata: &Value, form: Form, include: IncludeObject) -> Response {
    let resource = &target.resource;
    let values = || items.iter().map(|stored| convert::value(resource, stored));
    match form {
        Form::Table { version } => {
            let rows = values().map(|value| present::row(resource, value, include)).collect();
            json_reply(StatusCode::OK, &present::table(version, metadata, &present::columns(resource), rows))
        }
        Form::Metadata => {
            let items: Vec<Value> = values().map(|value| present::metadata_only(&value)).collect();
            json_reply(
                StatusCode::OK,
                &json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata, "items": items}),
            )
        }
        Form::Whole => {
            let size: usize = items.iter().map(|stored| stored.bytes.len() + 1).sum();
            let mut body = Vec::with_capacity(size + 256);
            let head = format!(
                "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
                Value::from(resource.list_kind.as_ref()),
                Value::from(resource.api_version()),
            );
            body.extend_from_slice(head.as_bytes());
            for (index, stored) in items.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(&convert::bytes(resource, stored));
            }
            body.extend_from_slice(b"]}");
            bytes_reply(StatusCode::OK, body.into())
        }
    }
}
