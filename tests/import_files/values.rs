//! Values and currencies: exact, or refused by name.

use adsengineer_core::import::{Decimal, Options};

use crate::harness::{granted, plain};

fn value(value: &str, currency: &str, decimal: Decimal) -> String {
    let cells = format!("Cj0A,Lead,2026-11-18 14:05:00Z,\"{value}\",{currency}");
    let row = plain(&cells, &Options { decimal, ..granted() });
    row.strip_prefix("2026-11-18T14:05:00Z gclid=Cj0A ").map_or(row.clone(), str::to_owned)
}

#[test]
fn amounts_are_exact() {
    for (text, currency, expected) in [
        ("120.00", "EUR", "120.00 EUR"),
        ("120", "EUR", "120.00 EUR"),
        (" 120.5 ", "eur", "120.50 EUR"),
        ("0", "EUR", "0.00 EUR"),
        ("0.1", "USD", "0.10 USD"),
        ("1,234.50", "USD", "1234.50 USD"),
        ("1,234,567", "USD", "1234567.00 USD"),
        ("1'234.50", "CHF", "1234.50 CHF"),
        ("1000", "JPY", "1000 JPY"),
        ("1.500", "KWD", "1.500 KWD"),
        ("0.000001", "USD", "0.000001 USD"),
        ("123456789012.345", "USD", "123456789012.345 USD !THREE_DECIMALS"),
        ("1.234", "EUR", "1.234 EUR !THREE_DECIMALS"),
    ] {
        assert_eq!(value(text, currency, Decimal::Auto), expected, "{text} {currency}");
    }
    for (text, expected) in [("1.234,50", "1234.50 EUR"), ("1234,5", "1234.50 EUR"), ("1.234", "1234.00 EUR"), ("1 234,50", "1234.50 EUR")]
    {
        assert_eq!(value(text, "EUR", Decimal::Comma), expected, "{text}");
    }
    assert_eq!(value("1,234", "EUR", Decimal::Point), "1234.00 EUR");
}

#[test]
fn other_values_are_refused_by_name() {
    for (text, code) in [
        ("1,234", "AMBIGUOUS_VALUE"),
        ("1.234,50", "AMBIGUOUS_VALUE"),
        ("120,00", "AMBIGUOUS_VALUE"),
        ("12,34.5", "AMBIGUOUS_VALUE"),
        ("€120.00", "CURRENCY_SYMBOL"),
        ("120.00 €", "CURRENCY_SYMBOL"),
        ("$1,200", "CURRENCY_SYMBOL"),
        ("120 EUR", "CURRENCY_SYMBOL"),
        ("-120", "NEGATIVE_VALUE"),
        ("(120.00)", "NEGATIVE_VALUE"),
        ("1.2E+3", "SCIENTIFIC_NOTATION"),
        ("=120*2", "FORMULA"),
        ("#VALUE!", "SPREADSHEET_ERROR"),
        ("######", "SPREADSHEET_ERROR"),
        ("abc", "INVALID_VALUE"),
        ("12 000 0", "INVALID_VALUE"),
        ("1234567890123456", "VALUE_TOO_PRECISE"),
        ("0.1234567", "VALUE_TOO_PRECISE"),
    ] {
        assert_eq!(value(text, "EUR", Decimal::Auto), format!("-{code}[Conversion Value]"), "{text}");
    }
}

#[test]
fn a_value_needs_a_currency_and_no_value_means_the_actions_default() {
    for (text, currency, expected) in [
        ("", "", "!VALUE_MISSING"),
        ("", "EUR", "!VALUE_MISSING"),
        ("5", "", "-CURRENCY_MISSING[Conversion Currency]"),
        ("5", "EURO", "-INVALID_CURRENCY[Conversion Currency]"),
        ("5", "€", "-INVALID_CURRENCY[Conversion Currency]"),
        ("5", "XYZ", "-INVALID_CURRENCY[Conversion Currency]"),
        ("5", "#N/A", "-SPREADSHEET_ERROR[Conversion Currency]"),
    ] {
        assert_eq!(value(text, currency, Decimal::Auto), expected, "{text:?} {currency:?}");
    }
}
