//! Label and field selectors.

mod field;
mod label;

pub use self::{
    field::{FieldRequirement, FieldSelector},
    label::LabelSelector,
};

/// Error of a selector that cannot be parsed: HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn label_selectors() {
        let labels = json!({ "app": "web", "tier": "front", "n": "7", "empty": "", "k8s.io/x": "y" });
        let check = |text: &str, want: bool| {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&labels), want, "{text}");
        };
        check("", true);
        check("app=web", true);
        check("app==web,tier=front", true);
        check("app = web , tier != back", true);
        check("app!=web", false);
        check("nothing!=web", true);
        check("app in (web,api)", true);
        check("app in (api)", false);
        check("app notin (api, x)", true);
        check("none notin (api)", true);
        check("app", true);
        check("none", false);
        check("!none", true);
        check("!app", false);
        check("k8s.io/x=y", true);
        check("empty=", true);
        check("empty in (,a)", true);
        check("n>6,n<8", true);
        check("n>7", false);
    }

    #[test]
    fn broken_label_selectors_are_refused() {
        for text in ["=x", "a b", "a in x", "a in (b", "a=b,", ",", "a=b=c", "a/b/c=d", "a>x", "a=$", "!", "-a"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selector_objects() {
        let labels = json!({ "app": "web" });
        let check = |selector: Value, want: Option<bool>| {
            let got = LabelSelector::from_value(&selector).ok().map(|selector| selector.matches(&labels));
            assert_eq!(got, want, "{selector}");
        };
        check(json!({}), Some(true));
        check(json!({ "matchLabels": { "app": "web" } }), Some(true));
        check(json!({ "matchLabels": { "app": "api" } }), Some(false));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web"] }] }), Some(true));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["web"] }] }), Some(false));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] }), Some(false));
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": [] }] }), None);
        check(json!({ "matchExpressions": [{ "key": "app", "operator": "Like" }] }), None);
        check(json!(null), None);
    }

    #[test]
    fn field_selectors() {
        let check = |text: &str, want: bool| {
            let field = |path: &str| match path {
                "metadata.name" => Some("a".to_owned()),
                "spec.x" => Some("1,2=3".to_owned()),
                _ => None,
            };
            assert_eq!(FieldSelector::parse(text).unwrap().matches(field), want, "{text}");
        };
        check("", true);
        check("metadata.name=a", true);
        check("metadata.name==a,spec.nodeName=", true);
        check("metadata.name!=a", false);
        check("spec.nodeName!=x", true);
        check(r"spec.x=1\,2\=3", true);
        for text in ["a", "a=b=c", r"a=\x", "a!b"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
        let parsed = FieldSelector::parse("a=b").unwrap();
        assert_eq!(parsed.requirements(), [FieldRequirement { path: "a".into(), equal: true, value: "b".into() }]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[a-z=!,() <>\\\\ä]{0,20}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text);
        }
    }
}
