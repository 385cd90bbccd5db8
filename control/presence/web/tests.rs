// SPDX-License-Identifier: MIT OR Apache-2.0
use std::collections::BTreeSet;

use serde_json::Value;

use super::api;

/// The description and the routes are one list; what answers look like is held against it by tests/processes.
#[test]
fn every_route_is_described_and_nothing_else_is() {
    let document: Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
    let base = document["servers"][0]["url"].as_str().expect("a base");
    let paths = document["paths"].as_object().expect("paths").iter();
    let described: BTreeSet<String> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(move |method| format!("{method} {base}{path}"))
        })
        .collect();
    let routes: BTreeSet<String> =
        api::routes().into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(described, routes);
}

/// Each reference of the description leads somewhere.
#[test]
fn the_description_is_whole() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(all) => {
                for (key, value) in all {
                    match value.as_str() {
                        Some(to) if key == "$ref" => found.push(to.to_owned()),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
