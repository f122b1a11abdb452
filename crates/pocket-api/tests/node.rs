//! Logs, exec and port forwarding through a real connection, with a node that is a fake.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{AttachParams, LogParams, PostParams, TerminalSize},
};
use pocket_api::{Duplex, ExecRequest, ExecStreams, LogRequest, NodeAccess, Options, Status};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// Echoes what it is sent; the program `fail` ends with 3.
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
            let (ours, theirs) = tokio::io::duplex(64);
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

async fn pods(node: Arc<Echo>) -> Api<Pod> {
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
    pods
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
