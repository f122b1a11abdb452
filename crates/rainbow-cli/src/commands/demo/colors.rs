//! Story of one tier, colors named by git, and long connections: each connection stays with its color until it ends by itself.

mod files;
mod held;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kube::api::DeleteParams;
use rainbow_api::{Color, ColorPhase, HumanDuration, names};
use traffic::{Load, Report, Traffic, Verdict};

use super::{cluster_of_its_own, play, shell::Shell};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    reach,
    view::{ColorView, View},
    wait::{self, Progress},
};
use files::Ports;
use held::Held;

const NAME: &str = "colors";
/// Time without connections after which a pod ends.
const SETTLE: Duration = Duration::from_secs(3);
/// New connections a second to the page.
const RATE: f64 = 50.0;
/// Longest time for any single step to take effect.
const PATIENCE: HumanDuration = HumanDuration::from_secs(60);

/// Arguments of `rainbow demo colors`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Long connections to each color
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Leave the cluster and the application there
    #[arg(long)]
    keep: bool,
    /// Directory of the example's program `colors` (default: where this program is)
    #[arg(long, value_name = "DIR")]
    apps: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, args: Args) -> Result {
    let ports = files::free_ports()?;
    let files = files::write(&args, ports)?;
    let shell = Shell::new(context.printer, files.path())?;
    let keep = args.keep;
    traffic::raise_file_limit();
    play(context, shell, files, keep, async |shell| walk(context, &args, ports, shell).await).await
}

async fn walk(context: &Context, args: &Args, ports: Ports, shell: &Shell) -> Result<String> {
    let connections = usize::from(args.connections);
    let address = SocketAddr::from(([127, 0, 0, 1], ports.tcp));
    let (context, cluster) = cluster_of_its_own(context, shell).await?;

    shell.say("The application is in a git repository. Its color is the first six digits of the commit.");
    shell.git("init -q").await?;
    let one = release(shell, "the first version", Release::First).await?;
    let load = page_load(&context, &cluster).await?;

    shell.say(&format!(
        "{connections} clients connect to stay. Each is told the color every 5 s. More look at the page."
    ));
    let mut ones = hold(shell, address, &one, connections).await?;

    shell.say("Another commit, another color. The page changes at once; who is connected stays connected.");
    let two = release(shell, "the second version", Release::Next).await?;
    shows(shell, &two).await?;
    let mut twos = hold(shell, address, &two, connections).await?;
    goes_on(shell, &mut ones).await?;

    shell.say("And a third. All three live now, each with its clients.");
    let three = release(shell, "the third version", Release::Next).await?;
    shows(shell, &three).await?;
    let mut threes = hold(shell, address, &three, connections).await?;
    goes_on(shell, &mut ones).await?;
    goes_on(shell, &mut twos).await?;
    counted(&context, &cluster, &[(&one, connections), (&two, connections)]).await?;
    shell.run(&format!("status {NAME}")).await?;

    shell.say("Why is the first color still there?");
    shell.run(&format!("why {one}")).await?;

    shell.say(&format!("Its clients leave. {} s later it leaves by itself; nobody cleans up.", SETTLE.as_secs()));
    let mut lines = ones.lines();
    let mut cut = ones.ended();
    drop(ones);
    retired(&context, &cluster, &one).await?;
    shell.run(&format!("history {NAME}")).await?;

    shell.say("The second is in the way? Deleting a color, as `kubectl delete color` does, ends its connections, and no other's.");
    let object = names::color_object(NAME, &two);
    let deleted = cluster.api::<Color>().delete(&object, &DeleteParams::default()).await;
    deleted.map_err(|error| cluster.error(&error))?;
    shell.answer(&format!("color.rainbow.dev \"{object}\" deleted"));
    twos.all_ended().await?;
    shell.answer(&format!("{} connections to {two} have ended", twos.count()));
    gone(&context, &cluster, &two).await?;
    goes_on(shell, &mut threes).await?;
    shell.run(&format!("status {NAME}")).await?;

    shell.say("What the clients saw of all this:");
    let report = load.stop().await;
    for (page, tally) in &report.replies {
        let seen = colors(page);
        shell.answer(&format!("{:>9}  pages of #{}", tally.count, seen.first().unwrap_or(&"?")));
    }
    lines += twos.lines() + threes.lines();
    cut += threes.ended();
    if !args.keep {
        shell.say("Clean up: nothing is left.");
        // The clients of the third color would hold that color as long as they stay connected.
        drop(threes);
        shell.run(&format!("delete {NAME} --wait")).await?;
    }
    judge(&report, 3 * connections, lines, cut)
}

/// Returns the figures of a demo that has shown what it claims, or fails with the first promise that is broken.
fn judge(report: &Report, connections: usize, lines: usize, cut: usize) -> Result<String> {
    let figures = format!(
        "colors=3 connections={connections} lines={lines} cut={cut} requests={} failed={} mixed={}",
        report.requests, report.failed, report.mixed
    );
    let why = if report.failed > 0 || report.skipped > 0 {
        let first = report.failures.iter().next().and_then(|(kind, tally)| Some((kind, tally.samples.first()?)));
        first.map_or("requests failed".to_owned(), |(kind, sample)| {
            format!("requests failed, such as {kind} ({})", sample.detail)
        })
    } else if report.mixed > 0 {
        "a page had two colors".to_owned()
    } else if report.replies.len() != 3 {
        format!("the page was seen in {} colors", report.replies.len())
    } else if cut > 0 {
        "connections were cut".to_owned()
    } else {
        return Ok(figures);
    };
    Err(Error::Failed(format!("{figures}: {why}")))
}

