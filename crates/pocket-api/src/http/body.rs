//! Bodies of requests: JSON, YAML or (for some kinds) protobuf, with a limit on their size.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::Value;

use crate::status::Status;

/// Greatest size of a body, as in etcd and the API server.
const MAX_BYTES: usize = 3 << 20;
const ACCEPTED: &str = "application/json, application/yaml";

/// Reads the body of a request and its headers.
pub(crate) async fn read(request: Request<Body>) -> Result<(HeaderMap, Bytes), Status> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, MAX_BYTES).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("length limit") {
            let message = format!("Request entity too large: limit is {MAX_BYTES}");
            Status::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
        } else {
            Status::bad_request(format!("the body of the request could not be read: {text}"))
        }
    })?;
    Ok((parts.headers, bytes))
}

/// Returns the media type of a body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    value.split(';').next().unwrap_or_default().trim()
}

/// Parses an object in a body.
pub(crate) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Status> {
    match media_type(headers) {
        "" | "application/json" | "*/*" => json(bytes),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => super::protobuf::parse(bytes),
        other => Err(Status::unsupported_media_type(other, ACCEPTED)),
    }
}

/// Parses an object in a body, and returns the fields that occur twice in it.
pub(crate) fn parse_strictly(headers: &HeaderMap, bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    match media_type(headers) {
        "" | "application/json" | "*/*" => json_strictly(bytes),
        _ => parse(headers, bytes).map(|object| (object, Vec::new())),
    }
}

/// Parses JSON, and returns the fields that occur twice in it.
pub(crate) fn json_strictly(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    pocket_object::strict::from_json(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding the body as JSON: {error}")))
}

/// Parses JSON.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding the body as JSON: {error}")))
}

/// Parses YAML, and therefore JSON too.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    serde_saphyr::from_str(text).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}
