//! Resource table: one row per built-in kind. A new kind is a new row, and a test names the other tables that it must be in.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use crate::resource::{Question, Resource, ScalePaths, Storage, Strategy, Subresource, Verbs};

/// Table beside this one that has an entry for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "rows name only what a kind does not have")]
enum Part {
    /// Types of the fields (`pocket-object/src/shape/types.txt`).
    Shape,
    /// Defaults (`pocket-object/src/defaults.rs`).
    Defaults,
    /// Rules beyond those of the metadata (`pocket-object/src/validate.rs`).
    Validation,
    /// Columns beside name and age (`pocket-object/src/table.rs`).
    Columns,
    /// Schema (`openapi/builtin.rs`).
    OpenApi,
    /// Numbers of the fields in protobuf (`http/protobuf/fields.rs`).
    Protobuf,
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
    strategy: Strategy,
    generation: bool,
    /// Group whose storage keeps the objects, if it is another one.
    stored_in: Option<&'static str>,
    /// Parts that the kind does not have, by decision. A kind has all others.
    without: &'static [Part],
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
        strategy: Strategy::Plain,
        generation: false,
        stored_in: None,
        without: &[],
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

    const fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    const fn question(mut self, question: Question) -> Self {
        self.verbs = Verbs::Create;
        self.strategy = Strategy::Question(question);
        self.without = &[Part::Shape, Part::Defaults, Part::Validation, Part::Columns];
        self
    }

    const fn without(mut self, parts: &'static [Part]) -> Self {
        self.without = parts;
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
            strategy: self.strategy,
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
    kind("", "v1", "Event", "events").without(&[Part::Validation]).short(&["ev"]).fields(EVENT_FIELDS),
    kind("", "v1", "LimitRange", "limitranges").without(&[Part::Columns]).short(&["limits"]),
    kind("", "v1", "Namespace", "namespaces")
        .without(&[Part::Validation])
        .short(&["ns"])
        .cluster()
        .status()
        .subresources(&[Subresource::Finalize])
        .fields(&["status.phase"])
        .strategy(Strategy::Namespace),
    kind("", "v1", "Node", "nodes")
        .without(&[Part::Validation])
        .short(&["no"])
        .cluster()
        .status()
        .fields(&["spec.unschedulable"]),
    kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
        .without(&[Part::Validation])
        .short(&["pvc"])
        .status()
        .strategy(Strategy::PersistentVolumeClaim),
    kind("", "v1", "PersistentVolume", "persistentvolumes")
        .without(&[Part::Validation, Part::Columns])
        .short(&["pv"])
        .cluster()
        .status(),
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
        .strategy(Strategy::Pod),
    kind("", "v1", "ReplicationController", "replicationcontrollers")
        .without(&[Part::Validation])
        .short(&["rc"])
        .in_all()
        .status()
        .scale()
        .generation()
        .fields(&["status.replicas"]),
    kind("", "v1", "ResourceQuota", "resourcequotas").without(&[Part::Columns]).short(&["quota"]).status(),
    kind("", "v1", "Secret", "secrets").fields(&["type"]).strategy(Strategy::Secret),
    kind("", "v1", "ServiceAccount", "serviceaccounts")
        .without(&[Part::Validation])
        .short(&["sa"])
        .subresources(&[Subresource::Token]),
    kind("", "v1", "Service", "services")
        .short(&["svc"])
        .in_all()
        .status()
        .subresources(&[Subresource::Proxy("ServiceProxyOptions")])
        .fields(&["spec.clusterIP", "spec.type"])
        .strategy(Strategy::Service),
    // Applications
    kind(APPS, "v1", "ControllerRevision", "controllerrevisions").without(&[Part::Validation]),
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
        .strategy(Strategy::Job),
    // Cluster
    kind("coordination.k8s.io", "v1", "Lease", "leases"),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices").generation(),
    kind(EVENTS, "v1", "Event", "events")
        .without(&[Part::Validation])
        .short(&["ev"])
        .fields(EVENT_FIELDS)
        .stored_in(""),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).status().generation(),
    kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        .without(&[Part::Validation])
        .short(&["pc"])
        .cluster(),
    kind("storage.k8s.io", "v1", "StorageClass", "storageclasses")
        .without(&[Part::Validation])
        .short(&["sc"])
        .cluster(),
    // Networks
    kind(NET, "v1", "IngressClass", "ingressclasses").without(&[Part::Validation]).cluster().generation(),
    kind(NET, "v1", "Ingress", "ingresses").without(&[Part::Validation]).short(&["ing"]).status().generation(),
    kind(NET, "v1", "NetworkPolicy", "networkpolicies").without(&[Part::Validation]).short(&["netpol"]).generation(),
    // Rights
    kind(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings").cluster(),
    kind(RBAC, "v1", "ClusterRole", "clusterroles").cluster(),
    kind(RBAC, "v1", "RoleBinding", "rolebindings"),
    kind(RBAC, "v1", "Role", "roles"),
    // Extensions
    kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
        .without(&[Part::Protobuf])
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .cluster()
        .status()
        .generation()
        .strategy(Strategy::CustomResourceDefinition),
    // Questions
    kind(AUTHN, "v1", "SelfSubjectReview", "selfsubjectreviews").cluster().question(Question::SelfSubject),
    kind(AUTHN, "v1", "TokenReview", "tokenreviews").cluster().question(Question::Token),
    kind(AUTHZ, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews").question(Question::Access),
    kind(AUTHZ, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews").cluster().question(Question::Access),
    kind(AUTHZ, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews").cluster().question(Question::Rules),
    kind(AUTHZ, "v1", "SubjectAccessReview", "subjectaccessreviews").cluster().question(Question::Access),
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
    use pocket_object::{Shape, defaults, table, validate};
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::{http::protobuf, openapi};

    #[test]
    fn each_kind_is_in_all_tables_but_those_that_its_row_excludes() {
        let mut wrong = Vec::new();
        for row in ROWS {
            let api_version =
                if row.group.is_empty() { row.version.to_owned() } else { format!("{}/{}", row.group, row.version) };
            for (part, is_there) in [
                (Part::Shape, Shape::has_builtin(row.group, row.kind)),
                (Part::Defaults, defaults::has(row.group, row.kind)),
                (Part::Validation, validate::has(row.group, row.kind)),
                (Part::Columns, table::has(row.group, row.kind)),
                (Part::OpenApi, openapi::has(row.group, row.kind)),
                (Part::Protobuf, protobuf::has(&api_version, row.kind)),
            ] {
                match (is_there, row.without.contains(&part)) {
                    (true, false) | (false, true) => {}
                    (false, false) => {
                        wrong.push(format!("{api_version} {}: add {part:?}, or exclude it in the row", row.kind))
                    }
                    (true, true) => {
                        wrong.push(format!("{api_version} {}: has {part:?}, which the row excludes", row.kind))
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

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
