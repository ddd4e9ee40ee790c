//! `serve`: the HTTP face on this machine's database.

use std::time::Duration;

use adsengineer_core::store::Database;
use adsengineer_server::{
    ServeOptions, api_router, background,
    sandbox::{Sandbox, SandboxOptions},
    serve,
};
use clap::ValueEnum;
use serde_json::json;
use tokio::net::TcpListener;

use super::running;
use crate::{
    context::{Context, data_folder},
    error::{CliError, Exit},
    output::{Report, SCHEMA_VERSION},
};

/// Serve the HTTP API on this machine's database.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGTERM or Ctrl-C drains: requests end, the worker puts down what it holds, then the process ends with 0.\n\nExamples:\n  adsengineer serve\n  adsengineer serve --sandbox\n  ADSENGINEER_LISTEN=0.0.0.0:8090 ADSENGINEER_ENVIRONMENT=production adsengineer serve --role api"
)]
pub struct Args {
    /// What this process does: answer requests, send to platforms, or both
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Send to a stand-in for Google on this machine, from a database of its own
    #[arg(long)]
    sandbox: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Role {
    #[default]
    All,
    Api,
    Worker,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let address = context.settings.listen()?;
    let sandbox = if args.sandbox { Some(Sandbox::start(SandboxOptions::default()).await?) } else { None };
    let database = match &sandbox {
        Some(_) => sandbox_database(context)?,
        None => context.database()?,
    };
    // What cannot work is said before a database is made.
    let ring = context.settings.key_ring(context.made_jwt_secret(&database)?)?;
    let tls = context.settings.tls()?;
    let engine = match &sandbox {
        Some(sandbox) => context.engine_on(database, sandbox).await?,
        None => context.engine().await?,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let api = context.settings.api(engine.clone(), ring)?;
    // Before the first request: a token that was revoked must not pass.
    engine.read_revoked().await?;
    let worker = if args.role == Role::Api { None } else { Some(engine.worker(engine.worker_settings().clone())?) };
    let stop = running::stop_signal();
    if args.role == Role::Worker {
        context.out.note("working; there is no HTTP in this role");
        background(api, worker, stop).await;
        return Ok(ended());
    }
    if !api.health().can_count().await {
        let text = "the store of rate limits (rate_limit_url) cannot be asked: requests are refused until it can, and then let through without a restart";
        context.out.warn("RATE_LIMIT_STORE", text);
    }
    let listener = TcpListener::bind(address).await.map_err(|e| listen_error(&address.to_string(), &e))?;
    let bound = listener.local_addr()?;
    let url = format!("{scheme}://{bound}");
    let api = if context.settings.text("public_url").is_none() { api.public_url(url.clone()) } else { api };
    let router = api_router(api.clone());
    if scheme == "http" && !bound.ip().is_loopback() {
        let text = "tokens and personal data cross the network in plain text: put a proxy that speaks TLS before it, or set tls_cert_file and tls_key_file";
        context.out.warn("PLAIN_HTTP", text);
    }
    announce(context, &url, sandbox.as_ref());
    let beside = tokio::spawn(background(api, worker, stop.clone()));
    let options = ServeOptions { tls, ..ServeOptions::default() };
    serve(listener, router, options, stop).await;
    drop(tokio::time::timeout(Duration::from_secs(30), beside).await);
    Ok(ended())
}

/// Beside the configured file, else in the data folder: what is played goes into no server.
fn sandbox_database(context: &Context) -> Result<Database, CliError> {
    let path = match context.database()?.file() {
        Some(file) => file.with_file_name("sandbox.db"),
        None => data_folder()?.join("sandbox.db"),
    };
    Ok(path.into())
}

fn ended() -> Report {
    Report::ok("", serde_json::Value::Null)
}

/// The address, as the first line of standard output, and how to begin.
fn announce(context: &Context, url: &str, sandbox: Option<&Sandbox>) {
    let line = if context.out.is_json() {
        json!({"schema_version": SCHEMA_VERSION, "listening": url}).to_string()
    } else {
        format!("listening on {url}")
    };
    context.out.line(&line);
    if let Some(sandbox) = sandbox {
        context.out.note(&format!("everything goes to a stand-in for Google at {}; nothing leaves this machine", sandbox.url()));
    }
    context.out.note(&format!("the API is shown at {url}/docs"));
    if context.settings.is_development() {
        context.out.note("a token for it: adsengineer token mint --sub me --org default --role member");
    }
}

fn listen_error(address: &str, error: &std::io::Error) -> CliError {
    let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::Conflict } else { Exit::Config };
    CliError::new(exit, "LISTEN", format!("{address} cannot be listened on: {error}"))
        .hint("another process may have it; choose another with ADSENGINEER_LISTEN, port 0 takes any free one")
}
