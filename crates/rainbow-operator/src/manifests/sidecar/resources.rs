//! Requests and limits of the counter where no setting gives them: small, and such that no quota and no limit range refuses a pod because
//! of the counter when its own containers pass.

use rainbow_api::amount;
use serde_json::{Map, Value, json};

/// Resources that quotas and limit ranges require of each container.
const RESOURCES: [&str; 2] = ["cpu", "memory"];
const CPU: &str = "1m";
const CPU_LIMIT: &str = "50m";
/// CPU of the counter in a pod whose containers request everything that they may use. An estimate; it was not measured.
const CPU_GUARANTEED: &str = "20m";
const MEMORY: &str = "4Mi";
const MEMORY_LIMIT: &str = "16Mi";

/// Returns requests and limits for the pods of a template. They follow the template's own containers:
///
/// - The counter has a CPU limit, which a quota on `limits.cpu` requires of every container, if all of them have one.
/// - Its requests equal its limits if theirs do, so that the pod keeps the quality of service `Guaranteed`.
/// - Where the template gives a resource to the whole pod (`spec.resources`), the counter uses the pod's share.
pub(super) fn of_template(template: &Value) -> Value {
    let containers = containers(template);
    let is_guaranteed = RESOURCES.iter().all(|resource| {
        containers.iter().all(|container| {
            let of = |kind: &str| amount(&container["resources"][kind][*resource]);
            of("limits").is_some() && (of("requests").is_none() || of("requests") == of("limits"))
        })
    });
    let has_limit = |container: &&Value| !container["resources"]["limits"]["cpu"].is_null();
    let mut resources = if is_guaranteed {
        let all = json!({ "cpu": CPU_GUARANTEED, "memory": MEMORY_LIMIT });
        json!({ "requests": all, "limits": all })
    } else if containers.iter().all(has_limit) {
        json!({ "requests": { "cpu": CPU, "memory": MEMORY }, "limits": { "cpu": CPU_LIMIT, "memory": MEMORY_LIMIT } })
    } else {
        json!({ "requests": { "cpu": CPU, "memory": MEMORY }, "limits": { "memory": MEMORY_LIMIT } })
    };
    for resource in RESOURCES {
        let of_pod = |kind: &str| !template["spec"]["resources"][kind][resource].is_null();
        if of_pod("requests") || of_pod("limits") {
            for amounts in ["requests", "limits"] {
                if let Some(amounts) = resources[amounts].as_object_mut() {
                    amounts.remove(resource);
                }
            }
        }
    }
    resources
}

fn containers(template: &Value) -> Vec<&Value> {
    let lists = ["containers", "initContainers"].into_iter();
    lists.filter_map(|list| template["spec"][list].as_array()).flatten().collect()
}

/// Changes requests and limits to what the `limits` of a namespace's limit ranges allow: each container between minimum and maximum, and
/// limits at most a given multiple of the requests. A resource without a request stays as it is.
pub(crate) fn fit(resources: &mut Value, limits: &[Value]) {
    for resource in RESOURCES {
        let Some(request) = amount(&resources["requests"][resource]) else { continue };
        let fitted = fit_one(resource, request, amount(&resources["limits"][resource]), limits);
        for (kind, before, after) in
            [("requests", Some(request), Some(fitted.0)), ("limits", amount(&resources["limits"][resource]), fitted.1)]
        {
            if let Some(after) = after.filter(|after| before != Some(*after)) {
                if !resources[kind].is_object() {
                    resources[kind] = Value::Object(Map::new());
                }
                resources[kind][resource] = json!(written(resource, after));
            }
        }
    }
}

fn fit_one(resource: &str, request: f64, limit: Option<f64>, limits: &[Value]) -> (f64, Option<f64>) {
    let of = |kind: &'static str, field: &'static str| {
        let items = limits.iter().filter(move |item| item["type"] == kind);
        items.filter_map(move |item| amount(&item[field][resource]))
    };
    let most = |all: &mut dyn Iterator<Item = f64>| all.reduce(f64::max);
    let least = |all: &mut dyn Iterator<Item = f64>| all.reduce(f64::min);
    let min = most(&mut of("Container", "min")).unwrap_or(0.0);
    let max = least(&mut of("Container", "max"));
    // If each container keeps the ratio, the sum of all keeps it as well.
    let ratio = least(&mut of("Container", "maxLimitRequestRatio").chain(of("Pod", "maxLimitRequestRatio")));
    let asks_for_limit =
        max.is_some() || ratio.is_some() || of("Container", "default").chain(of("Pod", "max")).next().is_some();
    let usual = if resource == "cpu" { CPU_LIMIT } else { MEMORY_LIMIT };
    let limit = limit.or_else(|| amount(&json!(usual)).filter(|_| asks_for_limit));
    let limit = limit.map(|limit| limit.max(min).min(max.unwrap_or(f64::INFINITY)));
    let by_ratio = limit.zip(ratio).map_or(0.0, |(limit, ratio)| if ratio >= 1.0 { limit / ratio } else { limit });
    let request = request.max(min).max(by_ratio);
    (limit.map_or(request, |limit| request.min(limit)), limit)
}

