//! Logs that are read line by line.

use std::pin::Pin;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use rainbow_api::HumanDuration;
use tokio::sync::mpsc;

use super::choice::Source;
use crate::{
    context::Cluster,
    error::{Error, Result},
};

/// Number of lines that are read before they are printed.
const AHEAD: usize = 256;

/// Options of a log: which part is read, and how.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) since: Option<HumanDuration>,
    pub(super) tail: Option<i64>,
    pub(super) previous: bool,
    pub(super) timestamps: bool,
}

impl Options {
    /// Returns the options for a pod that was made after the start.
    pub(super) fn of_new(&self) -> Self {
        Self { since: None, tail: None, ..self.clone() }
    }

    fn params(&self, source: &Source, follow: bool) -> LogParams {
        LogParams {
            container: Some(source.container.clone()),
            follow,
            previous: self.previous,
            // The API takes whole seconds, and refuses 0.
            since_seconds: self.since.map(|since| i64::try_from(since.0.as_secs()).unwrap_or(i64::MAX).max(1)),
            tail_lines: self.tail,
            timestamps: self.timestamps,
            ..LogParams::default()
        }
    }
}

/// Log that is read. A followed log ends when its container ends.
pub(super) struct Log(Pin<Box<dyn AsyncBufRead + Send>>);

impl Log {
    pub(super) async fn open(cluster: &Cluster, source: &Source, options: &Options, follow: bool) -> Result<Self> {
        let params = options.params(source, follow);
        let log = cluster.api::<Pod>().log_stream(&source.pod, &params).await.map_err(|error| cluster.error(&error))?;
        Ok(Self(Box::pin(log)))
    }

    /// Returns the next line, without its end. A log may hold any bytes, so the line need not be text.
    pub(super) async fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.0.read_until(b'\n', &mut line).await;
        if read.map_err(|error| Error::failed("the log has broken off", error))? == 0 {
            return Ok(None);
        }
        line.pop_if(|last| *last == b'\n');
        Ok(Some(line))
    }
}

/// Event of a followed log.
pub(super) enum Event {
    Line(Source, Vec<u8>),
    Failed(Source, Error),
    Ended,
}

/// Logs that are followed at the same time.
pub(super) struct Streams {
    cluster: Cluster,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    open: usize,
}

impl Streams {
    pub(super) fn new(cluster: Cluster) -> Self {
        let (sender, events) = mpsc::channel(AHEAD);
        Self { cluster, events, sender, open: 0 }
    }

    /// Follows one more log.
    pub(super) fn open(&mut self, source: Source, options: Options) {
        self.open += 1;
        let (cluster, sender) = (self.cluster.clone(), self.sender.clone());
        tokio::spawn(async move {
            // A closed receiver means that the program ends.
            if let Err(error) = follow(&cluster, &source, &options, &sender).await {
                let _ = sender.send(Event::Failed(source, error)).await;
            }
            let _ = sender.send(Event::Ended).await;
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Waits for the next event.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if matches!(event, Some(Event::Ended)) {
            self.open = self.open.saturating_sub(1);
        }
        event
    }
}

async fn follow(cluster: &Cluster, source: &Source, options: &Options, sender: &mpsc::Sender<Event>) -> Result {
    let mut log = Log::open(cluster, source, options, true).await?;
    while let Some(line) = log.line().await? {
        let _ = sender.send(Event::Line(source.clone(), line)).await;
    }
    Ok(())
}
