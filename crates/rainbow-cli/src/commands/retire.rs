//! `rainbow retire`: stops keeping a color as a way back.

use rainbow_api::{Color, ColorPhase, Deadline};
use serde_json::json;

use super::drain::write;
use crate::{
    context::Context,
    error::{Error, Result},
    evidence::Evidence,
    which::ColorArgs,
    words::{self, count},
};

/// Arguments of `rainbow retire`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "rainbow retire [OPTIONS] [NAME] <COLOR>")]
pub(crate) struct Args {
    #[command(flatten)]
    color: ColorArgs,
    /// End its connections, too
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let found = args.color.find(&cluster).await?;
    let (name, color) = (found.name(), found.color());
    if let Some(stage) = found.stages().first() {
        return Err(Error::Failed(format!(
            "color `{color}` cannot be retired while stage `{stage}` points at it: promote or roll back the stage first"
        )));
    }
    if found.color.status.as_ref().and_then(|status| status.phase) == Some(ColorPhase::Retired) {
        context.printer.line(format_args!("color {color} of {name} is retired already"));
        return Ok(());
    }
    let evidence = Evidence::gather(&cluster, &found.rainbow, &found.color).await?;
    if let Some(note) = &evidence.reported {
        context.printer.warning(note);
    }
    let held = held(&evidence);
    if args.force {
        if !is_told(&found.color, true) {
            write(&cluster, &found, json!({ "retire": true, "drain": { "deadline": Deadline::Now } })).await?;
        }
        let held = held.map(|held| format!(" with {held}")).unwrap_or_default();
        context.printer.line(format_args!("color {color} of {name} retires now{held}"));
        return Ok(());
    }
    if let (true, Some(held)) = (evidence.connections() > 0, &held) {
        return Err(Error::Failed(format!(
            "color `{color}` has {held}: it retires by itself when they have ended; `--force` ends them now, and \
             `rainbow why {name} {color}` says who has them"
        )));
    }
    if !is_told(&found.color, false) {
        write(&cluster, &found, json!({ "retire": true })).await?;
    }
    context.printer.line(format_args!("color {color} of {name} retires"));
    if let Some(held) = held {
        context.printer.warning(format_args!("it has {held}: it retires when they have ended, or at its deadline"));
    }
    Ok(())
}

/// Returns whether the color's spec asks for all of it already: to retire, and with `force` to end its connections now.
fn is_told(color: &Color, force: bool) -> bool {
    let deadline = color.spec.drain.as_ref().and_then(|drain| drain.deadline);
    color.spec.retire && (!force || deadline == Some(Deadline::Now))
}

/// Says what holds the color: `12 connections on 3 pods, the oldest 5m old, and 1 pod that cannot be asked`. `None`: nothing holds it.
fn held(evidence: &Evidence) -> Option<String> {
    let connections = evidence.connections();
    let mut parts = Vec::new();
    if connections > 0 {
        let pods = count(i64::try_from(evidence.busy()).unwrap_or(i64::MAX), "pod");
        let oldest = evidence.oldest().map(|age| format!(", the oldest {} old", words::seconds(age)));
        parts.push(format!("{} on {pods}{}", count(connections, "connection"), oldest.unwrap_or_default()));
    }
    match evidence.fresh() {
        0 => {}
        fresh => parts.push(format!("{} too new to be told from the node's probes", count(fresh, "connection"))),
    }
    match evidence.unknown() {
        0 => {}
        unknown => parts.push(format!(
            "{} whose connections cannot be read",
            count(i64::try_from(unknown).unwrap_or(i64::MAX), "pod")
        )),
    }
    (!parts.is_empty()).then(|| parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::PodEvidence;

    fn pod(connections: Option<i64>) -> PodEvidence {
        PodEvidence {
            pod: "p".into(),
            connections,
            oldest_seconds: connections.filter(|number| *number > 0).map(|_| 300),
            unknown: connections.is_none().then(|| "no answer".into()),
            ..PodEvidence::default()
        }
    }

    #[test]
    fn what_holds_it_is_told_in_numbers() {
        let held =
            |pods: &[Option<i64>]| held(&Evidence { pods: pods.iter().map(|it| pod(*it)).collect(), reported: None });
        assert_eq!(held(&[Some(0), Some(0)]), None);
        assert_eq!(held(&[Some(1), Some(0)]).unwrap(), "1 connection on 1 pod, the oldest 5m old");
        assert_eq!(
            held(&[Some(7), Some(5), None]).unwrap(),
            "12 connections on 2 pods, the oldest 5m old and 1 pod whose connections cannot be read"
        );
    }

    #[test]
    fn retiring_twice_writes_once() {
        let color = |spec: serde_json::Value| {
            let mut color = json!({
                "metadata": { "name": "shop-v1" },
                "spec": { "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [], "instances": [] },
            });
            color["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            serde_json::from_value::<Color>(color).unwrap()
        };
        let retired = color(json!({ "retire": true }));
        assert!(is_told(&retired, false) && !is_told(&retired, true));
        assert!(is_told(&color(json!({ "retire": true, "drain": { "deadline": "now" } })), true));
        assert!(!is_told(&color(json!({ "drain": { "deadline": "now" } })), false));
    }
}
