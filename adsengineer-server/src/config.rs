//! Configuration: one table of settings; flag over environment over file over default; every value knows where it came from.
//!
//! ```
//! use adsengineer_server::config::{Settings, Sources};
//!
//! let sources = Sources { environment: vec![("ADSENGINEER_ORG".into(), "acme".into())], ..Sources::default() };
//! let (settings, warnings) = Settings::load(&sources)?;
//! assert_eq!((settings.text("org"), warnings.len()), (Some("acme"), 0));
//! # Ok::<(), adsengineer_server::config::ConfigError>(())
//! ```

mod duration;
mod face;
mod file;
mod keys;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use adsengineer_core::{scoring::Scoring, secret::Secret};
pub use duration::parse_duration;
pub use face::FaceError;
pub use file::ImportTable;
pub use keys::{KEYS, Key, distance, list, nearest};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("the configuration file {path} cannot be read: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// The configuration file has a key that does not exist.
    #[error("{path}: there is no setting `{key}`{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// Which file.
        path: String,
        /// The key.
        key: String,
        /// The known key most like it.
        nearest: Option<String>,
    },
    /// A value cannot be used.
    #[error("{origin}: `{key}` cannot be `{value}`: {expected}")]
    Invalid {
        /// Where the value came from.
        origin: String,
        /// Which setting.
        key: String,
        /// The value, `***` for a secret.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// A secret was given twice.
    #[error("both {variable} and {variable}_FILE are set; keep one of them")]
    Twice {
        /// The variable.
        variable: String,
    },
    /// A file that holds a secret cannot be read.
    #[error("{variable}_FILE names {path}, which cannot be read: {reason}")]
    SecretFile {
        /// The variable.
        variable: String,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A flag would show a secret in the process list.
    #[error("--{flag} must not carry a password, which others could read in the process list; set {variable} or {variable}_FILE instead")]
    SecretInFlag {
        /// The flag.
        flag: String,
        /// The variable to use.
        variable: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// Where settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Values given as flags, by key.
    pub flags: Vec<(&'static str, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// The configuration file; it must exist.
    pub file: Option<PathBuf>,
}

/// A setting's value and where it came from.
#[derive(Clone, Debug)]
struct Value {
    text: Secret<String>,
    origin: String,
}

/// The merged configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    import: ImportTable,
    scoring: Scoring,
    file: Option<PathBuf>,
}

/// One line of `config show`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Shown {
    /// The setting.
    pub key: &'static str,
    /// Its value, secrets as `***`; `null` when unset.
    pub value: Option<String>,
    /// `flag`, the variable, the file, or `default`.
    pub origin: String,
}

impl Settings {
    /// Merges all sources; the second part are warnings about variables that mean nothing.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<String>), ConfigError> {
        let mut settings =
            Self { values: BTreeMap::new(), import: ImportTable::default(), scoring: Scoring::default(), file: sources.file.clone() };
        for key in KEYS {
            if let Some(default) = key.default {
                settings.set(key, default.to_owned(), "default".to_owned())?;
            }
        }
        if let Some(path) = &sources.file {
            (settings.import, settings.scoring) = file::read(path, |key, text, origin| settings.set(key, text, origin))?;
        }
        let warnings = settings.read_environment(&sources.environment)?;
        for (name, text) in &sources.flags {
            let Some(key) = KEYS.iter().find(|key| key.name == *name) else { continue };
            if adsengineer_core::secret::url_has_password(text) {
                return Err(ConfigError::SecretInFlag { flag: key.flag(), variable: key.variable() });
            }
            settings.set(key, text.clone(), format!("--{}", key.flag()))?;
        }
        Ok((settings, warnings))
    }

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<Vec<String>, ConfigError> {
        let get = |name: &str| environment.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.clone());
        for key in KEYS {
            let variable = key.variable();
            let file = if key.may_be_in_file() { get(&format!("{variable}_FILE")) } else { None };
            match (get(&variable), file) {
                (Some(_), Some(_)) => return Err(ConfigError::Twice { variable }),
                (Some(text), None) => self.set(key, text, variable)?,
                (None, Some(path)) => {
                    let text = std::fs::read_to_string(&path);
                    let text = text.map_err(|e| ConfigError::SecretFile { variable: variable.clone(), path, reason: e.to_string() })?;
                    self.set(key, text.trim().to_owned(), format!("{variable}_FILE"))?;
                }
                (None, None) => {}
            }
        }
        Ok(environment.iter().filter_map(|(name, _)| keys::unknown_variable(name)).collect())
    }

    fn set(&mut self, key: &'static Key, text: String, origin: String) -> Result<(), ConfigError> {
        if let Err(expected) = key.check(&text) {
            return Err(ConfigError::Invalid { origin, key: key.name.to_owned(), value: key.shown(&text), expected });
        }
        self.values.insert(key.name, Value { text: Secret::new(text), origin });
        Ok(())
    }

    /// A setting as text; `None` when unset.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.text.expose().as_str())
    }

    /// A secret setting.
    pub fn secret(&self, key: &str) -> Option<Secret<String>> {
        self.values.get(key).map(|value| value.text.clone())
    }

    /// A duration; every duration has a default and was checked when it was read.
    pub fn duration(&self, key: &str) -> Duration {
        self.text(key).and_then(|text| parse_duration(text).ok()).unwrap_or_default()
    }

    /// A whole number; every number has a default and was checked when it was read.
    pub fn number(&self, key: &str) -> u32 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Where a setting came from.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.origin.as_str())
    }

    /// The `[import]` table of the file.
    pub fn import(&self) -> &ImportTable {
        &self.import
    }

    /// The `[scoring]` tables of the file.
    pub fn scoring(&self) -> &Scoring {
        &self.scoring
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&std::path::Path> {
        self.file.as_deref()
    }

    /// Everything, fit for a screen.
    pub fn show(&self) -> Vec<Shown> {
        let line = |key: &'static Key| {
            let value = self.values.get(key.name);
            let text = value.map(|v| key.shown(v.text.expose()));
            Shown { key: key.name, value: text, origin: value.map_or_else(|| "unset".to_owned(), |v| v.origin.clone()) }
        };
        KEYS.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests;