/// Returns an amount as Kubernetes writes it, rounded up.
fn written(resource: &str, amount: f64) -> String {
    /// Amount below which a difference is an error of the arithmetic.
    const NOISE: f64 = 1e-6;
    const MEBI: f64 = 1_048_576.0;
    match resource {
        "cpu" => format!("{}m", (amount * 1000.0 - NOISE).ceil()),
        _ if amount % MEBI == 0.0 => format!("{}Mi", amount / MEBI),
        _ => format!("{}", (amount - NOISE).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(containers: Value) -> Value {
        json!({ "spec": { "containers": containers } })
    }

    #[test]
    fn they_follow_the_template() {
        let default = json!({ "requests": { "cpu": "1m", "memory": "4Mi" }, "limits": { "memory": "16Mi" } });
        let limited =
            json!({ "requests": { "cpu": "1m", "memory": "4Mi" }, "limits": { "cpu": "50m", "memory": "16Mi" } });
        let guaranteed =
            json!({ "requests": { "cpu": "20m", "memory": "16Mi" }, "limits": { "cpu": "20m", "memory": "16Mi" } });
        let with = |resources: Value| json!({ "name": "a", "resources": resources });
        let cpu = || with(json!({ "limits": { "cpu": "1" } }));
        let equal = || {
            with(json!({ "requests": { "cpu": 1, "memory": "1Gi" }, "limits": { "cpu": "1000m", "memory": "1024Mi" } }))
        };
        for (containers, expected) in [
            (json!([{ "name": "a" }]), &default),
            (json!([{ "name": "a", "resources": null }]), &default),
            (json!([cpu()]), &limited),
            (json!([cpu(), { "name": "b" }]), &default),
            (json!([equal()]), &guaranteed),
            (json!([with(json!({ "limits": { "cpu": "1", "memory": "1Gi" } }))]), &guaranteed),
            (json!([equal(), cpu()]), &limited),
        ] {
            assert_eq!(of_template(&template(containers.clone())), *expected, "{containers}");
        }
        let mut of_pod = template(json!([cpu()]));
        of_pod["spec"]["resources"] = json!({ "limits": { "cpu": "2" } });
        assert_eq!(of_template(&of_pod), json!({ "requests": { "memory": "4Mi" }, "limits": { "memory": "16Mi" } }));
    }

    #[test]
    fn they_fit_limit_ranges() {
        let check = |limits: Value, requests: (&str, &str), expected: (&str, &str)| {
            let mut resources = of_template(&template(json!([{ "name": "a" }])));
            fit(&mut resources, limits.as_array().unwrap());
            let of = |kind: &str, resource: &str| resources[kind][resource].as_str().unwrap_or("-").to_owned();
            assert_eq!((of("requests", "cpu").as_str(), of("requests", "memory").as_str()), requests, "{limits}");
            assert_eq!((of("limits", "cpu").as_str(), of("limits", "memory").as_str()), expected, "{limits}");
        };
        check(json!([]), ("1m", "4Mi"), ("-", "16Mi"));
        let of = |kind: &str, field: &str, amounts: Value| json!([{ "type": kind, field: amounts }]);
        let (cpu, memory) = (|amount: &str| json!({ "cpu": amount }), |amount: &str| json!({ "memory": amount }));
        check(of("Container", "min", cpu("10m")), ("10m", "4Mi"), ("-", "16Mi"));
        check(of("Container", "min", memory("32Mi")), ("1m", "32Mi"), ("-", "32Mi"));
        check(of("Container", "max", json!({ "cpu": "20m", "memory": "10M" })), ("1m", "4Mi"), ("20m", "10000000"));
        check(of("Container", "default", cpu("500m")), ("1m", "4Mi"), ("50m", "16Mi"));
        check(of("Container", "maxLimitRequestRatio", cpu("4")), ("13m", "4Mi"), ("50m", "16Mi"));
        check(of("Container", "maxLimitRequestRatio", memory("2")), ("1m", "8Mi"), ("-", "16Mi"));
        check(of("Pod", "maxLimitRequestRatio", memory("1")), ("1m", "16Mi"), ("-", "16Mi"));
        check(of("Pod", "max", cpu("2")), ("1m", "4Mi"), ("50m", "16Mi"));
        check(of("Pod", "min", cpu("2")), ("1m", "4Mi"), ("-", "16Mi"));
        check(of("PersistentVolumeClaim", "max", memory("1")), ("1m", "4Mi"), ("-", "16Mi"));
        let two = json!([
            { "type": "Container", "min": { "cpu": "100m" }, "max": { "cpu": "1" }, "maxLimitRequestRatio": { "cpu": 1 } },
            { "type": "Container", "min": { "cpu": "200m" } },
        ]);
        check(two, ("200m", "4Mi"), ("200m", "16Mi"));
        // Nothing is added to resources that the pod has as a whole.
        let mut none = json!({ "requests": {}, "limits": {} });
        fit(&mut none, of("Container", "min", cpu("10m")).as_array().unwrap());
        assert_eq!(none, json!({ "requests": {}, "limits": {} }));
    }
}
