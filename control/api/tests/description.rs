//! The description says of every request what the router does with it, and of nothing else.

use portunus_api::route::{Body, ROUTES};
use serde_json::Value;
use std::collections::BTreeSet;

fn description() -> Value {
    serde_json::from_str(portunus_api::OPENAPI).expect("JSON")
}

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

#[test]
fn every_route_is_described_and_every_description_is_routed() {
    let doc = description();
    let routed: BTreeSet<_> = ROUTES.iter().map(|r| (r.path.to_owned(), r.method.to_lowercase())).collect();
    assert_eq!(routed.len(), ROUTES.len(), "no route twice");
    let mut described = BTreeSet::new();
    for (path, item) in doc["paths"].as_object().expect("paths") {
        let of = |m: &&str| item[*m].is_object();
        described.extend(METHODS.into_iter().filter(of).map(|m| (path.clone(), m.to_owned())));
    }
    assert_eq!(routed, described);
}

#[test]
fn scopes_bodies_and_identities_are_described_as_they_are() {
    let doc = description();
    let mut names = BTreeSet::new();
    for route in ROUTES {
        let item = &doc["paths"][route.path];
        let operation = &item[route.method.to_lowercase()];
        let at = format!("{} {}", route.method, route.path);
        let scopes: Vec<&str> = operation["security"]
            .as_array()
            .expect("security")
            .iter()
            .flat_map(|s| s["token"].as_array().expect("token"))
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(scopes, route.scope.iter().map(|s| s.name()).collect::<Vec<_>>(), "{at}");
        let kinds: Vec<&String> =
            operation["requestBody"]["content"].as_object().into_iter().flat_map(|c| c.keys()).collect();
        let expected: &[&str] = match route.body {
            Body::None => &[],
            Body::Json => &["application/json"],
            Body::Csv => &["text/csv"],
        };
        assert_eq!(kinds, expected, "{at}");
        assert_eq!(item["parameters"].is_array(), route.path.contains("{id}"), "{at}");
        assert!(names.insert(operation["operationId"].as_str().expect("a name").to_owned()), "{at}: a name twice");
    }
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_described_for_nobody() {
    let doc = description();
    let (mut used, mut open) = (BTreeSet::new(), vec![&doc]);
    while let Some(value) = open.pop() {
        if let Some(at) = value["$ref"].as_str() {
            assert!(doc.pointer(at.trim_start_matches('#')).is_some(), "{at}");
            used.insert(at.to_owned());
        }
        open.extend(value.as_object().into_iter().flat_map(|o| o.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    for kind in ["parameters", "responses", "schemas"] {
        for name in doc["components"][kind].as_object().expect("components").keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name} is used by nobody");
        }
    }
}
