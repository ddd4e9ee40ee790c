//! What the types of the handlers cannot say: patterns, alternatives, and which fields need each other.
//!
//! The rules themselves are the core's; here they are told to whoever reads the document, so that a body that fits its schema
//! is taken, and one that does not is refused. Names that are not known are answered with 404 or 409 and are no matter of the
//! schema; which times can be taken is told by [`super::calendar`].

use adsengineer_core::money::Currency;
use serde_json::{Map, Value, json};

use super::patterns as is;

/// Makes the schemas of requests exact.
pub(super) fn bodies(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    schemas["Currency"] =
        json!({"type": "string", "description": "A code of ISO 4217, list one.", "enum": Currency::codes().collect::<Vec<_>>()});
    schemas["Decimal"] = json!({
        "type": ["string", "number"], "pattern": is::DECIMAL, "minimum": 0, "maximum": 999_999_999_999_999_u64,
        "description": "A decimal. As a string it is exact, with up to 15 digits, six of them after the point; a number is rounded half to even to as many.",
        "examples": ["120.00", 120]
    });
    leads(schemas);
    conversions(schemas);
    others(schemas);
}

/// Lets a property say more: each of `more` replaces what stands there.
fn tell(schema: &mut Value, property: &str, more: Value) {
    let property = &mut schema["properties"][property];
    debug_assert!(property.is_object(), "there is no such property to say more of");
    if let (Value::Object(property), Value::Object(more)) = (property, more) {
        property.extend(more);
    }
}

fn texts(schema: &mut Value, pattern: &str, fields: &[(&str, u32)]) {
    for (field, most) in fields {
        tell(schema, field, json!({"pattern": pattern, "maxLength": most}));
    }
}

/// Another object stands for a property, or null.
fn instead(schema: &mut Value, property: &str, or_null: bool, other: &Value) {
    let described = schema["properties"][property].get("description").cloned();
    let described = described.or_else(|| schema["properties"][property]["oneOf"][0].get("description").cloned());
    let mut new = if or_null { json!({"anyOf": [other, {"type": "null"}]}) } else { other.clone() };
    if let Some(described) = described {
        new["description"] = described;
    }
    schema["properties"][property] = new;
}

fn currency(schema: &mut Value) {
    instead(schema, "currency", true, &json!({"$ref": "#/components/schemas/Currency"}));
}

/// A time; of which ones may be used, the clock decides.
fn time(schema: &mut Value, property: &str) {
    tell(schema, property, json!({"format": "date-time", "maxLength": 40}));
}

/// A property is there and fits.
fn has(property: &str, fits: &Value) -> Value {
    json!({"required": [property], "properties": {property: fits}})
}

fn leads(schemas: &mut Value) {
    let lead = &mut schemas["LeadBody"];
    texts(lead, is::TEXT, &[("external_id", 200), ("site_id", 200), ("company", 200), ("vertical", 100)]);
    texts(lead, is::CLICK, &[("gclid", 1024), ("gbraid", 1024), ("wbraid", 1024), ("fbclid", 1024), ("msclkid", 1024), ("ttclid", 1024)]);
    texts(lead, is::META, &[("fbc", 1024), ("fbp", 1024)]);
    texts(lead, is::EMAIL_OR_BLANK, &[("email", 254)]);
    texts(lead, is::PHONE_OR_BLANK, &[("phone", 64)]);
    texts(lead, is::PAGE, &[("landing_page", 2048)]);
    tell(lead, "tags", json!({"items": {"type": "string", "pattern": is::TEXT, "maxLength": 100}}));
    instead(lead, "budget", false, &json!({"type": ["string", "number", "null"], "pattern": is::TEXT, "maxLength": 100}));
    currency(lead);
    time(lead, "occurred_at");
    let clicks = ["gclid", "gbraid", "wbraid", "fbclid", "fbc", "fbp", "msclkid", "ttclid"];
    let mut identifiers = vec![
        has("email", &json!({"type": "string", "pattern": is::EMAIL})),
        has("phone", &json!({"type": "string", "pattern": is::PHONE})),
    ];
    identifiers.extend(clicks.map(|click| has(click, &json!({"type": "string", "minLength": 1}))));
    lead["allOf"] = json!([{"anyOf": identifiers}, {"anyOf": both_or_none()}]);
    let utm = &mut schemas["UtmBody"];
    texts(utm, is::TEXT, &[("source", 500), ("medium", 500), ("campaign", 500), ("content", 500), ("term", 500)]);
    let consent = &mut schemas["ConsentBody"];
    texts(consent, is::TEXT, &[("text_version", 200)]);
    texts(consent, is::TCF, &[("tcf", 8192)]);
    time(consent, "at");
    let patch = &mut schemas["LeadPatchBody"];
    currency(patch);
    let status = has("status", &json!({"not": {"type": "null"}}));
    let value = has("value", &json!({"not": {"type": "null"}}));
    patch["allOf"] = json!([{"anyOf": [status, value]}, {"anyOf": both_or_none()}]);
}

/// A value and its currency, or neither.
fn both_or_none() -> Value {
    json!([
        {"properties": {"value": {"type": "null"}, "currency": {"type": "null"}}},
        {"required": ["value", "currency"], "properties": {"value": {"not": {"type": "null"}}, "currency": {"type": "string"}}}
    ])
}

