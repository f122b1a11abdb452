//! Writes that fail, or have no effect.

use crate::{fixed::KeptValue, kind::Kind};

/// Returns what the API server says about an object.
pub(crate) fn of_object(kind: Kind, name: &str, says: &dyn std::fmt::Display) -> String {
    format!("{kind} `{name}`: {says}")
}

/// Describes that objects are needed in a namespace that is being deleted.
pub(crate) fn namespace_ends(namespace: &str) -> String {
    format!("namespace `{namespace}` is being deleted: nothing is made in it")
}

/// Describes that the object is not the one that the write was decided on.
pub(crate) fn not_what_it_was(kind: Kind, name: &str, says: Option<&str>) -> String {
    match says {
        Some(says) => format!("{kind} `{name}` is not what it was: {says}"),
        None => format!("{kind} `{name}` is not what it was"),
    }
}

/// Describes that a write was answered with success, and a field differs from what was written.
pub(crate) fn without_effect(kind: Kind, name: &str, field: &str, managers: &[String]) -> String {
    let managers = managers.iter().map(|manager| format!("`{manager}`")).collect::<Vec<_>>().join(", ");
    let cause = match managers.as_str() {
        "" => "an admission webhook or policy may change it".to_owned(),
        managers => format!("field manager {managers} has it"),
    };
    format!("{kind} `{name}`: a write of `{field}` has no effect: {cause}")
}

/// Describes that a Deployment cannot be made yet: its ReplicaSet would find its name taken.
pub(crate) fn replica_set_goes(deployment: &str) -> String {
    format!("a ReplicaSet of Deployment `{deployment}` is being deleted")
}

/// Describes that a status cannot be written as a patch.
pub(crate) fn no_patch(kind: Kind, name: &str, error: &dyn std::fmt::Display) -> String {
    format!("{kind} `{name}`: its status is no patch: {error}")
}

/// Describes what a stage's Service keeps because it cannot change, although the spec has another value.
pub(crate) fn kept(service: &str, stage: &str, kept: &KeptValue) -> String {
    let (field, what) = match kept {
        KeptValue::Headless(true) => ("clusterIP", "is headless, and cannot get an address".to_owned()),
        KeptValue::Headless(false) => ("clusterIP", "has an address, and cannot become headless".to_owned()),
        KeptValue::Family(family) => ("ipFamilies", format!("has {family} as its main family, which cannot change")),
        KeptValue::LoadBalancerClass(Some(class)) => {
            ("loadBalancerClass", format!("has the load balancer class `{class}`, which cannot change"))
        }
        KeptValue::LoadBalancerClass(None) => {
            ("loadBalancerClass", "has a load balancer without a class, and cannot get one".to_owned())
        }
        KeptValue::HealthCheckNodePort(port) => ("healthCheckNodePort", format!("has {port}, which cannot change")),
    };
    format!(
        "spec.stages[{stage}].service.{field}: Service `{service}` {what}: set it back, or set another \
         spec.stages[{stage}].service.name, which makes a second Service before the first one goes"
    )
}
