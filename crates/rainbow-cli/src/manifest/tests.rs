//! Tests of inputs, and of the exact messages for their errors.

use super::*;

/// Head of a Rainbow, and a tier that is valid.
const HEAD: &str = "apiVersion: rainbow.dev/v1alpha1\nkind: Rainbow\nmetadata: { name: shop }\n";
const TIER: &str = "{ name: web, ports: [{ name: http, port: 80 }], template: { spec: { containers: [{ name: web, image: web:1 }] } } }";

fn parse(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.parse(&Text { name: "a.yaml".into(), content: text.to_owned() }, None);
    manifests
}

/// Returns the findings without the name of the file.
fn findings(text: &str) -> Vec<String> {
    let found = parse(text).findings;
    found.iter().map(|finding| finding.to_string().strip_prefix("a.yaml:").unwrap().to_owned()).collect()
}

/// Makes a Rainbow with the given lines in its spec. The first of them is line 5.
fn spec(lines: &str) -> String {
    format!("{HEAD}spec:\n{lines}\n  tiers: [{TIER}]\n")
}

#[track_caller]
fn check(cases: &[(&str, String, &[&str])]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(_, text, expected)| findings(text) != *expected)
        .map(|(name, text, expected)| format!("{name}:\n  {:?}\nnot\n  {expected:?}", findings(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_object() {
    let object = |text: &str| text.to_owned();
    check(&[
        ("text", object("just text"), &["1: no Kubernetes object: write a map with apiVersion, kind and metadata"]),
        ("list", object("- a\n- b\n"), &["1: no Kubernetes object: write a map with apiVersion, kind and metadata"]),
        (
            "no version",
            object("# a comment\nkind: Pod\n"),
            &["2: apiVersion: is missing: every Kubernetes object has apiVersion and kind"],
        ),
        (
            "no kind",
            object("apiVersion: v1\n"),
            &["1: kind: is missing: every Kubernetes object has apiVersion and kind"],
        ),
        (
            "misspelt",
            object("kind: Pod\napiVersoin: v1\n"),
            &["2: apiVersoin: there is no such field: did you mean `apiVersion`?"],
        ),
        ("number", object("apiVersion: 1\nkind: Pod\n"), &["1: apiVersion: must be a text: put it in quotes"]),
        (
            "no name",
            object("apiVersion: v1\nkind: Pod\nmetadata: {}\n"),
            &["3: metadata.name: is missing: give the Pod a name"],
        ),
        (
            "name of digits",
            object("apiVersion: v1\nkind: Pod\nmetadata:\n  name: 123e45\n"),
            &["4: metadata.name: `123e45` is no text in YAML: put it in quotes: \"123e45\""],
        ),
        (
            "metadata misspelt",
            object("apiVersion: v1\nkind: Pod\nmetdata: { name: a }\n"),
            &["3: metdata: there is no such field: did you mean `metadata`?"],
        ),
        (
            "name misspelt",
            object("apiVersion: v1\nkind: Pod\nmetadata:\n  nam: a\n"),
            &["4: metadata.nam: there is no such field: did you mean `name`?"],
        ),
        (
            "version of the future",
            object("apiVersion: rainbow.dev/v1beta1\nkind: Rainbow\nmetadata: { name: a }\n"),
            &["1: apiVersion: Rainbow has no version `v1beta1`, only v1alpha1: write rainbow.dev/v1alpha1"],
        ),
        (
            "no list",
            object("apiVersion: v1\nkind: List\nitems: {}\n"),
            &["3: items: must be a list of objects: write each of them after `- `"],
        ),
        (
            "kind misspelt",
            object("apiVersion: rainbow.dev/v1alpha1\nkind: Rainbo\nmetadata: { name: a }\n"),
            &["2: kind: rainbow.dev/v1alpha1 has no kind `Rainbo`: did you mean `Rainbow`?"],
        ),
        (
            "group misspelt",
            object("apiVersion: rainbw.dev/v1alpha1\nkind: Rainbow\nmetadata: { name: a }\n"),
            &["1: apiVersion: `rainbw.dev/v1alpha1` has no kind `Rainbow`: write rainbow.dev/v1alpha1"],
        ),
        (
            "group of the core",
            object("apiVersion: v1\nkind: Rainbow\nmetadata: { name: a }\n"),
            &["1: apiVersion: `v1` has no kind `Rainbow`: write rainbow.dev/v1alpha1"],
        ),
    ]);
}

#[test]
fn what_is_no_yaml() {
    let text = |text: &str| format!("{HEAD}spec:\n{text}");
    check(&[
        ("tab", text("  tiers:\n\t- name: web\n"), &["6: the line is indented by a tab: YAML takes spaces only"]),
        ("tab in a map", text("\tcolor: v1\n"), &["5: the line is indented by a tab: YAML takes spaces only"]),
        (
            "doubled",
            text("  color: v1\n  stages: []\n  color: v2\n"),
            &["7: spec.color: the field is there twice, first in line 5: keep one of them"],
        ),
        ("bracket", text("  tiers: [{ name: web }\n"), &["5: `[` has no `]`: close it"]),
        ("quote", text("  color: \"v1\n"), &["5: a quote has no end: write the same quote after the text"]),
        ("alias", text("  color: *v1\n"), &["5: the alias has no anchor above it: define it with `&NAME`"]),
        (
            "colon",
            text("  color: v1: v2\n"),
            &[
                "5: the line is no `key: value` here: check its indentation and its colon, and put a text with `: ` in quotes",
            ],
        ),
        (
            "indentation",
            text("  color: v1\n   stages: []\n"),
            &[
                "6: the line is no `key: value` here: check its indentation and its colon, and put a text with `: ` in quotes",
            ],
        ),
        ("sign", text("  color: @v1\n"), &["5: a value cannot begin with `@`: put it in quotes"]),
        ("percent", text("  color: %v1\n"), &["5: a value cannot begin with `%`: put it in quotes"]),
        (
            "JSON",
            "{\"a\": 1,\n\"b\": }".to_owned(),
            &["1: apiVersion: is missing: every Kubernetes object has apiVersion and kind"],
        ),
    ]);
}

#[test]
fn values_of_another_type() {
    let cases: Vec<(&str, String, &[&str])> = vec![
        (
            "a commit that is a number",
            spec("  color: 123e45"),
            &["5: rainbow `shop`: spec.color: `123e45` is a number in YAML: put it in quotes: \"123e45\""],
        ),
        (
            "a commit of digits",
            spec("  color: 012345"),
            &["5: rainbow `shop`: spec.color: `012345` is a number in YAML: put it in quotes: \"012345\""],
        ),
        (
            "true",
            spec("  color: true"),
            &["5: rainbow `shop`: spec.color: `true` is true or false in YAML: put it in quotes: \"true\""],
        ),
        ("a list", spec("  color: [v1]"), &["5: rainbow `shop`: spec.color: is a list: write a text"]),
        (
            "a map for a list",
            spec("  stages: { active: {} }"),
            &["5: rainbow `shop`: spec.stages: is a map: write a list, each entry after `- `"],
        ),
        (
            "a text for a map",
            spec("  keep: all"),
            &["5: rainbow `shop`: spec.keep: `all` is a single value: write fields, `name: value`, below it"],
        ),
        (
            "a text for a number",
            spec("  keep:\n    live: many\n    history: \"3\""),
            &[
                "6: rainbow `shop`: spec.keep.live: `many` is a text: write a number",
                "7: rainbow `shop`: spec.keep.history: `\"3\"` is a text: take the quotes off: 3",
            ],
        ),
        (
            "half a number",
            spec("  keep: { live: 1.5 }"),
            &["5: rainbow `shop`: spec.keep.live: `1.5` is no whole number: write one"],
        ),
        (
            "a number beyond all bounds",
            spec("  keep: { live: 5000000000 }"),
            &[
                "5: rainbow `shop`: spec.keep.live: `5000000000` is too far from 0: write a number from -2147483648 to 2147483647",
            ],
        ),
        (
            "metrics",
            format!(
                "{HEAD}spec:\n  tiers:\n  - name: web\n    autoscale:\n      maxReplicas: 3\n      metrics: [{{ type: Resource, resource: {{ name: cpu, target: {{ type: Utilization, averageUtilization: high }} }} }}]\n    template: {{ spec: {{ containers: [{{ name: web, image: web:1 }}] }} }}\n"
            ),
            &[
                "9: rainbow `shop`: spec.tiers[web].autoscale.metrics[0].resource.target.averageUtilization: does not fit: write it as in a HorizontalPodAutoscaler of autoscaling/v2",
            ],
        ),
        (
            "no choice",
            spec("  stages:\n  - name: smoke\n    promote: automatic\n  reuse: unchanged"),
            &[
                "7: rainbow `shop`: spec.stages[smoke].promote: `automatic` is not possible: write Auto or Manual",
                "8: rainbow `shop`: spec.reuse: `unchanged` is not possible: did you mean `Unchanged`?",
            ],
        ),
        (
            "a duration",
            spec("  drain: { settle: soon }"),
            &[
                "5: rainbow `shop`: spec.drain.settle: `soon` is no duration: write a number and a unit (ms, s, m, h), such as 30s or 1h30m",
            ],
        ),
    ];
    check(&cases);
}

#[test]
fn fields_that_do_not_exist() {
    let cases: Vec<(&str, String, &[&str])> = vec![
        (
            "tiers",
            format!("{HEAD}spec:\n  teirs: [{TIER}]\n"),
            &["5: rainbow `shop`: spec.teirs: there is no such field: did you mean `tiers`?"],
        ),
        (
            "spec",
            format!("{HEAD}spce:\n  tiers: [{TIER}]\n"),
            &["4: rainbow `shop`: spce: there is no such field: did you mean `spec`?"],
        ),
        ("no spec", HEAD.to_owned(), &["1: rainbow `shop`: spec: is missing: add it"]),
        (
            "in a tier",
            format!(
                "{HEAD}spec:\n  tiers:\n  - name: a\n    replica: 3\n    template: {{ spec: {{ containers: [{{ name: a, image: a }}] }} }}\n"
            ),
            &["7: rainbow `shop`: spec.tiers[a].replica: there is no such field: did you mean `replicas`?"],
        ),
        (
            "beside the right one",
            spec("  color: v1\n  colour: v2"),
            &[
                "6: rainbow `shop`: spec.colour: there is no such field, and `color` is there already: take this one out",
            ],
        ),
        (
            "case",
            spec("  nameprefix: a-"),
            &["5: rainbow `shop`: spec.nameprefix: there is no such field: did you mean `namePrefix`?"],
        ),
        (
            "in a template",
            format!(
                "{HEAD}spec:\n  tiers:\n  - name: a\n    template:\n      spec:\n        containers:\n        - name: a\n          image: a\n          readinesProbe: {{}}\n          resources:\n            limits: {{ memory: 64MB }}\n"
            ),
            &[
                "12: rainbow `shop`: spec.tiers[a].template.spec.containers[0].readinesProbe: there is no such field in Kubernetes 1.37: did you mean `readinessProbe`?",
                "14: rainbow `shop`: spec.tiers[a].template.spec.containers[0].resources.limits.memory: `64MB` is no quantity: write a number with a unit such as m, k, M, G, Ki, Mi or Gi, as in 500m or 64Mi",
            ],
        ),
    ];
    check(&cases);
}

#[test]
fn gates_that_are_wrong() {
    let gate = |fields: &str| spec(&format!("  gates:\n  - name: errors\n{fields}"));
    let of_kind = |kind: &str, spec: &str| {
        format!("apiVersion: rainbow.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: a }}\nspec: {spec}\n")
    };
    let cases: [(&str, String, &[&str]); 10] = [
        (
            "an expression",
            gate("    web: { url: http://a }\n    successCondition: reslt == 1"),
            &["8: rainbow `shop`: spec.gates[errors].successCondition: there is no `reslt`: use result or status"],
        ),
        (
            "a pattern",
            gate("    traffic:\n      pattern: '(a'"),
            &["8: rainbow `shop`: spec.gates[errors].traffic.pattern: `(a` is no regular expression: unclosed group"],
        ),
        (
            "a duration, of a gate that a stage names",
            gate(
                "    web: { url: http://a }\n    interval: soon\n  stages:\n  - { name: active, gates: { before: [errors] } }",
            ),
            &[
                "8: rainbow `shop`: spec.gates[errors].interval: `soon` is no duration: write a number and a unit (ms, s, m, h), such as 30s or 1h30m",
            ],
        ),
        (
            "nothing to ask",
            gate("    count: 2"),
            &[
                "6: rainbow `shop`: spec.gates[errors]: says nothing about how it is measured: set one of template, prometheus, web, job, traffic, manual",
            ],
        ),
        (
            "misspelt",
            gate("    web: { url: http://a }\n    failurLimit: 2"),
            &[
                "8: rainbow `shop`: spec.gates[errors].failurLimit: there is no such field: did you mean `failureLimit`?",
            ],
        ),
        (
            "misspelt in the use of a template",
            gate("    template: { nam: a, name: b }"),
            &[
                "7: rainbow `shop`: spec.gates[errors].template.nam: there is no such field, and `name` is there already: take this one out",
            ],
        ),
        (
            "no such gate",
            spec("  stages:\n  - name: active\n    shift: { steps: [{ gate: errors }] }"),
            &[
                "7: rainbow `shop`: spec.stages[active].shift.steps[0].gate: there is no gate `errors`: add it to spec.gates",
            ],
        ),
        (
            "a flip",
            gate("    web: { url: http://a }\n  stages:\n  - name: active\n    gates: { during: [errors] }"),
            &[
                "10: rainbow `shop`: spec.stages[active].gates.during: a flip has no steps between which a gate could be measured: use before or after, or shift.steps",
            ],
        ),
        (
            "a template",
            of_kind("GateTemplate", "{ manual: {}, count: 0 }"),
            &["4: gatetemplate `a`: spec.count: 0 is too few: use 1 or more measurements"],
        ),
        (
            "an approval",
            of_kind("Approval", "{ rainbow: shop, color: v2, by: ann, until: tomorrow }"),
            &["4: approval `a`: spec.until: `tomorrow` is no time: write one such as 2026-12-01T12:00:00Z"],
        ),
    ];
    check(&cases);
}

/// The source of the examples in the reference is valid.
#[test]
fn the_examples_of_the_reference_are_valid() {
    let text = include_str!("../../../../examples/reference.yaml");
    let found = parse(text);
    assert_eq!((lines(&found.findings), found.documents.len()), (String::new(), 3));
}

/// Notations that YAML allows are all accepted.
#[test]
fn what_is_right_in_other_notations() {
    let plain = spec("  color: v1");
    let anchors = format!(
        "{HEAD}spec:\n  stages:\n  - &stage {{ name: smoke, promote: Auto, keepers: &none ~ }}\n  - {{ <<: *stage, name: active }}\n  tiers: [{TIER}]\n"
    )
    .replace(", keepers: &none ~", "");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", plain.trim_end().replace('\n', "\n  "));
    for (name, text, objects) in [
        ("plain", plain.clone(), 1),
        ("CRLF", plain.replace('\n', "\r\n"), 1),
        ("byte order mark", format!("\u{feff}{plain}"), 1),
        ("anchors", anchors, 1),
        ("list", list.clone(), 1),
        ("documents", format!("---\n{plain}---\n# nothing\n---\n{}", plain.replace("shop", "other")), 2),
        ("CRLF documents", format!("{plain}---\n{}", plain.replace("shop", "other")).replace('\n', "\r\n"), 2),
        ("JSON", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}".to_owned(), 1),
        ("null", format!("{plain}  passed: null\n"), 1),
    ] {
        let found = parse(&text);
        assert_eq!((lines(&found.findings), found.documents.len()), (String::new(), objects), "{name}");
    }
    // A place in a list counts from the file's beginning.
    let wrong = list.replace("color: v1", "color: 1");
    assert_eq!(
        findings(&wrong),
        ["8: rainbow `shop`: spec.color: `1` is a number in YAML: put it in quotes: \"1\""],
        "{wrong}"
    );
}

#[test]
fn documents_know_their_lines() {
    let text = "# one\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\n---\n# comment only\n---\n\napiVersion: v1\nkind: Secret\nmetadata: { name: b }\n";
    let found = parse(text);
    assert_eq!(found.findings, []);
    assert_eq!(
        found.documents.iter().map(|document| document.at.as_str()).collect::<Vec<_>>(),
        ["a.yaml:2", "a.yaml:10"]
    );
}

#[test]
fn all_errors_of_all_documents_are_told() {
    let text = format!("{HEAD}spec: {{ tiers: [], colour: v1 }}\n---\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n");
    assert_eq!(
        findings(&text),
        [
            "4: rainbow `shop`: spec.colour: there is no such field: did you mean `color`?",
            "4: rainbow `shop`: spec.tiers: is empty: an application has at least one tier",
            "6: apiVersion: is missing: every Kubernetes object has apiVersion and kind",
            "8: metadata.name: is missing: give the Pod a name",
        ]
    );
}

#[test]
fn the_same_object_twice_is_refused() {
    let mut manifests = Manifests::default();
    let map = |name: &str, more: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}{more} }}\n");
    for (file, content) in [
        ("a.yaml", map("one", "")),
        ("b.yaml", format!("{}---\n{}", map("two", ""), map("one", ""))),
        ("c.yaml", map("one", ", namespace: other")),
    ] {
        manifests.parse(&Text { name: file.into(), content }, None);
    }
    manifests.find_twins();
    assert_eq!(lines(&manifests.findings), "b.yaml:5: configmap `one`: it is in a.yaml:1 as well: keep one of them");
}
