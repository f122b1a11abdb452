//! Resource table: one row per kind. A new kind is a new row.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use pocket_object::Shape;

use crate::{
    crd::CustomKind,
    store::Storage,
    strategy::{self, Prepare},
};

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
    pub(crate) prepare: Prepare,
    pub(crate) generation: bool,
    /// Parts of the CustomResourceDefinition that defines the kind, if any.
    pub(crate) custom: Option<Arc<CustomKind>>,
    shape: OnceLock<Shape>,
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
            prepare: strategy::nothing,
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

/// Row of the table.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    verbs: Verbs,
    status: bool,
    scale: bool,
    subresources: &'static [Subresource],
    fields: &'static [&'static str],
    prepare: Prepare,
    generation: bool,
    /// Group whose storage keeps the objects, if it is another one.
    stored_in: Option<&'static str>,
}

/// Starts the row of a namespaced kind without a status.
const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        short: &[],
        categories: &[],
        namespaced: true,
        verbs: Verbs::All,
        status: false,
        scale: false,
        subresources: &[],
        fields: &[],
        prepare: strategy::nothing,
        generation: false,
        stored_in: None,
    }
}

impl Row {
    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short = names;
        self
    }

    const fn in_all(mut self) -> Self {
        self.categories = &["all"];
        self
    }

    const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn status(mut self) -> Self {
        self.status = true;
        self
    }

    const fn scale(mut self) -> Self {
        self.scale = true;
        self
    }

    /// The API server increases `metadata.generation` when the spec changes.
    const fn generation(mut self) -> Self {
        self.generation = true;
        self
    }

    const fn subresources(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    const fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = prepare;
        self
    }

    const fn question(mut self) -> Self {
        self.verbs = Verbs::Create;
        self
    }

    const fn stored_in(mut self, group: &'static str) -> Self {
        self.stored_in = Some(group);
        self
    }

    fn resource(&self, storage: Arc<Storage>) -> Resource {
        let mut subresources = Vec::new();
        if self.status {
            subresources.push(Subresource::Status);
        }
        if self.scale {
            subresources.push(Subresource::Scale(ScalePaths {
                spec: "/spec/replicas".into(),
                status: "/status/replicas".into(),
                selector: Some("/spec/selector".into()),
            }));
        }
        subresources.extend_from_slice(self.subresources);
        let borrow = |names: &[&'static str]| names.iter().map(|name| Cow::Borrowed(*name)).collect();
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind).into(),
            plural: self.plural.into(),
            singular: self.kind.to_lowercase().into(),
            short_names: borrow(self.short),
            categories: borrow(self.categories),
            namespaced: self.namespaced,
            verbs: self.verbs,
            subresources,
            storage,
            prepare: self.prepare,
            generation: self.generation,
            custom: None,
            shape: OnceLock::new(),
        }
    }
}

