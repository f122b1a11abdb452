//! Text of a condition: whether the expression can be evaluated, whatever the result of a measurement is.

use cel::Program;

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
        Err(errors) => {
            let text = errors.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("ERROR: ");
            return Some(format!("is no CEL expression: {first}"));
        }
    };
    let references = program.references();
    let mut unknown: Vec<&str> =
        references.variables().into_iter().filter(|name| !NAMES.contains(name) && !is_type(name)).collect();
    unknown.sort_unstable();
    let name = unknown.first()?;
    Some(format!("there is no `{name}`: use {}", NAMES.join(" or ")))
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
        ] {
            assert_eq!(condition_mistake(fine), None, "{fine}");
        }
        assert!(condition_mistake("result[0] <").is_some_and(|text| text.starts_with("is no CEL expression: ")));
        assert_eq!(condition_mistake("reslt[0] < 1").as_deref(), Some("there is no `reslt`: use result or status"));
        assert!(condition_mistake(&"(".repeat(5000)).is_some_and(|text| text.contains("deeper than 64")));
    }
}
