//! Homes of local clusters: the default one, and one for each profile below it. Each profile has its own loopback address, so that clusters that
//! run at the same time share no port.

use std::{env, fs, io, net::Ipv4Addr, path::PathBuf};

use sha2::{Digest, Sha256};

use super::failed;
use crate::error::{Error, Result};

/// Name of the profile that is meant where none is given.
pub(crate) const DEFAULT: &str = "default";
/// Directory of the profiles in the default home.
const PROFILES: &str = "profiles";
/// File with the address of a profile.
pub(super) const ADDRESS: &str = "address";
/// Longest name of a profile: the name is a part of the paths of sockets and of the context's name.
const LONGEST: usize = 40;

/// Choice of a local cluster.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct ProfileArgs {
    /// Name of the local cluster, of which there may be several side by side (default: `default`)
    #[arg(long, global = true, value_name = "NAME", env = "RAINBOW_PROFILE", add = crate::complete::profiles())]
    profile: Option<String>,
}

impl ProfileArgs {
    /// Returns the home of the chosen cluster.
    pub(crate) fn home(&self) -> Result<Home> {
        Home::of(self.profile.as_deref())
    }
}

/// Directory of one local cluster's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(super) dir: PathBuf,
    /// Name of the profile; `None` for the default one.
    pub(super) profile: Option<String>,
}

impl Home {
    /// Returns the home that the environment names.
    pub(crate) fn of_environment() -> Result<Self> {
        Self::of(env::var("RAINBOW_PROFILE").ok().as_deref())
    }

    /// Returns the home of a profile.
    pub(crate) fn of(profile: Option<&str>) -> Result<Self> {
        let dir = pocket::default_state_dir().map_err(|error| failed(&error))?;
        match profile.filter(|name| !name.is_empty() && *name != DEFAULT) {
            None => Ok(Self { dir, profile: None }),
            Some(name) if rainbow_api::names::is_dns_label(name) && name.len() <= LONGEST => {
                Ok(Self { dir: dir.join(PROFILES).join(name), profile: Some(name.to_owned()) })
            }
            Some(name) => Err(Error::Usage(format!(
                "`{name}` is no name of a profile: use 1 to {LONGEST} lower case letters, digits and `-`"
            ))),
        }
    }

    /// Returns the names of all profiles that have a home, the default one first.
    pub(crate) fn profiles() -> Result<Vec<String>> {
        let default = Self::of(None)?;
        let mut names = match fs::read_dir(default.dir.join(PROFILES)) {
            Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::failed(format_args!("cannot read {}", default.dir.display()), error)),
        };
        names.retain(|name: &String| Self::of(Some(name)).is_ok());
        names.sort();
        names.insert(0, DEFAULT.to_owned());
        Ok(names)
    }

    /// Returns the name of the profile.
    pub(crate) fn name(&self) -> &str {
        self.profile.as_deref().unwrap_or(DEFAULT)
    }

    /// Returns the option that selects this profile, for a command in a message.
    pub(crate) fn option(&self) -> String {
        self.profile.as_ref().map(|name| format!(" --profile {name}")).unwrap_or_default()
    }

    /// Names the cluster for messages.
    pub(crate) fn shown(&self) -> String {
        match &self.profile {
            None => "the local cluster".to_owned(),
            Some(name) => format!("the local cluster `{name}`"),
        }
    }

    /// Returns the name of the context in the cluster's kubeconfig.
    pub(crate) fn context_name(&self) -> String {
        match &self.profile {
            None => pocket::CONTEXT.to_owned(),
            Some(name) => format!("{}-{name}", pocket::CONTEXT),
        }
    }

    /// Returns the cluster's address, if it already has one.
    pub(crate) fn known_address(&self) -> Option<Ipv4Addr> {
        if self.profile.is_none() {
            return Some(Ipv4Addr::LOCALHOST);
        }
        let known = fs::read_to_string(self.dir.join(ADDRESS)).ok()?.trim().parse::<Ipv4Addr>().ok()?;
        known.is_loopback().then_some(known)
    }

    /// Returns the cluster's address, which stays the same from the first start on.
    pub(super) fn address(&self) -> Result<Ipv4Addr> {
        if let Some(known) = self.known_address() {
            return Ok(known);
        }
        let others = Self::profiles()?.into_iter().filter_map(|name| Self::of(Some(&name)).ok());
        let taken: Vec<Ipv4Addr> = others.filter_map(|home| home.known_address()).collect();
        let address = free_address(&self.dir.display().to_string(), &taken);
        let file = self.dir.join(ADDRESS);
        fs::write(&file, address.to_string())
            .map_err(|error| Error::failed(format_args!("cannot write {}", file.display()), error))?;
        Ok(address)
    }
}

/// Returns an address of 127.0.0.0/8 that is derived from a text, so that homes of other users of the machine get other addresses, too.
fn free_address(text: &str, taken: &[Ipv4Addr]) -> Ipv4Addr {
    let mut address = Ipv4Addr::LOCALHOST;
    for attempt in 0..=u8::MAX {
        let digest = Sha256::digest(format!("{text}{attempt}"));
        // No part is 0 or 255, which some programs take for a network, so the second part is never that of 127.0.0.1.
        let part = |index: usize| 1 + digest[index] % 254;
        address = Ipv4Addr::new(127, part(0), part(1), part(2));
        if !taken.contains(&address) {
            break;
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ() {
        let first = free_address("/home/ann/profiles/ci", &[]);
        assert_eq!(first, free_address("/home/ann/profiles/ci", &[]));
        assert_ne!(first, free_address("/home/ben/profiles/ci", &[]));
        let second = free_address("/home/ann/profiles/ci", &[first]);
        assert!(second != first && second.is_loopback() && second.octets()[1] > 0);
    }

    #[test]
    fn profiles_have_names() {
        for wrong in ["../x", "A", "a/b", "-", &"a".repeat(41)] {
            assert_eq!(
                Home::of(Some(wrong)).unwrap_err().to_string(),
                format!("`{wrong}` is no name of a profile: use 1 to 40 lower case letters, digits and `-`")
            );
        }
    }
}
