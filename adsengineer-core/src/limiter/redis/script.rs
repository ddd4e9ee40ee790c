//! One check as Redis sees it: the script, what goes in, and what its answer means.

use redis::{Cmd, Value};

use super::{Charge, LimiterError, LimiterKey, MAX_CHARGES, TimeOf, Verdict, judge};
use crate::rate_limit::Terms;

/// What runs in Redis. Scripts that begin with `#!` need Redis 7 or Valkey.
pub(super) const SCRIPT: &str = include_str!("charge.lua");

/// All keys have this in front. What is in braces chooses the slot of a cluster: all budgets are in one, so that those of one
/// request can be spent as one.
const PREFIX: &str = "{adsengineer}:rate:";

/// Times from here on are beyond what the script counts exactly: the year 2112.
const TOO_LATE_US: i64 = 1 << 52;

/// How long a number outlives its worth when the callers' clocks count, which may differ, or stand still.
const SLACK_MS: i64 = 3_600_000;

/// Keys and arguments of one run of the script.
#[derive(Clone, Debug)]
pub(super) struct Request {
    keys: Vec<String>,
    numbers: Vec<i64>,
}

/// What the script says.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Answer {
    spent: bool,
    now_us: i64,
    stored_us: [i64; MAX_CHARGES],
}

/// Why an answer is none.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Unusable {
    /// Whoever answers is no Redis, or not in step.
    Nonsense,
    /// Another program's data are where a budget should be.
    Foreign(usize),
}

impl Request {
    pub(super) fn new(charges: &[Charge], now_us: i64, time: TimeOf) -> Result<Self, LimiterError> {
        let mut numbers = match time {
            TimeOf::Redis => vec![0, 0],
            TimeOf::Caller if (1..TOO_LATE_US).contains(&now_us) => vec![now_us, SLACK_MS],
            TimeOf::Caller => return Err(LimiterError::Nonsense(format!("it cannot count at {now_us} µs"))),
        };
        for charge in charges {
            let Terms { need, budget, price } = charge.quota.terms(charge.cost);
            numbers.extend([need, budget, price]);
        }
        Ok(Self { keys: charges.iter().map(|charge| name(charge.key)).collect(), numbers })
    }

    /// One that spends nothing, on a key that nobody else has.
    pub(super) fn look() -> Self {
        Self { keys: vec![format!("{PREFIX}look")], numbers: vec![0, 0, 1, 1, 0] }
    }

    /// `EVALSHA` with the script's hash, or `EVAL` with the script.
    pub(super) fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.numbers);
        command
    }

    /// The name of the `index`-th key.
    pub(super) fn key(&self, index: usize) -> &str {
        self.keys.get(index).map_or("", String::as_str)
    }

    /// What `value` says to this request.
    pub(super) fn read(&self, value: &Value) -> Result<Answer, Unusable> {
        let Value::Array(parts) = value else { return Err(Unusable::Nonsense) };
        match (parts.as_slice(), self.keys.len()) {
            ([Value::Int(-1), Value::Int(which)], count) => {
                let index = usize::try_from(*which).ok().and_then(|which| which.checked_sub(1)).filter(|index| *index < count);
                Err(index.map_or(Unusable::Nonsense, Unusable::Foreign))
            }
            ([Value::Int(spent @ 0..=1), Value::Int(now_us), stored @ ..], count) if stored.len() == count => {
                let mut stored_us = [0; MAX_CHARGES];
                for (stored_us, value) in stored_us.iter_mut().zip(stored) {
                    *stored_us = number(value).ok_or(Unusable::Nonsense)?;
                }
                Ok(Answer { spent: *spent == 1, now_us: *now_us, stored_us })
            }
            _ => Err(Unusable::Nonsense),
        }
    }
}

impl Answer {
    /// The verdicts on `charges`; `None` if the script did not do what they say.
    pub(super) fn verdicts(&self, charges: &[Charge]) -> Option<Vec<Verdict>> {
        let judged = judge(charges, &self.stored_us, self.now_us);
        (judged.fits == self.spent && (1..TOO_LATE_US).contains(&self.now_us)).then_some(judged.verdicts)
    }
}

