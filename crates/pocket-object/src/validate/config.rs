//! ConfigMaps, Secrets, Leases, roles, and CustomResourceDefinitions as objects.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Errors;
use crate::{
    FieldError,
    json::{entries, list, text},
    names,
};

/// Greatest size of a ConfigMap or Secret, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

pub(super) fn config_map(map: &Value, errors: &mut Errors) {
    let mut total = 0;
    for (key, value) in entries(map, "/data") {
        errors.named(&format!("data[{key}]"), key, names::config_key);
        if map.pointer("/binaryData").is_some_and(|binary| binary.get(key).is_some()) {
            let detail = "duplicate of key present in binaryData";
            errors.invalid(format!("data[{key}]"), &Value::from(key.as_str()), detail);
        }
        match value.as_str() {
            Some(text) => total += text.len(),
            None => errors.add(FieldError::type_invalid(format!("data[{key}]"), value, "must be a string (quote it)")),
        }
    }
    for (key, value) in entries(map, "/binaryData") {
        errors.named(&format!("binaryData[{key}]"), key, names::config_key);
        total += decoded(&format!("binaryData[{key}]"), value, errors);
    }
    if total > MAX_SIZE {
        errors.add(FieldError::too_long("", MAX_SIZE));
    }
}

pub(super) fn secret(secret: &Value, errors: &mut Errors) {
    let mut total = 0;
    for (key, value) in entries(secret, "/data") {
        errors.named(&format!("data[{key}]"), key, names::config_key);
        total += decoded(&format!("data[{key}]"), value, errors);
    }
    if total > MAX_SIZE {
        errors.add(FieldError::too_long("data", MAX_SIZE));
    }
    let required: &[&str] = match text(secret, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if secret.pointer("/data").is_none_or(|data| data.get(key).is_none()) {
            errors.required(format!("data[{key}]"), "");
        }
    }
}

/// Returns the number of bytes that a base64 text encodes.
fn decoded(path: &str, value: &Value, errors: &mut Errors) -> usize {
    let plain: String = value.as_str().unwrap_or_default().split_ascii_whitespace().collect();
    match STANDARD.decode(plain) {
        Ok(bytes) if value.is_string() => bytes.len(),
        // The value may be a secret, so messages do not show it.
        Ok(_) => {
            errors
                .add(FieldError { value: None, ..FieldError::type_invalid(path, value, "must be base64 in a string") });
            0
        }
        Err(error) => {
            let detail = format!("illegal base64 data: {error}");
            errors.add(FieldError { value: None, ..FieldError::type_invalid(path, value, detail) });
            0
        }
    }
}

pub(super) fn lease(lease: &Value, errors: &mut Errors) {
    errors.at_least("spec.leaseDurationSeconds", lease.pointer("/spec/leaseDurationSeconds"), 1);
    errors.not_negative("spec.leaseTransitions", lease.pointer("/spec/leaseTransitions"));
    if lease.pointer("/spec/holderIdentity").is_some_and(|holder| *holder == "") {
        errors.invalid("spec.holderIdentity", &Value::from(""), "must not be empty");
    }
}

