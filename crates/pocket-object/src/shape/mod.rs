//! How the lists and maps of a kind merge: which lists are sets, which are keyed, which maps are atomic.
//!
//! What a shape does not name follows the default of Kubernetes: maps merge key by key, lists are atomic. So a shape
//! is a small tree of the exceptions.

mod builtin;
mod crd;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use serde_json::Value;

/// How the lists and maps of a kind merge. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shape {
    root: Arc<Node>,
    built_in: bool,
}

/// How server-side apply sees a list or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// A map is owned key by key; a list as a whole.
    #[default]
    Default,
    /// Owned as a whole.
    Atomic,
    /// A list of unique scalars, owned one by one.
    Set,
    /// A list of maps told apart by these keys, each with the default that counts when it is missing.
    Keyed(Vec<(String, Option<Value>)>),
}

/// How a strategic merge patch sees a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// A new list replaces the old one; a map is merged.
    #[default]
    Default,
    /// A new map replaces the old one.
    Replace,
    /// Scalars are added.
    Merge,
    /// Maps with the same value of this key are merged.
    MergeBy(String),
}

/// One place in an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) ownership: Ownership,
    pub(crate) strategy: Strategy,
    fields: BTreeMap<String, Arc<Node>>,
    /// Of every other key of a map.
    rest: Option<Arc<Node>>,
    /// Of every element of a list.
    element: Option<Arc<Node>>,
}

static DEFAULT: LazyLock<Arc<Node>> = LazyLock::new(Arc::default);
static BUILT_IN: LazyLock<HashMap<(&'static str, &'static str), Arc<Node>>> = LazyLock::new(builtin::all);

impl Node {
    /// Of a field of a map.
    pub(crate) fn field(&self, name: &str) -> &Arc<Node> {
        self.fields.get(name).or(self.rest.as_ref()).unwrap_or_else(|| &*DEFAULT)
    }

    /// Of the elements of a list.
    pub(crate) fn element(&self) -> &Arc<Node> {
        self.element.as_ref().unwrap_or_else(|| &*DEFAULT)
    }

    /// Is a list here owned as a whole?
    pub(crate) fn atomic_list(&self) -> bool {
        !matches!(self.ownership, Ownership::Set | Ownership::Keyed(_))
    }

    /// Is a map here owned as a whole?
    pub(crate) fn atomic_map(&self) -> bool {
        self.ownership == Ownership::Atomic
    }
}

impl Shape {
    /// The shape of a built-in kind; that of metadata alone for one that is not known.
    pub fn builtin(group: &str, kind: &str) -> Self {
        let (root, built_in) = match BUILT_IN.get(&(group, kind)) {
            Some(root) => (root.clone(), true),
            None => (builtin::untyped(), false),
        };
        Self { root, built_in }
    }

    /// The shape that a CRD's `openAPIV3Schema` declares: `x-kubernetes-list-type`, `x-kubernetes-list-map-keys`,
    /// `x-kubernetes-map-type`. Metadata has its usual shape.
    pub fn from_crd_schema(schema: &Value) -> Self {
        Self { root: Arc::new(crd::root(schema)), built_in: false }
    }

    /// Maps merge and lists are atomic, but for metadata.
    pub fn untyped() -> Self {
        Self { root: builtin::untyped(), built_in: false }
    }

    /// Of the whole object.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// Is it that of a built-in kind, in which a null is the same as nothing?
    pub(crate) fn is_built_in(&self) -> bool {
        self.built_in
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self::untyped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(shape: &'a Shape, path: &str) -> &'a Node {
        path.split('.').fold(shape.root(), |node, name| if name == "*" { node.element() } else { node.field(name) })
    }

    #[test]
    fn built_in_lists_have_their_keys() {
        let keyed = |group: &str, kind: &str, path: &str, keys: &[&str], merge: &str| {
            let shape = Shape::builtin(group, kind);
            let node = at(&shape, path);
            let Ownership::Keyed(found) = &node.ownership else { panic!("{kind} {path}: {:?}", node.ownership) };
            assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys, "{kind} {path}");
            let strategy = if merge.is_empty() { Strategy::Default } else { Strategy::MergeBy(merge.to_owned()) };
            assert_eq!(node.strategy, strategy, "{kind} {path}");
        };
        keyed("", "Pod", "spec.containers", &["name"], "name");
        keyed("", "Pod", "spec.containers.*.ports", &["containerPort", "protocol"], "containerPort");
        keyed("", "Pod", "spec.containers.*.env", &["name"], "name");
        keyed("", "Pod", "spec.containers.*.volumeMounts", &["mountPath"], "mountPath");
        keyed("", "Pod", "spec.initContainers.*.env", &["name"], "name");
        keyed("", "Pod", "metadata.ownerReferences", &["uid"], "uid");
        keyed("", "Service", "spec.ports", &["port", "protocol"], "port");
        keyed("apps", "Deployment", "spec.template.spec.volumes", &["name"], "name");
        keyed("apps", "Deployment", "spec.template.metadata.ownerReferences", &["uid"], "uid");
        keyed("batch", "CronJob", "spec.jobTemplate.spec.template.spec.containers", &["name"], "name");
        keyed("apps", "Deployment", "status.conditions", &["type"], "type");
        keyed("", "Namespace", "status.conditions", &["type"], "type");
        keyed("", "Nonsense", "metadata.ownerReferences", &["uid"], "uid");
    }

    #[test]
    fn selectors_are_owned_as_a_whole_and_finalizers_one_by_one() {
        assert!(at(&Shape::builtin("", "Service"), "spec.selector").atomic_map());
        assert!(at(&Shape::builtin("apps", "Deployment"), "spec.selector").atomic_map());
        assert!(at(&Shape::builtin("", "Pod"), "spec.tolerations").atomic_list());
        assert_eq!(at(&Shape::untyped(), "metadata.finalizers").ownership, Ownership::Set);
        assert_eq!(at(&Shape::untyped(), "metadata.finalizers").strategy, Strategy::Merge);
    }
}
