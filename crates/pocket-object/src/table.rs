//! Rows of a table for objects, as `kubectl get` shows them.

mod age;
mod network;
mod other;
mod pod;
mod workload;

use jiff::Timestamp;
use serde_json::Value;

pub use self::age::{human_duration, since};
use crate::{
    json::{entries, list, text},
    jsonpath,
};

/// Column of a `meta.k8s.io/v1` Table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Title: `Ready`.
    pub name: String,
    /// Type: `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    /// Format: `name` for the object's name, else mostly empty.
    pub format: String,
    /// Meaning of the cells.
    pub description: String,
    /// Priority: 0 is always shown, others with `-o wide`.
    pub priority: i32,
}

/// Title, type and priority of a column.
type Head = (&'static str, &'static str, i32);
/// Columns of a kind, and the function that fills them. The first column is always the name unless the row says otherwise.
type Kind = (&'static [Head], fn(&Value, Timestamp) -> Vec<Value>);

const AGE: Head = ("Age", "string", 0);
const NAME: Head = ("Name", "string", 0);

/// Returns the columns of a built-in kind; Name and Age for other kinds.
pub fn columns(group: &str, kind: &str) -> Vec<Column> {
    let (heads, _) = of(group, kind).unwrap_or(other::PLAIN);
    heads
        .iter()
        .map(|(name, type_, priority)| Column {
            name: (*name).to_owned(),
            type_: (*type_).to_owned(),
            format: if *name == "Name" && *priority == 0 { "name".to_owned() } else { String::new() },
            description: describe(name),
            priority: *priority,
        })
        .collect()
}

/// Returns an object's cells, one for each of `columns`.
pub fn row(group: &str, kind: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    of(group, kind).unwrap_or(other::PLAIN).1(object, now)
}

/// Returns whether a kind has columns of its own.
pub fn has(group: &str, kind: &str) -> bool {
    of(group, kind).is_some()
}

fn of(group: &str, kind: &str) -> Option<Kind> {
    Some(match (group, kind) {
        ("", "Pod") => pod::POD,
        ("", "Service") => network::SERVICE,
        ("", "Endpoints") => network::ENDPOINTS,
        ("", "Namespace") => other::NAMESPACE,
        ("", "Node") => other::NODE,
        ("", "Event") | ("events.k8s.io", "Event") => other::EVENT,
        ("", "ConfigMap") => other::CONFIG_MAP,
        ("", "Secret") => other::SECRET,
        ("", "ServiceAccount") => other::SERVICE_ACCOUNT,
        ("", "PersistentVolumeClaim") => other::CLAIM,
        ("", "ReplicationController") | ("apps", "ReplicaSet") => workload::REPLICA_SET,
        ("apps", "Deployment") => workload::DEPLOYMENT,
        ("apps", "StatefulSet") => workload::STATEFUL_SET,
        ("apps", "DaemonSet") => workload::DAEMON_SET,
        ("apps", "ControllerRevision") => workload::CONTROLLER_REVISION,
        ("batch", "Job") => workload::JOB,
        ("batch", "CronJob") => workload::CRON_JOB,
        ("autoscaling", "HorizontalPodAutoscaler") => workload::AUTOSCALER,
        ("policy", "PodDisruptionBudget") => workload::DISRUPTION_BUDGET,
        ("discovery.k8s.io", "EndpointSlice") => network::ENDPOINT_SLICE,
        ("networking.k8s.io", "Ingress") => network::INGRESS,
        ("networking.k8s.io", "IngressClass") => network::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => network::NETWORK_POLICY,
        ("coordination.k8s.io", "Lease") => other::LEASE,
        ("scheduling.k8s.io", "PriorityClass") => other::PRIORITY_CLASS,
        ("storage.k8s.io", "StorageClass") => other::STORAGE_CLASS,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => other::ROLE_BINDING,
        ("rbac.authorization.k8s.io", _) | ("apiextensions.k8s.io", "CustomResourceDefinition") => other::CREATED_AT,
        _ => return None,
    })
}

fn describe(column: &str) -> String {
    match column {
        "Name" => "Name must be unique within a namespace.",
        "Age" | "Created At" => "Time since the object was created.",
        _ => "",
    }
    .to_owned()
}

/// Table of a custom resource.
#[derive(Clone, Debug)]
pub struct CrdTable {
    columns: Vec<(Column, String)>,
}

/// Returns the table that a CRD version's `additionalPrinterColumns` describes (null or empty: Name and Age).
pub fn for_crd(additional_printer_columns: &Value) -> CrdTable {
    let mut columns: Vec<(Column, String)> = list(additional_printer_columns, "")
        .iter()
        .map(|column| {
            let head = Column {
                name: text(column, "/name").to_owned(),
                type_: text(column, "/type").to_owned(),
                format: text(column, "/format").to_owned(),
                description: text(column, "/description").to_owned(),
                priority: column
                    .get("priority")
                    .and_then(Value::as_i64)
                    .and_then(|n| i32::try_from(n).ok())
                    .unwrap_or(0),
            };
            (head, text(column, "/jsonPath").to_owned())
        })
        .collect();
    if columns.is_empty() {
        let age = Column {
            name: "Age".to_owned(),
            type_: "date".to_owned(),
            format: String::new(),
            description: describe("Age"),
            priority: 0,
        };
        columns.push((age, ".metadata.creationTimestamp".to_owned()));
    }
    CrdTable { columns }
}

impl CrdTable {
    /// Returns the columns, with the name first.
    pub fn columns(&self) -> Vec<Column> {
        let name = Column {
            name: "Name".to_owned(),
            type_: "string".to_owned(),
            format: "name".to_owned(),
            description: describe("Name"),
            priority: 0,
        };
        std::iter::once(name).chain(self.columns.iter().map(|(column, _)| column.clone())).collect()
    }

    /// Returns an object's cells, one for each column.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cells = self.columns.iter().map(|(column, path)| {
            jsonpath::eval(object, path).first().map_or(Value::Null, |value| cell(value, &column.type_, now))
        });
        std::iter::once(name(object)).chain(cells).collect()
    }
}

