//! `rainbow operator`: runs the operator in this process, against any cluster.

use std::{
    env,
    fmt::Display,
    io::IsTerminal,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use futures::FutureExt;
use rainbow_api::HumanDuration;
use rainbow_operator::{
    ConfigAccess, CountVia, Health, Options, Swap, TALLY_IMAGE, WATCH, install,
    leader::{Contention, Election},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    args::SidecarArgs,
    context::Context,
    error::{Error, Result},
};

/// Arguments of `rainbow operator`. With `--namespace` the operator watches that namespace only.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long the cluster's data plane may lag behind the endpoints that the API shows
    #[arg(long, default_value = "3s", value_name = "TIME")]
    propagation: HumanDuration,
    /// How a stage moves from pods to pods
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    swap: SwapArg,
    /// Where another operator acts on the same Rainbows, wait for its turn (default: end with exit code 5)
    #[arg(long)]
    leader_elect: bool,
    /// Namespace of the lease that says which operator acts (default: the one it looks at, the pod's; `rainbow-system` with --leader-elect, else `default`)
    #[arg(long, value_name = "NAME")]
    lease_namespace: Option<String>,
    /// Address for /healthz, /readyz and /metrics, such as `127.0.0.1:8081` or `:8081` (default: none)
    #[arg(long, value_name = "ADDRESS")]
    health_listen: Option<Listen>,
    /// How pods are asked for their connections (default: `direct` in a pod, `api` elsewhere)
    #[arg(long, value_enum, value_name = "WAY")]
    count_via: Option<Via>,
    /// Image of the counter that is put into pods whose drain asks for one
    #[arg(long, value_name = "IMAGE", default_value = TALLY_IMAGE)]
    tally_image: String,
    #[command(flatten)]
    sidecar: SidecarArgs,
    /// What `spec.config: Versioned` may copy; the operator needs the right to read and make objects of these kinds (default: neither)
    #[arg(long, value_enum, value_name = "KINDS")]
    versioned_config: Option<VersionedConfig>,
}

/// Objects with configuration that the operator may read and copy.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum VersionedConfig {
    /// ConfigMaps
    Configmaps,
    /// ConfigMaps and Secrets
    All,
}

impl VersionedConfig {
    pub(super) fn access(given: Option<Self>) -> ConfigAccess {
        match given {
            None => ConfigAccess::None,
            Some(Self::Configmaps) => ConfigAccess::ConfigMaps,
            Some(Self::All) => ConfigAccess::All,
        }
    }
}

/// Way in which a stage moves from pods to pods.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum SwapArg {
    /// From one set of endpoints to the other: for data planes that take each over as a whole, as kube-proxy does
    #[default]
    Direct,
    /// Both sets together for a while: for load balancers that address pods and check new ones first
    Overlap,
}

/// Way in which pods are asked for their connections.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Via {
    /// At their own addresses
    Direct,
    /// Through the API server
    Api,
}

impl From<Via> for CountVia {
    fn from(via: Via) -> Self {
        match via {
            Via::Direct => Self::Direct,
            Via::Api => Self::Api,
        }
    }
}

/// Address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listen {
    /// One address.
    At(SocketAddr),
    /// Every address of the machine, with this port.
    Everywhere(u16),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.strip_prefix(':').and_then(|port| port.parse().ok()).map(Self::Everywhere);
        port.or_else(|| text.parse().ok().map(Self::At))
            .ok_or_else(|| "it is no address with a port: write `127.0.0.1:8081`, `[::1]:8081` or `:8081`".to_owned())
    }
}

impl Listen {
    async fn open(self) -> Result<TcpListener> {
        let failed = |at: &dyn Display, error| Error::failed(format_args!("cannot listen at {at}"), error);
        match self {
            Self::At(address) => TcpListener::bind(address).await.map_err(|error| failed(&address, error)),
            // An IPv6 listener usually serves both families; where there is no IPv6, IPv4 alone is used.
            Self::Everywhere(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
                    .await
                    .map_err(|error| failed(&format_args!("port {port}"), error)),
            },
        }
    }
}

/// Namespace that every cluster has.
const EVERYWHERE: &str = "default";
/// Time by which the API server may end a watch later than it is due.
const MARGIN: Duration = Duration::from_secs(10);

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    log();
    let listener = match args.health_listen {
        Some(listen) => Some(listen.open().await?),
        None => None,
    };
    let cluster = context.cluster_with(Some(WATCH + MARGIN)).await?;
    // The watches retry while the cluster cannot be reached, but wrong credentials are reported at once.
    if let Err(error) = cluster.client.apiserver_version().await {
        match cluster.error(&error) {
            Error::NoCluster(message) => return Err(Error::NoCluster(message)),
            other => context.printer.warning(other),
        }
    }
    let scope = context.namespace.as_deref().map_or("all namespaces".into(), |name| format!("namespace {name}"));
    tracing::info!("looking at {scope} of {}", cluster.server);
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| Error::failed("cannot listen to signals", error))?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let health = listener.is_some().then(Health::default);
    let options = Options {
        namespace: context.namespace.clone(),
        propagation: args.propagation.0,
        swap: match args.swap {
            SwapArg::Direct => Swap::Direct,
            SwapArg::Overlap => Swap::Overlap,
        },
        count_via: args.count_via.map_or_else(CountVia::of_environment, CountVia::from),
        tally_image: Some(args.tally_image),
        sidecar: args.sidecar.settings()?,
        config_access: VersionedConfig::access(args.versioned_config),
        election: Some(election(context, args.lease_namespace, args.leader_elect)),
        health: health.clone(),
        shutdown: shutdown.boxed(),
        ..Options::default()
    };
    let operator = rainbow_operator::run(cluster.client, options);
    let done = match health.zip(listener) {
        Some((health, listener)) => tokio::select! {
            done = operator => done,
            () = health.serve(listener) => return Err(Error::Failed("nobody is told any more how the operator is".into())),
        },
        None => operator.await,
    };
    done.map_err(|error| match error {
        rainbow_operator::Error::TooOld(_) | rainbow_operator::Error::NotAlone(_) => Error::Refused(error.to_string()),
        rainbow_operator::Error::WatchesEnded => Error::Failed(error.to_string()),
    })
}

fn election(context: &Context, namespace: Option<String>, waits: bool) -> Election {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let namespace = namespace
        .or_else(|| context.namespace.clone())
        .or_else(|| variable("POD_NAMESPACE"))
        .unwrap_or_else(|| (if waits { install::NAMESPACE } else { EVERYWHERE }).to_owned());
    // The next container of the same pod has the same name, and so leads again at once. Elsewhere the name belongs to one process only.
    let identity = variable("POD_NAME").unwrap_or_else(|| {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{machine}_{}", std::process::id())
    });
    let others = if waits { Contention::Wait } else { Contention::Refuse };
    Election { namespace, identity, scope: context.namespace.clone(), others }
}

/// Starts logging to standard error, at the level that `RUST_LOG` sets.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube=warn"));
    // Setting a second logger would be a programming error, so the result is ignored.
    let colors = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(std::io::stderr).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        assert_eq!(":8081".parse(), Ok(Listen::Everywhere(8081)));
        assert_eq!("127.0.0.1:0".parse(), Ok(Listen::At("127.0.0.1:0".parse().unwrap())));
        assert_eq!("[::1]:9".parse(), Ok(Listen::At("[::1]:9".parse().unwrap())));
        for wrong in ["", "8081", ":", ":99999", "localhost:8081"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }
}
