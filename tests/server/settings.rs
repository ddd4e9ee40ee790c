//! The face as its settings make it, and as a host embeds it.

use adsengineer_core::{
    org::{Caller, Role},
    rate_limit::Rate,
};
use adsengineer_server::{
    Api,
    config::{FaceError, Settings, Sources},
    router,
};
use axum::{Router, body::Body, http::Request, middleware::from_fn};
use tower::ServiceExt as _;

use crate::{
    said::Said,
    stage::{Stage, ring},
};

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let environment = pairs.iter().map(|(n, v)| (format!("ADSENGINEER_{n}"), (*v).to_owned())).collect();
    Settings::load(&Sources { environment, ..Sources::default() }).unwrap().0
}

async fn configured(pairs: &[(&str, &str)]) -> Stage {
    Stage::with(|api| settings(pairs).api(api.engine().clone(), ring()).unwrap()).await
}

#[tokio::test]
async fn limits_addresses_origins_and_urls_are_as_configured() {
    let stage = configured(&[
        ("RATE_LIMIT_IP", "2/h"),
        ("RATE_LIMIT_ORG", "7/m"),
        ("RATE_LIMIT_AUTH", "3/15m"),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
        ("CORS_ORIGINS", "https://a.example.com,https://b.example.com"),
        ("PUBLIC_URL", "https://ads.example.com/"),
    ])
    .await;
    let policy = async |token: Option<&str>| {
        let said = stage.ask("GET", "/api/v1/me", token, None).await;
        said.header("ratelimit-policy").unwrap().to_owned()
    };
    assert_eq!(policy(None).await, "\"ip\";q=2;w=3600");
    assert_eq!(policy(Some(&stage.token("acme", Role::Viewer))).await, "\"org\";q=7;w=60");
    assert_eq!(policy(Some("a.bad.token")).await, "\"auth\";q=3;w=900");
    let forwarded =
        stage.request("GET", "/openapi.json").header("x-forwarded-for", "203.0.113.9").header("origin", "https://b.example.com");
    let said = Said::of(forwarded).await;
    assert_eq!(said.header("x-ratelimit-remaining"), Some("1"));
    assert_eq!(said.header("access-control-allow-origin"), Some("https://b.example.com"));
    assert_eq!(said.ok(200)["servers"][0]["url"], "https://ads.example.com");
}

#[tokio::test]
async fn the_usual_limits_are_those_of_the_documentation() {
    let stage = configured(&[]).await;
    for (token, usual) in [(None, "100/h"), (Some("a.bad.token"), "5/15m"), (Some(stage.token("acme", Role::Viewer).as_str()), "60000/m")] {
        let quota = usual.parse::<Rate>().unwrap().quota();
        let said = stage.ask("GET", "/api/v1/me", token, None).await;
        assert_eq!(said.header("x-ratelimit-limit"), Some(quota.limit().to_string().as_str()));
    }
}

#[tokio::test]
async fn only_development_may_be_without_limits() {
    let stage = configured(&[("RATE_LIMIT_URL", "none://"), ("RATE_LIMIT_IP", "1/h")]).await;
    for _ in 0..3 {
        assert_eq!(stage.ask("GET", "/api/v1/me", None, None).await.status, 401);
    }
    let strict = settings(&[("RATE_LIMIT_URL", "none://"), ("ENVIRONMENT", "production")]);
    assert!(matches!(strict.api(stage.engine.clone(), ring()), Err(FaceError::Unlimited)));
}

#[tokio::test]
async fn a_host_with_its_own_authentication_says_who_asks() {
    let stage = Stage::new().await;
    let sign_in = from_fn(|mut request: axum::extract::Request, next: axum::middleware::Next| async move {
        let org = request.headers().get("x-host-user").map(|user| user.to_str().unwrap().parse().unwrap());
        if let Some(org) = org {
            request.extensions_mut().insert(Caller::trusted(org, Role::Member));
        }
        next.run(request).await
    });
    let host = Router::new().nest("/ads", router(stage.engine.clone())).layer(sign_in);
    let ask = async |user: Option<&str>, token: Option<&str>| {
        let mut request = Request::get("/ads/api/v1/me");
        request = if let Some(user) = user { request.header("x-host-user", user) } else { request };
        request = if let Some(token) = token { request.header("authorization", format!("Bearer {token}")) } else { request };
        let answer = host.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        Said { status: parts.status.as_u16(), headers: parts.headers, bytes: axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec() }
    };
    let me = ask(Some("acme"), None).await;
    assert_eq!(
        (&me.ok(200)["org_id"], &me.json()["role"], &me.json()["exp"]),
        (&"acme".into(), &"member".into(), &serde_json::Value::Null)
    );
    assert_eq!(ask(None, None).await.refused(401), "TOKEN_MISSING");
    // Below the host's prefix, watched paths are the same ones.
    for (path, status) in [("/ads/health", 200), ("/ads/livez", 200), ("/ads/ads/livez", 404), ("/health", 404)] {
        let answer = host.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let charged = answer.headers().get("x-ratelimit-remaining").is_some_and(|left| left != "100" && left != "99");
        assert_eq!(charged, path == "/ads/ads/livez", "{path}");
    }
    // Without keys no token is taken, and none can be minted.
    assert_eq!(ask(None, Some(&stage.token("acme", Role::Owner))).await.refused(401), "TOKEN_KEY_UNKNOWN");
    assert!(format!("{:?}", Api::new(stage.engine.clone())).starts_with("Api"));
}
