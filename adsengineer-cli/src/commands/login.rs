//! `login`, `logout`, `whoami`: which server everyday commands use, and with which token.

use std::io::{IsTerminal as _, Read as _};

use adsengineer_core::{secret::Secret, token::MAX_TOKEN_BYTES};
use serde_json::json;

use super::views;
use crate::{
    client::{Client, Request},
    context::{Context, Me, Place},
    error::{CliError, Exit},
    logins::{DEFAULT, Kept, Logins},
    output::Report,
};

/// Store a token; everyday commands then work on its server.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token is asked for without showing it, or read from standard input; it is tried before it is stored. It is kept in the system's keyring, or, where none answers, in credentials.toml beside the configuration file, which only you may read.\n\nExamples:\n  adsengineer login --server https://ads.example.com\n  adsengineer login --server https://ads.example.com --profile acme < token.txt\n  adsengineer status --profile acme"
)]
pub struct Args {}

/// Forget a stored token; everyday commands then work on this machine again.
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {}

/// Show which server is in use, as whom, and until when.
#[derive(Debug, clap::Args)]
pub struct WhoamiArgs {}

fn profile(context: &Context, logins: &Logins) -> String {
    context.settings.text("profile").or(logins.current.as_deref()).unwrap_or(DEFAULT).to_owned()
}

/// Runs `login`.
pub async fn run(_: &Args, context: &Context) -> Result<Report, CliError> {
    let mut logins = Logins::read()?;
    let profile = context.settings.text("profile").unwrap_or(DEFAULT).to_owned();
    let server = context.settings.text("server").or_else(|| logins.server(&profile)).map(|url| url.trim_end_matches('/').to_owned());
    let server = server.ok_or_else(|| CliError::usage("nothing says which server").hint("give --server https://…"))?;
    let token = token(context, &server)?;
    let client = Client::new(&server, Some(token.clone()), context.global.timeout)?;
    let me: Me = client.call(Request::get(&["api", "v1", "me"])).await?;
    let kept = match logins.put(&profile, &server, &token)? {
        Kept::Keyring => "keyring".to_owned(),
        Kept::File(file, why) => {
            let text = format!("no keyring keeps the token ({why}); it is in {}, which only you may read", file.display());
            context.out.warn("NO_KEYRING", &text);
            file.display().to_string()
        }
    };
    let text = format!("logged in to {server} {}; everyday commands now work there, `adsengineer logout` ends that", who(&me));
    Ok(Report::ok(
        text,
        json!({"server": server, "profile": profile, "sub": me.sub, "org_id": me.org_id, "role": me.role, "exp": me.exp, "kept": kept}),
    ))
}

/// The token from a prompt that shows nothing, or from standard input; never an argument.
fn token(context: &Context, server: &str) -> Result<Secret<String>, CliError> {
    let text = if context.may_ask() {
        let prompt = format!("Token for {server}");
        dialoguer::Password::new().with_prompt(prompt).interact().map_err(|e| CliError::usage(e.to_string()))?
    } else if std::io::stdin().is_terminal() {
        return Err(CliError::usage("there is nobody to ask for the token").hint("give it on standard input"));
    } else {
        let mut text = String::new();
        let read = std::io::stdin().take(MAX_TOKEN_BYTES as u64 * 2).read_to_string(&mut text);
        read.map_err(|_| CliError::usage("the token on standard input is not text"))?;
        text
    };
    match text.trim() {
        "" => Err(CliError::usage("no token was given").hint("`adsengineer token mint` prints one where the server runs")),
        token => Ok(Secret::new(token.to_owned())),
    }
}

fn who(me: &Me) -> String {
    let until = me.exp.map(|exp| format!(" until {}", views::local(exp))).unwrap_or_default();
    format!("as {}, {} of {}{until}", me.sub, me.role, me.org_id)
}

/// Runs `logout`.
pub fn logout(_: &LogoutArgs, context: &Context) -> Result<Report, CliError> {
    let mut logins = Logins::read()?;
    let profile = profile(context, &logins);
    let removed = logins.remove(&profile)?;
    let text = if removed {
        format!(
            "the token of profile `{profile}` is forgotten here; the server takes it until it expires or `adsengineer token revoke` ends it"
        )
    } else {
        format!("there is no login called `{profile}`")
    };
    Ok(Report::ok(text, json!({"profile": profile, "removed": removed})))
}

/// Runs `whoami`.
pub async fn whoami(_: &WhoamiArgs, context: &Context) -> Result<Report, CliError> {
    let Place::Server { server, profile, origin } = context.place()? else {
        return Err(CliError::new(Exit::Auth, "NO_LOGIN", "nobody is logged in; commands work on this machine's database")
            .hint("`adsengineer login --server URL` stores a token"));
    };
    let me: Me = context.client(&server, profile.as_deref())?.call(Request::get(&["api", "v1", "me"])).await?;
    let with = profile.as_ref().map(|name| format!(", profile {name}")).unwrap_or_default();
    let text = format!("{server} {}{with} (said by {origin})", who(&me));
    Ok(Report::ok(text, json!({"server": server, "profile": profile, "sub": me.sub, "org_id": me.org_id, "role": me.role, "exp": me.exp})))
}
