//! A node in namespaces: pods as rootless processes, a Service proxy, cluster DNS.

pub mod cluster;
pub mod dns;
pub mod downward;
pub mod env;
pub mod events;
pub mod hosts;
pub mod kubelet;
pub mod namespaces;
pub mod net;
pub mod network;
pub mod ports;
pub mod probes;
pub mod proxy;
pub mod quantity;
pub mod runtime;
pub mod scheduler;
mod sync;
pub mod volumes;
pub mod watch;
