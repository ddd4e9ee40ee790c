//! From bytes to UTF-8: byte order marks, encodings by label, and files that are no text at all.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::finding::{Code, Finding};

/// Undecoded bytes held at once.
const CHUNK: usize = 64 << 10;

/// Why no more text comes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    #[error("bytes that are not {encoding} at byte {offset}")]
    Undecodable { encoding: &'static str, offset: u64 },
}

/// A reader that yields UTF-8; files in UTF-8 pass through unchecked, so that whoever cuts rows checks them once.
pub(crate) struct Text<R> {
    input: R,
    /// Bytes read but not handed out yet.
    held: Vec<u8>,
    start: usize,
    decoder: Option<Decoder>,
    encoding: &'static str,
    /// Bytes taken from the input before `held[start]`.
    consumed: u64,
    ended: bool,
    fault: Option<ReadFault>,
}

impl<R: Read> Text<R> {
    /// Looks at the first bytes; `label` names the encoding of files without byte order mark.
    pub(crate) fn open(mut input: R, label: Option<&str>) -> Result<Self, Finding> {
        let mut held = vec![0; CHUNK];
        let filled = fill(&mut input, &mut held).map_err(|e| Finding::file(Code::ReadFailed, format!("reading failed: {e}")))?;
        held.truncate(filled);
        let named = label.map(encoding_of).transpose()?;
        let (encoding, mark) = Encoding::for_bom(&held).map_or((named.unwrap_or(UTF_8), 0), |(encoding, mark)| (encoding, mark));
        refuse_binary(&held[mark..], encoding)?;
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        let ended = filled < CHUNK;
        Ok(Self { input, held, start: mark, decoder, encoding: encoding.name(), consumed: mark as u64, ended, fault: None })
    }

    /// Puts text into `out` and tells how many bytes; 0 is the end.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadFault> {
        loop {
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            if self.start == self.held.len() && !self.ended {
                self.refill()?;
            }
            let written = if self.decoder.is_some() { self.decode(out) } else { self.pass(out) };
            if written > 0 || (self.fault.is_none() && self.ended && self.start == self.held.len()) {
                return Ok(written);
            }
        }
    }

    /// The encoding's name, and whether offsets in the text are offsets in the file.
    pub(crate) fn encoding(&self) -> &'static str {
        self.encoding
    }

    /// The length of the byte order mark.
    pub(crate) fn mark(&self) -> u64 {
        self.consumed
    }

    fn refill(&mut self) -> io::Result<()> {
        self.held.resize(CHUNK, 0);
        let filled = fill(&mut self.input, &mut self.held)?;
        self.held.truncate(filled);
        self.start = 0;
        self.ended = filled < CHUNK;
        Ok(())
    }

    fn pass(&mut self, out: &mut [u8]) -> usize {
        let length = out.len().min(self.held.len() - self.start);
        out[..length].copy_from_slice(&self.held[self.start..self.start + length]);
        self.start += length;
        length
    }

    fn decode(&mut self, out: &mut [u8]) -> usize {
        let Some(decoder) = &mut self.decoder else { return 0 };
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(&self.held[self.start..], out, self.ended);
        self.start += read;
        self.consumed += read as u64;
        match result {
            DecoderResult::Malformed(length, after) => {
                let offset = self.consumed.saturating_sub(u64::from(length) + u64::from(after));
                self.fault = Some(ReadFault::Undecodable { encoding: self.encoding, offset });
            }
            // A decoder that has seen the end must not be asked again.
            DecoderResult::InputEmpty if self.ended => self.decoder = None,
            DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
        }
        written
    }
}

/// Fills `buffer` as far as the input goes, across short reads.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn encoding_of(label: &str) -> Result<&'static Encoding, Finding> {
    let label: String = label.chars().take(40).collect();
    Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        Finding::file(Code::InvalidOption, format!("--encoding `{label}` is not a known encoding"))
            .hint("use a label such as utf-8, utf-16le, windows-1252 or iso-8859-1")
    })
}

