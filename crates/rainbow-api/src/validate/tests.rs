mod gates;
mod services;

use super::*;
use serde_json::{Value, json};

fn sample() -> Value {
    json!({
        "color": "v2",
        "tiers": [
            { "name": "backend", "replicas": 5, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
              "template": { "spec": { "containers": [{ "name": "backend", "image": "backend:v2" }] } } },
            { "name": "frontend", "replicas": 5, "needs": [{ "tier": "backend", "env": "BACKEND" }],
              "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
              "template": { "spec": { "containers": [{ "name": "frontend", "image": "frontend:v2" }] } } },
        ],
        "stages": [
            { "name": "smoke", "promote": "Auto", "replicas": 1 },
            { "name": "active", "shift": { "rolling": { "step": 1, "every": "30s" } }, "service": { "type": "LoadBalancer" } },
        ],
    })
}

/// Returns every error of the sample with one change.
fn errors(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut spec = sample();
    change(&mut spec);
    validate(&serde_json::from_value(spec).unwrap()).iter().map(ToString::to_string).collect()
}

/// Checks that the sample with one change gets exactly this error.
#[track_caller]
fn check(expected: &str, change: impl FnOnce(&mut Value)) {
    assert_eq!(errors(change), [expected]);
}

fn tier(name: &str) -> Value {
    json!({ "name": name, "ports": [{ "name": "http", "port": 80 }],
            "template": { "spec": { "containers": [{ "name": "main", "image": "x:1" }] } } })
}

#[test]
fn the_sample_is_fine() {
    assert_eq!(errors(|_| {}), [""; 0]);
}

#[test]
fn tiers() {
    check("spec.tiers: is empty: an application has at least one tier", |s| {
        s["tiers"] = json!([]);
        s["stages"] = json!([]);
    });
    check("spec.tiers[backend]: tier `backend` is there twice: give each its own name", |s| {
        let copy = s["tiers"][0].clone();
        s["tiers"].as_array_mut().unwrap().push(copy);
    });
    check(
        "spec.tiers[Back_end].name: `Back_end` is no DNS label: use 1 to 63 lower case letters, digits and `-`, beginning and ending with a letter or a digit",
        |s| {
            s["tiers"][0]["name"] = json!("Back_end");
            s["tiers"][1]["needs"][0]["tier"] = json!("Back_end");
        },
    );
    check("spec.tiers[backend].replicas: -1 is negative: use 0 or more", |s| s["tiers"][0]["replicas"] = json!(-1));
}

#[test]
fn needs() {
    check("spec.tiers[frontend].needs[backend].port: tier `backend` has no port `grpc`: use one of http", |s| {
        s["tiers"][1]["needs"][0]["port"] = json!("grpc");
    });
    check("spec.tiers[frontend].needs[bakend].tier: there is no tier `bakend`: use one of backend", |s| {
        s["tiers"][1]["needs"][0]["tier"] = json!("bakend");
        s["stages"][0]["tier"] = json!("frontend");
        s["stages"][1]["tier"] = json!("frontend");
    });
    check(
        "spec.tiers[backend].ports: is empty, but tier `frontend` needs this tier: name the ports it is reached on",
        |s| {
            s["tiers"][0]["ports"] = json!([]);
        },
    );
    check("spec.tiers[frontend].needs[backend]: need `backend` is there twice: give each its own name", |s| {
        s["tiers"][1]["needs"] = json!([{ "tier": "backend" }, { "tier": "backend" }]);
    });
    check(
        "spec.tiers[frontend].needs[backend].env: `1A` is no name of an environment variable: use letters, digits, `_`, `-` and `.`, not beginning with a digit",
        |s| s["tiers"][1]["needs"][0]["env"] = json!("1A"),
    );
    check(
        "spec.tiers[frontend].needs[cache].env: `BACKEND` receives the address of `backend` already: set another env",
        |s| {
            s["tiers"].as_array_mut().unwrap().push(tier("cache"));
            s["tiers"][1]["needs"] = json!([{ "tier": "backend" }, { "tier": "cache", "env": "BACKEND" }]);
        },
    );
    check(
        "spec.tiers[frontend].needs[backend].env: container `frontend` sets `BACKEND` itself: take it out of the template, or hand the address over in another env",
        |s| s["tiers"][1]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "BACKEND", "value": "x" }]),
    );
}

