//! Watches: one JSON line per event, from a resource version on.
//!
//! A watcher holds a position in its kind's history and continues to read at each change, so a slow watcher costs only its
//! position. When the history no longer has the position, the watcher gets 410.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::present::{self, Form, IncludeObject};
use crate::{
    Api, convert,
    json::{object, to_bytes},
    request::{Query, Selection, Target},
    status::Status,
    store::{Event, EventKind, Expired, Stored, in_namespace},
    time::now,
};

/// Bytes of lines that are sent together, unless one line is longer.
const CHUNK: usize = 32 << 10;
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Shortest duration of a watch whose client sets no timeout; the longest is twice as long.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);

/// Handles GET of a collection with `watch=true`.
pub(crate) fn watch(api: &Api, target: &Target, query: &Query, form: Form) -> Result<Response, Status> {
    let selection = Selection::new(target, query)?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let start = Start::of(query)?;
    let timeout = match query.number::<u64>("timeoutSeconds")?.filter(|seconds| *seconds > 0) {
        Some(seconds) => Duration::from_secs(seconds.min(86_400)),
        None => MIN_TIMEOUT.mul_f64(rand::rng().random_range(1.0..2.0)),
    };
    let storage = target.resource.storage.clone();
    let mut watcher = Watcher {
        changed: api.store().subscribe(&storage),
        api: api.clone(),
        target: target.clone(),
        selection,
        form,
        include: IncludeObject::of(query),
        bookmarks,
        columns_sent: false,
        position: 0,
        ready: VecDeque::new(),
        state: WatchState::Open,
        bookmark_at: Instant::now() + BOOKMARK_EVERY,
        end_at: Instant::now() + timeout,
    };
    watcher.start(&start);
    let stream = futures::stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), watcher))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Beginning of a watch.
enum Start {
    /// Starts with the existing objects as if they were just added; a streaming list then gets a bookmark that marks their end.
    Everything { marked: bool },
    /// Starts after this revision.
    After(u64),
    /// Starts now.
    Now,
}

