//! Following other processes that write to the same store.
//!
//! The store's version counter shows *that* somebody wrote, not what. If it has moved further
//! than this instance's own writes explain, the cache asks the store's log of changes what it was,
//! or compares the store's (id, created-at) stamps with those of its index: see
//! `cache::following`.

use crate::host::Now;
use crate::types::Coordination;
use std::collections::BTreeMap;

/// A replacement within the same second does not change `created-at`. So the next comparison
/// reads all rows again that were stored less than this many seconds before the last one. This
/// also allows for clocks that differ by as much.
const UNSETTLED_SECONDS: u64 = 2;

/// When the store was last compared with the index, and at which version.
pub struct Follower {
    /// None if nobody else writes.
    interval_ms: Option<u32>,
    checked: Option<Now>,
    /// Others in this process have written since.
    told: bool,
    /// After a comparison, the milliseconds until the next.
    rest_ms: u64,
    /// Of comparisons that were followed by no rest, the milliseconds of it, and since when they
    /// pass.
    owed_ms: u64,
    owed_since: Now,
    /// The value of the counter if nobody else has written.
    version: Option<u64>,
    /// The index has every change up to this value of the counter. Later ones it has too, if they
    /// are this instance's.
    followed: Option<u64>,
    /// How often this instance has stored an entry since then, by id; of others it is not known.
    own: BTreeMap<u64, u32>,
    compared: Now,
}

/// The rest after reading the store is this many times as long as reading took.
const REST_FACTOR: u64 = 10;
/// So much rest may be put off, so that what others have just written is seen at once.
const PUT_OFF_MILLIS: u64 = 1_000;
/// Of so many entries it is remembered that this instance has stored them.
const MOST_OWN: usize = 1 << 16;
/// A turn that seems to take longer was measured by a clock that was set ahead meanwhile.
const LONGEST_TURN_MILLIS: u64 = 6_000;

/// The milliseconds that a turn took.
pub fn measured(start: Now, end: Now) -> u64 {
    end.since(start).min(LONGEST_TURN_MILLIS)
}

/// For how many milliseconds the store is not read again after a reading that took so long.
pub fn rest_after(took_ms: u64) -> u64 {
    took_ms.saturating_mul(REST_FACTOR)
}

impl Follower {
    /// Follows other processes, if there are any.
    pub fn new(coordination: Coordination) -> Self {
        Follower {
            interval_ms: match coordination {
                Coordination::Single => None,
                Coordination::StaleTolerant(interval_ms) => Some(interval_ms),
            },
            checked: None,
            told: false,
            rest_ms: 0,
            owed_ms: 0,
            owed_since: Now { millis: 0 },
            version: None,
            followed: None,
            own: BTreeMap::new(),
            compared: Now { millis: 0 },
        }
    }

    /// Whether it is time to read the version counter.
    pub fn is_due(&self, now: Now) -> bool {
        match (self.interval_ms, self.checked) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(_), _) if self.told => true,
            (Some(interval), Some(checked)) => {
                now < checked
                    || now.millis - checked.millis >= u64::from(interval).max(self.rest_ms)
            }
        }
    }

    /// Records that others in this process have written: the counter is read next time.
    pub fn is_told(&mut self) {
        self.told = true;
    }

    /// Whether others write to the store.
    pub fn is_shared(&self) -> bool {
        self.interval_ms.is_some()
    }

    /// Whether this value of the counter shows writes of others.
    pub fn has_moved(&self, version: u64) -> bool {
        self.version != Some(version)
    }

    /// The value of the counter whose changes, and all before them, the index has.
    pub fn followed(&self) -> Option<u64> {
        self.followed
    }

    /// Records that the counter has this value, and the index has all its changes.
    pub fn has_seen(&mut self, version: u64) {
        self.version = Some(version);
    }

    /// Records that the index has every change up to this value of the counter.
    pub fn followed_to(&mut self, version: u64) {
        self.followed = Some(version);
        self.own.clear();
    }

    /// Records that this instance has stored an entry, which the index has.
    pub fn stored(&mut self, id: u64) {
        if self.is_shared() && (self.own.len() < MOST_OWN || self.own.contains_key(&id)) {
            *self.own.entry(id).or_default() += 1;
        }
    }

    /// Whether a change of the log, which is met for the first time, may be this instance's. As it
    /// is not known which ones are, the last ones of an entry are taken for those of others: they
    /// lead to what is stored now.
    pub fn is_own(&mut self, id: u64) -> bool {
        match self.own.get_mut(&id) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Records that the counter was read, and that its changes have been followed, or are being
    /// followed.
    pub fn caught_up(&mut self, version: u64, now: Now) {
        self.version = Some(version);
        self.checked = Some(now);
        self.told = false;
    }

    /// Records that a comparison with the store ended, and how many milliseconds it took. However
    /// often it is done, and however short it is, it takes an eleventh of the time at most.
    pub fn rest_after(&mut self, took_ms: u64, now: Now) {
        let rested_ms = now.since(self.owed_since).saturating_sub(took_ms);
        self.owed_ms = self.owed_ms.saturating_sub(rested_ms) + rest_after(took_ms);
        self.owed_since = now;
        self.checked = Some(now);
        self.rest_ms = match self.owed_ms < PUT_OFF_MILLIS {
            true => 0,
            false => self.owed_ms,
        };
    }

    /// Records that a comparison was given up: the changes have not been followed.
    pub fn fell_behind(&mut self) {
        self.version = None;
        self.followed = None;
        self.own.clear();
        self.checked = None;
    }

    /// The last known value of the counter.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// When the last reading of the index, or comparison, began.
    pub fn compared(&self) -> Now {
        self.compared
    }

    /// Records that this instance made one call that moved the counter.
    pub fn wrote(&mut self) {
        self.version = self.version.map(|version| version.saturating_add(1));
    }

    /// Records when reading the index, or comparing it with the store, began.
    pub fn compared_at(&mut self, now: Now) {
        self.compared = now;
    }
}

