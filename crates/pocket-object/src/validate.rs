//! Validation of the objects of built-in kinds, and of the metadata of any object. The rules and texts are those of Kubernetes.

mod change;
mod config;
mod limits;
mod meta;
mod pod;
mod service;
mod workload;

use serde_json::Value;

use crate::{FieldError, names};

/// Checks a new object, after its defaults have been filled in. Metadata is checked for every kind.
pub fn create(group: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    meta::check(group, kind, object, &mut errors);
    check(group, kind, object, &mut errors);
    errors.found
}

/// Checks a change: everything that `create` checks, and immutable fields.
pub fn update(group: &str, kind: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    meta::check(group, kind, new, &mut errors);
    meta::check_change(old, new, &mut errors);
    check(group, kind, new, &mut errors);
    change::check(group, kind, old, new, &mut errors);
    errors.found
}

/// Returns whether a kind has rules beyond those of its metadata.
pub fn has(group: &str, kind: &str) -> bool {
    of(group, kind).is_some()
}

fn check(group: &str, kind: &str, object: &Value, errors: &mut Errors) {
    if let Some(rules) = of(group, kind) {
        rules(kind, object, errors);
    }
}

/// Check of an object; the first argument is its kind.
type Rules = fn(&str, &Value, &mut Errors);

fn of(group: &str, kind: &str) -> Option<Rules> {
    Some(match (group, kind) {
        ("", "Pod") => |_, object, errors| pod::check(object, errors),
        ("", "Service") => |_, object, errors| service::service(object, errors),
        ("", "Endpoints") => |_, object, errors| service::endpoints(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => |_, object, errors| service::endpoint_slice(object, errors),
        ("", "ConfigMap") => |_, object, errors| config::config_map(object, errors),
        ("", "Secret") => |_, object, errors| config::secret(object, errors),
        ("", "LimitRange") => |_, object, errors| limits::limit_range(object, errors),
        ("", "ResourceQuota") => |_, object, errors| limits::resource_quota(object, errors),
        ("policy", "PodDisruptionBudget") => |_, object, errors| workload::disruption_budget(object, errors),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => workload::apps,
        ("batch", "Job") => |_, object, errors| workload::job(object, errors),
        ("batch", "CronJob") => |_, object, errors| workload::cron_job(object, errors),
        ("autoscaling", "HorizontalPodAutoscaler") => |_, object, errors| workload::autoscaler(object, errors),
        ("coordination.k8s.io", "Lease") => |_, object, errors| config::lease(object, errors),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => config::role,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => config::role_binding,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            |_, object, errors| config::custom_resource_definition(object, errors)
        }
        _ => return None,
    })
}

/// Mistakes that were found.
#[derive(Default)]
struct Errors {
    found: Vec<FieldError>,
}

impl Errors {
    fn add(&mut self, error: FieldError) {
        self.found.push(error);
    }

    fn invalid(&mut self, path: impl Into<String>, value: &Value, detail: impl Into<String>) {
        self.add(FieldError::invalid(path, value, detail));
    }

    fn required(&mut self, path: impl Into<String>, detail: impl Into<String>) {
        self.add(FieldError::required(path, detail));
    }

    /// Checks a text by a rule of `names`.
    fn named(&mut self, path: &str, text: &str, rule: fn(&str) -> Vec<String>) {
        for problem in rule(text) {
            self.invalid(path, &Value::from(text), problem);
        }
    }

    /// Checks that a text is one of a few. A missing value is accepted here.
    fn one_of(&mut self, path: &str, value: Option<&Value>, allowed: &[&str]) {
        if let Some(value) = value
            && !allowed.iter().any(|name| value == name)
        {
            self.add(FieldError::not_supported(path, value, allowed));
        }
    }

    /// Checks that a number is not negative, if there is one.
    fn not_negative(&mut self, path: &str, value: Option<&Value>) {
        self.at_least(path, value, 0);
    }

    /// Checks that a whole number is at least `min`, if there is one.
    fn at_least(&mut self, path: &str, value: Option<&Value>, min: i64) {
        match value {
            None | Some(Value::Null) => {}
            Some(value) => match value.as_i64() {
                Some(number) if number >= min => {}
                Some(_) => {
                    let text = if min == 1 {
                        "must be greater than 0".to_owned()
                    } else {
                        format!("must be greater than or equal to {min}")
                    };
                    self.invalid(path, value, text);
                }
                None => self.add(FieldError::type_invalid(path, value, "must be an integer")),
            },
        }
    }

    /// Checks a port number.
    fn port(&mut self, path: &str, value: &Value) {
        if !value.as_i64().is_some_and(|number| (1..=65535).contains(&number)) {
            self.invalid(path, value, "must be between 1 and 65535, inclusive");
        }
    }

    /// Checks a port number or the name of a port.
    fn port_or_name(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(name) => self.named(path, name, names::port_name),
            value => self.port(path, value),
        }
    }

    /// Checks a map from label keys to label values.
    fn labels(&mut self, path: &str, labels: Option<&Value>) {
        match labels {
            None | Some(Value::Null) => {}
            Some(Value::Object(labels)) => {
                for (key, value) in labels {
                    self.named(path, key, names::qualified_name);
                    match value {
                        Value::String(text) => {
                            for problem in names::label_value(text) {
                                self.invalid(path, value, problem);
                            }
                        }
                        other => {
                            self.add(FieldError::type_invalid(format!("{path}.{key}"), other, "must be a string"));
                        }
                    }
                }
            }
            Some(other) => self.add(FieldError::type_invalid(path, other, "must be a map of strings")),
        }
    }

    /// Checks a `LabelSelector`.
    fn selector(&mut self, path: &str, selector: &Value) {
        self.labels(&format!("{path}.matchLabels"), selector.get("matchLabels"));
        for (index, expression) in crate::json::list(selector, "/matchExpressions").iter().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            let values = crate::json::list(expression, "/values");
            match crate::json::text(expression, "/operator") {
                "In" | "NotIn" if values.is_empty() => {
                    self.required(format!("{path}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => self.add(FieldError::forbidden(
                    format!("{path}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )),
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => self.invalid(format!("{path}.operator"), &Value::from(other), "not a valid selector operator"),
            }
            self.named(&format!("{path}.key"), crate::json::text(expression, "/key"), names::qualified_name);
        }
    }

    /// Checks that a field does not change.
    fn immutable(&mut self, path: &str, old: &Value, new: &Value) {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (old, new) = (old.pointer(&pointer).unwrap_or(&Value::Null), new.pointer(&pointer).unwrap_or(&Value::Null));
        if old != new {
            self.invalid(path, new, "field is immutable");
        }
    }
}

#[cfg(test)]
mod tests;
