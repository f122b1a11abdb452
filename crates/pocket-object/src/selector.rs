//! Label and field selectors.

use serde_json::Value;

use crate::validate::names;

/// Error of a selector that cannot be parsed: HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    /// Number above a bound: `key>5`.
    Above(i64),
    /// Number below a bound: `key<5`.
    Below(i64),
}

/// Label selector: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, Test)>,
}

impl LabelSelector {
    /// Parses kubectl's notation: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. An empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: text };
        let mut requirements = Vec::new();
        loop {
            parser.skip_space();
            if parser.rest.is_empty() && requirements.is_empty() {
                return Ok(Self { requirements });
            }
            requirements.push(parser.requirement()?);
            parser.skip_space();
            if parser.rest.is_empty() {
                return Ok(Self { requirements });
            }
            if !parser.take(",") {
                return Err(parser.expected("',' or 'end of string'"));
            }
        }
    }

    /// Reads a `LabelSelector` object: `matchLabels`, `matchExpressions`. An empty object selects everything. Null has no
    /// meaning by itself, so it is refused.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> {
        let Value::Object(selector) = selector else {
            return Err(SelectorError("a label selector must be an object".to_owned()));
        };
        let mut all = Self::from_labels(selector.get("matchLabels").unwrap_or(&Value::Null));
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let values: Vec<String> = expression
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect();
            let operator = text("operator");
            let test = match (operator.as_str(), values.is_empty()) {
                ("In", false) => Test::In(values),
                ("NotIn", false) => Test::NotIn(values),
                ("In" | "NotIn", true) => {
                    return Err(SelectorError("for 'in', 'notin' operators, values set can't be empty".to_owned()));
                }
                ("Exists", true) => Test::Exists,
                ("DoesNotExist", true) => Test::Missing,
                ("Exists" | "DoesNotExist", false) => {
                    return Err(SelectorError("values set must be empty for exists and does not exist".to_owned()));
                }
                _ => return Err(SelectorError(format!("{operator:?} is not a valid label selector operator"))),
            };
            all.requirements.push((text("key"), test));
        }
        Ok(all)
    }

    /// Reads a plain map of labels, such as a Service's selector.
    pub fn from_labels(labels: &Value) -> Self {
        let requirements = labels.as_object().into_iter().flatten();
        Self {
            requirements: requirements
                .map(|(key, value)| (key.clone(), Test::In(vec![value.as_str().unwrap_or_default().to_owned()])))
                .collect(),
        }
    }

    /// Returns whether the selector selects an object with these labels (`metadata.labels`, or null).
    pub fn matches(&self, labels: &Value) -> bool {
        self.requirements.iter().all(|(key, test)| {
            let value = labels.get(key).and_then(Value::as_str);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::In(values) => value.is_some_and(|value| values.iter().any(|other| other == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|other| other != value)),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::Above(limit) => number().is_some_and(|number| number > *limit),
                Test::Below(limit) => number().is_some_and(|number| number < *limit),
            }
        })
    }

    /// Returns whether the selector selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let special = |c: char| c.is_whitespace() || "=!(),<>".contains(c);
        let end = self.rest.find(special).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn expected(&self, what: &str) -> SelectorError {
        let found: String = self.rest.chars().take(20).collect();
        SelectorError(format!("unable to parse requirement: found '{found}', expected: {what}"))
    }

    fn requirement(&mut self) -> Result<(String, Test), SelectorError> {
        let missing = self.take("!");
        let key = self.word();
        if key.is_empty() {
            return Err(self.expected(if missing { "identifier" } else { "!, identifier, or 'end of string'" }));
        }
        if let Some(problem) = names::qualified_name(key).first() {
            return Err(SelectorError(format!("unable to parse requirement: key: Invalid value: {key:?}: {problem}")));
        }
        let key_owned = key.to_owned();
        if missing {
            return Ok((key_owned, Test::Missing));
        }
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok((key_owned, Test::Exists));
        }
        let test = if self.take("==") || self.take("=") {
            Test::In(vec![self.value()?])
        } else if self.take("!=") {
            Test::NotIn(vec![self.value()?])
        } else if self.take(">") {
            Test::Above(self.number()?)
        } else if self.take("<") {
            Test::Below(self.number()?)
        } else {
            let at = self.rest;
            match self.word() {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                _ => {
                    self.rest = at;
                    return Err(self.expected("in, notin, =, ==, !=, gt, lt"));
                }
            }
        };
        Ok((key_owned, test))
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        let value = self.word();
        match names::label_value(value).first() {
            Some(problem) => {
                Err(SelectorError(format!("unable to parse requirement: values: Invalid value: {value:?}: {problem}")))
            }
            None => Ok(value.to_owned()),
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.word();
        value.parse().map_err(|_| {
            SelectorError(format!("for 'Gt', 'Lt' operators, the value must be an integer, and {value:?} is none"))
        })
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.take("(") {
            return Err(self.expected("'('"));
        }
        let mut values = vec![self.value()?];
        while self.take(",") {
            values.push(self.value()?);
        }
        if !self.take(")") {
            return Err(self.expected("',', or ')'"));
        }
        Ok(values)
    }
}

