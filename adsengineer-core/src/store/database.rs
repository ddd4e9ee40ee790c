//! Where a store is: a URL, and the one place that chooses by it which store is opened.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

#[cfg(feature = "postgres")]
use super::postgres::{self, PostgresStore};
#[cfg(feature = "sqlite")]
use super::sqlite::{self, SqliteStore};
use super::{Migrate, MigrationStatus, Store, StoreError};
use crate::{
    audit::AuditKey,
    secret::{Secret, redact_url},
    worker::{
        Liveness,
        lock::{FileLiveness, LeaseLiveness},
    },
};

/// Where a store is. `Display` shows it as a URL without its password.
#[derive(Clone, Debug)]
pub enum Database {
    /// In a SQLite file, which is made when it is not there: `sqlite://path`.
    File(PathBuf),
    /// On a PostgreSQL server, in the schema `adsengineer`: `postgres://user:password@host:port/database?sslmode=verify-full`.
    Server(Secret<String>),
}

/// A URL that names no database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a database is sqlite://path or postgres://user@host:port/database")]
pub struct NoDatabase;

impl FromStr for Database {
    type Err = NoDatabase;

    fn from_str(url: &str) -> Result<Self, NoDatabase> {
        match url.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(Self::Server(Secret::new(url.to_owned()))),
            _ => Err(NoDatabase),
        }
    }
}

impl From<PathBuf> for Database {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "sqlite://{}", path.display()),
            Self::Server(url) => f.write_str(&redact_url(url.expose())),
        }
    }
}

impl Database {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }

    /// Whether there may be something in it: a file that is there, or any server.
    pub fn may_exist(&self) -> bool {
        self.file().is_none_or(Path::exists)
    }

    /// What is done about an older schema where nothing else is said: a file is one program's own, while others may be at
    /// work on a server, and whoever runs them says when it changes.
    pub fn usual_migrate(&self) -> Migrate {
        if self.file().is_some() { Migrate::Auto } else { Migrate::Check }
    }

    /// Opens the store. `chain` names this process's chain in the audit log; no two processes may use the same at a time.
    pub async fn open(&self, migrate: Migrate, audit_key: AuditKey, chain: i64) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::File(path) => {
                let options = sqlite::Options { migrate, ..sqlite::Options::new(audit_key, chain) };
                Ok(Arc::new(SqliteStore::open(path, options)?))
            }
            #[cfg(feature = "postgres")]
            Self::Server(url) => {
                let options = postgres::Options { migrate, ..postgres::Options::new(audit_key, chain) };
                Ok(Arc::new(PostgresStore::open(url.expose(), options).await?))
            }
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            _ => Err(self.not_built(&(migrate, audit_key, chain))),
        }
    }

    /// Which migrations the database has. Changes nothing.
    pub async fn migration_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::File(path) => sqlite::migration_status(path),
            #[cfg(feature = "postgres")]
            Self::Server(url) => postgres::migration_status(url.expose()).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            _ => Err(self.not_built(&())),
        }
    }

    /// How a worker on this database shows that it lives, and learns who does not.
    pub fn liveness(&self) -> std::io::Result<Arc<dyn Liveness>> {
        Ok(match self {
            Self::File(path) => Arc::new(FileLiveness::acquire(path)?),
            Self::Server(_) => Arc::new(LeaseLiveness::default()),
        })
    }

    #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
    fn not_built<T>(&self, _unused: &T) -> StoreError {
        let feature = if self.file().is_some() { "sqlite" } else { "postgres" };
        StoreError::Unavailable(format!("{self} needs a program that was built with the feature `{feature}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_server() {
        let read = |url: &str| url.parse::<Database>().map(|database| (database.to_string(), database.file().map(Path::to_owned)));
        assert_eq!(read("sqlite://a/b.db"), Ok(("sqlite://a/b.db".to_owned(), Some("a/b.db".into()))));
        assert_eq!(read("sqlite:///a.db"), Ok(("sqlite:///a.db".to_owned(), Some("/a.db".into()))));
        assert_eq!(read("postgres://u:p@h/d"), Ok(("postgres://u:***@h/d".to_owned(), None)));
        assert_eq!(read("postgresql://h"), Ok(("postgresql://h".to_owned(), None)));
        for bad in ["", "sqlite://", "postgres://", "a.db", "mysql://h/d", "host=h user=u"] {
            assert_eq!(read(bad), Err(NoDatabase), "{bad}");
        }
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let database: Database = "postgres://u:hunter2@h/d?password=hunter2".parse().unwrap();
        assert!(!format!("{database} {database:?}").contains("hunter2"));
    }

    #[test]
    fn only_a_file_is_changed_unasked() {
        assert_eq!(Database::File("a".into()).usual_migrate(), Migrate::Auto);
        assert_eq!("postgres://h".parse::<Database>().unwrap().usual_migrate(), Migrate::Check);
    }
}