/// A budget's key.
fn name(LimiterKey(key): LimiterKey) -> String {
    format!("{PREFIX}{key:032x}")
}

fn number(value: &Value) -> Option<i64> {
    let Value::BulkString(digits) = value else { return None };
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limiter::KeyKind, rate_limit::Quota};

    const NOW_US: i64 = 1_700_000_000_000_000;

    fn charge(cost: u32) -> Charge {
        Charge { key: LimiterKey::new(KeyKind::Org, b"acme"), quota: Quota::try_new(5, 1000, 5).unwrap(), cost }
    }

    fn request(count: usize) -> Request {
        Request::new(&vec![charge(1); count], 0, TimeOf::Redis).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_request_is_one_command_with_the_terms_of_every_charge() {
        let request = Request::new(&[charge(0), charge(2)], NOW_US, TimeOf::Caller).unwrap();
        let command = request.command("EVALSHA", "hash").get_packed_command();
        let said = String::from_utf8(command).unwrap().replace("\r\n", " ");
        let key = "$51 {adsengineer}:rate:363393c3cdbc447d2a2d9442845ed5c7";
        let terms = "$16 1700000000000000 $7 3600000 $6 200000 $7 1000000 $1 0 $6 400000 $7 1000000 $6 400000";
        assert_eq!(said, format!("*13 $7 EVALSHA $4 hash $1 2 {key} {key} {terms} "));
        assert_eq!((request.key(1).len(), request.key(2)), (51, ""));
    }

    #[test]
    fn no_time_that_a_double_does_not_hold_is_sent() {
        for now_us in [i64::MIN, -1, 0, 1 << 52, i64::MAX] {
            assert!(matches!(Request::new(&[charge(1)], now_us, TimeOf::Caller), Err(LimiterError::Nonsense(_))), "{now_us}");
            assert!(Request::new(&[charge(1)], now_us, TimeOf::Redis).is_ok());
        }
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let good = Value::Array(vec![Value::Int(1), Value::Int(NOW_US), text("0"), text("1700000000200000")]);
        let read = request(2).read(&good).unwrap();
        assert_eq!((read.spent, read.now_us, &read.stored_us[..3]), (true, NOW_US, &[0, 1_700_000_000_200_000, 0][..]));
        let head = |spent, rest: &[Value]| Value::Array([&[Value::Int(spent), Value::Int(NOW_US)], rest].concat());
        for nonsense in [
            Value::Nil,
            Value::Okay,
            text("1"),
            Value::Array(vec![]),
            head(1, &[]),
            head(1, &[text("0"), text("0")]),
            head(2, &[text("0")]),
            head(1, &[text("-1")]),
            head(1, &[text("x")]),
            head(1, &[Value::BulkString(vec![0xff])]),
            head(1, &[Value::Int(0)]),
            Value::Array(vec![Value::Int(-1), Value::Int(0)]),
            Value::Array(vec![Value::Int(-1), Value::Int(2)]),
            Value::Array(vec![Value::Int(-1), Value::Int(i64::MIN)]),
        ] {
            assert_eq!(request(1).read(&nonsense), Err(Unusable::Nonsense), "{nonsense:?}");
        }
        assert_eq!(request(2).read(&Value::Array(vec![Value::Int(-1), Value::Int(2)])), Err(Unusable::Foreign(1)));
    }

    #[test]
    fn an_answer_that_contradicts_itself_gives_no_verdict() {
        let stored = |stored_us| [stored_us, 0, 0, 0, 0, 0, 0, 0];
        let full = Answer { spent: true, now_us: NOW_US, stored_us: stored(0) };
        assert_eq!(full.verdicts(&[charge(1)]).unwrap()[0].remaining, 4);
        let lies = [
            Answer { spent: false, ..full },
            Answer { stored_us: stored(NOW_US + 1_000_000), ..full },
            Answer { now_us: 0, ..full },
            Answer { now_us: i64::MAX, ..full },
        ];
        for lie in lies {
            assert_eq!(lie.verdicts(&[charge(1)]), None, "{lie:?}");
        }
    }
}
