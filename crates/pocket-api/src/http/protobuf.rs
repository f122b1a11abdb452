//! Bodies in protobuf, which newer kubectls send for `create <something>`, `auth can-i` and evictions.
//!
//! Only the kinds and fields that clients make this way are known. A body with any other is refused with 415 rather
//! than stored with something missing.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use self::Type::{Bool, BytesMap, Int, IntOrString, Message, Quantities, Skip, Text, TextMap, Time};
use crate::status::Status;

/// Messages nest no deeper than this.
const MAX_DEPTH: usize = 32;
const MAGIC: &[u8] = b"k8s\0";

/// What a field holds.
enum Type {
    Text,
    Int,
    Bool,
    TextMap,
    BytesMap,
    Quantities,
    IntOrString,
    Time,
    Message(&'static [Field]),
    /// A message that is no part of a request, such as a status.
    Skip,
}

/// How often a field occurs, and what its absence means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    /// Always sent; the zero value means that it is not set.
    Plain,
    /// Sent only if it is set.
    Optional,
    /// Any number.
    List,
}

struct Field(u32, &'static str, Type, Count);

const fn one(number: u32, name: &'static str, type_: Type) -> Field {
    Field(number, name, type_, Count::Plain)
}
const fn opt(number: u32, name: &'static str, type_: Type) -> Field {
    Field(number, name, type_, Count::Optional)
}
const fn list(number: u32, name: &'static str, type_: Type) -> Field {
    Field(number, name, type_, Count::List)
}

static OWNER: [Field; 6] = [
    one(1, "kind", Text),
    one(3, "name", Text),
    one(4, "uid", Text),
    one(5, "apiVersion", Text),
    opt(6, "controller", Bool),
    opt(7, "blockOwnerDeletion", Bool),
];
static META: [Field; 14] = [
    one(1, "name", Text),
    one(2, "generateName", Text),
    one(3, "namespace", Text),
    one(4, "selfLink", Text),
    one(5, "uid", Text),
    one(6, "resourceVersion", Text),
    one(7, "generation", Int),
    one(8, "creationTimestamp", Time),
    opt(9, "deletionTimestamp", Time),
    opt(10, "deletionGracePeriodSeconds", Int),
    one(11, "labels", TextMap),
    one(12, "annotations", TextMap),
    list(13, "ownerReferences", Message(&OWNER)),
    list(14, "finalizers", Text),
];
/// Metadata, spec and status, as most kinds have them. Nobody sends a status this way.
const fn object(spec: &'static [Field]) -> [Field; 3] {
    [one(1, "metadata", Message(&META)), one(2, "spec", Message(spec)), one(3, "status", Skip)]
}

static NAMESPACE_SPEC: [Field; 1] = [list(1, "finalizers", Text)];
static NAMESPACE: [Field; 3] = object(&NAMESPACE_SPEC);
static CONFIG_MAP: [Field; 4] = [
    one(1, "metadata", Message(&META)),
    one(2, "data", TextMap),
    one(3, "binaryData", BytesMap),
    opt(4, "immutable", Bool),
];
static SECRET: [Field; 5] = [
    one(1, "metadata", Message(&META)),
    one(2, "data", BytesMap),
    one(3, "type", Text),
    one(4, "stringData", TextMap),
    opt(5, "immutable", Bool),
];
static NAME: [Field; 1] = [one(1, "name", Text)];
static SERVICE_ACCOUNT: [Field; 3] = [
    one(1, "metadata", Message(&META)),
    list(3, "imagePullSecrets", Message(&NAME)),
    opt(4, "automountServiceAccountToken", Bool),
];
static SERVICE_PORT: [Field; 6] = [
    one(1, "name", Text),
    one(2, "protocol", Text),
    one(3, "port", Int),
    one(4, "targetPort", IntOrString),
    one(5, "nodePort", Int),
    opt(6, "appProtocol", Text),
];
static SERVICE_SPEC: [Field; 18] = [
    list(1, "ports", Message(&SERVICE_PORT)),
    one(2, "selector", TextMap),
    one(3, "clusterIP", Text),
    one(4, "type", Text),
    list(5, "externalIPs", Text),
    one(7, "sessionAffinity", Text),
    one(8, "loadBalancerIP", Text),
    list(9, "loadBalancerSourceRanges", Text),
    one(10, "externalName", Text),
    one(11, "externalTrafficPolicy", Text),
    one(12, "healthCheckNodePort", Int),
    one(13, "publishNotReadyAddresses", Bool),
    opt(17, "ipFamilyPolicy", Text),
    list(18, "clusterIPs", Text),
    list(19, "ipFamilies", Text),
    opt(20, "allocateLoadBalancerNodePorts", Bool),
    opt(21, "loadBalancerClass", Text),
    opt(22, "internalTrafficPolicy", Text),
];
static SERVICE: [Field; 3] = object(&SERVICE_SPEC);

static EXPRESSION: [Field; 3] = [one(1, "key", Text), one(2, "operator", Text), list(3, "values", Text)];
static SELECTOR: [Field; 2] = [one(1, "matchLabels", TextMap), list(2, "matchExpressions", Message(&EXPRESSION))];
static CONTAINER_PORT: [Field; 5] = [
    one(1, "name", Text),
    one(2, "hostPort", Int),
    one(3, "containerPort", Int),
    one(4, "protocol", Text),
    one(5, "hostIP", Text),
];
static ENV: [Field; 2] = [one(1, "name", Text), one(2, "value", Text)];
static RESOURCES: [Field; 2] = [one(1, "limits", Quantities), one(2, "requests", Quantities)];
static CONTAINER: [Field; 14] = [
    one(1, "name", Text),
    one(2, "image", Text),
    list(3, "command", Text),
    list(4, "args", Text),
    one(5, "workingDir", Text),
    list(6, "ports", Message(&CONTAINER_PORT)),
    list(7, "env", Message(&ENV)),
    one(8, "resources", Message(&RESOURCES)),
    one(13, "terminationMessagePath", Text),
    one(14, "imagePullPolicy", Text),
    one(16, "stdin", Bool),
    one(17, "stdinOnce", Bool),
    one(18, "tty", Bool),
    one(20, "terminationMessagePolicy", Text),
];
static POD_SPEC: [Field; 19] = [
    list(2, "containers", Message(&CONTAINER)),
    one(3, "restartPolicy", Text),
    opt(4, "terminationGracePeriodSeconds", Int),
    opt(5, "activeDeadlineSeconds", Int),
    one(6, "dnsPolicy", Text),
    one(7, "nodeSelector", TextMap),
    one(8, "serviceAccountName", Text),
    one(9, "serviceAccount", Text),
    one(10, "nodeName", Text),
    one(11, "hostNetwork", Bool),
    one(12, "hostPID", Bool),
    one(13, "hostIPC", Bool),
    list(15, "imagePullSecrets", Message(&NAME)),
    one(16, "hostname", Text),
    one(17, "subdomain", Text),
    one(19, "schedulerName", Text),
    list(20, "initContainers", Message(&CONTAINER)),
    opt(21, "automountServiceAccountToken", Bool),
    one(24, "priorityClassName", Text),
];
static TEMPLATE: [Field; 2] = [one(1, "metadata", Message(&META)), one(2, "spec", Message(&POD_SPEC))];
static ROLLING: [Field; 2] = [opt(1, "maxUnavailable", IntOrString), opt(2, "maxSurge", IntOrString)];
static STRATEGY: [Field; 2] = [one(1, "type", Text), opt(2, "rollingUpdate", Message(&ROLLING))];
static DEPLOYMENT_SPEC: [Field; 8] = [
    opt(1, "replicas", Int),
    opt(2, "selector", Message(&SELECTOR)),
    one(3, "template", Message(&TEMPLATE)),
    one(4, "strategy", Message(&STRATEGY)),
    one(5, "minReadySeconds", Int),
    opt(6, "revisionHistoryLimit", Int),
    one(7, "paused", Bool),
    opt(9, "progressDeadlineSeconds", Int),
];
static DEPLOYMENT: [Field; 3] = object(&DEPLOYMENT_SPEC);
static JOB_SPEC: [Field; 8] = [
    opt(1, "parallelism", Int),
    opt(2, "completions", Int),
    opt(3, "activeDeadlineSeconds", Int),
    opt(4, "selector", Message(&SELECTOR)),
    opt(5, "manualSelector", Bool),
    one(6, "template", Message(&TEMPLATE)),
    opt(7, "backoffLimit", Int),
    opt(8, "ttlSecondsAfterFinished", Int),
];
static JOB: [Field; 3] = object(&JOB_SPEC);
static JOB_TEMPLATE: [Field; 2] = [one(1, "metadata", Message(&META)), one(2, "spec", Message(&JOB_SPEC))];
static CRON_JOB_SPEC: [Field; 8] = [
    one(1, "schedule", Text),
    opt(2, "startingDeadlineSeconds", Int),
    one(3, "concurrencyPolicy", Text),
    opt(4, "suspend", Bool),
    one(5, "jobTemplate", Message(&JOB_TEMPLATE)),
    opt(6, "successfulJobsHistoryLimit", Int),
    opt(7, "failedJobsHistoryLimit", Int),
    opt(8, "timeZone", Text),
];
static CRON_JOB: [Field; 3] = object(&CRON_JOB_SPEC);
static BUDGET_SPEC: [Field; 3] = [
    opt(1, "minAvailable", IntOrString),
    opt(2, "selector", Message(&SELECTOR)),
    opt(3, "maxUnavailable", IntOrString),
];
static BUDGET: [Field; 3] = object(&BUDGET_SPEC);
static RULE: [Field; 5] = [
    list(1, "verbs", Text),
    list(2, "apiGroups", Text),
    list(3, "resources", Text),
    list(4, "resourceNames", Text),
    list(5, "nonResourceURLs", Text),
];
static ROLE: [Field; 2] = [one(1, "metadata", Message(&META)), list(2, "rules", Message(&RULE))];
static SUBJECT: [Field; 4] =
    [one(1, "kind", Text), one(2, "apiGroup", Text), one(3, "name", Text), one(4, "namespace", Text)];
static ROLE_REF: [Field; 3] = [one(1, "apiGroup", Text), one(2, "kind", Text), one(3, "name", Text)];
static ROLE_BINDING: [Field; 3] =
    [one(1, "metadata", Message(&META)), list(2, "subjects", Message(&SUBJECT)), one(3, "roleRef", Message(&ROLE_REF))];
static PRIORITY_CLASS: [Field; 5] = [
    one(1, "metadata", Message(&META)),
    one(2, "value", Int),
    one(3, "globalDefault", Bool),
    one(4, "description", Text),
    opt(5, "preemptionPolicy", Text),
];
static QUOTA_SPEC: [Field; 2] = [one(1, "hard", Quantities), list(2, "scopes", Text)];
static QUOTA: [Field; 3] = object(&QUOTA_SPEC);
static RESOURCE_ATTRIBUTES: [Field; 7] = [
    one(1, "namespace", Text),
    one(2, "verb", Text),
    one(3, "group", Text),
    one(4, "version", Text),
    one(5, "resource", Text),
    one(6, "subresource", Text),
    one(7, "name", Text),
];
static PATH_ATTRIBUTES: [Field; 2] = [one(1, "path", Text), one(2, "verb", Text)];
static ACCESS_SPEC: [Field; 2] = [
    opt(1, "resourceAttributes", Message(&RESOURCE_ATTRIBUTES)),
    opt(2, "nonResourceAttributes", Message(&PATH_ATTRIBUTES)),
];
static ACCESS: [Field; 3] = object(&ACCESS_SPEC);
static RULES_SPEC: [Field; 1] = [one(1, "namespace", Text)];
static RULES: [Field; 3] = object(&RULES_SPEC);
static SELF: [Field; 2] = [one(1, "metadata", Message(&META)), one(2, "status", Skip)];
static BOUND_OBJECT: [Field; 4] =
    [one(1, "kind", Text), one(2, "apiVersion", Text), one(3, "name", Text), one(4, "uid", Text)];
static TOKEN_SPEC: [Field; 3] =
    [list(1, "audiences", Text), opt(3, "boundObjectRef", Message(&BOUND_OBJECT)), opt(4, "expirationSeconds", Int)];
static TOKEN: [Field; 3] = object(&TOKEN_SPEC);
static PRECONDITIONS: [Field; 2] = [opt(1, "uid", Text), opt(2, "resourceVersion", Text)];
static DELETE_OPTIONS: [Field; 5] = [
    opt(1, "gracePeriodSeconds", Int),
    opt(2, "preconditions", Message(&PRECONDITIONS)),
    opt(3, "orphanDependents", Bool),
    opt(4, "propagationPolicy", Text),
    list(5, "dryRun", Text),
];
static EVICTION: [Field; 2] = [one(1, "metadata", Message(&META)), opt(2, "deleteOptions", Message(&DELETE_OPTIONS))];

fn kind(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "Namespace") => &NAMESPACE,
        ("v1", "ConfigMap") => &CONFIG_MAP,
        ("v1", "Secret") => &SECRET,
        ("v1", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("v1", "Service") => &SERVICE,
        ("v1", "ResourceQuota") => &QUOTA,
        ("apps/v1", "Deployment") => &DEPLOYMENT,
        ("batch/v1", "Job") => &JOB,
        ("batch/v1", "CronJob") => &CRON_JOB,
        ("policy/v1", "PodDisruptionBudget") => &BUDGET,
        ("policy/v1", "Eviction") => &EVICTION,
        ("rbac.authorization.k8s.io/v1", "Role" | "ClusterRole") => &ROLE,
        ("rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding") => &ROLE_BINDING,
        ("scheduling.k8s.io/v1", "PriorityClass") => &PRIORITY_CLASS,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => &ACCESS,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => &RULES,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => &SELF,
        ("authentication.k8s.io/v1", "TokenRequest") => &TOKEN,
        (_, "DeleteOptions") => &DELETE_OPTIONS,
        _ => return None,
    })
}

