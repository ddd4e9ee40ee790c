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
    asked(on_terminal)
}

/// Something to ask on the terminal.
struct Question {
    text: &'static str,
    /// What is typed must not be seen.
    secret: bool,
}

/// The credentials in the answers to three questions.
fn asked(mut ask: impl FnMut(&Question) -> Result<String, CliError>) -> Result<Secret<String>, CliError> {
    let mut answer = |text, secret| {
        let answer = ask(&Question { text, secret })?;
        let answer = answer.trim();
        if answer.is_empty() { Err(CliError::usage(format!("{text}: nothing was typed"))) } else { Ok(answer.to_owned()) }
    };
    let client_id = answer("OAuth client id", false)?;
    let client_secret = answer("OAuth client secret", true)?.into();
    let refresh_token = answer("Refresh token", true)?.into();
    Ok(Credentials::AuthorizedUser { client_id, client_secret, refresh_token }.to_json())
}

fn on_terminal(Question { text, secret }: &Question) -> Result<String, CliError> {
    let hidden = || dialoguer::Password::new().with_prompt(*text).interact();
    let seen = || dialoguer::Input::new().with_prompt(*text).interact_text();
    (if *secret { hidden() } else { seen() }).map_err(|e| CliError::usage(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_answers_are_credentials_and_only_the_client_id_may_be_seen_while_typed() {
        let mut asked_for = Vec::new();
        let secret = asked(|question| {
            asked_for.push((question.text, question.secret));
            Ok(format!(" answer {}\n", asked_for.len()))
        });
        let text = secret.unwrap();
        let json: serde_json::Value = serde_json::from_str(text.expose()).unwrap();
        let field = |name: &str| json[name].as_str().unwrap().to_owned();
        assert_eq!(
            [field("type"), field("client_id"), field("client_secret"), field("refresh_token")],
            ["authorized_user", "answer 1", "answer 2", "answer 3"]
        );
        assert_eq!(asked_for, [("OAuth client id", false), ("OAuth client secret", true), ("Refresh token", true)]);
    }

    #[test]
    fn an_empty_answer_or_a_broken_terminal_ends_the_questions() {
        let mut count = 0;
        let empty = asked(|_| {
            count += 1;
            Ok(if count == 2 { "  ".to_owned() } else { "x".to_owned() })
        });
        let error = empty.unwrap_err();
        assert_eq!((count, error.exit, error.message.as_str()), (2, Exit::Usage, "OAuth client secret: nothing was typed"));
        let broken = asked(|_| Err(CliError::usage("the terminal is gone")));
        assert_eq!(broken.unwrap_err().message, "the terminal is gone");
    }
}
