//! A node in namespaces: pods as rootless processes, a Service proxy, cluster DNS.

pub mod namespaces;
pub mod net;
pub mod network;
pub mod runtime;
