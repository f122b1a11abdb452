//! What goes to the terminal: answers to standard output, everything else to standard error.

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

/// Spaces between two columns of a table.
const GAP: usize = 3;
/// Columns that a cell keeps when it gives way.
const NARROWEST: usize = 8;

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
        live::clear();
        let mut out = anstream::stdout().lock();
        if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
            unheard(&error);
        }
    }

    /// A line of another program's, as it is, behind a prefix of ours.
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

    /// A drawn answer: lines end where the terminal does, and the locale decides the characters.
    pub(crate) fn drawn(&self, text: &str) {
        self.text(Room::of_stdout().cut(text));
    }

    /// An answer in sentences: lines that are too long for the terminal go on below.
    pub(crate) fn sentences(&self, text: &str) {
        self.text(Room::of_stdout().wrap(text));
    }

    /// What is being done from now on. It is shown if it takes long and the terminal can: until something is printed.
    pub(crate) fn doing(&self, what: impl Display) {
        if !self.quiet {
            live::doing(what.to_string());
        }
    }

    /// Whether a line of progress can be written over and over again.
    pub(crate) fn is_live(&self) -> bool {
        !self.quiet && live::is_possible()
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

    /// Whether a text can be drawn over: the answer goes to a terminal that can.
    pub(crate) fn can_redraw(&self) -> bool {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// The end, since the answer cannot be written.
fn unheard(error: &io::Error) -> ! {
    // The reader has gone, as with `| head`: nobody is left to tell anything.
    if error.kind() == io::ErrorKind::BrokenPipe {
        process::exit(0);
    }
    to_stderr(format_args!("{BAD}error:{BAD:#} cannot write the answer to standard output: {error}"));
    process::exit(1)
}

/// Standard error may be closed; then there is nobody to tell.
fn to_stderr(text: impl Display) {
    live::clear();
    let text = text.to_string();
    let _ = writeln!(anstream::stderr().lock(), "{}", Charset::of_locale().write(&text));
}

/// A text on the terminal that is drawn over by the next one.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    lines: usize,
    is_resized: bool,
}

impl Screen {
    /// The terminal has another size: it may have broken the lines of the last text, so the next one begins on an empty screen.
    pub(crate) fn resized(&mut self) {
        self.is_resized = true;
    }

    /// Replaces the last text. Where nothing can be drawn over, it is printed below.
    pub(crate) fn draw(&mut self, printer: Printer, text: &str) {
        if !printer.can_redraw() {
            return printer.drawn(text);
        }
        live::clear();
        let room = Room::of_stdout();
        let text = room.cut(&cropped(text, room.rows.unwrap_or(0)));
        // Without colors, too, one text takes the place of the other: only the text's own codes are taken out.
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

/// The text without the codes of its colors, where standard output takes none.
fn uncolored(text: String) -> String {
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(&text).to_string(),
        _ => text,
    }
}

/// As many lines as the terminal has: what has left it at the top cannot be drawn over.
fn cropped(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if rows < 2 || lines.len() < rows {
        return text.to_owned();
    }
    // The cursor is on the line below the text, and one line says what is missing.
    let shown = rows - 2;
    format!("{}\n{DIM}… {} more lines{DIM:#}\n", lines[..shown].join("\n"), lines.len() - shown)
}

/// The codes that put a text in the place of the last one. Long lines end at the edge: one that went on in a second row
/// would be counted as one. Nothing is cleared before it is written over, so nothing flickers.
fn frame(text: &str, last_lines: usize) -> String {
    let up = if last_lines > 0 { format!("\x1b[{last_lines}A") } else { String::new() };
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("{up}\x1b[?7l{lines}\x1b[?7h\x1b[J")
}

/// Rows in columns, as `kubectl get` prints them. Cells may have colors.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let room = Room { columns: None, rows: None, charset: Charset::Utf8 };
    table_within(header, rows, &[], room)
}

/// A table that fits the room, if the columns that may give way are wide enough for that.
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
