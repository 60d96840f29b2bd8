//! Locks that are waited for outside of a turn.
//!
//! The calls of a cache take turns, and calls of its store are part of them: who waits for a lock
//! there makes everybody wait. So a cache lets a store wait only a moment. If the lock is still held
//! then, the store fails without a change, the cache lets others have their turn, and calls again,
//! until the store's whole patience is over.
//!
//! A store that waits for locks asks [`may_wait`] how long. Where nobody calls
//! [`during`], that is as long as its patience, or [less](patience) for what can be done later.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// How the call that runs on this thread waits.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// What its caller has waited for locks before.
    before: Duration,
    /// The longest wait for a lock.
    most: Duration,
    /// The last call of the store has given up on a lock before its patience was over.
    gave_way: bool,
    /// The turn is not to be repeated.
    is_final: bool,
}

/// Runs a turn of a caller who has waited for locks for `before` in others: stores wait up to `most`
/// for each. With its outcome comes whether it may be called again, if that is a failure: its last
/// call of a store has given up on a lock, and nothing has [changed] or [stays](stay).
pub fn during<T>(before: Duration, most: Duration, work: impl FnOnce() -> T) -> (T, bool) {
    struct Restore(Option<Turn>);
    impl Drop for Restore {
        fn drop(&mut self) {
            TURN.set(self.0);
        }
    }
    let restore = Restore(TURN.replace(Some(Turn {
        before,
        most,
        gave_way: false,
        is_final: false,
    })));
    let outcome = work();
    let turn = TURN.get();
    drop(restore);
    let may_repeat = turn.is_some_and(|turn| turn.gave_way && !turn.is_final);
    (outcome, may_repeat)
}

/// Whether a call that has waited for a lock for `waited` may go on waiting. `patience` is the longest
/// wait of a caller. Whoever may not fails, and has changed nothing.
pub fn may_wait(waited: Duration, patience: Duration) -> bool {
    let Some(mut turn) = TURN.get() else {
        return waited < patience;
    };
    let is_patient = turn.before.saturating_add(waited) < patience;
    let is_short = waited < turn.most;
    turn.gave_way = is_patient && !is_short;
    TURN.set(Some(turn));
    is_patient && is_short
}

/// How long a write that can be done later waits for a lock: `brief`, or `whole` if that is shorter.
/// A turn that may be repeated gives way before that, and its caller decides how long to go on: a
/// caller who asked for the write has the `whole` patience.
pub fn patience(brief: Duration, whole: Duration) -> Duration {
    match TURN.get() {
        Some(turn) if !turn.is_final => whole,
        _ => brief.min(whole),
    }
}

/// Whether the call under way has given up on a lock though its caller has patience left.
pub fn gave_way() -> bool {
    TURN.get().is_some_and(|turn| turn.gave_way)
}

/// Another call of the store begins.
pub fn begin_call() {
    change(|turn| turn.gave_way = false);
}

/// A call has changed what would not be the same if the turn was repeated.
pub fn changed() {
    change(|turn| turn.is_final = true);
}

/// A call has begun something long that would be lost if the turn was repeated. From here on locks
/// are waited for in the turn, as long as the caller's patience lasts.
pub fn stay() {
    change(|turn| {
        turn.is_final = true;
        turn.most = Duration::MAX;
    });
}

fn change(change: impl FnOnce(&mut Turn)) {
    if let Some(mut turn) = TURN.get() {
        change(&mut turn);
        TURN.set(Some(turn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn outside_of_a_turn_patience_alone_counts() {
        assert!(may_wait(ms(9), ms(10)) && !may_wait(ms(10), ms(10)));
        assert!(!may_wait(ms(0), ms(0)) && !gave_way());
    }

    #[test]
    fn a_turn_gives_way_until_the_patience_is_over() {
        let in_turn = |before, waited| during(before, ms(20), || may_wait(waited, ms(1000)));
        assert_eq!(in_turn(ms(0), ms(19)), (true, false));
        assert_eq!(in_turn(ms(0), ms(20)), (false, true), "called again");
        assert_eq!(in_turn(ms(979), ms(20)), (false, true));
        assert_eq!(in_turn(ms(980), ms(20)), (false, false), "that was all");
        assert_eq!(in_turn(ms(1000), ms(0)), (false, false));
        assert!(!gave_way());
    }

    #[test]
    fn only_what_the_last_call_gave_up_and_nothing_was_changed_by_is_repeated() {
        let wait = || assert!(!may_wait(ms(20), ms(1000)) && gave_way());
        let later = || {
            wait();
            begin_call();
        };
        assert_eq!(during(ms(0), ms(20), later), ((), false));
        let after_a_change = || {
            changed();
            begin_call();
            wait();
        };
        assert_eq!(during(ms(0), ms(20), after_a_change), ((), false));
        assert_eq!(during(ms(0), ms(20), wait), ((), true));
    }

    #[test]
    fn who_stays_waits_as_long_as_the_patience_lasts() {
        let staying = |before, waited| {
            during(before, ms(20), || {
                stay();
                may_wait(waited, ms(1000))
            })
        };
        assert_eq!(staying(ms(500), ms(499)), (true, false));
        assert_eq!(staying(ms(500), ms(500)), (false, false), "that was all");
    }

    #[test]
    fn what_can_be_done_later_is_asked_for_again_only_where_a_turn_is_repeated() {
        let (brief, whole) = (ms(100), ms(1000));
        let later = || patience(brief, whole);
        assert_eq!(later(), brief);
        assert_eq!(patience(brief, ms(7)), ms(7));
        assert_eq!(during(ms(0), ms(20), later).0, whole);
        let after = |what: fn()| {
            during(ms(0), ms(20), || {
                what();
                later()
            })
        };
        assert_eq!((after(changed).0, after(stay).0), (brief, brief));
    }
}
