//! Checks of gates that need more than the API's types: expressions, patterns and times.

use jiff::Timestamp;
use rainbow_api::GateCheck;
use rainbow_operator::condition_mistake;
use regex::Regex;
use serde_json::Value;

use super::wrong::Wrong;

/// Returns the errors in the expressions and patterns of a gate. `path`: path of the gate.
pub(super) fn check(check: &GateCheck, path: &str) -> Vec<Wrong> {
    let conditions = [("successCondition", &check.success_condition), ("failureCondition", &check.failure_condition)];
    let conditions = conditions.into_iter().filter_map(|(field, condition)| {
        let condition = condition.as_ref().filter(|text| !text.trim().is_empty())?;
        Some(Wrong::new(format!("{path}.{field}"), condition_mistake(condition)?))
    });
    let pattern = check.traffic.as_ref().and_then(|traffic| traffic.pattern.as_deref()).and_then(pattern_mistake);
    let pattern = pattern.map(|mistake| Wrong::new(format!("{path}.traffic.pattern"), mistake));
    conditions.chain(pattern).collect()
}

fn pattern_mistake(pattern: &str) -> Option<String> {
    match Regex::new(pattern) {
        Ok(_) => None,
        // The last line says what is wrong; those before it draw the place.
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Some(format!("`{pattern}` is no regular expression: {last}"))
        }
    }
}

/// Returns the error in the time of an `Approval`.
pub(super) fn approval(spec: &Value) -> Option<Wrong> {
    let until = spec["until"].as_str()?;
    let message = format!("`{until}` is no time: write one such as 2026-12-01T12:00:00Z");
    until.parse::<Timestamp>().is_err().then(|| Wrong::new("spec.until", message))
}
