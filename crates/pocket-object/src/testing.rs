//! Helpers for the tests of several modules.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Generates any JSON, with names that have a meaning in the code, so that more of it is reached.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..70_000).prop_map(Value::from),
        Just(Value::from(0.5)),
        "[a-z$./:-]{0,6}".prop_map(Value::from),
        Just(Value::from("delete")),
        Just(Value::from("replace")),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "metadata",
        "spec",
        "status",
        "template",
        "containers",
        "initContainers",
        "name",
        "namespace",
        "labels",
        "ports",
        "port",
        "containerPort",
        "protocol",
        "env",
        "value",
        "valueFrom",
        "image",
        "selector",
        "matchLabels",
        "matchExpressions",
        "key",
        "operator",
        "values",
        "finalizers",
        "ownerReferences",
        "uid",
        "managedFields",
        "fieldsV1",
        "manager",
        "operation",
        "conditions",
        "type",
        "replicas",
        "strategy",
        "rollingUpdate",
        "volumes",
        "volumeMounts",
        "mountPath",
        "annotations",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "f:spec",
        ".",
        "k:{\"name\":\"a\"}",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "default",
        "enum",
        "pattern",
        "format",
        "x-kubernetes-validations",
        "rule",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-preserve-unknown-fields",
        "containerStatuses",
        "state",
        "waiting",
        "reason",
        "readinessProbe",
        "httpGet",
        "data",
        "op",
        "path",
        "from",
        "apiVersion",
        "kind",
        "restartPolicy",
        "rules",
        "addresses",
    ];
    prop_oneof![8 => prop::sample::select(NAMES).prop_map(str::to_owned), 1 => "[a-z]{1,3}"]
}