impl Start {
    fn of(query: &Query) -> Result<Self, Status> {
        let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let matching = query.get("resourceVersionMatch");
        let forbidden = |why: &str| {
            Err(Status::new(
                http::StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                format!("ListOptions.meta.k8s.io \"\" is invalid: {why}"),
            ))
        };
        match (initial, matching) {
            (Some(_), Some("NotOlderThan")) | (None, None) => {}
            (Some(_), _) => {
                return forbidden(
                    "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            (None, Some(_)) => {
                return forbidden(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
        }
        let text = query.get("resourceVersion").unwrap_or("0");
        let revision: u64 = text
            .parse()
            .map_err(|_| Status::bad_request(format!("invalid resource version \"{text}\": must be a number")))?;
        Ok(match (initial, revision) {
            (Some(true), _) => Self::Everything { marked: true },
            (Some(false), 0) => Self::Now,
            (None, 0) => Self::Everything { marked: false },
            (_, revision) => Self::After(revision),
        })
    }
}

enum WatchState {
    Open,
    Ended,
}

struct Watcher {
    api: Api,
    target: Target,
    selection: Selection,
    form: Form,
    include: IncludeObject,
    bookmarks: bool,
    /// Whether the columns have been sent: a watch of rows sends them with the first row only.
    columns_sent: bool,
    /// Revision up to which everything was sent.
    position: u64,
    ready: VecDeque<Bytes>,
    changed: watch::Receiver<u64>,
    state: WatchState,
    bookmark_at: Instant,
    end_at: Instant,
}

impl Watcher {
    fn start(&mut self, start: &Start) {
        match start {
            Start::After(revision) => self.position = *revision,
            Start::Now => self.position = self.api.store().revision(),
            Start::Everything { marked } => {
                let (objects, revision) = self.api.store().snapshot(&self.target.resource.storage);
                let namespace = self.selection.namespace().map(str::to_owned);
                for stored in in_namespace(&objects, namespace.as_deref()) {
                    if self.selection.matches(stored) {
                        self.push("ADDED", stored);
                    }
                }
                self.position = revision;
                if *marked && self.bookmarks {
                    self.push_bookmark(true);
                }
            }
        }
    }

    /// Returns the next bytes to send; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.chunk() {
                return Some(chunk);
            }
            if matches!(self.state, WatchState::Ended) {
                return None;
            }
            self.changed.borrow_and_update();
            match self.api.store().events_after(&self.target.resource.storage, self.position) {
                Ok((events, revision)) => {
                    for event in events {
                        self.push_event(&event);
                    }
                    // A client may start from a later revision than the newest one: then nothing is new to it yet.
                    self.position = self.position.max(revision);
                }
                Err(expired) => self.push_expired(expired),
            }
            if !self.ready.is_empty() {
                continue;
            }
            let bookmark = async {
                match self.bookmarks {
                    true => sleep_until(self.bookmark_at).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        self.state = WatchState::Ended;
                    }
                }
                () = bookmark => {
                    self.bookmark_at += BOOKMARK_EVERY;
                    self.push_bookmark(false);
                }
                () = sleep_until(self.end_at) => {
                    if self.bookmarks {
                        self.push_bookmark(false);
                    }
                    self.state = WatchState::Ended;
                }
            }
        }
    }

    /// Returns ready lines, several at a time: each chunk is a write on the server's side and a read on the client's.
    fn chunk(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        if self.ready.is_empty() {
            return Some(first);
        }
        let mut chunk = Vec::from(first);
        while let Some(line) = self.ready.front().filter(|line| chunk.len() + line.len() <= CHUNK) {
            chunk.extend_from_slice(line);
            self.ready.pop_front();
        }
        Some(chunk.into())
    }

    /// Adds an event as it looks through the selection: an object may enter or leave the selection.
    fn push_event(&mut self, event: &Event) {
        let now = event.kind != EventKind::Deleted && self.selection.matches(&event.object);
        let before = event.before.as_ref().is_some_and(|before| self.selection.matches(before));
        match (before, now) {
            (false, true) => self.push("ADDED", &event.object),
            (true, true) => self.push("MODIFIED", &event.object),
            (true, false) if event.kind == EventKind::Deleted => self.push("DELETED", &event.object),
            (true, false) => {
                // The object left the selection: the client gets the state that it knows, at the revision at which the object left.
                let Some(before) = &event.before else { return };
                let mut last = before.value();
                object(&mut last, "metadata")
                    .insert("resourceVersion".into(), json!(event.object.revision.to_string()));
                let fields = &self.target.resource.storage.fields;
                let last = Arc::new(Stored::new(before.key.clone(), &last, event.object.revision, fields));
                self.push("DELETED", &last);
            }
            (false, false) => {}
        }
    }

    fn push(&mut self, type_: &str, stored: &Arc<Stored>) {
        let resource = &self.target.resource;
        let object = match self.form {
            Form::Whole => convert::bytes(resource, stored),
            Form::Metadata => to_bytes(&present::metadata_only(&stored.value())),
            Form::Table { version } => {
                let columns = match std::mem::replace(&mut self.columns_sent, true) {
                    true => json!([]),
                    false => present::columns(resource),
                };
                let rows = vec![present::row(resource, convert::value(resource, stored), self.include)];
                let metadata = json!({"resourceVersion": stored.revision.to_string()});
                to_bytes(&present::table(version, &metadata, &columns, rows))
            }
        };
        self.push_line(type_, &object);
    }

    fn push_bookmark(&mut self, initial_events_end: bool) {
        let resource = &self.target.resource;
        let mut metadata = json!({"resourceVersion": self.position.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
        let shown = match self.form {
            Form::Whole => object,
            Form::Metadata => present::metadata_only(&object),
            Form::Table { version } => {
                let metadata = json!({"resourceVersion": self.position.to_string()});
                let rows = json!([{"cells": [], "object": present::metadata_only(&object)}]);
                let rows = rows.as_array().cloned().unwrap_or_default();
                present::table(version, &metadata, &json!([]), rows)
            }
        };
        self.push_line("BOOKMARK", &to_bytes(&shown));
    }

    fn push_expired(&mut self, expired: Expired) {
        let text = format!("too old resource version: {} ({})", self.position, expired.oldest);
        let status: Value = Status::expired(text).to_json();
        self.push_line("ERROR", &to_bytes(&status));
        self.state = WatchState::Ended;
        tracing::debug!(at = now(), position = self.position, "a watch was left behind");
    }

    fn push_line(&mut self, type_: &str, object: &[u8]) {
        let mut line = Vec::with_capacity(object.len() + 40);
        line.extend_from_slice(b"{\"type\":\"");
        line.extend_from_slice(type_.as_bytes());
        line.extend_from_slice(b"\",\"object\":");
        line.extend_from_slice(object);
        line.extend_from_slice(b"}\n");
        self.ready.push_back(line.into());
    }
}
