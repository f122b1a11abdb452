//! What a starting daemon tells whoever started it: lines of JSON on its standard output, or text in the foreground.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::lock::Record;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Something was done.
    Step(String),
    /// The cluster is ready.
    Ready(Record),
    /// Another daemon has the state directory.
    Already,
    /// It does not work.
    Failed(String),
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Audience {
    /// A waiting `up`.
    Program,
    /// Somebody at a terminal.
    Person,
}

impl Audience {
    /// Tells a message. An error means that nobody listens any more.
    pub(crate) fn tell(self, message: &Message) -> io::Result<()> {
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