/// Whether a row with this `created-at` may have been replaced invisibly since it was read or
/// compared.
pub fn is_unsettled(created_at: u64, compared: Now) -> bool {
    created_at.saturating_add(UNSETTLED_SECONDS) >= compared.seconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now { millis }
    }

    #[test]
    fn a_clock_that_is_set_does_not_end_following() {
        let ten_years = 10 * 365 * 86_400_000;
        assert_eq!(measured(at(500), at(520)), 20);
        assert_eq!(measured(at(500), at(500 + ten_years)), LONGEST_TURN_MILLIS);
        assert_eq!(measured(at(500), at(0)), 0);
    }

    #[test]
    fn a_comparison_is_followed_by_a_rest_of_ten_times_its_length() {
        let mut follower = Follower::new(Coordination::StaleTolerant(100));
        follower.caught_up(1, at(1_000));
        assert!(!follower.is_due(at(1_099)) && follower.is_due(at(1_100)));
        follower.rest_after(500, at(2_000));
        assert!(!follower.is_due(at(6_999)) && follower.is_due(at(7_000)));
        assert!(
            follower.is_due(at(0)),
            "a clock set back does not end following"
        );
        follower.fell_behind();
        assert!(follower.is_due(at(2_000)) && follower.has_moved(1));
    }

    #[test]
    fn short_comparisons_in_a_row_rest_too() {
        let mut follower = Follower::new(Coordination::StaleTolerant(0));
        // What others have just written is seen at once, and once more.
        follower.rest_after(90, at(10_090));
        assert!(follower.is_due(at(10_090)));
        follower.rest_after(90, at(10_180));
        assert!(!follower.is_due(at(11_979)) && follower.is_due(at(11_980)));
        // After the rest it begins again.
        follower.rest_after(90, at(12_070));
        assert!(follower.is_due(at(12_070)));
        // A pause counts as a rest.
        follower.rest_after(90, at(12_970 + 90));
        assert!(follower.is_due(at(13_060)));
        // The shortest ones may be many in a row.
        let mut follower = Follower::new(Coordination::StaleTolerant(0));
        for ms in 1..100 {
            follower.rest_after(1, at(ms));
            assert!(follower.is_due(at(ms)), "{ms}");
        }
        follower.rest_after(1, at(100));
        assert!(!follower.is_due(at(1_099)) && follower.is_due(at(1_100)));
    }

    #[test]
    fn comparing_at_every_look_up_takes_an_eleventh_of_the_time() {
        for took_ms in [1, 7, 90, 99, 100, 101, 2_000] {
            let mut follower = Follower::new(Coordination::StaleTolerant(0));
            let (mut now, mut spent) = (1_000_000, 0);
            let end = now + 10_000_000;
            while now < end {
                match follower.is_due(at(now)) {
                    true => {
                        now += took_ms;
                        spent += took_ms;
                        follower.rest_after(took_ms, at(now));
                    }
                    false => now += 1,
                }
            }
            let part = spent as f64 / 10_000_000.0;
            assert!((0.088..0.0915).contains(&part), "{took_ms} ms: {part}");
        }
    }
}
