//! `rainbow drain`: sets how long one color may drain.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use rainbow_api::{Color, ColorPhase, Deadline, HumanDuration};
use serde_json::{Value, json};

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    patch::FIELD_MANAGER,
    which::{ColorArgs, Found},
    words,
};

/// Longest time that can be written: a longer one could not be read again.
const LONGEST: Duration = Duration::from_millis(u64::MAX);

/// Arguments of `rainbow drain`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "rainbow drain [OPTIONS] --deadline <TIME> [NAME] <COLOR>")]
pub(crate) struct Args {
    #[command(flatten)]
    color: ColorArgs,
    /// When its pods end with the connections they still have: a time from now such as 10m, `now`, `never`, or `default`
    /// for what the Rainbow says
    #[arg(long, value_name = "TIME", required = true, allow_hyphen_values = true)]
    deadline: DeadlineChoice,
}

/// Deadline that the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeadlineChoice {
    /// Deadline of this color.
    Set(Deadline),
    /// Deadline of the Rainbow.
    Default,
}

impl std::str::FromStr for DeadlineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self::Default),
            other => other.parse().map(Self::Set).map_err(|error: rainbow_api::DeadlineError| error.to_string()),
        }
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let found = args.color.find(&cluster).await?;
    let now = Timestamp::now();
    let (deadline, told) = decide(&found, args.deadline, now)?;
    write(&cluster, &found, json!({ "drain": { "deadline": deadline } })).await?;
    context.printer.line(format_args!("color {} of {} {told}", found.color(), found.name()));
    Ok(())
}

/// Returns the value to write, and a sentence that says its effect.
fn decide(found: &Found, wish: DeadlineChoice, now: Timestamp) -> Result<(Value, String)> {
    let status = found.color.status.as_ref();
    let color = found.color();
    if status.and_then(|status| status.phase) == Some(ColorPhase::Retired) {
        return Err(Error::Failed(format!("color `{color}` is retired: it has no connections")));
    }
    let released = status.and_then(|status| status.released_at.as_deref()).filter(|_| found.stages().is_empty());
    match (wish, released.and_then(|time| words::seconds_since(time, now))) {
        (DeadlineChoice::Default, _) => {
            let deadline = found.rainbow.spec.drain.deadline;
            Ok((Value::Null, format!("drains {deadline} at the longest, as its rainbow says")))
        }
        (DeadlineChoice::Set(Deadline::Never), _) => {
            Ok((json!("never"), "drains as long as it has connections".into()))
        }
        (DeadlineChoice::Set(Deadline::Now), None) => Err(Error::Failed(match found.stages().first() {
            Some(stage) => format!(
                "color `{color}` cannot end now: stage `{stage}` points at it: promote or roll back the stage first"
            ),
            None => format!("color `{color}` does not drain: it has been in no stage yet"),
        })),
        (DeadlineChoice::Set(Deadline::Now), Some(_)) => {
            Ok((json!("now"), "ends now, with the connections it has".into()))
        }
        // The field counts from the time when the color left its last stage, but a user who types a time counts from now.
        (DeadlineChoice::Set(Deadline::After(time)), Some(since)) => {
            let since = u64::try_from(since).unwrap_or_default();
            let after = time.0.saturating_add(Duration::from_secs(since)).min(LONGEST);
            let after = HumanDuration(after);
            Ok((json!(after), format!("drains {time} from now at the longest")))
        }
        (DeadlineChoice::Set(Deadline::After(time)), None) => {
            Ok((json!(time), format!("drains {time} at the longest, once it is in no stage")))
        }
    }
}

/// Writes the given fields of a color's spec, and no others.
pub(super) async fn write(cluster: &Cluster, found: &Found, spec: Value) -> Result {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": spec }));
    let written = cluster.api::<Color>().patch(found.object(), &params, &patch).await;
    written.map(drop).map_err(|error| match cluster.error(&error) {
        Error::NotFound(_) => Error::NotFound(format!("color `{}` was deleted meanwhile", found.color())),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(stage_color: &str, status: Value) -> Found {
        let color: Color = serde_json::from_value(json!({
            "metadata": { "name": "shop-v1" },
            "spec": { "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [], "instances": [] },
            "status": status,
        }))
        .unwrap();
        let rainbow = serde_json::from_value(json!({
            "metadata": { "name": "shop" }, "spec": { "tiers": [] },
            "status": { "stages": [{ "name": "active", "service": "s", "color": stage_color }] },
        }))
        .unwrap();
        Found { rainbow, colors: vec![color.clone()], color }
    }

    fn decided(found: &Found, wish: &str) -> (Value, String) {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        match decide(found, wish.parse().unwrap(), now) {
            Ok(decided) => decided,
            Err(error) => (json!("error"), error.to_string()),
        }
    }

    #[test]
    fn a_time_is_from_now() {
        let draining = found("v2", json!({ "phase": "Draining", "releasedAt": "2026-01-01T00:00:00Z" }));
        assert_eq!(decided(&draining, "10m"), (json!("1h10m"), "drains 10m from now at the longest".into()));
        assert_eq!(decided(&draining, "now"), (json!("now"), "ends now, with the connections it has".into()));
        assert_eq!(decided(&draining, "never").0, json!("never"));
        let longest = decided(&draining, "5124095576030h").0;
        assert!(longest.as_str().unwrap().parse::<Deadline>().is_ok(), "the operator must be able to read {longest}");
        assert_eq!(
            decided(&draining, "default"),
            (Value::Null, "drains 24h at the longest, as its rainbow says".into())
        );
    }

    #[test]
    fn what_serves_does_not_end() {
        let serving = found("v1", json!({ "phase": "Serving" }));
        assert_eq!(
            decided(&serving, "10m"),
            (json!("10m"), "drains 10m at the longest, once it is in no stage".into())
        );
        assert_eq!(
            decided(&serving, "now").1,
            "color `v1` cannot end now: stage `active` points at it: promote or roll back the stage first"
        );
        let retired = found("v2", json!({ "phase": "Retired" }));
        assert_eq!(decided(&retired, "never").1, "color `v1` is retired: it has no connections");
        assert!("soon".parse::<DeadlineChoice>().unwrap_err().contains("or write now or never"));
    }
}
