//! Arguments with which the program starts itself as the daemon.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::progress::Audience;

/// First argument of the daemon.
pub(crate) const HIDDEN: &str = "__pocket-daemon";

/// Second argument of the daemon, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Arguments {
    pub(crate) state_dir: PathBuf,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) api_port: u16,
    pub(crate) proxy_delay: Duration,
    pub(crate) audience: Audience,
}
