//! Reader of one document of a manifest: makes objects, and findings about them.

use std::sync::Arc;

use kube::Resource;
use rainbow_api::Rainbow;
use serde_json::Value;

use super::{
    Document, Finding, Manifests, Places, START, either, rules,
    source::{Place, Source},
    wrong::Wrong,
};
use crate::{error::nearest, release};

/// Kinds of Rainbow's group.
const KINDS: [&str; 4] = ["Rainbow", "Color", "Approval", "GateTemplate"];

/// Reader of one document.
pub(super) struct Parser<'a> {
    pub(super) file: &'a str,
    /// Line of the file in which the document begins.
    pub(super) first_line: usize,
    pub(super) color: Option<&'a str>,
    pub(super) into: &'a mut Manifests,
}

/// Object, and its place in the document: the document itself, or an entry of a list.
struct Part {
    value: Value,
    source: Arc<Source>,
    /// Path of the object in the document, followed by a dot where it is not empty.
    at: String,
}

impl Parser<'_> {
    pub(super) fn document(&mut self, part: &str) {
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
        let is_own = version.starts_with("rainbow.dev/");
        let is_rainbow = is_own && kind == "Rainbow";
        // A color is a snapshot that no user writes.
        if is_own && kind != "Color" {
            let mut wrong = if is_rainbow { release::manifest(&mut part.value, self.color) } else { Vec::new() };
            wrong.extend(rules::check(&kind, &part.value, &part.source, &part.at));
            wrong.sort_by_key(|wrong| self.line(self.place(&part, &wrong.path)));
            let shown = format!("{} `{name}`", kind.to_lowercase());
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

    /// Returns the line of the file. Places count from the beginning of the document.
    fn line(&self, place: Place) -> usize {
        place.line + self.first_line - 1
    }
}

/// Returns the error in the type of an object of Rainbow's group.
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
