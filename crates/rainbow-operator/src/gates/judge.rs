//! Outcome of one measurement, by the conditions of its gate. The meaning is that of Argo Rollouts.

use rainbow_api::{GateCheck, MeasurementOutcome, OnNoData};
use serde_json::Value;

use super::{
    answer::Answer,
    conditions::{self, Problem},
};
use crate::messages;

/// Longest value and query in a status, in characters.
const LONGEST_VALUE: usize = 256;
const LONGEST_QUERY: usize = 1024;

/// Answer after it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing can be said yet.
    Pending { why: String },
    /// The measurement counts.
    Measured(Judged),
}

/// Measurement that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) outcome: MeasurementOutcome,
    pub(super) value: Option<String>,
    pub(super) query: Option<String>,
    pub(super) message: Option<String>,
}

impl Judged {
    /// Returns an attempt without an answer.
    pub(super) fn error(why: impl Into<String>, query: Option<String>) -> Self {
        Self { outcome: MeasurementOutcome::Error, value: None, query, message: Some(why.into()) }
    }

    /// Returns the measurement with its texts changed, and then shortened.
    pub(super) fn shown(self, change: impl Fn(&str) -> String) -> Self {
        let text = |text: Option<String>, longest| text.map(|text| shortened(&change(&text), longest));
        Self {
            outcome: self.outcome,
            value: text(self.value, LONGEST_VALUE),
            query: text(self.query, LONGEST_QUERY),
            message: text(self.message, LONGEST_QUERY),
        }
    }
}

/// Judges an answer.
pub(super) fn judge(gate: &GateCheck, answer: Answer) -> Judgement {
    Judgement::Measured(match answer {
        Answer::Pending { why } => return Judgement::Pending { why },
        Answer::Error { why, query } => Judged::error(why, query),
        Answer::NoData { query } => {
            let outcome = match gate.on_no_data {
                OnNoData::Hold => MeasurementOutcome::NoData,
                OnNoData::Pass => MeasurementOutcome::Passed,
                OnNoData::Fail => MeasurementOutcome::Failed,
            };
            Judged { outcome, value: None, query, message: Some(messages::NO_DATA.to_owned()) }
        }
        Answer::Value { result, names, is_good, query } => {
            let (outcome, condition) = by_conditions(gate, &result, &names, is_good);
            // A Job, requests of our own and a person say more than the value does.
            let own = names.iter().find(|(name, _)| *name == "message").and_then(|(_, own)| own.as_str());
            let message = match (own, condition) {
                (Some(own), Some(condition)) => Some(format!("{own}; {condition}")),
                (own, condition) => condition.or_else(|| own.map(str::to_owned)),
            };
            Judged { outcome, value: Some(shown(&result)), query, message }
        }
    })
}

