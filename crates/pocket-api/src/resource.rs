//! Kinds: names, paths, storage and rules of each, whether built in or added by a CustomResourceDefinition.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use pocket_object::{Shape, structural::Schema, table::CrdTable};
use serde_json::Value;

type Text = Cow<'static, str>;

/// Kind that the server knows, in one of its API versions.
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Text,
    /// API version, such as `v1`.
    pub version: Text,
    /// Kind: `Pod`.
    pub kind: Text,
    /// Kind of its lists: `PodList`.
    pub list_kind: Text,
    /// Plural name in paths: `pods`.
    pub plural: Text,
    /// Singular name: `pod`.
    pub singular: Text,
    /// Short names: `po`.
    pub short_names: Vec<Text>,
    /// Categories: `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs that clients can use.
    pub verbs: Verbs,
    /// Paths below an object.
    pub subresources: Vec<Subresource>,
    pub(crate) storage: Arc<Storage>,
    /// Preparation by the server before each write.
    pub(crate) strategy: Strategy,
    /// Whether `metadata.generation` counts the changes of the spec.
    pub(crate) generation: bool,
    /// Parts of the CustomResourceDefinition that defines the kind, if any.
    pub(crate) custom: Option<Arc<CustomKind>>,
    pub(crate) shape: OnceLock<Shape>,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.plural)
    }
}

/// Verbs of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// All verbs: objects are kept.
    All,
    /// Only `create`: an object is a question, its answer comes at once, and nothing is kept.
    Create,
}

impl Verbs {
    /// Returns the verbs as discovery shows them.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Self::Create => &["create"],
        }
    }
}

/// Preparation of an object by the server, kind by kind; the strategy module has the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Prepares nothing.
    Plain,
    Namespace,
    PersistentVolumeClaim,
    Pod,
    Secret,
    Job,
    Service,
    CustomResourceDefinition,
    /// Answers at once, and keeps nothing.
    Question(Question),
}

/// Kind whose object is a question to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Asks who the client is.
    SelfSubject,
    /// Asks whose token it is.
    Token,
    /// Asks what the client may do.
    Rules,
    /// Asks whether a request is allowed.
    Access,
}

/// Path below an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: the only way to write the status.
    Status,
    /// `/scale`: the replicas of any kind that has replicas.
    Scale(ScalePaths),
    /// `/binding`: assigns a pod to a node.
    Binding,
    /// `/eviction`: deletes a pod if its disruption budget allows it.
    Eviction,
    /// `/log`: the log of a container.
    Log,
    /// `/exec`: runs a program in a container.
    Exec,
    /// `/portforward`: connections to the ports of a pod.
    PortForward,
    /// `/proxy` and all paths below it: requests for a port of a pod. Holds the kind of its options.
    Proxy(&'static str),
    /// `/finalize`: the only way to remove the finalizers of a namespace.
    Finalize,
    /// `/token`: issues a token for a service account.
    Token,
}

/// Places where a kind keeps its replicas, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wanted number.
    pub spec: Text,
    /// Observed number.
    pub status: Text,
    /// Selector: a LabelSelector object for built-in kinds, a string for custom kinds.
    pub selector: Option<Text>,
}

impl Subresource {
    /// Returns the last part of the path.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale(_) => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::PortForward => "portforward",
            Self::Proxy(_) => "proxy",
            Self::Finalize => "finalize",
            Self::Token => "token",
        }
    }

    /// Returns the verbs as discovery shows them.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Scale(_) => &["get", "patch", "update"],
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Log => &["get"],
            Self::Exec | Self::PortForward => &["create", "get"],
            Self::Proxy(_) => &["create", "delete", "get", "patch", "update"],
            Self::Finalize => &["update"],
        }
    }

    /// Returns group, version and kind of the object that the path serves, if it is not the object itself.
    pub(crate) fn serves(&self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Status | Self::Log | Self::Finalize => None,
            Self::Scale(_) => Some(("autoscaling", "v1", "Scale")),
            Self::Binding => Some(("", "v1", "Binding")),
            Self::Eviction => Some(("policy", "v1", "Eviction")),
            Self::Exec => Some(("", "v1", "PodExecOptions")),
            Self::PortForward => Some(("", "v1", "PodPortForwardOptions")),
            Self::Proxy(options) => Some(("", "v1", options)),
            Self::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
        }
    }
}

impl Resource {
    /// Returns `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        match self.group.as_ref() {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Returns `deployments.apps`, or `pods` for the core group.
    pub fn group_resource(&self) -> String {
        match self.group.as_ref() {
            "" => self.plural.to_string(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Returns whether the kind has a `/status`.
    pub(crate) fn has_status(&self) -> bool {
        self.subresources.contains(&Subresource::Status)
    }

    /// Returns the subresource at a path.
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|known| known.name() == name)
    }

    /// Returns the merge rules of the kind's lists and maps. They are made at first use, because most kinds are never patched.
    pub(crate) fn shape(&self) -> &Shape {
        self.shape.get_or_init(|| match &self.custom {
            Some(custom) => Shape::from_crd_schema(&custom.schema_json()),
            None => Shape::builtin(&self.group, &self.kind),
        })
    }

    /// Returns the row of a custom kind.
    pub(crate) fn custom(parts: CustomParts) -> Self {
        Self {
            storage: Arc::new(Storage {
                id: format!("{}/{}", parts.group, parts.plural).into(),
                fields: parts.fields.iter().map(|field| field.as_str().into()).collect(),
            }),
            group: parts.group.into(),
            version: parts.version.into(),
            kind: parts.kind.into(),
            list_kind: parts.list_kind.into(),
            plural: parts.plural.into(),
            singular: parts.singular.into(),
            short_names: parts.short_names.into_iter().map(Cow::Owned).collect(),
            categories: parts.categories.into_iter().map(Cow::Owned).collect(),
            namespaced: parts.namespaced,
            verbs: Verbs::All,
            subresources: parts.subresources,
            strategy: Strategy::Plain,
            generation: true,
            custom: Some(parts.custom),
            shape: OnceLock::new(),
        }
    }
}

/// Parts of a CustomResourceDefinition that concern one version.
pub(crate) struct CustomParts {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) subresources: Vec<Subresource>,
    pub(crate) fields: Vec<String>,
    pub(crate) custom: Arc<CustomKind>,
}

/// One version of a custom kind, as its definition describes it.
pub(crate) struct CustomKind {
    /// Name of the CustomResourceDefinition.
    pub(crate) definition: String,
    /// `group/version` that objects are stored in.
    pub(crate) storage_api_version: String,
    /// Whether the definition has several versions, so that objects may have to be converted.
    pub(crate) converts: bool,
    /// Parsed schema: checks, prunes and fills in defaults.
    pub(crate) schema: Schema,
    /// Schema as written; parsed on demand.
    pub(crate) schema_json: Bytes,
    /// Columns that tables show.
    pub(crate) table: CrdTable,
    /// Warning that clients get with each request, if the version is deprecated.
    pub(crate) deprecation: Option<String>,
}

impl CustomKind {
    /// Returns the OpenAPI v3 schema as the definition has it.
    pub(crate) fn schema_json(&self) -> Value {
        serde_json::from_slice(&self.schema_json).unwrap_or_default()
    }
}

/// Place of a kind's objects, and the fields that selectors may use.
#[derive(Debug)]
pub(crate) struct Storage {
    /// `group/plural`.
    pub(crate) id: Arc<str>,
    /// Selectable fields beyond `metadata.name` and `metadata.namespace`, as dotted paths.
    pub(crate) fields: Vec<Arc<str>>,
}
