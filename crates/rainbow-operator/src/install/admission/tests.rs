//! Expressions of the policies, evaluated as an API server does. The suite on a real cluster tests that an API server accepts them.

use std::sync::Arc;

use cel::{Context, Env, Program};
use rainbow_api::{RainbowSpec, object_names};

use super::*;

/// Returns a policy's answer to a write. `None`: it admits.
fn refusal(policy: &Value, object: &Value, before: Option<&Value>, beside: &[Value]) -> Option<String> {
    beside.iter().find_map(|params| judge(policy, object, before, params))
}

fn judge(policy: &Value, object: &Value, before: Option<&Value>, params: &Value) -> Option<String> {
    let operation = if before.is_some() { "UPDATE" } else { "CREATE" };
    judge_request(policy, object, before, params, &json!({ "operation": operation }))
}

fn judge_request(
    policy: &Value,
    object: &Value,
    before: Option<&Value>,
    params: &Value,
    request: &Value,
) -> Option<String> {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).unwrap();
    let mut context = Context::with_env(Arc::new(env));
    for (name, value) in
        [("object", object), ("oldObject", before.unwrap_or(&Value::Null)), ("params", params), ("request", request)]
    {
        context.add_variable(name, value).unwrap();
    }
    let of = |context: &Context<'_, '_>, expression: &Value| {
        let text = expression.as_str().unwrap();
        let value = Program::compile(text).unwrap().execute(context);
        value.unwrap_or_else(|error| panic!("{text}: {error}")).json().unwrap()
    };
    let spec = &policy["spec"];
    for condition in spec["matchConditions"].as_array().unwrap() {
        if of(&context, &condition["expression"]) == json!(false) {
            return None;
        }
    }
    let mut variables = json!({});
    for variable in spec["variables"].as_array().unwrap() {
        context.add_variable("variables", &variables).unwrap();
        variables[variable["name"].as_str().unwrap()] = of(&context, &variable["expression"]);
    }
    context.add_variable("variables", &variables).unwrap();
    let validation = &spec["validations"][0];
    (of(&context, &validation["expression"]) == json!(false))
        .then(|| of(&context, &validation["messageExpression"]).as_str().unwrap().to_owned())
}

fn rainbow(name: &str, spec: &Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": spec })
}

fn tier(name: &str, image: &str) -> Value {
    json!({ "name": name, "replicas": 2, "template": { "spec": { "containers": [{ "name": name, "image": image }] } } })
}

fn web(color: &str, image: &str) -> Value {
    json!({ "color": color, "tiers": [tier("web", image)], "stages": [{ "name": "active" }] })
}

fn color(rainbow: &str, color: &str, tiers: &Value) -> Value {
    json!({ "metadata": { "name": format!("{rainbow}-{color}") }, "spec": { "rainbow": rainbow, "color": color, "tiers": tiers } })
}

#[test]
fn a_color_keeps_its_tiers() {
    let v1 = rainbow("shop", &web("v1", "web:1"));
    let colors = [color("other", "v1", &json!([tier("web", "web:9")])), color("shop", "v1", &v1["spec"]["tiers"])];
    let refused = |object: &Value, before: Option<&Value>| refusal(&on_color_names(), object, before, &colors);
    let other = rainbow("shop", &web("v1", "web:2"));
    let sentence = Some("spec.color: color `v1` exists with other tiers: give the color a new name".to_owned());
    assert_eq!(refused(&other, Some(&v1)), sentence);
    assert_eq!(refused(&other, None), sentence, "a Rainbow that was deleted leaves its colors");
    let v2 = rainbow("shop", &web("v2", "web:2"));
    assert_eq!(refused(&other, Some(&v2)), sentence, "the name of an earlier color");
    assert_eq!(refused(&v2, Some(&v1)), None);
    assert_eq!(refused(&v1, Some(&v2)), None, "the way back");
    let mut more = v1.clone();
    more["spec"]["tiers"].as_array_mut().unwrap().push(tier("db", "db:1"));
    assert_eq!(refused(&more, Some(&v1)), sentence, "a tier more");
    let mut larger = v1.clone();
    larger["spec"]["tiers"][0]["replicas"] = json!(5);
    assert_eq!(refused(&larger, Some(&v1)), None, "a size is no part of a color");
    let mut hold = other.clone();
    hold["spec"]["holds"] = json!([{ "stage": "active", "color": "v1" }]);
    assert_eq!(refused(&hold, Some(&other)), None, "what is wrong already can be mended step by step");
    let mut ends = colors.clone();
    ends[1]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(refusal(&on_color_names(), &other, Some(&v1), &ends), None, "it makes room");
    let mut unnamed = other;
    unnamed["spec"].as_object_mut().unwrap().remove("color");
    assert_eq!(refused(&unnamed, Some(&v1)), None);
}

