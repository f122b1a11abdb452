//! Shape of a good reply, which finds replies that contradict themselves.

use std::{collections::BTreeMap, str::FromStr};

/// Result of a check of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reply is as expected.
    Good,
    /// Reply has two versions, and the callee is newer than its caller, which is allowed.
    Compatible,
    /// Reply mixes versions that must not be mixed.
    Mixed,
    /// Reply has another shape altogether. Counts as a failure.
    Unexpected,
}

/// Shape of a good reply, such as `frontend:{v} - backend:{v}`: a name in braces stands for any text that is not
/// empty, and equal names stand for equal texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(String),
}

/// Error in the text of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `{` without `}`.
    #[error("pattern `{0}`: a `{{` has no `}}`")]
    Unclosed(String),
    /// Braces without a name: `{}`.
    #[error("pattern `{0}`: the braces hold no name")]
    Unnamed(String),
    /// Two names without text between them: `{a}{b}`.
    #[error("pattern `{0}`: two names touch, so nothing says where the first ends")]
    Touching(String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| PatternError::Unclosed(text.to_owned()))?;
            if name.is_empty() {
                return Err(PatternError::Unnamed(text.to_owned()));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            } else if matches!(parts.last(), Some(Part::Hole(_))) {
                return Err(PatternError::Touching(text.to_owned()));
            }
            parts.push(Part::Hole(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

impl Pattern {
    /// Compares a reply with the pattern.
    pub fn judge(&self, reply: &str) -> Verdict {
        let Some(found) = self.read(reply) else { return Verdict::Unexpected };
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        match found.into_iter().all(|(name, value)| *seen.entry(name).or_insert(value) == value) {
            true => Verdict::Good,
            false => Verdict::Mixed,
        }
    }

    /// Reads the texts that the names stand for, in the order of the pattern. Returns `None` for a reply of another shape.
    pub fn read<'a>(&'a self, reply: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut found = Vec::new();
        let mut rest = reply;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Hole(name) => {
                    let end = match parts.peek() {
                        Some(Part::Text(next)) => rest.find(next.as_str()),
                        _ => Some(rest.len()),
                    };
                    let (value, after) = rest.split_at(end.filter(|end| *end > 0)?);
                    found.push((name.as_str(), value));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges() {
        let pattern: Pattern = "frontend:{v} - backend:{v}".parse().unwrap();
        for (reply, verdict) in [
            ("frontend:v1 - backend:v1", Verdict::Good),
            ("frontend:v1 - backend:v2", Verdict::Mixed),
            ("frontend:v1 - backend:v11", Verdict::Mixed),
            ("frontend:v1 - backend:", Verdict::Unexpected),
            ("frontend: - backend:v1", Verdict::Unexpected),
            ("frontend:v1", Verdict::Unexpected),
            ("", Verdict::Unexpected),
        ] {
            assert_eq!(pattern.judge(reply), verdict, "{reply}");
        }
    }

    #[test]
    fn other_names_may_differ() {
        let pattern: Pattern = "{tier}:{v}/{other}!".parse().unwrap();
        assert_eq!(pattern.judge("a:1/2!"), Verdict::Good);
        assert_eq!(pattern.judge("a:1/2!x"), Verdict::Unexpected);
    }

    #[test]
    fn refuses_what_is_none() {
        assert!(matches!("a{b".parse::<Pattern>(), Err(PatternError::Unclosed(_))));
        assert!(matches!("a{}".parse::<Pattern>(), Err(PatternError::Unnamed(_))));
        assert!(matches!("{a}{b}".parse::<Pattern>(), Err(PatternError::Touching(_))));
    }
}
