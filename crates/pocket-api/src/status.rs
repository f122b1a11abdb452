//! Errors in the form of Kubernetes: `metav1.Status`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::resource::Resource;

/// Reason for which a request failed, in the words of the API server.
///
/// Error type of the whole crate, so that an error of a hook deep inside reaches the client unchanged.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: StatusCode,
    /// Machine-readable reason, such as `NotFound`. Empty if Kubernetes gives none.
    pub reason: &'static str,
    /// Message for people.
    pub message: String,
    /// `details` of the Status object, if any.
    pub details: Option<Box<Value>>,
    /// Continue token that lets a client continue after `Expired`.
    pub continue_token: Option<Box<str>>,
}

impl Status {
    /// Returns an error without details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continue_token: None }
    }

    /// 400: the request is malformed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: the client is not authenticated.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 404 for an object that does not exist.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let shown = resource.group_resource();
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{shown} \"{name}\" not found")).about(
            resource,
            name,
            Vec::new(),
        )
    }

    /// 404 for a path that is not served.
    pub fn no_such_path() -> Self {
        let mut status =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        status.details = Some(Box::new(json!({})));
        status
    }

    /// 405: the resource has no such verb.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 409: an object of this name exists already.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let shown = resource.group_resource();
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{shown} \"{name}\" already exists")).about(
            resource,
            name,
            Vec::new(),
        )
    }

    /// 409: the object has changed since the client read it, or a precondition does not hold.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let shown = resource.group_resource();
        Self::new(
            StatusCode::CONFLICT,
            "Conflict",
            format!("Operation cannot be fulfilled on {shown} \"{name}\": {why}"),
        )
        .about(resource, name, Vec::new())
    }

    /// 409 with the message that every client knows.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403 with the given cause.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let shown = resource.group_resource();
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{shown} \"{name}\" is forbidden: {why}")).about(
            resource,
            name,
            Vec::new(),
        )
    }

    /// 410: the requested state is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 415: the media type of the body is not supported.
    pub fn unsupported_media_type(found: &str, accepted: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted} (it was \"{found}\")"
            ),
        )
    }

    /// 422 for a patch whose result is invalid. Kubernetes names no object there.
    pub fn invalid_patch(shown: &str, why: &str) -> Self {
        let error = pocket_object::FieldError::invalid("patch", &json!(shown), why);
        // Unlike in other messages, the value is shown in full.
        let message = format!("Invalid value: {}: {why}", json!(shown));
        let text = format!(" \"\" is invalid: patch: {message}");
        let mut status = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
        let cause = json!({"reason": error.reason(), "message": message, "field": "patch"});
        status.details = Some(Box::new(json!({"causes": [cause]})));
        status
    }

    /// 422 with the fields that are wrong.
    pub fn invalid(resource: &Resource, name: &str, errors: &[pocket_object::FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let shown = match resource.group.as_ref() {
            "" => resource.kind.to_string(),
            group => format!("{}.{group}", resource.kind),
        };
        let causes = errors
            .iter()
            .map(|error| {
                let text = error.to_string();
                let message = text.strip_prefix(&format!("{}: ", error.path)).unwrap_or(&text).to_owned();
                json!({"reason": error.reason(), "message": message, "field": error.path})
            })
            .collect();
        let mut status =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{shown} \"{name}\" is invalid: {all}"));
        status.details = Some(Box::new(json!({
            "name": name, "group": resource.group, "kind": resource.kind, "causes": Value::Array(causes),
        })));
        status
    }

    /// 500: a fault of the server.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 507: the write could not be stored and was not made.
    pub fn storage(what: &dyn std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "InternalError",
            format!(
                "the write was not made because it could not be stored: {what}: free some disk space and try again"
            ),
        )
    }

    /// Adds the object that the error is about, and single causes.
    #[must_use]
    pub fn about(mut self, resource: &Resource, name: &str, causes: Vec<Value>) -> Self {
        let mut details = json!({"name": name, "kind": resource.plural});
        if !resource.group.is_empty() {
            details["group"] = Value::from(resource.group.as_ref());
        }
        if !causes.is_empty() {
            details["causes"] = Value::Array(causes);
        }
        self.details = Some(Box::new(details));
        self
    }

    /// Returns the error as a JSON object.
    pub fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = Value::from(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = Value::clone(details);
        }
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = Value::from(token.as_ref());
        }
        status
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let mut response = (self.code, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Clients repeat a request with this header by themselves, so an answer that stands has none.
        let details = self.details.as_deref();
        let wait = details.and_then(|details| details["retryAfterSeconds"].as_u64()).filter(|seconds| *seconds > 0);
        if let Some(seconds) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
