//! Manifest of an instance's HorizontalPodAutoscaler.

use rainbow_api::{Autoscale, Rainbow};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};

use super::{Scope, instance_labels, owned};
use crate::{domain::object_name, kind::Kind};

/// Returns the autoscaler of an instance by its tier's policy. `least` is the lower limit that it has now.
pub(crate) fn scaler(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    instance: &InstanceName,
    policy: &Autoscale,
    least: u32,
) -> Value {
    let name = object_name(scope.prefix, instance);
    let mut spec = json!({
        "scaleTargetRef": {
            "apiVersion": Kind::Deployment.api_version(), "kind": Kind::Deployment.name(), "name": name,
        },
        "minReplicas": least,
        "maxReplicas": policy.max_replicas,
    });
    if !policy.metrics.is_empty() {
        spec["metrics"] = json!(policy.metrics);
    }
    if let Some(behavior) = &policy.behavior {
        spec["behavior"] = behavior.clone();
    }
    let labels = instance_labels(scope, instance);
    owned(scope, rainbow, Kind::HorizontalPodAutoscaler, &name, labels, spec)
}