#[test]
fn a_circle_is_named() {
    check("spec.tiers[a].needs: goes round in a circle: a -> b -> c -> a: take one of these needs away", |s| {
        let mut tiers: Vec<Value> = ["front", "a", "b", "c"].map(tier).into();
        for (index, need) in [(0, "a"), (1, "b"), (2, "c"), (3, "a")] {
            tiers[index]["needs"] = json!([{ "tier": need }]);
        }
        s["tiers"] = json!(tiers);
    });
    check("spec.tiers[backend].needs: goes round in a circle: backend -> backend: take one of these needs away", |s| {
        s["tiers"][0]["needs"] = json!([{ "tier": "backend", "env": "SELF" }]);
    });
}

#[test]
fn a_diamond_is_no_circle() {
    let all = errors(|s| {
        let mut tiers: Vec<Value> = ["front", "left", "right", "base"].map(tier).into();
        tiers[0]["needs"] = json!([{ "tier": "left" }, { "tier": "right" }]);
        tiers[1]["needs"] = json!([{ "tier": "base" }]);
        tiers[2]["needs"] = json!([{ "tier": "base" }]);
        s["tiers"] = json!(tiers);
    });
    assert_eq!(all, [""; 0]);
}

#[test]
fn ports() {
    check("spec.tiers[backend].ports[http].port: 0 is no port number: use 1 to 65535", |s| {
        s["tiers"][0]["ports"][0]["port"] = json!(0);
    });
    check("spec.tiers[backend].ports[http].targetPort: 70000 is no port number: use 1 to 65535", |s| {
        s["tiers"][0]["ports"][0]["targetPort"] = json!(70000);
    });
    check(
        "spec.tiers[backend].ports[http].targetPort: no container of the template declares a TCP port `web`: declare it, or use the number",
        |s| {
            s["tiers"][0]["ports"][0]["targetPort"] = json!("web");
            let udp = json!([{ "name": "web", "containerPort": 8080, "protocol": "UDP" }]);
            s["tiers"][0]["template"]["spec"]["containers"][0]["ports"] = udp;
        },
    );
    check("spec.tiers[backend].ports[http].protocol: `tcp` is not supported: use TCP, UDP or SCTP", |s| {
        s["tiers"][0]["ports"][0]["protocol"] = json!("tcp");
    });
    check("spec.tiers[backend].ports[http]: port `http` is there twice: give each its own name", |s| {
        s["tiers"][0]["ports"] = json!([{ "name": "http", "port": 80 }, { "name": "http", "port": 81 }]);
    });
    check("spec.tiers[backend].ports[b].port: TCP 80 is the port of `a` already: give each its own", |s| {
        s["tiers"][0]["ports"] = json!([{ "name": "a", "port": 80 }, { "name": "b", "port": 80 }]);
    });
    check(
        "spec.tiers[backend].ports[80].name: `80` is no port name: use 1 to 15 lower case letters, digits and `-`, with at least one letter",
        |s| s["tiers"][0]["ports"][0]["name"] = json!("80"),
    );
}

