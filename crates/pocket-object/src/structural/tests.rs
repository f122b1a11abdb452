use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::any_json;

/// Returns a schema with the given `spec`.
fn schema(spec: Value) -> Schema {
    Schema::parse(&json!({ "type": "object", "properties": { "spec": spec } })).unwrap()
}

fn texts(errors: Vec<FieldError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Checks the mistakes of a `spec`, given its schema.
fn check(of: Value, spec: Value, want: &[&str]) {
    assert_eq!(texts(schema(of).validate(&json!({ "spec": spec }), None)), want, "{spec}");
}

/// Checks the mistakes of a schema.
fn refused(schema: Value, want: &[&str]) {
    assert_eq!(texts(Schema::parse(&schema).unwrap_err()), want, "{schema}");
}

/// Checks the mistakes of a change from one `spec` to another.
fn change(of: Value, old: Value, new: Value, want: &[&str]) {
    let errors = schema(of).validate(&json!({ "spec": new }), Some(&json!({ "spec": old })));
    assert_eq!(texts(errors), want, "{old} to {new}");
}

fn rule(of: Value, text: &str) -> Value {
    let mut of = of;
    of["x-kubernetes-validations"] = json!([{ "rule": text }]);
    of
}

#[test]
fn unknown_fields_are_pruned() {
    let schema = schema(json!({ "type": "object", "properties": {
        "a": { "type": "string" },
        "l": { "type": "array", "items": { "type": "object", "properties": { "x": { "type": "string" } } } },
        "m": { "type": "object", "additionalProperties": { "type": "object", "properties": { "x": { "type": "string" } } } },
        "p": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "q": { "type": "object" } } },
        "e": { "type": "object", "x-kubernetes-embedded-resource": true } } }));
    let mut object = json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "n", "what": 1 }, "other": 1, "spec": {
        "a": "x", "b": 1, "l": [{ "x": "1", "y": 2 }], "m": { "k": { "x": "1", "y": 2 } },
        "p": { "any": { "thing": 1 }, "q": { "gone": 1 } }, "e": { "kind": "X", "metadata": { "name": "y" }, "z": 1 } } });
    let mut dropped = schema.prune(&mut object);
    dropped.sort();
    assert_eq!(dropped, ["other", "spec.b", "spec.e.z", "spec.l[0].y", "spec.m.k.y", "spec.p.q.gone"]);
    assert_eq!(
        object,
        json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "n", "what": 1 }, "spec": {
        "a": "x", "l": [{ "x": "1" }], "m": { "k": { "x": "1" } }, "p": { "any": { "thing": 1 }, "q": {} },
        "e": { "kind": "X", "metadata": { "name": "y" } } } })
    );
}

#[test]
fn defaults_are_filled_in() {
    let schema = schema(json!({ "type": "object", "default": {}, "properties": {
        "a": { "type": "string", "default": "x" },
        "o": { "type": "object", "default": { "b": 1 }, "properties": { "b": { "type": "integer" }, "c": { "type": "integer", "default": 2 } } },
        "l": { "type": "array", "items": { "type": "object", "properties": { "d": { "type": "integer", "default": 3 } } } },
        "n": { "type": "string", "nullable": true, "default": "y" } } }));
    let check = |mut object: Value, want: Value| {
        schema.default(&mut object);
        assert_eq!(object, want);
    };
    check(json!({}), json!({ "spec": { "a": "x", "o": { "b": 1, "c": 2 }, "n": "y" } }));
    check(
        json!({ "spec": { "a": null, "n": null, "l": [{}], "o": { "b": 5 } } }),
        json!({ "spec": { "a": "x", "n": null, "l": [{ "d": 3 }], "o": { "b": 5, "c": 2 } } }),
    );
}

