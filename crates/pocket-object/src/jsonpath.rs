//! JSON paths of printer columns and of `kubectl`.

use serde_json::Value;

/// Greatest number of values that a path may yield; recursive descents of large objects end there.
const MAX_RESULTS: usize = 10_000;

/// Returns the values at a path: `.status.conditions[?(@.type=="Ready")].status`, `.a.b[0]`, `.a['x.y']`, `.a[*].b`,
/// `..name`. Braces around the path are optional. A path that leads nowhere or is malformed has no values.
pub fn eval(object: &Value, path: &str) -> Vec<Value> {
    let path = path.trim();
    let path = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
    let path = path.strip_prefix('$').unwrap_or(path);
    let Some(steps) = parse(path) else { return Vec::new() };
    select(object, &steps).into_iter().cloned().collect()
}

/// Returns whether a path is well-formed.
pub fn is_valid(path: &str) -> bool {
    let path = path.trim();
    let path = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
    parse(path.strip_prefix('$').unwrap_or(path)).is_some()
}

#[derive(Debug)]
enum Step {
    /// `.name`, `['a','b']`
    Fields(Vec<String>),
    /// `[0]`, `[-1]`, `[0,2]`
    Indexes(Vec<i64>),
    /// `[1:3]`, `[:2]`, `[::2]`
    Slice(Option<i64>, Option<i64>, i64),
    /// `[*]`, `.*`
    All,
    /// `..`
    Descend,
    /// `[?(@.a=="b")]`
    Filter(Operand, Option<(Operator, Operand)>),
}

#[derive(Debug)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Operators of two characters come first, so that `<=` is not taken for `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    let mut first = true;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Descend);
            rest = after;
            if !rest.starts_with('[') {
                rest = name(rest, &mut steps)?;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            // A dot alone is the object itself.
            rest = if after.is_empty() || after.starts_with('[') { after } else { name(after, &mut steps)? };
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after)?;
            steps.push(bracket(after[..end].trim())?);
            rest = &after[end + 1..];
        } else if first {
            rest = name(rest, &mut steps)?;
        } else {
            return None;
        }
        first = false;
    }
    Some(steps)
}

/// Parses a plain name, in which a backslash escapes the next character, and returns the rest of the text.
fn name<'a>(text: &'a str, steps: &mut Vec<Step>) -> Option<&'a str> {
    let mut plain = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => plain.push(chars.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            c if c.is_whitespace() || "{}()@?".contains(c) => return None,
            c => plain.push(c),
        }
    }
    if plain.is_empty() {
        return None;
    }
    steps.push(if plain == "*" { Step::All } else { Step::Fields(vec![plain]) });
    Some(&text[end..])
}

/// Returns the position at which the bracket that is open before `text` closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Parses the text between brackets.
fn bracket(inner: &str) -> Option<Step> {
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter_step(filter.trim());
    }
    if inner.starts_with(['\'', '"']) {
        let names: Option<Vec<String>> = inner.split(',').map(|part| quoted(part.trim())).collect();
        return names.map(Step::Fields);
    }
    if inner.contains(':') {
        let parts: Vec<&str> = inner.split(':').collect();
        let number = |index: usize| -> Option<Option<i64>> {
            match parts.get(index).map(|part| part.trim()) {
                None | Some("") => Some(None),
                Some(text) => text.parse().ok().map(Some),
            }
        };
        let step = number(2)?.unwrap_or(1);
        return (parts.len() <= 3 && step > 0).then_some(Step::Slice(number(0)?, number(1)?, step));
    }
    let indexes: Option<Vec<i64>> = inner.split(',').map(|part| part.trim().parse().ok()).collect();
    indexes.map(Step::Indexes)
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(plain)
}

fn filter_step(text: &str) -> Option<Step> {
    let (mut quote, mut split) = (None, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            _ => {
                if let Some((token, operator)) = OPERATORS.iter().find(|(token, _)| text[at..].starts_with(token)) {
                    split = Some((at, token.len(), *operator));
                    break;
                }
            }
        }
    }
    match split {
        None => Some(Step::Filter(operand(text)?, None)),
        Some((at, length, operator)) => {
            Some(Step::Filter(operand(&text[..at])?, Some((operator, operand(&text[at + length..])?))))
        }
    }
}

fn operand(text: &str) -> Option<Operand> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix('@') {
        return parse(path).map(Operand::Path);
    }
    if let Some(literal) = quoted(text) {
        return Some(Operand::Literal(Value::from(literal)));
    }
    serde_json::from_str(text).ok().map(Operand::Literal)
}