fn unsupported(what: &str) -> Status {
    Status::unsupported_media_type(
        &format!("application/vnd.kubernetes.protobuf with {what}"),
        "application/json, application/yaml",
    )
}

/// An object in Kubernetes' protobuf envelope, as JSON.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Status> {
    let broken = || Status::bad_request("error decoding the body as protobuf: it is cut short or damaged");
    let body = bytes.strip_prefix(MAGIC).ok_or_else(broken)?;
    let (mut api_version, mut name, mut raw) = (String::new(), String::new(), &[][..]);
    for entry in Reader(body) {
        match entry.ok_or_else(broken)? {
            (1, Wire::Block(types)) => {
                for entry in Reader(types) {
                    match entry.ok_or_else(broken)? {
                        (1, Wire::Block(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Wire::Block(text)) => name = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Block(block)) => raw = block,
            _ => {}
        }
    }
    let fields = kind(&api_version, &name).ok_or_else(|| unsupported(&format!("a {name} of {api_version}")))?;
    let mut object = message(fields, raw, &name, 0)?;
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(name));
    Ok(Value::Object(object))
}

fn message(fields: &[Field], bytes: &[u8], path: &str, depth: usize) -> Result<Map<String, Value>, Status> {
    let broken = || Status::bad_request(format!("error decoding the body as protobuf: {path} is damaged"));
    if depth > MAX_DEPTH {
        return Err(broken());
    }
    let mut object = Map::new();
    for entry in Reader(bytes) {
        let (number, wire) = entry.ok_or_else(broken)?;
        let Some(Field(_, name, type_, count)) = fields.iter().find(|field| field.0 == number) else {
            return Err(unsupported(&format!("field {number} of {path}")));
        };
        let path = format!("{path}.{name}");
        if let (TextMap | BytesMap | Quantities, Wire::Block(pair)) = (type_, &wire) {
            let (key, value) = map_entry(type_, pair).ok_or_else(broken)?;
            let map = object.entry(*name).or_insert_with(|| json!({}));
            if let Some(map) = map.as_object_mut() {
                map.insert(key, value);
            }
            continue;
        }
        let Some(value) = value(type_, wire, &path, depth)? else { continue };
        match count {
            Count::List => {
                if let Some(items) = object.entry(*name).or_insert_with(|| json!([])).as_array_mut() {
                    items.push(value);
                }
            }
            Count::Plain if is_zero(&value) => {}
            Count::Plain | Count::Optional => drop(object.insert((*name).to_owned(), value)),
        }
    }
    Ok(object)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Array(_) => false,
    }
}

