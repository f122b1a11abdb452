//! Packed pod templates of an application's tiers, and packed containers of the counters that colors have recorded. A tree of values takes
//! ten times the memory of its text, and templates are needed only where an object is rendered. Equal templates are kept once, and a
//! template that is like another one stores only the difference: most versions differ in an image.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rainbow_api::Tier;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Key of the place in the stand-in for the template of a tier with ports by name. No template has this key, since it is no field of one.
const PLACE: &str = "rainbow.dev/place";
/// Largest number of templates that a new one is compared with.
const BASES: usize = 8;

/// Templates of an application. A tier whose template is packed has the number of its place here instead.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates(Vec<Option<Packed>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Packed {
    /// Hash of the text. With the length it identifies candidates for equality.
    hash: u64,
    length: usize,
    /// Place of the template that this one is like. That template is like no other.
    base: Option<usize>,
    /// Compressed text.
    bytes: Box<[u8]>,
}

impl Templates {
    /// Packs the templates of tiers as the API server shows them. No schema admits a template that is no object.
    pub(crate) fn pack(&mut self, tiers: &mut [Tier]) {
        for tier in tiers {
            tier.template = if tier.template.is_object() {
                packed(self.place(&tier.template.to_string()), tier)
            } else {
                Value::Null
            };
        }
    }

    /// Packs a container. No schema admits a container that is no object.
    pub(crate) fn pack_container(&mut self, container: &mut Option<Value>) {
        *container = container.take().filter(Value::is_object).map(|found| Value::from(self.place(&found.to_string())));
    }

    /// Returns a container as it was written, packed or not.
    pub(crate) fn container(&self, container: &Value) -> Option<Value> {
        match number(container) {
            Some(place) => serde_json::from_str(&self.text(place)?).ok(),
            None => Some(container.clone()),
        }
    }

    /// Returns the template of a tier, packed or not.
    pub(crate) fn template(&self, tier: &Tier) -> Value {
        match place(tier) {
            Some(place) => self.text(place).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            None => tier.template.clone(),
        }
    }

    /// Returns tiers with their templates as they were written.
    pub(crate) fn unpacked(&self, tiers: &[Tier]) -> Vec<Tier> {
        tiers.iter().map(|tier| Tier { template: self.template(tier), ..tier.clone() }).collect()
    }

    /// Forgets the templates of all other tiers, and all other containers.
    pub(crate) fn retain<'a>(
        &mut self,
        tiers: impl Iterator<Item = &'a Tier>,
        containers: impl Iterator<Item = &'a Value>,
    ) {
        let mut used: Vec<usize> = tiers.filter_map(place).chain(containers.filter_map(number)).collect();
        let bases: Vec<usize> = used.iter().filter_map(|place| self.packed(*place)?.base).collect();
        used.extend(bases);
        let unused = self.0.iter_mut().enumerate().filter(|(place, _)| !used.contains(place));
        unused.for_each(|(_, packed)| *packed = None);
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
        self.0.shrink_to_fit();
    }

    fn packed(&self, place: usize) -> Option<&Packed> {
        self.0.get(place)?.as_ref()
    }

    /// Returns the place of a text. Stores the text if it is new.
    fn place(&mut self, text: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let (hash, length) = (hasher.finish(), text.len());
        let alike = |packed: &Packed| packed.hash == hash && packed.length == length;
        let mut known = (0..self.0.len()).filter(|place| self.packed(*place).is_some_and(alike));
        if let Some(place) = known.find(|place| self.text(*place).as_deref() == Some(text)) {
            return place;
        }
        let (base, bytes) = self.compressed(text);
        let packed = Some(Packed { hash, length, base, bytes });
        if let Some((place, free)) = self.0.iter_mut().enumerate().find(|(_, known)| known.is_none()) {
            *free = packed;
            return place;
        }
        self.0.reserve_exact(1);
        self.0.push(packed);
        self.0.len() - 1
    }

    /// Returns the shortest form of a text: on its own, or as the difference from another one.
    fn compressed(&self, text: &str) -> (Option<usize>, Box<[u8]>) {
        let whole = lz4_flex::block::compress(text.as_bytes());
        let bases =
            (0..self.0.len()).rev().filter(|place| self.packed(*place).is_some_and(|known| known.base.is_none()));
        let differences = bases.take(BASES).filter_map(|place| {
            let base = self.text(place)?;
            Some((Some(place), lz4_flex::block::compress_with_dict(text.as_bytes(), base.as_bytes())))
        });
        let shortest =
            differences.min_by_key(|(_, bytes)| bytes.len()).filter(|(_, bytes)| bytes.len() < whole.len() / 2);
        let (base, bytes) = shortest.unwrap_or((None, whole));
        (base, bytes.into_boxed_slice())
    }

    fn text(&self, place: usize) -> Option<String> {
        let packed = self.packed(place)?;
        let bytes = match packed.base {
            None => lz4_flex::block::decompress(&packed.bytes, packed.length),
            Some(base) => {
                let base = self.packed(base).filter(|base| base.base.is_none())?;
                let base = lz4_flex::block::decompress(&base.bytes, base.length).ok()?;
                lz4_flex::block::decompress_with_dict(&packed.bytes, packed.length, &base)
            }
        };
        String::from_utf8(bytes.ok()?).ok()
    }
}

