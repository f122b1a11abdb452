//! Tests of the zone.

use super::*;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde_json::json;

fn cluster() -> std::sync::Arc<Cluster> {
    let cluster = Cluster::new();
    for (name, spec) in [
        (
            "web",
            json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ),
        ("db", json!({"clusterIP": "None", "ports": [{"name": "pg", "port": 5432}]})),
        ("none", json!({"clusterIP": "None"})),
        ("ext", json!({"type": "ExternalName", "externalName": "example.com"})),
    ] {
        let service: core::Service =
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})).unwrap();
        cluster.put_service(&service);
    }
    let slice: discovery::EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": "db-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "ports": [{"name": "pg", "port": 5433, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.244.0.5"], "conditions": {"ready": true}, "hostname": "db-0"},
            {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
            {"addresses": ["10.244.0.7"], "conditions": {"ready": false}, "hostname": "db-2"}],
    }))
    .unwrap();
    cluster.put_slice(&slice);
    cluster
}

fn ask(name: &str, kind: RecordType) -> String {
    let zone = Zone::new("cluster.local", vec![([10, 96, 0, 0].into(), 16)]).unwrap();
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    match zone.reply(&cluster(), &question) {
        Reply::Forward => "forward".into(),
        Reply::Answer(message) => {
            assert_eq!(message.metadata.id, question.metadata.id);
            assert_eq!(message.authorities.len(), usize::from(message.answers.is_empty()));
            let mut answers: Vec<_> = message.answers.iter().map(|record| record.data.to_string()).collect();
            answers.sort();
            format!("{} {}", message.metadata.response_code, answers.join(", "))
                .replace("No Error", "ok")
                .trim()
                .to_owned()
        }
    }
}

#[test]
fn names() {
    use RecordType::{A, AAAA, PTR, SRV};
    let missing = "Non-Existent Domain";
    for (name, kind, expected) in [
        ("web.n.svc.cluster.local.", A, "ok 10.96.0.9"),
        ("WEB.N.svc.Cluster.local.", A, "ok 10.96.0.9"),
        ("web.n.svc.cluster.local.", AAAA, "ok"),
        ("web.other.svc.cluster.local.", A, missing),
        ("no.n.svc.cluster.local.", AAAA, missing),
        ("example.com.n.svc.cluster.local.", A, missing),
        ("example.com.cluster.local.", A, missing),
        ("cluster.local.", A, "ok"),
        ("n.svc.cluster.local.", A, "ok"),
        ("m.svc.cluster.local.", A, missing),
        ("db.n.svc.cluster.local.", A, "ok 10.244.0.5, 10.244.0.6"),
        ("none.n.svc.cluster.local.", A, missing),
        ("db-0.db.n.svc.cluster.local.", A, "ok 10.244.0.5"),
        ("10-244-0-6.db.n.svc.cluster.local.", A, "ok 10.244.0.6"),
        ("db-2.db.n.svc.cluster.local.", A, missing),
        ("db-0.web.n.svc.cluster.local.", A, missing),
        ("10-244-0-9.n.pod.cluster.local.", A, "ok 10.244.0.9"),
        ("x.n.pod.cluster.local.", A, missing),
        ("ext.n.svc.cluster.local.", A, "ok example.com."),
        ("_http._tcp.web.n.svc.cluster.local.", SRV, "ok 0 100 80 web.n.svc.cluster.local."),
        ("_http._tcp.web.n.svc.cluster.local.", A, "ok"),
        ("_http._udp.web.n.svc.cluster.local.", SRV, missing),
        ("_tcp.web.n.svc.cluster.local.", A, "ok"),
        ("web.n.svc.cluster.local.", SRV, "ok 0 100 53 web.n.svc.cluster.local., 0 100 80 web.n.svc.cluster.local."),
        (
            "_pg._tcp.db.n.svc.cluster.local.",
            SRV,
            "ok 0 100 5433 10-244-0-6.db.n.svc.cluster.local., 0 100 5433 db-0.db.n.svc.cluster.local.",
        ),
        ("9.0.96.10.in-addr.arpa.", PTR, "ok web.n.svc.cluster.local."),
        ("5.0.244.10.in-addr.arpa.", PTR, "ok db-0.db.n.svc.cluster.local."),
        ("77.0.96.10.in-addr.arpa.", PTR, missing),
        ("8.8.8.8.in-addr.arpa.", PTR, "forward"),
        ("example.com.", A, "forward"),
        ("mycluster.local.", A, "forward"),
    ] {
        assert_eq!(ask(name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn strange_questions() {
    let zone = Zone::new("cluster.local", Vec::new()).unwrap();
    let code = |message: &Message| match zone.reply(&cluster(), message) {
        Reply::Answer(answer) => answer.metadata.response_code,
        Reply::Forward => ResponseCode::NoError,
    };
    let mut message = Message::query();
    assert_eq!(code(&message), ResponseCode::FormErr, "no question");
    message
        .add_query(Query::query(Name::from_ascii("a.").unwrap(), RecordType::A).set_query_class(DNSClass::CH).clone());
    assert_eq!(code(&message), ResponseCode::NotImp);
    message.metadata.op_code = OpCode::Update;
    assert_eq!(code(&message), ResponseCode::NotImp);
}
