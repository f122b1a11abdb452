//! Manifests: read, split, and checked before anything is sent.

mod input;
mod rules;
mod schema;
mod source;
mod wrong;

use std::sync::Arc;

use kube::{Resource, core::DynamicObject};
use rainbow_api::Rainbow;
use serde_json::Value;

use crate::{
    error::{Error, Result, nearest},
    release,
};

pub(crate) use input::{InputArgs, Text};
pub(crate) use schema::{either, entry_name};
pub(crate) use wrong::{Finding, Wrong, lines};

use source::{Place, Source};

/// Kinds of Rainbow's group.
const KINDS: [&str; 2] = ["Rainbow", "Color"];
/// Mark that some editors put at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// One object of the input.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// `file:line` where it begins.
    pub(crate) at: String,
    pub(crate) object: DynamicObject,
    places: Places,
}

/// Where the fields of a document stand.
#[derive(Clone, Debug)]
struct Places {
    file: String,
    /// Line of the file that the text begins with.
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
    /// A field that is wrong, with its place.
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

/// What an input holds.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) documents: Vec<Document>,
    /// All that is wrong, in the order of the input.
    pub(crate) findings: Vec<Finding>,
}

/// Reads manifests. Rainbows become releases of the color, if one is given. Fails with all that is wrong with any document.
pub(crate) fn read(input: &InputArgs, color: Option<&str>) -> Result<Vec<Document>> {
    let manifests = check(input, color)?;
    match manifests.findings.as_slice() {
        [] => Ok(manifests.documents),
        findings => Err(Error::Usage(lines(findings))),
    }
}

/// As [`read`], with what is wrong as a part of the answer. Fails where there is nothing to look at.
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

    /// The same object twice is a mistake: which of the two holds is a matter of their order.
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

/// Text that two objects have in common only where they are the same in a cluster.
fn identity(object: &DynamicObject) -> String {
    let types = object.types.clone().unwrap_or_default();
    let group = types.api_version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
    let metadata = &object.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{group}/{}/{}/{}", types.kind, text(&metadata.namespace), text(&metadata.name))
}

/// An object as messages name it: "rainbow `shop`".
fn shown(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map(|types| types.kind.to_lowercase()).unwrap_or_default();
    format!("{kind} `{}`", object.metadata.name.as_deref().unwrap_or_default())
}

/// The documents of a text, each with the number of its first line. A line `---` ends a document, as kubectl has it.
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

/// Reads one document.
struct Parser<'a> {
    file: &'a str,
    /// Line of the file that the document begins with.
    first_line: usize,
    color: Option<&'a str>,
    into: &'a mut Manifests,
}

/// An object, and where it is in its document: nowhere, or an entry of a list.
struct Part {
    value: Value,
    source: Arc<Source>,
    /// Path of the object in the document, with a dot behind it where it has one.
    at: String,
}