/// Whether a release is the application's first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    First,
    Next,
}

/// Commits, builds and deploys. Returns the color.
async fn release(shell: &Shell, text: &str, release: Release) -> Result<String> {
    files::edit(shell.dir(), text)?;
    shell.git("add .").await?;
    shell.git(&format!("commit -q -m {}", text.replace(' ', "-"))).await?;
    let commit = shell.git("rev-parse HEAD").await?;
    let color = commit.get(..6).unwrap_or_default().to_owned();
    shell.run("image build --color git -t colors:{color} --build-arg COLOR={color} app -f Dockerfile").await?;
    let said = match release {
        Release::First => shell.run("apply -f colors.yaml --color git --wait").await?,
        Release::Next => {
            shell.run(&format!("deploy {NAME} --color git --image colors=colors:{{color}} --wait")).await?
        }
    };
    match release == Release::First || said.contains(&format!("released as color {color}")) {
        true => Ok(color),
        false => Err(Error::Failed(format!("`{}` was released instead of color {color}", said.trim()))),
    }
}

/// Fails unless the page has the given color, and no other.
async fn shows(shell: &Shell, color: &str) -> Result {
    let page = shell.run(&format!("query {NAME}")).await?;
    match colors(&page).iter().all(|seen| *seen == color) && page.contains(color) {
        true => Ok(()),
        false => Err(Error::Failed(format!("the page does not have color {color}"))),
    }
}

async fn hold(shell: &Shell, address: SocketAddr, color: &str, count: usize) -> Result<Held> {
    let held = Held::open(address, color, count).await?;
    shell.answer(&format!("{count} clients are connected to {address} and read: The color is #{color}"));
    Ok(held)
}

async fn goes_on(shell: &Shell, held: &mut Held) -> Result {
    held.another_line().await?;
    shell.answer(&format!("{} clients go on reading: The color is #{}", held.count(), held.color));
    Ok(())
}

/// Starts the load on the page. A reply is good when every color in it is the same.
async fn page_load(context: &Context, cluster: &Cluster) -> Result<Traffic> {
    let rainbow = cluster.rainbow(NAME).await?;
    let reached = reach::stage(context, cluster, &rainbow, "active", &reach::Way::default()).await?;
    let mut load = Load::new(reached.target);
    load.rate = RATE;
    load.check = Some(Arc::new(|page| {
        let seen = colors(page);
        match seen.first() {
            Some(first) if seen.iter().all(|other| other == first) => Verdict::Good,
            _ => Verdict::Mixed,
        }
    }));
    Ok(Traffic::start(load))
}

/// Returns all texts of the form `#3c3fdc` in a page, without their `#`.
fn colors(page: &str) -> Vec<&str> {
    page.split('#')
        .skip(1)
        .filter_map(|part| part.get(..6))
        .filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect()
}

/// Waits until the operator has counted the wanted number of connections of each color.
async fn counted(context: &Context, cluster: &Cluster, wanted: &[(&str, usize)]) -> Result {
    wait::until(context, cluster, NAME, PATIENCE, |_, view| {
        let number = |color: &str| view.color(color).and_then(|color| color.connections).unwrap_or_default();
        match wanted.iter().all(|(color, wanted)| usize::try_from(number(color)) == Ok(*wanted)) {
            true => Progress::Done,
            false => Progress::Waiting("the connections are being counted".into()),
        }
    })
    .await
}

/// Waits until a color has retired.
async fn retired(context: &Context, cluster: &Cluster, color: &str) -> Result {
    let pods = |color: &ColorView| color.tiers.iter().map(|tier| tier.pods.len()).sum::<usize>();
    wait::until(context, cluster, NAME, PATIENCE, |_, view: &View| match view.color(color) {
        Some(found) if found.phase == Some(ColorPhase::Retired) && pods(found) == 0 => Progress::Done,
        Some(found) => Progress::Waiting(match found.connections {
            Some(0) | None => format!("{color}: {} pods, without connections", pods(found)),
            Some(number) => format!("{color}: {} pods, {number} connections", pods(found)),
        }),
        None => Progress::Done,
    })
    .await
}

/// Waits until a color is gone.
async fn gone(context: &Context, cluster: &Cluster, color: &str) -> Result {
    wait::until(context, cluster, NAME, PATIENCE, |_, view| match view.color(color) {
        Some(_) => Progress::Waiting(format!("{color}: its pods end")),
        None => Progress::Done,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colors_of_a_page() {
        assert_eq!(colors("<body style=\"background: #3c3fdc\"><h1>#3c3fdc</h1> #1 #"), ["3c3fdc", "3c3fdc"]);
        assert_eq!(colors("no color"), Vec::<&str>::new());
    }
}
