//! Files of the story: a directory to make a git repository of, with the application in it.

use std::{fs, io, net::TcpListener, path::Path};

use tempfile::TempDir;

use super::{super::programs, Args, SETTLE};
use crate::error::{Error, Result};

const MANIFEST: &str = include_str!("../../../../../../examples/colors/colors.yaml");
const DOCKERFILE: &str = include_str!("../../../../../../examples/colors/Dockerfile");

/// Node ports for the page and for the long connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) tcp: u16,
}

/// Writes everything into a directory that is removed at the end.
pub(super) fn write(args: &Args, ports: Ports) -> Result<TempDir> {
    // Without the counter, the operator could not see that a connection has ended.
    programs(None, &["tally"])?;
    let programs = programs(args.apps.as_ref(), &["colors"])?;
    let manifest = manifest(MANIFEST, ports)?;
    let dir = tempfile::Builder::new().prefix("rainbow-demo-").tempdir();
    let dir = dir.map_err(|error| Error::failed("cannot make a directory for the demo", error))?;
    fill(dir.path(), &programs, &manifest)
        .map_err(|error| Error::failed(format_args!("cannot write to {}", dir.path().display()), error))?;
    Ok(dir)
}

fn fill(dir: &Path, programs: &Path, manifest: &str) -> io::Result<()> {
    // The cluster's own files and the program are no part of the source.
    for (name, text) in [("colors.yaml", manifest), ("Dockerfile", DOCKERFILE), (".gitignore", "/home/\n/app/\n")] {
        fs::write(dir.join(name), text)?;
    }
    let app = dir.join("app");
    fs::create_dir(&app)?;
    fs::copy(programs.join("colors"), app.join("colors")).map(drop)
}

/// Changes the source, so that there is something to commit.
pub(super) fn edit(dir: &Path, text: &str) -> Result {
    fs::write(dir.join("notes.txt"), text).map_err(|error| Error::failed("cannot write a file of the demo", error))
}

/// Returns the example's manifest at the demo's pace, on ports that are free on this machine.
fn manifest(text: &str, ports: Ports) -> Result<String> {
    let mut text = text.to_owned();
    for (from, to) in [
        ("settle: 5s", format!("settle: {}s", SETTLE.as_secs())),
        ("warm: 30s", format!("warm: {}s", SETTLE.as_secs())),
        ("nodePort: 31080", format!("nodePort: {}", ports.http)),
        ("nodePort: 31081", format!("nodePort: {}", ports.tcp)),
    ] {
        if !text.contains(from) {
            return Err(Error::Failed(format!("the example's manifest has no `{from}`")));
        }
        text = text.replace(from, &to);
    }
    Ok(text)
}

/// Finds two ports of the range for node ports that are free here. Another program may take them before they are used; then the Service reports
/// the conflict.
pub(super) fn free_ports() -> Result<Ports> {
    let mut free = (31080..32768).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    match (free.next(), free.next()) {
        (Some(http), Some(tcp)) => Ok(Ports { http, tcp }),
        _ => Err(Error::Failed("no port from 31080 to 32767 is free on 127.0.0.1".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_valid_once_it_has_a_color() {
        let text = manifest(MANIFEST, Ports { http: 31111, tcp: 31112 }).unwrap();
        let mut value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(crate::release::manifest(&mut value, Some("123e45")), []);
        let rainbow: rainbow_api::Rainbow = serde_json::from_value(value).unwrap();
        assert_eq!(rainbow_api::validate(&rainbow.spec), []);
        assert_eq!(rainbow.spec.color.as_deref(), Some("123e45"));
        assert_eq!(rainbow.spec.drain.settle.0, SETTLE);
        let container = &rainbow.spec.tiers[0].template["spec"]["containers"][0];
        assert_eq!(container["image"], "colors:123e45");
        let ports: Vec<Option<i32>> = rainbow.spec.stages[0].service.ports.iter().map(|port| port.node_port).collect();
        assert_eq!(ports, [Some(31111), Some(31112)]);
    }
}
