//! Cuts text into records, in constant memory, counting rows as a spreadsheet does.
//!
//! Lines without a quote, nearly all of them, are cut in place; those with one go through `csv-core`.

use std::io::Read;

use super::{
    decode::{ReadFault, Text},
    quoted::{Parsed, Quoted},
};
use crate::finding::{Code, Finding};

/// The longest record; more means a quote that is never closed.
pub(crate) const RECORD_MAX: usize = 1 << 20;
/// What is read at once.
const STEP: usize = 128 << 10;

/// One row of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// The row as a spreadsheet shows it.
    pub row: u64,
    text: &'a str,
    cells: &'a [(u32, u32)],
    /// The file ended before the row did: no line break, or an open quote.
    pub cut: bool,
    /// The line was longer than [`RECORD_MAX`] and has been dropped; never in CSV, where that is a fault of the file.
    pub too_long: bool,
}

impl<'a> Record<'a> {
    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell, untouched; empty beyond the last.
    pub(crate) fn cell(&self, index: usize) -> &'a str {
        self.cells.get(index).map_or("", |(from, to)| &self.text[*from as usize..*to as usize])
    }

    /// All cells, untouched.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text;
        self.cells.iter().map(move |(from, to)| &text[*from as usize..*to as usize])
    }

    /// The whole line; only for files that are not CSV.
    pub(crate) fn line(&self) -> &'a str {
        self.text
    }
}

/// How lines become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At this separator, honouring quotes.
    Cells(u8),
    /// Not at all.
    Lines,
}

/// The records of a text.
pub(crate) struct Records<R> {
    text: Text<R>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// A carriage return ended the last line; a line feed right after it belongs to it.
    after_cr: bool,
    /// Bytes of text before `buffer[0]`.
    offset: u64,
    rows: u64,
    cut: Cut,
    quoted: Quoted,
    cells: Vec<(u32, u32)>,
}

/// Where a record lies in the buffer.
struct Span {
    from: usize,
    to: usize,
    kind: SpanKind,
    /// The file ends here, without a line break.
    cut: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum SpanKind {
    Plain,
    /// Has quotes; its cells are in `quoted`.
    Quoted,
    /// Has quotes, and the file ends within one.
    Open,
    /// A line of more than [`RECORD_MAX`] bytes, dropped.
    TooLong,
}

impl<R: Read> Records<R> {
    pub(crate) fn new(text: Text<R>) -> Self {
        let offset = text.mark();
        Self {
            text,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            ended: false,
            after_cr: false,
            offset,
            rows: 0,
            cut: Cut::Cells(b','),
            quoted: Quoted::new(b','),
            cells: Vec::with_capacity(32),
        }
    }

    /// From here on records are cut like this.
    pub(crate) fn cut(&mut self, cut: Cut) {
        self.cut = cut;
        if let Cut::Cells(separator) = cut {
            self.quoted = Quoted::new(separator);
        }
    }

    /// The row of the last record or line taken.
    pub(crate) fn row(&self) -> u64 {
        self.rows
    }

    /// The next line with something in it, without taking it.
    pub(crate) fn peek(&mut self) -> Result<Option<&str>, Finding> {
        loop {
            self.skip_line_feed()?;
            let Some(to) = self.line_end()? else { return Ok(None) };
            if self.buffer[self.start..to].iter().all(|b| matches!(b, b',' | b';' | b'\t' | b' ')) {
                self.take_line(to);
                self.rows += 1;
                continue;
            }
            let (from, row) = (self.start, self.rows + 1);
            return self.checked(from, to, row).map(Some);
        }
    }

    /// Drops the line that was peeked at.
    pub(crate) fn skip_line(&mut self) -> Result<(), Finding> {
        if let Some(to) = self.line_end()? {
            self.take_line(to);
            self.rows += 1;
        }
        Ok(())
    }