/// Returns the stand-in for the template of a tier: the place and, beside it, the ports that the tier's own ports target by name, so that
/// their numbers are known without the template.
fn packed(place: usize, tier: &Tier) -> Value {
    let by_name = tier.ports.iter().filter_map(|port| match port.target() {
        IntOrString::String(name) => Some((name, port.protocol(), tier.container_port(port)?)),
        IntOrString::Int(_) => None,
    });
    let ports: Vec<Value> = by_name
        .map(|(name, protocol, number)| json!({ "name": name, "protocol": protocol, "containerPort": number }))
        .collect();
    match ports.is_empty() {
        true => Value::from(place),
        false => json!({ PLACE: place, "spec": { "containers": [{ "ports": ports }] } }),
    }
}

/// Returns the place of a tier's template, if it is packed.
fn place(tier: &Tier) -> Option<usize> {
    let place = tier.template.as_u64().or_else(|| tier.template.get(PLACE)?.as_u64());
    place.and_then(|place| usize::try_from(place).ok())
}

/// Returns the place that stands for a container.
fn number(container: &Value) -> Option<usize> {
    container.as_u64().and_then(|place| usize::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(image: &str) -> Tier {
        let container = json!({ "name": "b", "image": image, "args": ["\"é\n"], "n": 1.5, "none": null,
            "env": [{ "name": "DATABASE_URL", "valueFrom": { "secretKeyRef": { "name": "database", "key": "url" } } }] });
        let template = json!({ "spec": { "containers": [container] } });
        serde_json::from_value(json!({ "name": "b", "template": template })).unwrap()
    }

    fn packed(templates: &mut Templates, tier: &Tier) -> Tier {
        let mut packed = [tier.clone()];
        templates.pack(&mut packed);
        let [packed] = packed;
        assert!(packed.template.is_number());
        packed
    }

    #[test]
    fn nothing_is_lost() {
        let mut templates = Templates::default();
        let written = ["b:1", "b:2", "b:1"].map(tier);
        let packed = written.clone().map(|tier| packed(&mut templates, &tier));
        assert_eq!(templates.unpacked(&packed), written);
        assert_eq!(packed[0], packed[2]);
        assert_eq!(templates.0.len(), 2, "equal ones are one");
        let [first, second] = &templates.0[..] else { panic!() };
        let (first, second) = (first.as_ref().unwrap(), second.as_ref().unwrap());
        assert!(second.base == Some(0) && second.bytes.len() * 2 < first.bytes.len());
        assert_eq!(templates.template(&written[0]), written[0].template, "one that is not packed");
    }

    #[test]
    fn what_no_tier_has_is_forgotten_but_for_what_others_are_like() {
        let mut templates = Templates::default();
        let [_, second, third] = ["b:1", "b:2", "b:3"].map(|image| packed(&mut templates, &tier(image)));
        templates.retain([&third].into_iter(), std::iter::empty());
        assert_eq!(templates.template(&third), tier("b:3").template);
        assert_eq!(templates.template(&second), Value::Null);
        assert!(templates.0[0].is_some() && templates.0[1].is_none());
        packed(&mut templates, &tier("b:4"));
        assert_eq!(templates.0.len(), 3, "its place is taken again");
        templates.retain(std::iter::empty(), std::iter::empty());
        assert!(templates.0.is_empty());
    }

    #[test]
    fn containers_are_packed_too() {
        let mut templates = Templates::default();
        let written = json!({ "name": "rainbow-tally", "image": "t:1", "env": [{ "name": "A", "value": "1" }] });
        let mut containers = [Some(written.clone()), Some(written.clone()), Some(json!("no object")), None];
        containers.iter_mut().for_each(|container| templates.pack_container(container));
        let [Some(first), Some(second), None, None] = &containers else { panic!("{containers:?}") };
        assert_eq!((first, templates.0.len()), (second, 1), "equal ones are one");
        assert_eq!(templates.container(first), Some(written.clone()));
        assert_eq!(templates.container(&written), Some(written), "one that is not packed");
        templates.retain(std::iter::empty(), [first].into_iter());
        assert_eq!(templates.0.len(), 1);
        templates.retain(std::iter::empty(), std::iter::empty());
        assert_eq!(templates.container(first), None);
    }

    #[test]
    fn ports_that_are_targeted_by_name_keep_their_numbers() {
        let mut templates = Templates::default();
        let declared = json!([{ "name": "web", "containerPort": 8080 }, { "name": "other", "containerPort": 9 }]);
        let template = json!({ "spec": { "containers": [{ "name": "b", "image": "b:1", "ports": declared }] } });
        let ports = json!([{ "name": "http", "port": 80, "targetPort": "web" }]);
        let written: Tier =
            serde_json::from_value(json!({ "name": "b", "ports": ports, "template": template })).unwrap();
        let mut packed = [written.clone()];
        templates.pack(&mut packed);
        assert!(place(&packed[0]).is_some());
        assert_eq!(packed[0].tcp_ports(), [8080]);
        assert_eq!(templates.unpacked(&packed), [written]);
    }

    #[test]
    fn a_template_that_is_no_object_is_none() {
        let mut templates = Templates::default();
        let mut odd = [Tier { template: json!(7), ..tier("b:1") }];
        templates.pack(&mut odd);
        assert_eq!(templates.template(&odd[0]), Value::Null);
    }
}
