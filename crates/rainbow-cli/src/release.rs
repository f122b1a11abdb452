//! Name of a release, and the texts into which the name is put.

use std::{env, path::Path};

use rainbow_api::names;
use serde_json::Value;

use crate::{
    error::{Error, Result},
    git,
    manifest::{Wrong, entry_name},
};

/// Placeholder of the color's name in image references and values of environment variables.
pub(crate) const PLACE: &str = "{color}";

/// Returns the name that `--color` gives: `git` asks git in the current directory.
pub(crate) async fn color(given: &str) -> Result<String> {
    if given == git::WORD {
        let here = env::current_dir().map_err(|error| Error::failed("cannot find the current directory", error))?;
        return git::color(Path::new(&here)).await;
    }
    if !names::is_dns_label(given) {
        return Err(Error::Usage(format!(
            "`{given}` is no color name: use 1 to 63 lower case letters, digits and `-`, such as v2 or 3c3fdc"
        )));
    }
    Ok(given.to_owned())
}

/// Replaces the placeholder in a text by the color's name.
pub(crate) fn fill(text: &str, color: Option<&str>) -> Result<String, String> {
    match color {
        _ if !text.contains(PLACE) => Ok(text.to_owned()),
        Some(color) => Ok(text.replace(PLACE, color)),
        None => Err(format!("`{text}` holds {PLACE}: say which with --color")),
    }
}

/// Makes a Rainbow's manifest a release of a color: writes the color's name into the spec, and puts it into the images and environment variables
/// of its tiers. Without a color, the name is the spec's own. Returns the errors, by field.
pub(crate) fn manifest(rainbow: &mut Value, color: Option<&str>) -> Vec<Wrong> {
    let Some(spec) = rainbow.get_mut("spec").and_then(Value::as_object_mut) else { return Vec::new() };
    if let Some(color) = color {
        spec.insert("color".into(), color.into());
    }
    let color = spec.get("color").and_then(Value::as_str).map(str::to_owned);
    let mut errors = Vec::new();
    let tiers = spec.get_mut("tiers").and_then(Value::as_array_mut);
    for (at, tier) in tiers.into_iter().flatten().enumerate() {
        let tier_name = entry_name(tier, at);
        for list in ["initContainers", "containers"] {
            let containers = tier.pointer_mut(&format!("/template/spec/{list}")).and_then(Value::as_array_mut);
            for (number, container) in containers.into_iter().flatten().enumerate() {
                let path = format!("spec.tiers[{tier_name}].template.spec.{list}[{number}]");
                for (field, text) in texts(container) {
                    match fill(text, color.as_deref()) {
                        Ok(filled) => *text = filled,
                        Err(error) => errors.push(Wrong::new(format!("{path}.{field}"), error)),
                    }
                }
            }
        }
    }
    errors
}

/// Returns the texts of a container that may name the color.
fn texts(container: &mut Value) -> Vec<(String, &mut String)> {
    let Some(fields) = container.as_object_mut() else { return Vec::new() };
    let mut texts = Vec::new();
    for (name, field) in fields {
        match (name.as_str(), field) {
            ("image", Value::String(image)) => texts.push(("image".to_owned(), image)),
            ("env", Value::Array(variables)) => {
                for (at, variable) in variables.iter_mut().enumerate() {
                    if let Some(Value::String(value)) = variable.get_mut("value") {
                        texts.push((format!("env[{at}].value"), value));
                    }
                }
            }
            _ => {}
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app() -> Value {
        json!({ "spec": { "tiers": [{ "template": { "spec": { "containers": [
            { "image": "colors:{color}", "env": [{ "name": "COLOR", "value": "#{color}" }, { "name": "X", "value": "x" }] },
        ] } } }] } })
    }

    #[test]
    fn a_manifest_becomes_a_release() {
        let mut app = app();
        assert_eq!(manifest(&mut app, Some("123e45")), []);
        assert_eq!(
            app,
            json!({ "spec": { "color": "123e45", "tiers": [{ "template": { "spec": { "containers": [
                { "image": "colors:123e45", "env": [{ "name": "COLOR", "value": "#123e45" }, { "name": "X", "value": "x" }] },
            ] } } }] } })
        );
    }

    #[test]
    fn a_place_without_a_name_is_told() {
        let mut app = app();
        let told: Vec<String> =
            manifest(&mut app, None).iter().map(|wrong| format!("{}: {}", wrong.path, wrong.message)).collect();
        assert_eq!(
            told,
            [
                "spec.tiers[0].template.spec.containers[0].env[0].value: `#{color}` holds {color}: say which with --color",
                "spec.tiers[0].template.spec.containers[0].image: `colors:{color}` holds {color}: say which with --color",
            ]
        );
        app["spec"]["color"] = json!("v1");
        assert_eq!(manifest(&mut app, None), []);
        assert_eq!(app["spec"]["tiers"][0]["template"]["spec"]["containers"][0]["image"], "colors:v1");
    }

    #[test]
    fn other_shapes_are_left_alone() {
        for mut value in [json!(null), json!({ "spec": [] }), json!({ "spec": { "tiers": [1, { "template": 2 }] } })] {
            assert_eq!(manifest(&mut value, None), []);
        }
    }

    #[tokio::test]
    async fn names_are_checked() {
        assert_eq!(color("000000").await.unwrap(), "000000");
        assert!(color("V_2").await.unwrap_err().to_string().starts_with("`V_2` is no color name: "));
    }
}
