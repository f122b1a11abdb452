//! Objects of one kind: first all that exist, then their changes.
//!
//! kube's own `watcher` does the same, but streams a list from the API server's cache, however old the cache is (version `0`), has one
//! timeout for lists and watches, and ends where the API server refuses to stream.

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{
    Client, Error,
    api::{ListParams, Request, WatchEvent, WatchParams},
    core::Status,
};
use serde::Deserialize;
use std::{time::Duration, vec};
use tokio::time::timeout;

use super::WATCH;
use crate::{change::Change, live::Shown, messages};

/// Number of objects in a page of a list. A page is in memory twice, as text and as objects, and there is one for each kind at a time.
const PAGE: u32 = 100;
/// Longest time of a streamed list. A list that takes longer comes in pages.
const LIST: Duration = Duration::from_secs(600);
/// Time by which the API server may end a watch later than requested.
const MARGIN: Duration = Duration::from_secs(5);
/// Annotation of the bookmark that ends a streamed list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// Selection of objects to watch.
pub(super) struct Watched {
    pub(super) client: Client,
    /// Path of the kind, in one namespace or in all.
    pub(super) path: String,
    pub(super) labels: Option<String>,
    pub(super) part: Part,
}

/// Part of each object that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// Metadata only: the data never leaves the API server.
    Metadata,
}

impl Watched {
    /// Watches from a version on. With `initial`, all objects come first, in a state that is at least as new as that version.
    async fn watch<T: Shown>(&self, time: Duration, initial: bool, version: &str) -> Result<Events<T>, Error> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            timeout: u32::try_from(time.as_secs()).ok(),
            send_initial_events: initial,
            ..WatchParams::default()
        };
        let request = Request::new(&self.path);
        let request = match self.part {
            Part::Whole => request.watch(&params, version),
            Part::Metadata => request.watch_metadata(&params, version),
        }
        .map_err(Error::BuildRequest)?;
        Ok(self.client.request_events(request).await?.boxed())
    }
}

/// Returns changes without end. After an error the next poll continues.
pub(super) fn changes<T: Shown>(watched: Watched) -> impl Stream<Item = Result<Change<T>, Error>> + Send {
    let watcher = Watcher { watched, streams: true, state: State::Start };
    futures::stream::unfold(watcher, |mut watcher| async move {
        let change = watcher.next().await;
        Some((change, watcher))
    })
}

type Events<T> = BoxStream<'static, Result<WatchEvent<T>, Error>>;

enum State<T> {
    /// Nothing is known.
    Start,
    /// A list comes in pages. `version` is set on the last page.
    Pages { items: vec::IntoIter<T>, next: Option<String>, version: Option<String> },
    /// A list is streamed.
    Streamed(Events<T>),
    /// Everything up to this version is known.
    Known(String),
    /// Everything up to this version is known, and later changes are being watched.
    Watching(String, Events<T>),
}

struct Watcher<T> {
    watched: Watched,
    /// Whether lists are streamed, until the API server refuses that or a stream breaks off.
    streams: bool,
    state: State<T>,
}

/// Page of a list.
#[derive(Deserialize)]
#[serde(bound = "T: Shown")]
struct Page<T> {
    metadata: PageMeta,
    /// The API server writes an empty list as `null`.
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl<T: Shown> Watcher<T> {
    async fn next(&mut self) -> Result<Change<T>, Error> {
        loop {
            if let Some(change) = self.step().await? {
                return Ok(change);
            }
        }
    }

    /// Takes one step. An error leaves a state from which the next step continues.
    async fn step(&mut self) -> Result<Option<Change<T>>, Error> {
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start if self.streams => self.start_stream().await,
            State::Start => {
                self.state = State::Pages { items: Vec::new().into_iter(), next: None, version: None };
                Ok(Some(Change::Restarted))
            }
            State::Pages { mut items, next, version } => match (items.next(), version) {
                (Some(item), version) => {
                    self.state = State::Pages { items, next, version };
                    Ok(Some(Change::Listed(item)))
                }
                (None, Some(version)) => {
                    self.state = State::Known(version);
                    Ok(Some(Change::Complete))
                }
                (None, None) => self.page(next).await.map(|()| None),
            },
            State::Streamed(events) => self.streamed(events).await,
            State::Known(version) => {
                match self.watched.watch(WATCH, false, &version).await {
                    Ok(events) => self.state = State::Watching(version, events),
                    Err(error) => {
                        if !is_gone(&error) {
                            self.state = State::Known(version);
                        }
                        return Err(error);
                    }
                }
                Ok(None)
            }
            State::Watching(version, events) => self.watching(version, events).await,
        }
    }

