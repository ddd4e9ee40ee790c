//! Money: an exact decimal amount and an ISO 4217 currency. No floating point anywhere.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod number;

/// Most digits an amount may have; enough for any sale, and safe in 64 bits and in a JSON number.
const MAX_DIGITS: usize = 15;
/// Most decimals an amount may have.
const MAX_SCALE: u8 = 6;

/// A non-negative exact decimal: `mantissa × 10^-scale`, kept without trailing zeros so that equal amounts are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Amount {
    mantissa: i64,
    scale: u8,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAmount {
    /// Nothing there.
    #[error("the amount is empty")]
    Empty,
    /// Below zero.
    #[error("the amount is negative")]
    Negative,
    /// More than 15 digits or more than 6 decimals.
    #[error("the amount has more than {MAX_DIGITS} digits or {MAX_SCALE} decimals")]
    TooPrecise,
    /// Something that is neither a digit nor the decimal point.
    #[error("the amount contains {0:?}")]
    Character(char),
}

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// From stored parts; `None` if they are out of range.
    pub fn from_parts(mantissa: i64, scale: u8) -> Option<Self> {
        (mantissa >= 0 && scale <= MAX_SCALE).then(|| Self { mantissa, scale }.trimmed())
    }

    /// Digits without the point.
    pub fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Digits after the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    fn trimmed(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// Writes the amount with at least `decimals` digits after the point.
    fn write(self, f: &mut fmt::Formatter<'_>, decimals: u8) -> fmt::Result {
        let divisor = 10_i64.pow(u32::from(self.scale));
        let (whole, fraction) = (self.mantissa / divisor, self.mantissa % divisor);
        write!(f, "{whole}")?;
        let width = decimals.max(self.scale);
        if width == 0 {
            return Ok(());
        }
        let padded = fraction * 10_i64.pow(u32::from(width - self.scale));
        write!(f, ".{padded:0width$}", width = usize::from(width))
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads `digits[.digits]`. Separators, symbols and signs are for the edge to judge, not guessed here.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let bytes = text.as_bytes();
        let (mut mantissa, mut scale, mut digits, mut point) = (0_i64, 0_u8, 0_usize, false);
        for (i, &byte) in bytes.iter().enumerate() {
            match byte {
                // The zeros that a currency is written with are no digits more: `123456789012345.00`.
                b'0' if point && digits >= MAX_DIGITS && are_zeros(&bytes[i..], MAX_SCALE - scale) => break,
                b'0'..=b'9' => {
                    digits += usize::from(mantissa != 0 || byte != b'0');
                    if digits > MAX_DIGITS || (point && scale == MAX_SCALE) {
                        return Err(InvalidAmount::TooPrecise);
                    }
                    mantissa = mantissa * 10 + i64::from(byte - b'0');
                    scale += u8::from(point);
                }
                b'.' if !point && i > 0 && i + 1 < bytes.len() => point = true,
                b'-' if i == 0 && bytes.len() > 1 => return Err(InvalidAmount::Negative),
                _ => return Err(InvalidAmount::Character(text[i..].chars().next().unwrap_or('\u{fffd}'))),
            }
        }
        if bytes.is_empty() {
            return Err(InvalidAmount::Empty);
        }
        Ok(Self { mantissa, scale }.trimmed())
    }
}

/// Whether nothing but zeros is left, and no more of them than `most`.
fn are_zeros(rest: &[u8], most: u8) -> bool {
    rest.len() <= usize::from(most) && rest.iter().all(|byte| *byte == b'0')
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// An active ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Currency([u8; 3]);

/// Why a text is not a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a current ISO 4217 currency code such as EUR")]
pub struct InvalidCurrency(String);

/// ISO 4217 list one, funds and metals left out.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ANG BGN CUC HRK SLL ZWL";
const NO_DECIMALS: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const THREE_DECIMALS: &str = "BHD IQD JOD KWD LYD OMR TND";

impl Currency {
    /// The codes of all, in no order that means anything.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        CURRENCIES.split(' ')
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Digits after the point that the currency is written with.
    pub fn decimals(self) -> u8 {
        let listed = |list: &str| list.as_bytes().chunks(4).any(|code| code[..3] == self.0);
        if listed(NO_DECIMALS) {
            0
        } else if listed(THREE_DECIMALS) {
            3
        } else {
            2
        }
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    /// Reads three letters in any case.
    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        let invalid = || InvalidCurrency(text.chars().take(20).collect());
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| invalid())?;
        let code = bytes.map(|b| b.to_ascii_uppercase());
        if matches!(&code, b"EUR" | b"USD" | b"GBP") || CURRENCIES.as_bytes().chunks(4).any(|known| known[..3] == code) {
            Ok(Self(code))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// An amount in a currency; displays as `120.00 EUR`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// The amount as decimal text with the currency's own number of decimals: `120.00`, `1000`.
    pub fn decimal(&self) -> impl fmt::Display + '_ {
        struct Decimal<'a>(&'a Money);
        impl fmt::Display for Decimal<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.amount.write(f, self.0.currency.decimals())
            }
        }
        Decimal(self)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

