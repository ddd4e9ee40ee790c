//! What goes wrong in a transaction, and what is to be done about it.

use tokio_postgres::error::SqlState;

use crate::store::StoreError;
pub(super) use crate::store::encoding::damaged;

/// Why a command or a transaction came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The command does not fit what is there. It has written nothing, and the transaction goes on.
    Refused(StoreError),
    /// The transaction is over; another try may succeed.
    Again(StoreError),
    /// The transaction is over, and would be so again.
    Broken(StoreError),
    /// The transaction was over already: another statement, sent at the same time, says why.
    Aborted,
    /// The connection is gone.
    Lost(StoreError),
}

/// What statements that were sent at once came to: the failure that is the cause of the others.
pub(super) fn all_of(results: impl IntoIterator<Item = Result<(), Fault>>) -> Result<(), Fault> {
    let mut failures = results.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    let cause = failures.iter().position(|fault| *fault != Fault::Aborted).unwrap_or(0);
    if failures.is_empty() { Ok(()) } else { Err(failures.swap_remove(cause)) }
}

impl Fault {
    /// Another process got there first; the next try sees what it did.
    pub(super) fn overtaken() -> Self {
        Self::Again(StoreError::Unavailable("other processes change the same rows all the time".to_owned()))
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Aborted => StoreError::Unavailable("another statement of the transaction failed".to_owned()),
            Fault::Refused(error) | Fault::Again(error) | Fault::Broken(error) | Fault::Lost(error) => error,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) | StoreError::Conflict(_) | StoreError::Busy => Self::Refused(error),
            _ => Self::Broken(error),
        }
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = full_text(&error);
        match error.code() {
            Some(code) => from_code(code, text),
            None if is_network(&error) => Self::Lost(StoreError::Unavailable(text)),
            None => Self::Broken(StoreError::Damaged(text)),
        }
    }
}

fn from_code(code: &SqlState, text: String) -> Fault {
    match code.code() {
        "53100" => Fault::Broken(StoreError::DiskFull(text)),
        // A serialization failure, a deadlock, two that insert the same key.
        "40001" | "40P01" | "23505" => Fault::Again(StoreError::Unavailable(text)),
        "25P02" => Fault::Aborted,
        // A lock or a statement that took too long.
        "55P03" | "57014" => Fault::Broken(StoreError::Unavailable(text)),
        // Tables that are not there, or not like that.
        "3F000" | "42P01" | "42703" => {
            Fault::Broken(StoreError::Schema(format!("the schema is not the expected one ({text}): run `adsengineer migrate`")))
        }
        // Text that cannot be stored, for example with a zero byte.
        class if class.starts_with("22") => Fault::Broken(StoreError::Conflict(format!("it cannot be stored: {text}"))),
        class if class.starts_with("XX") || class.starts_with("23") => Fault::Broken(StoreError::Damaged(text)),
        class if class.starts_with("08") || class.starts_with("57P") || class.starts_with("25006") => {
            Fault::Lost(StoreError::Unavailable(text))
        }
        _ => Fault::Broken(StoreError::Unavailable(text)),
    }
}

fn is_network(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    let is_io = source.is_some_and(|s| s.downcast_ref::<std::io::Error>().is_some());
    // What else has no code is about values, and says `column` or `parameter`.
    is_io || error.is_closed() || source.is_none()
}

/// The error with what it came from; the server's own words where it has some.
fn full_text(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_error_says_whether_another_try_helps() {
        let of = |code: &str| from_code(&SqlState::from_code(code), "in its words".to_owned());
        assert!(matches!(of("53100"), Fault::Broken(StoreError::DiskFull(_))));
        for again in ["40001", "40P01", "23505"] {
            assert!(matches!(of(again), Fault::Again(_)), "{again}");
        }
        for lost in ["08006", "57P01", "57P03", "25006"] {
            assert!(matches!(of(lost), Fault::Lost(StoreError::Unavailable(_))), "{lost}");
        }
        assert!(matches!(of("57014"), Fault::Broken(StoreError::Unavailable(_))));
        assert!(matches!(of("42P01"), Fault::Broken(StoreError::Schema(text)) if text.contains("adsengineer migrate")));
        assert!(matches!(of("22021"), Fault::Broken(StoreError::Conflict(_))));
        assert!(matches!(of("23502"), Fault::Broken(StoreError::Damaged(_))));
        assert!(matches!(of("53300"), Fault::Broken(StoreError::Unavailable(_))));
    }

    #[test]
    fn of_failures_at_once_the_cause_is_told() {
        let full = || Fault::Broken(StoreError::DiskFull("x".to_owned()));
        assert_eq!(all_of([Ok(()), Err(Fault::Aborted), Err(full()), Err(Fault::Aborted)]), Err(full()));
        assert_eq!(all_of([Err(Fault::Aborted)]), Err(Fault::Aborted));
        assert_eq!(all_of([Ok(()), Ok(())]), Ok(()));
    }

    #[test]
    fn refusals_leave_the_transaction_alone_and_damage_ends_it() {
        assert!(matches!(Fault::from(StoreError::NotFound("x".to_owned())), Fault::Refused(_)));
        assert!(matches!(Fault::from(damaged("x")), Fault::Broken(_)));
        assert!(matches!(StoreError::from(Fault::overtaken()), StoreError::Unavailable(_)));
    }
}
