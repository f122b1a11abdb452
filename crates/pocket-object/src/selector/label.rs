//! Label selectors.

use serde_json::Value;

use super::SelectorError;
use crate::names;

/// Test of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
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
    requirements: Vec<(String, Requirement)>,
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
                ("In", false) => Requirement::In(values),
                ("NotIn", false) => Requirement::NotIn(values),
                ("In" | "NotIn", true) => {
                    return Err(SelectorError("for 'in', 'notin' operators, values set can't be empty".to_owned()));
                }
                ("Exists", true) => Requirement::Exists,
                ("DoesNotExist", true) => Requirement::Missing,
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
                .map(|(key, value)| (key.clone(), Requirement::In(vec![value.as_str().unwrap_or_default().to_owned()])))
                .collect(),
        }
    }

    /// Returns whether the selector selects an object with these labels (`metadata.labels`, or null).
    pub fn matches(&self, labels: &Value) -> bool {
        self.requirements.iter().all(|(key, test)| {
            let value = labels.get(key).and_then(Value::as_str);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Requirement::In(values) => value.is_some_and(|value| values.iter().any(|other| other == value)),
                Requirement::NotIn(values) => value.is_none_or(|value| values.iter().all(|other| other != value)),
                Requirement::Exists => value.is_some(),
                Requirement::Missing => value.is_none(),
                Requirement::Above(limit) => number().is_some_and(|number| number > *limit),
                Requirement::Below(limit) => number().is_some_and(|number| number < *limit),
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

    fn requirement(&mut self) -> Result<(String, Requirement), SelectorError> {
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
            return Ok((key_owned, Requirement::Missing));
        }
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok((key_owned, Requirement::Exists));
        }
        let test = if self.take("==") || self.take("=") {
            Requirement::In(vec![self.value()?])
        } else if self.take("!=") {
            Requirement::NotIn(vec![self.value()?])
        } else if self.take(">") {
            Requirement::Above(self.number()?)
        } else if self.take("<") {
            Requirement::Below(self.number()?)
        } else {
            let at = self.rest;
            match self.word() {
                "in" => Requirement::In(self.values()?),
                "notin" => Requirement::NotIn(self.values()?),
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
