//! Settings of the suite: the cluster that it runs on, and facts about it.

use clap::{Args, ValueEnum};

use crate::reach::Way;

/// Seconds in which each kind of trouble happens once or twice.
const CHAOS: u64 = 75;

/// Options of the suite. Each is also read from the environment, for callers that cannot change a command line.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// The cluster to run on
    #[arg(long, env = "RAINBOW_TEST_CLUSTER", value_enum, default_value_t, value_name = "WHICH")]
    pub cluster: ClusterKind,
    /// Context of the kubeconfig, in place of its current one
    #[arg(long, env = "RAINBOW_TEST_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Shell command that gives the cluster an image archive, `{archive}`; with `{image}` in it, it runs once per image
    #[arg(long, env = "RAINBOW_TEST_LOAD_COMMAND", value_name = "COMMAND")]
    pub load_command: Option<String>,
    /// Prefix of the names of images, such as `registry.example/tests/`
    #[arg(long, env = "RAINBOW_TEST_IMAGE_PREFIX", value_name = "PREFIX", default_value = "")]
    pub image_prefix: String,
    /// Where the operator runs
    #[arg(long, env = "RAINBOW_TEST_OPERATOR", value_enum, default_value_t, value_name = "WHERE")]
    pub operator: OperatorPlace,
    /// Way in which Services are reached
    #[arg(long, env = "RAINBOW_TEST_REACH", value_enum, default_value_t, value_name = "WAY")]
    pub reach: Way,
    /// New connections a second of a load (default: 300 on the embedded cluster, 200 elsewhere, 20 through the API)
    #[arg(long, env = "RAINBOW_TEST_RATE", value_name = "N")]
    pub rate: Option<f64>,
    /// Lag of the embedded cluster's Service proxy, such as `1s`, which is kube-proxy's
    #[arg(long, env = "RAINBOW_TEST_PROXY_DELAY", value_name = "TIME")]
    pub proxy_delay: Option<String>,
    /// Shell command that cuts a node off the network; `{node}` is its name
    #[arg(long, env = "RAINBOW_TEST_CUT_COMMAND", value_name = "COMMAND", requires_all = ["mend_command", "cut_node"])]
    pub cut_command: Option<String>,
    /// Shell command that undoes the cut
    #[arg(long, env = "RAINBOW_TEST_MEND_COMMAND", value_name = "COMMAND")]
    pub mend_command: Option<String>,
    /// The node to cut off: one of several, and not the one that the API server depends on
    #[arg(long, env = "RAINBOW_TEST_CUT_NODE", value_name = "NODE")]
    pub cut_node: Option<String>,
    /// The pods of the kubeconfig's cluster are processes of this machine, and tests may signal them and pull their cables
    #[arg(long, env = "RAINBOW_TEST_LOCAL_PODS")]
    pub local_pods: bool,
    /// The kubectl that tests of kubectl use: a path (default: the one on the PATH; without one these tests are ignored)
    #[arg(long, env = "KUBECTL", value_name = "PROGRAM")]
    pub kubectl: Option<String>,
    /// The Prometheus that tests of gates use: a path (default: the one on the PATH; without one these tests are ignored)
    #[arg(long, env = "PROMETHEUS", value_name = "PROGRAM")]
    pub prometheus: Option<String>,
    /// Seconds of troubles in the test of two operators
    #[arg(long, env = "RAINBOW_TEST_CHAOS", value_name = "SECONDS", default_value_t = CHAOS)]
    pub chaos: u64,
    /// Seed of random choices in that test (default: another one each time; it is printed)
    #[arg(long, env = "RAINBOW_TEST_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the namespace of a failed test, and everything that runs in it
    #[arg(long, env = "RAINBOW_TEST_KEEP")]
    pub keep: bool,
}

/// Cluster to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClusterKind {
    /// An embedded cluster of the suite's own.
    #[default]
    Embedded,
    /// Any cluster that the kubeconfig names.
    Current,
}

/// Place where the operator runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OperatorPlace {
    /// Each test has a process of its own, which it may kill.
    #[default]
    Outside,
    /// One in the cluster for all, as users have it.
    Inside,
}

/// Way to cut a node off.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Name of the node.
    pub node: String,
    cut: String,
    mend: String,
}

impl Settings {
    /// Returns whether this program can reach the pods' processes and network namespaces.
    pub fn reaches_pods(&self) -> bool {
        self.local_pods || self.cluster == ClusterKind::Embedded
    }

    /// Returns the way to cut a node off, if the settings have one.
    pub fn cut(&self) -> Option<Cut> {
        let (cut, mend, node) = (self.cut_command.clone()?, self.mend_command.clone()?, self.cut_node.clone()?);
        Some(Cut { node, cut, mend })
    }
}

impl Cut {
    /// Cuts the node off.
    ///
    /// # Errors
    /// When the command fails.
    pub fn cut(&self) -> anyhow::Result<()> {
        crate::shell::run(&self.cut, &[("node", &self.node)])
    }

    /// Connects the node again.
    ///
    /// # Errors
    /// When the command fails.
    pub fn mend(&self) -> anyhow::Result<()> {
        crate::shell::run(&self.mend, &[("node", &self.node)])
    }
}
