//! Kinds that are questions, such as SelfSubjectReview. Every authenticated client may do everything.

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::body;
use crate::{
    Api, User,
    json::object,
    reply::json_reply,
    request::Target,
    resource::{Question, Strategy},
    status::Status,
};

/// Handles POST of a question.
pub(crate) async fn answer(api: &Api, target: &Target, request: Request<Body>) -> Result<Response, Status> {
    let user = request.extensions().get::<User>().cloned().unwrap_or_else(User::in_process);
    let (headers, bytes) = body::read(request).await?;
    let mut question = body::parse(&headers, &bytes)?;
    let resource = &target.resource;
    let info = json!({"username": user.name, "groups": user.groups});
    let Strategy::Question(question_kind) = resource.strategy else { return Err(Status::method_not_allowed()) };
    let status = match question_kind {
        Question::SelfSubject => json!({"userInfo": info}),
        Question::Token => review(api, &question),
        Question::Rules => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        Question::Access => {
            json!({"allowed": true, "reason": "everyone who is authenticated may do everything in this cluster"})
        }
    };
    if !question.is_object() {
        return Err(Status::bad_request("the body of the request must be a JSON object"));
    }
    object(&mut question, "metadata");
    if let Some(fields) = question.as_object_mut() {
        fields.insert("kind".into(), Value::from(resource.kind.as_ref()));
        fields.insert("apiVersion".into(), Value::from(resource.api_version()));
        fields.insert("status".into(), status);
    }
    Ok(json_reply(StatusCode::CREATED, &question))
}

/// Returns the status of a TokenReview.
fn review(api: &Api, question: &Value) -> Value {
    let token = question.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    let audiences = question.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let audiences: Vec<String> = audiences.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    match api.token_user(token, &audiences) {
        Ok((user, audiences)) => json!({
            "authenticated": true, "audiences": audiences, "user": {"username": user.name, "groups": user.groups},
        }),
        Err(why) => json!({"authenticated": false, "user": {}, "error": why}),
    }
}
