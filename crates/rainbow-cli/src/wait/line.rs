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
    has_countdown: bool,
}

impl Line {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, since: Instant::now(), last: String::new(), has_countdown: false }
    }

    /// Shows the awaited state.
    pub(crate) fn show(&mut self, text: &str, countdown: &str) {
        let said = words::aged(text, Timestamp::now());
        let is_news = self.is_news(text, countdown);
        let countdown = if countdown.is_empty() { String::new() } else { format!(", {countdown}") };
        if self.printer.is_live() {
            let waited = i64::try_from(self.since.elapsed().as_secs()).unwrap_or(i64::MAX);
            let waited = if waited > 0 { format!("  {DIM}{}{DIM:#}", words::seconds(waited)) } else { String::new() };
            live::show(&format!("{said}{countdown}{waited}"));
        } else if is_news {
            self.printer.progress(format_args!("{said}{countdown}"));
        }
    }

    /// Keeps the state, and returns whether it differs from the last one. A countdown that begins is a change; one that goes on is not.
    fn is_news(&mut self, text: &str, countdown: &str) -> bool {
        let begins = !countdown.is_empty() && !self.has_countdown;
        let is_news = begins || text != self.last;
        self.has_countdown = !countdown.is_empty();
        text.clone_into(&mut self.last);
        is_news
    }

    /// Returns the awaited state that was shown last.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::ColorWhen;

    #[test]
    fn a_countdown_is_news_when_it_begins() {
        let mut line = Line::new(Printer::new(ColorWhen::Never, false, false));
        assert!(line.is_news("1 of 2 pods", ""));
        assert!(line.is_news("1 of 2 pods", "next step in 10m"));
        assert!(!line.is_news("1 of 2 pods", "next step in 9m59s"));
        assert!(line.is_news("2 of 2 pods", ""));
    }
}
