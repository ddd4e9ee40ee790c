//! What SQLite's errors mean to a caller.

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;
pub(super) use crate::store::encoding::damaged;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                Self::Damaged(text)
            }
            Some(_) => Self::Unavailable(text),
            None => Self::Damaged(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn of(code: i32) -> StoreError {
        Error::SqliteFailure(ffi::Error::new(code), Some("in its words".to_owned())).into()
    }

    #[test]
    fn a_full_disk_is_told_from_damage_and_both_from_what_passes_by_itself() {
        assert!(matches!(of(ffi::SQLITE_FULL), StoreError::DiskFull(text) if text.contains("in its words")));
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_MISMATCH] {
            assert!(matches!(of(code), StoreError::Damaged(_)), "{code}");
        }
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CANTOPEN, ffi::SQLITE_READONLY] {
            assert!(matches!(of(code), StoreError::Unavailable(_)), "{code}");
        }
    }

    #[test]
    fn a_value_of_another_type_than_expected_is_damage() {
        assert!(matches!(Error::InvalidColumnIndex(3).into(), StoreError::Damaged(_)));
        assert_eq!(damaged("an amount").to_string(), "the database is damaged: an amount makes no sense");
    }
}
