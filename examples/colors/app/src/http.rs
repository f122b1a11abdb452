//! Pages, probes and websockets.

use std::time::Duration;

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    http::StatusCode,
    response::{Html, Response},
    routing::get,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{color::Color, end::End, settings::Settings};

/// State that the handlers share.
#[derive(Clone)]
struct Shared {
    color: Color,
    every: Duration,
    ready_at: Instant,
    end: End,
}

/// Builds the router of everything served by HTTP. Any path but the named ones is the page.
pub fn router(settings: &Settings, end: End) -> Router {
    let shared = Shared {
        color: settings.color.clone(),
        every: settings.interval,
        ready_at: Instant::now() + settings.ready_after,
        end,
    };
    Router::new()
        .route("/ready", get(ready))
        .route("/live", get(async || "live\n"))
        .route("/color", get(async |State(shared): State<Shared>| format!("{}\n", shared.color)))
        .route("/ws", get(websocket))
        .fallback_service(
            get(async |State(shared): State<Shared>| Html(shared.color.page())).with_state(shared.clone()),
        )
        .with_state(shared)
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.end.is_ending() || Instant::now() < shared.ready_at {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn websocket(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| {
        let (end, task) = (shared.end.clone(), tokio::spawn(talk(socket, shared)));
        end.spawn(async move {
            let _ = task.await;
        });
    })
}

/// Talks to one client until the client has gone, or until the program closes its connections.
async fn talk(mut socket: WebSocket, shared: Shared) {
    let line = shared.color.line();
    let mut ticks = interval(shared.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            _ = ticks.tick() => socket.send(Message::text(line.as_str())).await,
            // Reading answers pings and closes; anything else that arrives is ignored.
            received = socket.recv() => match received {
                Some(received) => received.map(|_| ()),
                None => return,
            },
            () = shared.end.closing() => {
                let frame = CloseFrame { code: close_code::AWAY, reason: "the server ends".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let reply = router.clone().oneshot(request).await.unwrap();
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn settings(more: &'static str) -> Settings {
        Settings::read(|name| match name {
            "COLOR" => Some("123e45".into()),
            _ => more.split_once('=').filter(|(known, _)| *known == name).map(|(_, text)| text.into()),
        })
        .unwrap()
    }

    #[tokio::test]
    async fn answers_with_its_color() {
        let router = router(&settings(""), End::default());
        let (status, page) = ask(&router, "/").await;
        assert!(status == StatusCode::OK && page.contains("<h1>#123e45</h1>"), "{page}");
        assert_eq!(ask(&router, "/any/path").await.1, page);
        assert_eq!(ask(&router, "/color").await.1, "#123e45\n");
    }

    #[tokio::test(start_paused = true)]
    async fn is_ready_after_its_time_and_until_it_ends() {
        let end = End::default();
        let router = router(&settings("READY_AFTER_MS=3000"), end.clone());
        assert_eq!(ask(&router, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(ask(&router, "/ready").await.0, StatusCode::OK);
        end.close();
        assert_eq!(ask(&router, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&router, "/live").await.0, StatusCode::OK);
    }
}
