//! Colors as operators of earlier versions recorded them, and the pod templates that those versions rendered. A template that differs by
//! one byte restarts every pod of such a color when the operator is upgraded.
//!
//! Add a file for each new form of what a color records. Change none.

use rainbow_api::{Color, Rainbow};
use rainbow_plan::InstanceName;
use serde_json::{Value, json};

use super::{Scope, deployment};
use crate::live::{Live, Object, Templates};

/// Forms by age: without counter or serving label, with one of them, with both, with the whole container.
const EARLIER: [(&str, &str); 6] = [
    ("uncounted", include_str!("golden/uncounted.json")),
    ("uncounted-serving", include_str!("golden/uncounted-serving.json")),
    ("plain", include_str!("golden/plain.json")),
    ("native", include_str!("golden/native.json")),
    ("native-serving", include_str!("golden/native-serving.json")),
    // The current version would write another container.
    ("written-down", include_str!("golden/written-down.json")),
];

fn rendered(color: &Color, templates: &Templates) -> Value {
    let rainbow: Rainbow = serde_json::from_value(json!({
        "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow",
        "metadata": { "name": "shop", "namespace": "default", "uid": "root" },
        "spec": { "color": "v2", "tiers": [], "drain": { "connections": "None" } },
    }))
    .unwrap();
    let scope = Scope { namespace: "default", rainbow: "shop", prefix: None, templates };
    let template = |tier: &rainbow_api::Tier| {
        let instance = InstanceName::shared(tier.name.as_str(), "v1");
        let mut body = deployment(&scope, &rainbow, color, tier, &instance, 2);
        (tier.name.clone(), body["spec"]["template"].take())
    };
    color.spec.tiers.iter().map(template).collect()
}

#[test]
fn colors_of_earlier_versions_are_rendered_as_they_were() {
    for (form, file) in EARLIER {
        let golden: Value = serde_json::from_str(file).unwrap();
        let expected = golden["templates"].to_string();
        let color: Color = serde_json::from_value(golden["color"].clone()).unwrap();
        assert_eq!(rendered(&color, &Templates::default()).to_string(), expected, "{form}");
        // The result is the same through the cache, which packs what it keeps.
        let shown = serde_json::from_value(golden["color"].clone()).unwrap();
        let Live::Color(Some(mut packed)) = Object::color(shown).live else { panic!("{form} cannot be read") };
        let mut templates = Templates::default();
        templates.pack(&mut packed.spec.tiers);
        for sidecar in packed.spec.instances.iter_mut().filter_map(|instance| instance.sidecar.as_mut()) {
            templates.pack_container(&mut sidecar.container);
            assert!(sidecar.container.as_ref().is_none_or(Value::is_number), "{form}");
        }
        assert_eq!(rendered(&packed, &templates).to_string(), expected, "{form}, packed");
        // A color is written back as it was read.
        assert_eq!(json!(color.spec.instances), golden["color"]["spec"]["instances"], "{form}");
    }
}
