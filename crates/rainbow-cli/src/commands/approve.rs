//! `rainbow approve`: lets a color pass a gate that waits for a person, by an `Approval`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Resource,
    api::{ObjectMeta, PostParams},
};
use rainbow_api::{Approval, ApprovalSpec, Color, GateStatus, GateTemplate, HumanDuration, Rainbow, labels};

use crate::{
    args::StageArgs,
    cause,
    context::{Cluster, Context},
    error::{Error, Result, hint},
    gates, hold, output,
    patch::FIELD_MANAGER,
    stage,
};

/// Longest beginning of a name that the API server completes.
const LONGEST_PREFIX: usize = 57;

/// Arguments of `rainbow approve`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("stage", |arg| arg.help("Name of the stage (default: the one that waits for an approval)")))]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// Gate that is passed (default: the one that waits for an approval)
    #[arg(long, value_name = "GATE", add = crate::complete::gates())]
    gate: Option<String>,
    /// Color that is approved (default: the one that waits)
    #[arg(long, value_name = "COLOR", add = crate::complete::colors())]
    color: Option<String>,
    /// Why, for those who look later; a freeze window may let some reasons pass
    #[arg(long, value_name = "TEXT", value_parser = cause::message)]
    reason: Option<String>,
    /// Time for which the approval counts, such as 2h, or until when (RFC 3339) (default: as long as the color exists)
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Until>,
    /// Print the approval and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// End of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    After(HumanDuration),
    At(Timestamp),
}

fn until(text: &str) -> Result<Until, String> {
    match (text.parse::<HumanDuration>(), text.parse::<Timestamp>()) {
        (Ok(duration), _) => Ok(Until::After(duration)),
        (Err(_), Ok(time)) => Ok(Until::At(time)),
        (Err(_), Err(_)) => {
            Err(format!("`{text}` is neither a duration nor a time: write one such as 2h or 2026-12-01T12:00:00Z"))
        }
    }
}

impl Until {
    fn time(self, now: Timestamp) -> Result<String> {
        let time = match self {
            Self::After(duration) => {
                SignedDuration::try_from(duration.0).ok().and_then(|after| now.checked_add(after).ok())
            }
            Self::At(time) => Some(time),
        };
        match time.filter(|time| *time > now) {
            Some(time) => Ok(jiff::Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()),
            None => Err(Error::Usage("--until: the approval would never count: name a time that is to come".into())),
        }
    }
}

/// Gate that waits for an approval.
#[derive(Clone, Debug, PartialEq)]
struct Waiting<'a> {
    stage: &'a str,
    gate: &'a GateStatus,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let name = &args.stage.name;
    let rainbow = cluster.rainbow(name).await?;
    if let Some(stage) = &args.stage.stage {
        stage::choose(&rainbow, Some(stage))?;
    }
    let mut waiting = Vec::new();
    for found in waits(&rainbow) {
        if is_approval(&cluster, &rainbow, &found.gate.name).await {
            waiting.push(found);
        }
    }
    let found = choose(&rainbow, &waiting, &args)?;
    let colors = cluster.colors(name).await?;
    let color = colors.iter().find(|color| color.spec.color == found.gate.color);
    let color =
        color.ok_or_else(|| Error::NotFound(format!("rainbow `{name}` has no color `{}`", found.gate.color)))?;
    let by = hold::author(&cluster).await.ok_or_else(|| {
        Error::Failed("the cluster does not say who you are, and an approval names its user: log in first".into())
    })?;
    let until = args.until.map(|until| until.time(Timestamp::now())).transpose()?;
    let approval = approval(color, &found, by, args.reason.clone(), until);
    if args.dry_run {
        context.printer.text(output::yaml(&approval)?);
        return Ok(());
    }
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let api: Api<Approval> = cluster.api();
    let made = api.create(&params, &approval).await.map_err(|error| cluster.error(&error))?;
    let ApprovalSpec { by, until, .. } = &made.spec;
    let until = until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
    let Waiting { stage, gate } = found;
    context.printer.line(format_args!(
        "gate {} of stage {stage} of {name} is approved for {} by {by}{until}",
        gate.name, gate.color
    ));
    Ok(())
}

fn waits(rainbow: &Rainbow) -> Vec<Waiting<'_>> {
    let of = |stage: &'_ rainbow_api::Stage| gates::blocking(rainbow, &stage.name);
    let stages = rainbow.spec.stages.iter();
    stages.flat_map(|stage| of(stage).into_iter().map(|gate| Waiting { stage: &stage.name, gate })).collect()
}

/// Returns whether a gate is an approval, also where a `GateTemplate` says so. A template that cannot be read may be one.
async fn is_approval(cluster: &Cluster, rainbow: &Rainbow, gate: &str) -> bool {
    let template = rainbow.spec.gates.iter().find(|known| known.name == gate).and_then(|known| known.template.as_ref());
    let Some(template) = template else { return gates::is_manual(rainbow, gate) };
    let found = Api::<GateTemplate>::all(cluster.client.clone()).get(&template.name).await;
    found.map_or(true, |found| found.spec.check.manual.is_some())
}

