//! Fields that an instance's pods have where their template is silent, as they were recorded when the instance was made.

use rainbow_api::{ColorInstance, ServiceLinks, TerminationMessages};
use serde_json::Value;

/// Adds the fields. A value in the template is kept.
pub(super) fn fill(template: &mut Value, instance: &ColorInstance) {
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let is_silent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    match instance.service_links {
        ServiceLinks::Off if is_silent(spec.get("enableServiceLinks")) => {
            spec.insert("enableServiceLinks".into(), false.into());
        }
        ServiceLinks::Off | ServiceLinks::Default => {}
    }
    match instance.termination_messages {
        TerminationMessages::Logs => {
            let policy = "terminationMessagePolicy";
            for list in ["initContainers", "containers"] {
                let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                let silent = containers.filter_map(Value::as_object_mut).filter(|fields| is_silent(fields.get(policy)));
                silent.for_each(|fields| drop(fields.insert(policy.into(), "FallbackToLogsOnError".into())));
            }
        }
        TerminationMessages::Default => {}
    }
}
