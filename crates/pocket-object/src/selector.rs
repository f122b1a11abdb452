//! Label and field selectors.
use serde_json::Value;

/// Why a selector could not be understood: HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// A label selector: everything it requires must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {}
impl LabelSelector {
    /// As kubectl writes it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Empty selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> { let _ = text; Ok(Self {}) }
    /// A `LabelSelector` object: `matchLabels`, `matchExpressions`. An empty object selects everything.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> { let _ = selector; Ok(Self {}) }
    /// A plain map of labels, as a Service's selector.
    pub fn from_labels(labels: &Value) -> Self { let _ = labels; Self {} }
    /// Does it select an object with these labels (`metadata.labels`, or null)?
    pub fn matches(&self, labels: &Value) -> bool { let _ = labels; true }
    /// Does it select everything?
    pub fn is_empty(&self) -> bool { true }
}

/// A field selector: everything it requires must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {}
/// One requirement of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field: `metadata.name`.
    pub path: String,
    /// Must be equal, or must not.
    pub equal: bool,
    /// To what.
    pub value: String,
}
impl FieldSelector {
    /// `a.b=c,d!=e`. Empty selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> { let _ = text; Ok(Self {}) }
    /// Does it select an object? `field` gives the text of a field; `None` counts as empty.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool { let _ = field; true }
    /// What it requires.
    pub fn requirements(&self) -> &[FieldRequirement] { &[] }
    /// Does it select everything?
    pub fn is_empty(&self) -> bool { true }
}