#[test]
fn types_and_limits() {
    check(
        json!({ "type": "integer" }),
        json!("x"),
        &["spec: Invalid value: \"string\": spec in body must be of type integer: \"string\""],
    );
    check(
        json!({ "type": "integer" }),
        json!(1.5),
        &["spec: Invalid value: \"number\": spec in body must be of type integer: \"number\""],
    );
    check(json!({ "type": "integer" }), json!(2.0), &[]);
    check(json!({ "type": "number" }), json!(1), &[]);
    check(
        json!({ "type": "integer", "minimum": 0 }),
        json!(-1),
        &["spec: Invalid value: -1: spec in body should be greater than or equal to 0"],
    );
    check(
        json!({ "type": "integer", "maximum": 5, "exclusiveMaximum": true }),
        json!(5),
        &["spec: Invalid value: 5: spec in body should be less than 5"],
    );
    check(
        json!({ "type": "string", "enum": ["a", "b"] }),
        json!("c"),
        &["spec: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check(
        json!({ "type": "string", "pattern": "^[a-z]+$" }),
        json!("A"),
        &["spec: Invalid value: \"A\": spec in body should match '^[a-z]+$'"],
    );
    check(json!({ "type": "string", "maxLength": 2 }), json!("äää"), &["spec: Too long: may not be more than 2 bytes"]);
    check(json!({ "type": "string", "maxLength": 3, "minLength": 3 }), json!("äää"), &[]);
    check(
        json!({ "type": "string", "format": "ipv4" }),
        json!("x"),
        &["spec: Invalid value: \"x\": spec in body must be of type ipv4: \"x\""],
    );
    check(
        json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1 }),
        json!(["a", "b"]),
        &["spec: Too many: 2: must have at most 1 items"],
    );
    check(
        json!({ "type": "array", "items": { "type": "string" } }),
        json!(["a", 1]),
        &["spec[1]: Invalid value: \"integer\": spec[1] in body must be of type string: \"integer\""],
    );
    check(
        json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "string" } } }),
        json!({}),
        &["spec.a: Required value"],
    );
    check(
        json!({ "type": "string" }),
        json!(null),
        &["spec: Invalid value: \"null\": spec in body must be of type string: \"null\""],
    );
    check(json!({ "type": "string", "nullable": true }), json!(null), &[]);
    check(json!({ "x-kubernetes-int-or-string": true }), json!("25%"), &[]);
    check(json!({ "x-kubernetes-int-or-string": true }), json!(1), &[]);
    check(
        json!({ "x-kubernetes-int-or-string": true }),
        json!(true),
        &["spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\""],
    );
    let one = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } }, "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] });
    check(one.clone(), json!({ "a": "" }), &[]);
    check(
        one,
        json!({}),
        &["spec: Invalid value: \"object\": \"spec\" must validate one and only one schema (oneOf). Found none valid"],
    );
}

#[test]
fn keyed_lists_and_sets_hold_each_element_once() {
    let map = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } } });
    check(map.clone(), json!([{ "name": "a" }, { "name": "b" }]), &[]);
    check(map.clone(), json!([{ "name": "a" }, { "name": "a" }]), &["spec[1]: Duplicate value: {\"name\":\"a\"}"]);
    check(map, json!([{}]), &["spec[0].name: Required value"]);
    check(
        json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } }),
        json!(["a", "a"]),
        &["spec[1]: Duplicate value: \"a\""],
    );
}