/// Returns the gate that the arguments mean.
fn choose<'a>(rainbow: &Rainbow, waiting: &[Waiting<'a>], args: &Args) -> Result<Waiting<'a>> {
    let name = &args.stage.name;
    if let Some(gate) = args.gate.as_ref().filter(|gate| !rainbow.spec.gates.iter().any(|known| known.name == **gate)) {
        let known: Vec<String> = rainbow.spec.gates.iter().map(|gate| gate.name.clone()).collect();
        return Err(Error::NotFound(format!("rainbow `{name}` has no gate `{gate}`{}", hint(gate, &known))));
    }
    let is_meant = |found: &&Waiting<'_>| {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        is(&args.stage.stage, found.stage) && is(&args.gate, &found.gate.name) && is(&args.color, &found.gate.color)
    };
    let meant: Vec<&Waiting<'_>> = waiting.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [only] => Ok((*only).clone()),
        [] => {
            let gate = args.gate.as_ref().map(|gate| format!(" at gate `{gate}`")).unwrap_or_default();
            let stage = args.stage.stage.as_ref().map(|stage| format!("stage {stage} of ")).unwrap_or_default();
            let color = args.color.as_ref().map(|color| format!(" of {color}")).unwrap_or_default();
            Err(Error::Failed(format!(
                "{stage}{name} waits for no approval{color}{gate}: `rainbow gates {name}` shows what it waits for"
            )))
        }
        several => {
            let one = |found: &&Waiting<'_>| {
                format!("--stage {} --gate {} --color {}", found.stage, found.gate.name, found.gate.color)
            };
            let several: Vec<String> = several.iter().map(one).collect();
            Err(Error::Usage(format!("several approvals are waited for: say which: {}", several.join(", or "))))
        }
    }
}

/// Returns the approval. The color owns the object, so that it is deleted with the color.
fn approval(
    color: &Color,
    Waiting { stage, gate }: &Waiting<'_>,
    by: String,
    reason: Option<String>,
    until: Option<String>,
) -> Approval {
    let rainbow = color.spec.rainbow.clone();
    let mut prefix = format!("{rainbow}-{}-{}", gate.color, gate.name);
    prefix.truncate(LONGEST_PREFIX);
    let owner = OwnerReference {
        api_version: Color::api_version(&()).into_owned(),
        kind: Color::kind(&()).into_owned(),
        name: color.metadata.name.clone().unwrap_or_default(),
        uid: color.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    Approval {
        metadata: ObjectMeta {
            generate_name: Some(format!("{prefix}-")),
            namespace: color.metadata.namespace.clone(),
            labels: Some([(labels::RAINBOW.to_owned(), rainbow.clone())].into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: ApprovalSpec {
            rainbow,
            color: gate.color.clone(),
            stage: Some((*stage).to_owned()),
            gate: Some(gate.name.clone()),
            by,
            reason,
            until,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::tests::{at_step, gate};
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn chosen(gates: serde_json::Value, line: &[&str]) -> Result<String, String> {
        let rainbow = at_step(3, gates);
        let args = Line::parse_from(["approve", "shop"].iter().chain(line)).args;
        let waiting = waits(&rainbow);
        let found = choose(&rainbow, &waiting, &args).map_err(|error| error.to_string())?;
        Ok(format!("{} {} {}", found.stage, found.gate.name, found.gate.color))
    }

    #[test]
    fn what_waits_is_approved_and_nothing_else() {
        let release = gate("release", "Step", "Running", 0);
        assert_eq!(chosen(json!([release]), &[]).unwrap(), "active release v2");
        assert_eq!(chosen(json!([release]), &["--stage", "active", "--color", "v2"]).unwrap(), "active release v2");
        assert_eq!(
            chosen(json!([release]), &["--color", "v3"]).unwrap_err(),
            "shop waits for no approval of v3: `rainbow gates shop` shows what it waits for"
        );
        assert_eq!(
            chosen(json!([]), &["--stage", "active", "--gate", "release"]).unwrap_err(),
            "stage active of shop waits for no approval at gate `release`: `rainbow gates shop` shows what it waits for"
        );
        assert_eq!(
            chosen(json!([]), &["--gate", "relase"]).unwrap_err(),
            "rainbow `shop` has no gate `relase`; did you mean `release`?"
        );
        let both = json!([release, gate("errors", "Step", "Running", 0)]);
        assert_eq!(
            chosen(both, &[]).unwrap_err(),
            "several approvals are waited for: say which: --stage active --gate release --color v2, or --stage active --gate errors --color v2"
        );
    }

    #[test]
    fn an_approval_goes_with_its_color() {
        let color: Color = serde_json::from_value(json!({
            "metadata": { "name": "shop-v2", "namespace": "default", "uid": "7" },
            "spec": { "rainbow": "shop", "color": "v2", "revision": 2, "tiers": [], "instances": [] },
        }))
        .unwrap();
        let rainbow = at_step(3, json!([gate("release", "Step", "Running", 0)]));
        let found = waits(&rainbow).remove(0);
        let made = approval(&color, &found, "ann".into(), Some("tested".into()), None);
        assert_eq!(
            serde_json::to_value(&made).unwrap(),
            json!({
                "apiVersion": "rainbow.dev/v1alpha1", "kind": "Approval",
                "metadata": {
                    "generateName": "shop-v2-release-", "namespace": "default",
                    "labels": { "rainbow.dev/rainbow": "shop" },
                    "ownerReferences": [{ "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color", "name": "shop-v2", "uid": "7" }],
                },
                "spec": {
                    "rainbow": "shop", "color": "v2", "stage": "active", "gate": "release", "by": "ann", "reason": "tested",
                },
            })
        );
    }

    #[test]
    fn ends_of_an_approval() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let time = |text: &str| until(text).map(|until| until.time(now).map_err(|error| error.to_string()));
        assert_eq!(time("2h").unwrap().unwrap(), "2026-01-01T02:00:00Z");
        assert_eq!(time("2026-01-02T00:00:00+01:00").unwrap().unwrap(), "2026-01-01T23:00:00Z");
        assert!(time("2025-01-02T00:00:00Z").unwrap().is_err() && time("0s").unwrap().is_err());
        assert!(time("tomorrow").is_err());
    }
}
