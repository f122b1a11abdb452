//! Logs, exec and port forwarding through a real connection, with a fake node.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Config,
    api::{AttachParams, LogParams, PostParams, TerminalSize},
};
use pocket_api::{Duplex, ExecRequest, ExecStreams, LogRequest, NodeAccess, Options, Status};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

/// Node that echoes its input; the program `fail` ends with 3.
#[derive(Default)]
struct Echo {
    logs: Mutex<Vec<LogRequest>>,
    sizes: Arc<Mutex<Vec<(u16, u16)>>>,
}

impl NodeAccess for Echo {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Status>> {
        self.logs.lock().unwrap().push(request);
        let lines = ["one\n", "two\n"].map(|line| Bytes::from_static(line.as_bytes()));
        async move { Ok(futures::stream::iter(lines).boxed()) }.boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecStreams, Status>> {
        let sizes = self.sizes.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(64);
            let (mut output, stdout) = tokio::io::duplex(64);
            let (exited, exit) = oneshot::channel();
            let (resize, mut resized) = mpsc::channel(1);
            tokio::spawn(async move {
                if request.tty {
                    let size = resized.recv().await;
                    sizes.lock().unwrap().extend(size);
                }
                let mut input = ours;
                let mut line = [0; 6];
                if request.stdin && input.read_exact(&mut line).await.is_ok() {
                    output.write_all(&line).await.unwrap();
                }
                output.write_all(request.command.join(" ").as_bytes()).await.unwrap();
                drop(output);
                let code = if request.command == ["fail"] { 3 } else { 0 };
                let _ = exited.send(Ok(code));
            });
            Ok(ExecStreams {
                stdin: request.stdin.then(|| Box::new(theirs) as _),
                stdout: Some(Box::new(stdout)),
                stderr: None,
                resize: Some(resize),
                exit,
            })
        }
        .boxed()
    }

    fn port_forward(&self, _: &str, _: &str, port: u16) -> BoxFuture<'static, Result<Box<dyn Duplex>, Status>> {
        async move {
            if port == 1 {
                return Err(Status::internal("connection refused"));
            }
            let (ours, theirs) = tokio::io::duplex(64);
            if port == 80 {
                tokio::spawn(web(ours));
                return Ok(Box::new(theirs) as Box<dyn Duplex>);
            }
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(ours);
                write.write_all(format!("port {port}:").as_bytes()).await.unwrap();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            Ok(Box::new(theirs) as Box<dyn Duplex>)
        }
        .boxed()
    }
}

