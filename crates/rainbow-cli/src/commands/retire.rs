//! `rainbow retire`: ends the drain of a color now.

use kube::api::{Patch, PatchParams};
use rainbow_api::{Color, ColorPhase};
use serde_json::json;

use crate::{
    context::Context,
    error::{Error, Result, hint},
    patch::FIELD_MANAGER,
};

/// Arguments of `rainbow retire`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow
    name: String,
    /// Name of the color
    color: String,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let Args { name, color } = &args;
    let cluster = context.cluster().await?;
    let rainbow = cluster.rainbow(name).await?;
    let colors = cluster.colors(name).await?;
    let Some(found) = colors.iter().find(|other| other.spec.color == *color) else {
        let names: Vec<String> = colors.iter().map(|color| color.spec.color.clone()).collect();
        return Err(Error::NotFound(format!("rainbow `{name}` has no color `{color}`{}", hint(color, &names))));
    };
    let stages = rainbow.status.iter().flat_map(|status| &status.stages);
    let is_it = |other: &Option<String>| other.as_ref() == Some(color);
    let mut using = stages.filter(|stage| {
        is_it(&stage.color) || is_it(&stage.target) || stage.shift.as_ref().is_some_and(|shift| shift.to == *color)
    });
    if let Some(stage) = using.next() {
        return Err(Error::Failed(format!(
            "color `{color}` cannot be retired while stage `{}` points at it: promote or roll back the stage first",
            stage.name
        )));
    }
    if found.spec.retire || found.status.as_ref().and_then(|status| status.phase) == Some(ColorPhase::Retired) {
        context.printer.line(format_args!("color {color} of {name} is retired already"));
        return Ok(());
    }
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let object = found.metadata.name.as_deref().unwrap_or_default();
    let patch = Patch::Merge(json!({ "spec": { "retire": true } }));
    cluster.api::<Color>().patch(object, &params, &patch).await.map_err(|error| cluster.error(&error))?;
    context.printer.line(format_args!("color {color} of {name} retires"));
    Ok(())
}
