//! A circuit breaker: what has failed several times in a row is left alone for a while.
//!
//! It knows no clock and no threads. The caller says what time it is, and what became of each call.

use std::time::Duration;

/// When a [`Breaker`] opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// It opens after this many failures in a row, at least 1.
    pub failures: u32,
    /// How long it stays open before the first probe.
    pub first_pause: Duration,
    /// The pause doubles after each probe that fails, up to this one.
    pub longest_pause: Duration,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// It may, and its outcome decides whether others may.
    Probe,
    /// It may not: the last calls have failed. The next probe is due after this time.
    Refused(Duration),
}

/// Counts failures, and says who may call. Closed at first, which means that all may.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    Open {
        /// When the next probe is due.
        due: Duration,
        pause: Duration,
    },
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether calls are refused.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether a call may be made at this time, which never goes backwards. One probe is granted
    /// in each pause, so that one without an outcome does not keep it open for good.
    pub fn admit(&mut self, now: Duration) -> Admission {
        match &mut self.state {
            State::Closed { .. } => Admission::Granted,
            State::Open { due, pause } if *due <= now => {
                *due = now.saturating_add(*pause);
                Admission::Probe
            }
            State::Open { due, .. } => Admission::Refused(*due - now),
        }
    }

    /// A call has succeeded. True if that closed it.
    pub fn succeeded(&mut self) -> bool {
        let was_open = self.is_open();
        self.state = State::Closed { failures: 0 };
        was_open
    }

    /// A call has failed. True if that opened it.
    pub fn failed(&mut self, now: Duration) -> bool {
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                *failures >= self.settings.failures && self.open(now)
            }
            State::Open { .. } => false,
        }
    }

    /// A probe has failed: the next pause is longer.
    pub fn probe_failed(&mut self, now: Duration) {
        if let State::Open { due, pause } = &mut self.state {
            *pause = pause.saturating_mul(2).min(self.settings.longest_pause);
            *due = now.saturating_add(*pause);
        }
    }

    /// Opens it, whatever came before. True if it was closed.
    pub fn open(&mut self, now: Duration) -> bool {
        if self.is_open() {
            return false;
        }
        let pause = self.settings.first_pause;
        self.state = State::Open {
            due: now.saturating_add(pause),
            pause,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(Settings {
            failures,
            first_pause: ms(100),
            longest_pause: ms(300),
        })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let mut breaker = breaker(3);
        for _ in 0..5 {
            assert!(!breaker.failed(ms(0)) && !breaker.failed(ms(0)));
            assert!(!breaker.succeeded());
            assert_eq!(breaker.admit(ms(0)), Admission::Granted);
        }
        assert!(!breaker.failed(ms(5)) && !breaker.failed(ms(6)) && breaker.failed(ms(7)));
        assert!(breaker.is_open() && !breaker.failed(ms(8)), "once");
        assert_eq!(breaker.admit(ms(10)), Admission::Refused(ms(97)));
    }

    #[test]
    fn one_probe_a_pause_decides_and_pauses_grow_to_a_limit() {
        let mut breaker = breaker(1);
        assert!(breaker.failed(ms(0)));
        assert_eq!(breaker.admit(ms(99)), Admission::Refused(ms(1)));
        assert_eq!(breaker.admit(ms(100)), Admission::Probe);
        assert_eq!(breaker.admit(ms(100)), Admission::Refused(ms(100)));
        for (now, pause) in [(150, 200), (350, 300), (650, 300)] {
            breaker.probe_failed(ms(now));
            assert_eq!(breaker.admit(ms(now)), Admission::Refused(ms(pause)));
            assert_eq!(breaker.admit(ms(now + pause)), Admission::Probe);
        }
        assert!(breaker.succeeded() && !breaker.succeeded());
        assert_eq!(breaker.admit(ms(951)), Admission::Granted);
        // The next time it begins with the first pause.
        assert!(breaker.open(ms(1000)) && !breaker.open(ms(1001)));
        assert_eq!(breaker.admit(ms(1000)), Admission::Refused(ms(100)));
    }

    #[test]
    fn a_probe_without_an_outcome_is_followed_by_another() {
        let mut breaker = breaker(1);
        breaker.open(ms(0));
        for n in 1..10 {
            assert_eq!(breaker.admit(ms(n * 100)), Admission::Probe);
        }
    }
}
