//! Admission: limits, Pod Security and quotas of a namespace, in process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota, Service};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use pocket_api::Options;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn client() -> Client {
    pocket_api::Api::new(Options::default()).unwrap().client("default")
}

/// Returns code, body and warnings of a request.
async fn send(client: &Client, method: Method, path: &str, body: &Value) -> (StatusCode, Value, Vec<String>) {
    let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    let response = client.send(request.body(body.to_string().into_bytes().into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let warnings = parts.headers.get_all("warning").iter().map(|value| {
        let text = value.to_str().unwrap();
        text.strip_prefix("299 - \"").and_then(|text| text.strip_suffix('"')).unwrap().replace("\\\"", "\"")
    });
    let warnings = warnings.collect();
    let bytes = body.collect_bytes().await.unwrap();
    (parts.status, serde_json::from_slice(&bytes).unwrap(), warnings)
}

async fn label(client: &Client, labels: Value) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let labels: Value = labels
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), value.clone()))
        .collect();
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
    namespaces.patch("default", &PatchParams::default(), &patch).await.unwrap();
}

fn pod(name: &str, container: Value) -> Value {
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    for (field, value) in container.as_object().unwrap() {
        pod["spec"]["containers"][0][field] = value.clone();
    }
    pod
}

fn deployment(container: Value) -> Value {
    let spec = pod("x", container)["spec"].clone();
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": {
        "selector": { "matchLabels": { "app": "d" } },
        "template": { "metadata": { "labels": { "app": "d" } }, "spec": spec } } })
}

const RESTRICTED: &str = "\"restricted:latest\": \
    allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
    unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
    runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
    seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

#[tokio::test(start_paused = true)]
async fn pod_security_refuses_pods_and_warns_of_templates() {
    let client = client();
    label(&client, json!({ "enforce": "restricted" })).await;
    let (code, status, warnings) = send(&client, Method::POST, PODS, &pod("x", json!({}))).await;
    assert_eq!((code, status["reason"].as_str()), (StatusCode::FORBIDDEN, Some("Forbidden")));
    assert_eq!(status["message"], format!("pods \"x\" is forbidden: violates PodSecurity {RESTRICTED}"));
    assert_eq!(status["details"], json!({ "name": "x", "kind": "pods" }));
    assert!(warnings.is_empty());

    let (code, _, warnings) = send(&client, Method::POST, DEPLOYMENTS, &deployment(json!({}))).await;
    assert_eq!(code, StatusCode::CREATED);
    assert_eq!(warnings, [format!("would violate PodSecurity {RESTRICTED}")]);

    let context = json!({ "securityContext": { "allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" } } });
    let (code, _, warnings) = send(&client, Method::POST, PODS, &pod("x", context)).await;
    assert_eq!((code, warnings.len()), (StatusCode::CREATED, 0));
    // Labels can be changed although the level has become stricter than the pod.
    label(&client, json!({ "enforce": "privileged" })).await;
    send(&client, Method::POST, PODS, &pod("loose", json!({}))).await;
    label(&client, json!({ "enforce": "restricted" })).await;
    let patch = json!({ "metadata": { "labels": { "a": "b" } } });
    let (code, ..) = send(&client, Method::PATCH, &format!("{PODS}/loose"), &patch).await;
    assert_eq!(code, StatusCode::OK);
    let patch = json!({ "spec": { "containers": [{ "name": "c", "image": "other" }] } });
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{PODS}/loose"))
        .header("content-type", "application/strategic-merge-patch+json");
    let response = client.send(request.body(patch.to_string().into_bytes().into()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN, "another image is another pod");
}

