//! Faults of writing: the counter, ids, deletes, hits and replacements.

use super::{Known, memory, sqlite};
use crate::broken::access::{self, MovesBack, RefusesUnknown, SetsCount, Touches};
use crate::broken::counting::{
    CountsEntries, CountsFailures, CountsSinceOpen, ForgetsReplacing, IgnoresSame, Miscounts,
};
use crate::broken::entries::{FirstOfTwins, Keeps, StoresHalf, SwallowsErrors};
use crate::broken::expiry;
use crate::broken::expiry::{Clear, DeleteById, Expiry, GuardByAge, NoGuard, SaysDeleted};
use crate::broken::ids::{
    BeginsAtZero, CountsBack, HonoursIds, IdsByNamespace, NeverReplaced, NewIdOnReplacing,
    ResultsReversed, ReusesIds,
};
use mneme::store::Touch;

/// Of the version counter.
pub fn counting() -> Vec<Known> {
    let still = |at: &'static str| move || Miscounts { at, by: |_| 0 };
    let always = |at: &'static str| move || Miscounts { at, by: |_| 1 };
    let twice = || Miscounts {
        at: "",
        by: |moved| 2 * i64::from(moved),
    };
    vec![
        memory(
            "the counter stays at an insert",
            "the-counter-moves-by-one-on-insert",
            still("insert"),
        ),
        memory(
            "the counter stays at a replacement",
            "the-counter-moves-by-one-on-replacement",
            ForgetsReplacing::default,
        ),
        memory(
            "the counter stays where the same is stored again",
            "upsert-with-the-same-contents-is-a-replacement",
            IgnoresSame::default,
        ),
        memory(
            "the counter stays at delete-by-id",
            "the-counter-moves-by-one-on-delete-by-id",
            still("delete_by_id"),
        ),
        memory(
            "the counter stays at delete-unchanged",
            "the-counter-moves-by-one-on-delete-unchanged",
            still("delete_unchanged"),
        ),
        memory(
            "the counter stays at delete-expired",
            "the-counter-moves-by-one-on-delete-expired",
            still("delete_expired"),
        ),
        memory(
            "the counter stays at clear-namespace",
            "the-counter-moves-by-one-on-clear",
            still("clear_namespace"),
        ),
        memory(
            "the counter moves at an insert of nothing",
            "an-empty-list-is-accepted",
            always("insert"),
        ),
        memory(
            "the counter moves at a delete-by-id of nothing",
            "the-counter-moves-by-one-on-delete-by-id",
            always("delete_by_id"),
        ),
        memory(
            "the counter moves at a delete-unchanged of nothing",
            "nothing-named-is-nothing-deleted",
            always("delete_unchanged"),
        ),
        memory(
            "the counter moves at a delete-expired of nothing",
            "the-counter-moves-by-one-on-delete-expired",
            always("delete_expired"),
        ),
        memory(
            "the counter moves at a clear-namespace of nothing",
            "clearing-an-unknown-namespace-is-zero",
            always("clear_namespace"),
        ),
        memory(
            "the counter moves at a touch",
            "touches-move-no-version-counter",
            always("update_access"),
        ),
        memory(
            "the counter moves at a quota",
            "quotas-move-no-counter",
            always("set_namespace_quota"),
        ),
        memory(
            "the counter moves at a meta value",
            "meta-moves-no-counter",
            always("replace_meta"),
        ),
        memory(
            "the counter moves by two",
            "the-counter-moves-by-one-on-insert",
            twice,
        ),
        memory(
            "the counter moves by the number of entries",
            "the-counter-moves-by-one-on-insert",
            CountsEntries::default,
        ),
        memory(
            "the counter begins anew at each open",
            "the-counter-survives-reopen",
            CountsSinceOpen::default,
        ),
        memory(
            "the counter moves at a failed insert",
            "failed-inserts-move-no-counter",
            CountsFailures::default,
        ),
    ]
}

