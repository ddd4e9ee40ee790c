//! A strict, borrowing reader for the JSON of tokens: one object, every name once, numbers exact.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most members of a header or payload; more would make looking for duplicates expensive.
const MAX_MEMBERS: usize = 64;

/// Whole numbers up to here are exact as 64-bit floats (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The members of an object, in order.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// A value, as far as tokens need it.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    /// An integer, or a number without a fraction such as `1e3`.
    Whole(i64),
    Flag(bool),
    /// A list of nothing but texts.
    Texts(Vec<Cow<'a, str>>),
    /// Anything else.
    Other,
}

impl<'a> Object<'a> {
    /// `None` for anything but one JSON object (RFC 8259) of at most 64 members without a repeated name.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Value<'de>)> = Vec::with_capacity(8);
        while let Some(Name(name)) = map.next_key()? {
            if members.len() == MAX_MEMBERS || members.iter().any(|(earlier, _)| *earlier == name) {
                return Err(A::Error::custom("too many members, or a name twice"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Object(members))
    }
}

/// A key; serde's own `Cow` would always copy it.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(ValueVisitor)? {
            Value::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("not text")),
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Whole))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the number is whole and within 2^53")]
    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        let whole = number.abs() <= EXACT && number.fract() == 0.0;
        Ok(if whole { Value::Whole(number as i64) } else { Value::Other })
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let (mut texts, mut only_texts) = (Vec::new(), true);
        while let Some(value) = list.next_element()? {
            match value {
                Value::Text(text) => texts.push(text),
                _ => only_texts = false,
            }
        }
        Ok(if only_texts { Value::Texts(texts) } else { Value::Other })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Option<Value<'static>> {
        let json: &'static str = format!("{{\"a\":{json}}}").leak();
        Object::parse(json.as_bytes())?.take("a")
    }

    #[test]
    fn numbers_are_whole_and_exact_or_no_numbers() {
        for (json, number) in [("7", 7), ("-7", -7), ("7.0", 7), ("1.7e9", 1_700_000_000), ("9223372036854775807", i64::MAX), ("-0", 0)] {
            assert_eq!(value(json), Some(Value::Whole(number)), "{json}");
        }
        for json in ["7.5", "1e300", "9223372036854775808", "-1e17"] {
            assert_eq!(value(json), Some(Value::Other), "{json}");
        }
        for json in ["NaN", "Infinity", "1e400", "07", "+7", "0x7", "1_000"] {
            assert_eq!(value(json), None, "{json}");
        }
    }

    #[test]
    fn lists_are_of_texts_alone_and_deep_ones_are_refused() {
        assert_eq!(value(r#"["x","y"]"#), Some(Value::Texts(vec!["x".into(), "y".into()])));
        assert_eq!(value("[]"), Some(Value::Texts(vec![])));
        for other in [r#"["x",1]"#, r#"[["x"]]"#, r#"{"x":1}"#, "null"] {
            assert_eq!(value(other), Some(Value::Other), "{other}");
        }
        assert_eq!(value("true"), Some(Value::Flag(true)));
        assert_eq!(value(&"[".repeat(2000)), None);
    }

    #[test]
    fn text_is_borrowed_unless_it_is_escaped() {
        assert!(matches!(value(r#""plain""#), Some(Value::Text(Cow::Borrowed("plain")))));
        assert_eq!(value(r#""pl\u0061in""#), Some(Value::Text("plain".into())));
        assert_eq!(value(r#""\ud800""#), None);
    }

    #[test]
    fn a_name_stands_once_however_it_is_written() {
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":{},"x":{}}"#] {
            assert!(Object::parse(twice.as_bytes()).is_none(), "{twice}");
        }
        let members = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
        assert!(Object::parse(members(MAX_MEMBERS).as_bytes()).is_some());
        assert!(Object::parse(members(MAX_MEMBERS + 1).as_bytes()).is_none());
    }

    #[test]
    fn only_one_object_is_taken() {
        for bad in ["", "[]", "null", "\"a\"", "{} {}", "{}x", "{\"a\":1,}", "{a:1}", "\u{feff}{}", "{'a':1}"] {
            assert!(Object::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_none());
        assert!(Object::parse(b" {} ").is_some());
    }
}
