//! The configuration file: TOML, the settings at its top, `[import]` for the import flags, `[scoring.NAME]` for an organization's scores.

use std::{collections::BTreeMap, path::Path};

use adsengineer_core::{
    org::OrgId,
    scoring::{Scoring, ScoringRules},
};
use serde::Deserialize;

use super::{ConfigError, KEYS, Key, keys::nearest};

/// Import flags kept in the file; flags on the command line win.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportTable {
    /// Column of the file = column of the template.
    pub map: BTreeMap<String, String>,
    /// Column of the template = value.
    pub set: BTreeMap<String, String>,
    /// IANA zone or `±HHMM`.
    pub time_zone: Option<String>,
    /// Format of times in strftime terms.
    pub time_format: Option<String>,
    /// `auto`, `point` or `comma`.
    pub decimal: Option<String>,
    /// WHATWG label.
    pub encoding: Option<String>,
    /// Codes whose rows are left out.
    pub skip: Vec<String>,
    /// Whether unknown columns are left out.
    pub ignore_unknown_columns: bool,
}

/// Reads the file and hands every setting to `set`.
pub(super) fn read(
    path: &Path,
    mut set: impl FnMut(&'static Key, String, String) -> Result<(), ConfigError>,
) -> Result<(ImportTable, Scoring), ConfigError> {
    let shown = path.display().to_string();
    let fault = |reason: String| ConfigError::File { path: shown.clone(), reason };
    let text = std::fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| fault(e.message().to_owned()))?;
    let import = match table.remove("import") {
        Some(value) => value.try_into().map_err(|e: toml::de::Error| fault(format!("[import]: {}", e.message())))?,
        None => ImportTable::default(),
    };
    let scoring = read_scoring(table.remove("scoring")).map_err(&fault)?;
    for (name, value) in table {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(ConfigError::UnknownKey { path: shown, nearest: nearest(&name).map(str::to_owned), key: name });
        };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Datetime(time) => time.to_string(),
            _ => return Err(fault(format!("`{name}` must be a text or a number"))),
        };
        set(key, text, shown.clone())?;
    }
    Ok((import, scoring))
}

/// Of each organization a table of its own; `"*"` is of those that have none. What a table does not say is as usual.
fn read_scoring(table: Option<toml::Value>) -> Result<Scoring, String> {
    let mut scoring = Scoring::default();
    let Some(table) = table else { return Ok(scoring) };
    let toml::Value::Table(table) = table else { return Err("`scoring` must be tables such as [scoring.acme]".to_owned()) };
    for (name, value) in table {
        let rules: ScoringRules = value.try_into().map_err(|e: toml::de::Error| format!("[scoring.{name}]: {}", e.message()))?;
        if rules.base_cents < 0 || rules.qualified_at > 100 {
            return Err(format!("[scoring.{name}]: base_cents must be 0 or more, qualified_at 100 or less"));
        }
        match name.as_str() {
            "*" => scoring.usual = rules,
            org => drop(scoring.own.insert(org.parse::<OrgId>().map_err(|e| format!("[scoring.{name}]: {e}"))?, rules)),
        }
    }
    Ok(scoring)
}
