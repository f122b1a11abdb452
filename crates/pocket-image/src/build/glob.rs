//! Patterns of file names, as in `COPY` and `.dockerignore`.

/// Returns whether a path matches a pattern. `*` and `?` stop at a slash, `**` does not; `[a-z]` and `[^a-z]` are sets; `\`
/// escapes. With `prefix`, a pattern that matches a parent directory also matches.
pub(super) fn matches(pattern: &str, path: &str, prefix: bool) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts(&pattern, &path, prefix)
}

/// Returns whether a text has any special character.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn parts(pattern: &[&str], path: &[&str], prefix: bool) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (None, Some(_)) => prefix,
        (Some((&"**", rest)), _) => {
            // A `**` at the end must match something; elsewhere it may match nothing.
            if rest.is_empty() {
                !path.is_empty()
            } else {
                (0..=path.len()).any(|skip| parts(rest, &path[skip..], prefix))
            }
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((name, more))) => {
            let pattern: Vec<char> = first.chars().collect();
            let name: Vec<char> = name.chars().collect();
            component(&pattern, &name) && parts(rest, more, prefix)
        }
    }
}

/// Matches one component, with backtracking to the last star on a mismatch: linear in space, at worst quadratic in time.
fn component(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => set(&pattern[p..], name[n]),
            Some('\\') if pattern.get(p + 1) == Some(&name[n]) => Some(2),
            Some(c) if *c == name[n] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => {
                p += step;
                n += 1;
            }
            (None, Some((after, at))) => {
                p = after;
                n = at + 1;
                star = Some((after, at + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Returns the length of the set at the start of `pattern`, if the set contains `c`.
fn set(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    let mut first = true;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && !first {
            return (found != negated).then_some(at + 1);
        }
        first = false;
        let high = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                at += 2;
                *high
            }
            _ => low,
        };
        found |= (low..=high).contains(&c);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        assert_eq!(matches(pattern, path, false), expected, "{pattern} {path}");
    }

    #[test]
    fn patterns() {
        check("*.md", "a.md", true);
        check("*.md", "d/a.md", false);
        check("**/*.md", "d/e/a.md", true);
        check("**/*.md", "a.md", true);
        check("d/**", "d/e/f", true);
        check("d/**", "d", false);
        check("a?c", "abc", true);
        check("a?c", "a/c", false);
        check("[a-c]x", "bx", true);
        check("[^a-c]x", "bx", false);
        check("[a-", "a", false);
        check("a*b*c", "aXbXbXc", true);
        check("a*b*c", "aXbX", false);
        check("\\*", "*", true);
        check("*", "", false);
        assert!(matches("target", "target/debug/x", true));
        assert!(!matches("target", "targets/x", true));
    }
}