/// Of ids.
pub fn ids() -> Vec<Known> {
    vec![
        memory("a replacement gets a new id", "upsert-keeps-the-id", || {
            NewIdOnReplacing
        }),
        sqlite(
            "the id of a deleted entry is used again",
            "ids-are-not-reused-after-delete-expired",
            |path| ReusesIds(path.to_owned()),
        ),
        sqlite(
            "the ids given in entries are honoured",
            "given-ids-are-ignored",
            |path| HonoursIds(path.to_owned()),
        ),
        memory("ids begin at 0", "the-first-id-is-one", || BeginsAtZero),
        memory(
            "a replacement is not called one",
            "upsert-keeps-the-id",
            || NeverReplaced,
        ),
        memory(
            "the results of an insert are in another order",
            "insert-returns-one-item-an-entry-in-order",
            || ResultsReversed,
        ),
        sqlite(
            "ids grow in each namespace by itself",
            "ids-grow-across-namespaces",
            IdsByNamespace::new,
        ),
        memory(
            "an id is told twice after a failed insert",
            "a-failed-insert-does-not-give-its-ids-twice",
            CountsBack::default,
        ),
    ]
}

/// Of deleting.
pub fn deleting() -> Vec<Known> {
    let expiry = |change: fn(&mut Expiry)| {
        move || {
            let mut fault = expiry::SOUND;
            change(&mut fault);
            fault
        }
    };
    vec![
        memory(
            "an entry expires a second late",
            "an-entry-expires-at-created-at-plus-ttl",
            expiry(|e| e.late = 1),
        ),
        memory(
            "an entry expires a second early",
            "an-entry-expires-at-created-at-plus-ttl",
            expiry(|e| e.late = -1),
        ),
        memory(
            "delete-expired ignores the namespace",
            "expiry-keeps-to-its-namespace",
            expiry(|e| e.by_namespace = false),
        ),
        memory(
            "delete-expired ignores the limit",
            "expiry-takes-the-lowest-ids-first",
            expiry(|e| e.limited = false),
        ),
        memory(
            "delete-expired begins with the highest ids",
            "expiry-takes-the-lowest-ids-first",
            expiry(|e| e.lowest_first = false),
        ),
        memory(
            "delete-expired deletes what has no lifetime",
            "an-entry-without-a-ttl-never-expires",
            expiry(|e| e.unlimited_stay = false),
        ),
        memory(
            "delete-expired does not tell what it deleted",
            "expired-entries-are-returned-as-versions",
            expiry(|e| e.told = false),
        ),
        memory(
            "delete-unchanged deletes what was replaced",
            "a-replaced-entry-stays",
            || NoGuard,
        ),
        memory(
            "delete-unchanged deletes what is older than named",
            "earlier-and-later-versions-are-told-apart",
            || GuardByAge,
        ),
        memory(
            "delete-unchanged says that it deleted everything",
            "unknown-entries-are-left-out",
            || SaysDeleted(|asked, _| asked.iter().map(|entry| entry.id).collect()),
        ),
        memory(
            "delete-unchanged says that it deleted nothing",
            "unchanged-entries-are-deleted",
            || SaysDeleted(|_, _| Vec::new()),
        ),
        memory(
            "delete-by-id says that it deleted what was not there",
            "deleting-unknown-ids-is-false",
            || DeleteById(|store, id| store.delete_by_id(id).map(|_| true)),
        ),
        memory(
            "delete-by-id says that it deleted nothing",
            "deleting-tells-whether-it-was-there",
            || DeleteById(|store, id| store.delete_by_id(id).map(|_| false)),
        ),
        memory(
            "delete-by-id deletes nothing",
            "a-deleted-entry-is-gone-everywhere",
            || DeleteById(|store, id| Ok(!store.get_by_ids(&[id])?.is_empty())),
        ),
        memory(
            "clear-namespace removes the quota",
            "clearing-leaves-quotas-and-meta",
            || Clear(expiry::clear_with_quotas),
        ),
        memory(
            "clear-namespace clears every namespace",
            "clearing-leaves-other-namespaces",
            || Clear(|store, _| store.clear_namespace(None)),
        ),
        memory(
            "clear-namespace of all clears nothing",
            "clearing-all-leaves-nothing",
            || {
                Clear(|store, namespace| match namespace {
                    Some(_) => store.clear_namespace(namespace),
                    None => store.count(None),
                })
            },
        ),
        memory(
            "clear-namespace does not count what it cleared",
            "clearing-tells-how-many",
            || Clear(|store, namespace| store.clear_namespace(namespace).map(|_| 0)),
        ),
    ]
}

