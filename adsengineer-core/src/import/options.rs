//! The import flags.

use std::str::FromStr;

use crate::{consent::ConsentState, finding::Code};

/// How conversion files are to be read; the default reads Google's templates as they are.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Other names of columns: (in the file, in the template).
    pub map: Vec<(String, String)>,
    /// Values for absent columns and empty cells: (column of the template, value).
    pub set: Vec<(String, String)>,
    /// The zone of times that name none, if the file does not say: an IANA name or `±HHMM`.
    pub time_zone: Option<String>,
    /// The format of times in strftime terms, instead of the known ones.
    pub time_format: Option<String>,
    /// What points and commas in values mean.
    pub decimal: Decimal,
    /// The text encoding of a file without byte order mark, by its WHATWG label.
    pub encoding: Option<String>,
    /// Codes whose rows are left out and only counted.
    pub skip: Vec<Code>,
    /// Unknown columns are left out instead of refused.
    pub ignore_unknown_columns: bool,
    /// The answer for rows that say nothing about consent.
    pub default_consent: Option<ConsentState>,
    /// The form of the file.
    pub format: Format,
    /// The conversion action of rows that name none.
    pub default_action: Option<String>,
    /// Memory for finding duplicates, in bytes; beyond it the index goes on in a temporary file.
    pub index_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            map: Vec::new(),
            set: Vec::new(),
            time_zone: None,
            time_format: None,
            decimal: Decimal::Auto,
            encoding: None,
            skip: Vec::new(),
            ignore_unknown_columns: false,
            default_consent: None,
            format: Format::Auto,
            default_action: None,
            index_bytes: 40 << 20,
        }
    }
}

/// Why a text is not a value of an import flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one of {expected}")]
pub struct InvalidOption {
    text: String,
    expected: &'static str,
}

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident, $expected:literal { $($(#[$vdoc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl FromStr for $name {
            type Err = InvalidOption;

            fn from_str(text: &str) -> Result<Self, InvalidOption> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(InvalidOption { text: text.chars().take(40).collect(), expected: $expected }) }
            }
        }
    };
}

choices! {
    /// What points and commas in values mean.
    Decimal, "auto, point, comma" {
        /// A point is the decimal point; a comma that could mean either is refused.
        #[default]
        Auto "auto",
        /// A point is the decimal point, commas separate thousands.
        Point "point",
        /// A comma is the decimal sign, points separate thousands.
        Comma "comma",
    }
}

choices! {
    /// The form of a file.
    Format, "auto, csv, jsonl" {
        /// JSON lines if the first character is a brace, else CSV.
        #[default]
        Auto "auto",
        /// Comma, semicolon or tab separated.
        Csv "csv",
        /// One JSON object per line.
        Jsonl "jsonl",
    }
}

/// Splits `FROM=TO`, the form of `--map` and `--set`; neither side may be empty.
pub fn assignment(text: &str) -> Option<(String, String)> {
    let (from, to) = text.split_once('=')?;
    let (from, to) = (from.trim(), to.trim());
    (!from.is_empty() && !to.is_empty()).then(|| (from.to_owned(), to.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_their_values_and_name_the_choices() {
        assert_eq!("comma".parse(), Ok(Decimal::Comma));
        assert_eq!("jsonl".parse(), Ok(Format::Jsonl));
        let wrong = "dot".parse::<Decimal>().map_err(|e| e.to_string());
        assert_eq!(wrong, Err("`dot` is not one of auto, point, comma".to_owned()));
    }

    #[test]
    fn assignments_have_two_sides() {
        assert_eq!(assignment("Close Date = Conversion Time"), Some(("Close Date".to_owned(), "Conversion Time".to_owned())));
        for bad in ["Close Date", "=x", "x="] {
            assert_eq!(assignment(bad), None, "{bad}");
        }
    }
}