fn value(type_: &Type, wire: Wire<'_>, path: &str, depth: usize) -> Result<Option<Value>, Status> {
    let text = |block: &[u8]| Value::from(String::from_utf8_lossy(block).into_owned());
    Ok(Some(match (type_, wire) {
        (Text, Wire::Block(block)) => text(block),
        // Negative numbers are sent as their two's complement.
        (Int, Wire::Number(number)) => json!(number.cast_signed()),
        (Bool, Wire::Number(number)) => json!(number != 0),
        (Message(fields), Wire::Block(block)) => Value::Object(message(fields, block, path, depth + 1)?),
        (IntOrString, Wire::Block(block)) => {
            let (mut is_text, mut number, mut string) = (false, json!(0), json!(""));
            for (field, wire) in Reader(block).flatten() {
                match (field, wire) {
                    (1, Wire::Number(kind)) => is_text = kind == 1,
                    (2, Wire::Number(value)) => number = json!(value.cast_signed()),
                    (3, Wire::Block(value)) => string = text(value),
                    _ => {}
                }
            }
            if is_text { string } else { number }
        }
        (Time, Wire::Block(block)) => {
            let mut seconds = 0;
            for entry in Reader(block).flatten() {
                if let (1, Wire::Number(value)) = entry {
                    seconds = value.cast_signed();
                }
            }
            match jiff::Timestamp::from_second(seconds) {
                // The zero time of the sender's language is no time.
                Ok(at) if seconds > 0 => json!(crate::ops::timestamp(at)),
                _ => return Ok(None),
            }
        }
        (Skip, _) => return Ok(None),
        _ => {
            return Err(Status::bad_request(format!("error decoding the body as protobuf: {path} is of another type")));
        }
    }))
}

