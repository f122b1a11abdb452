//! Configuration of a client, from a kubeconfig file.

use std::path::Path;

use anyhow::Result;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Reads a client's configuration from a kubeconfig file.
pub(crate) async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}
