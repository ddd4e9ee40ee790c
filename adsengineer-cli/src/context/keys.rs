//! The encryption key that development keeps beside its database.

use std::path::{Path, PathBuf};

use crate::error::{CliError, Exit};
use adsengineer_core::secret::Secret;

/// The key file of a database.
pub(super) fn path(database: &Path) -> PathBuf {
    database.with_extension("key")
}

/// Reads the key beside `database`; in development, makes one where there is neither key nor database.
pub(super) fn beside(database: &Path, development: bool) -> Result<Secret<String>, CliError> {
    let file = path(database);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Secret::new(text.trim().to_owned())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(key_error(format!("the key file {} cannot be read: {error}", file.display())))
        }
        Err(_) if database.exists() => {
            Err(key_error(format!("the database {} is there, but not its key {}", database.display(), file.display()))
                .hint("put the key file back, or set ADSENGINEER_ENCRYPTION_KEY"))
        }
        Err(_) if !development => Err(key_error("outside development no key is made silently")
            .hint("set ADSENGINEER_ENCRYPTION_KEY; `adsengineer key generate` prints a key")),
        Err(_) => make(&file),
    }
}

fn make(file: &Path) -> Result<Secret<String>, CliError> {
    let key = generate();
    write_private(file, key.expose().as_bytes())
        .map_err(|e| key_error(format!("the key file {} cannot be written: {e}", file.display())))?;
    Ok(key)
}

/// The secret for tokens beside `database`; development makes one where there is none.
pub(super) fn jwt_beside(database: &Path, development: bool) -> Result<Option<Secret<String>>, CliError> {
    let file = database.with_extension("jwt");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CliError::new(Exit::Config, "JWT_SECRET", format!("the secret file {} cannot be read: {error}", file.display())))
        }
        Err(_) if !development => Ok(None),
        Err(_) => match make(&file) {
            Ok(secret) => Ok(Some(secret)),
            // Another process was quicker.
            Err(_) if file.exists() => jwt_beside(database, false),
            Err(error) => Err(error),
        },
    }
}

/// A new key in base64.
pub fn generate() -> Secret<String> {
    adsengineer_core::vault::generate_key()
}

/// Writes a file that nobody else may read and that must not be there yet.
pub fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(file)?;
    opened.write_all(bytes)?;
    opened.write_all(b"\n")?;
    opened.sync_all()
}

fn key_error(message: impl Into<String>) -> CliError {
    CliError::new(Exit::Config, "ENCRYPTION_KEY", message)
}
