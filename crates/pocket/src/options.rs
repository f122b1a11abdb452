//! Options of the local cluster.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Error;

/// Options of the local cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of all files that are kept.
    pub state_dir: PathBuf,
    /// Name of the context, the cluster and the user in the kubeconfig.
    pub name: String,
    /// Address of the host's loopback, in 127.0.0.0/8, at which the API server, node ports and load balancers listen. Clusters with an
    /// address each do not compete for ports.
    pub address: Ipv4Addr,
    /// Port of the API server; 0 takes the one it had before, or 6443, or any.
    pub api_port: u16,
    /// Whether to become the daemon instead of starting it: [`crate::up()`] does not return then unless it fails.
    pub foreground: bool,
    /// Time to wait until the cluster is ready.
    pub timeout: Duration,
    /// Least time between two updates of the Service proxy, as kube-proxy's `minSyncPeriod` (1 s there). With zero, the proxy
    /// follows every change at once.
    pub proxy_delay: Duration,
}

impl Options {
    /// Returns the usual options for a state directory.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            name: crate::CONTEXT.to_owned(),
            address: Ipv4Addr::LOCALHOST,
            api_port: 0,
            foreground: false,
            timeout: Duration::from_secs(60),
            proxy_delay: Duration::ZERO,
        }
    }

    /// Returns the state directory, or an error if its path cannot be used.
    pub(crate) fn checked_dir(&self) -> Result<&Path, Error> {
        let usable = self.state_dir.is_absolute() && self.state_dir.to_str().is_some();
        if usable { Ok(&self.state_dir) } else { Err(Error::BadPath(self.state_dir.clone())) }
    }
}

/// Returns the default state directory: `$RAINBOW_HOME`, `$XDG_STATE_HOME/rainbow`, or `~/.local/state/rainbow`.
///
/// # Errors
/// Fails when none of the variables is set.
pub fn default_state_dir() -> Result<PathBuf, Error> {
    state_dir_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn state_dir_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    let found = variable("RAINBOW_HOME")
        .or_else(|| variable("XDG_STATE_HOME").map(|dir| dir.join("rainbow")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".local/state/rainbow")))
        .ok_or(Error::NoHome)?;
    // A relative path is relative to the current directory.
    std::path::absolute(&found).map_err(Error::file("find", found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_counts() {
        let of = |set: &'static [(&str, &str)]| {
            state_dir_from(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        let all = &[("RAINBOW_HOME", "/a"), ("XDG_STATE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(of(all).unwrap(), Path::new("/a"));
        assert_eq!(of(&all[1..]).unwrap(), Path::new("/b/rainbow"));
        assert_eq!(of(&all[2..]).unwrap(), Path::new("/c/.local/state/rainbow"));
        assert!(matches!(of(&[]), Err(Error::NoHome)));
    }

    #[test]
    fn relative_directories_are_refused() {
        assert!(Options::new("here").checked_dir().is_err());
        assert!(Options::new("/there").checked_dir().is_ok());
    }
}
