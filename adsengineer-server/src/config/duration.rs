//! Durations as people write them: `500ms`, `15s`, `5m`, `1h`, `7d`.

use std::time::Duration;

/// Reads a whole number and one of `ms s m h d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a duration such as 500ms, 15s, 5m, 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a duration such as 500ms, 15s, 5m, 1h".to_owned())?;
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "a shorter duration".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let ms = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(["500ms", "15s", "5m", "1h", "7d"].map(ms), [Ok(500), Ok(15_000), Ok(300_000), Ok(3_600_000), Ok(604_800_000)]);
        for bad in ["", "5", "s", "5 s", "1.5h", "-1s", "99999999999999999999s", "99999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
