//! What goes to the terminal: answers to standard output, everything else to standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process,
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When to use colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Of a good state.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Of something under way.
pub(crate) const BUSY: Style = AnsiColor::Yellow.on_default();
/// Of a bad state.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Of names.
pub(crate) const NAME: Style = Style::new().bold();
/// Of what matters less.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Prints. Colors are taken out by the stream where they are not wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    quiet: bool,
    verbose: bool,
}

impl Printer {
    pub(crate) fn new(color: ColorWhen, quiet: bool, verbose: bool) -> Self {
        match color {
            ColorWhen::Auto => {}
            ColorWhen::Always => anstream::ColorChoice::Always.write_global(),
            ColorWhen::Never => anstream::ColorChoice::Never.write_global(),
        }
        Self { quiet, verbose }
    }

    /// A line of the answer.
    pub(crate) fn line(&self, text: impl Display) {
        self.text(format_args!("{text}\n"));
    }

    /// A part of the answer, as it is.
    pub(crate) fn text(&self, text: impl Display) {
        let mut out = anstream::stdout().lock();
        if write!(out, "{text}").and_then(|()| out.flush()).is_err() {
            // The reader has gone, as with `| head`: nobody is left to tell anything.
            process::exit(0);
        }
    }

    /// A line about what is going on. `--quiet` drops it.
    pub(crate) fn progress(&self, text: impl Display) {
        if !self.quiet {
            to_stderr(text);
        }
    }

    /// A line that only `--verbose` shows.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.verbose {
            to_stderr(format_args!("{DIM}{text}{DIM:#}"));
        }
    }

    /// Something that is wrong but does not stop the command.
    pub(crate) fn warning(&self, text: impl Display) {
        to_stderr(format_args!("{BUSY}warning:{BUSY:#} {text}"));
    }

    /// Why the command failed.
    pub(crate) fn error(&self, text: impl Display) {
        to_stderr(format_args!("{BAD}error:{BAD:#} {text}"));
    }

    /// Whether a text can be drawn over: the answer goes to a terminal.
    pub(crate) fn can_redraw(&self) -> bool {
        io::stdout().is_terminal()
    }
}

/// Standard error may be closed; then there is nobody to tell.
fn to_stderr(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// A text on the terminal that is drawn over by the next one.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    lines: usize,
}

impl Screen {
    /// Replaces the last text. Where nothing can be drawn over, it is printed below, if it has changed at all.
    pub(crate) fn draw(&mut self, printer: Printer, text: &str) {
        if printer.can_redraw() && self.lines > 0 {
            printer.text(format_args!("\x1b[{}A\x1b[J", self.lines));
        }
        printer.text(text);
        self.lines = text.lines().count();
    }
}

/// Rows in columns, as `kubectl get` prints them.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_straight_columns() {
        let rows = [
            vec!["a".to_owned(), "long value".to_owned(), "x".to_owned()],
            vec!["bbb".into(), String::new(), "y".into()],
        ];
        assert_eq!(
            table(&["N", "VALUE", "Z"], &rows),
            "N     VALUE        Z\na     long value   x\nbbb                y\n"
        );
    }
}
