//! What is done about a schema that is not the current one.

/// What to do about a schema that is not the current one. A newer one is always refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Migrate {
    /// Bring it up to date; a file that had an older schema is copied first.
    #[default]
    Auto,
    /// Refuse what is older. A file that is not there is created; an empty database on a server is not ours to fill unasked.
    Check,
    /// Create nothing, refuse what is older.
    Off,
}

/// A migration as `migrate --status` shows it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct MigrationStatus {
    /// Its number, from 1.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// Whether the database has it.
    pub applied: bool,
}
