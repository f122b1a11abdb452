//! Source of a document: the place of each field in the text, and the text of a value as its author wrote it. Values themselves come from the
//! deserializer; the tree only answers the questions that messages have.

mod read;
mod syntax;

use std::collections::BTreeSet;

use granit_parser::{Event, Marker, Parser};

use read::Reader;

/// Fields by which messages name the entry of a list.
const NAMES: [&str; 3] = ["name", "tier", "stage"];
/// Key of a merge: its value is another map, whose fields are added to this one.
const MERGE: &str = "<<";

/// Place in a text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    fn of(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// Error in a text that cannot be read as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) place: Place,
    /// Path of the field, where one can be named.
    pub(crate) path: Option<String>,
    pub(crate) message: String,
}

/// Tree of one document.
#[derive(Debug, Default)]
pub(crate) struct Source {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    place: Place,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Text of a scalar, and whether it is written without quotes.
    Scalar(String, bool),
    List(Vec<usize>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    place: Place,
    value: usize,
}

impl Source {
    /// Reads the first document of a text. Fails with all duplicate keys, or with the first mistake in the syntax.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Flaw>> {
        let mut events = Parser::new_from_str(text);
        let mut reader = Reader::default();
        loop {
            match events.next() {
                None | Some(Ok((Event::StreamEnd, _))) => break,
                Some(Ok((event, span))) => reader.take(&event, &span).map_err(|flaw| vec![flaw])?,
                Some(Err(error)) => return Err(vec![syntax::flaw(&error, text)]),
            }
        }
        match reader.flaws.is_empty() {
            true => Ok(reader.source),
            false => Err(reader.flaws),
        }
    }