/// Web server that returns the request that it got, and echoes on `/socket`.
async fn web(connection: DuplexStream) {
    let answer = |mut request: Request<hyper::body::Incoming>| async move {
        if request.headers().contains_key("upgrade") {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
            return Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap());
        }
        let text = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let about = format!("{} {} {}", request.method(), request.uri(), text("authorization"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let about = format!("{about} {}", String::from_utf8_lossy(&body));
        let response = Response::builder().status(418).header("location", "/login").header("keep-alive", "5");
        Ok(response.body(Full::from(about)).unwrap())
    };
    let server = hyper::server::conn::http1::Builder::new();
    let _ = server.serve_connection(TokioIo::new(connection), service_fn(answer)).with_upgrades().await;
}

/// Sends a request as bytes and reads all of the answer.
async fn raw(address: SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn pods(node: Arc<Echo>) -> Api<Pod> {
    server(node).await.0
}

async fn server(node: Arc<Echo>) -> (Api<Pod>, SocketAddr) {
    let api = pocket_api::Api::new(Options::default()).unwrap();
    api.set_node(node);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "app:v1"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    (pods, address)
}

#[tokio::test]
async fn logs() {
    let node = Arc::new(Echo::default());
    let pods = pods(node.clone()).await;
    let params = LogParams { tail_lines: Some(5), timestamps: true, ..LogParams::default() };
    assert_eq!(pods.logs("a", &params).await.unwrap(), "one\ntwo\n");
    let asked = node.logs.lock().unwrap().pop().unwrap();
    assert_eq!(
        (asked.container.as_str(), asked.tail_lines, asked.timestamps, asked.follow),
        ("main", Some(5), true, false)
    );
    let wrong = LogParams { container: Some("other".into()), ..LogParams::default() };
    let error = pods.logs("a", &wrong).await.unwrap_err().to_string();
    assert!(error.contains("container other is not valid for pod a"), "{error}");
}

#[tokio::test]
async fn exec_carries_input_output_and_the_exit_code() {
    let pods = pods(Arc::default()).await;
    let mut program = pods.exec("a", ["cat", "it"], &AttachParams::default().stdin(true).stderr(false)).await.unwrap();
    program.stdin().unwrap().write_all(b"hello\n").await.unwrap();
    let status = program.take_status().unwrap();
    let mut output = String::new();
    program.stdout().unwrap().read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "hello\ncat it");
    assert_eq!(status.await.unwrap().status.as_deref(), Some("Success"));

    let mut program = pods.exec("a", ["fail"], &AttachParams::default().stderr(false)).await.unwrap();
    let status = program.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_terminal_is_resized() {
    let node = Arc::new(Echo::default());
    let pods = pods(node.clone()).await;
    let mut program = pods.exec("a", ["sh"], &AttachParams::interactive_tty().stdin(false)).await.unwrap();
    let mut sizes = program.terminal_size().unwrap();
    futures::SinkExt::send(&mut sizes, TerminalSize { width: 80, height: 24 }).await.unwrap();
    program.take_status().unwrap().await.unwrap();
    assert_eq!(*node.sizes.lock().unwrap(), [(80, 24)]);
}

#[tokio::test]
async fn ports_are_forwarded() {
    let pods = pods(Arc::default()).await;
    let mut forwarder = pods.portforward("a", &[8080]).await.unwrap();
    let mut stream = forwarder.take_stream(8080).unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut reply = [0; 15];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"port 8080:hello");
}

#[tokio::test]
async fn requests_are_passed_on_to_pods() {
    let (pods, address) = server(Arc::default()).await;
    let client = pods.into_client();
    let base = "/api/v1/namespaces/default/pods";
    let ask = |method: &str, path: &str, body: &str| {
        let length = body.len();
        raw(
            address,
            format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer secret\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
        )
    };
    let answer = ask("POST", &format!("{base}/a:80/proxy/x%2Fy//z/?q=1"), "hello").await;
    assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nPOST /x%2Fy//z/?q=1 - hello"), "the pod's own path, and no rights: {answer}");
    assert!(answer.contains(&format!("location: {base}/a:80/proxy/login\r\n")), "{answer}");
    assert!(!answer.contains("keep-alive"), "{answer}");
    // The pod's spec names no port, so the port is 80.
    assert!(ask("DELETE", &format!("{base}/a/proxy/"), "").await.ends_with("DELETE / - "));
    let moved = ask("GET", &format!("{base}/a/proxy?q"), "").await;
    assert!(
        moved.starts_with("HTTP/1.1 301 ") && moved.contains(&format!("location: {base}/a/proxy/?q\r\n")),
        "{moved}"
    );

    // Without a socket, as the operator asks.
    let request = Request::get(format!("{base}/a:80/proxy/connections")).body(Vec::new()).unwrap();
    let error = client.request_text(request).await.unwrap_err().to_string();
    assert!(error.contains("GET /connections"), "{error}");

    for (path, code, message) in [
        ("a:1", "503", "error trying to reach service: Internal error occurred: connection refused"),
        ("b:80", "404", "pods \\\"b\\\" not found"),
        ("a:http", "400", "invalid port \\\"http\\\""),
        ("https:a:443", "400", "plain HTTP only"),
    ] {
        let answer = ask("GET", &format!("{base}/{path}/proxy/"), "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")) && answer.contains(message), "{path}: {answer}");
    }
}

#[tokio::test]
async fn upgrades_are_passed_on_to_pods() {
    let (_, address) = server(Arc::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /api/v1/namespaces/default/pods/a/proxy/socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"there and back").await.unwrap();
    let mut echo = [0; 14];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"there and back");
}

