//! The few pieces of JSON that requests are written with, straight into the body.

use crate::identity::Hash;

/// A JSON string (RFC 8259 §7).
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            control => {
                out.extend_from_slice(b"\\u00");
                hex(&[control], out);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hexadecimal of a hash.
pub(super) fn hex<const N: usize>(hash: &[u8; N], out: &mut Vec<u8>) {
    const { assert!(N <= size_of::<Hash>()) };
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text[..2 * N]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_a_json_reader() {
        for text in ["", "plain", "a\"b\\c", "\u{0}\u{1f}\n\t", "ünï→😀", "\u{7f}"] {
            let mut out = Vec::new();
            string(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn hashes_are_lower_case_hexadecimal() {
        let mut out = Vec::new();
        hex(&[0x00, 0x9f, 0xff], &mut out);
        assert_eq!(out, b"009fff");
    }
}
