//! Validation rules in CEL: `x-kubernetes-validations`.
//!
//! A rule is compiled, and checked against the schema as far as that can be done without a full type checker: its
//! variables, functions and the fields it selects must exist. Cost is not estimated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, Program, Value as Cel,
    common::ast::{EntryExpr, Expr, IdedExpr},
    objects::Key,
};
use serde_json::Value;

use super::{Additional, Node, Type, format, validate};
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

/// Functions that rules may call. Operators begin with a sign.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "charAt",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "indexOf",
    "int",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "quote",
    "replace",
    "reverse",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "timestamp",
    "trim",
    "type",
    "uint",
    "upperAscii",
    "value",
    "find",
    "findAll",
    "isSorted",
    "sum",
    "min",
    "max",
];
/// Names that stand for types and libraries.
const NAMES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
    "optional",
    "optional_type",
    "strings",
    "google",
];

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

/// Schemas of the variables in scope, as far as they are known.
type Scope<'a> = BTreeMap<String, Option<&'a Node>>;

/// Checks an expression. Returns its schema if it is a part of `self`.
fn infer<'a>(expr: &IdedExpr, scope: &Scope<'a>) -> Result<Option<&'a Node>, String> {
    match &expr.expr {
        Expr::Ident(name) => match scope.get(name) {
            Some(node) => Ok(*node),
            None if name.starts_with('@') || NAMES.contains(&name.as_str()) => Ok(None),
            None => Err(format!("undeclared reference to '{name}'")),
        },
        Expr::Select(select) => match infer(&select.operand, scope)? {
            Some(node) => field(node, &select.field),
            None => Ok(None),
        },
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !is_operator && !FUNCTIONS.contains(&name.rsplit('.').next().unwrap_or_default()) {
                return Err(format!("undeclared reference to '{name}'"));
            }
            let target = call.target.as_ref().map(|target| infer(target, scope)).transpose()?.flatten();
            let mut args = Vec::with_capacity(call.args.len());
            for arg in &call.args {
                args.push(infer(arg, scope)?);
            }
            let of = target.or(args.first().copied().flatten());
            Ok(match name {
                "_[_]" => of.and_then(|node| match (&node.items, &node.additional) {
                    (Some(items), _) => Some(&**items),
                    (None, Additional::Of(nested)) => Some(&**nested),
                    _ => None,
                }),
                _ => None,
            })
        }
        Expr::Comprehension(comprehension) => {
            let range = infer(&comprehension.iter_range, scope)?;
            infer(&comprehension.accu_init, scope)?;
            let mut inner = scope.clone();
            let (items, values) = match range {
                Some(node) => (
                    node.items.as_deref(),
                    match &node.additional {
                        Additional::Of(nested) => Some(&**nested),
                        _ => None,
                    },
                ),
                None => (None, None),
            };
            match &comprehension.iter_var2 {
                // With two variables, the first one is the index or key.
                Some(second) => {
                    inner.insert(comprehension.iter_var.clone(), None);
                    inner.insert(second.clone(), items.or(values));
                }
                None => {
                    inner.insert(comprehension.iter_var.clone(), items);
                }
            }
            inner.insert(comprehension.accu_var.clone(), None);
            infer(&comprehension.loop_cond, &inner)?;
            infer(&comprehension.loop_step, &inner)?;
            infer(&comprehension.result, &inner)?;
            Ok(None)
        }
        Expr::List(list) => list.elements.iter().try_for_each(|one| infer(one, scope).map(drop)).map(|()| None),
        Expr::Map(map) => infer_entries(map.entries.iter().map(|entry| &entry.expr), scope),
        Expr::Struct(made) => infer_entries(made.entries.iter().map(|entry| &entry.expr), scope),
        Expr::Literal(_) | Expr::Unspecified => Ok(None),
    }
}

fn infer_entries<'a, 'e>(
    entries: impl Iterator<Item = &'e EntryExpr>,
    scope: &Scope<'a>,
) -> Result<Option<&'a Node>, String> {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => drop(infer(&field.value, scope)?),
            EntryExpr::MapEntry(entry) => {
                infer(&entry.key, scope)?;
                infer(&entry.value, scope)?;
            }
        }
    }
    Ok(None)
}

