//! Request bodies: one JSON object or an array of them, and what is wrong with one, by JSON pointer.
//!
//! A sound body is read in one pass that tracks no paths; only a refused one is read again to say where and why.
//! Details never quote values, which may be personal.

use std::marker::PhantomData;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

pub(crate) use fields::{Fields, amount, rfc3339};
pub(crate) use shape::Shape;
pub(crate) use text::Text;

mod fields;
mod shape;
mod text;

/// Most errors that are told at once.
pub const ERRORS_MAX: usize = 100;

/// What is wrong with one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901): `/1/email`.
    pub pointer: String,
    /// What kind of fault, in UPPER_SNAKE.
    pub code: &'static str,
    /// What happened and what to do; never quotes a value.
    pub detail: String,
}

/// Why a body was refused as a whole; nothing of it counts.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not JSON.
    #[error("the body is not JSON: {detail} at line {line} column {column}")]
    Malformed {
        /// The line of the fault, from 1.
        line: usize,
        /// Its column, from 1; 0 at the end of a line.
        column: usize,
        /// What is wrong there.
        detail: String,
    },
    /// More items than one request may have.
    #[error("the body has {given} items, and {max} is the most; send several requests")]
    TooMany {
        /// Items in the body.
        given: usize,
        /// Items allowed.
        max: usize,
    },
    /// JSON, but not what it should say; at most [`ERRORS_MAX`] errors.
    #[error("{} of the body's fields cannot be used", .0.len())]
    Invalid(Vec<FieldError>),
}

/// The items of a body.
pub(crate) struct Items<T> {
    /// Whether the body was an array.
    pub many: bool,
    pub items: Vec<T>,
}

/// Reads one object or an array of at most `max`; `shape` is that of an object.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8], max: usize, shape: &Shape) -> Result<Items<T>, BodyError> {
    let text = std::str::from_utf8(body).map_err(|why| not_text(body, why.valid_up_to()))?;
    let many = text.trim_start().starts_with('[');
    let (items, given) = if many { array(text, max) } else { one(text).map(|item| (vec![item], 1)) }
        .map_err(|_| shape::explain(text, many.then_some(max), shape))?;
    if given > max {
        return Err(BodyError::TooMany { given, max });
    }
    if items.is_empty() {
        return Err(invalid("", "EMPTY_BATCH", "the array is empty; send at least one item"));
    }
    Ok(Items { many, items })
}

/// Reads one object.
pub(crate) fn read_one<'a, T: Deserialize<'a>>(body: &'a [u8], shape: &Shape) -> Result<T, BodyError> {
    let text = std::str::from_utf8(body).map_err(|why| not_text(body, why.valid_up_to()))?;
    one(text).map_err(|_| shape::explain(text, None, shape))
}

/// One error as a whole answer.
pub(crate) fn invalid(pointer: &str, code: &'static str, detail: &str) -> BodyError {
    BodyError::Invalid(vec![FieldError { pointer: pointer.to_owned(), code, detail: detail.to_owned() }])
}

fn not_text(body: &[u8], at: usize) -> BodyError {
    let before = &body[..at];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + at - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    BodyError::Malformed { line, column, detail: "bytes that are not UTF-8".to_owned() }
}

fn one<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    serde_json::from_str::<Object<T>>(text).map(|object| object.0)
}

/// The first `max` items, and how many there are.
fn array<'a, T: Deserialize<'a>>(text: &'a str, max: usize) -> serde_json::Result<(Vec<T>, usize)> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Array::<T>(max, PhantomData).deserialize(&mut json)?;
    json.end()?;
    Ok(read)
}

struct Array<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Array<T> {
    type Value = (Vec<T>, usize);

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Array<T> {
    type Value = (Vec<T>, usize);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.0 {
            match array.next_element::<Object<T>>()? {
                Some(Object(item)) => items.push(item),
                None => break,
            }
        }
        let mut given = items.len();
        while given >= self.0 && array.next_element::<IgnoredAny>()?.is_some() {
            given += 1;
        }
        Ok((items, given))
    }
}

/// Something that JSON must write as an object; derived readers would take an array as well.
pub(crate) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

/// The same for optional fields that are not wrapped.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(json)?.map(|object| object.0))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Pair {
        a: Option<String>,
        b: Option<bool>,
    }

    const PAIR: Shape = Shape::Object(&[("a", Shape::Text), ("b", Shape::Flag)]);

    fn read_pairs(body: &[u8]) -> Result<(bool, usize), BodyError> {
        read::<Pair>(body, 3, &PAIR).map(|items| (items.many, items.items.iter().filter(|p| p.a.is_some() || p.b.is_some()).count()))
    }

    #[test]
    fn one_object_and_an_array_are_told_apart() {
        assert_eq!(read_pairs(br#"{"a":"x"}"#), Ok((false, 1)));
        assert_eq!(read_pairs(b" [{\"a\":\"x\"},\n {\"b\":true},{}] "), Ok((true, 2)));
        assert!(read_one::<Pair>(b"{}", &PAIR).is_ok());
        assert!(matches!(read_one::<Pair>(b"[{}]", &PAIR), Err(BodyError::Invalid(_))));
    }

    #[test]
    fn too_many_items_and_none_are_refused() {
        assert_eq!(read_pairs(b"[{},{},{},{},{}]"), Err(BodyError::TooMany { given: 5, max: 3 }));
        assert_eq!(read_pairs(b"[{\"x\":1},{},{},{},{}]"), Err(BodyError::TooMany { given: 5, max: 3 }));
        assert!(matches!(read_pairs(b"[]"), Err(BodyError::Invalid(errors)) if errors[0].code == "EMPTY_BATCH"));
    }

    #[test]
    fn bytes_that_are_no_json_are_malformed_and_placed() {
        let at = |body: &[u8]| match read_pairs(body) {
            Err(BodyError::Malformed { line, column, .. }) => Some((line, column)),
            _ => None,
        };
        assert_eq!(at(b"{\"a\":\n \"\xff\"}"), Some((2, 3)));
        assert_eq!(at(b"{\"a\":}"), Some((1, 6)));
        for body in [&b""[..], b"{", b"{} x", b"[{}]]", b"[{},]", b"\xef\xbb\xbf{}", b"{\"a\":\"\x01\"}", b"{'a':1}", b"{\"x\":01}"] {
            assert!(at(body).is_some(), "{body:?}");
        }
        assert!(at(format!("{{\"x\":{}{}}}", "[".repeat(100), "]".repeat(100)).as_bytes()).is_some());
        assert!(at("[".repeat(100_000).as_bytes()).is_some());
    }

    #[test]
    fn arrays_are_not_taken_for_objects() {
        assert!(matches!(read_pairs(br#"[["x",true]]"#), Err(BodyError::Invalid(_))));
    }
}
