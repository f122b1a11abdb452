//! Sets of fields, and their notation `FieldsV1`.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::shape::{Link, Node};

/// Step of a path into an object.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Field of a map.
    Field(String),
    /// Element of a keyed list with these keys, ordered by name.
    Key(Vec<(String, Value)>),
    /// Element of a set.
    Value(Value),
    /// Element of a list, by position. This code makes none, but keeps those that it reads.
    Index(u64),
}

impl Step {
    fn order(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }

    /// Encodes the step in `FieldsV1`: `f:spec`, `k:{"name":"a"}`, `v:"x"`, `i:0`.
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{}", Value::Object(keys.iter().cloned().collect())),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(keys.into_iter().collect()))
            }
            "v" => serde_json::from_str(rest).ok().map(Self::Value),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    /// Writes the step in the notation of conflicts: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Step {}

impl PartialOrd for Step {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Step {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a.iter().zip(b).map(|(a, b)| a.0.cmp(&b.0).then_with(|| compare(&a.1, &b.1)));
                pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
            }
            _ => self.order().cmp(&other.order()),
        }
    }
}

/// Orders all JSON values: scalars by type, then by value; other values by their text.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Value::String(_), Value::Number(_)) => Ordering::Less,
        (Value::Number(_), Value::String(_)) => Ordering::Greater,
        _ => a.to_string().cmp(&b.to_string()),
    }
}

/// Set of fields, as a tree: a place may be in the set, and so may places below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    children: BTreeMap<Step, Branch>,
}

