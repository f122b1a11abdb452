//! Manifests, which are read, split, and checked before anything is sent.

mod document;
mod gates;
mod input;
mod rules;
mod schema;
mod source;
mod wrong;

use std::sync::Arc;

use kube::core::DynamicObject;

use crate::error::{Error, Result};

pub(crate) use input::{InputArgs, Text};
pub(crate) use schema::{either, entry_name};
pub(crate) use wrong::{Finding, Wrong, lines};

use document::Parser;
use source::{Place, Source};

/// Byte order mark, with which some editors begin a file.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Beginning of a text.
const START: Place = Place { line: 1, column: 1 };

/// Object of the input.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Place of its beginning, as `file:line`.
    pub(crate) at: String,
    pub(crate) object: DynamicObject,
    places: Places,
}

/// Places of the fields of a document.
#[derive(Clone, Debug)]
struct Places {
    file: String,
    /// Line of the file in which the text begins.
    first_line: usize,
    source: Arc<Source>,
    /// Path of the object in the text.
    at: String,
}

impl Places {
    fn of(&self, path: &str) -> Place {
        let place = self.source.place(&format!("{}{path}", self.at)).unwrap_or(START);
        Place { line: place.line + self.first_line - 1, ..place }
    }
}

impl Document {
    /// Returns a finding about a field that is wrong, with its place.
    pub(crate) fn finding(&self, wrong: &Wrong) -> Finding {
        let Place { line, column } = self.places.of(&wrong.path);
        Finding {
            file: self.places.file.clone(),
            line,
            column,
            object: Some(shown(&self.object)),
            path: Some(wrong.path.clone()),
            message: wrong.message.clone(),
        }
    }
}

/// Content of an input.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) documents: Vec<Document>,
    /// All findings, in the order of the input.
    pub(crate) findings: Vec<Finding>,
}

/// Reads manifests. Rainbows become releases of the color, if one is given. Fails with all findings in all documents.
pub(crate) fn read(input: &InputArgs, color: Option<&str>) -> Result<Vec<Document>> {
    let manifests = check(input, color)?;
    match manifests.findings.as_slice() {
        [] => Ok(manifests.documents),
        findings => Err(Error::Usage(lines(findings))),
    }
}

/// Reads manifests as [`read`] does, but returns the findings. Fails where there is nothing to check.
pub(crate) fn check(input: &InputArgs, color: Option<&str>) -> Result<Manifests> {
    let mut manifests = Manifests::default();
    for text in input.texts()? {
        manifests.parse(&text, color);
    }
    if manifests.documents.is_empty() && manifests.findings.is_empty() {
        return Err(Error::Usage(format!("there is no object in {}", input.names())));
    }
    manifests.find_twins();
    Ok(manifests)
}

impl Manifests {
    fn parse(&mut self, text: &Text, color: Option<&str>) {
        let content = text.content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text.content);
        for (first_line, part) in split(content) {
            Parser { file: &text.name, first_line, color, into: self }.document(part);
        }
    }

    /// Adds a finding for each object that stands in the input twice: the order of the two would decide which one holds.
    fn find_twins(&mut self) {
        let mut seen: Vec<(String, &Document)> = Vec::new();
        let mut twins = Vec::new();
        for document in &self.documents {
            let key = identity(&document.object);
            match seen.iter().find(|(known, _)| *known == key) {
                Some((_, first)) => twins.push((document.at.clone(), shown(&document.object), first.at.clone())),
                None => seen.push((key, document)),
            }
        }
        for (at, object, first) in twins {
            let (file, line) = at.rsplit_once(':').unwrap_or((&at, "1"));
            self.findings.push(Finding {
                file: file.to_owned(),
                line: line.parse().unwrap_or(1),
                column: 1,
                object: Some(object),
                path: None,
                message: format!("it is in {first} as well: keep one of them"),
            });
        }
    }
}

/// Returns a text that two objects have in common only where they are the same object in a cluster.
fn identity(object: &DynamicObject) -> String {
    let types = object.types.clone().unwrap_or_default();
    let group = types.api_version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
    let metadata = &object.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{group}/{}/{}/{}", types.kind, text(&metadata.namespace), text(&metadata.name))
}

/// Names an object for messages: "rainbow `shop`".
fn shown(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map(|types| types.kind.to_lowercase()).unwrap_or_default();
    format!("{kind} `{}`", object.metadata.name.as_deref().unwrap_or_default())
}

/// Splits a text into documents, each with the number of its first line. A line `---` ends a document, as in kubectl.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        if line.trim_end() == "---" || line.starts_with("--- ") {
            parts.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (end, number + 2);
        }
        at = end;
    }
    parts.push((begin_line, &text[begin..]));
    parts.retain(|(_, part)| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests;
