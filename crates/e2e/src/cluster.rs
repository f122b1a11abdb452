//! Cluster that the suite runs on: an embedded one of its own, or the one that the kubeconfig names.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use kube::Client;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{
    Cli, ClusterKind, Kubectl, OperatorPlace, Settings,
    external_cluster::ExternalCluster,
    images::{self, Image},
    kubeconfig::config,
    load,
    programs::programs,
    prometheus,
    reach::{Reach, Way},
};

/// Profile of the embedded cluster of a suite.
const PROFILE: &str = "suite";

/// Cluster that has the suite's images and Rainbow's resource definitions.
#[derive(Debug)]
pub struct Cluster {
    home: TempDir,
    /// Command with this cluster's address.
    cli: Cli,
    settings: Settings,
    kubeconfig: PathBuf,
    /// Record of the changes to undo in a cluster that is not the suite's own.
    external: Option<ExternalCluster>,
    tally_image: String,
    kubectl: Option<Kubectl>,
    prometheus: Option<PathBuf>,
    /// Determined by the first test that asks.
    reach: OnceCell<Reach>,
}

impl Cluster {
    /// Starts the embedded cluster with the suite's images, and without an operator: each test brings its own.
    ///
    /// # Errors
    /// When the programs are not built (`make test` does that), or the cluster does not start.
    pub fn start() -> Result<Self> {
        Self::of(Settings::default())
    }