/// Exact sums of money by currency.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals(std::collections::BTreeMap<Currency, i128>);

impl Totals {
    /// Adds `money`.
    pub fn add(&mut self, money: Money) {
        self.add_micros(money.currency, Self::micros(money));
    }

    /// Adds millionths of `currency`'s unit.
    pub fn add_micros(&mut self, currency: Currency, micros: i128) {
        *self.0.entry(currency).or_default() += micros;
    }

    /// The amount in millionths of its currency's unit: exact.
    pub fn micros(money: Money) -> i128 {
        i128::from(money.amount.mantissa) * 10_i128.pow(u32::from(MAX_SCALE - money.amount.scale))
    }

    /// Each currency's code and its sum as a decimal with the currency's own number of decimals.
    pub fn decimals(&self) -> std::collections::BTreeMap<String, String> {
        let unit = 10_i128.pow(u32::from(MAX_SCALE));
        let decimal = |currency: &Currency, sum: i128| {
            let fraction = format!("{:0width$}", sum % unit, width = usize::from(MAX_SCALE));
            let wanted = fraction.trim_end_matches('0').len().max(usize::from(currency.decimals()));
            if wanted == 0 { (sum / unit).to_string() } else { format!("{}.{}", sum / unit, &fraction[..wanted]) }
        };
        self.0.iter().map(|(currency, sum)| (currency.to_string(), decimal(currency, *sum))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, currency: &str) -> Option<Money> {
        Some(Money { amount: amount.parse().ok()?, currency: currency.parse().ok()? })
    }

    #[test]
    fn amounts_are_exact_and_equal_amounts_are_equal() {
        assert_eq!("120.00".parse::<Amount>(), "120".parse::<Amount>());
        assert_ne!("0.1".parse::<Amount>(), "0.10001".parse::<Amount>());
        assert_eq!("000123.4500".parse::<Amount>().map(|a| a.to_string()), Ok("123.45".to_owned()));
        assert_eq!("0".parse::<Amount>(), Ok(Amount::ZERO));
        assert_eq!("0.00".parse::<Amount>(), Ok(Amount::ZERO));
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        use InvalidAmount::*;
        for (text, why) in [
            ("", Empty),
            ("-1", Negative),
            ("-", Character('-')),
            ("1,5", Character(',')),
            ("€5", Character('€')),
            (".5", Character('.')),
            ("5.", Character('.')),
            ("1.2.3", Character('.')),
            ("1e3", Character('e')),
            ("1234567890123456", TooPrecise),
            ("0.1234567", TooPrecise),
        ] {
            assert_eq!(text.parse::<Amount>(), Err(why), "{text}");
        }
    }

    #[test]
    fn money_is_written_with_the_decimals_of_its_currency() {
        let shown = |a, c| money(a, c).map(|m| m.to_string());
        assert_eq!(shown("120", "eur").as_deref(), Some("120.00 EUR"));
        assert_eq!(shown("1000", "JPY").as_deref(), Some("1000 JPY"));
        assert_eq!(shown("1.5", "KWD").as_deref(), Some("1.500 KWD"));
        assert_eq!(shown("1.2345", "USD").as_deref(), Some("1.2345 USD"));
        assert_eq!(shown("0.05", "USD").as_deref(), Some("0.05 USD"));
    }

    #[test]
    fn sums_are_exact_and_kept_apart_by_currency() {
        let mut totals = Totals::default();
        for (amount, currency) in [("0.1", "EUR"), ("0.2", "EUR"), ("1000", "JPY"), ("0.125", "USD")] {
            totals.add(money(amount, currency).unwrap());
        }
        let shown: Vec<_> = totals.decimals().into_iter().collect();
        let expected = [("EUR", "0.30"), ("JPY", "1000"), ("USD", "0.125")].map(|(c, d)| (c.to_owned(), d.to_owned()));
        assert_eq!(shown, expected);
    }

    #[test]
    fn unknown_currencies_are_refused() {
        for bad in ["", "EU", "EURO", "€", "XXX", "ABC", "E R"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_largest_amounts_are_read_as_they_are_written() {
        for (text, currency) in [("853946372429789", "DKK"), ("999999999999999", "TND"), ("99999999999999.9", "EUR")] {
            let money = Money { amount: text.parse().unwrap(), currency: currency.parse().unwrap() };
            assert_eq!(money.decimal().to_string().parse(), Ok(money.amount), "{money}");
        }
        assert_eq!("999999999999999.0000000".parse::<Amount>(), Err(InvalidAmount::TooPrecise));
        assert_eq!("999999999999999.001".parse::<Amount>(), Err(InvalidAmount::TooPrecise));
    }
}
