//! One question to one pod: at the pod's own address, or through the API server where the address cannot be reached.

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use std::{net::IpAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

use super::{
    ignored::Ignored,
    reading::{self, Reading, Source},
};
use crate::{agent, messages};

/// Longest time for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer in bytes. The counter's own answers have some kilobytes.
const LONGEST: usize = 256 * 1024;

/// Way in which pods are asked for their connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountVia {
    /// Pods are asked at their own addresses, for an operator inside the cluster.
    Direct,
    /// The API server passes the question on, for an operator that cannot reach pods.
    #[default]
    Api,
}

impl CountVia {
    /// Returns the way for the place where this process runs: inside a cluster, pods reach each other.
    pub fn of_environment() -> Self {
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() { Self::Direct } else { Self::Api }
    }
}

/// Pod to be asked for its connections.
#[derive(Clone, Copy, Debug)]
pub struct PodAddress<'a> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Name of the pod.
    pub pod: &'a str,
    /// Address of the pod, for [`CountVia::Direct`].
    pub address: Option<IpAddr>,
    /// Program in the pod that answers.
    pub source: &'a Source,
    /// Peers whose connections do not count.
    pub ignored: &'a Ignored,
}

/// Asks a pod.
///
/// # Errors
/// Fails with the reason why there is no answer, in words that do not vary from question to question.
pub async fn ask(via: CountVia, client: &Client, whom: PodAddress<'_>) -> Result<Reading, String> {
    let answer = async {
        match (via, whom.address) {
            (CountVia::Api, _) => through_api(client, whom).await,
            (CountVia::Direct, Some(address)) => directly(address, whom).await,
            (CountVia::Direct, None) => Err(messages::NO_ADDRESS.to_owned()),
        }
    };
    match timeout(PATIENCE, answer).await {
        Ok(body) => Ok(reading::read(whom.source, &body?)?.without(whom.ignored)),
        Err(_) => Err(messages::no_answer(PATIENCE)),
    }
}

fn port(source: &Source) -> i32 {
    match source {
        Source::Tally { .. } => rainbow_api::names::SIDECAR_PORT,
        Source::Http(http) => http.port,
    }
}

fn path<'a>(whom: &PodAddress<'a>) -> &'a str {
    match whom.source {
        Source::Tally { .. } if whom.ignored.is_empty() => "/connections",
        // All peers must be known. A counter of an earlier version names ten of each port, no matter how many it is asked for.
        Source::Tally { .. } => "/connections?peers=1000",
        Source::Http(http) => &http.path,
    }
}

async fn through_api(client: &Client, whom: PodAddress<'_>) -> Result<Bytes, String> {
    let (port, path) = (port(whom.source), path(&whom));
    let uri = format!("/api/v1/namespaces/{}/pods/{}:{port}/proxy{path}", whom.namespace, whom.pod);
    let request = Request::get(uri).body(Body::empty()).map_err(|_| messages::no_path(path))?;
    let response = client.send(request).await.map_err(|_| messages::NO_API_SERVER.to_owned())?;
    body(response, "through the API server").await
}

async fn directly(address: IpAddr, whom: PodAddress<'_>) -> Result<Bytes, String> {
    let (port, path) = (u16::try_from(port(whom.source)).unwrap_or(0), path(&whom));
    // Each kind of error has one text. The error itself may name local ports, which differ each time.
    let stream = TcpStream::connect((address, port)).await.map_err(|error| error.kind().to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
    let request = Request::get(path)
        .header(header::USER_AGENT, agent::OPERATOR)
        .header(header::HOST, std::net::SocketAddr::new(address, port).to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|_| messages::no_path(path))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| broken())?;
        body(response, "directly").await
    };
    agent::answered(answer, connection).await
}

fn broken() -> String {
    messages::BROKEN_OFF.to_owned()
}

async fn body<B>(response: Response<B>, how: &str) -> Result<Bytes, String>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let status = response.status();
    if status != StatusCode::OK {
        return Err(messages::refused(how, &status));
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() { messages::too_long(LONGEST) } else { broken() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_api::HttpCount;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Returns the result of an answer that a server on loopback gives.
    async fn answered(answer: Vec<u8>) -> Result<u64, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            // The client may close in the middle: that is what is tested.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let http = HttpCount { port: i32::from(address.port()), path: "/open?x=1".into(), field: "n".into() };
        let source = Source::Http(http);
        let ignored = &Ignored::of(&[]);
        let whom = PodAddress { namespace: "default", pod: "p", address: Some(address.ip()), source: &source, ignored };
        let nobody = Client::new(
            tower::service_fn(|_: Request<Body>| async {
                Err::<Response<Body>, _>(std::io::Error::other("not to be asked"))
            }),
            "default",
        );
        let reading = ask(CountVia::Direct, &nobody, whom).await;
        let request = server.await.unwrap();
        assert!(request.starts_with("GET /open?x=1 HTTP/1.1\r\n"), "{request}");
        reading.map(|reading| reading.count)
    }

    fn reply(head: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[tokio::test]
    async fn a_pod_is_asked_at_its_own_address() {
        assert_eq!(answered(reply("200 OK", r#"{"n":7}"#)).await, Ok(7));
        let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"n\":8}";
        assert_eq!(answered(closing.into()).await, Ok(8), "the connection ends the answer");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told() {
        let long = "x".repeat(LONGEST + 1);
        for (answer, expected) in [
            (reply("500 Oops", "{}"), "asked directly, the answer was 500 Internal Server Error"),
            (reply("302 Found\r\nlocation: /", ""), "asked directly, the answer was 302 Found"),
            (reply("200 OK", "nonsense"), "the answer is no JSON"),
            (reply("200 OK", &long), "the answer has more than 256 KiB"),
            (b"SSH-2.0-x\r\n".to_vec(), "the connection broke off"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(), "the connection broke off"),
            (Vec::new(), "the connection broke off"),
        ] {
            assert_eq!(answered(answer).await, Err(expected.to_owned()));
        }
    }
}
