//! Connections: why they are not known, and what holds a color.

use std::time::Duration;

use crate::domain::{OnePeer, PeerOwner};

pub(crate) const NOT_ASKED: &str = "not asked yet";

/// Reason where nothing is recorded about the pod's tier.
pub(crate) const NO_TIER: &str = "no color has the pod's tier any more";

/// Reason of a pod that was made without the container that counts its connections.
pub const NO_COUNTER: &str = "the pod was made without Rainbow's counter";

/// Reason of a tier that has ports of a protocol whose connections the counter does not see.
pub const ASSOCIATIONS: &str = "the counter does not see SCTP associations";
pub(crate) const CLOCK_STANDS_STILL: &str = "the answers are old ones: the counter's clock stands still";
pub(crate) const UNDECIDED: &str = "there are connections from the node that may be probes or clients";
pub(crate) const ALL_KNOWN: &str = "the connections of all its pods are known";
pub(crate) const NO_ADDRESS: &str = "the pod has no address";
pub(crate) const BROKEN_OFF: &str = "the connection broke off";
pub(crate) const NO_API_SERVER: &str = "the API server cannot be reached";
pub(crate) const NO_JSON: &str = "the answer is no JSON";
pub(crate) const NO_TALLY: &str = "the answer is not that of the counter";

/// Reason where the counter has seen only a part of the connections.
pub(crate) const IN_PART: &str = "not all connections could be seen";

pub(crate) fn no_answer(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}

/// Describes an answer with a status other than 200.
pub(crate) fn refused(how: &str, status: &dyn std::fmt::Display) -> String {
    format!("asked {how}, the answer was {status}")
}

/// Describes an answer that is longer than any valid one.
pub(crate) fn too_long(limit: usize) -> String {
    format!("the answer has more than {} KiB", limit / 1024)
}

pub(crate) fn no_path(path: &str) -> String {
    format!("`{path}` is no path")
}

/// Describes an answer without the number.
pub(crate) fn no_number(field: &str) -> String {
    format!("the answer has no number of connections at `{field}`")
}

/// Describes an answer without a port.
pub(crate) fn no_port(port: i32) -> String {
    format!("the answer does not speak of port {port}")
}

/// Describes the pods whose connections cannot be read: how many, and for some of them why.
pub(crate) fn unknown(count: u32, why: &[(&str, &str)]) -> String {
    let of = match count {
        1 => "1 pod are not known, so it is kept".to_owned(),
        many => format!("{many} pods are not known, so they are kept"),
    };
    let pods: Vec<String> = why.iter().map(|(pod, why)| format!("{pod}: {why}")).collect();
    format!("the connections of {of}: {}", pods.join("; "))
}

/// Describes that one peer is connected to every pod that holds a color.
pub(crate) fn one_peer(peer: &OnePeer, rainbow: &str) -> String {
    let OnePeer { address, owner, pods } = peer;
    let (owner, remedy) = match owner {
        PeerOwner::Pod { namespace, name } => (format!(" (pod {namespace}/{name})"), "podSelector or ipBlock"),
        PeerOwner::Node(node) => (format!(" (node {node}, which may stand for many clients)"), "ipBlock"),
        PeerOwner::Unknown => (String::new(), "ipBlock"),
    };
    format!(
        "{address}{owner} is connected to all {pods} pods that hold the color: if no client is behind it, as with a scraper of metrics, \
         name it in spec.drain.ignore of rainbow `{rainbow}` ({remedy})"
    )
}
