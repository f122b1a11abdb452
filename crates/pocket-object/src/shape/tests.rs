use serde_json::json;

use super::*;

fn at<'a>(shape: &'a Shape, path: &str) -> &'a Link {
    let mut link = &shape.root;
    for name in path.split('.') {
        link = match name {
            "*" => &link.node().as_list().unwrap().element,
            name => link.node().as_map().unwrap().field(name).unwrap_or_else(|| panic!("{path}: no {name}")),
        };
    }
    link
}

#[test]
fn built_in_lists_have_their_keys() {
    let keyed = |group: &str, kind: &str, path: &str, keys: &[&str], merge: &str| {
        let shape = Shape::builtin(group, kind);
        let link = at(&shape, path);
        let list = link.node().as_list().unwrap();
        let Ownership::Keyed(found) = &list.ownership else { panic!("{kind} {path}: {:?}", list.ownership) };
        assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys, "{kind} {path}");
        assert_eq!(link.strategy, Strategy::MergeBy(merge.to_owned()), "{kind} {path}");
    };
    keyed("", "Pod", "spec.containers", &["name"], "name");
    keyed("", "Pod", "spec.containers.*.ports", &["containerPort", "protocol"], "containerPort");
    keyed("", "Pod", "spec.containers.*.env", &["name"], "name");
    keyed("", "Pod", "spec.containers.*.volumeMounts", &["mountPath"], "mountPath");
    keyed("", "Pod", "spec.initContainers.*.env", &["name"], "name");
    keyed("", "Pod", "metadata.ownerReferences", &["uid"], "uid");
    keyed("", "Service", "spec.ports", &["port", "protocol"], "port");
    keyed("apps", "Deployment", "spec.template.spec.volumes", &["name"], "name");
    keyed("apps", "Deployment", "spec.template.metadata.ownerReferences", &["uid"], "uid");
    keyed("batch", "CronJob", "spec.jobTemplate.spec.template.spec.containers", &["name"], "name");
    keyed("apps", "Deployment", "status.conditions", &["type"], "type");
    keyed("", "Namespace", "status.conditions", &["type"], "type");
    keyed("", "Nonsense", "metadata.ownerReferences", &["uid"], "uid");
}

#[test]
fn selectors_are_owned_as_a_whole_and_finalizers_one_by_one() {
    assert!(at(&Shape::builtin("", "Service"), "spec.selector").node().as_map().unwrap().atomic);
    assert!(at(&Shape::builtin("apps", "Deployment"), "spec.selector").node().as_map().unwrap().atomic);
    let pod = Shape::builtin("", "Pod");
    assert_eq!(at(&pod, "spec.tolerations").node().as_list().unwrap().ownership, Ownership::Atomic);
    let untyped = Shape::untyped();
    let finalizers = at(&untyped, "metadata.finalizers");
    assert_eq!(finalizers.node().as_list().unwrap().ownership, Ownership::Set);
    assert_eq!(finalizers.strategy, Strategy::Merge);
    assert_eq!(at(&Shape::builtin("policy", "PodDisruptionBudget"), "spec.selector").strategy, Strategy::Replace);
}

#[test]
fn go_writes_some_empty_fields() {
    let deployment = Shape::builtin("apps", "Deployment");
    let spec: Vec<_> = at(&deployment, "spec").node().as_map().unwrap().never_left_out().collect();
    assert_eq!(spec, [("selector", &json!(null)), ("strategy", &json!({})), ("template", &json!({}))]);
}

#[test]
fn every_kind_of_the_table_has_a_type() {
    for (group, kind) in [("", "Pod"), ("events.k8s.io", "Event"), ("apiextensions.k8s.io", "CustomResourceDefinition")]
    {
        assert!(types::kind(group, kind).is_some(), "{kind}");
    }
    // The schema in a definition contains itself.
    let crd = Shape::builtin("apiextensions.k8s.io", "CustomResourceDefinition");
    at(&crd, "spec.versions.*.schema.openAPIV3Schema.properties.x.properties.y.x-kubernetes-list-type");
}
