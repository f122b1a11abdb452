//! Tests of the client against servers that behave in every way a server can.
#![allow(clippy::unwrap_used, reason = "a test fails by it, helpers included")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use traffic::{FailureKind, Load, Pattern, Report, Target, Traffic};

/// Starts a server whose n-th connection is handled by `handle`.
async fn server<F, Fut>(handle: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(handle(number, stream));
        }
    });
    address
}

/// Reads one request; returns `false` at the end of the connection.
async fn request(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => return false,
        }
    }
    true
}

async fn reply(stream: &mut TcpStream, status: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes()).await;
}

fn load(address: SocketAddr) -> Load {
    let mut load = Load::new(Target::at(address, "test", "/"));
    load.timeout = Duration::from_millis(500);
    load
}

async fn until(traffic: &Traffic, mut condition: impl FnMut(&Report) -> bool) {
    while !condition(&traffic.report()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn counts_replies_by_body_and_finds_mixed_ones() {
    let address = server(|number, mut stream| async move {
        request(&mut stream).await;
        let backend = if number % 3 == 2 { "v2" } else { "v1" };
        reply(&mut stream, "200 OK", &format!("frontend:v1 - backend:{backend}\n")).await;
    })
    .await;
    let mut load = load(address);
    load.rate = 500.0;
    let pattern: Pattern = "frontend:{v} - backend:{v}".parse().unwrap();
    load.check = Some(Arc::new(move |body| pattern.judge(body)));
    let traffic = Traffic::start(load);
    until(&traffic, |report| report.requests >= 30).await;
    let report = traffic.stop().await;
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(report.replies.len(), 2);
    let mixed = &report.replies["frontend:v1 - backend:v2"];
    assert!(mixed.mixed && mixed.first_ms >= report.started_ms && mixed.last_ms >= mixed.first_ms);
    assert_eq!(report.mixed, mixed.count);
    assert_eq!(report.connections, report.requests);
    assert_eq!(report.latency.count, report.requests);
    assert!(!report.is_clean());
}

#[tokio::test]
async fn tells_failures_apart() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = refused.local_addr().unwrap();
    drop(refused);
    assert_eq!(
        traffic::get(&Target::at(address, "test", "/"), Duration::from_secs(5)).await.unwrap_err().kind,
        FailureKind::ConnectRefused
    );

    for (behaviour, expected) in [
        ("reset", FailureKind::Reset),
        ("close", FailureKind::ClosedEarly),
        ("half", FailureKind::ClosedEarly),
        ("silent", FailureKind::Timeout),
        ("500", FailureKind::BadStatus),
        ("garbage", FailureKind::BadReply),
    ] {
        let address = server(move |_, mut stream| async move {
            request(&mut stream).await;
            match behaviour {
                "reset" => stream.set_zero_linger().unwrap(),
                "half" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap(),
                "silent" => std::future::pending().await,
                "500" => reply(&mut stream, "500 Internal Server Error", "broken").await,
                "garbage" => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap(),
                _ => {}
            }
        })
        .await;
        let failure = traffic::get(&Target::at(address, "test", "/"), Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(failure.kind, expected, "{behaviour}: {failure}");
    }
}

#[tokio::test]
async fn keeps_connections_and_forgives_only_idle_ones() {
    // Each connection answers three requests and is then closed: between requests for the first ten, after that during one.
    let address = server(|number, mut stream| async move {
        for _ in 0..3 {
            request(&mut stream).await;
            reply(&mut stream, "200 OK", "fine").await;
        }
        if number >= 10 {
            request(&mut stream).await;
        }
    })
    .await;
    let mut load = load(address);
    load.keep_alive = 2;
    load.pause = Duration::from_millis(20);
    let traffic = Traffic::start(load);
    until(&traffic, |report| report.failed >= 1).await;
    let report = traffic.stop().await;
    assert!(report.closed_idle >= 9, "{report:?}");
    assert!(report.requests >= 30);
    let failures: Vec<_> = report.failures.keys().collect();
    assert!(failures.iter().all(|kind| matches!(kind, FailureKind::ClosedEarly | FailureKind::Reset)), "{report:?}");
    assert!(report.failures.values().all(|tally| tally.samples.iter().all(|sample| sample.kept)));
}

#[tokio::test]
async fn an_old_connection_is_left_in_time() {
    let open = Arc::new(AtomicUsize::new(0));
    let seen = open.clone();
    let address = server(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            seen.fetch_add(1, Ordering::Relaxed);
            while request(&mut stream).await {
                reply(&mut stream, "200 OK", "fine").await;
            }
        }
    })
    .await;
    let mut load = load(address);
    load.keep_alive = 1;
    load.pause = Duration::from_millis(1);
    load.max_age = Some(Duration::from_millis(20));
    let traffic = Traffic::start(load);
    until(&traffic, |report| report.connections >= 3).await;
    let report = traffic.stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.closed_idle, 0);
    assert!(report.requests > report.connections);
}

#[tokio::test]
async fn a_slow_server_does_not_slow_the_load() {
    let address = server(|_, mut stream| async move {
        request(&mut stream).await;
        // The reply takes longer than the whole load, so no reply comes before the last request is due.
        tokio::time::sleep(Duration::from_millis(400)).await;
        reply(&mut stream, "200 OK", "slow").await;
    })
    .await;
    let mut load = load(address);
    load.timeout = Duration::from_secs(20);
    load.rate = 200.0;
    let traffic = Traffic::start(load);
    // Connections are counted when they are started. A closed loop would be at its first until the first reply.
    until(&traffic, |report| report.connections >= 20).await;
    let report = traffic.stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.requests, report.connections);
}