const APPS: &str = "apps";
const BATCH: &str = "batch";
const NET: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";
const AUTHN: &str = "authentication.k8s.io";
const EVENTS: &str = "events.k8s.io";

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// All built-in kinds, in the order in which discovery lists them.
static ROWS: &[Row] = &[
    // Core
    kind("", "v1", "ConfigMap", "configmaps").short(&["cm"]),
    kind("", "v1", "Endpoints", "endpoints").short(&["ep"]),
    kind("", "v1", "Event", "events").short(&["ev"]).fields(EVENT_FIELDS),
    kind("", "v1", "LimitRange", "limitranges").short(&["limits"]),
    kind("", "v1", "Namespace", "namespaces")
        .short(&["ns"])
        .cluster()
        .status()
        .subresources(&[Subresource::Finalize])
        .fields(&["status.phase"])
        .prepare(strategy::namespace),
    kind("", "v1", "Node", "nodes").short(&["no"]).cluster().status().fields(&["spec.unschedulable"]),
    kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims").short(&["pvc"]).status().prepare(strategy::claim),
    kind("", "v1", "PersistentVolume", "persistentvolumes").short(&["pv"]).cluster().status(),
    kind("", "v1", "Pod", "pods")
        .short(&["po"])
        .in_all()
        .status()
        .generation()
        .subresources(&[
            Subresource::Binding,
            Subresource::Eviction,
            Subresource::Exec,
            Subresource::Log,
            Subresource::PortForward,
            Subresource::Proxy("PodProxyOptions"),
        ])
        .fields(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ])
        .prepare(strategy::pod),
    kind("", "v1", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .in_all()
        .status()
        .scale()
        .generation()
        .fields(&["status.replicas"]),
    kind("", "v1", "ResourceQuota", "resourcequotas").short(&["quota"]).status(),
    kind("", "v1", "Secret", "secrets").fields(&["type"]).prepare(strategy::secret),
    kind("", "v1", "ServiceAccount", "serviceaccounts").short(&["sa"]).subresources(&[Subresource::Token]),
    kind("", "v1", "Service", "services")
        .short(&["svc"])
        .in_all()
        .status()
        .subresources(&[Subresource::Proxy("ServiceProxyOptions")])
        .fields(&["spec.clusterIP", "spec.type"])
        .prepare(strategy::service),
    // Applications
    kind(APPS, "v1", "ControllerRevision", "controllerrevisions"),
    kind(APPS, "v1", "DaemonSet", "daemonsets").short(&["ds"]).in_all().status().generation(),
    kind(APPS, "v1", "Deployment", "deployments").short(&["deploy"]).in_all().status().scale().generation(),
    kind(APPS, "v1", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .in_all()
        .status()
        .scale()
        .generation()
        .fields(&["status.replicas"]),
    kind(APPS, "v1", "StatefulSet", "statefulsets").short(&["sts"]).in_all().status().scale().generation(),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers").short(&["hpa"]).in_all().status(),
    kind(BATCH, "v1", "CronJob", "cronjobs").short(&["cj"]).in_all().status().generation(),
    kind(BATCH, "v1", "Job", "jobs")
        .in_all()
        .status()
        .generation()
        .fields(&["status.successful"])
        .prepare(strategy::job),
    // Cluster
    kind("coordination.k8s.io", "v1", "Lease", "leases"),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices").generation(),
    kind(EVENTS, "v1", "Event", "events").short(&["ev"]).fields(EVENT_FIELDS).stored_in(""),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).status().generation(),
    kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses").short(&["pc"]).cluster(),
    kind("storage.k8s.io", "v1", "StorageClass", "storageclasses").short(&["sc"]).cluster(),
    // Networks
    kind(NET, "v1", "IngressClass", "ingressclasses").cluster().generation(),
    kind(NET, "v1", "Ingress", "ingresses").short(&["ing"]).status().generation(),
    kind(NET, "v1", "NetworkPolicy", "networkpolicies").short(&["netpol"]).generation(),
    // Rights
    kind(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings").cluster(),
    kind(RBAC, "v1", "ClusterRole", "clusterroles").cluster(),
    kind(RBAC, "v1", "RoleBinding", "rolebindings"),
    kind(RBAC, "v1", "Role", "roles"),
    // Extensions
    kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .cluster()
        .status()
        .generation()
        .prepare(strategy::definition),
    // Questions
    kind(AUTHN, "v1", "SelfSubjectReview", "selfsubjectreviews").cluster().question(),
    kind(AUTHN, "v1", "TokenReview", "tokenreviews").cluster().question(),
    kind(AUTHZ, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews").question(),
    kind(AUTHZ, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews").cluster().question(),
    kind(AUTHZ, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews").cluster().question(),
    kind(AUTHZ, "v1", "SubjectAccessReview", "subjectaccessreviews").cluster().question(),
];

/// Returns the built-in kinds.
pub(crate) fn built_in() -> Vec<Arc<Resource>> {
    let mut kinds: Vec<Arc<Resource>> = Vec::with_capacity(ROWS.len());
    for row in ROWS {
        let id = format!("{}/{}", row.stored_in.unwrap_or(row.group), row.plural);
        let storage = match kinds.iter().find(|known| *known.storage.id == *id) {
            Some(known) => known.storage.clone(),
            None => {
                Arc::new(Storage { id: id.into(), fields: row.fields.iter().map(|field| Arc::from(*field)).collect() })
            }
        };
        kinds.push(Arc::new(row.resource(storage)));
    }
    kinds
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    /// docs/pocket.md has a row for each kind: `| API | kinds | what pocket does with them |`.
    #[test]
    fn the_page_names_each_kind() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pocket.md");
        let text = fs::read_to_string(path).unwrap();
        let (_, section) = text.split_once("## Which kinds are there?").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut named = BTreeSet::new();
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let [api, kinds, does] = line.trim_matches('|').split(" | ").collect::<Vec<_>>()[..] else {
                panic!("three columns: {line}")
            };
            assert!(!does.trim().is_empty(), "{line}");
            let api = api.trim().trim_matches('`');
            for kind in kinds.split('`').skip(1).step_by(2) {
                assert!(named.insert(format!("{api} {kind}")), "{api} {kind} is there twice");
            }
        }
        let served: BTreeSet<String> =
            super::built_in().iter().map(|kind| format!("{} {}", kind.api_version(), kind.kind)).collect();
        assert_eq!(named, served);
    }
}
