//! Text of a condition: whether the expression can be evaluated, whatever the result of a measurement is.

use cel::{
    Program,
    common::ast::{EntryExpr, Expr, IdedExpr},
};

/// Greatest depth of brackets and of conditional operators: the parser recurses as deep as they nest.
pub(super) const DEEPEST: usize = 64;
/// Names that a condition may use. Only a `web` gate has `status`.
const NAMES: [&str; 2] = ["result", "status"];

/// Returns what is wrong with a condition of a gate. `None`: the condition can be evaluated.
pub fn condition_mistake(condition: &str) -> Option<String> {
    // A template's arguments are replaced before the condition is evaluated.
    let condition = without_arguments(condition);
    if deepest(&condition) > DEEPEST {
        return Some(format!("brackets or conditions nest deeper than {DEEPEST}: write a simpler expression"));
    }
    let program = match Program::compile(&condition) {
        Ok(program) => program,
        Err(errors) => return Some(format!("is no CEL expression: {}", first_error(&errors.to_string()))),
    };
    let name = unknown(program.expression(), &NAMES)?;
    Some(format!("there is no `{name}`: use {}", NAMES.join(" or ")))
}

/// Returns the first error of the parser, without its list of what might have come instead.
fn first_error(errors: &str) -> &str {
    let first = errors.lines().next().unwrap_or_default();
    let first = first.split_once("Syntax error: ").map_or(first, |(_, text)| text);
    first.split_once(" expecting ").map_or(first, |(text, _)| text)
}

/// Returns the first name that is none of those in scope.
fn unknown(expression: &IdedExpr, scope: &[&str]) -> Option<String> {
    let within = |expression: &IdedExpr| unknown(expression, scope);
    match &expression.expr {
        Expr::Ident(name) => (!scope.contains(&name.as_str()) && !is_type(name)).then(|| name.clone()),
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).find_map(within),
        Expr::Select(select) => within(&select.operand),
        Expr::List(list) => list.elements.iter().find_map(within),
        Expr::Map(map) => map.entries.iter().find_map(|entry| in_entry(&entry.expr, scope)),
        Expr::Struct(fields) => fields.entries.iter().find_map(|entry| in_entry(&entry.expr, scope)),
        // A macro such as `all` names the elements of a list.
        Expr::Comprehension(of) => {
            let own = [Some(&of.iter_var), of.iter_var2.as_ref(), Some(&of.accu_var)];
            let mut inner = scope.to_vec();
            inner.extend(own.into_iter().flatten().map(String::as_str));
            let outside = within(&of.iter_range).or_else(|| within(&of.accu_init));
            outside.or_else(|| {
                [&of.loop_cond, &of.loop_step, &of.result].into_iter().find_map(|part| unknown(part, &inner))
            })
        }
        Expr::Literal(_) | Expr::Unspecified => None,
    }
}

fn in_entry(entry: &EntryExpr, scope: &[&str]) -> Option<String> {
    match entry {
        EntryExpr::MapEntry(entry) => unknown(&entry.key, scope).or_else(|| unknown(&entry.value, scope)),
        EntryExpr::StructField(field) => unknown(&field.value, scope),
    }
}

/// Returns whether a name is one of CEL's types, as in `type(result) == double`.
fn is_type(name: &str) -> bool {
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"].contains(&name)
}

/// Replaces `{{…}}` by a number, which fits as a value and within quotes.
fn without_arguments(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, (_, after))) =
        rest.split_once("{{").and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        plain.push_str(before);
        plain.push('1');
        rest = after;
    }
    plain + rest
}

/// Returns the depth of brackets, and of conditional operators, which nest to the right.
pub(super) fn deepest(text: &str) -> usize {
    let (mut depth, mut deepest, mut conditions) = (0usize, 0, 0);
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => conditions += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest.max(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found_without_a_result() {
        for fine in [
            "result[0] < 0.01",
            "result.all(value, value < 0.01)",
            "status == 200 && result.data.ok",
            "result[0] < {{args.limit}} || result[0] == double('{{args.other}}')",
            "type(result) == list && size(result) > 0",
            "result.failed == 0 && result.mixed == 0",
            "result.exists(one, one > 0.05 && result.size() > 1) || {'a': result}.a == 1",
        ] {
            assert_eq!(condition_mistake(fine), None, "{fine}");
        }
        let open = "is no CEL expression: mismatched input '<EOF>'";
        assert_eq!(condition_mistake("result[0] <").as_deref(), Some(open));
        let unbound = "there is no `other`: use result or status";
        assert_eq!(condition_mistake("result.all(value, value < other)").as_deref(), Some(unbound));
        assert_eq!(condition_mistake("reslt[0] < 1").as_deref(), Some("there is no `reslt`: use result or status"));
        assert!(condition_mistake(&"(".repeat(5000)).is_some_and(|text| text.contains("deeper than 64")));
    }
}
