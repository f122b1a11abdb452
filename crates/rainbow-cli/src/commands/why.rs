//! `rainbow why`: explains why an application does not move or is not ready; what holds a color, and what would free it.

mod app;
mod explain;
mod moves;
mod pods;
mod stage;
mod unready;

use jiff::Timestamp;
use rainbow_api::Rainbow;
use serde::Serialize;

use crate::{
    context::{Cluster, Context},
    error::{Error, Result, hint},
    evidence::{Evidence, Peer, PodEvidence},
    output::{self, Format},
    paint::Painted,
    printer::{BAD, DIM, NAME, table},
    which::{self, Found},
    words::{self, count},
};

/// Arguments of `rainbow why`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "rainbow why [OPTIONS] [NAME] [COLOR]")]
pub(crate) struct Args {
    /// Name of the Rainbow, which may be left out where there is only one, or only one that has the color; and name of a color. Without a
    /// color: why the application does not move or is not ready
    #[arg(value_names = ["NAME", "COLOR"], num_args = 0..=2, value_parser = which::rainbow_name, add = crate::complete::rainbows_and_colors())]
    names: Vec<String>,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Explanation of a color's state.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Why {
    rainbow: String,
    color: String,
    phase: Option<rainbow_api::ColorPhase>,
    /// Stages that point at the color.
    stages: Vec<String>,
    /// Reasons why its pods are not ready, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unready: Vec<String>,
    /// Positions of the tiers of stages that go to the color tier by tier, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moves: Vec<String>,
    /// Reasons why the color is held, in sentences.
    holds: Vec<String>,
    /// Events and commands that would free the color, in sentences.
    frees: Vec<String>,
    /// Number of known connections.
    connections: i64,
    /// Connections of peers that `drain.ignore` names: they hold nothing.
    #[serde(skip_serializing_if = "is_zero")]
    ignored: i64,
    /// Pods whose connections cannot be read.
    unknown_pods: usize,
    unknown_since: Option<String>,
    /// Age of the oldest connection.
    oldest_seconds: Option<i64>,
    /// Time at which the color left its last stage.
    released_at: Option<String>,
    /// Time at which the color ends, with any connections that it still has. `None`: never, or the color does not drain.
    deadline: Option<String>,
    /// Instances that other colors have, too.
    shared: Vec<explain::Shared>,
    pods: Vec<PodEvidence>,
    /// Connections that the deadline ended.
    cut: Vec<rainbow_api::Cut>,
    /// Reason why the evidence is the operator's last report, and not the pods' answers of now.
    reported: Option<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let found = match args.names.as_slice() {
        [] => return app::run(context, &cluster, &only_rainbow(&cluster).await?, args.output).await,
        // The name of an application comes first; its colors can be given by two names.
        [name] if cluster.find_rainbow(name).await?.is_some() => {
            return app::run(context, &cluster, name, args.output).await;
        }
        [name] => of_either(&cluster, name).await?,
        [name, color, ..] => Found::find(&cluster, name.clone(), color).await?,
    };
    context.printer.doing(format_args!("asking the pods of {}", found.color()));
    let evidence = Evidence::gather(&cluster, &found.rainbow, &found.color).await?;
    let now = Timestamp::now();
    let unready = unready::explain(&cluster, &found.color).await?;
    let why = why(&found, unready, evidence, now);
    let pods = why.pods.iter().filter(|pod| holds(pod)).map(|pod| pod.pod.clone());
    if !output::print(context.printer, args.output, &why, pods)? {
        context.printer.sentences(&draw(&why, args.output == Some(Format::Wide), now));
    }
    Ok(())
}

/// Finds a color by its name alone, where no application has the name.
async fn of_either(cluster: &Cluster, name: &str) -> Result<Found> {
    let all = cluster.all_colors().await?;
    if all.iter().any(|color| color.spec.color == name) {
        return Found::find(cluster, which::rainbow_of(cluster, &[name]).await?, name).await;
    }
    let mut known = rainbows(cluster).await?;
    known.extend(all.into_iter().map(|color| color.spec.color));
    let hint = hint(name, &known);
    Err(Error::NotFound(format!("namespace `{}` has no rainbow and no color `{name}`{hint}", cluster.namespace)))
}

