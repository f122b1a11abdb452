//! Measurement by an HTTP request.

use http::{HeaderMap, Method};
use jsonpath_rust::JsonPath;
use rainbow_api::WebGate;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Question},
    conditions::isolated,
    credentials,
    http::{Call, Reply, add_header, send},
    prometheus::TIMEOUT,
    template::{Names, Rendered},
    values::Secrets,
};
use crate::messages;

pub(super) async fn measure(question: &Question<'_>, gate: &WebGate, secrets: &mut Secrets) -> Answer {
    let prepared = match Names::of(question, secrets).await {
        Ok(names) => names.render(&gate.url).map(|url| (names, url)),
        Err(why) => Err(why),
    };
    let (names, url) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return Answer::Error { why, query: None },
    };
    let shown = Some(url.shown.clone());
    let reply = match ask(question, gate, &names, url, secrets).await {
        Ok(reply) => reply,
        Err(why) => return Answer::Error { why, query: shown },
    };
    let path = gate.json_path.clone();
    match isolated(move || read(&reply, path.as_deref(), shown)).await {
        Ok(answer) => answer,
        Err(why) => Answer::Error { why: why.to_owned(), query: None },
    }
}

async fn ask(
    question: &Question<'_>,
    gate: &WebGate,
    names: &Names,
    url: Rendered,
    secrets: &mut Secrets,
) -> Result<Reply, String> {
    let mut headers = HeaderMap::new();
    for header in &gate.headers {
        let value = match (&header.value, &header.value_from) {
            (Some(value), _) => names.render(value)?.sent,
            (None, Some(source)) => credentials::noted(question, source, secrets).await?.value.trim().to_owned(),
            (None, None) => String::new(),
        };
        add_header(&mut headers, &header.name, &value)?;
    }
    credentials::authenticate(question, gate.authentication.as_ref(), &mut headers, secrets).await?;
    let method = match gate.method.as_deref() {
        Some("POST") => Method::POST,
        Some("PUT") => Method::PUT,
        _ => Method::GET,
    };
    let body = gate.body.as_deref().map(|body| names.render(body)).transpose()?;
    send(Call {
        method,
        url: url.sent,
        headers,
        body: body.map(|body| body.sent).unwrap_or_default().into(),
        timeout: gate.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        tls: credentials::tls(question, gate.tls.as_ref()).await?,
    })
    .await
}

/// Reads an answer. The status of a failed request is a value for the conditions, whatever the body is.
fn read(reply: &Reply, path: Option<&str>, url: Option<String>) -> Answer {
    let status = reply.status.as_u16();
    let succeeded = status < 400;
    let query = match reply.redirect() {
        Some(redirect) => url.map(|url| format!("{url} ({redirect})")),
        None => url,
    };
    let names = vec![("status", json!(status))];
    let body: Result<Value, _> = serde_json::from_slice(&reply.body);
    let Some(path) = path else {
        let result = body.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
        return Answer::Value { result, names, is_good: succeeded, query };
    };
    let found = match body {
        Ok(body) => at(&body, path),
        Err(_) if succeeded => Err(messages::no_json(status)),
        Err(_) => Ok(Value::Null),
    };
    match found {
        Err(why) => Answer::Error { why, query },
        Ok(Value::Null) if succeeded => Answer::NoData { query },
        Ok(result) => {
            let is_good = succeeded && (result == json!(true) || result == json!("true"));
            Answer::Value { result, names, is_good, query }
        }
    }
}

/// Returns the value at a path: null where there is none, and a list where there are several. Paths are those of RFC 9535, or as kubectl writes
/// them: in braces, and without the `$`.
fn at(body: &Value, path: &str) -> Result<Value, String> {
    let inside = path.trim();
    let inside = inside.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(inside).trim();
    let inside = inside.strip_prefix(['$', '@']).unwrap_or(inside);
    let dot = if inside.is_empty() || inside.starts_with(['.', '[']) { "" } else { "." };
    let found = body.query(&format!("${dot}{inside}")).map_err(|error| messages::bad_path(path, error))?;
    Ok(match found.as_slice() {
        [] => Value::Null,
        [one] => (*one).clone(),
        several => several.iter().map(|value| (*value).clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn answer(status: u16, body: &str, path: Option<&str>) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        read(&Reply { status, location: None, body: body.to_owned().into() }, path, Some("http://a/".into()))
    }

    #[test]
    fn paths_are_as_kubectl_writes_them() {
        let body = json!({ "a": { "b": [{ "c": 1 }, { "c": 2 }], "d e": "x" }, "ok": true });
        for (path, expected) in [
            ("{$.ok}", json!(true)),
            ("{.ok}", json!(true)),
            ("$.ok", json!(true)),
            (".ok", json!(true)),
            ("ok", json!(true)),
            ("{$.a.b[0].c}", json!(1)),
            ("{.a.b[*].c}", json!([1, 2])),
            ("{$.a['d e']}", json!("x")),
            ("{$.a.b[?(@.c==2)].c}", json!(2)),
            ("{$.none}", Value::Null),
            ("{$}", body.clone()),
        ] {
            assert_eq!(at(&body, path), Ok(expected), "{path}");
        }
        let error = at(&body, "{$.a[}").unwrap_err();
        assert!(error.starts_with("`jsonPath` `{$.a[}` cannot be used: ") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn without_conditions_the_status_and_the_value_decide() {
        for (status, body, path, good) in [
            (200, "{}", None, true),
            (204, "", None, true),
            (404, "no", None, false),
            (200, r#"{"ok":true}"#, Some("{.ok}"), true),
            (200, r#"{"ok":"true"}"#, Some("{.ok}"), true),
            (200, r#"{"ok":false}"#, Some("{.ok}"), false),
            (200, r#"{"ok":1}"#, Some("{.ok}"), false),
            (500, r#"{"ok":true}"#, Some("{.ok}"), false),
            (500, "<html>", Some("{.ok}"), false),
        ] {
            let Answer::Value { is_good, names, .. } = answer(status, body, path) else { panic!("{status} {body}") };
            assert_eq!((is_good, names), (good, vec![("status", json!(status))]), "{status} {body}");
        }
    }

    #[test]
    fn a_body_is_a_value_where_it_has_one() {
        let result = |answer| match answer {
            Answer::Value { result, .. } => result,
            other => panic!("{other:?}"),
        };
        assert_eq!(result(answer(200, r#"{"a":[1]}"#, None)), json!({ "a": [1] }));
        assert_eq!(result(answer(200, "pong\n", None)), json!("pong\n"));
        assert!(matches!(answer(200, "{}", Some("{.ok}")), Answer::NoData { .. }));
        assert!(matches!(answer(200, r#"{"ok":null}"#, Some("{.ok}")), Answer::NoData { .. }));
        let Answer::Error { why, .. } = answer(200, "<html>", Some("{.ok}")) else { panic!() };
        assert_eq!(why, "the answer with status 200 is no JSON, which `jsonPath` needs");
        let Answer::Value { query, .. } = answer(301, "", None) else { panic!() };
        assert_eq!(query.as_deref(), Some("http://a/ (the server answered 301: redirects are not followed)"));
    }
}