    /// Starts as [`Cluster::start`] does, with the operator in the cluster's own process, as users have it.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with_operator() -> Result<Self> {
        Self::of(Settings { operator: OperatorPlace::Inside, ..Settings::default() })
    }

    /// Prepares the cluster that the settings name.
    ///
    /// # Errors
    /// As [`Cluster::start`]; or when the kubeconfig's cluster does not answer or does not take the images.
    pub fn of(settings: Settings) -> Result<Self> {
        let kubectl = Kubectl::find(settings.kubectl.as_deref())?;
        let prometheus = prometheus::find(settings.prometheus.as_deref())?;
        let home = TempDir::with_prefix("rainbow-e2e-")?;
        // A profile has an address of its own in 127.0.0.0/8: no port that another program of the machine holds is needed.
        let cli = Cli::new(&programs()?.join("rainbow")).with("RAINBOW_HOME", home.path());
        let cli = cli.with("RAINBOW_PROFILE", PROFILE);
        let images = images::build_all(&cli, home.path(), &settings.image_prefix)?;
        let (kubeconfig, external, tally_image) = match settings.cluster {
            ClusterKind::Embedded => {
                let more: &[&str] = match settings.operator {
                    OperatorPlace::Outside => &["--no-operator"],
                    OperatorPlace::Inside => &[],
                };
                let tally_image = images::build_plain(&cli, home.path(), &settings.image_prefix, "tally")?;
                let delay = settings.proxy_delay.as_deref().map(|delay| ["--proxy-delay", delay]);
                let delay = delay.as_ref().map_or(&[][..], |delay| &delay[..]);
                cli.ok(&[&["local", "up", "--api-port", "0"], more, delay].concat())?;
                (PathBuf::from(cli.ok(&["local", "kubeconfig"])?.trim()), None, tally_image)
            }
            ClusterKind::Current => {
                let external = ExternalCluster::prepare(&cli, home.path(), &settings, &images)?;
                let tally_image = external.tally_image().to_owned();
                (external.kubeconfig().to_owned(), Some(external), tally_image)
            }
        };
        let cli = cli.with("KUBECONFIG", &kubeconfig);
        Ok(Self { home, cli, settings, kubeconfig, external, tally_image, kubectl, prometheus, reach: OnceCell::new() })
    }

    /// Returns the `rainbow` command, pointed at this cluster.
    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// Returns the directory for files of tests.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Returns the settings of the suite.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the kubectl that tests use, if this machine has one.
    pub fn kubectl(&self) -> Option<&Kubectl> {
        self.kubectl.as_ref()
    }

    /// Returns the program of the Prometheus server that tests use, if this machine has one.
    pub fn prometheus(&self) -> Option<&Path> {
        self.prometheus.as_deref()
    }

    /// Returns whether this is the embedded cluster and not an external one.
    pub fn is_embedded(&self) -> bool {
        self.settings.cluster == ClusterKind::Embedded
    }

    /// Returns the rate, in new connections a second, of a load that reaches Services in this way.
    pub(crate) fn rate(&self, reach: &Reach) -> f64 {
        self.settings.rate.unwrap_or(match reach {
            Reach::PortForward => load::RATE_FORWARDED,
            _ if self.is_embedded() => load::RATE,
            _ => load::RATE_ELSEWHERE,
        })
    }

    /// Returns the arguments of the operators that tests start. The embedded data plane has endpoints at once; elsewhere, and with
    /// a lag by settings, the operator's own default applies.
    pub(crate) fn operator_arguments(&self) -> &'static [&'static str] {
        if self.is_embedded() && self.settings.proxy_delay.is_none() { &["--propagation", "100ms"] } else { &[] }
    }

    /// Returns the image of the sidecar that counts connections.
    pub(crate) fn tally_image(&self) -> &str {
        &self.tally_image
    }

    /// Returns the approximate time in which an operator starts and acts here. Random kills are spread over this time.
    pub fn operator_start(&self) -> Duration {
        Duration::from_millis(if self.is_embedded() { 400 } else { 2500 })
    }

    /// Returns the path of the kubeconfig with the cluster's address and credentials.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the way in which Services are reached.
    ///
    /// # Errors
    /// When the settings name a way that does not work here.
    pub async fn reach(&self) -> Result<&Reach> {
        // The embedded cluster opens node ports on this machine's loopback, and nothing else is needed.
        let way =
            if self.is_embedded() && self.settings.reach == Way::Auto { Way::NodePort } else { self.settings.reach };
        let find = || async { Reach::find(&Client::try_from(config(&self.kubeconfig).await?)?, way).await };
        self.reach.get_or_try_init(find).await
    }

    /// Builds one more image of one of this build's programs, at version `v1`, and loads it into the cluster.
    ///
    /// # Errors
    /// When the program is not built, or the cluster does not take the image.
    pub fn build_image(&self, program: &str) -> Result<()> {
        let images = images::build(&self.cli, self.dir(), &self.settings.image_prefix, &Image::of(program, &["v1"]))?;
        self.load(&images)
    }

    /// Builds an image as [`Cluster::build_image`] does, of a program of the tests' own.
    ///
    /// # Errors
    /// As [`Cluster::build_image`].
    pub fn build_image_from(&self, program: &str, file: &Path) -> Result<()> {
        let image = Image::of(program, &["v1"]);
        let images = images::build_from(&self.cli, self.dir(), &self.settings.image_prefix, &image, file)?;
        self.load(&images)
    }

    fn load(&self, images: &[String]) -> Result<()> {
        match &self.external {
            Some(external) => external.load(&self.cli, self.dir(), images),
            None => Ok(()),
        }
    }

    /// Builds the image of the operator, `rainbow:e2e`, and loads it into the cluster.
    ///
    /// # Errors
    /// As [`Cluster::build_image`].
    pub fn build_operator_image(&self) -> Result<()> {
        let image = images::build_plain(&self.cli, self.dir(), &self.settings.image_prefix, "rainbow")?;
        self.load(&[image])
    }

    /// Returns whether a test may install the operator for all namespaces and remove all of Rainbow again, on two nodes.
    pub fn may_install(&self) -> bool {
        self.external.as_ref().is_some_and(ExternalCluster::may_install)
    }

    /// Returns whether the cluster has autoscalers that act, and no server of external metrics for them yet.
    pub fn has_autoscalers(&self) -> bool {
        self.external.as_ref().is_some_and(ExternalCluster::has_autoscalers)
    }

    /// Stops the embedded cluster, or removes from an external one everything that the suite added.
    ///
    /// # Errors
    /// When something is left behind.
    pub fn stop(self) -> Result<()> {
        match self.external {
            Some(external) => external.restore(&self.cli),
            None => self.cli.ok(&["local", "down"]).map(drop),
        }
    }
}