#[test]
fn broken_schemas_are_refused() {
    refused(json!({ "type": "string" }), &["type: Invalid value: \"string\": must be object at the root"]);
    refused(json!({ "properties": {} }), &["type: Required value: must not be empty at the root"]);
    refused(
        json!({ "type": "object", "properties": { "a": {} } }),
        &["properties[a].type: Required value: must not be empty for specified object fields"],
    );
    refused(
        json!({ "type": "object", "properties": { "a": { "type": "thing" } } }),
        &[
            "properties[a].type: Unsupported value: \"thing\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
    refused(
        json!({ "type": "object", "properties": { "a": { "type": "array" } } }),
        &["properties[a].items: Required value: must be specified"],
    );
    refused(
        json!({ "type": "object", "properties": { "a": { "$ref": "#/x", "type": "string" } } }),
        &["properties[a].$ref: Forbidden: must not be set"],
    );
    refused(
        json!({ "type": "object", "properties": { "a": { "type": "integer", "default": "x" } } }),
        &["properties[a].default: Invalid value: \"string\": must be of type integer: \"string\""],
    );
    assert!(
        texts(
            Schema::parse(&json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "(" } } }))
                .unwrap_err()
        )[0]
        .starts_with("properties[a].pattern: Invalid value: \"(\": must be a valid regular expression")
    );
    refused(
        json!({ "type": "object", "properties": { "a": { "type": "array", "x-kubernetes-list-type": "map", "items": { "type": "object" } } } }),
        &[
            "properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ],
    );
    let keyless = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": { "type": "object", "properties": { "k": { "type": "string" } } } });
    refused(
        json!({ "type": "object", "properties": { "a": keyless } }),
        &[
            "properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
}

#[test]
fn what_was_wrong_before_may_stay() {
    let of = json!({ "type": "object", "properties": { "a": { "type": "string", "maxLength": 1 }, "b": { "type": "string" } } });
    change(of.clone(), json!({ "a": "long" }), json!({ "a": "long", "b": "x" }), &[]);
    change(of, json!({ "a": "long" }), json!({ "a": "longer" }), &["spec.a: Too long: may not be more than 1 bytes"]);
}

#[test]
fn rules_hold() {
    let object = json!({ "type": "object", "properties": { "min": { "type": "integer" }, "max": { "type": "integer" }, "name": { "type": "string" },
        "tiers": { "type": "array", "items": { "type": "object", "properties": { "name": { "type": "string" }, "needs": { "type": "array", "items": { "type": "string" } } } } },
        "every": { "type": "string", "format": "duration" }, "labels": { "type": "object", "additionalProperties": { "type": "string" } },
        "share": { "type": "number" }, "in": { "type": "integer" }, "a-b": { "type": "string" }, "n": { "x-kubernetes-int-or-string": true } } });
    let holds = |text: &str, spec: Value, want: bool| {
        let errors = schema(rule(object.clone(), text)).validate(&json!({ "spec": spec }), None);
        assert_eq!(errors.is_empty(), want, "{text}: {errors:?}");
    };
    holds("self.min <= self.max", json!({ "min": 1, "max": 2 }), true);
    holds("self.min <= self.max", json!({ "min": 3, "max": 2 }), false);
    holds("!has(self.min) || self.min > 0", json!({}), true);
    holds("size(self.name) > 2", json!({ "name": "abc" }), true);
    holds("self.name.matches('^[a-c]+$')", json!({ "name": "abd" }), false);
    holds("self.name.startsWith('a') && self.name.lowerAscii() == 'abc'", json!({ "name": "aBC" }), true);
    let tiers = json!({ "tiers": [{ "name": "a", "needs": ["b"] }, { "name": "b" }] });
    let known = "self.tiers.all(t, !has(t.needs) || t.needs.all(n, self.tiers.exists(o, o.name == n)))";
    holds(known, tiers.clone(), true);
    holds(known, json!({ "tiers": [{ "name": "a", "needs": ["x"] }] }), false);
    holds("self.tiers.map(t, t.name).isSorted()", tiers.clone(), true);
    holds("self.tiers.exists_one(t, t.name == 'a') && self.tiers.filter(t, has(t.needs)).size() == 1", tiers, true);
    holds("self.every > duration('5s')", json!({ "every": "1m" }), true);
    holds("self.labels.all(k, self.labels[k] != '')", json!({ "labels": { "a": "" } }), false);
    holds("self.share < 0.5", json!({ "share": 1 }), false);
    holds("self.__in__ == 1 && self.a__dash__b == 'x'", json!({ "in": 1, "a-b": "x" }), true);
    holds("type(self.n) == int || self.n.endsWith('%')", json!({ "n": "25%" }), true);
    holds("type(self.n) == int || self.n.endsWith('%')", json!({ "n": 3 }), true);
    holds("'abc'.find('b+') == 'b' && [3, 1].min() == 1 && [1, 2].sum() == 3", json!({}), true);
}

#[test]
fn a_failed_rule_says_what_it_was_told_to_say() {
    let with = |more: Value| {
        let mut of = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
        let base = json!({ "rule": "self.n > 3" });
        of["x-kubernetes-validations"] = json!([crate::patch::merge_patch(&base, &more).unwrap()]);
        of
    };
    check(with(json!({})), json!({ "n": 1 }), &["spec: Invalid value: \"object\": failed rule: self.n > 3"]);
    check(with(json!({ "message": "too few" })), json!({ "n": 1 }), &["spec: Invalid value: \"object\": too few"]);
    check(
        with(json!({ "messageExpression": "'only ' + string(self.n)", "message": "x" })),
        json!({ "n": 1 }),
        &["spec: Invalid value: \"object\": only 1"],
    );
    check(
        with(json!({ "fieldPath": ".n", "reason": "FieldValueForbidden", "message": "no" })),
        json!({ "n": 1 }),
        &["spec.n: Forbidden: no"],
    );
    check(with(json!({})), json!({}), &["spec: Invalid value: \"object\": No such key: n evaluating rule: self.n > 3"]);
}

#[test]
fn transition_rules_see_what_was() {
    let fixed = rule(json!({ "type": "string" }), "self == oldSelf");
    check(fixed.clone(), json!("a"), &[]);
    change(fixed.clone(), json!("a"), json!("a"), &[]);
    change(fixed, json!("a"), json!("b"), &["spec: Invalid value: \"string\": failed rule: self == oldSelf"]);
    let object = rule(json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }), "self == oldSelf");
    change(object.clone(), json!({ "a": [1, { "b": 2 }] }), json!({ "a": [1, { "b": 2 }] }), &[]);
    change(
        object,
        json!({ "a": [1, { "b": 2 }] }),
        json!({ "a": [1, { "b": 3 }] }),
        &["spec: Invalid value: \"object\": failed rule: self == oldSelf"],
    );
    let list = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": rule(json!({ "type": "object",
        "required": ["name"], "properties": { "name": { "type": "string" }, "v": { "type": "integer" } } }), "self.v >= oldSelf.v") });
    change(
        list.clone(),
        json!([{ "name": "a", "v": 1 }, { "name": "b", "v": 5 }]),
        json!([{ "name": "b", "v": 5 }, { "name": "a", "v": 2 }, { "name": "c", "v": 0 }]),
        &[],
    );
    change(
        list,
        json!([{ "name": "a", "v": 1 }, { "name": "b", "v": 5 }]),
        json!([{ "name": "b", "v": 4 }]),
        &["spec[0]: Invalid value: \"object\": failed rule: self.v >= oldSelf.v"],
    );
    let mut optional = rule(json!({ "type": "integer" }), "!oldSelf.hasValue() || self >= oldSelf.value()");
    optional["x-kubernetes-validations"][0]["optionalOldSelf"] = json!(true);
    check(optional.clone(), json!(1), &[]);
    change(optional.clone(), json!(1), json!(2), &[]);
    change(
        optional,
        json!(2),
        json!(1),
        &["spec: Invalid value: \"integer\": failed rule: !oldSelf.hasValue() || self >= oldSelf.value()"],
    );
}