/// Names what is certainly no text.
fn refuse_binary(start: &[u8], encoding: &'static Encoding) -> Result<(), Finding> {
    let zip = start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06");
    if zip || start.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Err(Finding::file(Code::ExcelWorkbook, "the file is an Excel workbook or another archive, not CSV"));
    }
    if [&b"\x1f\x8b"[..], b"BZh", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ"].iter().any(|magic| start.starts_with(magic)) {
        return Err(Finding::file(Code::CompressedFile, "the file is compressed"));
    }
    let zero = (encoding != UTF_16LE && encoding != UTF_16BE).then(|| memchr::memchr(0, start)).flatten();
    let Some(zero) = zero else { return Ok(()) };
    let finding = Finding::file(Code::BinaryFile, format!("the file is not text: byte {zero} is zero"));
    let zeros = memchr::memchr_iter(0, start).count();
    let utf16 = zeros * 3 > start.len();
    Err(match (utf16, start.first()) {
        (true, Some(0)) => finding.hint("it may be UTF-16 without a byte order mark: try --encoding utf-16be"),
        (true, _) => finding.hint("it may be UTF-16 without a byte order mark: try --encoding utf-16le"),
        _ => finding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], label: Option<&str>) -> Result<String, String> {
        let mut input = Text::open(bytes, label).map_err(|finding| finding.code.to_string())?;
        let (mut all, mut out) = (Vec::new(), [0; 16]);
        loop {
            match input.read(&mut out) {
                Ok(0) => return String::from_utf8(all).map_err(|e| e.to_string()),
                Ok(count) => all.extend_from_slice(&out[..count]),
                Err(fault) => return Err(fault.to_string()),
            }
        }
    }

    #[test]
    fn marks_and_labels_decide_the_encoding() {
        let wide = |be: bool| -> Vec<u8> {
            let swap = |u: u16| if be { u.to_be_bytes() } else { u.to_le_bytes() };
            "\u{feff}Grüße, 𝄞".encode_utf16().flat_map(swap).collect()
        };
        assert_eq!(text("Grüße".as_bytes(), None).as_deref(), Ok("Grüße"));
        assert_eq!(text("\u{feff}Grüße".as_bytes(), Some("windows-1252")).as_deref(), Ok("Grüße"));
        assert_eq!(text(&wide(false), None).as_deref(), Ok("Grüße, 𝄞"));
        assert_eq!(text(&wide(true), None).as_deref(), Ok("Grüße, 𝄞"));
        assert_eq!(text(b"Gr\xfc\xdfe", Some("latin1")).as_deref(), Ok("Grüße"));
        assert_eq!(text(&wide(false)[2..], Some("utf-16le")).as_deref(), Ok("Grüße, 𝄞"));
        assert_eq!(text(b"a", Some("klingon")), Err("INVALID_OPTION".to_owned()));
    }

    #[test]
    fn text_longer_than_a_chunk_arrives_whole_through_short_reads() {
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.len().min(buffer.len()).min(7);
                buffer[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        let long = "Grüße aus Köln\n".repeat(20_000);
        let wide: Vec<u8> = format!("\u{feff}{long}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [long.as_bytes(), &wide] {
            let mut input = Text::open(Trickle(bytes), None).unwrap();
            let (mut all, mut out) = (Vec::new(), vec![0; 4096]);
            while let Ok(count @ 1..) = input.read(&mut out) {
                all.extend_from_slice(&out[..count]);
            }
            assert!(all == long.as_bytes());
        }
    }

    #[test]
    fn malformed_sequences_are_located_after_the_good_text() {
        let half = [0xff, 0xfe, b'a', 0, b'b', 0, b'c'];
        assert_eq!(text(&half, None), Err("bytes that are not UTF-16LE at byte 6".to_owned()));
        assert_eq!(text(b"ab\x80\xff", Some("shift_jis")), Err("bytes that are not Shift_JIS at byte 3".to_owned()));
    }

    #[test]
    fn what_is_not_text_is_named() {
        for (bytes, code) in [
            (&b"PK\x03\x04..."[..], "EXCEL_WORKBOOK"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "EXCEL_WORKBOOK"),
            (b"\x1f\x8b\x08\x00", "COMPRESSED_FILE"),
            (b"abc\0def", "BINARY_FILE"),
            (b"a\0b\0c\0", "BINARY_FILE"),
        ] {
            assert_eq!(text(bytes, None), Err(code.to_owned()));
        }
        let hint = |bytes| Text::open(bytes, None).err().map(|f: Finding| f.hint).unwrap_or_default();
        assert!(hint(&b"a\0b\0c\0"[..]).contains("utf-16le"));
        assert!(hint(&b"\0a\0b\0c"[..]).contains("utf-16be"));
    }
}
