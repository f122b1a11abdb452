//! Printer of the terminal's output: answers go to standard output, everything else to standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process,
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

use crate::{
    live,
    terminal::{Charset, Room, cut, width},
};

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

/// Style of a good state.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of an activity.
pub(crate) const BUSY: Style = AnsiColor::Yellow.on_default();
/// Style of a bad state.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of names.
pub(crate) const NAME: Style = Style::new().bold();
/// Style of less important text.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Number of spaces between two columns of a table.
const GAP: usize = 3;
/// Number of columns that a cell keeps when it is shortened.
const NARROWEST: usize = 8;

/// Printer of a command. The stream removes colors where they are not wanted.
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

    /// Prints a line of the answer.
    pub(crate) fn line(&self, text: impl Display) {
        self.text(format_args!("{text}\n"));
    }

    /// Prints a part of the answer, as it is.
    pub(crate) fn text(&self, text: impl Display) {
        live::clear();
        let mut out = anstream::stdout().lock();
        if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
            unheard(&error);
        }
    }

    /// Prints a line of another program, as it is, behind a prefix of this program.
    pub(crate) fn raw(&self, prefix: impl Display, line: &[u8]) {
        live::clear();
        let mut text = uncolored(prefix.to_string()).into_bytes();
        text.extend_from_slice(line);
        text.push(b'\n');
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(&text).and_then(|()| out.flush()) {
            unheard(&error);
        }
    }

    /// Prints a drawn answer: lines end where the terminal does, and the locale decides the characters.
    pub(crate) fn drawn(&self, text: &str) {
        self.text(Room::of_stdout().cut(text));
    }

    /// Prints an answer in sentences: lines that are too long for the terminal continue below.
    pub(crate) fn sentences(&self, text: &str) {
        self.text(Room::of_stdout().wrap(text));
    }

    /// Sets the current activity. It is shown if it takes long and the terminal allows it, until something is printed.
    pub(crate) fn doing(&self, what: impl Display) {
        if !self.quiet {
            live::doing(what.to_string());
        }
    }

    /// Returns whether a line of progress can be drawn over again and again.
    pub(crate) fn is_live(&self) -> bool {
        !self.quiet && live::is_possible()
    }

    /// Prints a line about the progress. `--quiet` drops it.
    pub(crate) fn progress(&self, text: impl Display) {
        if !self.quiet {
            to_stderr(text);
        }
    }

    /// Prints a line that only `--verbose` shows.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.verbose {
            to_stderr(format_args!("{DIM}{text}{DIM:#}"));
        }
    }

    /// Prints a problem that does not stop the command.
    pub(crate) fn warning(&self, text: impl Display) {
        to_stderr(format_args!("{BUSY}warning:{BUSY:#} {text}"));
    }

    /// Prints why the command failed.
    pub(crate) fn error(&self, text: impl Display) {
        to_stderr(format_args!("{BAD}error:{BAD:#} {text}"));
    }

    /// Returns whether a text can be drawn over: the answer goes to a terminal that can do so.
    pub(crate) fn can_redraw(&self) -> bool {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// Ends the process, because the answer cannot be written.
fn unheard(error: &io::Error) -> ! {
    // The reader has closed the pipe, as with `| head`, so an error has no reader either.
    if error.kind() == io::ErrorKind::BrokenPipe {
        process::exit(0);
    }
    to_stderr(format_args!("{BAD}error:{BAD:#} cannot write the answer to standard output: {error}"));
    process::exit(1)
}

/// Writes a line to standard error. A failure is ignored: a closed standard error has no reader.
fn to_stderr(text: impl Display) {
    live::clear();
    let text = text.to_string();
    let _ = writeln!(anstream::stderr().lock(), "{}", Charset::of_locale().write(&text));
}

/// Text on the terminal that the next one replaces.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    lines: usize,
    is_resized: bool,
}

impl Screen {
    /// Notes a new size of the terminal, which may have broken the lines of the last text: the next text begins on an empty screen.
    pub(crate) fn resized(&mut self) {
        self.is_resized = true;
    }

    /// Replaces the last text. Where nothing can be drawn over, the text is printed below.
    pub(crate) fn draw(&mut self, printer: Printer, text: &str) {
        if !printer.can_redraw() {
            return printer.drawn(text);
        }
        live::clear();
        let room = Room::of_stdout();
        let text = room.cut(&cropped(text, room.rows.unwrap_or(0)));
        // Without colors, too, one text replaces the other, so only the text's own codes are removed.
        let text = uncolored(text);
        let clear = if std::mem::take(&mut self.is_resized) { "\x1b[H\x1b[2J" } else { "" };
        let frame = format!("{clear}{}", frame(&text, if clear.is_empty() { self.lines } else { 0 }));
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(frame.as_bytes()).and_then(|()| out.flush()) {
            unheard(&error);
        }
        self.lines = text.lines().count();
    }
}