/// Of recording hits.
pub fn hits() -> Vec<Known> {
    fn each(touches: &[Touch], change: fn(&mut Touch)) -> Vec<Touch> {
        let mut touches = touches.to_vec();
        touches.iter_mut().for_each(change);
        touches
    }
    vec![
        memory(
            "a touch does not count",
            "a-touch-changes-the-access-fields-only",
            || Touches(|t| each(t, |touch| touch.hits = 0)),
        ),
        memory(
            "a touch counts one hit",
            "a-touch-changes-the-access-fields-only",
            || Touches(|t| each(t, |touch| touch.hits = 1)),
        ),
        memory(
            "a touch does not move the last access",
            "a-touch-changes-the-access-fields-only",
            || Touches(|t| each(t, |touch| touch.last_accessed_at = 0)),
        ),
        memory(
            "of several touches of one id the last counts",
            "an-id-may-be-touched-twice-in-a-list",
            || Touches(access::last_of_each),
        ),
        memory(
            "of several touches the first counts",
            "many-touches-can-come-at-once",
            || Touches(|touches| touches.first().cloned().into_iter().collect()),
        ),
        sqlite(
            "a touch moves the last access back",
            "a-touch-never-moves-the-time-back",
            |path| MovesBack(path.to_owned()),
        ),
        sqlite(
            "a touch sets the access count",
            "an-old-touch-still-counts-its-hits",
            |path| SetsCount(path.to_owned()),
        ),
        memory(
            "a touch of what is gone fails",
            "touches-of-unknown-ids-are-passed-over",
            || RefusesUnknown,
        ),
    ]
}

/// Of replacing entries.
pub fn replacing() -> Vec<Known> {
    vec![
        memory(
            "a replacement keeps the old lifetime",
            "upsert-can-give-a-ttl",
            || Keeps(|new, old| new.ttl = old.ttl),
        ),
        memory(
            "a replacement without lifetime keeps the old one",
            "upsert-can-take-the-ttl-away",
            || Keeps(|new, old| new.ttl = new.ttl.or(old.ttl)),
        ),
        memory(
            "a replacement keeps the old access count",
            "upsert-resets-the-access-data",
            || Keeps(|new, old| new.access_count = old.access_count),
        ),
        memory(
            "a replacement keeps the old time of creation",
            "upsert-replaces-every-field",
            || Keeps(|new, old| new.created_at = old.created_at),
        ),
        memory(
            "a replacement keeps the old last access",
            "upsert-resets-the-access-data",
            || Keeps(|new, old| new.last_accessed_at = old.last_accessed_at),
        ),
        memory(
            "a replacement moves the last access forward only",
            "upsert-may-go-back-in-time",
            || {
                Keeps(|new, old| {
                    new.last_accessed_at = new.last_accessed_at.max(old.last_accessed_at)
                })
            },
        ),
        memory(
            "a replacement keeps the old response",
            "upsert-replaces-every-field",
            || Keeps(|new, old| new.response.clone_from(&old.response)),
        ),
        memory(
            "a replacement keeps the old query",
            "upsert-replaces-every-field",
            || Keeps(|new, old| new.query.clone_from(&old.query)),
        ),
        memory(
            "a replacement keeps the old metadata",
            "upsert-replaces-every-field",
            || Keeps(|new, old| new.metadata.clone_from(&old.metadata)),
        ),
        memory(
            "a replacement keeps the old vector",
            "upsert-replaces-the-vector",
            || Keeps(|new, old| new.embedding.clone_from(&old.embedding)),
        ),
    ]
}

/// Of lists of entries.
pub fn batches() -> Vec<Known> {
    vec![
        memory(
            "errors of insert are swallowed",
            "a-wrong-vector-in-the-middle-stores-nothing",
            || SwallowsErrors,
        ),
        memory(
            "a bad list is stored by half",
            "a-wrong-vector-in-the-middle-stores-nothing",
            || StoresHalf,
        ),
        memory(
            "of two entries of one key the first is kept",
            "a-pair-twice-in-a-list-is-its-last",
            || FirstOfTwins,
        ),
    ]
}
