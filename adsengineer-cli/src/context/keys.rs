//! The encryption key that development keeps beside its database.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use crate::error::{CliError, Exit};
use adsengineer_core::secret::Secret;

/// The key file of a database.
pub(super) fn path(database: &Path) -> PathBuf {
    database.with_extension("key")
}

/// Reads the key beside `database`; in development, makes one where there is neither key nor database.
pub(super) fn beside(database: &Path, development: bool) -> Result<Secret<String>, CliError> {
    let file = path(database);
    if let Some(key) = read(&file)? {
        return Ok(key);
    }
    // The key is written before the database: whoever sees a database in the meantime sees its key.
    if database.exists() {
        return read(&file)?.ok_or_else(|| {
            key_error(format!("the database {} is there, but not its key {}", database.display(), file.display()))
                .hint("put the key file back, or set ADSENGINEER_ENCRYPTION_KEY")
        });
    }
    if development {
        return make(&file);
    }
    Err(key_error("outside development no key is made silently")
        .hint("set ADSENGINEER_ENCRYPTION_KEY; `adsengineer key generate` prints a key"))
}

/// The secret in `file`; `None` where there is no file.
fn read(file: &Path) -> Result<Option<Secret<String>>, CliError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(key_error(format!("the key file {} cannot be read: {error}", file.display()))),
    }
}

/// Makes a secret in `file`, or reads the one that another process made in the meantime.
fn make(file: &Path) -> Result<Secret<String>, CliError> {
    let key = generate();
    match write_private(file, key.expose().as_bytes()) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read(file)?.ok_or_else(|| cannot_write(file, &error)),
        Err(error) => Err(cannot_write(file, &error)),
    }
}

fn cannot_write(file: &Path, error: &std::io::Error) -> CliError {
    key_error(format!("the key file {} cannot be written: {error}", file.display()))
}

/// The secret for tokens beside `database`; development makes one where there is none.
pub(super) fn jwt_beside(database: &Path, development: bool) -> Result<Option<Secret<String>>, CliError> {
    let file = database.with_extension("jwt");
    match read(&file)? {
        None if development => make(&file).map(Some),
        found => Ok(found),
    }
}

/// Why there is no key beside a database that is not a file: every process that uses it must have the same one.
pub(super) fn none_for_server(variable: &'static str, what: &str, hint: &str) -> CliError {
    CliError::new(Exit::Config, variable, format!("a database on a server needs a configured {what}, the same in every process"))
        .hint(format!("set ADSENGINEER_{variable}; {hint}"))
}

/// A new key in base64.
pub fn generate() -> Secret<String> {
    adsengineer_core::vault::generate_key()
}

/// Writes a file that nobody else may read and that must not be there yet; no reader sees a part of it.
pub fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(bytes)?;
    fresh.write_all(b"\n")?;
    fresh.as_file().sync_all()?;
    fresh.persist_noclobber(file).map(|_| ()).map_err(|error| error.error)
}

fn key_error(message: impl Into<String>) -> CliError {
    CliError::new(Exit::Config, "ENCRYPTION_KEY", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_start_at_once_agree_on_one_key() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let database = folder.path().join("a.db");
            let keys: Vec<String> = std::thread::scope(|scope| {
                let one = || beside(&database, true).unwrap().expose().clone();
                let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 44));
        }
    }
}