#[test]
fn templates() {
    let container = "spec.tiers[backend].template.spec.containers";
    check(&format!("{container}: is empty: a pod has at least one container"), |s| {
        s["tiers"][0]["template"] = json!({ "spec": { "containers": [] } });
    });
    check(&format!("{container}[0].image: is empty: name the image to run"), |s| {
        s["tiers"][0]["template"]["spec"]["containers"][0]["image"] = json!("");
    });
    check(
        "spec.tiers[backend].template.spec.restartPolicy: `Never` is not possible in a Deployment: use Always",
        |s| {
            s["tiers"][0]["template"]["spec"]["restartPolicy"] = json!("Never");
        },
    );
    check(
        "spec.tiers[backend].template.metadata.labels[rainbow.dev/color]: is set by Rainbow itself: take it out",
        |s| {
            s["tiers"][0]["template"]["metadata"] = json!({ "labels": { "rainbow.dev/color": "x" } });
        },
    );
    check(
        "spec.tiers[backend].template.metadata.labels[member.rainbow.dev/active]: is set by Rainbow itself: take it out",
        |s| {
            s["tiers"][0]["template"]["metadata"] = json!({ "labels": { "member.rainbow.dev/active": "yes" } });
        },
    );
    check(&format!("{container}[1].name: another container is called `backend`: give each its own name"), |s| {
        let containers = s["tiers"][0]["template"]["spec"]["containers"].as_array_mut().unwrap();
        containers.push(containers[0].clone());
    });
    check("spec.tiers[backend].template.spec.initContainers[0].image: is empty: name the image to run", |s| {
        s["tiers"][0]["template"]["spec"]["initContainers"] = json!([{ "name": "setup" }]);
    });
    check(&format!("{container}[0].image: `x:1 ` begins or ends with a space: take it out"), |s| {
        s["tiers"][0]["template"]["spec"]["containers"][0]["image"] = json!("x:1 ");
    });
}

/// Checks the error of a template whose first container has one field set to a value. `place` is the place within the container.
#[track_caller]
fn check_container(place: &str, message: &str, field: &str, value: Value) {
    check(&format!("spec.tiers[backend].template.spec.containers[0].{place}: {message}"), |s| {
        s["tiers"][0]["template"]["spec"]["containers"][0][field] = value;
    });
}

#[test]
fn fields_that_do_not_exist() {
    let misspelt = |name: &str| {
        format!("there is no such field in Kubernetes {}: did you mean `{name}`?", crate::pod_types::kubernetes())
    };
    let probe = json!({ "httpGet": { "port": "http" } });
    check_container("readinesProbe", &misspelt("readinessProbe"), "readinesProbe", probe);
    check_container("imagepullpolicy", &misspelt("imagePullPolicy"), "imagepullpolicy", json!("Always"));
    let probe = json!({ "httpGet": { "prot": 80 } });
    check_container("livenessProbe.httpGet.prot", &misspelt("port"), "livenessProbe", probe);
    check_container("resources.limit", &misspelt("limits"), "resources", json!({ "limit": { "cpu": 1 } }));
    check_container("env[1].valeu", &misspelt("value"), "env", json!([{ "name": "A" }, { "name": "B", "valeu": "x" }]));
    let unknown = errors(|s| s["tiers"][0]["template"]["spec"]["zzz"] = json!({ "deep": [1] }));
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(
        unknown[0].ends_with("take it out, or install a newer Rainbow if a newer Kubernetes has it"),
        "{unknown:?}"
    );
    let unknown = errors(|s| s["tiers"][0]["template"]["metadata"] = json!({ "labls": { "a": "b" } }));
    assert_eq!(unknown, [format!("spec.tiers[backend].template.metadata.labls: {}", misspelt("labels"))]);
}

#[test]
fn values_of_another_type() {
    check_container("ports[0]", "`80` is a text: write a map of fields", "ports", json!(["80"]));
    let ports = json!([{ "containerPort": "80" }]);
    check_container("ports[0].containerPort", "`80` is a text: write a whole number, without quotes", "ports", ports);
    let env = json!([{ "name": "DEBUG", "value": true }]);
    check_container("env[0].value", "`true` is true or false: write a text, in quotes", "env", env);
    check_container("args", "`-v` is a text: write a list", "args", json!("-v"));
    check_container("image", "`1.2` is no whole number: write a text, in quotes", "image", json!(1.2));
    check_container("tty", "`yes` is a text: write true or false, without quotes", "tty", json!("yes"));
    let quantity =
        "`64MB` is no quantity: write a number with a unit such as m, k, M, G, Ki, Mi or Gi, as in 500m or 64Mi";
    check_container("resources.limits.memory", quantity, "resources", json!({ "limits": { "memory": "64MB" } }));
    let less = json!({ "limits": { "memory": "64Mi" }, "requests": { "memory": "1Gi" } });
    let message = "is more than the limit, which is `64Mi`: request at most that";
    check_container("resources.requests.memory", message, "resources", less);
    check("spec.tiers[backend].template.spec.containers: `x` is a text: write a list", |s| {
        s["tiers"][0]["template"]["spec"]["containers"] = json!("x");
    });
}

