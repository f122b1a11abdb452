//! Forms of objects in replies: whole, as rows of a table, or only their metadata.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    Api, convert,
    json::to_bytes,
    reply::{bytes_reply, json_reply},
    request::{Query, Target},
    resource::Resource,
    status::Status,
    store::Stored,
};

/// Form of objects that a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Whole objects.
    Whole,
    /// `meta.k8s.io` Table, for people.
    Table {
        /// Version of the Table: `meta.k8s.io/v1`, or its beta.
        version: TableVersion,
    },
    /// `PartialObjectMetadata` of the objects.
    Metadata,
}

/// Version of the Table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableVersion {
    V1,
    V1Beta1,
}

impl TableVersion {
    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

impl Form {
    /// Returns the first form of the `Accept` header that the server supports. Replies are always JSON; a client that accepts
    /// only another media type gets 406.
    pub(crate) fn accepted(headers: &HeaderMap) -> Result<Self, Status> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        for one in accept.split(',') {
            let mut parts = one.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*" | "")) {
                continue;
            }
            let (mut form, mut version) = (None, "v1");
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("as", name)) => form = Some(name),
                    Some(("v", name)) => version = name,
                    _ => {}
                }
            }
            return Ok(match (form, version) {
                (Some("Table"), "v1") => Self::Table { version: TableVersion::V1 },
                (Some("Table"), "v1beta1") => Self::Table { version: TableVersion::V1Beta1 },
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), _) => Self::Metadata,
                (Some(_), _) => continue,
                (None, _) => Self::Whole,
            });
        }
        // The client names only protobuf, YAML or CBOR: clients that ask for protobuf also read JSON.
        if accept.contains("protobuf") || accept.contains("yaml") || accept.contains("cbor") {
            return Ok(Self::Whole);
        }
        Err(Status::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/json;as=Table, application/json;as=PartialObjectMetadata",
        ))
    }
}

/// Part of each object that goes with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    pub(crate) fn of(query: &Query) -> Self {
        match query.get("includeObject") {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// Returns only the metadata of an object.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Returns the columns of a kind.
pub(crate) fn columns(resource: &Resource) -> Value {
    let columns = match &resource.custom {
        Some(custom) => custom.table.columns(),
        None => pocket_object::table::columns(&resource.group, &resource.kind),
    };
    columns
        .into_iter()
        .map(|column| {
            json!({"name": column.name, "type": column.type_, "format": column.format,
                "description": column.description, "priority": column.priority})
        })
        .collect()
}

/// Returns the row of an object.
pub(crate) fn row(resource: &Resource, object: Value, include: IncludeObject) -> Value {
    let now = jiff::Timestamp::now();
    let cells = match &resource.custom {
        Some(custom) => custom.table.row(&object, now),
        None => pocket_object::table::row(&resource.group, &resource.kind, &object, now),
    };
    match include {
        IncludeObject::None => json!({"cells": cells}),
        IncludeObject::Metadata => json!({"cells": cells, "object": metadata_only(&object)}),
        IncludeObject::Object => json!({"cells": cells, "object": object}),
    }
}

/// Returns a table.
pub(crate) fn table(version: TableVersion, metadata: &Value, columns: &Value, rows: Vec<Value>) -> Value {
    json!({"kind": "Table", "apiVersion": version.api_version(), "metadata": metadata,
        "columnDefinitions": columns, "rows": rows})
}

/// Returns one object in a form.
pub(crate) fn object(resource: &Resource, stored: &Stored, form: Form, include: IncludeObject) -> Bytes {
    match form {
        Form::Whole => convert::bytes(resource, stored),
        Form::Metadata => to_bytes(&metadata_only(&stored.value())),
        Form::Table { version } => {
            let metadata = json!({"resourceVersion": stored.revision.to_string()});
            let rows = vec![row(resource, convert::value(resource, stored), include)];
            to_bytes(&table(version, &metadata, &columns(resource), rows))
        }
    }
}

/// Handles GET of one object.
pub(crate) fn one(api: &Api, target: &Target, query: &Query, form: Form) -> Result<Response, Status> {
    let stored = api.live(&target.resource, target.namespace(), target.name())?;
    Ok(bytes_reply(StatusCode::OK, object(&target.resource, &stored, form, IncludeObject::of(query))))
}

/// Returns the reply to a write.
pub(crate) fn write_reply(resource: &Resource, stored: &Stored, code: StatusCode, warnings: &[String]) -> Response {
    let mut response = bytes_reply(code, convert::bytes(resource, stored));
    warn(&mut response, warnings);
    response
}

/// Adds warnings, which kubectl prints.
pub(crate) fn warn(response: &mut Response, warnings: &[String]) {
    for text in warnings {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let printable: String = quoted.chars().filter(|c| !c.is_control()).collect();
        if let Ok(value) = http::HeaderValue::from_str(&format!("299 - \"{printable}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// Returns a JSON value as a reply, for values that are no stored objects.
pub(crate) fn plain(value: &Value) -> Response {
    json_reply(StatusCode::OK, value)
}
