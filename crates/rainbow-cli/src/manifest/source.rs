//! A document's source: where in the text each field stands, and the text of a value as its author wrote it. Values themselves come from
//! the deserializer; the tree only answers what a message needs.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span};

/// Deepest nesting of a document. No Kubernetes object comes near it.
const DEPTH: usize = 200;
/// Fields by which messages name the entry of a list.
const NAMES: [&str; 3] = ["name", "tier", "stage"];
/// Key whose value is another map, the fields of which are merged into this one.
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

/// What is wrong with a text before it can be read as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) place: Place,
    /// Field, where one can be named.
    pub(crate) path: Option<String>,
    pub(crate) message: String,
}

/// The tree of one document.
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
    /// Text of a scalar, and whether it stands there without quotes.
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
    /// Reads the first document of a text. The flaws are all keys that come up twice, or the first mistake in the syntax.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Flaw>> {
        let mut events = Parser::new_from_str(text);
        let mut reader = Reader::default();
        loop {
            match events.next() {
                None | Some(Ok((Event::StreamEnd, _))) => break,
                Some(Ok((event, span))) => reader.take(&event, &span).map_err(|flaw| vec![flaw])?,
                Some(Err(error)) => return Err(vec![syntax(&error, text)]),
            }
        }
        match reader.flaws.is_empty() {
            true => Ok(reader.source),
            false => Err(reader.flaws),
        }
    }

    /// Place of a field, or of what is nearest to it on the way there. `None`: the document is empty.
    ///
    /// Entries of lists stand in brackets, by number or by name: `spec.tiers[web].needs[0].tier`.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        self.walk(path).map(|(_, place)| place)
    }

    /// Text of a value as it was written, where it is a scalar without quotes.
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

    /// Entry of a list by its name, else by its number.
    fn entry(&self, entries: &[usize], name: &str) -> Option<usize> {
        let is_called = |entry: &&usize| {
            NAMES.iter().find_map(|field| self.field(**entry, field)).is_some_and(
                |field| matches!(&self.nodes[field.value].content, Content::Scalar(text, _) if text == name),
            )
        };
        entries.iter().find(is_called).or_else(|| entries.get(name.parse::<usize>().ok()?)).copied()
    }

    /// Field of a map, its own or one that is merged into it.
    fn field(&self, map: usize, name: &str) -> Option<Entry> {
        self.fields(map).into_iter().find(|entry| entry.key == name)
    }

    /// The field with the longest key that a path begins with: keys of labels have dots.
    fn longest<'a>(&self, map: usize, path: &'a str) -> Option<(usize, Place, &'a str)> {
        let after = |entry: &Entry| {
            let rest = path.strip_prefix(entry.key.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        let fields = self.fields(map);
        let found = fields.iter().filter_map(|entry| Some((entry, after(entry)?)));
        found.max_by_key(|(entry, _)| entry.key.len()).map(|(entry, rest)| (entry.value, entry.place, rest))
    }

    /// Fields of a map, and then those that are merged into it.
    fn fields(&self, map: usize) -> Vec<Entry> {
        let (mut all, mut seen, mut waiting) = (Vec::new(), BTreeSet::new(), vec![map]);
        // A map is looked at once, however often it is merged.
        while let Some(map) = waiting.pop() {
            match self.nodes.get(map).map(|node| &node.content) {
                Some(Content::Map(entries)) if seen.insert(map) => {
                    all.extend(entries.iter().filter(|entry| entry.key != MERGE).cloned());
                    waiting.extend(entries.iter().filter(|entry| entry.key == MERGE).map(|entry| entry.value));
                }
                // Several maps are merged as a list, the first of which counts most.
                Some(Content::List(maps)) if seen.insert(map) => waiting.extend(maps.iter().rev()),
                Some(Content::Map(_) | Content::List(_) | Content::Scalar(..)) | None => {}
            }
        }
        all
    }
}

/// Builds the tree from events.
#[derive(Default)]
struct Reader {
    source: Source,
    open: Vec<Open>,
    /// Nodes with an anchor, by its number.
    anchors: BTreeMap<usize, usize>,
    documents: usize,
    flaws: Vec<Flaw>,
}

/// A list or a map that has not ended yet.
struct Open {
    node: usize,
    /// Step that leads to it.
    step: String,
    /// Key that waits for its value.
    key: Option<(String, Place)>,
}

impl Reader {
    fn take(&mut self, event: &Event<'_>, span: &Span) -> Result<(), Flaw> {
        let place = Place::of(&span.start);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(flaw(place, "a second document begins here: put a line `---` before it"));
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                self.add(place, Content::Scalar(text.to_string(), *style == ScalarStyle::Plain), *anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open(place, Content::List(Vec::new()), *anchor)?,
            Event::MappingStart(_, anchor, _) => self.open(place, Content::Map(Vec::new()), *anchor)?,
            Event::SequenceEnd | Event::MappingEnd => drop(self.open.pop()),
            Event::Alias(anchor) => {
                // An anchor within itself has no node yet.
                let node = self.anchors.get(anchor).copied();
                let open = |node: &usize| self.open.iter().any(|open| open.node == *node);
                match node.filter(|node| !open(node)) {
                    Some(node) => self.attach(place, node)?,
                    None => return Err(flaw(place, "the alias stands within what it stands for: write the value out")),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, place: Place, content: Content, anchor: usize) -> Result<(), Flaw> {
        if self.open.len() >= DEPTH {
            return Err(flaw(place, format!("it is nested more than {DEPTH} levels deep: no object of Kubernetes is")));
        }
        let step = self.step();
        let node = self.add(place, content, anchor)?;
        self.open.push(Open { node, step, key: None });
        Ok(())
    }

    fn add(&mut self, place: Place, content: Content, anchor: usize) -> Result<usize, Flaw> {
        let node = self.source.nodes.len();
        self.source.nodes.push(Node { place, content });
        if anchor > 0 {
            self.anchors.insert(anchor, node);
        }
        self.attach(place, node)?;
        Ok(node)
    }

    /// Puts a node where it belongs: a key, a value, an entry of a list, or the document itself.
    fn attach(&mut self, place: Place, node: usize) -> Result<(), Flaw> {
        let Some(parent) = self.open.last_mut() else { return Ok(()) };
        let (at, key) = (parent.node, parent.key.take());
        if let Content::List(entries) = &mut self.source.nodes[at].content {
            entries.push(node);
            return Ok(());
        }
        let Some((key, key_place)) = key else {
            let Content::Scalar(text, _) = &self.source.nodes[node].content else {
                return Err(flaw(place, "a list or a map cannot be a key: write a text"));
            };
            parent.key = Some((text.clone(), place));
            return Ok(());
        };
        let Content::Map(entries) = &mut self.source.nodes[at].content else { return Ok(()) };
        let first = entries.iter().find(|known| known.key == key && key != MERGE).map(|known| known.place.line);
        entries.push(Entry { key: key.clone(), place: key_place, value: node });
        if let Some(first) = first {
            let path = self.path(&key);
            let message = format!("the field is there twice, first in line {first}: keep one of them");
            self.flaws.push(Flaw { place: key_place, path: Some(path), message });
        }
        Ok(())
    }

    /// Path of a field in the innermost map that is open.
    fn path(&self, last: &str) -> String {
        let steps: String = self.open.iter().map(|open| open.step.as_str()).collect();
        format!("{steps}.{last}").trim_start_matches('.').to_owned()
    }

    /// Step from the innermost list or map to what begins now.
    fn step(&self) -> String {
        let Some(parent) = self.open.last() else { return String::new() };
        match (&self.source.nodes[parent.node].content, &parent.key) {
            (Content::List(entries), _) => format!("[{}]", entries.len()),
            (Content::Map(_) | Content::Scalar(..), Some((key, _))) => format!(".{key}"),
            (Content::Map(_) | Content::Scalar(..), None) => String::new(),
        }
    }
}

fn flaw(place: Place, message: impl Into<String>) -> Flaw {
    Flaw { place, path: None, message: message.into() }
}

/// A mistake in the syntax, for people who do not know YAML's grammar.
fn syntax(error: &ScanError, text: &str) -> Flaw {
    let mut place = Place::of(error.marker());
    let line = |number: usize| text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
    // The parser notices a tab in the indentation before or after the line that has it.
    let is_tabbed = |number: &usize| {
        let line = line(*number);
        line[..line.len() - line.trim_start().len()].contains('\t')
    };
    if let Some(tabbed) = [place.line, place.line + 1, place.line.saturating_sub(1)].iter().find(|line| is_tabbed(line))
    {
        let column = line(*tabbed).find('\t').unwrap_or_default() + 1;
        return flaw(Place { line: *tabbed, column }, "the line is indented by a tab: YAML takes spaces only");
    }
    let count = text.lines().count().max(1);
    if place.line > count {
        place = Place { line: count, column: line(count).chars().count().max(1) };
    }
    flaw(place, explain(error.kind()))
}

/// Sentence for a mistake in the syntax.
fn explain(kind: &ErrorKind) -> String {
    use ErrorKind as K;
    match kind {
        K::UnclosedFlowCollection { open } => {
            let close = if *open == '[' { ']' } else { '}' };
            format!("`{open}` has no `{close}`: close it")
        }
        K::UnexpectedEofFlowSequence | K::ExpectedFlowSequenceSeparator => {
            "the list in `[…]` does not go on or end here: write `,` or `]`".into()
        }
        K::UnexpectedEofFlowMapping | K::UnexpectedEofImplicitFlowMapping | K::ExpectedFlowMappingSeparator => {
            "the map in `{…}` does not go on or end here: write `,` or `}`".into()
        }
        K::MisplacedFlowCollectionEnd => "a bracket closes here that nothing has opened: take it out".into(),
        K::MismatchedFlowCollectionEnd { open, close } => {
            format!("`{open}` is closed by `{close}`: close it by its own bracket")
        }
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar | K::InvalidQuotedScalarIndent => {
            "a quote has no end: write the same quote after the text".into()
        }
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => {
            "something follows the closing quote: put the whole text in quotes".into()
        }
        K::UnknownQuotedScalarEscape | K::InvalidQuotedScalarHexEscape | K::InvalidUnicodeEscape => {
            "`\\` in double quotes begins no escape that YAML knows: use single quotes, or write `\\\\`".into()
        }
        K::UnknownAnchor => "the alias has no anchor above it: define it with `&NAME`".into(),
        K::MappingValueNotAllowed | K::InvalidColonPlacement | K::SimpleKeyExpected | K::InvalidSimpleKey => {
            "the line is no `key: value` here: check its indentation and its colon, and put a text with `: ` in quotes"
                .into()
        }
        K::ExpectedBlockMappingKey
        | K::InvalidIndentation
        | K::ExpectedBlockSequenceEntry
        | K::ExpectedDocumentStart => {
            "the line does not fit what is above it: indent it like the lines beside it".into()
        }
        K::BlockSequenceEntryNotAllowed | K::InvalidBlockEntryWhitespace | K::BlockEntryInFlowCollection => {
            "an entry of a list, `- `, is not possible here: begin a line with it".into()
        }
        K::UnexpectedCharacter { character } => {
            format!("a value cannot begin with `{}`: put it in quotes", character.escape_default())
        }
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabInIndentation
        | K::TabInPlainScalar
        | K::TabAtBlockScalarStart => "a tab is not possible here: YAML takes spaces only".into(),
        K::InvalidBlockScalarIndent | K::InvalidFlowScalarIndent => {
            "the line of a longer text is indented less than its first: indent it as much".into()
        }
        K::UndeclaredTagHandle | K::MissingTagUri | K::InvalidTagTerminator | K::ExpectedTagBang => {
            "`!` begins a type that is not known: put the value in quotes".into()
        }
        _ => "this is no YAML: check the indentation, colons and quotes of the line".into(),
    }
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

    /// No alias makes a tree without end, and none makes a walk without end.
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
