//! Every operation of the API: the weakest role that may use it, a body that it takes, and how it then answers.

use adsengineer_core::org::Role;
use adsengineer_server::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::stage::{START_S, Stage};

pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// `None`: no token is needed.
    pub weakest: Option<Role>,
    pub body: &'static str,
    pub success: u16,
}

const fn route(method: &'static str, path: &'static str, weakest: Role, body: &'static str, success: u16) -> Route {
    Route { method, path, weakest: Some(weakest), body, success }
}

const fn open(path: &'static str) -> Route {
    Route { method: "GET", path, weakest: None, body: "", success: 200 }
}

use Role::{Admin, Member, Owner, Viewer};

/// In an order in which each works on what [`Things`] has: those that remove come last.
pub const ROUTES: &[Route] = &[
    open("/health"),
    open("/livez"),
    open("/readyz"),
    route("GET", "/api/v1/me", Viewer, "", 200),
    route("GET", "/api/v1/leads", Viewer, "", 200),
    route("GET", "/api/v1/leads/{id}", Viewer, "", 200),
    route("GET", "/api/v1/conversions", Viewer, "", 200),
    route("GET", "/api/v1/conversions/{id}", Viewer, "", 200),
    route("GET", "/api/v1/explain/{id}", Viewer, "", 200),
    route("GET", "/api/v1/status", Viewer, "", 200),
    route("GET", "/api/v1/reconciliation", Viewer, "", 200),
    route("GET", "/api/v1/destinations", Viewer, "", 200),
    route("GET", "/api/v1/destinations/{name}", Viewer, "", 200),
    route("GET", "/api/v1/rules", Viewer, "", 200),
    route("GET", "/api/v1/rules/{name}", Viewer, "", 200),
    route("GET", "/api/v1/dlq", Member, "", 200),
    route("GET", "/api/v1/dlq/{id}", Member, "", 200),
    route("GET", "/api/v1/dlq/replays/{id}", Admin, "", 200),
    route("POST", "/api/v1/leads", Member, r#"{"email":"new@example.com","consent":{"storage":"granted"}}"#, 201),
    route("PATCH", "/api/v1/leads/{id}", Member, r#"{"status":"contacted"}"#, 200),
    route(
        "POST",
        "/api/v1/conversions",
        Member,
        r#"{"action":"Sale","occurred_at":"2026-11-19T10:00:00Z","gclid":"Cj0KCQ-route","consent":{"ad_user_data":"granted"}}"#,
        202,
    ),
    route("POST", "/api/v1/destinations/{name}/check", Admin, "", 200),
    route(
        "PUT",
        "/api/v1/destinations/{name}",
        Admin,
        r#"{"kind":"google","customer_id":"123-456-7890","actions":{"Sale":"987654321"},"order_id_prefix":"put-"}"#,
        200,
    ),
    route("PUT", "/api/v1/rules/{name}", Admin, r#"{"on":"lead.lost","action":"Lost"}"#, 200),
    route("POST", "/api/v1/tokens", Owner, r#"{"sub":"crm","role":"viewer"}"#, 201),
    route("POST", "/api/v1/dlq/replay", Admin, r#"{"filter":{}}"#, 202),
    route("DELETE", "/api/v1/dlq/replays/{id}", Admin, "", 200),
    route("POST", "/api/v1/dlq/discard", Admin, r#"{"filter":{}}"#, 200),
    route("DELETE", "/api/v1/leads/{id}", Admin, "", 204),
    route("DELETE", "/api/v1/rules/{name}", Admin, "", 200),
    route("DELETE", "/api/v1/destinations/{name}", Admin, "", 200),
    route("DELETE", "/api/v1/tokens/{jti}", Owner, "", 204),
];

impl Route {
    pub fn body(&self) -> Option<Value> {
        if self.body.is_empty() { None } else { Some(serde_json::from_str(self.body).unwrap()) }
    }

    pub fn is_named(&self) -> bool {
        self.path.contains('{')
    }

    /// A PUT makes what is not there, and revoking a token only ever concerns the own organization's.
    pub fn makes_its_own(&self) -> bool {
        self.method == "PUT" || self.path.ends_with("{jti}")
    }
}

/// What an organization has: one thing for each kind of name in a path.
pub struct Things {
    pub lead: String,
    pub conversion: String,
    pub dead: String,
    pub replay: String,
    pub jti: String,
}

/// A stage against a sandbox on which `acme` has everything.
pub async fn furnished() -> (Sandbox, Stage, Things) {
    let sandbox = sandbox().await;
    let stage = Stage::against(&sandbox).await;
    let things = Things::make(&stage, &sandbox).await;
    (sandbox, stage, things)
}

/// A sandbox at the time of the tests' clock.
pub async fn sandbox() -> Sandbox {
    let now = Some(jiff::Timestamp::from_second(START_S + 7 * 86_400).unwrap());
    Sandbox::start(SandboxOptions { now, ..SandboxOptions::default() }).await.unwrap()
}

/// The destination `shop`, as a body.
pub fn shop(sandbox: &Sandbox) -> Value {
    let credentials: Value = serde_json::from_str(&sandbox.credentials_json()).unwrap();
    json!({"kind": "google", "customer_id": "1234567890", "actions": {"Sale": "987654321"}, "credentials": credentials})
}

/// A conversion of the action `Sale`; the sandbox judges by its click id.
pub fn sale(click: &str) -> Value {
    json!({"action": "Sale", "occurred_at": "2026-11-19T10:00:00Z", "value": "120.00", "currency": "EUR", "gclid": click,
        "consent": {"ad_user_data": "granted"}})
}

impl Things {
    async fn make(stage: &Stage, sandbox: &Sandbox) -> Self {
        stage.by(Admin, "PUT", "/api/v1/destinations/shop", Some(&shop(sandbox))).await.ok(200);
        stage.by(Admin, "PUT", "/api/v1/rules/won", Some(&json!({"on": "lead.won", "action": "Sale"}))).await.ok(200);
        let lead = json!({"email": "kept@example.com", "external_id": "K-1", "consent": {"storage": "granted"}});
        let lead = stage.post("/api/v1/leads", &lead).await.ok(201);
        let sold = stage.post("/api/v1/conversions", &sale("sandbox-INVALID_GCLID")).await.ok(202);
        stage.work().await;
        let letters = stage.get("/api/v1/dlq").await.ok(200);
        let replay = stage.post("/api/v1/dlq/replay", &json!({"ids": [letters["dead_letters"][0]["id"]]})).await.ok(202);
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{letters}")).to_owned();
        Self {
            lead: text(&lead["leads"][0]["id"]),
            conversion: text(&sold["conversions"][0]["id"]),
            dead: text(&letters["dead_letters"][0]["id"]),
            replay: text(&replay["replay_id"]),
            jti: "tok_of_somebody".to_owned(),
        }
    }

    /// The path of a route with the name of a thing that is there.
    pub fn path(&self, route: &Route) -> String {
        let force = if (route.method, route.path) == ("DELETE", "/api/v1/destinations/{name}") { "?force=true" } else { "" };
        Self::filled(route, [&self.lead, &self.conversion, &self.dead, &self.replay, "shop", "won", &self.jti]) + force
    }

    /// The same with a name that nothing has.
    pub fn missing(route: &Route) -> String {
        let none = |kind: &str| format!("{kind}_{:0>13}", "1");
        let ids = ["lead", "conv", "dlv", "rpl"].map(none);
        Self::filled(route, [&ids[0], &ids[1], &ids[2], &ids[3], "none", "none", "tok_none"])
    }

    fn filled(route: &Route, [lead, conversion, dead, replay, shop, won, jti]: [&str; 7]) -> String {
        let id = match route.path {
            path if path.contains("/leads/") => lead,
            path if path.contains("/replays/") => replay,
            path if path.contains("/dlq/") => dead,
            _ => conversion,
        };
        let name = if route.path.contains("/rules/") { won } else { shop };
        route.path.replace("{id}", id).replace("{name}", name).replace("{jti}", jti)
    }
}
