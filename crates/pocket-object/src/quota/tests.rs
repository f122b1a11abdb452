use super::*;

fn now() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn pod(containers: Value) -> Value {
    json!({ "metadata": { "name": "p" }, "spec": { "containers": containers } })
}

fn quota(hard: Value, used: Value) -> Value {
    json!({ "metadata": { "name": "q" }, "spec": { "hard": hard }, "status": { "hard": hard, "used": used } })
}

/// Returns the usage after a new object, or the reason why it is refused.
fn create(group: &str, plural: &str, object: &Value, quota: &Value) -> Result<Value, String> {
    let request = Request { old: None, new: object, now: now() };
    let charged = charge(&Evaluator::of(group, plural), &request, std::slice::from_ref(quota))?;
    Ok(charged.first().map_or(Value::Null, |(_, used)| used.clone()))
}

#[test]
fn a_pod_takes_its_place_and_what_it_asks_for() {
    let containers = json!([{ "name": "c", "resources": { "requests": { "cpu": "250m", "memory": "64Mi" }, "limits": { "cpu": "1" } } }]);
    let hard =
        json!({ "pods": "3", "requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "2", "count/pods": "10" });
    let zero =
        json!({ "pods": "2", "requests.cpu": "500m", "requests.memory": "0", "limits.cpu": "1", "count/pods": "2" });
    assert_eq!(
        create("", "pods", &pod(containers), &quota(hard, zero)),
        Ok(
            json!({ "pods": "3", "requests.cpu": "750m", "requests.memory": "64Mi", "limits.cpu": "2", "count/pods": "3" })
        )
    );
}

#[test]
fn sentences_are_those_of_kubernetes() {
    let full = quota(json!({ "pods": "3", "services": "1" }), json!({ "pods": "3", "services": "0" }));
    assert_eq!(
        create("", "pods", &pod(json!([{ "name": "c" }])), &full),
        Err("exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3".to_owned())
    );
    let stated = quota(json!({ "limits.cpu": "1", "memory": "1Gi" }), json!({ "limits.cpu": "0", "memory": "0" }));
    assert_eq!(
        create("", "pods", &pod(json!([{ "name": "d" }, { "name": "c" }])), &stated),
        Err("failed quota: q: must specify limits.cpu for: c,d; memory for: c,d".to_owned())
    );
    let new = quota(json!({ "pods": "3" }), json!({}));
    assert_eq!(
        create("", "pods", &pod(json!([])), &new),
        Err("status unknown for quota: q, resources: pods".to_owned())
    );
    // A quota without a status is not known yet.
    let unknown = json!({ "metadata": { "name": "q" }, "spec": { "hard": { "pods": "0" } } });
    assert_eq!(create("", "pods", &pod(json!([])), &unknown), Ok(Value::Null));
}

#[test]
fn counts_of_any_kind() {
    let check = |group: &str, plural: &str, resource: &str| {
        let full = quota(json!({ resource: "1" }), json!({ resource: "1" }));
        let object = json!({ "metadata": { "name": "x" } });
        let wanted = format!("exceeded quota: q, requested: {resource}=1, used: {resource}=1, limited: {resource}=1");
        assert_eq!(create(group, plural, &object, &full), Err(wanted));
        let other = quota(json!({ "count/other": "0" }), json!({ "count/other": "0" }));
        assert_eq!(create(group, plural, &object, &other), Ok(Value::Null));
    };
    check("", "configmaps", "configmaps");
    check("", "configmaps", "count/configmaps");
    check("", "secrets", "secrets");
    check("apps", "deployments", "count/deployments.apps");
    check("rainbow.dev", "colors", "count/colors.rainbow.dev");
}

#[test]
fn services_count_what_they_open_and_a_change_counts_the_difference() {
    let service = |kind: &str, ports: usize| {
        let ports: Vec<Value> = (0..ports).map(|port| json!({ "port": port + 80 })).collect();
        json!({ "metadata": { "name": "s" }, "spec": { "type": kind, "ports": ports } })
    };
    let zero = json!({ "services": "0", "services.nodeports": "0", "services.loadbalancers": "0" });
    let hard = json!({ "services": "5", "services.nodeports": "3", "services.loadbalancers": "1" });
    let used = |kind: &str, ports| create("", "services", &service(kind, ports), &quota(hard.clone(), zero.clone()));
    let amounts = |services: &str, ports: &str, balancers: &str| {
        Ok(json!({ "services": services, "services.nodeports": ports, "services.loadbalancers": balancers }))
    };
    assert_eq!(used("ClusterIP", 2), amounts("1", "0", "0"));
    assert_eq!(used("NodePort", 2), amounts("1", "2", "0"));
    assert_eq!(used("LoadBalancer", 3), amounts("1", "3", "1"));
    assert!(used("NodePort", 4).unwrap_err().ends_with("limited: services.nodeports=3"));
    let change = |from: &Value, to: &Value, used: &Value| {
        let request = Request { old: Some(from), new: to, now: now() };
        charge(&Evaluator::Services, &request, &[quota(hard.clone(), used.clone())])
    };
    let used = json!({ "services": "1", "services.nodeports": "1", "services.loadbalancers": "0" });
    let after = change(&service("NodePort", 1), &service("NodePort", 3), &used).unwrap();
    assert_eq!(after[0].1["services.nodeports"], "3");
    assert_eq!(after[0].1["services"], "1");
    assert_eq!(change(&service("NodePort", 3), &service("ClusterIP", 1), &used), Ok(vec![]), "less is no request");
}

#[test]
fn scopes_choose_pods() {
    let in_scope = |scopes: Value, pod: &Value| {
        let mut quota = quota(json!({ "pods": "0" }), json!({ "pods": "0" }));
        quota["spec"]["scopes"] = scopes;
        create("", "pods", pod, &quota).is_err()
    };
    let plain = pod(json!([{ "name": "c" }]));
    let burst = pod(json!([{ "name": "c", "resources": { "requests": { "cpu": "1" } } }]));
    let mut ending = plain.clone();
    ending["spec"]["activeDeadlineSeconds"] = json!(5);
    assert!(in_scope(json!(["BestEffort"]), &plain) && !in_scope(json!(["BestEffort"]), &burst));
    assert!(in_scope(json!(["NotBestEffort"]), &burst) && !in_scope(json!(["NotBestEffort"]), &plain));
    assert!(in_scope(json!(["Terminating"]), &ending) && !in_scope(json!(["Terminating"]), &plain));
    assert!(in_scope(json!(["NotTerminating", "BestEffort"]), &plain));
    assert!(!in_scope(json!(["NotTerminating", "BestEffort"]), &ending));
    let mut classed = quota(json!({ "pods": "0" }), json!({ "pods": "0" }));
    classed["spec"]["scopeSelector"] =
        json!({ "matchExpressions": [{ "scopeName": "PriorityClass", "operator": "In", "values": ["high"] }] });
    let mut high = plain.clone();
    high["spec"]["priorityClassName"] = json!("high");
    assert!(create("", "pods", &high, &classed).is_err());
    assert_eq!(create("", "pods", &plain, &classed), Ok(Value::Null));
}

#[test]
fn a_recount_leaves_out_pods_that_have_ended() {
    let mut done = pod(json!([{ "name": "c" }]));
    done["status"] = json!({ "phase": "Succeeded" });
    let mut stuck = pod(json!([{ "name": "c" }]));
    stuck["metadata"]["deletionTimestamp"] = json!("2025-12-31T23:00:00Z");
    stuck["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let mut ending = stuck.clone();
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let map = json!({ "metadata": { "name": "m" } });
    let (pods, maps) = (Evaluator::Pods, Evaluator::of("", "configmaps"));
    let quota = json!({ "spec": { "hard": { "pods": "5", "count/pods": 9, "configmaps": "1", "limits.cpu": "1" } } });
    let status = recount(&quota, [(&pods, &done), (&pods, &stuck), (&pods, &ending), (&maps, &map)], now());
    assert_eq!(
        status,
        json!({ "hard": { "pods": "5", "count/pods": "9", "configmaps": "1", "limits.cpu": "1" },
            "used": { "pods": "1", "count/pods": "3", "configmaps": "1", "limits.cpu": "0" } })
    );
}