#[test]
fn what_a_deployment_accepts_is_accepted() {
    let fine = errors(|s| {
        s["tiers"][0]["template"] = json!({
            "metadata": { "creationTimestamp": null, "labels": { "a": "b" }, "annotations": null },
            "spec": {
                "volumes": [{ "name": "tmp", "emptyDir": { "sizeLimit": 1048576 } }, { "name": "data", "emptyDir": {} }],
                "containers": [{
                    "name": "web", "image": "web:1", "env": null, "resources": { "limits": { "cpu": 0.5, "example.com/gpu": 1 } },
                    "readinessProbe": { "httpGet": { "port": "http" } }, "livenessProbe": { "tcpSocket": { "port": 80 } },
                    "restartPolicyRules": [{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }],
                }],
                "hostnameOverride": "web", "tolerations": [{ "key": "a", "operator": "Exists" }],
            },
        });
    });
    assert_eq!(fine, [""; 0]);
}

#[test]
fn stages() {
    check("spec.stages[active]: stage `active` is there twice: give each its own name", |s| {
        s["stages"][0]["name"] = json!("active")
    });
    check("spec.stages[active].tier: there is no tier `web`: use one of backend, frontend", |s| {
        s["stages"][1]["tier"] = json!("web")
    });
    check(
        "spec.stages[active].tier: is needed, since there are several entry tiers: use one of frontend, admin",
        |s| {
            s["tiers"].as_array_mut().unwrap().push(tier("admin"));
            s["stages"][0]["tier"] = json!("frontend");
        },
    );
    check(
        "spec.tiers[frontend].ports: is empty, but stage `active` leads to this tier: name the ports it is reached on",
        |s| {
            s["tiers"][1]["ports"] = json!([]);
            s["stages"].as_array_mut().unwrap().remove(0);
        },
    );
    check("spec.stages[active].replicas: 0 is too few: a stage needs at least 1 pod per tier", |s| {
        s["stages"][1]["replicas"] = json!(0);
    });
    check("spec.stages[active].shift: flip and rolling are set: set one of them", |s| {
        s["stages"][1]["shift"]["flip"] = json!({});
    });
    check("spec.stages[active].shift.rolling.step: 0 is too few: use 1 or more pods", |s| {
        s["stages"][1]["shift"]["rolling"]["step"] = json!(0);
    });
    for (surge, found) in
        [(json!(0), "0"), (json!(-1), "-1"), (json!("0%"), "`0%`"), (json!("2"), "`2`"), (json!("-5%"), "`-5%`")]
    {
        let expected = format!(
            "spec.stages[active].shift.rolling.surge: {found} is no surge: use a number of pods from 1 on, or a percentage such as `25%`"
        );
        check(&expected, |s| s["stages"][1]["shift"]["rolling"]["surge"] = surge);
    }
    check(
        "spec.stages[active].color: `V1` is no DNS label: use 1 to 63 lower case letters, digits and `-`, beginning and ending with a letter or a digit",
        |s| s["stages"][1]["color"] = json!("V1"),
    );
}

#[test]
fn services() {
    check(
        "spec.stages[active].service.type: `ExternalName` is not supported: use ClusterIP, NodePort or LoadBalancer",
        |s| {
            s["stages"][1]["service"]["type"] = json!("ExternalName");
        },
    );
    check("spec.stages[active].service.ports[web].name: tier `frontend` has no port `web`: use one of http", |s| {
        s["stages"][1]["service"]["ports"] = json!([{ "name": "web", "port": 81 }]);
    });
    check(
        "spec.stages[smoke].service.ports[http].nodePort: is only possible for type NodePort or LoadBalancer: set service.type",
        |s| {
            s["stages"][0]["service"] = json!({ "ports": [{ "name": "http", "nodePort": 30000 }] });
        },
    );
    check(
        "spec.stages[active].service.name: Service `front` is that of stage `smoke` already: set another service.name",
        |s| {
            s["stages"][0]["service"] = json!({ "name": "front" });
            s["stages"][1]["service"]["name"] = json!("front");
        },
    );
    check(
        "spec.stages[active].service.name: Service `backend-v2` is that of tier `backend` of color `v2` already: set another service.name",
        |s| {
            s["stages"][1]["service"]["name"] = json!("backend-v2");
        },
    );
}

