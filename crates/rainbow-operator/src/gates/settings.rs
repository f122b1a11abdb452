//! Settings of a check: the gate of the spec, with what its template says.

use rainbow_api::{GateArgument, GateCheck, OnNoData, PODS_GATE, PodsGate, RainbowSpec};
use rainbow_plan::Check;
use std::sync::Arc;

use super::{
    place::stage_and_tier,
    templates::{Obstacle, Templates},
};
use crate::messages;

/// Way in which a check is measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Settings {
    /// Nothing is known yet: the check is from the status, or the templates have not been listed.
    #[default]
    Unknown,
    /// The gate is measured.
    Gate { gate: Arc<GateCheck>, args: Vec<GateArgument> },
    /// The pods are checked as the watches show them.
    Pods(PodsGate),
    /// The gate cannot be measured.
    Invalid(String),
}

impl Settings {
    /// Returns the settings of a check.
    pub(super) fn of(spec: &RainbowSpec, check: &Check, templates: &Templates) -> Self {
        let Some(gate) = spec.gates.iter().find(|gate| gate.name == check.gate) else {
            let (stage, _) = stage_and_tier(&check.stage);
            let stage = spec.stages.iter().find(|found| found.name == stage);
            return match check.gate == PODS_GATE {
                true => Self::Pods(stage.map(|stage| stage.gates.pods.clone()).unwrap_or_default()),
                false => Self::Invalid(messages::unknown_gate(&check.gate)),
            };
        };
        let Some(used) = &gate.template else {
            return Self::Gate { gate: Arc::new(gate.check.clone()), args: Vec::new() };
        };
        match templates.resolve(used) {
            Ok((template, args)) => Self::Gate { gate: Arc::new(over(&gate.check, &template.check)), args },
            Err(Obstacle::Unread) => Self::Unknown,
            Err(Obstacle::Invalid(why)) => Self::Invalid(why),
        }
    }
}

/// Returns the check of a template, with the fields that the gate itself sets in place of the template's.
fn over(own: &GateCheck, template: &GateCheck) -> GateCheck {
    let GateCheck { prometheus, web, job, traffic, manual, .. } = template.clone();
    GateCheck {
        prometheus,
        web,
        job,
        traffic,
        manual,
        interval: own.interval.or(template.interval),
        initial_delay: own.initial_delay.or(template.initial_delay),
        count: own.count.or(template.count),
        success_condition: own.success_condition.clone().or_else(|| template.success_condition.clone()),
        failure_condition: own.failure_condition.clone().or_else(|| template.failure_condition.clone()),
        failure_limit: own.failure_limit.or(template.failure_limit),
        inconclusive_limit: own.inconclusive_limit.or(template.inconclusive_limit),
        consecutive_error_limit: own.consecutive_error_limit.or(template.consecutive_error_limit),
        on_no_data: if own.on_no_data == OnNoData::Hold { template.on_no_data } else { own.on_no_data },
        // The planner decides by the gate of the spec, so that what is reported here is what it does.
        dry_run: own.dry_run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_the_gate_come_before_those_of_its_template() {
        let check = |value: serde_json::Value| serde_json::from_value::<GateCheck>(value).unwrap();
        let template = check(json!({
            "web": { "url": "http://a" }, "interval": "1m", "count": 5, "failureLimit": 2, "successCondition": "result > 1",
            "onNoData": "Pass", "dryRun": true,
        }));
        let own = check(json!({ "count": 3, "successCondition": "result > 2" }));
        let expected = check(json!({
            "web": { "url": "http://a" }, "interval": "1m", "count": 3, "failureLimit": 2, "successCondition": "result > 2",
            "onNoData": "Pass",
        }));
        assert_eq!(over(&own, &template), expected);
    }
}
