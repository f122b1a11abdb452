//! Objects as rows of a table, as `kubectl get` shows them.
use jiff::Timestamp;
use serde_json::Value;

/// A column of a `meta.k8s.io/v1` Table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its title: `Ready`.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    /// `name` for the object's name, else mostly empty.
    pub format: String,
    /// What it says.
    pub description: String,
    /// 0 is always shown, others with `-o wide`.
    pub priority: i32,
}

/// The columns of a built-in kind; Name and Age for others.
pub fn columns(group: &str, kind: &str) -> Vec<Column> { let _ = (group, kind); vec![] }
/// An object's cells, one for each of `columns`.
pub fn row(group: &str, kind: &str, object: &Value, now: Timestamp) -> Vec<Value> { let _ = (group, kind, object, now); vec![] }

/// The table of a custom resource.
#[derive(Clone, Debug)]
pub struct CrdTable {}
/// The table that a CRD version's `additionalPrinterColumns` describes (null or empty: Name and Age).
pub fn for_crd(additional_printer_columns: &Value) -> CrdTable { let _ = additional_printer_columns; CrdTable {} }
impl CrdTable {
    /// Its columns.
    pub fn columns(&self) -> Vec<Column> { vec![] }
    /// An object's cells, one for each column.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> { let _ = (object, now); vec![] }
}