/// Place in a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Branch {
    /// Whether the place itself is in the set.
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Branch {
    /// Returns the place itself with nothing below it.
    pub(super) fn leaf() -> Self {
        Self { member: true, below: FieldSet::default() }
    }

    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Adds a place and the part of the set below it.
    pub(super) fn insert(&mut self, step: Step, branch: Branch) {
        if branch.is_empty() {
            return;
        }
        let ours = self.children.entry(step).or_default();
        ours.member |= branch.member;
        if ours.below.is_empty() {
            ours.below = branch.below;
        } else {
            ours.below.add(&branch.below);
        }
    }

    /// Returns a place, if it or anything below it is in the set.
    pub(super) fn get(&self, step: &Step) -> Option<&Branch> {
        self.children.get(step)
    }

    /// Returns the steps below this place that lead to members of the set.
    pub(super) fn branches(&self) -> impl Iterator<Item = (&Step, &Branch)> {
        self.children.iter()
    }

    /// Computes `self ∪ other`.
    pub(super) fn add(&mut self, other: &FieldSet) {
        for (step, theirs) in &other.children {
            let ours = self.children.entry(step.clone()).or_default();
            ours.member |= theirs.member;
            ours.below.add(&theirs.below);
        }
    }

    /// Computes `self \ other`.
    pub(super) fn subtract(&mut self, other: &FieldSet) {
        self.children.retain(|step, ours| {
            if let Some(theirs) = other.children.get(step) {
                ours.member &= !theirs.member;
                ours.below.subtract(&theirs.below);
            }
            !ours.is_empty()
        });
    }

    /// Removes the places in `other` and everything below them.
    pub(super) fn subtract_with_all_below(&mut self, other: &FieldSet) {
        self.children.retain(|step, ours| {
            if let Some(theirs) = other.children.get(step) {
                if theirs.member {
                    return false;
                }
                ours.below.subtract_with_all_below(&theirs.below);
            }
            !ours.is_empty()
        });
    }

    /// Returns whether `other ⊆ self`.
    pub(super) fn contains(&self, other: &FieldSet) -> bool {
        other.children.iter().all(|(step, theirs)| {
            let ours = self.children.get(step);
            ours.is_some_and(|ours| (ours.member || !theirs.member) && ours.below.contains(&theirs.below))
        })
    }

    /// Returns `self ∩ other`.
    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut both = FieldSet::default();
        for (step, ours) in &self.children {
            let Some(theirs) = other.children.get(step) else { continue };
            let below = ours.below.intersection(&theirs.below);
            both.insert(step.clone(), Branch { member: ours.member && theirs.member, below });
        }
        both
    }

    /// Returns the set with every declared field that leads to a place in the set.
    ///
    /// Struct fields are no members of a set as long as something below them is, unlike map keys and list elements.
    pub(super) fn with_named_fields(&self, node: Option<&Node>) -> FieldSet {
        let mut named = FieldSet::default();
        for (step, branch) in &self.children {
            let (declared, child) = match (step, node) {
                (Step::Field(name), Some(node)) => match node.as_map() {
                    Some(map) => (map.declares(name), map.field(name).map(Link::node)),
                    None => (false, None),
                },
                (Step::Key(_), Some(node)) => (false, node.as_list().map(|list| list.element.node())),
                _ => (false, None),
            };
            let member = branch.member || declared && !branch.below.is_empty();
            named.insert(step.clone(), Branch { member, below: branch.below.with_named_fields(child) });
        }
        named
    }

    /// Returns all places in the set as text, `.spec.replicas`: the places of one level come before those below it.
    pub(super) fn paths(&self) -> Vec<String> {
        fn walk(set: &FieldSet, prefix: &str, paths: &mut Vec<String>) {
            let members = set.children.iter().filter(|(_, branch)| branch.member);
            paths.extend(members.map(|(step, _)| format!("{prefix}{step}")));
            for (step, branch) in set.children.iter().filter(|(_, branch)| !branch.below.is_empty()) {
                walk(&branch.below, &format!("{prefix}{step}"), paths);
            }
        }
        let mut paths = Vec::new();
        walk(self, "", &mut paths);
        paths
    }

    /// Encodes the set as `FieldsV1`.
    pub(super) fn encode(&self) -> Value {
        let mut map = Map::new();
        for (step, entry) in &self.children {
            let mut below = entry.below.encode();
            if entry.member
                && !entry.below.is_empty()
                && let Value::Object(below) = &mut below
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(step.encode(), below);
        }
        Value::Object(map)
    }

    /// Decodes `FieldsV1`; returns `None` for anything else.
    pub(super) fn decode(value: &Value) -> Option<Self> {
        let mut set = FieldSet::default();
        for (text, below) in value.as_object()? {
            if text == "." {
                continue;
            }
            let below_set = FieldSet::decode(below)?;
            let member = below_set.is_empty() || below.get(".").is_some();
            set.children.insert(Step::decode(text)?, Branch { member, below: below_set });
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    #[test]
    fn fields_v1_round_trips() {
        let fields = json!({ "f:metadata": { "f:labels": { ".": {}, "f:a:b": {} }, "f:finalizers": { "v:\"x\"": {} } },
            "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } }, "i:3": {} } });
        let set = FieldSet::decode(&fields).unwrap();
        assert_eq!(set.encode(), fields);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.finalizers[=\"x\"]",
                ".metadata.labels.a:b",
                ".spec[3]",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].port"
            ]
        );
        assert_eq!(FieldSet::decode(&json!({ "x": {} })), None);
    }

    proptest! {
        #[test]
        fn set_algebra(a in any_json(), b in any_json()) {
            let (Some(a), Some(b)) = (FieldSet::decode(&prefixed(&a)), FieldSet::decode(&prefixed(&b))) else { return Ok(()) };
            let mut union = a.clone();
            union.add(&b);
            let mut rest = union.clone();
            rest.subtract(&b);
            prop_assert!(rest.intersection(&b).is_empty());
            rest.add(&a.intersection(&b));
            prop_assert_eq!(rest.paths(), a.paths());
            prop_assert!(union.contains(&a) && union.contains(&b));
            prop_assert_eq!(a.contains(&b), union == a);
            prop_assert_eq!(FieldSet::decode(&union.encode()), Some(union));
        }
    }

    fn prefixed(value: &Value) -> Value {
        match value {
            Value::Object(map) => map.iter().map(|(key, value)| (format!("f:{key}"), prefixed(value))).collect(),
            _ => json!({}),
        }
    }
}
