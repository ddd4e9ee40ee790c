//! `health`: is the server up?

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use adsengineer_server::config::parse_duration;
use serde_json::Value;

use crate::{
    client::{Client, Failure, Request},
    context::{Context, Place},
    error::{CliError, Exit},
    output::{Report, table},
};

/// Between two questions of `--wait`.
const PAUSE: Duration = Duration::from_millis(300);

/// Ask a server whether it is up and well.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 0 if the server is healthy or degraded, 8 if it is unhealthy or cannot be reached.\n\nExamples:\n  adsengineer health\n  adsengineer health --url https://ads.example.com --wait 30s"
)]
pub struct Args {
    /// The server; default: the one in use, else the configured public or listen address
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask again until it is well, or this time has passed
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    let url = url(args, context)?;
    let client = Client::new(&url, None, context.global.timeout)?;
    let until = Instant::now() + args.wait.unwrap_or_default();
    loop {
        let report = ask(&client).await;
        let well = report.as_ref().is_ok_and(|report| report.exit == Exit::Ok);
        if well || Instant::now() >= until {
            return report.map_err(|failure| CliError::from_server(client.server(), failure));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn url(args: &Args, context: &Context) -> Result<String, CliError> {
    if let Some(url) = &args.url {
        return Ok(url.clone());
    }
    if let Place::Server { server, .. } = context.place()? {
        return Ok(server);
    }
    if let Some(url) = context.settings.text("public_url") {
        return Ok(url.to_owned());
    }
    let listen: Option<SocketAddr> = context.settings.text("listen").and_then(|text| text.parse().ok());
    let listen = listen.filter(|address| address.port() != 0);
    let mut address = listen.ok_or_else(|| CliError::usage("nothing says where the server is").hint("give --url"))?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from(std::net::Ipv6Addr::LOCALHOST) });
    }
    let scheme = if context.settings.text("tls_cert_file").is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

async fn ask(client: &Client) -> Result<Report, Failure> {
    let health: Value = client.send(Request::get(&["health"])).await?.read()?;
    let status = health["status"].as_str().unwrap_or_default();
    let exit = match status {
        "healthy" | "degraded" => Exit::Ok,
        "unhealthy" => Exit::Unavailable,
        _ => return Err(Failure::NotOurs("it does not say how it is".to_owned())),
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |(name, check): (&String, &Value)| {
        let detail = check["detail"].as_str().unwrap_or_default();
        vec![name.clone(), text(&check["status"]), format!("{} ms", check["latency_ms"]), detail.to_owned()]
    };
    let rows = health["checks"].as_object().into_iter().flatten().map(row);
    let said = table(&["check", "status", "took", "detail"], rows);
    Ok(Report::ok(format!("{said}\n{} is {status}, version {}", client.server(), text(&health["version"])), health).exit(exit))
}