#[test]
fn names_and_limits() {
    check(
        "spec.color: `123.4` is no DNS label: use 1 to 63 lower case letters, digits and `-`, beginning and ending with a letter or a digit",
        |s| s["color"] = json!("123.4"),
    );
    check("spec.namePrefix: `A_` cannot begin a name: use lower case letters, digits and `-`, such as `shop-`", |s| {
        s["namePrefix"] = json!("A_");
    });
    let long = errors(|s| s["color"] = json!("c".repeat(60)));
    assert_eq!(long.len(), 2, "{long:?}");
    assert!(long[0].contains("of 68 characters, and 63 is the most: shorten"), "{long:?}");
    check("spec.keep.live: 0 is too few: at least 1 color must be able to live", |s| s["keep"] = json!({ "live": 0 }));
    check("spec.keep.history: -1 is negative: use 0 or more", |s| s["keep"] = json!({ "history": -1 }));
    check("spec.progressDeadlineSeconds: 0 is too short: use 1 or more", |s| s["progressDeadlineSeconds"] = json!(0));
    assert!(validate_name(&"a".repeat(64)).unwrap().to_string().starts_with("metadata.name: has 64 characters"));
    assert_eq!(validate_name("seamless"), None);
    let digit = errors(|s| {
        s["tiers"][0]["name"] = json!("1st");
        s["tiers"][1]["needs"][0]["tier"] = json!("1st");
    });
    assert!(digit.iter().any(|e| e.contains("begins with a digit")), "{digit:?}");
}

#[test]
fn drains() {
    let http = json!({ "port": 8080, "path": "/connections", "field": "open" });
    assert_eq!(errors(|s| s["drain"] = json!({ "connections": "Http", "http": http })), [""; 0]);
    assert_eq!(
        errors(|s| {
            s["drain"] = json!({ "connections": "None", "http": http });
            s["tiers"][1]["connections"] = json!("Http");
        }),
        [""; 0]
    );
    check(
        "spec.drain.http: is missing, but connections is Http for backend, frontend: say which port, path and field answer",
        |s| s["drain"] = json!({ "connections": "Http" }),
    );
    check(
        "spec.drain.http: is missing, but connections is Http for frontend: say which port, path and field answer",
        |s| s["tiers"][1]["connections"] = json!("Http"),
    );
    check("spec.drain.http: is set, but connections is Http nowhere: set spec.drain.connections or a tier's", |s| {
        s["drain"] = json!({ "http": http });
    });
    let wrong = |field: &str, value: Value| {
        let mut http = http.clone();
        http[field] = value;
        move |s: &mut Value| s["drain"] = json!({ "connections": "Http", "http": http })
    };
    check("spec.drain.http.port: 0 is no port number: use 1 to 65535", wrong("port", json!(0)));
    check(
        "spec.drain.http.path: `open` is no path: begin with `/` and use no blanks, such as /connections",
        wrong("path", json!("open")),
    );
    for field in ["", "a..b", "."] {
        check(
            &format!(
                "spec.drain.http.field: `{field}` names no field: use a JSON pointer such as /open, or a dotted path such as server.open"
            ),
            wrong("field", json!(field)),
        );
    }
}

