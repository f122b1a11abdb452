//! Gate `traffic`: requests of the operator to the Service of the color's own instance, each on a new connection.
//!
//! A color's Service has clients before its stage does, so the gate can check a color that no client reaches yet. Inside a cluster the Service
//! is called by its name. Elsewhere the API server passes requests on to the Service's endpoints, which is an API of every Kubernetes and of
//! pocket.

use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use rainbow_api::TrafficGate;
use serde::Deserialize;
use serde_json::json;
use std::{net::SocketAddr, pin::pin, time::Duration};
use tokio::{net::TcpStream, time::timeout};

use super::{
    answer::{Answer, Question},
    traffic_reply::{Reply, Rule, Tally},
};
use crate::{agent, count::CountVia, messages};

const REQUESTS: usize = 100;
const CONCURRENCY: usize = 4;
/// Time in which a reply must come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest part of a body that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// Sends the requests of a measurement.
pub(crate) async fn measure(question: &Question<'_>, gate: &TrafficGate) -> Answer {
    let (url, tally) = match send_all(question, gate).await {
        Ok(sent) => sent,
        Err((why, query)) => return Answer::Error { why, query },
    };
    Answer::Value {
        result: json!({ "requests": tally.requests, "failed": tally.failed, "mixed": tally.mixed }),
        names: vec![("message", json!(tally.message()))],
        is_good: tally.is_good(),
        query: Some(url),
    }
}

/// Sends all requests and returns their URL. An error comes with the URL, where there is one.
async fn send_all(question: &Question<'_>, gate: &TrafficGate) -> Result<(String, Tally), (String, Option<String>)> {
    let none = |why: String| (why, None);
    let rule = Rule::of(gate.pattern.as_deref()).map_err(none)?;
    let place = question.place;
    let service = place.candidate.as_deref().ok_or_else(|| none(messages::no_ports(&place.tier)))?;
    let port = port(question, gate).map_err(none)?;
    let path = path(gate);
    let url = format!("http://{service}.{}:{port}{path}", place.namespace);
    let target = match question.via {
        CountVia::Api => Target::through_api(question.client, &place.namespace, service, port, &path),
        CountVia::Direct => Target::resolve(&place.namespace, service, port, path).await.map_err(none)?,
    };
    let traffic = Traffic { target, rule, patience: gate.timeout.map_or(PATIENCE, |limit| limit.0) };
    let tally = traffic.run(number(gate.requests, REQUESTS), number(gate.concurrency, CONCURRENCY)).await;
    let tally = tally.map_err(|why| (why, Some(url.clone())))?;
    Ok((url, tally))
}

fn number(written: Option<i32>, default: usize) -> usize {
    written.and_then(|number| usize::try_from(number).ok()).unwrap_or(default).max(1)
}

/// Returns the number of the port that the gate names, or of the first.
fn port(question: &Question<'_>, gate: &TrafficGate) -> Result<u16, String> {
    let ports = &question.place.ports;
    let found = match &gate.port {
        Some(name) => ports.iter().find(|(known, ..)| known == name),
        None => ports.iter().find(|(_, _, protocol)| protocol == "TCP"),
    };
    let number = found.and_then(|(_, number, _)| u16::try_from(*number).ok());
    number.ok_or_else(|| match &gate.port {
        Some(name) => messages::no_such_port(&question.place.tier, name),
        None => messages::no_ports(&question.place.tier),
    })
}

