//! The second look at a refused body: where it is not JSON, or which of its fields is not what it should be.
//!
//! Values are skimmed, never built, so that a hostile body costs no memory.

use std::{borrow::Cow, fmt, fmt::Write};

use serde::{
    Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{BodyError, ERRORS_MAX, FieldError, Text};

/// Deeper nesting than any body has.
const DEPTH_MAX: usize = 32;

/// What a field must look like; `null` always counts as absent.
pub(crate) enum Shape {
    Text,
    Texts,
    /// A string or a number.
    Decimal,
    Flag,
    Object(&'static [(&'static str, Shape)]),
}

impl Shape {
    fn name(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Texts => "an array of strings",
            Self::Decimal => "a decimal string or a number",
            Self::Flag => "true or false",
            Self::Object(_) => "an object",
        }
    }
}

/// Says why `text` could not be read as `shape`, or as an array of at most `max`.
pub(crate) fn explain(text: &str, max: Option<usize>, shape: &Shape) -> BodyError {
    if let Some((line, column)) = too_deep(text) {
        return BodyError::Malformed { line, column, detail: format!("more than {DEPTH_MAX} levels of nesting") };
    }
    let raw = match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => raw,
        Err(why) => return malformed(&why),
    };
    let mut walk = Walk { errors: Vec::new(), pointer: String::new() };
    let Some(max) = max else {
        walk.required(raw, shape);
        return walk.finish();
    };
    let mut given = 0;
    let read = each_element(raw, |item| {
        if given < max {
            walk.below(&given.to_string(), |walk| walk.required(item, shape));
        }
        given += 1;
    });
    match read {
        Ok(()) if given > max => BodyError::TooMany { given, max },
        Ok(()) => walk.finish(),
        Err(why) => malformed(&why),
    }
}

fn malformed(why: &serde_json::Error) -> BodyError {
    let text = why.to_string();
    let detail = text.split(" at line ").next().unwrap_or_default().to_owned();
    BodyError::Malformed { line: why.line(), column: why.column(), detail }
}

/// Where nesting becomes too deep, strings left out.
fn too_deep(text: &str) -> Option<(usize, usize)> {
    let (mut depth, mut line, mut start) = (0_usize, 1, 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'\n' => (line, start) = (line + 1, at + 1),
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Some((line, at - start + 1));
        }
    }
    None
}

struct Walk {
    errors: Vec<FieldError>,
    pointer: String,
}

impl Walk {
    fn finish(mut self) -> BodyError {
        if self.errors.is_empty() {
            self.fail("INVALID_TYPE", "the body does not have the expected form".to_owned());
        }
        BodyError::Invalid(self.errors)
    }

    fn fail(&mut self, code: &'static str, detail: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError { pointer: self.pointer.clone(), code, detail });
        }
    }

    fn below(&mut self, step: &str, look: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        let step: Cow<'_, str> = if step.contains(['~', '/']) { step.replace('~', "~0").replace('/', "~1").into() } else { step.into() };
        // Writing to a string cannot fail.
        let _ = write!(self.pointer, "/{step}");
        look(self);
        self.pointer.truncate(length);
    }

    fn optional(&mut self, raw: &RawValue, shape: &Shape) {
        if raw.get() != "null" {
            self.required(raw, shape);
        }
    }

    fn required(&mut self, raw: &RawValue, shape: &Shape) {
        let sound = match (shape, raw.get().as_bytes().first()) {
            (Shape::Text | Shape::Decimal, Some(b'"')) => serde_json::from_str::<Text<'_>>(raw.get()).is_ok(),
            (Shape::Decimal, Some(b'-' | b'0'..=b'9')) | (Shape::Flag, Some(b't' | b'f')) => true,
            (Shape::Texts, Some(b'[')) => {
                let mut index = 0_usize;
                each_element(raw, |item| {
                    self.below(&index.to_string(), |walk| walk.required(item, &Shape::Text));
                    index += 1;
                })
                .is_ok()
            }
            (Shape::Object(fields), Some(b'{')) => self.object(raw, fields),
            _ => {
                self.fail("INVALID_TYPE", format!("this must be {}, not {}", shape.name(), kind(raw)));
                true
            }
        };
        if !sound {
            self.fail("INVALID_TEXT", "the string has an escape that stands for no character".to_owned());
        }
    }

    fn object(&mut self, raw: &RawValue, fields: &'static [(&'static str, Shape)]) -> bool {
        let mut seen = vec![false; fields.len()];
        let entry = |key: &str, value: &RawValue| {
            let known = fields.iter().position(|(name, _)| *name == key);
            self.below(known.map_or(&*shortened(key), |at| fields[at].0), |walk| match known {
                None => walk.fail("UNKNOWN_FIELD", "there is no such field".to_owned()),
                Some(at) if std::mem::replace(&mut seen[at], true) => {
                    walk.fail("DUPLICATE_FIELD", "the field stands twice".to_owned());
                }
                Some(at) => walk.optional(value, &fields[at].1),
            });
        };
        let mut json = serde_json::Deserializer::from_str(raw.get());
        (&mut json).deserialize_map(EachEntry(entry)).is_ok()
    }
}