/// Returns a field of a part of `self`, by its name in CEL.
fn field<'a>(node: &'a Node, name: &str) -> Result<Option<&'a Node>, String> {
    match node.type_ {
        Some(Type::Object) | None => {}
        Some(other) => return Err(format!("type '{}' does not support field selection", other.name())),
    }
    if node.embedded && ["apiVersion", "kind", "metadata"].contains(&name) {
        return Ok(None);
    }
    if let Additional::Of(nested) = &node.additional {
        return Ok(Some(nested));
    }
    if let Some((_, property)) = node.properties.iter().find(|(property, _)| escape(property) == name) {
        return Ok(Some(property));
    }
    if node.preserve_unknown || node.type_.is_none() || matches!(node.additional, Additional::Any) {
        return Ok(None);
    }
    Err(format!("undefined field '{name}'"))
}

/// Returns the name of a property in CEL: a name that is no identifier is escaped.
fn escape(name: &str) -> String {
    const RESERVED: &[&str] = &[
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// Evaluates all rules.
pub(super) fn check(root: &Node, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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
                    walk(child, value, old, &super::child_path(path, name, false), context, errors);
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

/// Functions that Kubernetes adds to CEL.
mod functions {
    use std::{cmp::Ordering, sync::Arc};

    use cel::{ExecutionError, Value as Cel, extractors::This};
    use regex::Regex;

    fn pattern(text: &str) -> Result<Regex, ExecutionError> {
        Regex::new(text).map_err(|error| ExecutionError::function_error("find", error))
    }

    pub(super) fn find(This(text): This<Arc<String>>, regex: Arc<String>) -> Result<Cel, ExecutionError> {
        Ok(Cel::from(pattern(&regex)?.find(&text).map_or("", |found| found.as_str())))
    }

    pub(super) fn find_all(This(text): This<Arc<String>>, regex: Arc<String>) -> Result<Cel, ExecutionError> {
        let found: Vec<Cel> = pattern(&regex)?.find_iter(&text).map(|found| Cel::from(found.as_str())).collect();
        Ok(Cel::from(found))
    }

    fn compare(a: &Cel, b: &Cel) -> Result<Ordering, ExecutionError> {
        a.partial_cmp(b).ok_or_else(|| ExecutionError::ValuesNotComparable(a.clone(), b.clone()))
    }

    pub(super) fn is_sorted(This(list): This<Arc<Vec<Cel>>>) -> Result<bool, ExecutionError> {
        for pair in list.windows(2) {
            if let [a, b] = pair
                && compare(a, b)?.is_gt()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn sum(This(list): This<Arc<Vec<Cel>>>) -> Result<Cel, ExecutionError> {
        let overflow = || ExecutionError::function_error("sum", "integer overflow");
        list.iter().try_fold(Cel::Int(0), |total, item| match (total, item) {
            (Cel::Int(a), Cel::Int(b)) => a.checked_add(*b).map(Cel::Int).ok_or_else(overflow),
            (Cel::Int(0), Cel::Float(b)) => Ok(Cel::Float(*b)),
            (Cel::Float(a), Cel::Float(b)) => Ok(Cel::Float(a + b)),
            (Cel::Int(0), Cel::Duration(b)) => Ok(Cel::Duration(*b)),
            (Cel::Duration(a), Cel::Duration(b)) => a.checked_add(b).map(Cel::Duration).ok_or_else(overflow),
            (a, b) => Err(ExecutionError::ValuesNotComparable(a, b.clone())),
        })
    }

    fn extreme(name: &str, list: &[Cel], wanted: Ordering) -> Result<Cel, ExecutionError> {
        let mut items = list.iter();
        let first = items.next().ok_or_else(|| ExecutionError::function_error(name, "called on empty list"))?;
        let mut best = first;
        for item in items {
            if compare(item, best)? == wanted {
                best = item;
            }
        }
        Ok(best.clone())
    }

    pub(super) fn min(This(list): This<Arc<Vec<Cel>>>) -> Result<Cel, ExecutionError> {
        extreme("min", &list, Ordering::Less)
    }

    pub(super) fn max(This(list): This<Arc<Vec<Cel>>>) -> Result<Cel, ExecutionError> {
        extreme("max", &list, Ordering::Greater)
    }
}
