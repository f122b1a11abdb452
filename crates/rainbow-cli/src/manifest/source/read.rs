//! Reader that builds a tree from the parser's events, and reports what cannot be a part of one.

use std::collections::BTreeMap;

use granit_parser::{Event, ScalarStyle, Span};

use super::{Content, Entry, Flaw, MERGE, Node, Place, Source, flaw};

/// Deepest nesting of a document. No Kubernetes object comes near it.
const DEPTH: usize = 200;

/// Builder of the tree.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) source: Source,
    open: Vec<Open>,
    /// Node of each anchor, by the anchor's number.
    anchors: BTreeMap<usize, usize>,
    documents: usize,
    pub(super) flaws: Vec<Flaw>,
}

/// List or map that has not ended yet.
struct Open {
    node: usize,
    /// Step of the path that leads to it.
    step: String,
    /// Key whose value has not come yet.
    key: Option<(String, Place)>,
}

impl Reader {
    pub(super) fn take(&mut self, event: &Event<'_>, span: &Span) -> Result<(), Flaw> {
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
                // An alias within its own anchor has no complete node yet.
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

    /// Attaches a node to its parent: as a key, a value, an entry of a list, or the document itself.
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

    /// Returns the path of a field in the innermost open map.
    fn path(&self, last: &str) -> String {
        let steps: String = self.open.iter().map(|open| open.step.as_str()).collect();
        format!("{steps}.{last}").trim_start_matches('.').to_owned()
    }

    /// Returns the step of the path from the innermost open list or map to the node that begins now.
    fn step(&self) -> String {
        let Some(parent) = self.open.last() else { return String::new() };
        match (&self.source.nodes[parent.node].content, &parent.key) {
            (Content::List(entries), _) => format!("[{}]", entries.len()),
            (Content::Map(_) | Content::Scalar(..), Some((key, _))) => format!(".{key}"),
            (Content::Map(_) | Content::Scalar(..), None) => String::new(),
        }
    }
}