/// Field selector: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// Requirement of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path of the field: `metadata.name`.
    pub path: String,
    /// Whether the field must be equal to the value, or different from it.
    pub equal: bool,
    /// Value that the field is compared with.
    pub value: String,
}

impl FieldSelector {
    /// Parses `a.b=c,d!=e`. An empty text selects everything. A backslash escapes `,`, `=` and itself.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_unescaped(text, ',') {
            if term.is_empty() {
                continue;
            }
            let invalid = || SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let at = term.find(['=', '!']).ok_or_else(invalid)?;
            let (path, rest) = term.split_at(at);
            let (equal, value) = if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
                (true, value)
            } else if let Some(value) = rest.strip_prefix("!=") {
                (false, value)
            } else {
                return Err(invalid());
            };
            requirements.push(FieldRequirement { path: path.to_owned(), equal, value: unescape(value, text)? });
        }
        Ok(Self { requirements })
    }

    /// Returns whether the selector selects an object. `field` returns the text of a field; `None` counts as empty.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| (field(&requirement.path).unwrap_or_default() == requirement.value) == requirement.equal)
    }

    /// Returns all requirements of the selector.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Returns whether the selector selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(value: &str, selector: &str) -> Result<String, SelectorError> {
    let mut plain = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ (',' | '=' | '\\')) => plain.push(c),
                _ => {
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence in {selector:?}"
                    )));
                }
            },
            '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: '=' in {selector:?}"
                )));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors() {
        let labels = json!({ "app": "web", "tier": "front", "n": "7", "empty": "", "k8s.io/x": "y" });
        let check = |text: &str, want: bool| {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&labels), want, "{text}");
        };
        check("", true);
        check("app=web", true);
        check("app==web,tier=front", true);
        check("app = web , tier != back", true);
        check("app!=web", false);
        check("nothing!=web", true);
        check("app in (web,api)", true);
        check("app in (api)", false);
        check("app notin (api, x)", true);
        check("none notin (api)", true);
        check("app", true);
        check("none", false);
        check("!none", true);
        check("!app", false);
        check("k8s.io/x=y", true);
        check("empty=", true);
        check("empty in (,a)", true);
        check("n>6,n<8", true);
        check("n>7", false);
    }

    #[test]
    fn broken_label_selectors_are_refused() {
        for text in ["=x", "a b", "a in x", "a in (b", "a=b,", ",", "a=b=c", "a/b/c=d", "a>x", "a=$", "!", "-a"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selector_objects() {
        let labels = json!({ "app": "web" });
        let check = |selector: Value, want: Option<bool>| {
            let got = LabelSelector::from_value(&selector).ok().map(|selector| selector.matches(&labels));
            assert_eq!(got, want, "{selector}");
        };
        check(json!({}), Some(true));
        check(json!({ "matchLabels": { "app": "web" } }), Some(true));
        check(json!({ "matchLabels": { "app": "api" } }), Some(false));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web"] }] }), Some(true));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["web"] }] }), Some(false));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] }), Some(false));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": [] }] }), None);
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "Like" }] }), None);
        check(json!(null), None);
    }

    #[test]
    fn field_selectors() {
        let check = |text: &str, want: bool| {
            let field = |path: &str| match path {
                "metadata.name" => Some("a".to_owned()),
                "spec.x" => Some("1,2=3".to_owned()),
                _ => None,
            };
            assert_eq!(FieldSelector::parse(text).unwrap().matches(field), want, "{text}");
        };
        check("", true);
        check("metadata.name=a", true);
        check("metadata.name==a,spec.nodeName=", true);
        check("metadata.name!=a", false);
        check("spec.nodeName!=x", true);
        check(r"spec.x=1\,2\=3", true);
        for text in ["a", "a=b=c", r"a=\x", "a!b"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
        let parsed = FieldSelector::parse("a=b").unwrap();
        assert_eq!(parsed.requirements(), [FieldRequirement { path: "a".into(), equal: true, value: "b".into() }]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[a-z=!,() <>\\\\ä]{0,20}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text);
        }
    }
}
