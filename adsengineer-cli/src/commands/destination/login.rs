//! `destination login`: OAuth by loopback and PKCE. Source: RFC 8252 §7.3, RFC 7636.

use std::{path::PathBuf, time::Duration};

use adsengineer_core::{
    destination::oauth::login::{AUTHORIZATION_URL, ClientSecrets, Login, LoginError},
    secret::Secret,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::{
    api::Api,
    context::Context,
    error::{CliError, Exit},
    output::Report,
};

/// How long the browser may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Requests that may wait for their answer.
const CONNECTIONS: usize = 16;
/// Bytes of a request's first line.
const LONGEST_LINE: u64 = 16 * 1024;

/// Sign in with a browser and store the grant.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The destination
    name: String,
    /// The OAuth client's JSON file (type desktop app) from the Google Cloud console
    #[arg(long, value_name = "FILE")]
    client_file: PathBuf,
    /// Only print the address
    #[arg(long)]
    no_browser: bool,
}

fn failed(error: &LoginError) -> CliError {
    CliError::new(Exit::Auth, "LOGIN", error.to_string())
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context, api: &dyn Api) -> Result<Report, CliError> {
    let spec = super::spec(api.destination(&args.name).await?)?;
    let unreadable =
        |e: std::io::Error| CliError::new(Exit::Config, "CLIENT_FILE", format!("{} cannot be read: {e}", args.client_file.display()));
    let client = ClientSecrets::from_json(&std::fs::read_to_string(&args.client_file).map_err(unreadable)?);
    let client = client.map_err(|e| CliError::new(Exit::Config, "CLIENT_FILE", e.to_string()))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let login = Login::start(client, &format!("http://127.0.0.1:{}", listener.local_addr()?.port()));
    let url = login.authorization_url(AUTHORIZATION_URL).map_err(|e| failed(&e))?;
    context.out.visit(url.as_str(), "open this address and allow access");
    if !args.no_browser {
        open_browser(url.as_str());
    }
    let code = tokio::time::timeout(PATIENCE, code(&listener, &login)).await;
    let code = code
        .map_err(|_| CliError::new(Exit::Auth, "LOGIN", "nobody came back from the browser within five minutes").hint("run it again"))??;
    let settings = context.google()?;
    let signed_in = login.exchange(&code, &settings.token_url, settings.timeout, context.clock().as_ref()).await.map_err(|e| failed(&e))?;
    api.put_destination(&args.name, spec, Some(&signed_in.credentials.to_json())).await?;
    let mut text = format!("signed in; the grant of {} is stored, sealed", args.name);
    if let Some(expires_in) = signed_in.expires_in {
        let days = expires_in.as_secs().div_ceil(86_400);
        text += &format!(
            "\nthis grant dies in {days} days because the OAuth consent screen is in testing mode: publish it in the Google Cloud console, then sign in again"
        );
    }
    Ok(Report::ok(text, json!({"name": args.name, "expires_in_seconds": signed_in.expires_in.map(|d| d.as_secs())})))
}

/// Waits for the browser to come back with this attempt's code.
///
/// Browsers open connections before they need them: each is read on its own, so that an idle one holds nobody up.
async fn code(listener: &TcpListener, login: &Login) -> Result<Secret<String>, CliError> {
    let (asked, mut asking) = mpsc::channel(CONNECTIONS);
    loop {
        let (mut stream, target) = tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(hear(accepted?.0, asked.clone()));
                continue;
            }
            Some(request) = asking.recv() => request,
        };
        let result = login.code(&target);
        // The browser may be gone; the code counts all the same.
        let _gone = stream.write_all(page(&result).as_bytes()).await;
        match result {
            Err(LoginError::ForeignAnswer) => {}
            other => return other.map_err(|e| failed(&e)),
        }
    }
}

/// Reads the target of a request's first line.
async fn hear(mut stream: TcpStream, asked: mpsc::Sender<(TcpStream, String)>) {
    let mut line = String::new();
    if BufReader::new(&mut stream).take(LONGEST_LINE).read_line(&mut line).await.is_ok() {
        let target = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
        // Nobody waits any more once the code is there.
        let _late = asked.send((stream, target)).await;
    }
}

/// What the browser shows.
fn page(result: &Result<Secret<String>, LoginError>) -> String {
    let (status, text) = match result {
        Ok(_) => ("200 OK", "You are signed in. You can close this window."),
        Err(LoginError::ForeignAnswer) => ("404 Not Found", "Nothing here."),
        Err(_) => ("200 OK", "The sign-in was refused. You can close this window."),
    };
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}

fn open_browser(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    // Without a browser the address above is enough.
    let _none =
        std::process::Command::new(program).arg(url).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn();
}