#[test]
fn a_rule_that_makes_no_sense_is_a_mistake_of_the_schema() {
    let refused = |text: &str, want: &str| {
        let of = rule(
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "l": { "type": "array", "items": { "type": "object", "properties": { "x": { "type": "string" } } } } } }),
            text,
        );
        let found = texts(Schema::parse(&json!({ "type": "object", "properties": { "spec": of } })).unwrap_err());
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with("properties[spec].x-kubernetes-validations[0].rule: "), "{found:?}");
        assert!(found[0].contains(want), "{text}: {found:?}");
    };
    refused("self.a ==", "compilation failed");
    refused("other == 1", "undeclared reference to 'other'");
    refused("self.b == 1", "undefined field 'b'");
    refused("has(self.b)", "undefined field 'b'");
    refused("self.l.all(i, i.y == '')", "undefined field 'y'");
    refused("self.l[0].y == ''", "undefined field 'y'");
    refused("self.a.b == ''", "does not support field selection");
    refused("isURL(self.a)", "undeclared reference to 'isURL'");
    refused("self.a", "must evaluate to a boolean");
    refused("  ", "rule is not specified");
    refused(&"(".repeat(100_000), "too long or nests too deep");
    let list = json!({ "type": "object", "properties": { "l": { "type": "array", "items": rule(json!({ "type": "string" }), "self == oldSelf") } } });
    let found = texts(Schema::parse(&list).unwrap_err());
    assert!(found[0].contains("oldSelf cannot be used on the uncorrelatable portion"), "{found:?}");
}

/// Generates schemas that are mostly valid, so that the code behind `parse` is reached.
fn any_node() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0i64..3).prop_map(|min| json!({ "type": "integer", "minimum": min, "default": 2 })),
        Just(json!({ "type": "string", "maxLength": 3, "pattern": "^[a-z]*$" })),
        Just(json!({ "type": "string", "nullable": true, "default": "d" })),
        Just(json!({ "x-kubernetes-int-or-string": true })),
        Just(json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })),
        Just(
            json!({ "type": "integer", "x-kubernetes-validations": [{ "rule": "self >= oldSelf" }, { "rule": "self < 100" }] })
        ),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let fields = prop::collection::btree_map(prop::sample::select(vec!["spec", "name", "port", "ports", "value"]), inner.clone(), 0..4);
        prop_oneof![
            fields.prop_map(|fields| json!({ "type": "object", "properties": fields, "x-kubernetes-validations": [{ "rule": "size(self) < 4" }] })),
            inner.clone().prop_map(|nested| json!({ "type": "object", "additionalProperties": nested })),
            inner.prop_filter("no transition rules in plain lists", |items| !items.to_string().contains("oldSelf"))
                .prop_map(|items| json!({ "type": "array", "items": items, "maxItems": 2 })),
        ]
    })
}

proptest! {
    #[test]
    fn a_schema_settles_and_never_panics(spec in any_node(), object in any_json(), old in any_json()) {
        let schema = match Schema::parse(&json!({ "type": "object", "properties": { "spec": spec, "status": { "type": "object" } } })) {
            Ok(schema) => schema,
            Err(errors) => return Err(TestCaseError::fail(format!("{:?}", texts(errors)))),
        };
        for object in [object.clone(), json!({ "spec": object })] {
            let mut object = object;
            schema.prune(&mut object);
            prop_assert!(schema.prune(&mut object).is_empty());
            schema.default(&mut object);
            let once = object.clone();
            schema.default(&mut object);
            prop_assert_eq!(&once, &object);
            // An unchanged object is never refused, except by a rule that forbids even that.
            prop_assert_eq!(texts(schema.validate(&object, Some(&object))), Vec::<String>::new());
            schema.validate(&object, Some(&json!({ "spec": old })));
        }
    }

    #[test]
    fn any_schema_is_read_without_panic(schema in any_json(), object in any_json()) {
        if let Ok(schema) = Schema::parse(&schema) {
            schema.validate(&object, None);
        }
    }
}
