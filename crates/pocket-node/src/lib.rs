//! Node of the embedded cluster, in Linux namespaces: runs pods as rootless processes, with a Service proxy and cluster DNS.
//!
//! Entry points: [`namespaces::enter`] makes the namespaces and with them the container runtime. [`kubelet::Kubelet`],
//! [`scheduler::Scheduler`], [`proxy::Proxy`] and [`dns::Dns`] each have a `run` that ends at shutdown.
//!
//! | module | subject |
//! |---|---|
//! | [`cluster`] | watch on Services and EndpointSlices, shared by proxy, DNS and kubelet |
//! | [`dns`] | cluster DNS server |
//! | [`downward`] | `fieldRef` and `resourceFieldRef` |
//! | [`env`](mod@env) | environment variables of a container |
//! | [`events`] | recorder of events |
//! | [`hosts`] | `/etc/hosts` and `/etc/resolv.conf` of a pod |
//! | [`kubelet`] | life of the node's pods, and their status |
//! | [`namespaces`] | container runtime over Linux namespaces |
//! | [`net`] | access to the node's network from the ordinary runtime |
//! | [`network`] | the node's network namespace: bridge, addresses, routes |
//! | [`ports`] | container ports by number or by name |
//! | [`probes`] | startup, liveness and readiness probes |
//! | [`proxy`] | Service proxy: endpoints, node ports, load balancers, host ports |
//! | [`runtime`] | interface between kubelet and container runtime |
//! | [`scheduler`] | binding of pods to nodes |
//! | `sync` | locks without poisoning |
//! | [`volumes`] | volumes of a pod |
//! | [`watch`] | watch on all objects of a kind |

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
pub mod runtime;
pub mod scheduler;
mod sync;
pub mod volumes;
pub mod watch;
