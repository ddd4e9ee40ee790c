//! Where everyday commands work: on the database of this machine, or on a server.

use std::fmt;

use adsengineer_core::secret::Secret;
use adsengineer_server::config::Settings;

use super::Context;
use crate::{
    api::{Api, Local, Remote},
    client::{Client, Request},
    error::{CliError, Exit},
    logins::{DEFAULT, Logins},
};

/// Where everyday commands work.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Place {
    /// On this machine's database.
    Here,
    /// On a server.
    Server {
        /// Its address.
        server: String,
        /// The stored login, if one is used.
        profile: Option<String>,
        /// Who said so: a flag, a variable, the file, `login`.
        origin: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this machine's database"),
            Self::Server { server, profile: Some(profile), origin } => {
                write!(f, "the server {server} with the login `{profile}`, said by {origin}")
            }
            Self::Server { server, profile: None, origin } => write!(f, "the server {server}, said by {origin}"),
        }
    }
}

/// Who the server says we are.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Me {
    /// The token's subject.
    pub sub: String,
    /// The organization.
    pub org_id: String,
    /// `viewer`, `member`, `admin` or `owner`.
    pub role: String,
    /// When the token ends.
    pub exp: Option<jiff::Timestamp>,
}

/// How much what somebody said counts: a flag before the environment before the file.
fn weight(settings: &Settings, key: &str) -> u8 {
    match settings.origin(key) {
        None | Some("default") => 0,
        Some(origin) if origin.starts_with("--") => 3,
        Some(origin) if origin.starts_with("ADSENGINEER_") => 2,
        Some(_) => 1,
    }
}

impl Context {
    /// Where everyday commands work.
    pub fn place(&self) -> Result<Place, CliError> {
        let settings = &self.settings;
        let [server, profile, database] = ["server", "profile", "database_url"].map(|key| weight(settings, key));
        let named = server.max(profile);
        if named > 0 && named == database {
            let origin = |key: &str| settings.origin(key).unwrap_or_default().to_owned();
            let other = origin(if server == named { "server" } else { "profile" });
            return Err(CliError::usage(format!("{other} and {} say different things about where to work", origin("database_url")))
                .hint("keep one of them"));
        }
        if named < database {
            return Ok(Place::Here);
        }
        let logins = Logins::read()?;
        let profile_name = settings.text("profile").filter(|_| profile > 0);
        if named == 0 {
            let current = logins.current.as_deref().and_then(|name| Some((name.to_owned(), logins.server(name)?.to_owned())));
            return Ok(current.map_or(Place::Here, |(name, server)| Place::Server {
                server,
                profile: Some(name),
                origin: "login".to_owned(),
            }));
        }
        if server < profile || server == 0 {
            let name = profile_name.unwrap_or(DEFAULT);
            let server = logins.server(name).ok_or_else(|| no_profile(name, &logins))?.to_owned();
            let origin = settings.origin("profile").unwrap_or_default().to_owned();
            return Ok(Place::Server { server, profile: Some(name.to_owned()), origin });
        }
        let server = settings.text("server").unwrap_or_default().trim_end_matches('/').to_owned();
        let origin = settings.origin("server").unwrap_or_default().to_owned();
        let fits = |name: &&str| logins.server(name).is_some_and(|known| known == server);
        let candidates = profile_name.into_iter().chain(logins.current.as_deref()).chain([DEFAULT]).chain(logins.names());
        let profile = candidates.into_iter().find(fits).map(str::to_owned);
        Ok(Place::Server { server, profile, origin })
    }

    /// The same in words, with the database by name where it is on another machine.
    pub fn place_text(&self) -> Result<String, CliError> {
        let (place, database) = (self.place()?, self.database()?);
        Ok(if place == Place::Here && database.file().is_none() { format!("the database {database}") } else { place.to_string() })
    }

    /// Everyday verbs, wherever they are done.
    pub async fn api(&self) -> Result<Box<dyn Api>, CliError> {
        match self.remote().await? {
            Some(client) => Ok(Box::new(Remote::new(client))),
            None => Ok(Box::new(Local::new(self.engine().await?, self.caller()?))),
        }
    }

    /// The server in use, if one is.
    pub async fn remote(&self) -> Result<Option<Client>, CliError> {
        let Place::Server { server, profile, .. } = self.place()? else { return Ok(None) };
        let client = self.client(&server, profile.as_deref())?;
        self.same_org(&client).await?;
        Ok(Some(client))
    }

    /// A connection to `server` with the configured token, else that of the stored login.
    pub fn client(&self, server: &str, profile: Option<&str>) -> Result<Client, CliError> {
        let stored = || profile.map_or(Ok(None), |name| Logins::read()?.token(name));
        let token = match self.settings.secret("token") {
            Some(token) => Some(Secret::new(token.expose().trim().to_owned())),
            None => stored()?,
        };
        let missing = || {
            CliError::new(Exit::Auth, "NO_LOGIN", format!("there is no token for {server}"))
                .hint(format!("`adsengineer login --server {server}` stores one, or set ADSENGINEER_TOKEN"))
        };
        Client::new(server, Some(token.ok_or_else(missing)?), self.global.timeout)
    }

    /// With a server the token decides the organization; `--org` may only repeat it.
    async fn same_org(&self, client: &Client) -> Result<(), CliError> {
        let Some(wanted) = self.global.org.as_deref() else { return Ok(()) };
        let me: Me = client.call(Request::get(&["api", "v1", "me"])).await?;
        if me.org_id == wanted {
            return Ok(());
        }
        Err(CliError::usage(format!("--org says `{wanted}`, but the token for {} is of `{}`", client.server(), me.org_id))
            .hint("leave --org out, or log in with a token of that organization"))
    }

    /// Refuses a command that needs this machine when a flag names a server.
    pub fn only_here(&self, what: &str) -> Result<(), CliError> {
        let flag = match (&self.global.server, &self.global.profile) {
            (Some(_), _) => "--server",
            (None, Some(_)) => "--profile",
            (None, None) => return Ok(()),
        };
        Err(CliError::usage(format!("`{what}` works on this machine only and cannot be used with {flag}"))
            .hint(format!("leave {flag} out, or run the command where the server runs")))
    }
}

fn no_profile(name: &str, logins: &Logins) -> CliError {
    let known = logins.names();
    let known = if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", known.join(", ")) };
    CliError::new(Exit::Auth, "NO_LOGIN", format!("there is no login called `{name}`; {known}"))
        .hint(format!("`adsengineer login --profile {name} --server URL` makes one"))
}