async fn rainbows(cluster: &Cluster) -> Result<Vec<String>> {
    let all = cluster.api::<Rainbow>().list(&Default::default()).await.map_err(|error| cluster.error(&error))?;
    Ok(all.items.into_iter().filter_map(|rainbow| rainbow.metadata.name).collect())
}

/// Returns the application that is meant where none is named.
async fn only_rainbow(cluster: &Cluster) -> Result<String> {
    match rainbows(cluster).await?.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::NotFound(format!("namespace `{}` has no rainbow", cluster.namespace))),
        several => Err(Error::Usage(format!("say which rainbow: {}", several.join(", ")))),
    }
}

fn why(found: &Found, unready: Vec<String>, evidence: Evidence, now: Timestamp) -> Why {
    let status = found.color.status.clone().unwrap_or_default();
    let (holds, frees) = explain::explain(found, &evidence, now);
    let drain = status.drain.unwrap_or_default();
    Why {
        rainbow: found.name().to_owned(),
        color: found.color().to_owned(),
        phase: status.phase,
        stages: found.stages().into_iter().map(str::to_owned).collect(),
        unready,
        moves: moves::explain(&found.rainbow, found.color()),
        holds,
        frees,
        connections: evidence.connections(),
        ignored: evidence.ignored(),
        unknown_pods: evidence.unknown(),
        unknown_since: crate::view::unknown(&status.conditions).map(|it| it.last_transition_time.0.to_string()),
        oldest_seconds: evidence.oldest(),
        released_at: status.released_at,
        deadline: drain.deadline,
        shared: explain::shared(found),
        pods: evidence.pods,
        cut: drain.cut,
        reported: evidence.reported,
    }
}