fn select<'a>(object: &'a Value, steps: &[Step]) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            one_step(value, step, &mut next);
            if next.len() > MAX_RESULTS {
                return Vec::new();
            }
        }
        found = next;
    }
    found
}

fn one_step<'a>(value: &'a Value, step: &Step, next: &mut Vec<&'a Value>) {
    match (step, value) {
        (Step::Fields(names), Value::Object(map)) => next.extend(names.iter().filter_map(|name| map.get(name))),
        (Step::Indexes(indexes), Value::Array(list)) => {
            next.extend(indexes.iter().filter_map(|index| list.get(place(*index, list.len())?)));
        }
        (Step::Slice(from, to, step), Value::Array(list)) => {
            let length = list.len();
            let bound = |index: i64| place(index, length).unwrap_or(if index < 0 { 0 } else { length });
            let (from, to) = (from.map_or(0, bound), to.map_or(length, bound));
            let step = usize::try_from(*step).unwrap_or(1);
            next.extend(list.iter().take(to).skip(from).step_by(step));
        }
        (Step::All, Value::Array(list)) => next.extend(list),
        (Step::All, Value::Object(map)) => next.extend(map.values()),
        (Step::Descend, value) => descend(value, next),
        (Step::Filter(left, test), Value::Array(list)) => {
            next.extend(list.iter().filter(|item| passes(item, left, test.as_ref())));
        }
        _ => {}
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index.checked_add(length)? } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if found.len() > MAX_RESULTS {
        return;
    }
    found.push(value);
    match value {
        Value::Array(list) => list.iter().for_each(|item| descend(item, found)),
        Value::Object(map) => map.values().for_each(|item| descend(item, found)),
        _ => {}
    }
}

fn passes(item: &Value, left: &Operand, test: Option<&(Operator, Operand)>) -> bool {
    let resolve = |operand: &Operand| match operand {
        Operand::Literal(value) => Some(value.clone()),
        Operand::Path(steps) => select(item, steps).first().map(|value| (*value).clone()),
    };
    let Some((operator, right)) = test else { return resolve(left).is_some() };
    let (Some(left), Some(right)) = (resolve(left), resolve(right)) else { return false };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match operator {
        Operator::Equal => order.map_or(left == right, |order| order.is_eq()),
        Operator::NotEqual => order.map_or(left != right, |order| order.is_ne()),
        Operator::Less => order.is_some_and(|order| order.is_lt()),
        Operator::LessOrEqual => order.is_some_and(|order| order.is_le()),
        Operator::Greater => order.is_some_and(|order| order.is_gt()),
        Operator::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    #[test]
    fn paths() {
        let object = json!({ "a": { "b": [1, 2, 3], "x.y": "dot", "c": "text" },
            "status": { "conditions": [{ "type": "Ready", "status": "True", "n": 2 }, { "type": "Other", "status": "False" }] } });
        let check = |path: &str, want: Value| assert_eq!(Value::Array(eval(&object, path)), want, "{path}");
        check(".a.c", json!(["text"]));
        check("a.c", json!(["text"]));
        check("{.a.c}", json!(["text"]));
        check("$.a.c", json!(["text"]));
        check(".a.b[0]", json!([1]));
        check(".a.b[-1]", json!([3]));
        check(".a.b[9]", json!([]));
        check(".a.b[*]", json!([1, 2, 3]));
        check(".a.b[1:]", json!([2, 3]));
        check(".a.b[0:2]", json!([1, 2]));
        check(".a.b[-2:]", json!([2, 3]));
        check(".a.b[0,2]", json!([1, 3]));
        check(".a['x.y']", json!(["dot"]));
        check(r".a.x\.y", json!(["dot"]));
        check(".a['c','x.y']", json!(["text", "dot"]));
        check(r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"]));
        check(r".status.conditions[?(@.type == 'Other')].status", json!(["False"]));
        check(r".status.conditions[?(@.type != 'Other')].status", json!(["True"]));
        check(".status.conditions[?(@.n)].type", json!(["Ready"]));
        check(".status.conditions[?(@.n>=2)].type", json!(["Ready"]));
        check(".status.conditions[?(@.n<2)].type", json!([]));
        check(".status.conditions[*].type", json!(["Ready", "Other"]));
        check("..type", json!(["Ready", "Other"]));
        check(".none.at.all", json!([]));
        for path in [".a[", ".a[x]", ".a b", ".a[?(@.x==)]", ".a['x", "..", ".a[0:1:0]"] {
            assert!(!is_valid(path), "{path}");
            check(path, json!([]));
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(object in any_json(), path in "[a-e.*$@?()'\"=<>\\[\\]:0-9,\\\\ä-]{0,24}") {
            let _ = eval(&object, &path);
        }
    }
}
