//! Replies in JSON.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::json::to_bytes;

/// Returns a JSON reply.
pub(crate) fn json_reply(code: StatusCode, value: &Value) -> Response {
    bytes_reply(code, to_bytes(value))
}

/// Returns a reply whose body is already JSON.
pub(crate) fn bytes_reply(code: StatusCode, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the `metav1.Status` of a success.
pub(crate) fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
