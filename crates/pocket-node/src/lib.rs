//! A node in namespaces: pods as rootless processes, a Service proxy, cluster DNS.

pub mod runtime;
