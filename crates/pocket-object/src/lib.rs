//! Pure operations on one Kubernetes object: patches, field ownership, defaults, validation, selection and table rows.
//! JSON values are the input and the output: no I/O, no clock, no client.
//!
//! | module | subject |
//! |---|---|
//! | `conditions` | conditions of an object's status, and whether a pod is ready |
//! | `defaults` | defaults of the built-in kinds |
//! | `jsonpath` | JSON paths of printer columns and of `kubectl` |
//! | `limit_range`, `quota`, `pod_security` | limits that a namespace sets for its objects |
//! | `managed` | `metadata.managedFields` and server-side apply |
//! | `names` | syntax of names, labels and paths |
//! | `patch` | JSON patch, merge patch and strategic merge patch |
//! | `quantity`, `resources` | quantities; requests, limits and QoS class of a pod |
//! | `selector` | label and field selectors |
//! | `shape` | types of the kinds: structs, lists with keys, atomic maps |
//! | `strict` | unknown and duplicate fields |
//! | `structural` | schemas of CustomResourceDefinitions, with CEL |
//! | `table` | rows of `kubectl get` |
//! | `validate` | validation of the built-in kinds |

pub mod conditions;
pub mod defaults;
mod error;
mod json;
pub mod jsonpath;
pub mod limit_range;
pub mod managed;
pub mod names;
pub mod patch;
pub mod pod_security;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod selector;
pub mod shape;
pub mod strict;
pub mod structural;
pub mod table;
#[cfg(test)]
mod testing;
pub mod validate;

pub use error::{FieldError, FieldErrorKind};
pub use shape::Shape;