/// A key as a pointer may show it.
fn shortened(key: &str) -> Cow<'_, str> {
    match key.char_indices().nth(100) {
        Some((end, _)) => Cow::Owned(format!("{}…", &key[..end])),
        None => Cow::Borrowed(key),
    }
}

fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a truth value",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn each_element<'a>(raw: &'a RawValue, look: impl FnMut(&'a RawValue)) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(raw.get());
    (&mut json).deserialize_seq(EachElement(look))
}

struct EachElement<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for EachElement<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(item) = array.next_element::<&RawValue>()? {
            (self.0)(item);
        }
        Ok(())
    }
}

struct EachEntry<F>(F);

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for EachEntry<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            (self.0)(&key, map.next_value::<&RawValue>()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: Shape = Shape::Object(&[("flag", Shape::Flag)]);
    const SHAPE: Shape =
        Shape::Object(&[("name", Shape::Text), ("tags", Shape::Texts), ("value", Shape::Decimal), ("inner", INNER), ("a/b~", Shape::Text)]);

    fn errors(text: &str, max: Option<usize>) -> Vec<(String, &'static str)> {
        match explain(text, max, &SHAPE) {
            BodyError::Invalid(errors) => errors.into_iter().map(|e| (e.pointer, e.code)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_of_every_item_is_pointed_at() {
        let text =
            r#"[{"name":1,"tags":["a",null,2],"value":true},null,{"inner":{"flag":"x","more":0}},{"inner":[]},{"name":"a","name":"b"}]"#;
        let expected = [
            ("/0/name", "INVALID_TYPE"),
            ("/0/tags/1", "INVALID_TYPE"),
            ("/0/tags/2", "INVALID_TYPE"),
            ("/0/value", "INVALID_TYPE"),
            ("/1", "INVALID_TYPE"),
            ("/2/inner/flag", "INVALID_TYPE"),
            ("/2/inner/more", "UNKNOWN_FIELD"),
            ("/3/inner", "INVALID_TYPE"),
            ("/4/name", "DUPLICATE_FIELD"),
        ];
        assert_eq!(errors(text, Some(9)), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn pointers_are_escaped_and_long_keys_cut() {
        assert_eq!(errors(r#"{"a/b~":1}"#, None), [("/a~1b~0".to_owned(), "INVALID_TYPE")]);
        assert_eq!(errors(r#"{"x/y":1}"#, None), [("/x~1y".to_owned(), "UNKNOWN_FIELD")]);
        let long = errors(&format!("{{\"{}\":1}}", "k".repeat(5000)), None);
        assert_eq!(long[0].0.chars().count(), 102);
    }

    #[test]
    fn half_characters_are_invalid_text_and_huge_numbers_a_type() {
        assert_eq!(errors(r#"{"name":"\ud800"}"#, None), [("/name".to_owned(), "INVALID_TEXT")]);
        assert_eq!(errors(r#"{"\ud800":1}"#, None), [(String::new(), "INVALID_TEXT")]);
        assert_eq!(errors(r#"{"name":1e999}"#, None), [("/name".to_owned(), "INVALID_TYPE")]);
    }

    #[test]
    fn no_more_errors_are_told_than_a_reader_can_use() {
        let text = format!("[{}{{}}]", "{\"x\":1},".repeat(500));
        assert_eq!(errors(&text, Some(1000)).len(), ERRORS_MAX);
    }
}