#[test]
fn a_place_for_the_counter() {
    check(
        "spec.tiers[backend].template.spec.hostNetwork: is set, so that the pod's sockets cannot be told from its node's: set the tier's connections to Http or None",
        |s| s["tiers"][0]["template"]["spec"]["hostNetwork"] = json!(true),
    );
    check(
        "spec.tiers[backend].ports[http]: 9798 is the port in the pod where Rainbow's counter answers: use another, or set the tier's connections to Http or None",
        |s| s["tiers"][0]["ports"][0]["targetPort"] = json!(9798),
    );
    check(
        "spec.tiers[backend].template.spec.containers[0].name: `rainbow-tally` is the name of the container that Rainbow adds: use another",
        |s| s["tiers"][0]["template"]["spec"]["containers"][0]["name"] = json!("rainbow-tally"),
    );
    let opted_out = errors(|s| {
        s["tiers"][0]["connections"] = json!("None");
        s["tiers"][0]["template"]["spec"]["hostNetwork"] = json!(true);
        s["tiers"][0]["ports"][0]["targetPort"] = json!(9798);
    });
    assert_eq!(opted_out, [""; 0]);
}

#[test]
fn what_cannot_be_a_deadline_is_refused() {
    let read = |text: &str| serde_json::from_value::<crate::ColorDrain>(json!({ "deadline": text }));
    assert!(read("10m").is_ok() && read("now").is_ok() && read("never").is_ok());
    assert!(read("tomorrow").unwrap_err().to_string().contains("or write now or never"));
}

#[test]
fn a_port_by_name_has_the_number_that_a_container_declares() {
    let spec = |declared: Value, sidecar: Value| -> RainbowSpec {
        let mut spec = sample();
        spec["tiers"][0]["ports"][0]["targetPort"] = json!("web");
        spec["tiers"][0]["template"]["spec"]["containers"][0]["ports"] = declared;
        spec["tiers"][0]["template"]["spec"]["initContainers"] = json!([sidecar]);
        serde_json::from_value(spec).unwrap()
    };
    let web = json!([{ "name": "other", "containerPort": 9 }, { "name": "web", "containerPort": 8080 }]);
    let idle = json!({ "name": "init", "image": "i" });
    assert_eq!(spec(web.clone(), idle).tiers[0].tcp_ports(), [8080]);
    let sidecar = json!({ "name": "proxy", "image": "p", "restartPolicy": "Always", "ports": web });
    let behind = spec(json!([]), sidecar.clone());
    assert_eq!(behind.tiers[0].tcp_ports(), [8080], "a native sidecar declares ports, too");
    assert!(validate(&behind).is_empty());
    let mut init = sidecar;
    init["restartPolicy"] = Value::Null;
    assert_eq!(spec(json!([]), init).tiers[0].tcp_ports(), [0; 0], "a container that ends serves nothing");
}

#[test]
fn autoscalers() {
    let backend = |change: Value| move |spec: &mut Value| spec["tiers"][0]["autoscale"] = change;
    let path = "spec.tiers[backend].autoscale";
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } } });
    let fine = json!({ "minReplicas": 2, "maxReplicas": 9, "metrics": [cpu], "behavior": { "scaleDown": { "stabilizationWindowSeconds": 60 } } });
    assert_eq!(errors(backend(fine)), [""; 0]);
    check(
        &format!("{path}.maxReplicas: 2 is less than minReplicas, which is 3: use as many or more"),
        backend(json!({ "minReplicas": 3, "maxReplicas": 2 })),
    );
    check(
        &format!("{path}.minReplicas: 0 is too few: use 1 or more"),
        backend(json!({ "minReplicas": 0, "maxReplicas": 2 })),
    );
    let misfit = "does not fit: write it as in a HorizontalPodAutoscaler of autoscaling/v2";
    check(
        &format!("{path}.metrics[0].type: {misfit}"),
        backend(json!({ "maxReplicas": 2, "metrics": [{ "type": 7 }] })),
    );
    check(
        &format!("{path}.behavior.scaleDown: {misfit}"),
        backend(json!({ "maxReplicas": 2, "behavior": { "scaleDown": 5 } })),
    );
    check(
        &format!("{path}: is set, but `scaling: External` says that another controller decides: remove one of them"),
        |spec| {
            spec["tiers"][0]["autoscale"] = json!({ "maxReplicas": 2 });
            spec["tiers"][0]["scaling"] = json!("External");
        },
    );
}

