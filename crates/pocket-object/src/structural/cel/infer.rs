//! Check of the names in an expression against the schema.

use std::collections::BTreeMap;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use crate::structural::{Additional, Node, Type};

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

/// Schemas of the variables in scope, as far as they are known.
pub(super) type Scope<'a> = BTreeMap<String, Option<&'a Node>>;

/// Checks an expression. Returns its schema if it is a part of `self`.
pub(super) fn infer<'a>(expr: &IdedExpr, scope: &Scope<'a>) -> Result<Option<&'a Node>, String> {
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
pub(super) fn escape(name: &str) -> String {
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
