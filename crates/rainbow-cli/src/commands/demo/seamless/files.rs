//! What the demo needs on the disk: manifests, Dockerfiles, programs.

use std::{fs, io, net::TcpListener};

use tempfile::TempDir;

use super::{super::programs, Args, SETTLE};
use crate::error::{Error, Result};

const V1: &str = include_str!("../../../../../../examples/seamless/v1.yaml");
const V2: &str = include_str!("../../../../../../examples/seamless/v2.yaml");
const FRONTEND: &str = include_str!("../../../../../../examples/seamless/frontend.Dockerfile");
const BACKEND: &str = include_str!("../../../../../../examples/seamless/backend.Dockerfile");

/// Writes everything into a directory that is removed at the end.
pub(super) fn write(args: &Args) -> Result<TempDir> {
    let programs = programs(args.apps.as_ref(), &["frontend", "backend"])?;
    let dir = tempfile::Builder::new().prefix("rainbow-demo-").tempdir();
    let dir = dir.map_err(|error| Error::failed("cannot make a directory for the demo", error))?;
    let cannot = |error: io::Error| Error::failed(format_args!("cannot write to {}", dir.path().display()), error);
    let (active, smoke) = free_ports().map_err(|error| Error::failed("no free port", error))?;
    for (name, text) in [("v1.yaml", V1), ("v2.yaml", V2)] {
        fs::write(dir.path().join(name), manifest(text, args, active, smoke)?).map_err(cannot)?;
    }
    for (name, text) in [("frontend.Dockerfile", FRONTEND), ("backend.Dockerfile", BACKEND)] {
        fs::write(dir.path().join(name), text).map_err(cannot)?;
    }
    let apps = dir.path().join("apps");
    fs::create_dir(&apps).map_err(cannot)?;
    for name in ["frontend", "backend"] {
        fs::copy(programs.join(name), apps.join(name)).map_err(cannot)?;
    }
    Ok(dir)
}

/// The example's manifest at the demo's pace, on ports that are free on this machine.
fn manifest(text: &str, args: &Args, active: u16, smoke: u16) -> Result<String> {
    let mut text = text.to_owned();
    for (from, to) in [
        ("every: 30s", format!("every: {}", args.every)),
        ("settle: 30s", format!("settle: {}s", SETTLE.as_secs())),
        ("warm: 30s", format!("warm: {}s", SETTLE.as_secs())),
        ("[{ name: http, port: 8080 }] }", format!("[{{ name: http, port: {active} }}] }}")),
        ("[{ name: http, port: 8081 }] }", format!("[{{ name: http, port: {smoke} }}] }}")),
    ] {
        if !text.contains(from) {
            return Err(Error::Failed(format!("the example's manifest has no `{from}`")));
        }
        text = text.replace(from, &to);
    }
    Ok(text)
}

/// Two different ports. Somebody may take them before they are used; then the stage says so.
fn free_ports() -> io::Result<(u16, u16)> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_api::HumanDuration;

    #[test]
    fn the_manifests_are_valid_and_differ_as_they_should() {
        let args = Args { every: HumanDuration::from_secs(2), rate: 1.0, keep: false, apps: None };
        let parse = |text| {
            let text = manifest(text, &args, 1080, 1081).unwrap();
            let rainbow: rainbow_api::Rainbow = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(rainbow_api::validate(&rainbow.spec), []);
            rainbow.spec
        };
        let (one, two) = (parse(V1), parse(V2));
        assert_eq!((one.color.as_deref(), two.color.as_deref()), (Some("v1"), Some("v2")));
        assert_eq!(one.stages, two.stages);
        let ports: Vec<Option<i32>> = one.stages.iter().map(|stage| stage.service.ports[0].port).collect();
        assert_eq!(ports, [Some(1081), Some(1080)]);
        let replicas: i32 = one.tiers.iter().map(|tier| tier.replicas).sum();
        assert_eq!(usize::try_from(replicas).unwrap(), super::super::PODS);
    }
}
