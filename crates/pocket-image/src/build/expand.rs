//! Expansion of `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}`, and removal of quotes.

/// Expands a word. `lookup` returns the value of a variable; an unknown variable is empty, as in Docker.
pub(super) fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, Some('\'')) => out.push(c),
            (c, quote) if c == escape => match chars.next() {
                // Inside double quotes only these characters can be escaped; before others the escape character stays.
                Some(next) if quote.is_none() || next == '"' || next == '$' || next == escape => out.push(next),
                Some(next) => out.extend([c, next]),
                None => out.push(c),
            },
            ('$', _) => {
                if chars.next_if_eq(&'{').is_some() {
                    out.push_str(&braced(word, &body(word, &mut chars)?, escape, lookup)?);
                } else {
                    let name = name(&mut chars);
                    if name.is_empty() {
                        out.push('$');
                    } else {
                        out.push_str(&lookup(&name).unwrap_or_default());
                    }
                }
            }
            (c, _) => out.push(c),
        }
    }
    Ok(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn name(chars: &mut Chars<'_>) -> String {
    let mut name = String::new();
    while let Some(c) =
        chars.next_if(|&c| c == '_' || c.is_ascii_alphabetic() || !name.is_empty() && c.is_ascii_digit())
    {
        name.push(c);
    }
    name
}

/// Returns the text between the braces; braces inside are balanced.
fn body(word: &str, chars: &mut Chars<'_>) -> Result<String, String> {
    let mut body = String::new();
    let mut depth = 1;
    for c in chars {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(body);
        }
        body.push(c);
    }
    Err(format!("`{word}`: a `${{` is never closed"))
}

fn braced(word: &str, body: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut chars = body.chars().peekable();
    let name = name(&mut chars);
    let rest: String = chars.collect();
    if name.is_empty() {
        return Err(format!("`{word}`: `${{{body}}}` has no variable's name"));
    }
    let value = lookup(&name);
    let length = if rest.starts_with(':') { rest.chars().take(2) } else { rest.chars().take(1) };
    let (operator, alternative) = rest.split_at(length.map(char::len_utf8).sum());
    let set = value.is_some();
    let filled = value.as_ref().is_some_and(|value| !value.is_empty());
    let alternative = || expand(alternative, escape, lookup);
    match operator {
        "" => Ok(value.unwrap_or_default()),
        ":-" if !filled => alternative(),
        "-" if !set => alternative(),
        ":+" if filled => alternative(),
        "+" if set => alternative(),
        ":+" | "+" => Ok(String::new()),
        ":-" | "-" => Ok(value.unwrap_or_default()),
        ":?" | "?" if (operator == ":?" && !filled) || !set => Err(format!("variable {name}: {}", alternative()?)),
        ":?" | "?" => Ok(value.unwrap_or_default()),
        _ => Err(format!("`{word}`: `${{{body}}}` is not supported; use $X, ${{X}}, ${{X:-default}} or ${{X:+value}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(word: &str) -> Result<String, String> {
        expand(word, '\\', &|name| match name {
            "X" => Some("x".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        })
    }

    #[track_caller]
    fn check(word: &str, expected: &str) {
        assert_eq!(run(word).unwrap(), expected, "{word}");
    }

    #[test]
    fn variables_and_quotes() {
        check("a$X-b", "ax-b");
        check("${X}y", "xy");
        check("$Xy", "");
        check("${U:-d}", "d");
        check("${E:-d}", "d");
        check("${E-d}", "");
        check("${U:-${X}}", "x");
        check("${X:+set}${U:+set}", "set");
        check("\\$X", "$X");
        check("'$X'", "$X");
        check("\"$X y\"", "x y");
        check("\"a\\\"b\\n\"", "a\"b\\n");
        check("$", "$");
        check("100$%", "100$%");
        check("a\\ b", "a b");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(run("${X").unwrap_err(), "`${X`: a `${` is never closed");
        assert_eq!(run("${}").unwrap_err(), "`${}`: `${}` has no variable's name");
        assert_eq!(run("${U:?is needed}").unwrap_err(), "variable U: is needed");
        assert!(run("${X%y}").is_err());
        assert!(run("${X:\u{e9}}").is_err());
    }
}
