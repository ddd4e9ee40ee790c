//! Google credentials as the JSON files that Google and `gcloud` write.

use std::fmt;

use serde::Deserialize;

use crate::secret::Secret;

/// What tokens are obtained with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A person's consent, as a refresh token of an OAuth client.
    AuthorizedUser {
        /// The OAuth client.
        client_id: String,
        /// Its secret.
        client_secret: Secret<String>,
        /// The grant.
        refresh_token: Secret<String>,
    },
    /// A service account, by its own key.
    ServiceAccount {
        /// Its name, an address that must be a user of the Google Ads account.
        client_email: String,
        /// Which of its keys.
        private_key_id: Option<String>,
        /// PEM.
        private_key: Secret<String>,
    },
}

/// Why a text is not usable as Google credentials. No text of the file is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredentials {
    /// Not JSON at all.
    #[error("the Google credentials are not JSON (line {line}, column {column}); use the file that Google or `gcloud` wrote, unchanged")]
    NotJson {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// The file of an OAuth client, which is only half of what is needed.
    #[error(
        "this is the file of an OAuth client, not of credentials; sign in with it: `adsengineer destination login NAME --client-file FILE`"
    )]
    ClientFile,
    /// A kind that cannot be used here.
    #[error("credentials of type `{0}` are not supported; use `authorized_user` or `service_account`")]
    Type(String),
    /// No `type`.
    #[error("the Google credentials have no `type`; expected `authorized_user` or `service_account`")]
    NoType,
    /// A field is missing, empty or not text.
    #[error("the `{kind}` credentials have no usable `{field}`; download the file again")]
    Field {
        /// The type of credentials.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: Option<String>,
    installed: Option<serde::de::IgnoredAny>,
    web: Option<serde::de::IgnoredAny>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
}

impl Credentials {
    /// Reads an `authorized_user` or `service_account` file.
    pub fn from_json(text: &str) -> Result<Self, InvalidCredentials> {
        let file: File = serde_json::from_str(text).map_err(|e| InvalidCredentials::NotJson { line: e.line(), column: e.column() })?;
        match file.kind.as_deref() {
            Some("authorized_user") => file.authorized_user(),
            Some("service_account") => file.service_account(),
            None if file.installed.is_some() || file.web.is_some() => Err(InvalidCredentials::ClientFile),
            None => Err(InvalidCredentials::NoType),
            Some(other) => Err(InvalidCredentials::Type(other.chars().take(40).collect())),
        }
    }

    /// The same as JSON, to be sealed and stored.
    pub fn to_json(&self) -> Secret<String> {
        let json = match self {
            Self::AuthorizedUser { client_id, client_secret, refresh_token } => serde_json::json!({
                "type": "authorized_user", "client_id": client_id, "client_secret": client_secret.expose(), "refresh_token": refresh_token.expose(),
            }),
            Self::ServiceAccount { client_email, private_key_id, private_key } => serde_json::json!({
                "type": "service_account", "client_email": client_email, "private_key_id": private_key_id, "private_key": private_key.expose(),
            }),
        };
        Secret::new(json.to_string())
    }

    /// Who these are, fit for screens.
    pub fn subject(&self) -> impl fmt::Display + '_ {
        match self {
            Self::AuthorizedUser { client_id, .. } => format!("a user of OAuth client {client_id}"),
            Self::ServiceAccount { client_email, .. } => format!("service account {client_email}"),
        }
    }
}

impl File {
    fn authorized_user(self) -> Result<Credentials, InvalidCredentials> {
        let need = |value, field| required(value, "authorized_user", field);
        Ok(Credentials::AuthorizedUser {
            client_id: need(self.client_id, "client_id")?,
            client_secret: need(self.client_secret, "client_secret")?.into(),
            refresh_token: need(self.refresh_token, "refresh_token")?.into(),
        })
    }

    fn service_account(self) -> Result<Credentials, InvalidCredentials> {
        let need = |value, field| required(value, "service_account", field);
        Ok(Credentials::ServiceAccount {
            client_email: need(self.client_email, "client_email")?,
            private_key_id: self.private_key_id.filter(|id| !id.is_empty()),
            private_key: need(self.private_key, "private_key")?.into(),
        })
    }
}

fn required(value: Option<String>, kind: &'static str, field: &'static str) -> Result<String, InvalidCredentials> {
    value.filter(|text| !text.trim().is_empty()).ok_or(InvalidCredentials::Field { kind, field })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str =
        r#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r","universe_domain":"googleapis.com"}"#;
    const SERVICE: &str =
        r#"{"type":"service_account","project_id":"p","private_key_id":"k","private_key":"PEM","client_email":"a@p.iam"}"#;

    #[test]
    fn both_kinds_are_read_and_survive_being_stored() {
        for text in [USER, SERVICE] {
            let read = Credentials::from_json(text).unwrap();
            let again = Credentials::from_json(read.to_json().expose()).unwrap();
            assert_eq!(read.to_json().expose(), again.to_json().expose());
        }
        assert_eq!(Credentials::from_json(SERVICE).unwrap().subject().to_string(), "service account a@p.iam");
        assert_eq!(Credentials::from_json(USER).unwrap().subject().to_string(), "a user of OAuth client c");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}{:?}", Credentials::from_json(USER).unwrap(), Credentials::from_json(SERVICE).unwrap());
        assert!(!shown.contains("\"s\"") && !shown.contains("\"r\"") && !shown.contains("PEM"), "{shown}");
    }

    #[test]
    fn wrong_files_are_refused_with_the_reason() {
        use InvalidCredentials::{ClientFile, Field, NoType, NotJson, Type};
        for (text, expected) in [
            ("", NotJson { line: 1, column: 0 }),
            ("client_id=1", NotJson { line: 1, column: 1 }),
            (r#"{"installed":{"client_id":"x"}}"#, ClientFile),
            (r#"{"web":{}}"#, ClientFile),
            ("{}", NoType),
            (r#"{"type":"external_account"}"#, Type("external_account".into())),
            (
                r#"{"type":"authorized_user","client_id":"c","client_secret":"s"}"#,
                Field { kind: "authorized_user", field: "refresh_token" },
            ),
            (r#"{"type":"service_account","client_email":"a","private_key":" "}"#, Field { kind: "service_account", field: "private_key" }),
        ] {
            assert_eq!(Credentials::from_json(text).unwrap_err(), expected, "{text}");
        }
    }
}