    /// Returns the place of a field, or of the nearest one on the path to it. `None`: the document is empty.
    ///
    /// Entries of lists stand in brackets, by number or by name: `spec.tiers[web].needs[0].tier`.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        self.walk(path).map(|(_, place)| place)
    }

    /// Returns the text of a value as it was written, if it is a scalar without quotes.
    pub(crate) fn plain(&self, path: &str) -> Option<&str> {
        match &self.nodes.get(self.walk(path)?.0)?.content {
            Content::Scalar(text, true) => Some(text),
            Content::Scalar(_, false) | Content::List(_) | Content::Map(_) => None,
        }
    }

    fn walk(&self, path: &str) -> Option<(usize, Place)> {
        let (mut here, mut rest) = (0, path);
        let mut place = self.nodes.first()?.place;
        loop {
            rest = rest.trim_start_matches('.');
            let in_brackets = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let next = match (in_brackets, &self.nodes.get(here)?.content) {
                (Some((name, after)), Content::List(entries)) => {
                    self.entry(entries, name).map(|value| (value, self.nodes[value].place, after))
                }
                (Some((name, after)), Content::Map(_)) => {
                    self.field(here, name).map(|entry| (entry.value, entry.place, after))
                }
                (None, Content::Map(_)) => self.longest(here, rest),
                (_, Content::Scalar(..) | Content::List(_)) => None,
            };
            let Some((value, at, after)) = next else { return Some((here, place)) };
            (here, place, rest) = (value, at, after);
        }
    }

    /// Finds an entry of a list by its name, else by its number.
    fn entry(&self, entries: &[usize], name: &str) -> Option<usize> {
        let is_called = |entry: &&usize| {
            NAMES.iter().find_map(|field| self.field(**entry, field)).is_some_and(
                |field| matches!(&self.nodes[field.value].content, Content::Scalar(text, _) if text == name),
            )
        };
        entries.iter().find(is_called).or_else(|| entries.get(name.parse::<usize>().ok()?)).copied()
    }

    /// Finds a field of a map: its own, or a merged one.
    fn field(&self, map: usize, name: &str) -> Option<Entry> {
        self.fields(map).into_iter().find(|entry| entry.key == name)
    }

    /// Finds the field with the longest key that a path begins with, because keys of labels have dots.
    fn longest<'a>(&self, map: usize, path: &'a str) -> Option<(usize, Place, &'a str)> {
        let after = |entry: &Entry| {
            let rest = path.strip_prefix(entry.key.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        let fields = self.fields(map);
        let found = fields.iter().filter_map(|entry| Some((entry, after(entry)?)));
        found.max_by_key(|(entry, _)| entry.key.len()).map(|(entry, rest)| (entry.value, entry.place, rest))
    }

    /// Returns the fields of a map, and then those that are merged into it.
    fn fields(&self, map: usize) -> Vec<Entry> {
        let (mut all, mut seen, mut waiting) = (Vec::new(), BTreeSet::new(), vec![map]);
        // Each map is visited once, no matter how often it is merged.
        while let Some(map) = waiting.pop() {
            match self.nodes.get(map).map(|node| &node.content) {
                Some(Content::Map(entries)) if seen.insert(map) => {
                    all.extend(entries.iter().filter(|entry| entry.key != MERGE).cloned());
                    waiting.extend(entries.iter().filter(|entry| entry.key == MERGE).map(|entry| entry.value));
                }
                // Several maps are merged as a list, and the first of them counts most.
                Some(Content::List(maps)) if seen.insert(map) => waiting.extend(maps.iter().rev()),
                Some(Content::Map(_) | Content::List(_) | Content::Scalar(..)) | None => {}
            }
        }
        all
    }
}

fn flaw(place: Place, message: impl Into<String>) -> Flaw {
    Flaw { place, path: None, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
base: &base
  labels: { app.kubernetes.io/name: shop }
  color: 123e45
spec:
  <<: *base
  tiers:
  - name: web
    replicas: \"3\"
  - name: api
    needs: [{ tier: web }]
";

    #[test]
    fn fields_have_places() {
        let source = Source::parse(TEXT).unwrap();
        for (path, line, column) in [
            ("spec", 4, 1),
            ("spec.tiers[web].replicas", 8, 5),
            ("spec.tiers[1].name", 9, 5),
            ("spec.tiers[api].needs[web].tier", 10, 15),
            ("spec.color", 3, 3),
            ("spec.labels.app.kubernetes.io/name", 2, 13),
            ("spec.labels[app.kubernetes.io/name]", 2, 13),
            ("spec.tiers[api].template.spec", 9, 5),
            ("nothing", 1, 1),
        ] {
            assert_eq!(source.place(path), Some(Place { line, column }), "{path}");
        }
        assert_eq!(source.plain("spec.color"), Some("123e45"));
        assert_eq!(source.plain("spec.tiers[web].replicas"), None, "it has quotes");
        assert_eq!(Source::parse("# nothing\n").unwrap().place("spec"), None);
    }

    #[test]
    fn every_doubled_key_is_named() {
        let flaws = Source::parse("a:\n- { b: 1, b: 2 }\n- c: 1\n  d: 1\n  c: 2\n").unwrap_err();
        let found: Vec<(usize, &str, &str)> =
            flaws.iter().map(|flaw| (flaw.place.line, flaw.path.as_deref().unwrap(), flaw.message.as_str())).collect();
        assert_eq!(
            found,
            [
                (2, "a[0].b", "the field is there twice, first in line 2: keep one of them"),
                (5, "a[1].c", "the field is there twice, first in line 3: keep one of them"),
            ]
        );
    }

    /// Aliases must make neither an endless tree nor an endless walk.
    #[test]
    fn an_alias_within_itself_is_refused() {
        for text in ["a: &a [*a]\n", "a: &a { b: *a }\n", "a: &a { <<: *a }\n"] {
            assert_eq!(
                Source::parse(text).unwrap_err()[0].message,
                "the alias stands within what it stands for: write the value out",
                "{text}"
            );
        }
        let deep = "[".repeat(1000);
        assert!(!Source::parse(&deep).unwrap_err().is_empty());
    }
}
