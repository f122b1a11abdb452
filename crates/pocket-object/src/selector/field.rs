//! Field selectors.

use super::SelectorError;

/// Field selector: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// Requirement of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path of the field: `metadata.name`.
    pub path: String,
    /// Whether the field must be equal to the value, or different from it.
    pub equal: bool,
    /// Value that the field is compared with.
    pub value: String,
}

impl FieldSelector {
    /// Parses `a.b=c,d!=e`. An empty text selects everything. A backslash escapes `,`, `=` and itself.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_unescaped(text, ',') {
            if term.is_empty() {
                continue;
            }
            let invalid = || SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let at = term.find(['=', '!']).ok_or_else(invalid)?;
            let (path, rest) = term.split_at(at);
            let (equal, value) = if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
                (true, value)
            } else if let Some(value) = rest.strip_prefix("!=") {
                (false, value)
            } else {
                return Err(invalid());
            };
            requirements.push(FieldRequirement { path: path.to_owned(), equal, value: unescape(value, text)? });
        }
        Ok(Self { requirements })
    }

    /// Returns whether the selector selects an object. `field` returns the text of a field; `None` counts as empty.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| (field(&requirement.path).unwrap_or_default() == requirement.value) == requirement.equal)
    }

    /// Returns all requirements of the selector.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Returns whether the selector selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(value: &str, selector: &str) -> Result<String, SelectorError> {
    let mut plain = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ (',' | '=' | '\\')) => plain.push(c),
                _ => {
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence in {selector:?}"
                    )));
                }
            },
            '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: '=' in {selector:?}"
                )));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}
