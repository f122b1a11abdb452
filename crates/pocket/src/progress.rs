//! Messages from a starting daemon to its starter: lines of JSON on its standard output, or text in the foreground.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::lock::Record;

/// Message of a starting daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Step that was completed.
    Step(String),
    /// Readiness of the cluster, with the record of its daemon.
    Ready(Record),
    /// Notice that another daemon has the state directory.
    Already,
    /// Failure of the start, with its reason.
    Failed(String),
}

/// Receiver of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Audience {
    /// Waiting `up`.
    Program,
    /// Person at a terminal.
    Person,
}

impl Audience {
    /// Sends a message. Fails when the receiver is gone.
    pub(crate) fn send(self, message: &Message) -> io::Result<()> {
        let line = match (self, message) {
            (Self::Program, message) => serde_json::to_string(message)?,
            (Self::Person, Message::Step(step)) => step.clone(),
            (Self::Person, Message::Ready(record)) => {
                format!("ready: {} (Ctrl-C ends it)", record.server.as_deref().unwrap_or_default())
            }
            (Self::Person, Message::Already) => "the cluster is up already".to_owned(),
            (Self::Person, Message::Failed(why)) => format!("error: {why}"),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}