    /// The next record that is not blank.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>, Finding> {
        let span = loop {
            let Some(span) = self.span()? else { return Ok(None) };
            self.rows += 1;
            if self.is_blank(&span) {
                continue;
            }
            if span.to - span.from > RECORD_MAX && span.kind != SpanKind::TooLong {
                return Err(too_long(self.rows));
            }
            break span;
        };
        let row = self.rows;
        match span.kind {
            SpanKind::Plain => {}
            SpanKind::TooLong => return Ok(Some(Record { row, text: "", cells: &[], cut: false, too_long: true })),
            SpanKind::Quoted | SpanKind::Open => return self.quoted(&span, row).map(Some),
        }
        self.cells.clear();
        let line = &self.buffer[span.from..span.to];
        if let Cut::Cells(separator) = self.cut {
            let mut from = 0;
            for at in memchr::memchr_iter(separator, line) {
                self.cells.push((from, position(at)));
                from = position(at + 1);
            }
            self.cells.push((from, position(line.len())));
        }
        let text = self.checked(span.from, span.to, row)?;
        Ok(Some(Record { row, text, cells: &self.cells, cut: span.cut, too_long: false }))
    }

    fn is_blank(&self, span: &Span) -> bool {
        let line = &self.buffer[span.from..span.to];
        match self.cut {
            _ if span.kind == SpanKind::TooLong => false,
            // The first byte of nearly every line decides.
            Cut::Cells(separator) => line.iter().all(|b| *b == separator || *b == b' '),
            Cut::Lines => line.iter().all(u8::is_ascii_whitespace),
        }
    }

    /// Takes the next record from the buffer.
    fn span(&mut self) -> Result<Option<Span>, Finding> {
        self.skip_line_feed()?;
        if self.cut == Cut::Lines {
            return self.line();
        }
        let mut searched = self.start;
        loop {
            let found = memchr::memchr3(b'"', b'\n', b'\r', &self.buffer[searched..self.end]).map(|at| searched + at);
            match found {
                Some(at) if self.buffer[at] == b'"' => return self.quoted_span().map(Some),
                Some(at) => {
                    let from = self.start;
                    self.take_line(at);
                    return Ok(Some(Span { from, to: at, kind: SpanKind::Plain, cut: false }));
                }
                None => {
                    let length = self.end - self.start;
                    if !self.more()? {
                        return Ok(self.last_line());
                    }
                    searched = self.start + length;
                }
            }
        }
    }

    fn last_line(&mut self) -> Option<Span> {
        let (from, to) = (self.start, self.end);
        self.start = self.end;
        (from < to).then_some(Span { from, to, kind: SpanKind::Plain, cut: true })
    }

    /// Takes the next line whole; one that is too long is dropped, so that the next can be read.
    fn line(&mut self) -> Result<Option<Span>, Finding> {
        let mut kind = SpanKind::Plain;
        loop {
            let found = memchr::memchr2(b'\n', b'\r', &self.buffer[self.start..self.end]).map(|at| self.start + at);
            let to = found.unwrap_or(self.end);
            if to - self.start > RECORD_MAX {
                kind = SpanKind::TooLong;
                self.start = to;
            }
            if found.is_some() || !self.more()? {
                let (from, to) = (self.start, found.unwrap_or(self.end));
                let nothing = found.is_none() && from == to && kind == SpanKind::Plain;
                self.take_line(to);
                return Ok((!nothing).then_some(Span { from, to, kind, cut: found.is_none() }));
            }
        }
    }

    /// Finds the end of a record with quotes and leaves its cells in `quoted`.
    fn quoted_span(&mut self) -> Result<Span, Finding> {
        loop {
            match self.quoted.parse(&self.buffer[self.start..self.end], self.ended) {
                Parsed::Record { taken, open } => {
                    let (from, mut to) = (self.start, self.start + taken);
                    self.after_cr = taken > 0 && self.buffer[to - 1] == b'\r';
                    self.start = to;
                    let broken = taken > 0 && matches!(self.buffer[to - 1], b'\r' | b'\n');
                    to -= usize::from(broken);
                    let kind = if open { SpanKind::Open } else { SpanKind::Quoted };
                    return Ok(Span { from, to, kind, cut: open || !broken });
                }
                Parsed::More => {
                    self.more()?;
                }
            }
        }
    }