pub(super) fn role(kind: &str, role: &Value, errors: &mut Errors) {
    for (index, rule) in list(role, "/rules").iter().enumerate() {
        let at = format!("rules[{index}]");
        if list(rule, "/verbs").is_empty() {
            errors.required(format!("{at}.verbs"), "verbs must contain at least one value");
        }
        if list(rule, "/nonResourceURLs").is_empty() {
            if list(rule, "/apiGroups").is_empty() {
                errors.required(format!("{at}.apiGroups"), "resource rules must supply at least one api group");
            }
            if list(rule, "/resources").is_empty() {
                errors.required(format!("{at}.resources"), "resource rules must supply at least one resource");
            }
        } else if kind == "Role" {
            let urls = rule.get("nonResourceURLs").unwrap_or(&Value::Null);
            errors.invalid(format!("{at}.nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs");
        } else if !list(rule, "/apiGroups").is_empty() || !list(rule, "/resources").is_empty() {
            let urls = rule.get("nonResourceURLs").unwrap_or(&Value::Null);
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(format!("{at}.nonResourceURLs"), urls, detail);
        }
    }
}

pub(super) fn role_binding(kind: &str, binding: &Value, errors: &mut Errors) {
    let group = binding.pointer("/roleRef/apiGroup");
    errors.one_of("roleRef.apiGroup", group, &["rbac.authorization.k8s.io"]);
    let kinds: &[&str] = if kind == "RoleBinding" { &["ClusterRole", "Role"] } else { &["ClusterRole"] };
    let role_kind = binding.pointer("/roleRef/kind").cloned().unwrap_or_else(|| Value::from(""));
    errors.one_of("roleRef.kind", Some(&role_kind), kinds);
    if text(binding, "/roleRef/name").is_empty() {
        errors.required("roleRef.name", "");
    }
    for (index, subject) in list(binding, "/subjects").iter().enumerate() {
        let at = format!("subjects[{index}]");
        if text(subject, "/name").is_empty() {
            errors.required(format!("{at}.name"), "");
        }
        let subject_kind = subject.get("kind").cloned().unwrap_or_else(|| Value::from(""));
        errors.one_of(&format!("{at}.kind"), Some(&subject_kind), &["Group", "ServiceAccount", "User"]);
        if subject_kind == "ServiceAccount" && text(subject, "/namespace").is_empty() {
            errors.required(format!("{at}.namespace"), "");
        }
    }
}

pub(super) fn custom_resource_definition(crd: &Value, errors: &mut Errors) {
    let (group, plural) = (text(crd, "/spec/group"), text(crd, "/spec/names/plural"));
    if group.is_empty() {
        errors.required("spec.group", "");
    } else {
        errors.named("spec.group", group, names::subdomain);
        if !group.contains('.') {
            let detail = "should be a domain with at least one dot";
            errors.invalid("spec.group", &Value::from(group), detail);
        }
    }
    for (field, rule) in [("plural", true), ("singular", true), ("kind", false), ("listKind", false)] {
        let at = format!("spec.names.{field}");
        match text(crd, &format!("/spec/names/{field}")) {
            "" => errors.required(at, ""),
            name if rule => errors.named(&at, name, names::dns_1035),
            name => {
                for problem in names::dns_1035(&name.to_lowercase()) {
                    errors.invalid(
                        at.as_str(),
                        &Value::from(name),
                        format!("may have mixed case, but should otherwise match: {problem}"),
                    );
                }
            }
        }
    }
    let name = text(crd, "/metadata/name");
    if !name.is_empty() && !group.is_empty() && name != format!("{plural}.{group}") {
        errors.invalid("metadata.name", &Value::from(name), "must be spec.names.plural+\".\"+spec.group");
    }
    match crd.pointer("/spec/scope") {
        None => errors.required("spec.scope", ""),
        scope => errors.one_of("spec.scope", scope, &["Cluster", "Namespaced"]),
    }
    versions(crd, errors);
}

fn versions(crd: &Value, errors: &mut Errors) {
    let versions = list(crd, "/spec/versions");
    let mut seen = std::collections::BTreeSet::new();
    let mut stored = 0;
    for (index, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        let name = text(version, "/name");
        errors.named(&format!("{at}.name"), name, names::dns_1035);
        if !seen.insert(name) {
            let detail = "must contain unique version names";
            errors.invalid("spec.versions", crd.pointer("/spec/versions").unwrap_or(&Value::Null), detail);
        }
        stored += usize::from(version.get("storage") == Some(&Value::Bool(true)));
        let at = format!("{at}.schema.openAPIV3Schema");
        match version.pointer("/schema/openAPIV3Schema") {
            None => errors.required(at, "schemas are required"),
            Some(schema) => {
                if let Err(problems) = crate::structural::Schema::parse(schema) {
                    for problem in problems {
                        let join = if problem.path.is_empty() || problem.path.starts_with('[') { "" } else { "." };
                        errors.add(FieldError { path: format!("{at}{join}{}", problem.path), ..problem });
                    }
                }
            }
        }
    }
    if stored != 1 {
        let value = crd.pointer("/spec/versions").unwrap_or(&Value::Null);
        errors.invalid("spec.versions", value, "must have exactly one version marked as storage version");
    }
    let strategy = crd.pointer("/spec/conversion/strategy");
    errors.one_of("spec.conversion.strategy", strategy, &["None", "Webhook"]);
}
