//! Names of operations, and which answers lead to which of them.

use serde_json::{Map, Value, json};

/// An answer (path, method, status) names something, at this place, that other operations take as this parameter.
type Link = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const LEADS: &[&str] = &["leads_show", "leads_patch", "leads_delete"];
const CONVERSIONS: &[&str] = &["conversions_show", "conversions_explain"];
const DESTINATIONS: &[&str] = &["destinations_show", "destinations_check", "destinations_remove"];
const RULES: &[&str] = &["rules_show", "rules_remove"];

const LINKS: [Link; 11] = [
    ("/api/v1/leads", "get", "200", "/leads/0/id", "id", LEADS),
    ("/api/v1/leads", "post", "201", "/leads/0/id", "id", LEADS),
    ("/api/v1/conversions", "get", "200", "/conversions/0/id", "id", CONVERSIONS),
    ("/api/v1/conversions", "post", "202", "/conversions/0/id", "id", CONVERSIONS),
    ("/api/v1/dlq", "get", "200", "/dead_letters/0/id", "id", &["dead_letters_show"]),
    ("/api/v1/dlq/replay", "post", "202", "/replay_id", "id", &["dead_letters_follow", "dead_letters_stop"]),
    ("/api/v1/destinations", "get", "200", "/destinations/0/name", "name", DESTINATIONS),
    ("/api/v1/destinations/{name}", "put", "200", "/name", "name", DESTINATIONS),
    ("/api/v1/rules", "get", "200", "/rules/0/name", "name", RULES),
    ("/api/v1/rules/{name}", "put", "200", "/name", "name", RULES),
    ("/api/v1/tokens", "post", "201", "/jti", "jti", &["tokens_revoke"]),
];

/// Gives every operation a name of its own: its tag and what it does.
pub(super) fn name(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        let tag = operation["tags"][0].as_str().unwrap_or_default().replace(' ', "_");
        let verb = operation["operationId"].as_str().unwrap_or_default();
        operation["operationId"] = format!("{tag}_{verb}").into();
    }
}

/// Adds the links.
pub(super) fn link(document: &mut Value) {
    for (path, method, status, place, parameter, operations) in LINKS {
        let links = &mut document["paths"][path][method]["responses"][status]["links"];
        for operation in operations {
            links[*operation] = json!({
                "operationId": operation,
                "parameters": {parameter: format!("$response.body#{place}")}
            });
        }
    }
}
