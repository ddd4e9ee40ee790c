//! The OpenAPI document: complete, served, and kept in `docs/openapi.json`.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::{routes::ROUTES, stage::Stage};

fn document() -> Value {
    serde_json::to_value(adsengineer_server::openapi(None)).unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(_, operation)| operation.get("responses").is_some());
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

#[test]
fn every_operation_of_the_document_is_in_the_table_of_tested_routes_and_the_other_way_round() {
    let document = document();
    let documented: BTreeSet<String> = operations(&document).map(|(name, _)| name).collect();
    let tested: BTreeSet<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(documented, tested);
}

#[test]
fn the_document_in_docs_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/openapi.json is not what the code says; UPDATE_SNAPSHOTS=1 writes it anew");
}

#[test]
fn every_operation_documents_its_success_its_errors_and_the_headers_of_both() {
    let document = document();
    for (name, operation) in operations(&document) {
        let route = ROUTES.iter().find(|route| format!("{} {}", route.method, route.path) == name).unwrap();
        let responses = operation["responses"].as_object().unwrap();
        let has = |status: u16| responses.contains_key(&status.to_string());
        assert!(has(route.success), "{name} lacks {}", route.success);
        if route.weakest.is_some() {
            assert!([401, 403, 429, 500, 503].into_iter().all(has), "{name}");
        }
        assert!(route.body.is_empty() || [400, 413, 415, 422].into_iter().all(has), "{name}");
        assert!(!route.is_named() || has(404) || route.makes_its_own(), "{name}");
        for (status, response) in responses {
            let headers = response["headers"].as_object().unwrap();
            for header in ["x-request-id", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit"] {
                assert!(headers.contains_key(header), "{name} {status} lacks {header}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_and_its_browser_are_served_without_a_token() {
    let stage = Stage::with(|api| api.public_url("https://ads.example.com".to_owned())).await;
    let said = stage.ask("GET", "/openapi.json", None, None).await;
    let served = said.ok(200);
    assert_eq!(served["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    assert_eq!(served["servers"][0]["url"], "https://ads.example.com");
    assert_eq!(served["paths"], document()["paths"]);
    let page = stage.ask("GET", "/docs", None, None).await;
    assert_eq!((page.status, page.text().contains("swagger")), (200, true), "{}", page.text());
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"));
}