#[tokio::test]
async fn requests_are_passed_on_behind_services() {
    let (pods, address) = server(Arc::default()).await;
    let client = pods.into_client();
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"},
        "ports": [{"name": "http", "port": 8080, "targetPort": 80}, {"name": "other", "port": 9}]}});
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let ask = |name: &str| {
        raw(
            address,
            format!(
                "GET /api/v1/namespaces/default/services/{name}/proxy/p HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ),
        )
    };
    let answer = ask("web:http").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("no endpoints available for service"), "{answer}");
    let slice = json!({"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
    "ports": [{"name": "http", "port": 80}, {"name": "other", "port": 1}],
    "endpoints": [
        {"addresses": ["10.244.0.9"], "conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "gone"}},
        {"addresses": ["10.244.0.8"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "a"}},
    ]});
    let slices: Api<EndpointSlice> = Api::namespaced(client, "default");
    slices.create(&PostParams::default(), &serde_json::from_value(slice).unwrap()).await.unwrap();
    for name in ["web:http", "web:8080"] {
        assert!(ask(name).await.ends_with("GET /p - "), "{name}");
    }
    assert!(ask("web").await.contains("no service port"), "there are two");
}

/// Returns the answer to a SPDY client: the head, and all bytes after it until the server closes the connection.
async fn spdy(address: SocketAddr, path: &str, protocol: &str, frames: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\
         X-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: {protocol}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(frames).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 4096];
    // A session of port forwarding lasts until its client leaves.
    while let Ok(Ok(read @ 1..)) =
        tokio::time::timeout(std::time::Duration::from_secs(2), stream.read(&mut buffer)).await
    {
        answer.extend_from_slice(&buffer[..read]);
    }
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let rest = answer.split_off((end + 4).min(answer.len()));
    (String::from_utf8(answer).unwrap().to_lowercase(), rest)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The library of Kubernetes (moby/spdystream 0.5.1) wrote these frames: streams for the error, the standard input
/// and the standard output, a ping, and `hello` as the input.
#[tokio::test]
async fn exec_over_spdy() {
    let (_, address) = server(Arc::default()).await;
    let exec = "/api/v1/namespaces/default/pods/a/exec";
    let path = format!("{exec}?command=fail&stdin=true&stdout=true");
    let frames = include_bytes!("spdy/exec.bin");
    let (head, frames_back) = spdy(address, &path, "v4.channel.k8s.io", frames).await;
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: spdy/3.1"), "{head}");
    assert!(head.contains("x-stream-protocol-version: v4.channel.k8s.io"), "{head}");
    // The output is on stream 5, the end on stream 1, and each is closed.
    let data = |stream: u8, fin: u8, text: &str| {
        let mut frame = vec![0, 0, 0, stream, fin, 0, 0, u8::try_from(text.len()).unwrap()];
        frame.extend(text.as_bytes());
        frame
    };
    let has = |frame: &[u8]| frames_back.windows(frame.len()).any(|window| window == frame);
    assert!(contains(&frames_back, "hello\n") && contains(&frames_back, "fail"));
    assert!(contains(&frames_back, "command terminated with non-zero exit code: exit status 3"));
    assert!(has(&data(5, 1, "")) && has(&data(1, 1, "")) && has(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]));

    let (head, _) = spdy(address, &path, "v1.other", frames).await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    let missing = format!("{}?command=x&stdout=true", exec.replace("/a/", "/missing/"));
    assert!(spdy(address, &missing, "v4.channel.k8s.io", frames).await.0.starts_with("http/1.1 404"));
}

/// One connection to a port that echoes, and one to a port that nothing listens on.
#[tokio::test]
async fn ports_over_spdy() {
    let (_, address) = server(Arc::default()).await;
    let path = "/api/v1/namespaces/default/pods/a/portforward";
    let frames = include_bytes!("spdy/forward.bin");
    let (head, frames_back) = spdy(address, path, "portforward.k8s.io", frames).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(contains(&frames_back, "port 8080:") && contains(&frames_back, "hello"));
    assert!(contains(&frames_back, "an error occurred forwarding port 1: Internal error occurred: connection refused"));
}
