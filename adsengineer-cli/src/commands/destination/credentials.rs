//! Where credentials come from: a file, standard input, the environment, a prompt. Never a plain argument.

use std::{io::Read, path::Path};

use adsengineer_core::{destination::oauth::Credentials, secret::Secret};

use crate::{
    context::Context,
    error::{CliError, Exit},
};

/// The platform's own JSON from `file` (`-`: standard input), checked.
pub fn from_file(file: &Path) -> Result<Secret<String>, CliError> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        let unreadable = |e: std::io::Error| CliError::new(Exit::Config, "CREDENTIALS", format!("{} cannot be read: {e}", file.display()));
        std::fs::read_to_string(file).map_err(unreadable)?
    };
    checked(&Secret::new(text))
}

fn checked(text: &Secret<String>) -> Result<Secret<String>, CliError> {
    let unusable = |e| CliError::new(Exit::Config, "CREDENTIALS", format!("{e}"));
    Credentials::from_json(text.expose()).map(|credentials| credentials.to_json()).map_err(unusable)
}

/// Those that the configuration names, if any.
pub fn configured(context: &Context) -> Result<Option<Secret<String>>, CliError> {
    let settings = &context.settings;
    if let Some(file) = settings.text("google_credentials_file") {
        return from_file(Path::new(file)).map(Some);
    }
    let parts = (settings.text("google_client_id"), settings.secret("google_client_secret"), settings.secret("google_refresh_token"));
    match parts {
        (Some(client_id), Some(client_secret), Some(refresh_token)) => {
            Ok(Some(Credentials::AuthorizedUser { client_id: client_id.to_owned(), client_secret, refresh_token }.to_json()))
        }
        (None, None, None) => Ok(None),
        _ => Err(CliError::new(
            Exit::Config,
            "CREDENTIALS",
            "only some of google_client_id, google_client_secret and google_refresh_token are set",
        )
        .hint("set all three, or ADSENGINEER_GOOGLE_CREDENTIALS_FILE")),
    }
}

/// From `file`, else from the configuration, else by asking.
pub fn obtain(context: &Context, file: Option<&Path>) -> Result<Secret<String>, CliError> {
    if let Some(file) = file {
        return from_file(file);
    }
    if let Some(secret) = configured(context)? {
        return Ok(secret);
    }
    if !context.may_ask() {
        return Err(CliError::usage("no credentials were given, and there is nobody to ask")
            .hint("give --file FILE, --file - or set ADSENGINEER_GOOGLE_CREDENTIALS_FILE"));
    }
    let failed = |e: dialoguer::Error| CliError::usage(e.to_string());
    let client_id: String = dialoguer::Input::new().with_prompt("OAuth client id").interact_text().map_err(failed)?;
    let client_secret = dialoguer::Password::new().with_prompt("OAuth client secret").interact().map_err(failed)?;
    let refresh_token = dialoguer::Password::new().with_prompt("Refresh token").interact().map_err(failed)?;
    Ok(Credentials::AuthorizedUser { client_id, client_secret: client_secret.into(), refresh_token: refresh_token.into() }.to_json())
}
