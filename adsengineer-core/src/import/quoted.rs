//! Records with quotes, by `csv-core`.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// What came of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A record that took so many bytes; `open` if the file ends within a quote.
    Record { taken: usize, open: bool },
    /// The record goes on behind the piece.
    More,
}

/// The parser and the cells of its last record.
pub(crate) struct Quoted {
    parser: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    cells: usize,
}

impl Quoted {
    pub(crate) fn new(separator: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(separator).build();
        Self { parser, text: vec![0; 4096], ends: vec![0; 64], written: 0, cells: 0 }
    }

    /// Parses the record at the start of `input`; `last` if nothing follows.
    pub(crate) fn parse(&mut self, input: &[u8], last: bool) -> Parsed {
        self.restart();
        match self.feed(input) {
            Some(taken) => Parsed::Record { taken, open: false },
            None if !last => Parsed::More,
            None => {
                // A line break ends the record unless a quote is open.
                let open = self.feed(b"\n").is_none();
                if open {
                    self.restart();
                    self.feed(input);
                    self.feed(b"");
                }
                Parsed::Record { taken: input.len(), open }
            }
        }
    }

    /// The cells' contents, one behind the other.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text[..self.written]
    }

    /// Where each cell's contents end.
    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends[..self.cells]
    }

    fn restart(&mut self) {
        self.parser.reset();
        (self.written, self.cells) = (0, 0);
    }

    /// The bytes taken when a record ended.
    fn feed(&mut self, input: &[u8]) -> Option<usize> {
        let mut taken = 0;
        loop {
            let (text, ends) = (&mut self.text[self.written..], &mut self.ends[self.cells..]);
            let (result, read, written, cells) = self.parser.read_record(&input[taken..], text, ends);
            taken += read;
            self.written += written;
            self.cells += cells;
            match result {
                ReadRecordResult::InputEmpty => return None,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => return Some(taken),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_quotes_at_the_end_are_told_from_closed_ones_and_from_quotes_within_words() {
        let mut quoted = Quoted::new(b',');
        for (text, open) in [("\"a", true), ("a,\"b\nc", true), ("\"a\"", false), ("5\" pipe,\"b\nc\"", false), ("\"a\"\"", true)] {
            assert_eq!(quoted.parse(text.as_bytes(), true), Parsed::Record { taken: text.len(), open }, "{text}");
            assert_eq!(quoted.parse(text.as_bytes(), false), Parsed::More, "{text}");
        }
    }

    #[test]
    fn large_cells_and_many_cells_fit() {
        let mut quoted = Quoted::new(b';');
        let text = format!("\"{}\";{}\nrest", "x".repeat(10_000), ";".repeat(200));
        assert_eq!(quoted.parse(text.as_bytes(), false), Parsed::Record { taken: text.len() - 4, open: false });
        assert_eq!((quoted.text().len(), quoted.ends().len()), (10_000, 202));
    }
}