#[tokio::test(start_paused = true)]
async fn pod_security_warns_where_it_is_asked_to() {
    let client = client();
    label(&client, json!({ "enforce": "baseline", "warn": "restricted" })).await;
    let (code, _, warnings) = send(&client, Method::POST, PODS, &pod("x", json!({}))).await;
    assert_eq!((code, warnings), (StatusCode::CREATED, vec![format!("would violate PodSecurity {RESTRICTED}")]));
    let privileged = json!({ "securityContext": { "privileged": true } });
    let (code, status, warnings) = send(&client, Method::POST, PODS, &pod("y", privileged)).await;
    assert_eq!((code, warnings.len()), (StatusCode::FORBIDDEN, 0));
    assert_eq!(
        status["message"],
        "pods \"y\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_may_choose_an_older_version_of_the_standards() {
    let client = client();
    label(&client, json!({ "enforce": "restricted", "enforce-version": "v1.21", "audit": "restricted" })).await;
    let (code, status, warnings) = send(&client, Method::POST, PODS, &pod("x", json!({}))).await;
    assert_eq!((code, warnings.len()), (StatusCode::FORBIDDEN, 0));
    let capabilities =
        "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), ";
    let since_1_22 = RESTRICTED.replace("latest", "v1.21").replace(capabilities, "");
    assert_eq!(status["message"], format!("pods \"x\" is forbidden: violates PodSecurity {since_1_22}"));
    let wrong = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/warn-version": "1.21" } } });
    let (code, status, _) = send(&client, Method::PATCH, "/api/v1/namespaces/default", &wrong).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
}

#[tokio::test(start_paused = true)]
async fn labels_of_a_namespace_are_checked() {
    let client = client();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n",
        "labels": { "pod-security.kubernetes.io/enforce": "strict" } } });
    let (code, status, _) = send(&client, Method::POST, "/api/v1/namespaces", &namespace).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        status["message"],
        "Namespace \"n\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted"
    );
    for name in ["a", "b"] {
        send(&client, Method::POST, PODS, &pod(name, json!({}))).await;
    }
    let stricter = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let (code, _, warnings) = send(&client, Method::PATCH, "/api/v1/namespaces/default", &stricter).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        warnings,
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\"",
            "a (and 1 other pod): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn limit_ranges_complete_and_bound_pods() {
    let client = client();
    let range = json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "l" }, "spec": { "limits": [
        { "type": "Container", "default": { "memory": "128Mi" }, "max": { "memory": "1Gi" } }] } });
    let (_, made, _) = send(&client, Method::POST, "/api/v1/namespaces/default/limitranges", &range).await;
    assert_eq!(made["spec"]["limits"][0]["defaultRequest"], json!({ "memory": "128Mi" }));
    let (_, made, _) = send(&client, Method::POST, PODS, &pod("x", json!({}))).await;
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({ "limits": { "memory": "128Mi" }, "requests": { "memory": "128Mi" } })
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container c; memory limit for container c"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable", "the class follows from what the limits have added");
    // Fields that the server adds belong to no manager.
    let owned = made["metadata"]["managedFields"].to_string();
    assert!(owned.contains("f:image") && !owned.contains("f:memory"), "{owned}");
    let greedy = json!({ "resources": { "limits": { "memory": "2Gi" } } });
    let (code, status, _) = send(&client, Method::POST, PODS, &pod("y", greedy)).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        status["message"],
        "pods \"y\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi"
    );
}

#[tokio::test(start_paused = true)]
async fn all_that_a_limit_range_does_not_allow_is_named() {
    let client = client();
    let range = json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "l" }, "spec": { "limits": [
        { "type": "Container", "min": { "cpu": "100m" }, "maxLimitRequestRatio": { "memory": "2" } },
        { "type": "Pod", "max": { "cpu": "1" } }] } });
    send(&client, Method::POST, "/api/v1/namespaces/default/limitranges", &range).await;
    let resources = json!({ "resources": { "requests": { "cpu": "50m", "memory": "1Gi" },
        "limits": { "cpu": "2", "memory": "3Gi" } } });
    let (code, status, _) = send(&client, Method::POST, PODS, &pod("x", resources)).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        status["message"],
        "pods \"x\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, \
         memory max limit to request ratio per Container is 2, but provided ratio is 3.000000, \
         maximum cpu usage per Pod is 1, but limit is 2]"
    );
    let (code, ..) = send(&client, Method::POST, DEPLOYMENTS, &deployment(json!({}))).await;
    assert_eq!(code, StatusCode::CREATED, "limits are about pods, not about what makes them");
}

async fn quota(client: &Client, hard: Value, used: Value) -> Api<ResourceQuota> {
    let quotas: Api<ResourceQuota> = Api::default_namespaced(client.clone());
    let quota = json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let status = Patch::Merge(json!({ "status": { "hard": hard, "used": used } }));
    quotas.patch_status("q", &PatchParams::default(), &status).await.unwrap();
    quotas
}

async fn used(quotas: &Api<ResourceQuota>) -> Value {
    serde_json::to_value(quotas.get("q").await.unwrap().status.unwrap().used).unwrap()
}

