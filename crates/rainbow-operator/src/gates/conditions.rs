//! Conditions of gates: CEL expressions over the result of a measurement.

use cel::{Context, Env, Program, Value as Cel, objects::Key};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, mpsc},
    time::Duration,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::expression::{DEEPEST, deepest};
use crate::messages;

/// Greatest number of operators: the parser and the evaluation recurse once for each, at worst.
const OPERATORS: usize = 512;
/// Stack of a thread that evaluates. The deepest expression needs a quarter of it.
const STACK: usize = 64 * 1024 * 1024;
/// Longest time of an evaluation, by the machine's clock.
const LONGEST: Duration = Duration::from_secs(5);
/// Number of threads that evaluate. One that takes longer than [`LONGEST`] keeps its place until it ends.
const THREADS: usize = 4;

/// Characters of operators.
const OPERATOR: [char; 13] = ['+', '-', '*', '/', '%', '!', '?', '.', '&', '|', '<', '>', '['];

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS)));
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    if let Err(error) = env.add_extension(cel::extensions::strings) {
        tracing::warn!(%error, "conditions of gates lack the functions of texts");
    }
    Arc::new(env)
});

/// Reason why a condition has no truth value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The expression is wrong whatever the result is.
    Invalid(String),
    /// The expression does not fit the result.
    Failed(String),
}

/// Evaluates a condition. `field` is its name for people.
pub(super) fn holds(
    field: &str,
    expression: &str,
    result: &Value,
    names: &[(&'static str, Value)],
) -> Result<bool, Problem> {
    let invalid = |why: &str| Problem::Invalid(messages::bad_condition(field, why));
    if deepest(expression) > DEEPEST {
        return Err(invalid(&messages::deep_condition(DEEPEST)));
    }
    if expression.matches(OPERATOR).count() > OPERATORS {
        return Err(invalid(&messages::long_condition(OPERATORS)));
    }
    let program = Program::compile(expression).map_err(|error| invalid(&error.to_string()))?;
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_variable_from_value("result", convert(result));
    for (name, value) in names {
        context.add_variable_from_value(*name, convert(value));
    }
    match program.execute(&context) {
        Ok(Cel::Bool(truth)) => Ok(truth),
        Ok(_) => Err(Problem::Invalid(messages::no_truth(field))),
        Err(error) => Err(Problem::Failed(messages::failed_condition(field, &error.to_string()))),
    }
}

/// Does work that an expression decides about on a thread of its own, so that a deep or slow expression, or a fault of the interpreter, harms
/// nothing else.
pub(super) async fn isolated<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, &'static str> {
    // The semaphore is never closed.
    let place = Arc::clone(&PLACES).acquire_owned().await;
    let waiting = spawn_blocking(move || {
        let (sender, done) = mpsc::channel();
        let thread = std::thread::Builder::new().name("gate".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            // The other side may have given up.
            let _ = sender.send(work());
            drop(place);
        });
        match started.map(|_| done.recv_timeout(LONGEST)) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(mpsc::RecvTimeoutError::Timeout)) => Err(messages::CONDITION_TOO_LONG),
            Ok(Err(mpsc::RecvTimeoutError::Disconnected)) | Err(_) => Err(messages::CONDITION_CRASHED),
        }
    });
    waiting.await.unwrap_or(Err(messages::CONDITION_CRASHED))
}

/// Returns a value as CEL sees it. Whole numbers of JSON are integers; CEL compares those with floating-point numbers.
fn convert(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Cel::Int(whole),
            (None, Some(large)) => Cel::UInt(large),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::from(items.iter().map(convert).collect::<Vec<Cel>>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (Key::from(name.as_str()), convert(value)));
            Cel::from(fields.collect::<HashMap<Key, Cel>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn truth(expression: &str, result: Value) -> Result<bool, Problem> {
        holds("successCondition", expression, &result, &[("status", json!(200))])
    }

    #[test]
    fn numbers_of_all_types_compare() {
        for (expression, result, expected) in [
            ("result[0] < 5", json!([4.5]), true),
            ("result[0] < 5", json!([5.0]), false),
            ("result[0] < 0.05", json!([0]), true),
            ("result[0] <= 5", json!([5.0]), true),
            ("result[0] == 5", json!([5.0]), true),
            ("result[0] != 5", json!([5.0]), false),
            ("5 == result[0]", json!([5.0]), true),
            ("result > 0.95", json!(1), true),
            ("result > 0.95", json!(0.9), false),
            ("result >= 18446744073709551615u", json!(18_446_744_073_709_551_615u64), true),
            ("size(result) > 0", json!([1.0]), true),
            ("size(result) > 0", json!([]), false),
            ("result.all(x, x < 1)", json!([0.1, 0.9]), true),
            ("result.exists(x, x > 1)", json!([0.1, 1.9]), true),
            ("result.ok && status == 200", json!({ "ok": true }), true),
            ("result.requests > 0 && result.failed == 0", json!({ "requests": 5, "failed": 0 }), true),
            ("result == 'up'", json!("up"), true),
            ("result.startsWith('u') && result.lowerAscii() == 'up'", json!("UP"), false),
            ("result == null", Value::Null, true),
            ("has(result.a) ? result.a : false", json!({}), false),
        ] {
            assert_eq!(truth(expression, result.clone()), Ok(expected), "{expression} of {result}");
        }
    }

    #[test]
    fn an_expression_that_is_wrong_is_told_from_one_that_does_not_fit() {
        for expression in ["result <", "result[0] < 5 &&& true", "(", "1 +", "size(result)", &"(".repeat(4096)] {
            assert!(matches!(truth(expression, json!([1])), Err(Problem::Invalid(_))), "{expression}");
        }
        for (expression, result) in
            [("result[0] < 5", json!([])), ("result.ok", json!("text")), ("reslt < 1", json!(1))]
        {
            assert!(matches!(truth(expression, result), Err(Problem::Failed(_))), "{expression}");
        }
    }

    #[tokio::test]
    async fn neither_deep_nor_slow_expressions_nor_faults_harm_anything() {
        for (text, is_valid) in [
            (format!("1{} > 0", "+1".repeat(OPERATORS - 1)), true),
            (format!("1{} > 0", "+1".repeat(OPERATORS)), false),
            (format!("{}true", "!".repeat(OPERATORS)), true),
            (format!("{}true", "!".repeat(4090)), false),
            (format!("{}1 < 2", "- ".repeat(OPERATORS - 2)), true),
            (format!("true{}", " && true".repeat(OPERATORS / 2)), true),
        ] {
            let truth = isolated(move || truth(&text, json!(1))).await.unwrap();
            assert!(matches!((truth, is_valid), (Ok(true), true) | (Err(Problem::Invalid(_)), false)));
        }
        let deep = format!("{}true{}", "true ? ".repeat(500), " : false".repeat(500));
        assert!(matches!(isolated(move || truth(&deep, json!(1))).await, Ok(Err(Problem::Invalid(_)))));
        let fault = isolated(|| -> u8 { panic!("a fault of the interpreter") }).await;
        assert_eq!(fault, Err(messages::CONDITION_CRASHED));
        let slow = isolated(|| std::thread::sleep(LONGEST + Duration::from_secs(1))).await;
        assert_eq!(slow, Err(messages::CONDITION_TOO_LONG));
    }
}
