//! The one door to time. Everything else takes the time as an argument.

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Now, in Unix milliseconds.
    fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        Timestamp::now()
    }
}

/// The machine's clock moved so that it started at a given instant; for trying things out at another time.
#[derive(Clone, Copy, Debug)]
pub struct ShiftedClock {
    shift: jiff::SignedDuration,
}

impl ShiftedClock {
    /// A clock that says `start` now and goes on from there.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { shift: start.duration_since(SystemClock.now()) }
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now();
        now.checked_add(self.shift).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_clock_starts_where_it_is_told_and_goes_on() {
        let start: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let clock = ShiftedClock::starting_at(start);
        let first = clock.now();
        assert!(first >= start && clock.now() >= first);
        assert!(first.duration_since(start).as_secs() < 60);
    }
}