#[tokio::test(start_paused = true)]
async fn quotas_are_charged_at_once_and_refuse_what_is_too_much() {
    let client = client();
    let zero = json!({ "pods": "0", "count/deployments.apps": "0" });
    let quotas = quota(&client, json!({ "pods": "2", "count/deployments.apps": "1" }), zero).await;
    for name in ["a", "b"] {
        let (code, ..) = send(&client, Method::POST, PODS, &pod(name, json!({}))).await;
        assert_eq!(code, StatusCode::CREATED);
    }
    assert_eq!(used(&quotas).await, json!({ "pods": "2", "count/deployments.apps": "0" }));
    let (code, status, _) = send(&client, Method::POST, PODS, &pod("c", json!({}))).await;
    assert_eq!((code, status["reason"].as_str()), (StatusCode::FORBIDDEN, Some("Forbidden")));
    assert_eq!(
        status["message"],
        "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    // A dry run is checked, but not charged; an invalid object is not charged, either.
    let path = format!("{DEPLOYMENTS}?dryRun=All");
    let (code, ..) = send(&client, Method::POST, &path, &deployment(json!({}))).await;
    assert_eq!(code, StatusCode::CREATED);
    let mut invalid = deployment(json!({}));
    invalid["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let (code, ..) = send(&client, Method::POST, DEPLOYMENTS, &invalid).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(used(&quotas).await["count/deployments.apps"], "0");
    send(&client, Method::POST, DEPLOYMENTS, &deployment(json!({}))).await;
    assert_eq!(used(&quotas).await["count/deployments.apps"], "1");
}

#[tokio::test(start_paused = true)]
async fn quotas_of_computing_need_every_container_to_say_what_it_takes() {
    let client = client();
    quota(&client, json!({ "limits.cpu": "1" }), json!({ "limits.cpu": "500m" })).await;
    let (_, status, _) = send(&client, Method::POST, PODS, &pod("x", json!({}))).await;
    assert_eq!(status["message"], "pods \"x\" is forbidden: failed quota: q: must specify limits.cpu for: c");
    let big = json!({ "resources": { "limits": { "cpu": "600m" } } });
    let (_, status, _) = send(&client, Method::POST, PODS, &pod("x", big)).await;
    assert_eq!(
        status["message"],
        "pods \"x\" is forbidden: exceeded quota: q, requested: limits.cpu=600m, used: limits.cpu=500m, limited: limits.cpu=1"
    );
}

#[tokio::test(start_paused = true)]
async fn quotas_see_a_service_become_a_load_balancer() {
    let client = client();
    let zero = json!({ "services.loadbalancers": "0", "services.nodeports": "0" });
    let quotas = quota(&client, json!({ "services.loadbalancers": "0", "services.nodeports": "5" }), zero).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } });
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let become_ = |kind: &str| Patch::Merge(json!({ "spec": { "type": kind } }));
    services.patch("s", &PatchParams::default(), &become_("NodePort")).await.unwrap();
    assert_eq!(used(&quotas).await["services.nodeports"], "1");
    let refused = services.patch("s", &PatchParams::default(), &become_("LoadBalancer")).await.unwrap_err().to_string();
    let wanted = "services \"s\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0";
    assert!(refused.contains(wanted), "{refused}");
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = serde_json::from_value(pod("free", json!({}))).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn quotas_with_scopes_count_the_pods_in_them() {
    let client = client();
    let quotas: Api<ResourceQuota> = Api::default_namespaced(client.clone());
    let hard = json!({ "pods": "1", "requests.cpu": "1" });
    let scoped = json!({ "metadata": { "name": "q" }, "spec": { "hard": hard, "scopes": ["NotBestEffort"] } });
    quotas.create(&PostParams::default(), &serde_json::from_value(scoped).unwrap()).await.unwrap();
    let status = json!({ "status": { "hard": hard, "used": { "pods": "0", "requests.cpu": "0" } } });
    quotas.patch_status("q", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let asks = |cpu: &str| json!({ "resources": { "requests": { "cpu": cpu } } });
    let codes = async |name: &str, container: Value| send(&client, Method::POST, PODS, &pod(name, container)).await;
    assert_eq!(codes("best-effort", json!({})).await.0, StatusCode::CREATED);
    assert_eq!(codes("burstable", asks("300m")).await.0, StatusCode::CREATED);
    assert_eq!(used(&quotas).await, json!({ "pods": "1", "requests.cpu": "300m" }));
    let (code, status, _) = codes("more", asks("800m")).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        status["message"],
        "pods \"more\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=800m, \
         used: pods=1,requests.cpu=300m, limited: pods=1,requests.cpu=1"
    );
}