#[test]
fn siblings_have_names_of_their_own() {
    let shop = rainbow("shop", &web("v1", "web:1"));
    let refused = |object: &Value, before: Option<&Value>| {
        refusal(&on_object_names(), object, before, std::slice::from_ref(&shop))
    };
    assert_eq!(refused(&shop, None), None, "itself");
    let other = rainbow("other", &web("v1", "web:1"));
    let sentence = "needs the names of rainbow `shop` in the same namespace: web-active, web-v1: \
        set spec.namePrefix, such as `other-`, or give the color, the tier or the stage another name";
    assert_eq!(refused(&other, None).as_deref(), Some(sentence));
    let mut prefixed = other.clone();
    prefixed["spec"]["namePrefix"] = json!("other-");
    assert_eq!(refused(&prefixed, None), None);
    let mut explicit = prefixed.clone();
    explicit["spec"]["stages"][0]["service"] = json!({ "name": "web-v1" });
    assert!(refused(&explicit, Some(&prefixed)).unwrap().contains("web-v1"), "the name of an instance");
    assert_eq!(refused(&other, Some(&other)), None, "a conflict that is there already does not stop other changes");
}

/// A policy with other names than the operator's would refuse what works.
#[test]
fn names_are_those_that_the_operator_gives() {
    let specs = [
        web("v1", "web:1"),
        json!({ "color": "v2", "namePrefix": "a-", "tiers": [tier("web", "w"), tier("db", "d")], "stages": [{ "name": "live", "tier": "db" }] }),
        json!({
            "tiers": [{ "name": "web", "template": {}, "needs": [{ "tier": "db" }] }, { "name": "db", "template": {} }],
            "stages": [{ "name": "live" }, { "name": "try", "service": { "name": "trial" } }, { "name": "inner", "tier": "db" }],
        }),
        json!({ "tiers": [tier("a", "a"), tier("b", "b")], "stages": [{ "name": "unclear" }] }),
        json!({ "color": "v1", "tiers": [tier("a", "a")] }),
    ];
    for spec in specs {
        let mut context = Context::default();
        context.add_variable("object", rainbow("shop", &spec)).unwrap();
        let names = |expression: String| -> Vec<String> {
            let value = Program::compile(&expression).unwrap().execute(&context).unwrap().json().unwrap();
            serde_json::from_value(value).unwrap()
        };
        let typed: RainbowSpec = serde_json::from_value(spec.clone()).unwrap();
        let known = object_names("shop", &typed);
        let has = |kind: &str, name: &String| known.iter().any(|object| object.kind == kind && object.name == *name);
        let (services, deployments) = (names(services("object")), names(deployments("object")));
        assert!(services.iter().all(|name| has("Service", name)), "{services:?} {known:?}");
        assert!(deployments.iter().all(|name| has("Deployment", name)), "{deployments:?} {known:?}");
        let clear =
            spec["stages"].as_array().map_or(0, |stages| stages.iter().filter(|s| s["name"] != "unclear").count());
        assert_eq!(services.len(), clear, "{services:?}");
        let named = if spec["color"].is_null() { 0 } else { typed.tiers.len() };
        assert_eq!(deployments.len(), named, "{deployments:?}");
    }
}

/// Only Rainbow changes the target of the address of a tier.
#[test]
fn addresses_of_tiers_are_moved_by_rainbow() {
    let service = |stage: &str, color: &str| {
        json!({
            "metadata": { "name": "backend-active", "labels": { "rainbow.dev/stage": stage } },
            "spec": { "selector": { "rainbow.dev/color": color } },
        })
    };
    let judged = |manager: &str, (before, after): (&Value, &Value)| {
        let request = json!({ "operation": "UPDATE", "options": { "fieldManager": manager } });
        judge_request(&on_tier_addresses(), after, Some(before), &Value::Null, &request)
    };
    let (v1, v2) = (service("active.backend", "v1"), service("active.backend", "v2"));
    let sentence = "spec.selector: Rainbow moves Service `backend-active`, so that no pod reaches a tier that is older \
        than itself: use `rainbow promote` or `rainbow rollback`";
    assert_eq!(judged("kubectl-edit", (&v2, &v1)).as_deref(), Some(sentence));
    assert_eq!(judged("rainbow", (&v2, &v1)), None);
    let mut labelled = v1.clone();
    labelled["metadata"]["labels"]["team"] = json!("x");
    assert_eq!(judged("kubectl-edit", (&v1, &labelled)), None);
    assert_eq!(judged("kubectl-edit", (&service("active", "v2"), &service("active", "v1"))), None, "that of a stage");
}

/// No user approves in the name of another.
#[test]
fn an_approval_names_its_writer() {
    let judged = |by: &str, user: &str| {
        let approval =
            json!({ "metadata": { "generateName": "shop-" }, "spec": { "rainbow": "shop", "color": "v2", "by": by } });
        let request = json!({ "operation": "CREATE", "userInfo": { "username": user } });
        judge_request(&on_approvers(), &approval, None, &Value::Null, &request)
    };
    assert_eq!(judged("ann", "ann"), None);
    let account = "system:serviceaccount:shop:ci";
    assert_eq!(judged(account, account), None);
    let sentence = "spec.by: an approval names the user who writes it: write `bob`";
    assert_eq!(judged("ann", "bob").as_deref(), Some(sentence));
    assert_eq!(judged("", "bob").as_deref(), Some(sentence));
    assert_eq!(on_approvers()["spec"]["failurePolicy"], "Fail", "no approval passes unchecked");
}