fn cell(value: &Value, type_: &str, now: Timestamp) -> Value {
    match (type_, value) {
        (_, Value::Null) => Value::Null,
        ("date", Value::String(time)) => Value::from(since(time, now).unwrap_or_else(|| "<invalid>".to_owned())),
        ("integer", Value::Number(number)) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a fraction in an integer column is cut, as Kubernetes does"
            )]
            let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
            whole.map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => Value::from(other.to_string()),
        _ => Value::Null,
    }
}

/// Returns the cell of an object's name.
fn name(object: &Value) -> Value {
    Value::from(text(object, "/metadata/name"))
}

/// Returns the cell of an object's age.
fn age(object: &Value, now: Timestamp) -> Value {
    Value::from(ago(text(object, "/metadata/creationTimestamp"), now))
}

/// Returns the time since a time, or `<unknown>`.
fn ago(time: &str, now: Timestamp) -> String {
    since(time, now).unwrap_or_else(|| "<unknown>".to_owned())
}

/// Returns a text, or `<none>` if it is empty.
fn or_none(text: impl Into<String>) -> Value {
    let text = text.into();
    Value::from(if text.is_empty() { "<none>".to_owned() } else { text })
}

/// Returns the whole number at a JSON pointer, or zero.
fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Returns the names and the images of a pod template's containers.
fn containers(object: &Value, pointer: &str) -> [Value; 2] {
    let all = list(object, &format!("{pointer}/containers"));
    ["/name", "/image"].map(|field| {
        let values: Vec<&str> = all.iter().map(|container| text(container, field)).collect();
        Value::from(values.join(","))
    })
}

/// Returns the cell of a map of labels: `a=b,c=d`.
fn labels(object: &Value, pointer: &str) -> Value {
    let pairs: Vec<String> =
        entries(object, pointer).map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or_none(pairs.join(","))
}

/// Returns the cell of a label selector object: `a=b,c in (d,e)`.
fn selector(object: &Value, pointer: &str) -> Value {
    let mut parts: Vec<String> = entries(object, &format!("{pointer}/matchLabels"))
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in list(object, &format!("{pointer}/matchExpressions")) {
        let key = text(expression, "/key");
        let values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or_none(parts.join(","))
}

#[cfg(test)]
mod tests;
