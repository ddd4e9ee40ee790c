//! The cells of one row by column, trimmed, filled up and looked at for spreadsheet damage.

use super::{
    columns::{COUNT, Column},
    damage::{self, Look},
    found::Found,
};

/// What a row says in each column; empty where it says nothing.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    texts: [&'a str; COUNT],
    /// One bit per column whose cell is damaged beyond repair.
    broken: u32,
}

impl<'a> Cells<'a> {
    pub(crate) fn empty() -> Self {
        Self { texts: [""; COUNT], broken: 0 }
    }

    /// Takes a cell of the file.
    #[inline]
    pub(crate) fn put(&mut self, column: Column, cell: &'a str, found: &mut Found) {
        let cell = trimmed(cell);
        self.texts[column as usize] = match damage::look(cell) {
            Look::Fine => cell,
            // Names may begin or end with an apostrophe.
            Look::Repaired(..) if matches!(column, Column::FirstName | Column::LastName) => cell,
            Look::Repaired(repaired, code) => {
                found.warn(column, code, code.meaning());
                repaired
            }
            Look::Broken(code) => {
                found.error(column, code, code.meaning());
                self.broken |= 1 << column as u32;
                ""
            }
        };
    }

    /// Fills an empty cell.
    #[inline]
    pub(crate) fn fill(&mut self, column: Column, text: &'a str) {
        let slot = &mut self.texts[column as usize];
        if slot.is_empty() && self.broken & (1 << column as u32) == 0 {
            *slot = text;
        }
    }

    /// The cell of `column`.
    #[inline]
    pub(crate) fn get(&self, column: Column) -> &'a str {
        self.texts[column as usize]
    }

    /// Whether the cell was damaged beyond repair, which has been told already.
    pub(crate) fn is_broken(&self, column: Column) -> bool {
        self.broken & (1 << column as u32) != 0
    }

    /// All cells in the order of [`Column::ALL`].
    pub(crate) fn texts(&self) -> &[&'a str; COUNT] {
        &self.texts
    }
}

/// `cell` without white space around it; nearly all have none, and two bytes tell.
#[inline]
fn trimmed(cell: &str) -> &str {
    let bytes = cell.as_bytes();
    let plain = |byte: Option<&u8>| byte.is_none_or(|b| (b'!'..=b'~').contains(b));
    if plain(bytes.first()) && plain(bytes.last()) { cell } else { cell.trim() }
}