impl Parser<'_> {
    fn document(&mut self, part: &str) {
        let source = match Source::parse(part) {
            Ok(source) => source,
            Err(flaws) => {
                for flaw in flaws {
                    self.add(flaw.place, None, flaw.path, flaw.message);
                }
                return;
            }
        };
        match serde_saphyr::from_str::<Value>(part) {
            Ok(Value::Null) => {}
            Ok(value) => self.object(Part { value, source: Arc::new(source), at: String::new() }),
            Err(error) => {
                let place = error.location().map_or(START, |location| Place {
                    line: usize::try_from(location.line()).unwrap_or(1),
                    column: usize::try_from(location.column()).unwrap_or(1),
                });
                self.add(
                    place,
                    None,
                    None,
                    "this value cannot be read: write it as plain text, a list or a map".into(),
                );
            }
        }
    }

    fn object(&mut self, mut part: Part) {
        let Value::Object(fields) = &part.value else {
            let message = "no Kubernetes object: write a map with apiVersion, kind and metadata";
            return self.about(&part, None, "", message);
        };
        let field = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(version), Some(kind)) = (field("apiVersion"), field("kind")) else {
            let missing = if field("apiVersion").is_none() { "apiVersion" } else { "kind" };
            let misspelt = fields.keys().find(|name| nearest(name, [missing]).is_some() && *name != missing);
            return match (misspelt, fields.get(missing)) {
                (Some(name), None) => {
                    let name = name.clone();
                    self.about(&part, None, &name, &format!("there is no such field: did you mean `{missing}`?"));
                }
                (_, Some(value)) if !value.is_null() => {
                    self.about(&part, None, missing, "must be a text: put it in quotes");
                }
                _ => self.about(&part, None, missing, "is missing: every Kubernetes object has apiVersion and kind"),
            };
        };
        let (version, kind) = (version.to_owned(), kind.to_owned());
        if let (true, Some(items)) = (kind.ends_with("List"), part.value.get("items").and_then(Value::as_array)) {
            for (index, item) in items.iter().enumerate() {
                let at = format!("{}items[{index}].", part.at);
                self.object(Part { value: item.clone(), source: Arc::clone(&part.source), at });
            }
            return;
        }
        if kind == "List" {
            return self.about(&part, None, "items", "must be a list of objects: write each of them after `- `");
        }
        if let Some(wrong) = wrong_kind(&version, &kind) {
            return self.about(&part, None, &wrong.path, &wrong.message);
        }
        let name = part.value["metadata"]["name"].clone();
        let Some(name) = name.as_str().filter(|name| !name.is_empty()).map(str::to_owned) else {
            return self.nameless(&part, &kind, &name);
        };
        let is_rainbow = kind == "Rainbow" && version.starts_with("rainbow.dev/");
        if is_rainbow {
            let mut wrong = release::manifest(&mut part.value, self.color);
            wrong.extend(rules::check(&part.value, &part.source, &part.at));
            wrong.sort_by_key(|wrong| self.line(self.place(&part, &wrong.path)));
            let shown = format!("rainbow `{name}`");
            for wrong in &wrong {
                self.about(&part, Some(&shown), &wrong.path, &wrong.message);
            }
        }
        let at = format!("{}:{}", self.file, self.line(self.place(&part, "")));
        match serde_json::from_value(part.value.clone()) {
            Ok(object) => {
                let places = Places {
                    file: self.file.to_owned(),
                    first_line: self.first_line,
                    source: Arc::clone(&part.source),
                    at: part.at.clone(),
                };
                self.into.documents.push(Document { at, object, places });
            }
            Err(_) if is_rainbow && !part.value["metadata"].is_object() => {}
            Err(_) => {
                let shown = format!("{} `{name}`", kind.to_lowercase());
                let message = "a field has a value of another type: labels and annotations are maps of texts";
                self.about(&part, Some(&shown), "metadata", message);
            }
        }
    }

    fn nameless(&mut self, part: &Part, kind: &str, name: &Value) {
        let own = |path: &str| part.value.pointer(path).and_then(Value::as_object);
        let misspelt = |fields: &serde_json::Map<String, Value>, meant: &str| {
            let known = ["apiVersion", "kind", "metadata", "spec", "status", "data", "name", "namespace", "labels"];
            let is_like = |name: &&String| !known.contains(&name.as_str()) && nearest(name, [meant]).is_some();
            fields.keys().find(is_like).cloned()
        };
        let found = match own("/metadata") {
            None => own("").and_then(|fields| misspelt(fields, "metadata")).map(|name| (name, "metadata")),
            Some(fields) => misspelt(fields, "name").map(|name| (format!("metadata.{name}"), "name")),
        };
        match (found, name) {
            (Some((path, meant)), _) => {
                self.about(part, None, &path, &format!("there is no such field: did you mean `{meant}`?"));
            }
            (None, Value::Number(_) | Value::Bool(_)) => {
                let written = part.source.plain(&format!("{}metadata.name", part.at));
                let written = written.map_or_else(|| name.to_string(), str::to_owned);
                let message = format!("`{written}` is no text in YAML: put it in quotes: \"{written}\"");
                self.about(part, None, "metadata.name", &message);
            }
            (None, _) => self.about(part, None, "metadata.name", &format!("is missing: give the {kind} a name")),
        }
    }

    /// Adds a finding about a field of an object.
    fn about(&mut self, part: &Part, object: Option<&str>, path: &str, message: &str) {
        let place = self.place(part, path);
        let path = Some(path.to_owned()).filter(|path| !path.is_empty());
        self.add(place, object.map(str::to_owned), path, message.to_owned());
    }

    fn place(&self, part: &Part, path: &str) -> Place {
        part.source.place(&format!("{}{path}", part.at)).unwrap_or(START)
    }

    fn add(&mut self, place: Place, object: Option<String>, path: Option<String>, message: String) {
        let line = self.line(place);
        self.into.findings.push(Finding {
            file: self.file.to_owned(),
            line,
            column: place.column,
            object,
            path,
            message,
        });
    }

    /// Line of the file. Places count from the beginning of the document.
    fn line(&self, place: Place) -> usize {
        place.line + self.first_line - 1
    }
}

const START: Place = Place { line: 1, column: 1 };

/// What is wrong with the type of an object of Rainbow's group.
fn wrong_kind(version: &str, kind: &str) -> Option<Wrong> {
    let newest = Rainbow::version(&());
    let known = format!("{}/{newest}", rainbow_api::GROUP);
    let group = version.split_once('/').map_or(version, |(group, _)| group);
    if group != rainbow_api::GROUP {
        let is_meant = kind == "Rainbow" && (!version.contains('/') || nearest(group, [rainbow_api::GROUP]).is_some());
        return is_meant.then(|| Wrong::new("apiVersion", format!("`{version}` has no kind `Rainbow`: write {known}")));
    }
    if version != known {
        let said = version.split_once('/').map_or("", |(_, version)| version);
        return Some(Wrong::new(
            "apiVersion",
            format!("Rainbow has no version `{said}`, only {newest}: write {known}"),
        ));
    }
    (!KINDS.contains(&kind)).then(|| {
        let remedy = match nearest(kind, KINDS) {
            Some(kind) => format!("did you mean `{kind}`?"),
            None => format!("write {}", either(&KINDS)),
        };
        Wrong::new("kind", format!("{known} has no kind `{kind}`: {remedy}"))
    })
}

#[cfg(test)]
mod tests;
