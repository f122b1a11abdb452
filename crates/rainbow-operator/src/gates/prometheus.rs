//! Measurement by a query of a Prometheus server.

use http::{HeaderMap, Method};
use rainbow_api::PrometheusGate;
use serde::Deserialize;
use serde_json::{Number, Value};
use std::{fmt::Write, time::Duration};

use super::{
    answer::{Answer, Question},
    credentials,
    http::{Call, Reply, add_header, send},
    template::{Names, Rendered, seconds},
    values::Secrets,
};
use crate::messages;

/// Time in which a server must answer where the gate says nothing else.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Time from one value of a range to the next where the gate says nothing else.
const STEP: Duration = Duration::from_secs(15);

pub(super) async fn measure(question: &Question<'_>, gate: &PrometheusGate, secrets: &mut Secrets) -> Answer {
    let names = match Names::of(question, secrets).await {
        Ok(names) => names,
        Err(why) => return Answer::Error { why, query: None },
    };
    let query = match names.render(&gate.query) {
        Ok(query) => query,
        Err(why) => return Answer::Error { why, query: None },
    };
    let shown = Some(query.shown.clone());
    let reply = match ask(question, gate, &names, query, secrets).await {
        Ok(reply) => reply,
        Err(why) => return Answer::Error { why, query: shown },
    };
    match read(&reply) {
        Err(why) => Answer::Error { why, query: shown },
        Ok(numbers) if numbers.is_empty() => Answer::NoData { query: shown },
        Ok(numbers) => {
            let is_good = numbers.iter().all(|number| number.as_f64().is_some_and(|number| number != 0.0));
            let result = numbers.into_iter().map(Value::Number).collect();
            Answer::Value { result, names: Vec::new(), is_good, query: shown }
        }
    }
}

async fn ask(
    question: &Question<'_>,
    gate: &PrometheusGate,
    names: &Names,
    query: Rendered,
    secrets: &mut Secrets,
) -> Result<Reply, String> {
    let address = names.render(&gate.address)?.sent;
    let address = address.trim_end_matches('/');
    let mut form = format!("query={}", encoded(&query.sent));
    let path = match &gate.range {
        None => "query",
        Some(range) => {
            let now = question.clock.now();
            let length = match range.duration {
                Some(length) => length.0.as_secs_f64(),
                None => Duration::from_secs(seconds(question.since, now).unsigned_abs()).as_secs_f64(),
            };
            let end = Duration::from_millis(now.0.max(0).unsigned_abs()).as_secs_f64();
            let step = range.step.map_or(STEP, |step| step.0).max(Duration::from_secs(1)).as_secs_f64();
            let _ = write!(form, "&start={:.3}&end={end:.3}&step={step}", end - length);
            "query_range"
        }
    };
    let mut headers = HeaderMap::new();
    add_header(&mut headers, "content-type", "application/x-www-form-urlencoded")?;
    add_header(&mut headers, "accept", "application/json")?;
    credentials::authenticate(question, gate.authentication.as_ref(), &mut headers, secrets).await?;
    send(Call {
        method: Method::POST,
        url: format!("{address}/api/v1/{path}"),
        headers,
        body: form.into(),
        timeout: gate.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        tls: credentials::tls(question, gate.tls.as_ref()).await?,
    })
    .await
}

/// Returns a text as a form has it.
fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => all.push(char::from(byte)),
            _ => {
                let _ = write!(all, "%{byte:02X}");
            }
        }
    }
    all
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "camelCase")]
enum Data {
    Vector(Vec<Sample>),
    Scalar(Point),
    Matrix(Vec<Series>),
    String(Point),
}

#[derive(Deserialize)]
struct Sample {
    /// `None`: the sample is a histogram.
    value: Option<Point>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    values: Vec<Point>,
}

/// Time in seconds, and value as text.
#[derive(Deserialize)]
struct Point(f64, String);

