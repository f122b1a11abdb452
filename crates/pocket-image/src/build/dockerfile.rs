//! Parser of a Dockerfile: lines, continuations, comments, words. Module `run` knows the meaning of the instructions.

use crate::{Error, Result};

/// Instruction of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Number of its first line, from 1.
    pub(super) line: usize,
    /// Name in capitals.
    pub(super) name: String,
    /// Flags before the arguments: `--name=value`.
    pub(super) flags: Vec<(String, String)>,
    /// Remaining text, with continuations joined.
    pub(super) rest: String,
}

/// Parsed Dockerfile.
#[derive(Debug)]
pub(super) struct Dockerfile {
    /// Name for messages.
    pub(super) name: String,
    /// Character that quotes the next one and continues a line.
    pub(super) escape: char,
    pub(super) instructions: Vec<Instruction>,
}

impl Dockerfile {
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut file = Self { name: name.to_owned(), escape: directive(text), instructions: Vec::new() };
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let mut joined = line.trim_start().to_owned();
            if joined.trim_end().is_empty() || joined.starts_with('#') {
                continue;
            }
            while let Some(head) = joined.trim_end().strip_suffix(file.escape) {
                let head = head.to_owned();
                // Comments and empty lines inside a continued instruction are skipped, as in Docker.
                let next = loop {
                    match lines.next() {
                        Some((_, line)) if line.trim().is_empty() || line.trim_start().starts_with('#') => {}
                        other => break other,
                    }
                };
                joined = head;
                match next {
                    Some((_, line)) => joined.push_str(line),
                    None => break,
                }
            }
            let instruction =
                instruction(number + 1, joined.trim()).map_err(|message| file.error(number + 1, message))?;
            file.instructions.push(instruction);
        }
        if file.instructions.is_empty() {
            return Err(file.error(1, "the file has no instructions: it starts with `FROM scratch`, for example"));
        }
        Ok(file)
    }

    pub(super) fn error(&self, line: usize, message: impl Into<String>) -> Error {
        Error::Dockerfile { file: self.name.clone(), line, message: message.into() }
    }
}

/// Returns the character of the `# escape=` directive, which only other directives may precede.
fn directive(text: &str) -> char {
    for line in text.lines() {
        let Some(comment) = line.trim().strip_prefix('#') else { break };
        let Some((key, value)) = comment.split_once('=') else { break };
        if key.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            return '`';
        }
    }
    '\\'
}

fn instruction(line: usize, text: &str) -> Result<Instruction, String> {
    let (name, mut rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut flags = Vec::new();
    rest = rest.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        flags.push((key.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    let name = name.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{name} needs an argument"));
    }
    if matches!(name.as_str(), "COPY" | "ADD" | "RUN") && rest.split_whitespace().any(|word| word.starts_with("<<")) {
        return Err(format!("{name} with a here-document is not supported: put the text into a file and COPY it"));
    }
    Ok(Instruction { line, name, flags, rest: rest.to_owned() })
}

/// Returns the list of a JSON form (`["a", "b"]`), if the text is one.
pub(super) fn json_form(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') { serde_json::from_str(rest).ok() } else { None }
}

/// Splits at white space outside quotes. Quotes and escapes stay; the expansion removes them.
pub(super) fn words(text: &str, escape: char) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quotation mark ({open}) is never closed"));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<(usize, String, String)> {
        let file = Dockerfile::parse("Dockerfile", text).unwrap();
        file.instructions.into_iter().map(|i| (i.line, i.name, i.rest)).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(l, n, r)| (*l, (*n).to_owned(), (*r).to_owned())).collect();
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn lines_are_joined_and_comments_skipped() {
        check("# syntax=docker/dockerfile:1\n\nfrom scratch\n", &[(3, "FROM", "scratch")]);
        check(
            "FROM scratch\nENV a=1 \\\n  # why\n\n  b=2\nCMD [\"x\"]",
            &[(1, "FROM", "scratch"), (2, "ENV", "a=1   b=2"), (6, "CMD", "[\"x\"]")],
        );
        check("# escape=`\nFROM a `\n AS b", &[(2, "FROM", "a  AS b")]);
        check("FROM scratch\r\nCOPY a /\r\n", &[(1, "FROM", "scratch"), (2, "COPY", "a /")]);
        check("FROM scratch \\", &[(1, "FROM", "scratch")]);
    }

    #[test]
    fn flags_come_before_arguments() {
        let file = Dockerfile::parse("D", "COPY --chmod=755 --chown=1:2 a /b").unwrap();
        let flags = [("chmod", "755"), ("chown", "1:2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!((file.instructions[0].flags.as_slice(), file.instructions[0].rest.as_str()), (&flags[..], "a /b"));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, error) in [
            ("", "D:1: the file has no instructions: it starts with `FROM scratch`, for example"),
            ("FROM scratch\nCMD", "D:2: CMD needs an argument"),
            (
                "FROM scratch\nCOPY <<EOF /x\nhi\nEOF",
                "D:2: COPY with a here-document is not supported: put the text into a file and COPY it",
            ),
        ] {
            assert_eq!(Dockerfile::parse("D", text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(words(r#"a "b c"  d\ e 'f g'h"#, '\\').unwrap(), ["a", "\"b c\"", "d\\ e", "'f g'h"]);
        assert!(words("a \"b", '\\').is_err());
        assert_eq!(words("a\\", '\\').unwrap(), ["a\\"]);
    }
}
