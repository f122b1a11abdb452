//! What can be done to one Kubernetes object, purely: patch it, say who owns which field, fill in defaults,
//! check it, select it and print it as a row. JSON values in and out: no I/O, no clock, no client.

pub mod defaults;
mod error;
mod json;
pub mod jsonpath;
pub mod limit_range;
pub mod managed;
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
