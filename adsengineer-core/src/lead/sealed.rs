//! How parts of a lead are written in its sealed form.

/// An identifier as text: 64 hexadecimal digits are a hash, which no plain one ever is.
pub(super) mod identifier {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::identity::{Identifier, hashed};

    #[expect(clippy::ref_option, reason = "serde hands over the field itself")]
    pub(in crate::lead) fn serialize<S: Serializer>(identifier: &Option<Identifier>, s: S) -> Result<S::Ok, S::Error> {
        identifier.as_ref().map(Identifier::text).serialize(s)
    }

    pub(in crate::lead) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Identifier>, D::Error> {
        let text = Option::<Cow<'_, str>>::deserialize(d)?;
        Ok(text.map(|text| hashed(&text).map_or_else(|| Identifier::Plain(text.into()), Identifier::Hashed)))
    }
}

/// Money as `120.00 EUR`.
pub(super) mod money {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::money::Money;

    #[expect(clippy::ref_option, reason = "serde hands over the field itself")]
    pub(in crate::lead) fn serialize<S: Serializer>(money: &Option<Money>, s: S) -> Result<S::Ok, S::Error> {
        money.map(|money| money.to_string()).serialize(s)
    }

    pub(in crate::lead) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Money>, D::Error> {
        let Some(text) = Option::<Cow<'_, str>>::deserialize(d)? else { return Ok(None) };
        let (amount, currency) = text.split_once(' ').ok_or_else(|| de::Error::custom("money without a currency"))?;
        Ok(Some(Money { amount: amount.parse().map_err(de::Error::custom)?, currency: currency.parse().map_err(de::Error::custom)? }))
    }
}