#[test]
fn settings_of_the_sidecar() {
    let set = |settings: Value| {
        move |s: &mut Value| {
            s["drain"] = json!({ "sidecar": settings });
        }
    };
    let whole = json!({ "resources": { "requests": { "cpu": "5m" }, "limits": { "cpu": 0.1, "memory": "32Mi" } },
                        "securityContext": { "runAsUser": 1000, "capabilities": { "drop": ["ALL"] } }, "native": false });
    assert_eq!(errors(set(whole)), [""; 0]);
    assert_eq!(errors(set(json!({ "resources": {}, "securityContext": {} }))), [""; 0]);
    check(
        "spec.drain.sidecar.resources.limits.memory: `16MB` is no quantity: write a number with a unit such as m, k, M, G, Ki, Mi or Gi, as in 500m or 64Mi",
        set(json!({ "resources": { "limits": { "memory": "16MB" } } })),
    );
    check(
        "spec.drain.sidecar.resources.requests.cpu: is more than the limit, which is `10m`: request at most that",
        set(json!({ "resources": { "requests": { "cpu": "20m" }, "limits": { "cpu": "10m" } } })),
    );
    let misspelt = errors(set(json!({ "securityContext": { "runAsuser": 7 } })));
    assert!(
        misspelt.len() == 1
            && misspelt[0].starts_with("spec.drain.sidecar.securityContext.runAsuser: there is no such field")
            && misspelt[0].ends_with("did you mean `runAsUser`?"),
        "{misspelt:?}"
    );
    check(
        "spec.drain.sidecar.securityContext.runAsUser: `0` is root, but runAsNonRoot is true: use another user, or take runAsNonRoot out",
        set(json!({ "securityContext": { "runAsUser": 0, "runAsNonRoot": true } })),
    );
    check(
        "spec.drain.sidecar.securityContext.privileged: is true, but allowPrivilegeEscalation is false: take one of them out; the counter needs no privilege",
        set(json!({ "securityContext": { "privileged": true, "allowPrivilegeEscalation": false } })),
    );
}

#[test]
fn peers_that_hold_nothing() {
    let set = |ignore: Value| move |s: &mut Value| s["drain"] = json!({ "ignore": ignore });
    assert_eq!(
        errors(set(json!([
            { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }, { "podSelector": { "matchLabels": { "app": "x" } } },
            { "namespaceSelector": {}, "podSelector": {} },
        ]))),
        [""; 0]
    );
    check(
        "spec.drain.ignore[0].ipBlock.cidr: `10.0.0.0` is no CIDR: write an address and the length of its prefix, such as 10.0.0.0/8, 10.1.2.3/32 or fd00::/64",
        set(json!([{ "ipBlock": { "cidr": "10.0.0.0" } }])),
    );
    check(
        "spec.drain.ignore[0].ipBlock.except[0]: `11.0.0.0/16` is not within `10.0.0.0/8`: use a part of it",
        set(json!([{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"] } }])),
    );
    check(
        "spec.drain.ignore[1]: is empty: give it an ipBlock, a podSelector or a namespaceSelector",
        set(json!([{ "podSelector": {} }, {}])),
    );
    check(
        "spec.drain.ignore[0]: has an ipBlock and a selector: make two entries of it",
        set(json!([{ "ipBlock": { "cidr": "10.0.0.0/8" }, "podSelector": {} }])),
    );
    check(
        "spec.drain.ignore[0].podSelector.matchExpressions[0].values: is empty: In and NotIn need values",
        set(json!([{ "podSelector": { "matchExpressions": [{ "key": "a", "operator": "In" }] } }])),
    );
    check(
        "spec.drain.ignore: is set, but connections is Sidecar nowhere, and only the sidecar knows peers: take it out, or leave these peers out where the application counts",
        |s| s["drain"] = json!({ "connections": "None", "ignore": [{ "podSelector": {} }] }),
    );
    // One tier that counts with the sidecar is enough.
    assert_eq!(
        errors(|s| {
            s["drain"] = json!({ "connections": "None", "ignore": [{ "podSelector": {} }] });
            s["tiers"][1]["connections"] = json!("Sidecar");
        }),
        [""; 0]
    );
}
