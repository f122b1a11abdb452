//! Terminal: its size, its characters, and lines that fit it.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal},
    sync::OnceLock,
};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Set of characters that may be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Ascii,
}

/// Room for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Number of columns of the terminal. `None`: the answer goes to a file or a pipe, where lines have any length.
    pub(crate) columns: Option<usize>,
    /// Number of rows of the terminal.
    pub(crate) rows: Option<usize>,
    pub(crate) charset: Charset,
}

impl Charset {
    /// Returns the characters of the locale: the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set decides, as in POSIX.
    pub(crate) fn of_locale() -> Self {
        static CHARSET: OnceLock<Charset> = OnceLock::new();
        *CHARSET
            .get_or_init(|| Self::new(["LC_ALL", "LC_CTYPE", "LANG"].map(|name| env::var(name).unwrap_or_default())))
    }

    fn new(locales: [String; 3]) -> Self {
        let locale = locales.into_iter().find(|locale| !locale.is_empty()).unwrap_or_default().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Self::Utf8 } else { Self::Ascii }
    }

    /// Writes the text in these characters. Drawings become those of ASCII; any other character, as of a name, stays.
    pub(crate) fn write(self, text: &str) -> Cow<'_, str> {
        if self == Self::Utf8 || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut written = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '├' => written.push('|'),
                '└' => written.push('`'),
                '│' => written.push('|'),
                '─' | '–' => written.push('-'),
                '█' => written.push('#'),
                '░' => written.push('.'),
                '→' => written.push_str("->"),
                '…' => written.push_str("..."),
                '×' => written.push('x'),
                other => written.push(other),
            }
        }
        Cow::Owned(written)
    }

    fn ellipsis(self) -> &'static str {
        match self {
            Self::Utf8 => "…",
            Self::Ascii => "...",
        }
    }
}

impl Room {
    /// Returns the room of standard output.
    pub(crate) fn of_stdout() -> Self {
        let size = io::stdout().is_terminal().then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        let of = |cells: u16| Some(usize::from(cells)).filter(|cells| *cells > 0);
        Self {
            columns: size.and_then(|size| of(size.ws_col)),
            rows: size.and_then(|size| of(size.ws_row)),
            charset: Charset::of_locale(),
        }
    }

    /// Returns the text in the characters of the locale, each line cut where the terminal ends.
    pub(crate) fn cut(&self, text: &str) -> String {
        let text = self.charset.write(text);
        let Some(columns) = self.columns else { return text.into_owned() };
        text.lines().map(|line| format!("{}\n", cut(line, columns, self.charset))).collect()
    }

    /// Returns the text in the characters of the locale. Each line that is too long continues below, indented.
    pub(crate) fn wrap(&self, text: &str) -> String {
        let text = self.charset.write(text);
        let Some(columns) = self.columns else { return text.into_owned() };
        text.lines().map(|line| wrap(line, columns)).collect()
    }
}

/// Returns the number of columns that a text takes. Codes of colors take none.
pub(crate) fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// Cuts a line to the given number of columns. A line that was cut ends with an ellipsis. Codes of colors stay.
pub(crate) fn cut(line: &str, columns: usize, charset: Charset) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let ellipsis = charset.ellipsis();
    let room = columns.saturating_sub(ellipsis.width());
    let (mut taken, mut text, mut rest) = (0, String::new(), line);
    while let Some(c) = rest.chars().next() {
        let code = code(rest);
        if code > 0 {
            text.push_str(&rest[..code]);
            rest = &rest[code..];
            continue;
        }
        let cells = c.width().unwrap_or(0);
        if taken + cells > room {
            break;
        }
        taken += cells;
        text.push(c);
        rest = &rest[c.len_utf8()..];
    }
    text.extend(ellipsis.chars().take(columns));
    // The codes behind the cut end those that began before it.
    while !rest.is_empty() {
        let code = code(rest);
        text.push_str(&rest[..code]);
        rest = &rest[code.max(rest.chars().next().map_or(1, char::len_utf8))..];
    }
    text
}

/// Returns the length in bytes of the code of a color at the beginning of a text: `ESC [ … m`.
fn code(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    rest.find(|c: char| c.is_ascii_alphabetic()).map_or(text.len(), |end| end + 3)
}

/// Breaks a line between words into as many lines as needed. Each line after the first is indented two columns more.
fn wrap(line: &str, columns: usize) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    if width(line) <= columns || columns < indent + 20 {
        return format!("{line}\n");
    }
    let below = " ".repeat(indent + 2);
    let (mut text, mut current) = (String::new(), " ".repeat(indent));
    let mut is_empty = true;
    for word in line.trim_start_matches(' ').split(' ') {
        if !is_empty && width(&current) + 1 + width(word) > columns {
            text.push_str(current.trim_end_matches(' '));
            text.push('\n');
            (current, is_empty) = (below.clone(), true);
        }
        if !is_empty {
            current.push(' ');
        }
        current.push_str(word);
        is_empty = false;
    }
    format!("{text}{current}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_that_is_set_decides() {
        let of = |all: &str, ctype: &str, lang: &str| Charset::new([all, ctype, lang].map(str::to_owned));
        assert_eq!(of("", "", "en_US.UTF-8"), Charset::Utf8);
        assert_eq!(of("", "C.utf8", "C"), Charset::Utf8);
        assert_eq!(of("C", "en_US.UTF-8", "en_US.UTF-8"), Charset::Ascii);
        assert_eq!(of("POSIX", "", ""), Charset::Ascii);
        assert_eq!(of("", "", ""), Charset::Ascii);
    }

    #[test]
    fn drawings_have_a_form_in_ascii() {
        assert_eq!(Charset::Ascii.write("├─ a\n│  └─ █░ v1 → v2 ×3 …"), "|- a\n|  `- #. v1 -> v2 x3 ...");
        assert_eq!(Charset::Ascii.write("é"), "é", "no drawing");
        assert_eq!(Charset::Utf8.write("├─ a"), "├─ a");
    }

    #[test]
    fn a_cut_line_ends_with_an_ellipsis_and_its_colors() {
        assert_eq!(cut("12345", 5, Charset::Utf8), "12345");
        assert_eq!(cut("123456", 5, Charset::Utf8), "1234…");
        assert_eq!(cut("123456", 5, Charset::Ascii), "12...");
        assert_eq!(cut("123456", 1, Charset::Ascii), ".");
        assert_eq!(cut("\x1b[1m123456\x1b[0m!", 5, Charset::Utf8), "\x1b[1m1234…\x1b[0m");
        assert_eq!(cut("日本語", 5, Charset::Utf8), "日本…", "each takes two columns");
        assert_eq!(width("\x1b[1m日本\x1b[0m"), 4);
    }

    #[test]
    fn a_long_line_goes_on_below() {
        let words = "  one two three four five six seven eight nine";
        assert_eq!(wrap(words, 24), "  one two three four\n    five six seven eight\n    nine\n");
        assert_eq!(wrap(words, 10), format!("{words}\n"), "too narrow");
        assert_eq!(wrap("short", 24), "short\n");
    }

    #[test]
    fn a_pipe_has_any_length() {
        let room = Room { columns: None, rows: None, charset: Charset::Utf8 };
        let long = "x ".repeat(200);
        assert_eq!((room.cut(&long), room.wrap(&long)), (long.clone(), long.clone()));
        let room = Room { columns: Some(10), ..room };
        assert_eq!(room.cut("1234567890123\nx\n"), "123456789…\nx\n");
    }
}