fn draw(why: &Why, wide: bool, now: Timestamp) -> String {
    let mut text = format!("{} of {NAME}{}{NAME:#}", Painted(&why.color), why.rainbow);
    if let Some(phase) = why.phase {
        text.push_str(&format!("  {phase:?}"));
    }
    if let Some(age) = why.released_at.as_deref().and_then(|time| words::age(time, now)) {
        text.push_str(&format!(", in no stage for {age}"));
    }
    text.push('\n');
    let list = |title: &str, lines: &[String]| {
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        if lines.is_empty() { lines } else { format!("{NAME}{title}{NAME:#}\n{lines}") }
    };
    text.push_str(&list("why it is not ready", &why.unready));
    text.push_str(&list("where its tiers are", &why.moves));
    text.push_str(&list("what holds it", &why.holds));
    // Idle pods are only counted, because a color has many.
    let (holding, idle): (Vec<_>, Vec<_>) = why.pods.iter().partition(|pod| wide || holds(pod));
    if !holding.is_empty() {
        let rows: Vec<Vec<String>> = holding.iter().map(|pod| row(pod, wide)).collect();
        let rows = table(&["POD", "TIER", "CONNECTIONS", "OLDEST", "PEERS"], &rows);
        text.push_str(&rows.lines().map(|line| format!("  {line}\n")).collect::<String>());
    }
    if !idle.is_empty() && !holding.is_empty() {
        let idle = count(i64::try_from(idle.len()).unwrap_or(i64::MAX), "pod");
        text.push_str(&format!("  {DIM}{idle} more without connections{DIM:#}\n"));
    }
    let cut: Vec<String> = why.cut.iter().map(cut).collect();
    text.push_str(&list("what its deadline ended", &cut));
    text.push_str(&list("what would free it", &why.frees));
    if let Some(note) = &why.reported {
        text.push_str(&format!("{DIM}{note}{DIM:#}\n"));
    }
    text
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Returns whether a pod has connections, or may have some.
fn holds(pod: &PodEvidence) -> bool {
    pod.connections != Some(0) || pod.fresh.is_some()
}

fn row(pod: &PodEvidence, wide: bool) -> Vec<String> {
    let connections = match (&pod.unknown, pod.connections, pod.fresh) {
        (Some(why), _, _) => format!("{BAD}unknown{BAD:#}: {why}"),
        (None, connections, Some(fresh)) => format!("{}, {fresh} new", connections.unwrap_or_default()),
        (None, connections, None) => connections.unwrap_or_default().to_string(),
    };
    let connections = if pod.ending { format!("{connections}, ending") } else { connections };
    let shown = if wide { pod.peers.len() } else { 3 };
    let mut peers: Vec<String> = pod.peers.iter().take(shown).map(peer).collect();
    if pod.peers.len() > shown {
        peers.push(format!("{} more", pod.peers.len() - shown));
    }
    let oldest = pod.oldest_seconds.map_or_else(|| "-".into(), words::seconds);
    let peers = if peers.is_empty() { "-".to_owned() } else { peers.join(", ") };
    vec![pod.pod.clone(), pod.tier.clone(), connections, oldest, peers]
}

/// Formats a peer as `10.244.0.7 (client-1) ×3`.
fn peer(peer: &Peer) -> String {
    let pod = peer.pod.as_ref().map(|pod| format!(" ({pod})")).unwrap_or_default();
    let number = peer.connections.filter(|number| *number > 1).map(|number| format!(" ×{number}"));
    format!("{}{pod}{}", peer.address, number.unwrap_or_default())
}

fn cut(cut: &rainbow_api::Cut) -> String {
    let connections = match cut.connections {
        Some(number) => count(number, "connection"),
        None => "an unknown number of connections".into(),
    };
    let port = cut.port.map(|port| format!(" to port {port}")).unwrap_or_default();
    let oldest = cut.oldest_seconds.map(|age| format!(", the oldest {} old", words::seconds(age)));
    format!("{connections}{port} of {}{}", cut.pod, oldest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_pods_and_peers() {
        let color: rainbow_api::Color = serde_json::from_value(json!({
            "metadata": { "name": "colors-3c3fdc" },
            "spec": {
                "rainbow": "colors", "color": "3c3fdc", "revision": 1, "tiers": [],
                "instances": [{ "tier": "colors", "color": "3c3fdc", "identity": "1" }],
            },
            "status": {
                "phase": "Draining", "releasedAt": "2026-01-01T00:00:00Z",
                "drain": {
                    "since": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
                    "connections": 4, "unknownPods": 1, "pods": 3,
                },
            },
        }))
        .unwrap();
        let rainbow = serde_json::from_value(json!({
            "metadata": { "name": "colors" }, "spec": { "tiers": [] },
            "status": { "color": "123456", "stages": [{ "name": "active", "service": "s", "color": "123456" }] },
        }))
        .unwrap();
        let found = Found { rainbow, colors: vec![color.clone()], color };
        let pod = |name: &str, connections: Option<i64>, peers: Vec<Peer>| PodEvidence {
            pod: name.into(),
            tier: "colors".into(),
            connections,
            oldest_seconds: connections.filter(|number| *number > 0).map(|_| 300),
            peers,
            unknown: connections.is_none().then(|| "nobody answers there".into()),
            ..PodEvidence::default()
        };
        let peers = |addresses: &[(&str, i64)]| -> Vec<Peer> {
            let peer = |(address, number): &(&str, i64)| Peer {
                address: (*address).to_owned(),
                connections: Some(*number),
                pod: (*address == "10.244.0.7").then(|| "client".into()),
            };
            addresses.iter().map(peer).collect()
        };
        let evidence = Evidence {
            pods: vec![
                pod("c-1", None, Vec::new()),
                pod("c-2", Some(4), peers(&[("10.244.0.7", 2), ("10.244.0.8", 1), ("10.244.0.9", 1), ("::1", 1)])),
                pod("c-3", Some(0), Vec::new()),
            ],
            reported: None,
        };
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        let text = draw(&why(&found, vec!["web 0/1 ready".into()], evidence, now), false, now);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
3c3fdc of colors  Draining, in no stage for 5m
why it is not ready
  web 0/1 ready
what holds it
  4 connections on 1 pod, the oldest 5m old
  1 pod whose connections cannot be read: it counts as busy
  POD   TIER     CONNECTIONS                     OLDEST   PEERS
  c-1   colors   unknown: nobody answers there   -        -
  c-2   colors   4                               5m       10.244.0.7 (client) ×2, 10.244.0.8, 10.244.0.9, 1 more
  1 pod more without connections
what would free it
  by itself: a pod goes when it has had no connections for 5s
  at the latest in 23h55m (2026-01-02T00:00:00Z): its deadline ends what is left; `rainbow drain colors 3c3fdc --deadline TIME` moves it
  at once: `rainbow retire colors 3c3fdc --force` ends its connections
"
        );
    }
}
