//! Schemas of the built-in kinds, from their Rust types.

use k8s_openapi::{
    api::{
        apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
        autoscaling::v2 as autoscaling, batch::v1 as batch, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, networking::v1 as networking, policy::v1 as policy,
        rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{json::object, resource::Resource};

/// Lists that a strategic merge patch merges, and the field by which it merges them. The Rust types do not have this
/// information, and kubectl plans its patches with it.
const MERGE_KEYS: &[(&str, &str, &str)] = &[
    ("api.core.v1.PodSpec", "containers", "name"),
    ("api.core.v1.PodSpec", "initContainers", "name"),
    ("api.core.v1.PodSpec", "ephemeralContainers", "name"),
    ("api.core.v1.PodSpec", "volumes", "name"),
    ("api.core.v1.PodSpec", "imagePullSecrets", "name"),
    ("api.core.v1.PodSpec", "hostAliases", "ip"),
    ("api.core.v1.PodSpec", "topologySpreadConstraints", "topologyKey"),
    ("api.core.v1.PodSpec", "resourceClaims", "name"),
    ("api.core.v1.PodStatus", "conditions", "type"),
    ("api.core.v1.PodStatus", "podIPs", "ip"),
    ("api.core.v1.PodStatus", "hostIPs", "ip"),
    ("api.core.v1.Container", "env", "name"),
    ("api.core.v1.Container", "ports", "containerPort"),
    ("api.core.v1.Container", "volumeMounts", "mountPath"),
    ("api.core.v1.Container", "volumeDevices", "devicePath"),
    ("api.core.v1.EphemeralContainer", "env", "name"),
    ("api.core.v1.EphemeralContainer", "ports", "containerPort"),
    ("api.core.v1.EphemeralContainer", "volumeMounts", "mountPath"),
    ("api.core.v1.EphemeralContainer", "volumeDevices", "devicePath"),
    ("api.core.v1.ServiceSpec", "ports", "port"),
    ("api.core.v1.ServiceStatus", "conditions", "type"),
    ("api.core.v1.ServiceAccount", "secrets", "name"),
    ("api.core.v1.NodeStatus", "addresses", "type"),
    ("api.core.v1.NodeStatus", "conditions", "type"),
    ("api.core.v1.NodeSpec", "podCIDRs", ""),
    ("api.core.v1.NamespaceStatus", "conditions", "type"),
    ("api.core.v1.PersistentVolumeClaimStatus", "conditions", "type"),
    ("api.core.v1.ReplicationControllerStatus", "conditions", "type"),
    ("api.apps.v1.DeploymentStatus", "conditions", "type"),
    ("api.apps.v1.ReplicaSetStatus", "conditions", "type"),
    ("api.apps.v1.StatefulSetStatus", "conditions", "type"),
    ("api.apps.v1.DaemonSetStatus", "conditions", "type"),
    ("api.batch.v1.JobStatus", "conditions", "type"),
    ("api.policy.v1.PodDisruptionBudgetStatus", "conditions", "type"),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", "uid"),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers", ""),
];

/// Adds a kind's schema to a generator.
pub(super) fn reference(generator: &mut SchemaGenerator, group: &str, kind: &str) -> Option<Schema> {
    macro_rules! kinds {
        ($($group:literal: $module:ident { $($kind:ident),* $(,)? })*) => {
            match (group, kind) {
                $($(($group, stringify!($kind)) => Some(generator.subschema_for::<$module::$kind>()),)*)*
                _ => None,
            }
        };
    }
    kinds! {
        "": core {
            ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolumeClaim, PersistentVolume, Pod,
            ReplicationController, ResourceQuota, Secret, ServiceAccount, Service,
        }
        "apps": apps { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
        "authentication.k8s.io": authentication { SelfSubjectReview, TokenReview }
        "authorization.k8s.io": authorization {
            LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        }
        "autoscaling": autoscaling { HorizontalPodAutoscaler }
        "batch": batch { CronJob, Job }
        "coordination.k8s.io": coordination { Lease }
        "discovery.k8s.io": discovery { EndpointSlice }
        "events.k8s.io": events { Event }
        "networking.k8s.io": networking { Ingress, IngressClass, NetworkPolicy }
        "policy": policy { PodDisruptionBudget }
        "rbac.authorization.k8s.io": rbac { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
        "scheduling.k8s.io": scheduling { PriorityClass }
        "storage.k8s.io": storage { StorageClass }
        "apiextensions.k8s.io": apiextensions { CustomResourceDefinition }
    }
}

/// Returns a generator of OpenAPI 3 schemas.
pub(super) fn generator() -> SchemaGenerator {
    SchemaGenerator::new(SchemaSettings::openapi3())
}

/// Schemas of one document.
pub(super) struct Schemas {
    generator: SchemaGenerator,
    kinds: Vec<(String, Value)>,
    custom: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        Self { generator: generator(), kinds: Vec::new(), custom: Map::new() }
    }

    /// Adds a built-in kind and returns the name of its schema.
    pub(super) fn add(&mut self, resource: &Resource) -> Option<String> {
        let schema = reference(&mut self.generator, &resource.group, &resource.kind)?;
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?.to_owned();
        self.kinds.push((name.clone(), kind_of(resource)));
        Some(name)
    }

    /// Adds a custom kind and returns the name of its schema.
    pub(super) fn add_custom(&mut self, resource: &Resource, mut schema: Value) -> Option<String> {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
        let metadata = self.generator.subschema_for::<ObjectMeta>();
        let properties = object(&mut schema, "properties");
        properties
            .insert("metadata".into(), json!({"allOf": [metadata], "description": "Standard object's metadata."}));
        for (field, text) in [("apiVersion", "Version of the schema."), ("kind", "Kind of the object.")] {
            properties.insert(field.into(), json!({"type": "string", "description": text}));
        }
        object(&mut schema, "properties");
        schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
        let group: Vec<&str> = resource.group.rsplit('.').collect();
        let name = format!("{}.{}.{}", group.join("."), resource.version, resource.kind);
        self.custom.insert(name.clone(), schema);
        Some(name)
    }

    /// Returns all schemas by name.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        let mut all = self.generator.take_definitions(true);
        all.values_mut().for_each(wrap_references);
        for (name, kind) in self.kinds {
            if let Some(schema) = all.get_mut(&name) {
                schema["x-kubernetes-group-version-kind"] = json!([kind]);
            }
        }
        for (type_, field, key) in MERGE_KEYS {
            let name = format!("io.k8s.{type_}");
            let Some(field) = all.get_mut(&name).and_then(|schema| schema.get_mut("properties")?.get_mut(*field))
            else {
                continue;
            };
            field["x-kubernetes-patch-strategy"] = json!("merge");
            if !key.is_empty() {
                field["x-kubernetes-patch-merge-key"] = json!(key);
            }
        }
        if let Some(volumes) =
            all.get_mut("io.k8s.api.core.v1.PodSpec").and_then(|pod| pod.pointer_mut("/properties/volumes"))
        {
            volumes["x-kubernetes-patch-strategy"] = json!("merge,retainKeys");
        }
        if let Some(strategy) =
            all.get_mut("io.k8s.api.apps.v1.DeploymentSpec").and_then(|spec| spec.pointer_mut("/properties/strategy"))
        {
            strategy["x-kubernetes-patch-strategy"] = json!("retainKeys");
        }
        all.extend(self.custom);
        all
    }
}

fn kind_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

/// Wraps references: OpenAPI 3.0 allows nothing beside a `$ref`, so a described reference is a list of one.
fn wrap_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.len() > 1
                && fields.get("$ref").is_some_and(Value::is_string)
                && let Some(reference) = fields.remove("$ref")
            {
                fields.insert("allOf".into(), json!([{"$ref": reference}]));
            }
            fields.values_mut().for_each(wrap_references);
        }
        Value::Array(items) => items.iter_mut().for_each(wrap_references),
        _ => {}
    }
}
