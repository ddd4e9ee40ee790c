//! Bugs that can be planted, to see that they are found.

/// One bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A settle counts for whoever holds the row now.
    AnyLease,
    /// An upload is put on record after it was sent.
    NoBegin,
    /// A resend has another transaction id.
    NewTransactionId,
    /// A lost answer counts as a refusal.
    LostIsRefused,
    /// A verdict is given to the neighbours of its rows.
    WrongRows,
}
