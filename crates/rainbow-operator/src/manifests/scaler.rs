//! An instance's HorizontalPodAutoscaler.

use rainbow_api::{Autoscale, Rainbow};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};

use super::{Scope, instance_labels, owned};
use crate::{domain::object_name, kind::Kind};

/// The autoscaler of an instance, as its tier's policy has it. `least` is the fewest pods that it may ask for now.
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