fn by_conditions(
    gate: &GateCheck,
    result: &Value,
    names: &[(&'static str, Value)],
    is_good: bool,
) -> (MeasurementOutcome, Option<String>) {
    use MeasurementOutcome::{Error, Failed, Inconclusive, Passed};
    let truth = |field: &str, condition: Option<&str>| {
        condition.map(|condition| conditions::holds(field, condition, result, names)).transpose()
    };
    let (success, failure) = (gate.success_condition.as_deref(), gate.failure_condition.as_deref());
    let both = truth("successCondition", success).and_then(|good| Ok((good, truth("failureCondition", failure)?)));
    let unmet = || success.map(messages::unmet);
    let met = || failure.map(messages::met);
    match both {
        Err(Problem::Invalid(why)) => (Inconclusive, Some(why)),
        Err(Problem::Failed(why)) => (Error, Some(why)),
        Ok((None, None)) => (if is_good { Passed } else { Failed }, None),
        Ok((Some(true), None | Some(false)) | (None, Some(false))) => (Passed, None),
        Ok((Some(false), None)) => (Failed, unmet()),
        Ok((None | Some(false), Some(true))) => (Failed, met()),
        Ok((Some(true), Some(true))) => (Failed, Some(messages::BOTH_CONDITIONS.to_owned())),
        Ok((Some(false), Some(false))) => (Inconclusive, Some(messages::NEITHER_CONDITION.to_owned())),
    }
}

/// Returns a value for people: a list of one number is that number.
fn shown(result: &Value) -> String {
    match result {
        Value::Array(items) if items.len() == 1 => items.iter().map(shown).collect(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MeasurementOutcome::{Error, Failed, Inconclusive, NoData, Passed};
    use serde_json::json;

    fn gate(success: &str, failure: &str, on_no_data: OnNoData) -> GateCheck {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        GateCheck {
            success_condition: some(success),
            failure_condition: some(failure),
            on_no_data,
            ..GateCheck::default()
        }
    }

    fn judged(gate: &GateCheck, answer: Answer) -> Judged {
        match judge(gate, answer) {
            Judgement::Measured(judged) => judged,
            Judgement::Pending { why } => panic!("pending: {why}"),
        }
    }

    #[test]
    fn conditions_decide_as_in_argo() {
        for (success, failure, result, is_good, expected, message) in [
            ("", "", json!([0.1]), true, Passed, ""),
            ("", "", json!([0.1]), false, Failed, ""),
            ("result[0] < 1", "", json!([0.1]), false, Passed, ""),
            ("result[0] < 1", "", json!([2.0]), true, Failed, "`result[0] < 1` is false"),
            ("", "result[0] > 1", json!([2.0]), true, Failed, "`result[0] > 1` is true"),
            ("", "result[0] > 1", json!([0.5]), false, Passed, ""),
            ("result[0] < 1", "result[0] > 5", json!([0.5]), false, Passed, ""),
            ("result[0] < 1", "result[0] > 5", json!([6]), true, Failed, "`result[0] > 5` is true"),
            ("result[0] < 1", "result[0] > 5", json!([3]), true, Inconclusive, messages::NEITHER_CONDITION),
            ("result[0] > 1", "result[0] > 1", json!([3]), true, Failed, messages::BOTH_CONDITIONS),
            ("status < 400", "", json!(null), true, Passed, ""),
            ("status >= 400", "", json!(null), true, Failed, "`status >= 400` is false"),
        ] {
            let names = vec![("status", json!(200))];
            let answer = Answer::Value { result: result.clone(), names, is_good, query: None };
            let found = judged(&gate(success, failure, OnNoData::Hold), answer);
            assert_eq!(
                (found.outcome, found.message.as_deref().unwrap_or("")),
                (expected, message),
                "{success} {failure} {result}"
            );
        }
    }

    #[test]
    fn a_condition_that_is_wrong_waits_for_a_person() {
        let answer = || Answer::Value { result: json!([]), names: Vec::new(), is_good: true, query: None };
        for (success, failure, expected, message) in [
            ("result[0] <", "", Inconclusive, "successCondition is no CEL expression: "),
            ("", "1 +", Inconclusive, "failureCondition is no CEL expression: "),
            ("1 + 1", "", Inconclusive, "successCondition must be true or false"),
            ("result[0] < 1", "", Error, "successCondition cannot be evaluated: "),
        ] {
            let found = judged(&gate(success, failure, OnNoData::Hold), answer());
            assert_eq!(found.outcome, expected);
            assert!(found.message.as_deref().unwrap().starts_with(message), "{found:?}");
        }
    }

    #[test]
    fn an_answer_without_a_value_means_what_the_gate_says() {
        for (on_no_data, expected) in [(OnNoData::Hold, NoData), (OnNoData::Pass, Passed), (OnNoData::Fail, Failed)] {
            let query = Some("up".to_owned());
            let found = judged(&gate("result[0] < 1", "", on_no_data), Answer::NoData { query: query.clone() });
            assert_eq!((found.outcome, found.query), (expected, query));
        }
    }

    #[test]
    fn a_provider_says_more_than_a_value() {
        let answer = |result: Value| Answer::Value {
            result,
            names: vec![("message", json!("approved by ann"))],
            is_good: true,
            query: None,
        };
        let message = |gate: &GateCheck, result: Value| judged(gate, answer(result)).message.unwrap();
        assert_eq!(message(&gate("", "", OnNoData::Hold), json!(true)), "approved by ann");
        assert_eq!(
            message(&gate("result > 1", "", OnNoData::Hold), json!(1)),
            "approved by ann; `result > 1` is false"
        );
    }

    #[test]
    fn what_is_pending_does_not_count() {
        let gate = gate("", "", OnNoData::Fail);
        let why = "the Job runs".to_owned();
        assert_eq!(judge(&gate, Answer::Pending { why: why.clone() }), Judgement::Pending { why });
        let error = judged(&gate, Answer::Error { why: "no".into(), query: None });
        assert_eq!((error.outcome, error.message.as_deref()), (Error, Some("no")));
    }

    #[test]
    fn texts_are_short() {
        for (result, expected) in [(json!([0.5]), "0.5"), (json!([1.0, 2.5]), "[1.0,2.5]"), (json!("up"), "up")] {
            assert_eq!(shown(&result), expected);
        }
        let long = Judged { value: Some("ä".repeat(300)), ..Judged::error("x".repeat(2000), Some("q".repeat(2000))) };
        let short = long.shown(str::to_owned);
        let count = |text: Option<String>| text.unwrap().chars().count();
        assert_eq!((count(short.value), count(short.query), count(short.message)), (256, 1024, 1024));
    }
}
