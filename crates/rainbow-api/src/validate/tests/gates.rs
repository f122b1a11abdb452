//! Errors in gates and in steps.

use super::*;

/// Returns a gate that is valid.
fn gate(name: &str) -> Value {
    json!({ "name": name, "web": { "url": "http://{{service}}/healthz" } })
}

/// Checks the error of a gate that has these fields as well, and that no stage names.
#[track_caller]
fn check_gate(expected: &str, fields: Value) {
    check(expected, |spec| spec["gates"] = json!([with(gate("errors"), fields)]));
}

fn with(mut value: Value, fields: Value) -> Value {
    for (name, field) in fields.as_object().unwrap() {
        value[name] = field.clone();
    }
    value
}

/// Checks the error of the rolling stage with these fields, where the spec has the gates `errors` and `latency`.
#[track_caller]
fn check_stage(expected: &str, fields: Value) {
    check(expected, |spec| {
        spec["gates"] = json!([gate("errors"), gate("latency")]);
        spec["stages"][1] = with(spec["stages"][1].clone(), fields);
    });
}

#[track_caller]
fn check_steps(expected: &str, steps: Value) {
    check_stage(expected, json!({ "shift": { "steps": steps } }));
}

#[test]
fn gates_and_steps_that_are_fine() {
    let found = errors(|spec| {
        spec["gates"] = json!([
            gate("errors"),
            { "name": "shared", "template": { "name": "latency", "args": [{ "name": "limit", "value": "5" }] } },
            { "name": "ask", "manual": { "freeze": [{ "schedule": "0 16 * * FRI", "for": "64h" }] } },
        ]);
        spec["stages"][1]["gates"] =
            json!({ "before": ["ask"], "during": ["errors"], "after": ["errors"], "for": "10m" });
        spec["stages"][1]["shift"] = json!({ "tiers": { "gates": ["shared"] }, "steps": [
            { "pods": 1 }, { "gate": "errors" }, { "percent": 20 }, { "pause": {} }, { "gate": "errors" }, { "pods": 1 },
            { "percent": 100 },
        ] });
        spec["passedSteps"] = json!([{ "stage": "active", "step": 4, "color": "v2", "shift": "2026-01-01T00:00:00Z" }]);
        spec["skippedGates"] = json!([{ "stage": "active", "gate": "errors", "color": "v2", "reason": "known" }]);
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn names_of_gates() {
    check("spec.gates[errors]: gate `errors` is there twice: give each its own name", |spec| {
        spec["gates"] = json!([gate("errors"), gate("errors"), gate("errors")]);
    });
    check(
        "spec.gates[Errors].name: `Errors` is no DNS label: use 1 to 63 lower case letters, digits and `-`, beginning and ending with a letter or a digit",
        |spec| spec["gates"] = json!([gate("Errors")]),
    );
    check(
        "spec.gates[pods].name: `pods` is the check of pods that every stage has: use another name, and stages[].gates.pods to change that check",
        |spec| spec["gates"] = json!([gate("pods")]),
    );
}

#[test]
fn a_gate_is_measured_in_one_way() {
    check_gate("spec.gates[errors]: web and manual are set: set one of them", json!({ "manual": {} }));
    check_gate("spec.gates[errors]: web and template are set: set one of them", json!({ "template": { "name": "x" } }));
    check(
        "spec.gates[errors]: says nothing about how it is measured: set one of template, prometheus, web, job, traffic, manual",
        |spec| spec["gates"] = json!([{ "name": "errors" }]),
    );
}

#[test]
fn numbers_of_a_gate() {
    check_gate("spec.gates[errors].count: 0 is too few: use 1 or more measurements", json!({ "count": 0 }));
    for field in ["failureLimit", "inconclusiveLimit", "consecutiveErrorLimit"] {
        check_gate(&format!("spec.gates[errors].{field}: -1 is negative: use 0 or more"), json!({ field: -1 }));
    }
    check_gate("spec.gates[errors].interval: 0s is too short: use a time such as 10s", json!({ "interval": "0s" }));
    check_gate(
        "spec.gates[errors].successCondition: is empty: write a CEL expression such as `result[0] < 0.01`",
        json!({ "successCondition": " " }),
    );
}

#[test]
fn ways_to_measure() {
    let url = "spec.gates[errors].web.url: `shop/healthz` is no address: begin with http:// or https://, such as http://{{service}}/healthz";
    check_gate(url, json!({ "web": { "url": "shop/healthz" } }));
    check_gate(
        "spec.gates[errors].web.method: `DELETE` is not supported: use GET, POST or PUT",
        json!({ "web": { "url": "http://a", "method": "DELETE" } }),
    );
    check_gate(
        "spec.gates[errors].web.headers[X]: has no value: set value or valueFrom",
        json!({ "web": { "url": "http://a", "headers": [{ "name": "X" }] } }),
    );
    check_gate(
        "spec.gates[errors].web.authentication.bearer: is empty: set secretKeyRef or configMapKeyRef",
        json!({ "web": { "url": "http://a", "authentication": { "bearer": {} } } }),
    );
    let of = |name: &str, settings: Value| json!([{ "name": "errors", name: settings }]);
    for (name, settings, expected) in [
        ("prometheus", json!({ "address": "http://p", "query": " " }), "query: is empty: write a query in PromQL"),
        ("job", json!({ "template": {} }), "template.spec.containers: is empty: a pod has at least one container"),
        (
            "job",
            json!({ "template": { "spec": { "restartPolicy": "Always", "containers": [{ "name": "a", "image": "a" }] } } }),
            "template.spec.restartPolicy: `Always` is not possible in a Job: use Never or OnFailure",
        ),
        ("traffic", json!({ "requests": 0 }), "requests: 0 is out of range: use 1 to 100000"),
        ("traffic", json!({ "path": "healthz" }), "path: `healthz` is no path: begin with `/`"),
        (
            "manual",
            json!({ "freeze": [{ "schedule": "0 16", "for": "1h" }] }),
            "freeze[0].schedule: `0 16` is no schedule: write five fields (minute, hour, day of the month, month, day of the week), such as \
             `0 16 * * FRI`",
        ),
        (
            "manual",
            json!({ "freeze": [{ "schedule": "0 16 * * FRI", "for": "1h", "timeZone": "Berlin" }] }),
            "freeze[0].timeZone: `Berlin` is no time zone: write a name of the IANA database, such as `Europe/Berlin`",
        ),
    ] {
        check(&format!("spec.gates[errors].{name}.{expected}"), |spec| spec["gates"] = of(name, settings));
    }
    check(
        "spec.gates[errors].manual: asks for no approval and has no freeze window, so it always passes: set one of the two",
        |spec| spec["gates"] = of("manual", json!({ "approval": false })),
    );
}

#[test]
fn gates_of_a_stage() {
    check_stage(
        "spec.stages[active].gates.before: there is no gate `erors`: add it to spec.gates, or use one of errors, latency",
        json!({ "gates": { "before": ["erors"] } }),
    );
    check_stage(
        "spec.stages[active].gates.after: `pods` is checked in every stage without being named: take it out",
        json!({ "gates": { "after": ["pods"] } }),
    );
    check_stage(
        "spec.stages[active].gates.during: gate `errors` is there twice: name it once",
        json!({ "gates": { "during": ["errors", "errors"] } }),
    );
    check_stage(
        "spec.stages[active].shift.tiers.gates: there is no gate `x`: add it to spec.gates, or use one of errors, latency",
        json!({ "shift": { "tiers": { "gates": ["x"] } } }),
    );
    check_stage(
        "spec.stages[active].gates.during: a flip has no steps between which a gate could be measured: use before or after, or shift.steps",
        json!({ "shift": {}, "gates": { "during": ["errors"] } }),
    );
    check_stage(
        "spec.stages[active].gates.for: is set, but after names no gate: name one there, or take it out",
        json!({ "gates": { "for": "10m" } }),
    );
    check_stage(
        "spec.stages[active].gates.pods.oomKills: -1 is negative: use 0 or more",
        json!({ "gates": { "pods": { "oomKills": -1 } } }),
    );
    check("spec.stages[active].gates.before: there is no gate `smoke`: add it to spec.gates", |spec| {
        spec["stages"][1]["gates"] = json!({ "before": ["smoke"] });
    });
}

#[test]
fn steps() {
    check_steps("spec.stages[active].shift.steps[0]: is empty: set one of pods, percent, pause and gate", json!([{}]));
    check_steps(
        "spec.stages[active].shift.steps[0]: pods and pause are set: make a step of each",
        json!([{ "pods": 1, "pause": {} }]),
    );
    check_steps("spec.stages[active].shift.steps[0].pods: 0 is too few: use 1 or more pods", json!([{ "pods": 0 }]));
    check_steps(
        "spec.stages[active].shift.steps[1].percent: 101 is out of range: use 1 to 100",
        json!([{ "percent": 1 }, { "percent": 101 }]),
    );
    check_steps(
        "spec.stages[active].shift.steps[2].percent: 20 is less than the 50 of an earlier step: a shift only moves forward",
        json!([{ "percent": 50 }, { "pods": 1 }, { "percent": 20 }]),
    );
    check_steps(
        "spec.stages[active].shift.steps[1].gate: there is no gate `x`: add it to spec.gates, or use one of errors, latency",
        json!([{ "pods": 1 }, { "gate": "x" }]),
    );
    check_stage(
        "spec.stages[active].shift: rolling and steps are set: set one of them",
        json!({ "shift": { "rolling": { "every": "1s" }, "steps": [{ "pods": 1 }] } }),
    );
}

#[test]
fn what_users_let_pass() {
    let color = "is no DNS label: use 1 to 63 lower case letters, digits and `-`, beginning and ending with a letter or a digit";
    check(&format!("spec.passedSteps[active,1].color: `V2` {color}"), |spec| {
        spec["passedSteps"] = json!([{ "stage": "active", "step": 1, "color": "V2", "shift": "then" }]);
        spec["stages"][1]["shift"] = json!({ "steps": [{ "pause": {} }] });
    });
    check("spec.skippedGates[active,errors].reason: is empty: write why the gate is skipped", |spec| {
        spec["skippedGates"] = json!([{ "stage": "active", "gate": "errors", "color": "v2", "reason": "" }]);
    });
}

/// A wrong gate harms the stages that name it, and nothing else.
#[test]
fn a_wrong_gate_harms_the_stages_that_name_it() {
    let parts = |change: fn(&mut Value)| -> Vec<SpecPart> {
        let mut spec = sample();
        spec["gates"] = json!([with(gate("errors"), json!({ "count": 0 }))]);
        change(&mut spec);
        let (read, mut found) = crate::read_spec(&spec);
        found.extend(validate(&read));
        found.into_iter().map(|error| error.part).collect()
    };
    let stage = |name: &str| SpecPart::Stage(name.into());
    assert_eq!(parts(|_| {}), [SpecPart::Gates]);
    let both = |spec: &mut Value| {
        spec["stages"][0]["gates"] = json!({ "after": ["errors"] });
        spec["stages"][1]["gates"] = json!({ "during": ["errors"] });
    };
    assert_eq!(parts(both), [stage("smoke"), stage("active")]);
    // The same holds where a field cannot be read.
    assert_eq!(
        parts(|spec| spec["gates"] = json!([with(gate("errors"), json!({ "interval": "soon" }))])),
        [SpecPart::Gates]
    );
    let unread = |spec: &mut Value| {
        spec["gates"] = json!([with(gate("errors"), json!({ "interval": "soon" }))]);
        spec["stages"][1]["gates"] = json!({ "during": ["errors"] });
    };
    assert_eq!(parts(unread), [stage("active")]);
    let none = |spec: &mut Value| {
        spec["gates"] = json!("none");
        spec["stages"][1]["gates"] = json!({ "during": ["errors"] });
    };
    assert_eq!(parts(none), [SpecPart::Gates, stage("active")]);
}