fn path(gate: &TrafficGate) -> String {
    match gate.path.as_deref().unwrap_or("/") {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

/// Requests of one measurement.
struct Traffic {
    target: Target,
    rule: Rule,
    patience: Duration,
}

enum Target {
    /// Addresses of the Service, which are asked in turn. A headless Service has one for each pod.
    Direct {
        addresses: Vec<SocketAddr>,
        host: String,
        path: String,
    },
    Api {
        client: Client,
        uri: String,
    },
}

impl Target {
    /// Returns the path of the API server's proxy for a Service.
    fn through_api(client: &Client, namespace: &str, service: &str, port: u16, path: &str) -> Self {
        let uri = format!("/api/v1/namespaces/{namespace}/services/http:{service}:{port}/proxy{path}");
        Self::Api { client: client.clone(), uri }
    }

    async fn resolve(namespace: &str, service: &str, port: u16, path: String) -> Result<Self, String> {
        let host = format!("{service}.{namespace}.svc");
        let found = timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
        let addresses: Vec<SocketAddr> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(messages::no_address_of(&host, &error)),
            Err(_) => return Err(messages::no_address_of(&host, &messages::no_reply(PATIENCE))),
        };
        match addresses.is_empty() {
            true => Err(messages::no_address_of(&host, &messages::NO_ANSWER_OF_NAMES)),
            false => Ok(Self::Direct { addresses, host: format!("{host}:{port}"), path }),
        }
    }
}

/// Failure of a request.
enum Unanswered {
    /// The color gave no reply.
    Failed(String),
    /// The request did not reach the color, and says nothing of it.
    NotSent(String),
}

impl Traffic {
    /// Sends requests, some at a time.
    ///
    /// # Errors
    /// Fails where a request could not be sent: then nothing is known of the color.
    async fn run(&self, requests: usize, concurrency: usize) -> Result<Tally, String> {
        let mut replies = pin!(stream::iter(0..requests).map(|number| self.send(number)).buffer_unordered(concurrency));
        let mut tally = Tally::default();
        while let Some(reply) = replies.next().await {
            tally.add(reply?);
        }
        Ok(tally)
    }

    async fn send(&self, number: usize) -> Result<Reply, String> {
        let exchange = async {
            match &self.target {
                Target::Api { client, uri } => self.through_api(client, uri).await,
                Target::Direct { addresses, host, path } => {
                    let address = addresses.get(number % addresses.len().max(1));
                    let address =
                        *address.ok_or_else(|| Unanswered::NotSent(messages::NO_ANSWER_OF_NAMES.to_owned()))?;
                    self.directly(address, host, path).await
                }
            }
        };
        match timeout(self.patience, exchange).await {
            Ok(Ok((status, body))) => Ok(self.rule.judge(status.as_u16(), &body)),
            Ok(Err(Unanswered::Failed(says))) => Ok(Reply::Failed(says)),
            Ok(Err(Unanswered::NotSent(says))) => Err(says),
            Err(_) => Ok(Reply::Failed(messages::no_reply(self.patience))),
        }
    }

    async fn directly(&self, address: SocketAddr, host: &str, path: &str) -> Result<(StatusCode, String), Unanswered> {
        let failed = |says: String| Unanswered::Failed(says);
        let broken = || failed(messages::BROKEN_OFF.to_owned());
        // Each kind of error has one text. The error itself may name local ports, which differ each time.
        let stream = TcpStream::connect(address).await.map_err(|error| failed(error.kind().to_string()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
        let request = Request::get(path)
            .header(header::USER_AGENT, agent::OPERATOR)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| Unanswered::NotSent(messages::no_path(path)))?;
        let reply = async {
            let response = sender.send_request(request).await.map_err(|_| broken())?;
            self.read(response).await
        };
        agent::answered(reply, connection).await
    }

    async fn through_api(&self, client: &Client, uri: &str) -> Result<(StatusCode, String), Unanswered> {
        let request = Request::get(uri).body(Body::empty());
        let request = request.map_err(|_| Unanswered::NotSent(messages::no_path(uri)))?;
        let response = client.send(request).await;
        let response = response.map_err(|_| Unanswered::NotSent(messages::NO_API_SERVER.to_owned()))?;
        let (status, body) = self.read(response).await?;
        match own_answer(status, &body) {
            Some(Own { reason, message }) if matches!(&*reason, "Forbidden" | "Unauthorized" | "NotFound") => {
                Err(Unanswered::NotSent(message))
            }
            Some(Own { message, .. }) => Err(Unanswered::Failed(message)),
            None => Ok((status, body)),
        }
    }

    /// Reads a reply. Where the status decides, the end of a long body is left out; the pattern needs all of it.
    async fn read<B>(&self, response: Response<B>) -> Result<(StatusCode, String), Unanswered>
    where
        B: hyper::body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let status = response.status();
        match Limited::new(response.into_body(), LONGEST).collect().await {
            Ok(body) => Ok((status, String::from_utf8_lossy(&body.to_bytes()).trim().to_owned())),
            Err(error) if !error.is::<LengthLimitError>() => Err(Unanswered::Failed(messages::BROKEN_OFF.to_owned())),
            Err(_) if self.rule.reads_bodies() => Err(Unanswered::Failed(messages::too_long(LONGEST))),
            Err(_) => Ok((status, String::new())),
        }
    }
}

/// Answer of the API server itself, which could not pass a request on.
#[derive(Deserialize)]
struct Own {
    #[serde(default)]
    reason: String,
    message: String,
}

fn own_answer(status: StatusCode, body: &str) -> Option<Own> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object {
        api_version: String,
        kind: String,
        #[serde(flatten)]
        own: Own,
    }
    let is_error = status.is_client_error() || status.is_server_error();
    let object: Object = serde_json::from_str(body).ok().filter(|_| is_error)?;
    (object.api_version == "v1" && object.kind == "Status").then_some(object.own)
}

#[cfg(test)]
mod tests;
