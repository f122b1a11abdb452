//! Line that shows what a command waits for.

use std::time::Instant;

use jiff::Timestamp;

use crate::{
    live,
    printer::{DIM, Printer},
    words,
};

/// Awaited state. On a terminal it is one line, elsewhere a line for each change.
pub(crate) struct Line {
    printer: Printer,
    since: Instant,
    last: String,
}

impl Line {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, since: Instant::now(), last: String::new() }
    }

    /// Shows the awaited state. A countdown changes by itself, and alone is no change.
    pub(crate) fn show(&mut self, text: &str, countdown: &str) {
        let said = words::aged(text, Timestamp::now());
        let countdown = if countdown.is_empty() { String::new() } else { format!(", {countdown}") };
        if self.printer.is_live() {
            let waited = i64::try_from(self.since.elapsed().as_secs()).unwrap_or(i64::MAX);
            let waited = if waited > 0 { format!("  {DIM}{}{DIM:#}", words::seconds(waited)) } else { String::new() };
            live::show(&format!("{said}{countdown}{waited}"));
        } else if text != self.last {
            self.printer.progress(format_args!("{said}{countdown}"));
        }
        text.clone_into(&mut self.last);
    }

    /// Returns the awaited state that was shown last.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }
}
