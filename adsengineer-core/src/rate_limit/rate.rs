//! Rates as text: `100/h`, `5/15m`.

use std::str::FromStr;

use super::Quota;

/// A rate as people write it: `100/h`, `5/15m`, `20/s`. All of it may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(Quota);

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a rate: write a number of requests, `/` and a time, such as `20/s`, `1000/h`, `5/15m` or `100/90s`; \
     both are at least 1, the time at most 49 days and at least a microsecond for each request"
)]
pub struct InvalidRate(String);

impl Rate {
    /// The quota: `limit` in the period, all of which may come at once.
    pub fn quota(self) -> Quota {
        self.0
    }

    /// Milliseconds between two when they are spread evenly, rounded down; `None` for more than one in a millisecond.
    pub fn spacing_ms(self) -> Option<i64> {
        let spacing = self.0.period_ms() / self.0.limit();
        (spacing > 0).then(|| i64::from(spacing))
    }
}

impl From<Rate> for Quota {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        quota(text).map(Self).ok_or_else(|| InvalidRate(text.chars().take(40).collect()))
    }
}

fn quota(text: &str) -> Option<Quota> {
    let (limit, period) = text.split_once('/')?;
    let (count, unit) = period.split_at_checked(period.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let count = if count.is_empty() { 1 } else { whole(count)? };
    let (limit, period_ms) = (whole(limit)?, count.checked_mul(unit_ms)?);
    let expressible = u64::from(limit) <= u64::from(period_ms) * 1000;
    Quota::try_new(limit, period_ms, limit).ok().filter(|_| expressible)
}

/// Digits only, the first not zero; `parse` alone would take a sign.
fn whole(text: &str) -> Option<u32> {
    if !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_number_and_a_time() {
        for (text, limit, period_ms) in [
            ("20/s", 20, 1000),
            ("60000/m", 60_000, 60_000),
            ("100/h", 100, 3_600_000),
            ("5/15m", 5, 900_000),
            ("1/90s", 1, 90_000),
            ("1000000/1s", 1_000_000, 1000),
        ] {
            let quota = Quota::from(text.parse::<Rate>().unwrap());
            assert_eq!((quota, quota.limit(), quota.period_ms()), (Quota::try_new(limit, period_ms, limit).unwrap(), limit, period_ms));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_form_to_write() {
        for bad in [
            "",
            "/",
            "100",
            "100/",
            "/h",
            "0/h",
            "100/0h",
            "100/d",
            "100/H",
            "100 /h",
            "100/ h",
            "+1/h",
            "-1/h",
            "1/+1h",
            "1.5/h",
            "1/1.5h",
            "1/1h30m",
            "5000000000/h",
            "1/5000000000s",
            "1/1200h",
            "1000001/s",
            "1/h/h",
            "1/ä",
            "∞/h",
        ] {
            let error = bad.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")) && error.contains("`5/15m`"), "{error}");
        }
        assert!("9".repeat(1000).parse::<Rate>().unwrap_err().to_string().len() < 300);
    }
}
