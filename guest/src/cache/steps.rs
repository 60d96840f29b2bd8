//! Work in steps: a call does a little of what is long, and others have their turn.

use crate::error::{Result, is_retryable};
use crate::host::{Host, Now};
use crate::types::Error;

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

/// Where long works go on in the next turn, by what they work on. There are few.
pub struct Pending<K, T>(Vec<(K, T, Now)>);

impl<K, T> Default for Pending<K, T> {
    fn default() -> Self {
        Pending(Vec::new())
    }
}

impl<K: PartialEq, T> Pending<K, T> {
    /// Where it goes on; none if it begins.
    pub fn take(&mut self, of: &K, now: Now) -> Option<T> {
        self.0
            .retain(|(_, _, kept)| now >= *kept && now.since(*kept) < GIVEN_UP_MILLIS);
        let at = self.0.iter().position(|(key, ..)| key == of)?;
        Some(self.0.swap_remove(at).1)
    }

    /// It goes on there, instead of where it was to go on.
    pub fn keep(&mut self, of: K, work: T, now: Now) {
        self.0.retain(|(key, ..)| *key != of);
        self.0.push((of, work, now));
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
        self.lasts(host, TURN_MILLIS)
    }

    /// Whether it has taken so many milliseconds.
    pub fn lasts(&self, host: &impl Host, millis: u64) -> bool {
        let now = host.now();
        // A clock set back must not make it longer.
        now < self.began || now.since(self.began) >= millis
    }
}

/// Does parts of long work, at least one, until it is done or the turn is over.
pub fn take_turn(host: &impl Host, part: impl FnMut() -> Result<Progress>) -> Result<Progress> {
    parts(host, |_| false, part)
}

/// As [`take_turn`], for parts that change something. A failure that may pass ends the turn, and
/// what was done in it is told; the next turn begins with the part that has failed.
pub fn take_turn_of_changes(
    host: &impl Host,
    part: impl FnMut() -> Result<Progress>,
) -> Result<Progress> {
    parts(host, is_retryable, part)
}

fn parts(
    host: &impl Host,
    ends_turn: impl Fn(&Error) -> bool,
    mut part: impl FnMut() -> Result<Progress>,
) -> Result<Progress> {
    let turn = Turn::begin(host);
    for n in 0..MOST_PARTS {
        match part() {
            Ok(Progress::Done) => return Ok(Progress::Done),
            Ok(Progress::Under) => {}
            Err(error) if n > 0 && ends_turn(&error) => break,
            Err(error) => return Err(error),
        }
        if turn.is_over(host) {
            break;
        }
    }
    Ok(Progress::Under)
}
