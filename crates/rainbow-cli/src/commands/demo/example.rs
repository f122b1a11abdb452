//! Example of two tiers that two of the stories play: its files, and the load on its stages.

use std::{fs, io, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use rainbow_api::HumanDuration;
use tempfile::TempDir;
use traffic::{Compatible, Load, Order, Report, Rule, Traffic};

use super::{programs, shell::Shell};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    reach,
};

pub(super) const NAME: &str = "seamless";
/// Number of pods of each tier.
pub(super) const PODS: usize = 5;
/// Time for which a version stays whole after it has left its last stage: longer than any connection of the load.
pub(super) const SETTLE: Duration = Duration::from_secs(5);
/// Number of clients that keep their connections, beside the new ones.
pub(super) const KEEP_ALIVE: usize = 10;
/// Age at which a client that keeps its connection opens a new one, as connection pools do.
const MAX_AGE: Duration = Duration::from_secs(2);

const FRONTEND: &str = include_str!("../../../../../examples/seamless/frontend.Dockerfile");
const BACKEND: &str = include_str!("../../../../../examples/seamless/backend.Dockerfile");

/// Arguments of a story of two tiers.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Time from one step of the shift to the next
    #[arg(long, default_value = "2s", value_name = "TIME")]
    pub(super) every: HumanDuration,
    /// New connections per second
    #[arg(long, default_value_t = 300.0, value_name = "N")]
    pub(super) rate: f64,
    /// Leave the cluster and the application there
    #[arg(long)]
    pub(super) keep: bool,
    /// Directory of the example's programs `frontend` and `backend` (default: where this program is)
    #[arg(long, value_name = "DIR")]
    pub(super) apps: Option<PathBuf>,
}

/// Manifest of the example.
pub(super) struct Manifest {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// Writes everything into a directory that is removed at the end. `warm` is `keep.warm` of the manifests.
pub(super) fn write(args: &Args, manifests: &[Manifest], warm: Duration) -> Result<TempDir> {
    if !(args.rate > 0.0 && args.rate.is_finite()) {
        return Err(Error::Usage("--rate must be above 0".into()));
    }
    let programs = programs(args.apps.as_ref(), &["frontend", "backend"])?;
    let dir = tempfile::Builder::new().prefix("rainbow-demo-").tempdir();
    let dir = dir.map_err(|error| Error::failed("cannot make a directory for the demo", error))?;
    let cannot = |error: io::Error| Error::failed(format_args!("cannot write to {}", dir.path().display()), error);
    let ports = free_ports().map_err(|error| Error::failed("no free port", error))?;
    for Manifest { name, text } in manifests {
        fs::write(dir.path().join(name), at_the_pace(text, args, warm, ports)?).map_err(cannot)?;
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

/// Ports of the active stage and of the smoke stage on this machine.
#[derive(Clone, Copy)]
struct Ports {
    active: u16,
    smoke: u16,
}

/// Returns the example's manifest at the demo's pace, on ports that are free on this machine.
fn at_the_pace(text: &str, args: &Args, warm: Duration, ports: Ports) -> Result<String> {
    let Ports { active, smoke } = ports;
    let mut text = text.to_owned();
    for (from, to) in [
        ("every: 30s", format!("every: {}", args.every)),
        ("settle: 30s", format!("settle: {}s", SETTLE.as_secs())),
        ("warm: 30s", format!("warm: {}s", warm.as_secs())),
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

/// Finds two different free ports. Another program may take them before they are used; then the stage reports the conflict.
fn free_ports() -> io::Result<Ports> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok(Ports { active: one.local_addr()?.port(), smoke: two.local_addr()?.port() })
}

/// Builds the images of a tier in some versions.
pub(super) async fn images(shell: &Shell, tier: &str, versions: &[&str]) -> Result {
    for version in versions {
        let image = format!("image build -t {tier}:{version} --build-arg VERSION={version} -f {tier}.Dockerfile apps");
        shell.run(&image).await?;
    }
    Ok(())
}

/// Starts load on a stage, by the way that a client on this machine takes. Every reply is checked by its text alone.
pub(super) async fn load(
    context: &Context,
    cluster: &Cluster,
    stage: &str,
    rate: f64,
    compatible: Compatible,
) -> Result<Traffic> {
    let rainbow = cluster.rainbow(NAME).await?;
    let reached = reach::stage(context, cluster, &rainbow, stage, &reach::Way::default()).await?;
    let pattern = "frontend:{v} - backend:{v}".parse().map_err(|error| Error::failed("the pattern", error))?;
    let rule = Rule { pattern, compatible, order: Order::Natural };
    traffic::raise_file_limit();
    let mut load = Load::new(reached.target);
    load.rate = rate;
    load.keep_alive = KEEP_ALIVE;
    load.pause = Duration::from_millis(50);
    load.max_age = Some(MAX_AGE);
    load.check = Some(Arc::new(move |reply| rule.judge(reply)));
    Ok(Traffic::start(load))
}

/// Returns a fault that no story allows: requests that failed, or replies that mix versions.
pub(super) fn trouble(report: &Report) -> Option<String> {
    if report.failed > 0 || report.skipped > 0 {
        let first = report.failures.iter().next().and_then(|(kind, tally)| Some((kind, tally.samples.first()?)));
        return Some(first.map_or("requests failed".to_owned(), |(kind, sample)| {
            format!("requests failed, such as {kind} ({})", sample.detail)
        }));
    }
    (report.mixed > 0).then(|| "replies mixed versions".to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the spec that a story applies.
    pub(in super::super) fn spec(manifest: &Manifest) -> rainbow_api::RainbowSpec {
        let args = Args { every: HumanDuration::from_secs(2), rate: 1.0, keep: false, apps: None };
        let ports = Ports { active: 1080, smoke: 1081 };
        let text = at_the_pace(manifest.text, &args, SETTLE, ports).unwrap();
        let rainbow: rainbow_api::Rainbow = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(rainbow_api::validate(&rainbow.spec), [], "{}", manifest.name);
        let ports: Vec<Option<i32>> = rainbow.spec.stages.iter().map(|stage| stage.service.ports[0].port).collect();
        assert_eq!(ports, [Some(1081), Some(1080)]);
        let pods = usize::try_from(rainbow.spec.tiers[0].replicas).unwrap();
        assert!(rainbow.spec.tiers.iter().all(|tier| tier.replicas == rainbow.spec.tiers[0].replicas));
        assert_eq!(pods, PODS);
        rainbow.spec
    }
}
