//! Settings of the sidecar: the fields of a container, and what the API server or the kubelet would refuse in a pod.

use serde_json::Value;

use super::{Errors, SpecError, SpecPart, template};
use crate::{
    RainbowSpec, SidecarSettings,
    pod_types::{RESOURCES, SECURITY_CONTEXT, Type},
};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    // No color can be made with settings that are wrong. Existing colors have recorded theirs.
    errors.part = SpecPart::Version;
    if let Some(settings) = &spec.drain.sidecar {
        settings_at("spec.drain.sidecar", settings, errors);
    }
}

/// Returns all errors of settings that are the default of all applications. `path` is where they were written.
pub fn validate_sidecar(path: &str, settings: &SidecarSettings) -> Vec<SpecError> {
    let mut errors = Errors { found: Vec::new(), part: SpecPart::Version };
    settings_at(path, settings, &mut errors);
    errors.found
}

fn settings_at(path: &str, settings: &SidecarSettings, errors: &mut Errors) {
    if let Some(resources) = &settings.resources {
        let path = format!("{path}.resources");
        template::value(resources, &Type::Struct(RESOURCES), &mut path.clone(), errors);
        template::resources(resources, &path, errors);
    }
    if let Some(context) = &settings.security_context {
        let path = format!("{path}.securityContext");
        template::value(context, &Type::Struct(SECURITY_CONTEXT), &mut path.clone(), errors);
        security_context(context, &path, errors);
    }
}

/// Checks for fields of a security context that exclude each other: no pod with both would ever start.
fn security_context(context: &Value, path: &str, errors: &mut Errors) {
    if context["runAsNonRoot"] == Value::Bool(true) && context["runAsUser"].as_i64() == Some(0) {
        errors.add(
            format!("{path}.runAsUser"),
            "`0` is root, but runAsNonRoot is true: use another user, or take runAsNonRoot out",
        );
    }
    if context["privileged"] == Value::Bool(true) && context["allowPrivilegeEscalation"] == Value::Bool(false) {
        errors.add(
            format!("{path}.privileged"),
            "is true, but allowPrivilegeEscalation is false: take one of them out; the counter needs no privilege",
        );
    }
}
