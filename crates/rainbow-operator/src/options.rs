//! Settings of the operator, and the reasons why it ends.

use futures::{FutureExt, future::BoxFuture};
use rainbow_api::SidecarSettings;
use rainbow_plan::Swap;
use std::time::Duration;

use crate::{
    clock::Clock,
    count::CountVia,
    discover::TooOld,
    health::Health,
    kind::ConfigAccess,
    leader::{Election, Rival},
};

/// Default image of the counter.
pub const TALLY_IMAGE: &str = concat!("ghcr.io/rainbow-dev/tally:", env!("CARGO_PKG_VERSION"));

/// Settings of the operator.
pub struct Options {
    /// Namespace to watch. `None`: all.
    pub namespace: Option<String>,
    /// Time by which the cluster's data plane may lag behind the endpoints that the API shows.
    pub propagation: Duration,
    /// Way in which a stage moves from pods to pods.
    pub swap: Swap,
    /// Way in which pods are asked for their connections.
    pub count_via: CountVia,
    /// Image of the counter that is put into new pods. `None`: no counter is put into them, and where one is wanted a color drains until
    /// its deadline.
    pub tally_image: Option<String>,
    /// Settings of the counter's container where an application has none of its own.
    pub sidecar: SidecarSettings,
    /// ConfigMaps and Secrets that the operator has the right to read.
    pub config_access: ConfigAccess,
    /// Election of one among several operators: one acts, the others wait or end. `None`: this operator acts in any case.
    pub election: Option<Election>,
    /// State that the operator updates. [`Health::serve`] shows it to HTTP clients.
    pub health: Option<Health>,
    /// Future that ends the operator: writes under way are finished, and nothing new begins.
    pub shutdown: BoxFuture<'static, ()>,
    /// Source of the time.
    pub clock: Clock,
}

impl Default for Options {
    /// Returns the defaults: all namespaces, 3 s of propagation (kube-proxy's usual second, and some), no election, no end, the system's
    /// clock.
    fn default() -> Self {
        Self {
            namespace: None,
            propagation: Duration::from_secs(3),
            swap: Swap::Direct,
            count_via: CountVia::default(),
            tally_image: Some(TALLY_IMAGE.to_owned()),
            sidecar: SidecarSettings::default(),
            config_access: ConfigAccess::None,
            election: None,
            health: None,
            shutdown: futures::future::pending().boxed(),
            clock: Clock::System,
        }
    }
}

/// Reason why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watches ended, which they never do by themselves.
    #[error("the watches ended")]
    WatchesEnded,
    /// The cluster is too old.
    #[error(transparent)]
    TooOld(#[from] TooOld),
    /// Another operator acts, and this one does not wait for it.
    #[error(
        "another operator acts on these Rainbows: {0}. End that one first, or let both take turns with --leader-elect"
    )]
    NotAlone(Rival),
}
