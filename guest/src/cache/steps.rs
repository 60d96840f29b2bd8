//! Work in steps: a call does a little of what is long, and others have their turn.

use crate::error::Result;
use crate::host::{Host, Now};

/// A call spends about so much time on long work.
const TURN_MILLIS: u64 = 10;
/// The most parts of a turn. Some platforms stop the clock during a call.
const MOST_PARTS: usize = 32;

/// How far long work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    Under,
    Done,
}

impl Progress {
    /// Under way if there is more to do.
    pub fn under_if(more: bool) -> Self {
        match more {
            true => Progress::Under,
            false => Progress::Done,
        }
    }

    /// Whether there is more to do.
    pub fn is_under(self) -> bool {
        self == Progress::Under
    }
}

/// Long work that got no turn for so long was given up by its caller.
const GIVEN_UP_MILLIS: u64 = 60_000;

/// Where long work goes on in the next turn.
pub struct Pending<T>(Option<(T, Now)>);

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Pending(None)
    }
}

impl<T> Pending<T> {
    /// Where it goes on; none if it begins.
    pub fn take(&mut self, now: Now) -> Option<T> {
        let (work, kept) = self.0.take()?;
        (now >= kept && now.since(kept) < GIVEN_UP_MILLIS).then_some(work)
    }

    /// The work goes on there.
    pub fn keep(&mut self, work: T, now: Now) {
        self.0 = Some((work, now));
    }
}

/// The time of one call.
pub struct Turn {
    began: Now,
}

impl Turn {
    /// Begins now.
    pub fn begin(host: &impl Host) -> Self {
        Turn { began: host.now() }
    }

    /// Whether others should have their turn.
    pub fn is_over(&self, host: &impl Host) -> bool {
        let now = host.now();
        // A clock set back must not make it longer.
        now < self.began || now.since(self.began) >= TURN_MILLIS
    }
}

/// Does parts of long work, at least one, until it is done or the turn is over.
pub fn take_turn(host: &impl Host, mut part: impl FnMut() -> Result<Progress>) -> Result<Progress> {
    let turn = Turn::begin(host);
    for _ in 0..MOST_PARTS {
        if part()? == Progress::Done {
            return Ok(Progress::Done);
        }
        if turn.is_over(host) {
            break;
        }
    }
    Ok(Progress::Under)
}