fn map_entry(type_: &Type, pair: &[u8]) -> Option<(String, Value)> {
    let (mut key, mut value) = (String::new(), json!(""));
    for entry in Reader(pair) {
        match entry? {
            (1, Wire::Block(block)) => key = String::from_utf8_lossy(block).into_owned(),
            (2, Wire::Block(block)) => {
                value = match type_ {
                    BytesMap => json!(STANDARD.encode(block)),
                    Quantities => Reader(block).flatten().find_map(|entry| match entry {
                        (1, Wire::Block(text)) => Some(json!(String::from_utf8_lossy(text))),
                        _ => None,
                    })?,
                    _ => json!(String::from_utf8_lossy(block)),
                }
            }
            _ => {}
        }
    }
    Some((key, value))
}

/// A field as it is on the wire.
enum Wire<'a> {
    Number(u64),
    Block(&'a [u8]),
}

/// Reads fields; `None` as an item says that the rest cannot be read, and is the last item.
struct Reader<'a>(&'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = Option<(u32, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<(u32, Wire<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Block(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Block(self.take(length)?)
            }
            5 => Wire::Block(self.take(4)?),
            _ => return None,
        };
        Some((number, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (block, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [block(1, api_version.as_bytes()), block(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), block(1, &types), block(2, raw)].concat()
    }

    #[test]
    fn a_config_map() {
        let metadata = [block(1, b"a"), block(3, b""), block(11, &[block(1, b"k"), block(2, b"v")].concat())].concat();
        let raw = [block(1, &metadata), block(2, &[block(1, b"x"), block(2, b"")].concat()), vec![4 << 3, 0]].concat();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"k": "v"}},
            "data": {"x": ""}, "immutable": false});
        assert_eq!(parse(&envelope("v1", "ConfigMap", &raw)).unwrap(), expected);
    }

    #[test]
    fn a_token_for_a_pod() {
        let reference = [block(1, b"Pod"), block(3, b"p")].concat();
        let spec = [block(1, b"vault"), block(3, &reference), vec![4 << 3, 60]].concat();
        let expected = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "audiences": ["vault"], "boundObjectRef": {"kind": "Pod", "name": "p"}, "expirationSeconds": 60}});
        let raw = [block(1, b""), block(2, &spec), block(3, b"")].concat();
        assert_eq!(parse(&envelope("authentication.k8s.io/v1", "TokenRequest", &raw)).unwrap(), expected);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let error = parse(&envelope("v1", "Node", b"")).unwrap_err();
        assert_eq!((error.code.as_u16(), error.message.contains("a Node of v1")), (415, true));
        let error = parse(&envelope("v1", "ConfigMap", &block(15, b"x"))).unwrap_err();
        assert_eq!((error.code.as_u16(), error.message.contains("field 15 of ConfigMap")), (415, true));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(raw: Vec<u8>, kind in prop::sample::select(vec!["Service", "Deployment", "Secret"])) {
            let raw = &raw[..raw.len().min(100)];
            let _ = parse(&envelope(if kind == "Deployment" { "apps/v1" } else { "v1" }, kind, raw));
            let _ = parse(&[MAGIC, raw].concat());
        }
    }
}
