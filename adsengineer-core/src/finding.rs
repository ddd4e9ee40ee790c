//! Findings: what is wrong or odd with a file, a row or a conversion, where, and what to do about it.
//!
//! A [`Code`] is stable and machine-readable; docs/FINDINGS.md lists every one. Findings never hold personal
//! data: cells are quoted only where they look like a time or an amount, and click ids are shortened.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The row goes in; look at it.
    Warning,
    /// The row, or the whole file, is refused.
    Error,
}

/// One observation about a file, a row or a conversion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The row as a spreadsheet shows it; `None` for the whole file.
    pub row: Option<u64>,
    /// The column as the file calls it.
    pub column: Option<Arc<str>>,
    /// What kind of observation it is.
    pub code: Code,
    /// Whether it refuses the row.
    pub severity: Severity,
    /// What happened.
    pub reason: Cow<'static, str>,
    /// What to do.
    pub hint: Cow<'static, str>,
}

impl Finding {
    /// An error about the whole file.
    pub fn file(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { row: None, column: None, code, severity: Severity::Error, reason: reason.into(), hint: code.hint().into() }
    }

    /// The same, at a row.
    #[must_use]
    pub fn at(mut self, row: u64) -> Self {
        self.row = Some(row);
        self
    }

    /// The same, in a column.
    #[must_use]
    pub fn column(mut self, column: impl Into<Arc<str>>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// The same with another hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}: ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "column `{column}`: ")?;
        }
        write!(f, "{} ({})", self.reason, self.code)
    }
}

/// Why a text is not a finding code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a finding code: docs/FINDINGS.md lists them")]
pub struct UnknownCode(String);

macro_rules! codes {
    ($($about:literal { $($variant:ident $name:literal $meaning:literal $hint:literal;)* })*) => {
        /// The kind of a finding; as text in UPPER_SNAKE, stable across releases.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $meaning] $variant,)*)* }

        impl Code {
            /// Every code, in the order of docs/FINDINGS.md.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            /// The code as text.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$variant => $name,)*)* }
            }

            /// What it is about: the file, a row, or a mere warning.
            pub fn about(self) -> &'static str {
                match self { $($(Self::$variant => $about,)*)* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $($(Self::$variant => $meaning,)*)* }
            }

            /// What to do about it, where nothing more precise is known.
            pub fn hint(self) -> &'static str {
                match self { $($(Self::$variant => $hint,)*)* }
            }
        }
    };
}

