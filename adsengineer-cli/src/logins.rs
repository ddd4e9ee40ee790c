//! Stored logins: which servers, under which names, which one is in use; the tokens in the system's keyring, or, where none
//! answers, in the same private file.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, sync::mpsc, time::Duration};

use adsengineer_core::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::{
    context::config_file,
    error::{CliError, Exit},
};

/// The profile of a login that names none.
pub const DEFAULT: &str = "default";
/// How the keyring knows us.
const SERVICE: &str = "adsengineer";
/// A keyring that asks its owner for a password and gets none must not hold anybody up.
const PATIENCE: Duration = Duration::from_secs(20);

/// All stored logins.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logins {
    /// The profile that everyday commands use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By profile.
    #[serde(default)]
    profiles: BTreeMap<String, Stored>,
}

/// A login as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    server: String,
    /// Only where no keyring answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Where a token was put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// In the system's keyring.
    Keyring,
    /// In a file, because of what the keyring said.
    File(PathBuf, String),
}

fn file() -> Result<PathBuf, CliError> {
    let missing = || CliError::new(Exit::Config, "HOME", "the home folder is not known").hint("set HOME or XDG_CONFIG_HOME");
    config_file().map(|config| config.with_file_name("credentials.toml")).ok_or_else(missing)
}

impl Logins {
    /// Reads them; none is not an error.
    pub fn read() -> Result<Self, CliError> {
        let Ok(file) = file() else { return Ok(Self::default()) };
        let bad = |why: String| {
            CliError::new(Exit::Config, "LOGINS", format!("{} cannot be read: {why}", file.display()))
                .hint("remove the file and run `adsengineer login` again")
        };
        match std::fs::read_to_string(&file) {
            // What the parser says would quote the line, which may hold a token.
            Ok(text) => toml::from_str(&text).map_err(|_| bad("it is not what `adsengineer login` writes".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    /// The server of a profile.
    pub fn server(&self, profile: &str) -> Option<&str> {
        self.profiles.get(profile).map(|stored| stored.server.as_str())
    }

    /// The names of all profiles.
    pub fn names(&self) -> Vec<&str> {
        self.profiles.keys().map(String::as_str).collect()
    }

    /// The token of a profile.
    pub fn token(&self, profile: &str) -> Result<Option<Secret<String>>, CliError> {
        let Some(stored) = self.profiles.get(profile) else { return Ok(None) };
        if let Some(token) = &stored.token {
            return Ok(Some(Secret::new(token.clone())));
        }
        let name = profile.to_owned();
        match in_keyring(move || keyring::v1::Entry::new(SERVICE, &name)?.get_password()) {
            Ok(token) => Ok(Some(Secret::new(token))),
            Err(why) => {
                Err(CliError::new(Exit::Auth, "KEYRING", format!("the keyring does not give the token of profile `{profile}`: {why}"))
                    .hint(format!("unlock it, or run `adsengineer login --profile {profile}` again")))
            }
        }
    }

    /// Stores a login and makes it the current one.
    pub fn put(&mut self, profile: &str, server: &str, token: &Secret<String>) -> Result<Kept, CliError> {
        let (name, copy) = (profile.to_owned(), token.clone());
        let stored = in_keyring(move || keyring::v1::Entry::new(SERVICE, &name)?.set_password(copy.expose()));
        let in_file = stored.as_ref().err().map(|_| token.expose().clone());
        self.profiles.insert(profile.to_owned(), Stored { server: server.to_owned(), token: in_file });
        self.current = Some(profile.to_owned());
        self.write()?;
        Ok(match stored {
            Ok(()) => Kept::Keyring,
            Err(why) => Kept::File(file()?, why),
        })
    }

    /// Forgets a login; whether there was one.
    pub fn remove(&mut self, profile: &str) -> Result<bool, CliError> {
        let Some(stored) = self.profiles.remove(profile) else { return Ok(false) };
        if stored.token.is_none() {
            let name = profile.to_owned();
            let gone = in_keyring(move || keyring::v1::Entry::new(SERVICE, &name)?.delete_credential());
            if let Err(why) = gone {
                tracing::warn!(why, "the keyring did not remove the token");
            }
        }
        if self.current.as_deref() == Some(profile) {
            self.current = None;
        }
        self.write()?;
        Ok(true)
    }

    /// Replaces the file in one step, so that no reader sees half of it.
    fn write(&self) -> Result<(), CliError> {
        let file = file()?;
        let failed =
            |e: &dyn std::fmt::Display| CliError::new(Exit::Config, "LOGINS", format!("{} cannot be written: {e}", file.display()));
        let folder = file.parent().unwrap_or(&file);
        std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        let text = toml::to_string(self).map_err(|e| failed(&e))?;
        // Made with mode 0600.
        let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
        fresh.write_all(text.as_bytes()).and_then(|()| fresh.as_file().sync_all()).map_err(|e| failed(&e))?;
        fresh.persist(&file).map(|_| ()).map_err(|e| failed(&e))
    }
}

/// Asks the keyring on a thread of its own: its client blocks, and may wait for a person.
fn in_keyring<T: Send + 'static>(ask: impl FnOnce() -> keyring::v1::Result<T> + Send + 'static) -> Result<T, String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(ask()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}
