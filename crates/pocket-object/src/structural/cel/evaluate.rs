//! Evaluation of rules on a value.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, Value as Cel, objects::Key};
use serde_json::Value;

use super::{ENV, Rule, functions, infer::escape};
use crate::{
    FieldError, FieldErrorKind,
    structural::{Additional, Node, Type, child_path, format, validate},
};

/// Evaluates all rules.
pub(in crate::structural) fn check(root: &Node, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if !has_rules(root) {
        return;
    }
    let mut context = Context::with_env(ENV.clone());
    // The standard library has none of these names, so no call fails. A rule that called a missing function would fail with a
    // message of its own.
    let _ = context.add_function("find", functions::find);
    let _ = context.add_function("findAll", functions::find_all);
    let _ = context.add_function("isSorted", functions::is_sorted);
    let _ = context.add_function("sum", functions::sum);
    let _ = context.add_function("min", functions::min);
    let _ = context.add_function("max", functions::max);
    walk(root, new, old, "", &context, errors);
}

fn has_rules(node: &Node) -> bool {
    !node.rules.is_empty()
        || node.properties.values().any(has_rules)
        || node.items.as_deref().is_some_and(has_rules)
        || matches!(&node.additional, Additional::Of(nested) if has_rules(nested))
}

fn walk(
    node: &Node,
    new: &Value,
    old: Option<&Value>,
    path: &str,
    context: &Context<'_, '_>,
    errors: &mut Vec<FieldError>,
) {
    // A value of the wrong type is tolerated only because it was there before; rules cannot be evaluated on it.
    if new.is_null() || !validate::has_type(node, new) {
        return;
    }
    let old = old.filter(|old| validate::has_type(node, old));
    for rule in &node.rules {
        if let Some(error) = evaluate(rule, node, new, old, path, context) {
            errors.push(error);
        }
    }
    match new {
        Value::Object(map) => {
            for (name, value) in map {
                let child = node.properties.get(name).or(match &node.additional {
                    Additional::Of(nested) => Some(nested),
                    _ => None,
                });
                if let Some(child) = child {
                    let old = old.and_then(|old| old.get(name));
                    walk(child, value, old, &child_path(path, name, false), context, errors);
                }
            }
        }
        Value::Array(elements) => {
            let Some(items) = &node.items else { return };
            for (index, element) in elements.iter().enumerate() {
                let old = validate::same_element(node, element, old);
                walk(items, element, old, &format!("{path}[{index}]"), context, errors);
            }
        }
        _ => {}
    }
}

fn evaluate(
    rule: &Rule,
    node: &Node,
    new: &Value,
    old: Option<&Value>,
    path: &str,
    context: &Context<'_, '_>,
) -> Option<FieldError> {
    let program = rule.program.as_ref()?;
    if rule.transition && old.is_none() && !rule.optional_old_self {
        return None;
    }
    // As elsewhere, a violation that existed before and does not change is accepted.
    if !rule.transition && old == Some(new) {
        return None;
    }
    let mut context = context.new_inner_scope();
    context.add_variable_from_value("self", convert(node, new));
    let old = old.map(|old| convert(node, old));
    if rule.optional_old_self {
        let optional = old.map_or_else(cel::objects::OptionalValue::none, cel::objects::OptionalValue::of);
        context.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(optional)));
    } else if let Some(old) = old {
        context.add_variable_from_value("oldSelf", old);
    }
    let type_name = node.type_.map_or_else(|| validate::type_name(new), Type::name);
    let text = match program.execute(&context) {
        Ok(Cel::Bool(true)) => return None,
        Ok(Cel::Bool(false)) => message(rule, &context),
        Ok(_) => format!("rule must evaluate to a bool: {}", rule.rule),
        Err(error) => format!("{error} evaluating rule: {}", rule.rule),
    };
    let path = format!("{path}{}", rule.field_path);
    Some(FieldError {
        path: path.trim_start_matches('.').to_owned(),
        kind: rule.reason.unwrap_or(FieldErrorKind::Invalid),
        value: (!matches!(rule.reason, Some(FieldErrorKind::Required | FieldErrorKind::Forbidden)))
            .then(|| Value::from(type_name)),
        detail: text,
    })
}

fn message(rule: &Rule, context: &Context<'_, '_>) -> String {
    let made = rule.message_program.as_ref().and_then(|program| match program.execute(context) {
        Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') => Some(text.to_string()),
        _ => None,
    });
    made.unwrap_or_else(|| {
        if rule.message.is_empty() { format!("failed rule: {}", rule.rule.trim()) } else { rule.message.clone() }
    })
}

/// Returns a value as CEL sees it: by its schema, not by the way in which JSON happens to write it.
fn convert(node: &Node, value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (node.type_, number.as_i64()) {
            (Some(Type::Number), _) | (_, None) => {
                let float = number.as_f64().unwrap_or_default();
                #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
                if node.type_ == Some(Type::Integer) && float.fract() == 0.0 && float.abs() < 9.0e18 {
                    Cel::Int(float as i64)
                } else {
                    Cel::Float(float)
                }
            }
            (_, Some(number)) => Cel::Int(number),
        },
        Value::String(text) => string(node, text),
        Value::Array(list) => {
            let any = Node::default();
            let items = node.items.as_deref().unwrap_or(&any);
            Cel::List(Arc::new(list.iter().map(|item| convert(items, item)).collect()))
        }
        Value::Object(map) => {
            let any = Node::default();
            let mut fields: HashMap<Key, Cel> = HashMap::with_capacity(map.len());
            for (name, value) in map {
                let (child, name) = match (node.properties.get(name), &node.additional) {
                    (Some(property), _) => (property, escape(name)),
                    (None, Additional::Of(nested)) => (&**nested, name.clone()),
                    (None, _) => (&any, name.clone()),
                };
                // A null that is not allowed counts as missing.
                if !(value.is_null() && !child.nullable && node.type_.is_some()) {
                    fields.insert(name.into(), convert(child, value));
                }
            }
            fields.into()
        }
    }
}

fn string(node: &Node, text: &str) -> Cel {
    let plain = || Cel::from(text);
    match node.limits.format.as_str() {
        "date-time" | "datetime" => chrono::DateTime::parse_from_rfc3339(text).map_or_else(|_| plain(), Cel::Timestamp),
        "date" => {
            chrono::DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")).map_or_else(|_| plain(), Cel::Timestamp)
        }
        "duration" => {
            format::duration(text).map_or_else(plain, |nanos| Cel::Duration(chrono::Duration::nanoseconds(nanos)))
        }
        _ => plain(),
    }
}