codes! {
    "file" {
        EmptyFile "EMPTY_FILE" "the file has no rows at all" "export it again and check its size";
        BinaryFile "BINARY_FILE" "the file is not text" "export it as CSV in UTF-8, or name its text encoding with --encoding";
        ExcelWorkbook "EXCEL_WORKBOOK" "the file is an Excel workbook or another zip archive" "save it as `CSV UTF-8` in the spreadsheet program and give that file";
        CompressedFile "COMPRESSED_FILE" "the file is compressed" "unpack it first, for example `gunzip -c FILE | adsengineer check -`";
        UndecodableBytes "UNDECODABLE_BYTES" "bytes that are not text in the file's encoding" "name the encoding, for example --encoding windows-1252";
        MissingHeader "MISSING_HEADER" "the first row is data, not column names" "put the column names of the template into the first row";
        UnknownColumn "UNKNOWN_COLUMN" "a column that the template does not have" "map it with --map, or leave such columns out with --ignore-unknown-columns";
        MissingColumn "MISSING_COLUMN" "a column that every row needs is not there" "map the column that holds it with --map, or give every row one value with --set";
        RepeatedColumn "REPEATED_COLUMN" "two columns have the same meaning" "delete or rename one of them";
        InvalidParameters "INVALID_PARAMETERS" "the Parameters row says something that is not understood" "write it as `Parameters:TimeZone=Europe/Berlin`";
        InvalidOption "INVALID_OPTION" "an import flag has a value that cannot be used" "`adsengineer check --help` lists what the flags take";
        RowTooLong "ROW_TOO_LONG" "a row or line is longer than 1 MiB" "look for a quote that is never closed at that row";
        UnclosedQuote "UNCLOSED_QUOTE" "a quote is opened and never closed, so that the rows after it cannot be told apart" "close the quote at that row, or double it inside a quoted cell";
        ReadFailed "READ_FAILED" "reading the file or the temporary index failed" "check the disk and the permissions, then run it again";
        NotJsonLines "NOT_JSON_LINES" "the file is one JSON document, not one object per line" "write one object per line, for example with `jq -c '.[]'`";
    }
    "row" {
        WrongCellCount "WRONG_CELL_COUNT" "the row has more or fewer cells than the header" "quote cells that contain the separator, and fill up missing ones with empty cells";
        TruncatedRow "TRUNCATED_ROW" "the file ends in the middle of this row" "export the file again; it was cut off";
        MalformedJson "MALFORMED_JSON" "the line is not a JSON object" "write one JSON object per line";
        UnknownKey "UNKNOWN_KEY" "the object has a key that conversions do not have, or a value of the wrong type" "use the field names of POST /api/v1/conversions";
        ActionMissing "ACTION_MISSING" "the row names no conversion action" "fill in `Conversion Name`, or give --action";
        TimeMissing "TIME_MISSING" "the row has no time" "fill in the time";
        InvalidTime "INVALID_TIME" "the time is in no known format or does not exist" "write it as 2026-11-18 14:05:00, or describe yours with --time-format, for example --time-format '%d.%m.%Y %H:%M'";
        TimeZoneMissing "TIME_ZONE_MISSING" "nothing says in which time zone the time is" "add the row `Parameters:TimeZone=Europe/Berlin`, or give --time-zone";
        UnknownTimeZone "UNKNOWN_TIME_ZONE" "a time zone that does not exist" "use an IANA name such as Europe/Berlin, or an offset such as +0100";
        TimeInDstGap "TIME_IN_DST_GAP" "the time was skipped when clocks went forward, so it never happened" "correct the time, or write its UTC offset behind it";
        TimeInDstOverlap "TIME_IN_DST_OVERLAP" "the time happened twice when clocks went back" "write the UTC offset behind it, for example +0200";
        TimeInFuture "TIME_IN_FUTURE" "the time has not come yet" "check the time zone and the order of day and month";
        EventTooOld "EVENT_TOO_OLD" "the conversion is older than the 90 days for which platforms keep click ids" "leave it out; upload conversions sooner";
        InvalidValue "INVALID_VALUE" "the value is not a decimal number" "write it as 1234.50";
        AmbiguousValue "AMBIGUOUS_VALUE" "the value can be read in two ways" "write 1234 or 1234.50, or say what the comma means with --decimal point or --decimal comma";
        CurrencySymbol "CURRENCY_SYMBOL" "the value carries a currency sign or code" "write the bare number, and the currency into `Conversion Currency` or --set 'Conversion Currency=EUR'";
        NegativeValue "NEGATIVE_VALUE" "the value is below zero" "send refunds as adjustments (RESTATE or RETRACT)";
        ValueTooPrecise "VALUE_TOO_PRECISE" "the value has more than 15 digits or 6 decimals" "round it to what the currency is written with";
        CurrencyMissing "CURRENCY_MISSING" "there is a value but no currency" "fill in the currency, or give --set 'Conversion Currency=EUR'";
        InvalidCurrency "INVALID_CURRENCY" "the currency is not a current ISO 4217 code" "use a code such as EUR or USD";
        ScientificNotation "SCIENTIFIC_NOTATION" "a spreadsheet turned a long number into scientific notation and lost its digits" "format the column as text and export it again";
        DigitsLost "DIGITS_LOST" "a spreadsheet kept 15 digits of a long number and made the rest zeros" "format the column as text and export it again";
        SpreadsheetError "SPREADSHEET_ERROR" "the cell holds a spreadsheet error instead of a value" "repair the formula in the spreadsheet and export it again";
        Formula "FORMULA" "the cell holds a formula instead of its value" "paste the column as values and export it again";
        TwoClickIds "TWO_CLICK_IDS" "the row has more than one click id" "keep one of gclid, gbraid and wbraid per row";
        InvalidClickId "INVALID_CLICK_ID" "this cannot be a click id" "copy the click id from the landing page's address untouched";
        NoIdentifier "NO_IDENTIFIER" "the row has neither a click id nor an e-mail address, phone number or complete address" "fill one in, or leave such rows out with --skip NO_IDENTIFIER";
        InvalidOrderId "INVALID_ORDER_ID" "this cannot be an order id" "use up to 256 bytes without control characters";
        OrderIdPersonal "ORDER_ID_CONTAINS_PII" "the order id contains an e-mail address or phone number, which platforms refuse" "use the sale's own number or another opaque id";
        InvalidConsent "INVALID_CONSENT" "the consent cell says neither granted nor denied" "write Granted or Denied, or leave it empty where nothing is known";
        ConsentRequired "CONSENT_REQUIRED" "nothing says whether the person agreed" "fill in `Ad User Data`, or answer for all such rows with --default-consent granted";
        InvalidEmail "INVALID_EMAIL" "this is neither an e-mail address nor the SHA-256 hash of one" "write name@example.com, or 64 hexadecimal digits";
        InvalidPhone "INVALID_PHONE" "this is neither a phone number nor the SHA-256 hash of one" "write it with country code, for example +49 151 23456789";
        PhoneNeedsCountry "PHONE_NEEDS_COUNTRY" "a phone number without country code in a row that names no country" "write it as +49…, or fill in the `Country` column (--set 'Country=DE')";
        DuplicateInFile "DUPLICATE_IN_FILE" "an earlier row of the file is the same conversion" "delete one of them, or tell them apart by order id";
        InvalidAdjustmentType "INVALID_ADJUSTMENT_TYPE" "the adjustment type is neither RESTATE nor RETRACT" "write RESTATE or RETRACT";
        AdjustedValueMissing "ADJUSTED_VALUE_MISSING" "a restatement has no adjusted value" "fill in `Adjusted Value` and `Adjusted Value Currency`";
        AdjustmentBeforeConversion "ADJUSTMENT_BEFORE_CONVERSION" "the adjustment is earlier than its conversion" "check both times and their zones";
        AlreadyCapturedDifferent "ALREADY_CAPTURED_DIFFERENT" "the same conversion is already known with other content" "restate a new value with --restate; another click or time needs an order id of its own";
        SuppressedPerson "SUPPRESSED_PERSON" "the person has withdrawn consent or was erased" "nothing; the row must not be sent";
        OrderIdTaken "ORDER_ID_TAKEN" "another conversion owns this order id" "use one order id per sale and action";
        OriginalMissing "ORIGINAL_MISSING" "the conversion that this row changes was not captured here" "upload the conversion itself first, or restate it with --restate";
        UnknownAction "UNKNOWN_ACTION" "the destination has no such conversion action" "give --action 'Name=ID', or add it to the destination";
    }
    "warning" {
        ColumnIgnored "COLUMN_IGNORED" "a column is not used" "nothing, if that is what you want";
        NoRows "NO_ROWS" "there is a header but no row" "check the export's filter";
        EventOld "EVENT_OLD" "the conversion is older than 60 days and will soon be too old" "upload it now";
        ValueMissing "VALUE_MISSING" "no value: the action's default value counts" "fill in the value if it is known";
        ThreeDecimals "THREE_DECIMALS" "the value has three decimals; a thousands separator looks the same" "if the point separates thousands, give --decimal comma";
        ApostropheRemoved "APOSTROPHE_REMOVED" "a leading apostrophe of a spreadsheet was removed" "nothing";
        QuotesRemoved "QUOTES_REMOVED" "typographic quotes around the value were removed" "nothing";
        UnusualClickId "UNUSUAL_CLICK_ID" "the click id has characters that click ids rarely have" "compare it with the landing page's address";
        NumericOrderId "NUMERIC_ORDER_ID" "the order id is a plain number, which Data Manager has been reported to refuse" "give it a prefix with --order-id-prefix";
        InvalidCountry "INVALID_COUNTRY" "the country is not a two-letter code" "write an ISO 3166 code such as DE";
        AdjustedValueIgnored "ADJUSTED_VALUE_IGNORED" "a retraction takes the whole conversion back, so its value is not used" "use RESTATE to change the value";
    }
}

