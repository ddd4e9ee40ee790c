//! The HTTP API inside a host's own axum application, with the host's own authentication.
//!
//! `cargo run -p adsengineer-server --example mount`

use std::io::Write;

use adsengineer_core::{
    engine::{Engine, EngineConfig},
    org::{Caller, Role},
    vault::{Vault, generate_key, parse_key},
};
use axum::{Router, extract::Request, http::StatusCode, middleware::Next, response::Response, routing::get};

/// Stands for the host's own sessions: whoever has this cookie is a member of `acme`.
async fn who(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let cookie = request.headers().get("cookie").and_then(|value| value.to_str().ok());
    if cookie == Some("session=example") {
        let org = "acme".parse().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        request.extensions_mut().insert(Caller::trusted(org, Role::Member));
    }
    Ok(next.run(request).await)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let vault = Vault::new(&parse_key(generate_key().expose())?, &[]);
    let engine = Engine::open(EngineConfig::new(folder.path().join("leads.db"), vault)).await?;
    let ads = adsengineer_server::router(engine).layer(axum::middleware::from_fn(who));
    let host = Router::new().route("/", get(|| async { "the host's own page" })).nest("/ads", ads);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/ads/api/v1/me", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, host).await });
    let client = reqwest::Client::new();
    let stranger = client.get(&url).send().await?.status();
    let member = client.get(&url).header("cookie", "session=example").send().await?.text().await?;
    writeln!(std::io::stdout(), "a stranger: {stranger}\na member: {member}")?;
    Ok(())
}