    async fn start_stream(&mut self) -> Result<Option<Change<T>>, Error> {
        // Without a version the API server sends the newest state, as it does for a list.
        match self.watched.watch(LIST, true, "").await {
            Ok(events) => {
                self.state = State::Streamed(events);
                Ok(Some(Change::Restarted))
            }
            // Kubernetes refuses where the feature gate `WatchList` is off: before 1.32 and in 1.33, unless it was turned on.
            Err(Error::Api(status)) => {
                tracing::debug!(path = self.watched.path, %status, "lists come in pages");
                self.streams = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn streamed(&mut self, mut events: Events<T>) -> Result<Option<Change<T>>, Error> {
        let change = match within(WATCH, &mut events).await {
            Some(Ok(WatchEvent::Added(item) | WatchEvent::Modified(item))) => Change::Listed(item),
            Some(Ok(WatchEvent::Bookmark(mark))) if mark.metadata.annotations.contains_key(LIST_ENDS) => {
                self.state = State::Watching(mark.metadata.resource_version, events);
                return Ok(Some(Change::Complete));
            }
            Some(Ok(WatchEvent::Bookmark(_))) => {
                self.state = State::Streamed(events);
                return Ok(None);
            }
            // The next list comes in pages, which cannot break off because of their length.
            Some(Ok(WatchEvent::Error(status))) => {
                self.streams = false;
                return Err(Error::Api(status));
            }
            Some(Err(error)) => {
                self.streams = false;
                return Err(error);
            }
            // A streamed list contains no deletions.
            Some(Ok(WatchEvent::Deleted(_))) | None => {
                self.streams = false;
                return Ok(None);
            }
        };
        self.state = State::Streamed(events);
        Ok(Some(change))
    }

    async fn page(&mut self, next: Option<String>) -> Result<(), Error> {
        let mut list = ListParams::default().limit(PAGE);
        list.label_selector.clone_from(&self.watched.labels);
        list.continue_token = next;
        let request = Request::new(&self.watched.path);
        let request = match self.watched.part {
            Part::Whole => request.list(&list),
            Part::Metadata => request.list_metadata(&list),
        }
        .map_err(Error::BuildRequest)?;
        let page: Page<T> = self.watched.client.request(request).await?;
        let next = page.metadata.next.filter(|token| !token.is_empty());
        let version = page.metadata.resource_version.filter(|_| next.is_none());
        if next.is_none() && version.is_none() {
            return Err(no_version());
        }
        self.state = State::Pages { items: page.items.unwrap_or_default().into_iter(), next, version };
        Ok(())
    }

    async fn watching(&mut self, version: String, mut events: Events<T>) -> Result<Option<Change<T>>, Error> {
        let change = match within(WATCH, &mut events).await {
            Some(Ok(WatchEvent::Added(item) | WatchEvent::Modified(item))) => Change::Seen(item),
            Some(Ok(WatchEvent::Deleted(item))) => Change::Gone(item),
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                self.state = State::Watching(mark.metadata.resource_version, events);
                return Ok(None);
            }
            Some(Ok(WatchEvent::Error(status))) => {
                let error = Error::Api(status);
                if !is_gone(&error) {
                    self.state = State::Watching(version, events);
                }
                return Err(error);
            }
            Some(Err(error)) => {
                self.state = State::Watching(version, events);
                return Err(error);
            }
            None => {
                self.state = State::Known(version);
                return Ok(None);
            }
        };
        let (Change::Seen(item) | Change::Gone(item)) = &change else { return Ok(Some(change)) };
        let Some(version) = item.metadata().resource_version.clone() else { return Err(no_version()) };
        self.state = State::Watching(version, events);
        Ok(Some(change))
    }
}

/// Returns the next event. A connection that has been silent for longer than `time` and a margin counts as ended: its end may have been
/// lost.
async fn within<T>(time: Duration, events: &mut Events<T>) -> Option<Result<WatchEvent<T>, Error>> {
    timeout(time + MARGIN, events.next()).await.ok().flatten()
}

/// Returns whether the version is too old to continue from, so that everything is listed again.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 410)
}

fn no_version() -> Error {
    Error::Api(Status::failure(messages::NO_VERSION, "NoResourceVersion").boxed())
}