    /// The cells of a record with quotes; an open quote that swallowed lines is a fault of the whole file.
    fn quoted(&mut self, span: &Span, row: u64) -> Result<Record<'_>, Finding> {
        if span.kind == SpanKind::Open && memchr::memchr2(b'\n', b'\r', &self.buffer[span.from..span.to]).is_some() {
            return Err(Finding::file(Code::UnclosedQuote, "a quote opened in this row is never closed").at(row));
        }
        self.cells.clear();
        let mut from = 0;
        for end in self.quoted.ends() {
            self.cells.push((from, position(*end)));
            from = position(*end);
        }
        self.checked(span.from, span.to, row)?;
        let text = std::str::from_utf8(self.quoted.text())
            .map_err(|_| Finding::file(Code::UndecodableBytes, "the row is not valid text").at(row))?;
        Ok(Record { row, text, cells: &self.cells, cut: span.cut, too_long: false })
    }

    /// The bytes as text, or where they are none.
    fn checked(&self, from: usize, to: usize, row: u64) -> Result<&str, Finding> {
        std::str::from_utf8(&self.buffer[from..to]).map_err(|e| {
            let offset = self.offset + (from + e.valid_up_to()) as u64;
            undecodable(row, self.text.encoding(), offset)
        })
    }

    /// The end of the next line; `None` at the end of the file.
    fn line_end(&mut self) -> Result<Option<usize>, Finding> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.start + searched..self.end]) {
                return Ok(Some(self.start + searched + at));
            }
            searched = self.end - self.start;
            if !self.more()? {
                return Ok((self.start < self.end).then_some(self.end));
            }
        }
    }

    /// Takes the line that ends at `to`, with its line break.
    fn take_line(&mut self, to: usize) {
        self.after_cr = to < self.end && self.buffer[to] == b'\r';
        self.start = (to + 1).min(self.end);
    }

    fn skip_line_feed(&mut self) -> Result<(), Finding> {
        if self.after_cr {
            if self.start == self.end {
                self.more()?;
            }
            self.start += usize::from(self.start < self.end && self.buffer[self.start] == b'\n');
            self.after_cr = false;
        }
        Ok(())
    }

    /// Reads more behind what is there; false at the end of the file. Moves what is there to the front.
    fn more(&mut self) -> Result<bool, Finding> {
        if self.ended {
            return Ok(false);
        }
        let row = self.rows + 1;
        if self.end - self.start > RECORD_MAX {
            return Err(too_long(row));
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.offset += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + STEP {
            self.buffer.resize(self.end + STEP, 0);
        }
        let count = self.text.read(&mut self.buffer[self.end..]).map_err(|fault| match fault {
            ReadFault::Io(e) => Finding::file(Code::ReadFailed, format!("reading failed: {e}")).at(row),
            ReadFault::Undecodable { encoding, offset } => undecodable(row, encoding, offset),
        })?;
        self.end += count;
        self.ended = count == 0;
        Ok(count > 0)
    }
}

fn too_long(row: u64) -> Finding {
    Finding::file(Code::RowTooLong, "the row is longer than 1 MiB").at(row)
}

fn undecodable(row: u64, encoding: &str, offset: u64) -> Finding {
    let finding = Finding::file(Code::UndecodableBytes, format!("the bytes at offset {offset} of the file are not {encoding}")).at(row);
    if encoding == "UTF-8" { finding } else { finding.hint("the file is damaged there, or --encoding names the wrong one") }
}

/// Records are shorter than 2 MiB, so positions fit.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
