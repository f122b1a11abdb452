//! Validation rules in CEL: `x-kubernetes-validations`.
//!
//! A rule is compiled, and checked against the schema as far as that can be done without a full type checker: its
//! variables, functions and the fields it selects must exist. Cost is not estimated.

mod evaluate;
mod functions;
mod infer;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use cel::{Env, Program};
use serde_json::Value;

pub(super) use self::evaluate::check;
use self::infer::infer;
use super::{Additional, Node, Type};
use crate::{
    FieldError, FieldErrorKind,
    json::{list, text, truth},
};

/// Greatest length of a rule, and greatest depth of its brackets: the parser recurses as deep as they nest.
const MAX_RULE: usize = 16 * 1024;
const MAX_BRACKETS: usize = 64;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Two libraries with the same name would be an error here; then rules simply lack the second one.
    if let Err(error) = env.add_extension(cel::extensions::strings) {
        debug_assert!(false, "the strings library is part of every environment: {error}");
    }
    Arc::new(env)
});

/// Rule of a schema. Its programs are compiled after the whole schema was read.
#[derive(Debug, Default)]
pub(super) struct Rule {
    rule: String,
    message: String,
    message_expression: String,
    field_path: String,
    reason: Option<FieldErrorKind>,
    optional_old_self: bool,
    program: Option<Program>,
    message_program: Option<Program>,
    /// Whether the rule compares with the old value.
    transition: bool,
}

/// Reads the rules of a schema.
pub(super) fn read(schema: &Value, path: &str, errors: &mut Vec<FieldError>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, rule) in list(schema, "/x-kubernetes-validations").iter().enumerate() {
        let dot = if path.is_empty() { "" } else { "." };
        let at = format!("{path}{dot}x-kubernetes-validations[{index}]");
        if text(rule, "/rule").trim().is_empty() {
            errors.push(FieldError::required(format!("{at}.rule"), "rule is not specified"));
            continue;
        }
        let reason = match text(rule, "/reason") {
            "" => None,
            "FieldValueInvalid" => Some(FieldErrorKind::Invalid),
            "FieldValueForbidden" => Some(FieldErrorKind::Forbidden),
            "FieldValueRequired" => Some(FieldErrorKind::Required),
            "FieldValueDuplicate" => Some(FieldErrorKind::Duplicate),
            other => {
                let known = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
                errors.push(FieldError::not_supported(format!("{at}.reason"), &Value::from(other), &known));
                None
            }
        };
        rules.push(Rule {
            rule: text(rule, "/rule").to_owned(),
            message: text(rule, "/message").to_owned(),
            message_expression: text(rule, "/messageExpression").to_owned(),
            field_path: text(rule, "/fieldPath").to_owned(),
            reason,
            optional_old_self: truth(rule, "/optionalOldSelf"),
            ..Rule::default()
        });
    }
    rules
}

/// Compiles the rules of a schema and of all schemas below it.
pub(super) fn compile(root: &mut Node, errors: &mut Vec<FieldError>) {
    compile_at(root, "", true, errors);
}

fn compile_at(node: &mut Node, path: &str, correlatable: bool, errors: &mut Vec<FieldError>) {
    let mut rules = std::mem::take(&mut node.rules);
    for (index, rule) in rules.iter_mut().enumerate() {
        let dot = if path.is_empty() { "" } else { "." };
        let at = format!("{path}{dot}x-kubernetes-validations[{index}]");
        match program(&rule.rule, node, true) {
            Ok(program) => {
                rule.transition = program.references().has_variable("oldSelf");
                if rule.transition && !correlatable {
                    let detail = "oldSelf cannot be used on the uncorrelatable portion of the schema";
                    errors.push(FieldError::invalid(format!("{at}.rule"), &Value::from(rule.rule.as_str()), detail));
                }
                rule.program = Some(program);
            }
            Err(problem) => {
                let detail = format!("compilation failed: {problem}");
                errors.push(FieldError::invalid(format!("{at}.rule"), &Value::from(rule.rule.as_str()), detail));
            }
        }
        if !rule.message_expression.is_empty() {
            match program(&rule.message_expression, node, false) {
                Ok(program) => rule.message_program = Some(program),
                Err(problem) => {
                    let detail = format!("messageExpression compilation failed: {problem}");
                    let value = Value::from(rule.message_expression.as_str());
                    errors.push(FieldError::invalid(format!("{at}.messageExpression"), &value, detail));
                }
            }
        }
    }
    node.rules = rules;
    let join = |name: String| if path.is_empty() { name } else { format!("{path}.{name}") };
    for (name, property) in &mut node.properties {
        compile_at(property, &join(format!("properties[{name}]")), correlatable, errors);
    }
    if let Additional::Of(nested) = &mut node.additional {
        compile_at(nested, &join("additionalProperties".to_owned()), correlatable, errors);
    }
    let keyed = matches!(node.list_type, super::ListType::Map(_));
    if let Some(items) = &mut node.items {
        compile_at(items, &join("items".to_owned()), correlatable && keyed, errors);
    }
}

/// Compiles an expression, and checks the names in it.
fn program(source: &str, node: &Node, is_rule: bool) -> Result<Program, String> {
    let mut open = 0usize;
    for c in source.chars() {
        match c {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_BRACKETS || source.len() > MAX_RULE {
            return Err("the expression is too long or nests too deep".to_owned());
        }
    }
    let program = ENV.compile(source).map_err(|errors| errors.to_string())?;
    let scope = BTreeMap::from([("self".to_owned(), Some(node)), ("oldSelf".to_owned(), Some(node))]);
    let result = infer(program.expression(), &scope)?;
    if let Some(type_) = result.and_then(|node| node.type_) {
        let wanted = if is_rule { Type::Boolean } else { Type::String };
        if type_ != wanted {
            return Err(format!("must evaluate to a {}, not to a {}", wanted.name(), type_.name()));
        }
    }
    Ok(program)
}