/// Returns the values of an answer, newest last. Values that are no numbers are left out: there was nothing to divide, for example.
fn read(reply: &Reply) -> Result<Vec<Number>, String> {
    if let Some(redirect) = reply.redirect() {
        return Err(redirect);
    }
    let status = reply.status.as_u16();
    let envelope: Envelope =
        serde_json::from_slice(&reply.body).map_err(|_| messages::prometheus_refuses(status, None))?;
    let data = match envelope {
        Envelope { status: known, data: Some(data), .. } if known == "success" => data,
        Envelope { error, .. } => return Err(messages::prometheus_refuses(status, error.as_deref())),
    };
    let mut points: Vec<Point> = match data {
        Data::Scalar(point) => vec![point],
        Data::Vector(samples) => {
            let (count, points): (usize, Vec<Point>) =
                (samples.len(), samples.into_iter().filter_map(|sample| sample.value).collect());
            if count > 0 && points.is_empty() {
                return Err(messages::not_numeric("histograms"));
            }
            points
        }
        Data::Matrix(series) => series.into_iter().flat_map(|series| series.values).collect(),
        Data::String(Point(_, text)) => return Err(messages::not_numeric(&format!("the text `{text}`"))),
    };
    // The order of the series of one time stays.
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(points.into_iter().filter_map(|point| Number::from_f64(point.1.parse().ok()?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    fn numbers(status: u16, body: &str) -> Result<Vec<f64>, String> {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, location: Some("http://elsewhere/".into()), body: body.to_owned().into() };
        read(&reply).map(|numbers| numbers.into_iter().map(|number| number.as_f64().unwrap()).collect())
    }

    fn success(kind: &str, result: Value) -> String {
        json!({ "status": "success", "data": { "resultType": kind, "result": result } }).to_string()
    }

    #[test]
    fn answers_of_all_types_are_lists_of_numbers() {
        let series = json!([
            { "metric": {}, "values": [[10, "1"], [30, "3"]] },
            { "metric": {}, "values": [[20, "2"], [40.5, "NaN"]] },
        ]);
        for (kind, result, expected) in [
            ("vector", json!([]), vec![]),
            (
                "vector",
                json!([{ "metric": { "a": "b" }, "value": [1.5, "0.25"] }, { "metric": {}, "value": [1.5, "7"] }]),
                vec![0.25, 7.0],
            ),
            ("vector", json!([{ "metric": {}, "value": [1, "NaN"] }]), vec![]),
            ("vector", json!([{ "metric": {}, "value": [1, "+Inf"] }, { "metric": {}, "value": [1, "-Inf"] }]), vec![]),
            (
                "vector",
                json!([{ "metric": {}, "value": [1, "1e-3"] }, { "metric": {}, "value": [1, "NaN"] }]),
                vec![0.001],
            ),
            ("scalar", json!([1.0, "42"]), vec![42.0]),
            ("matrix", series, vec![1.0, 2.0, 3.0]),
        ] {
            assert_eq!(numbers(200, &success(kind, result.clone())), Ok(expected), "{kind} {result}");
        }
    }

    #[test]
    fn what_is_no_answer_has_a_reason() {
        let refused = json!({ "status": "error", "errorType": "bad_data", "error": "parse error" }).to_string();
        for (status, body, expected) in [
            (400, refused.as_str(), "the server answered 400: parse error"),
            (502, "<html>", "the server answered 502, and not as Prometheus does"),
            (200, "{}", "the server answered 200, and not as Prometheus does"),
            (302, "", "the server answered 302: the redirect to `http://elsewhere/` is not followed"),
            (200, &success("string", json!([1, "a"])), "the query returns the text `a`: it must return numbers"),
            (
                200,
                &success("vector", json!([{ "histogram": [1, {}] }])),
                "the query returns histograms: it must return numbers",
            ),
        ] {
            assert_eq!(numbers(status, body), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encoded("sum(up{a=\"b\"}) > 0 & ä+1"), "sum%28up%7Ba%3D%22b%22%7D%29%20%3E%200%20%26%20%C3%A4%2B1");
    }
}