/// A value needs a currency; a currency may stand alone.
fn value_with_currency() -> Value {
    json!([{"properties": {"value": {"type": "null"}}}, has("currency", &json!({"type": "string"}))])
}

fn conversions(schemas: &mut Value) {
    let person = &mut schemas["IdentifiersBody"];
    texts(
        person,
        is::TEXT,
        &[("email", 254), ("phone", 64), ("first_name", 200), ("last_name", 200), ("postal_code", 32), ("country", 32)],
    );
    let conversion = &mut schemas["ConversionBody"];
    texts(conversion, is::SAID, &[("action", 256)]);
    texts(conversion, is::TEXT, &[("order_id", 256)]);
    texts(conversion, is::CLICK, &[("gclid", 1024), ("gbraid", 1024), ("wbraid", 1024)]);
    texts(conversion, is::LEAD_OR_NONE, &[("lead_id", 64)]);
    time(conversion, "occurred_at");
    currency(conversion);
    tell(
        conversion,
        "destinations",
        json!({"minItems": 1, "maxItems": 50, "items": {"type": "string", "pattern": is::TEXT, "maxLength": 100}}),
    );
    let lead = has("lead_id", &json!({"type": "string", "minLength": 1}));
    let state = has("ad_user_data", &json!({"not": {"type": "null"}}));
    let mut consent = state;
    consent["type"] = json!("object");
    conversion["allOf"] = json!([
        {"anyOf": persons(&lead)},
        {"anyOf": [lead, has("consent", &consent)]},
        {"anyOf": value_with_currency()}
    ]);
}

/// One click id, or none and something else that tells who it was.
fn persons(lead: &Value) -> Vec<Value> {
    const CLICKS: [&str; 3] = ["gclid", "gbraid", "wbraid"];
    let without = |given: &str, mut branch: Value| {
        for click in CLICKS.into_iter().filter(|click| *click != given) {
            branch["properties"][click] = json!({"enum": ["", null]});
        }
        branch
    };
    let said = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let country = json!({"type": "string", "pattern": "^[A-Za-z]{2}$"});
    let address = json!({
        "required": ["first_name", "last_name", "country", "postal_code"],
        "properties": {"first_name": said(is::SAID), "last_name": said(is::SAID), "postal_code": said(is::SAID), "country": country}
    });
    let people = [has("email", &said(is::EMAIL)), has("phone", &said(is::PHONE)), address].map(|mut person| {
        person["type"] = json!("object");
        has("identifiers", &person)
    });
    let clicks = CLICKS.map(|click| without(click, has(click, &json!({"type": "string", "minLength": 1}))));
    clicks.into_iter().chain([lead.clone()].into_iter().chain(people).map(|branch| without("", branch))).collect()
}

fn others(schemas: &mut Value) {
    let rule = &mut schemas["RuleBody"];
    texts(rule, is::SAID, &[("action", 100)]);
    currency(rule);
    rule["anyOf"] = value_with_currency();
    let destination = &mut schemas["DestinationBody"];
    texts(destination, is::PLAIN, &[("order_id_prefix", 64)]);
    tell(
        destination,
        "actions",
        json!({
            "maxProperties": 1000,
            "propertyNames": {"pattern": is::SAID_INSIDE, "maxLength": 256},
            "additionalProperties": {"type": "string", "pattern": "^[0-9]{1,20}$"}
        }),
    );
    tell(destination, "credentials", json!({"not": {"required": ["ref"]}}));
    texts(&mut schemas["TokenBody"], is::PLAIN, &[("sub", 200)]);
    for name in ["ReplayBody", "DiscardBody"] {
        let body = &mut schemas[name];
        texts(body, is::PLAIN, &[("note", 500)]);
        tell(body, "ids", json!({"items": {"type": "string", "pattern": is::DELIVERY}}));
        let mut by_id = has("ids", &json!({"type": "array"}));
        by_id["properties"]["filter"] = json!({"type": "null"});
        let mut by_filter = has("filter", &json!({"type": "object"}));
        by_filter["properties"]["ids"] = json!({"type": "null"});
        body["anyOf"] = json!([by_id, by_filter]);
    }
    tell(&mut schemas["ReplayBody"], "rate", json!({"pattern": is::RATE}));
}

/// Makes the parameters exact.
pub(super) fn parameters(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
                parameter_of(path, parameter);
            }
        }
    }
}

fn parameter_of(path: &str, parameter: &mut Value) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let lead = path.starts_with("/api/v1/leads");
    let conversion = path.starts_with("/api/v1/conversions");
    let (pattern, most) = match name.as_str() {
        "cursor" if lead => (is::CHANGE, None),
        "cursor" if conversion => (is::CONVERSION, None),
        "cursor" => (is::DELIVERY, None),
        "id" if lead => (is::LEAD, None),
        "id" if conversion => (is::CONVERSION, None),
        "id" if path.contains("/replays/") => (is::REPLAY, None),
        "id" if path.contains("/dlq/") => (is::DELIVERY, None),
        "name" => (is::NAME, Some(64)),
        "jti" => (is::PLAIN, Some(200)),
        "Idempotency-Key" => (is::KEY, Some(257)),
        _ => return,
    };
    let schema = &mut parameter["schema"];
    schema["pattern"] = json!(pattern);
    if let Some(most) = most {
        schema["minLength"] = json!(1);
        schema["maxLength"] = json!(most);
    }
}