/// Returns the text without the codes of its colors, where standard output takes none.
fn uncolored(text: String) -> String {
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(&text).to_string(),
        _ => text,
    }
}

/// Returns as many lines as the terminal has rows: a line that has left it at the top cannot be drawn over.
fn cropped(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if rows < 2 || lines.len() < rows {
        return text.to_owned();
    }
    // The cursor is on the line below the text, and one line says how many lines are missing.
    let shown = rows - 2;
    format!("{}\n{DIM}… {} more lines{DIM:#}\n", lines[..shown].join("\n"), lines.len() - shown)
}

/// Returns the codes that put a text in the place of the last one. Long lines end at the edge, because a line that continued in a second row
/// would be counted as one. Each line is written over before the rest of it is cleared, so nothing flickers.
fn frame(text: &str, last_lines: usize) -> String {
    let up = if last_lines > 0 { format!("\x1b[{last_lines}A") } else { String::new() };
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("{up}\x1b[?7l{lines}\x1b[?7h\x1b[J")
}

/// Aligns rows in columns, as `kubectl get` does. Cells may have colors.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let room = Room { columns: None, rows: None, charset: Charset::Utf8 };
    table_within(header, rows, &[], room)
}

/// Returns a table that fits the room, if the flexible columns are wide enough to be shortened.
pub(crate) fn table_within(header: &[&str], rows: &[Vec<String>], flexible: &[usize], room: Room) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
    let mut widths: Vec<usize> = (0..header.len()).map(|column| widest(column).unwrap_or_default()).collect();
    let takes = |widths: &[usize], gap: usize| widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1);
    let columns = room.columns.unwrap_or(usize::MAX);
    let gap = if takes(&widths, GAP) > columns { GAP - 1 } else { GAP };
    while takes(&widths, gap) > columns {
        let widest = flexible.iter().copied().filter(|column| widths[*column] > NARROWEST);
        let Some(widest) = widest.max_by_key(|column| widths[*column]) else { break };
        widths[widest] -= 1;
    }
    let line = |row: &Vec<String>| {
        let cell = |(cell, wide): (&String, &usize)| {
            let cell = cut(cell, *wide, room.charset);
            format!("{cell}{}", " ".repeat(wide.saturating_sub(width(&cell))))
        };
        let cells: Vec<String> = row.iter().zip(&widths).map(cell).collect();
        format!("{}\n", cells.join(&" ".repeat(gap)).trim_end())
    };
    rows.into_iter().map(line).collect()
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

    #[test]
    fn a_narrow_table_cuts_what_may_give_way() {
        let rows = [vec!["a".to_owned(), "x".repeat(30), "y".repeat(20)]];
        let at = |room| table_within(&["N", "X", "Y"], &rows, &[1, 2], crate::golden::room(room));
        assert!(at(57).contains(&format!("a   {}   {}", "x".repeat(30), "y".repeat(20))));
        let narrow = at(40);
        assert!(narrow.lines().all(|line| width(line) <= 40), "{narrow}");
        assert!(narrow.contains("a  xxxxx") && narrow.contains("xxx") && narrow.contains("yyy"), "{narrow}");
        assert!(
            at(10).lines().all(|line| width(line) == 1 + 2 * 2 + 2 * NARROWEST || line.starts_with('N')),
            "{}",
            at(10)
        );
    }

    #[test]
    fn colors_take_no_room() {
        let rows = [vec![format!("{GOOD}a{GOOD:#}"), "x".to_owned()], vec!["bb".into(), "y".into()]];
        assert_eq!(anstream::adapter::strip_str(&table(&["N", "Z"], &rows)).to_string(), "N    Z\na    x\nbb   y\n");
    }

    #[test]
    fn a_text_takes_the_place_of_the_last() {
        assert_eq!(frame("a\n", 0), "\x1b[?7la\x1b[K\n\x1b[?7h\x1b[J");
        assert_eq!(frame("a\nb\n", 3), "\x1b[3A\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[?7h\x1b[J");
    }

    #[test]
    fn a_text_is_no_longer_than_the_terminal() {
        let shown = |rows| anstream::adapter::strip_str(&cropped("1\n2\n3\n4\n", rows)).to_string();
        assert_eq!(shown(0), "1\n2\n3\n4\n", "unknown");
        assert_eq!(shown(5), "1\n2\n3\n4\n");
        assert_eq!(shown(4), "1\n2\n… 2 more lines\n");
    }
}