impl Code {
    /// The table of docs/FINDINGS.md.
    pub fn table() -> String {
        let mut text = String::from("| code | about | meaning | what to do |\n|---|---|---|---|\n");
        for code in Self::ALL {
            let row = [code.as_str(), code.about(), code.meaning(), code.hint()].map(|cell| cell.replace('|', "\\|"));
            text.extend(["| `", &row[0], "` | ", &row[1], " | ", &row[2], " | ", &row[3], " |\n"]);
        }
        text
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let known = Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| UnknownCode(text.chars().take(40).collect()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// `text` as a finding may quote it: as it is where it looks like a time or an amount, else only its shape
/// (`9` for digits, `a` for letters), so that a person's data in the wrong column does not end up in a report.
pub fn shown(text: &str) -> String {
    let letters = text.split(|c: char| !c.is_alphabetic()).map(|run| run.chars().count()).max().unwrap_or(0);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let phone_like = digits >= 7 && !text.contains([':', ',', '/']) && !text.contains("20");
    // Without a digit it could be a short name, so only what is written like a code counts.
    let coded = digits > 0 || !text.chars().any(char::is_lowercase);
    if text.len() <= 32 && letters <= 3 && coded && !phone_like && !text.contains('@') {
        return text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    let shape = |c: char| {
        if c.is_ascii_digit() {
            '9'
        } else if c.is_alphanumeric() || c.is_control() {
            'a'
        } else {
            c
        }
    };
    text.chars().take(24).map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_lists_every_code() {
        let documented = include_str!("../../docs/FINDINGS.md");
        assert!(documented.contains(&Code::table()), "docs/FINDINGS.md must contain this table:\n{}", Code::table());
    }

    #[test]
    fn codes_are_upper_snake_and_round_trip() {
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert!("NOPE".parse::<Code>().is_err());
    }

    #[test]
    fn times_and_amounts_are_quoted_and_persons_are_not() {
        for same in ["18.11.2026 14:05", "1,234", "€ 5", "EUR 12", "N/A", "XYZ", "2026-02-30 10:00:00"] {
            assert_eq!(shown(same), same);
        }
        for (hidden, shape) in
            [("ada@x.de", "aaa@a.aa"), ("Ada", "aaa"), ("Lovelace", "aaaaaaaa"), ("+49 151 23456789", "+99 999 99999999")]
        {
            assert_eq!(shown(hidden), shape);
        }
    }

    #[test]
    fn a_finding_reads_as_a_sentence_and_serialises_flat() {
        let finding = Finding::file(Code::InvalidValue, "the value contains '€'").at(3).column("Price");
        assert_eq!(finding.to_string(), "row 3: column `Price`: the value contains '€' (INVALID_VALUE)");
        let json = serde_json::to_value(finding.warning()).unwrap();
        assert_eq!(
            (json["row"].as_u64(), json["code"].as_str(), json["severity"].as_str()),
            (Some(3), Some("INVALID_VALUE"), Some("warning"))
        );
    }
}
