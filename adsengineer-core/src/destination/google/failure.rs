//! Google's error body (`google.rpc.Status` as JSON), read leniently: whatever is missing or odd is left out, nothing fails.

use std::time::Duration;

use serde_json::Value;

use crate::outcome::Why;

/// What an error body says.
#[derive(Debug, Default)]
pub(super) struct Failure {
    /// The reason of `ErrorInfo`, else the status such as `INVALID_ARGUMENT`; empty if there is neither.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
    pub(super) quota: Option<String>,
    pub(super) retry_delay: Option<Duration>,
    pub(super) violations: Vec<Violation>,
}

/// One field that was refused.
#[derive(Debug, Default)]
pub(super) struct Violation {
    pub(super) field: String,
    pub(super) description: String,
    /// Empty where the platform gave none.
    pub(super) reason: String,
}

impl Failure {
    /// Reads an error body; `None` if it is not one of Google's.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let error = json.get("error").or_else(|| json.get(0)?.get("error"))?;
        let mut failure = Self { code: text(error, "status"), message: text(error, "message"), ..Self::default() };
        error.as_object()?;
        for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
            failure.read_detail(detail);
        }
        Some(failure)
    }

    /// Details are told apart by what they hold, not by `@type`, which names a version in other interfaces.
    fn read_detail(&mut self, detail: &Value) {
        if let Some(reason) = detail.get("reason").and_then(Value::as_str) {
            reason.clone_into(&mut self.code);
        }
        let metadata = |key: &str| detail.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str).map(str::to_owned);
        self.quota = metadata("quota_limit").or_else(|| self.quota.take());
        let request_id = detail.get("requestId").and_then(Value::as_str).map(str::to_owned);
        self.request_id = request_id.or_else(|| metadata("requestId")).or_else(|| self.request_id.take());
        if let Some(delay) = detail.get("retryDelay") {
            self.retry_delay = duration(delay);
        }
        for violation in detail.get("fieldViolations").and_then(Value::as_array).into_iter().flatten() {
            let read = |key| text(violation, key);
            self.violations.push(Violation { field: read("field"), description: read("description"), reason: read("reason") });
        }
    }

    /// The failure as a reason; `fallback` where it has no code.
    pub(super) fn why(&self, fallback: &str) -> Why {
        let code = if self.code.is_empty() { fallback } else { &self.code };
        let mut detail = self.message.clone();
        for (label, part) in [("quota", &self.quota), ("request", &self.request_id)] {
            if let Some(part) = part {
                detail = format!("{detail} ({label} {part})");
            }
        }
        Why::new(code, detail.trim())
    }
}

fn text(json: &Value, key: &str) -> String {
    json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `"30s"`, `"2.500s"`, or the object form with `seconds`.
fn duration(json: &Value) -> Option<Duration> {
    let seconds = match json {
        Value::String(text) => text.strip_suffix('s')?.parse::<f64>().ok()?,
        Value::Object(parts) => match parts.get("seconds")? {
            Value::String(text) => text.parse().ok()?,
            number => number.as_f64()?,
        },
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// The row that a field path is about: the number in `events[…]` at the start or after a dot. Google's own sample doubles the prefix
/// (`events.events[0].user_data`), so both forms are taken.
pub(super) fn event_index(field: &str) -> Option<usize> {
    const MARK: &str = "events[";
    field.match_indices(MARK).find_map(|(at, _)| {
        let starts = at == 0 || field.as_bytes()[at - 1] == b'.';
        let (digits, _) = field[at + MARK.len()..].split_once(']')?;
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        (starts && number).then(|| digits.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_both_forms_of_the_path_and_nowhere_else() {
        for (field, row) in [
            ("events[0].user_data", Some(0)),
            ("events.events[17].user_data.user_identifiers[1]", Some(17)),
            ("request.events[3]", Some(3)),
            ("destinations[0].product_destination_id", None),
            ("other_events[4]", None),
            ("events", None),
            ("events[]", None),
            ("events[-1]", None),
            ("events[+1]", None),
            ("events[1", None),
            ("events[99999999999999999999999]", None),
            ("xevents[1].events[2]", Some(2)),
        ] {
            assert_eq!(event_index(field), row, "{field}");
        }
    }

    #[test]
    fn the_published_sample_is_read_completely() {
        let failure = Failure::parse(
            br#"{"error":{"code":400,"message":"There was a problem with the request.","status":"INVALID_ARGUMENT","details":[
            {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INVALID_ARGUMENT","domain":"datamanager.googleapis.com","metadata":{"requestId":"t-1"}},
            {"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"t-1"},
            {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"events.events[0].user_data","description":"d","reason":"INVALID_HEX_ENCODING"}]}]}}"#,
        )
        .unwrap();
        assert_eq!((failure.code.as_str(), failure.request_id.as_deref(), failure.violations.len()), ("INVALID_ARGUMENT", Some("t-1"), 1));
        assert_eq!(failure.why("X"), Why::new("INVALID_ARGUMENT", "There was a problem with the request. (request t-1)"));
    }

    #[test]
    fn waits_are_read_whole_fractional_and_as_objects() {
        let read = |text: &str| duration(&serde_json::from_str(text).unwrap());
        assert_eq!(read("\"30s\""), Some(Duration::from_secs(30)));
        assert_eq!(read("\"2.500s\""), Some(Duration::from_millis(2500)));
        assert_eq!(read(r#"{"seconds":"7","nanos":0}"#), Some(Duration::from_secs(7)));
        assert_eq!(read(r#"{"seconds":7}"#), Some(Duration::from_secs(7)));
        for bad in ["\"30\"", "\"xs\"", "\"-1s\"", "\"NaNs\"", "\"infs\"", "3", "{}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn odd_bodies_are_not_errors_of_google_and_never_panic() {
        for body in ["", "<html>", "[]", "{}", "null", r#"{"error":"x"}"#, r#"{"error":7}"#] {
            assert!(Failure::parse(body.as_bytes()).is_none(), "{body}");
        }
        let odd =
            Failure::parse(br#"[{"error":{"status":5,"details":[1,{"fieldViolations":[2]},{"metadata":{"quota_limit":"perDay"}}]}}]"#)
                .unwrap();
        assert_eq!((odd.code.as_str(), odd.violations.len()), ("", 1));
        assert_eq!(odd.why("HTTP"), Why::new("HTTP", "(quota perDay)"));
    }
}
