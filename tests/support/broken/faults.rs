//! The table of faults, and which case of the battery each of them is failed by.

use super::access::{self, MovesBack, RefusesUnknown, SetsCount, Touches};
use super::counting::{
    CountsEntries, CountsFailures, CountsSinceOpen, ForgetsReplacing, IgnoresSame, Miscounts,
};
use super::crashing::{OneByOne, OwnCounter, StaleGuard, StaleReads, StaleSettings, StaleWalk};
use super::entries::{
    AnonymousRefs, EnforcesQuotas, FirstOfTwins, HashesCollide, Keeps, Returns, Stores, StoresHalf,
    SwallowsErrors,
};
use super::expiry::{Clear, DeleteById, Expiry, GuardByAge, NoGuard, SaysDeleted};
use super::ids::{
    BeginsAtZero, CountsBack, HonoursIds, IdsByNamespace, NeverReplaced, NewIdOnReplacing,
    ResultsReversed, ReusesIds,
};
use super::keys::{Counts, Folds, Ghosts, Lists, Patterns, like, prefix};
use super::opening::{
    AnswersClosed, ChangesItsMind, ChecksOnce, Opens, OpensAnyway, PagesClosed, Says, SaysOfHealth,
    StaysOpen, close_once, forget_at_close, open_in_range, open_once,
};
use super::pages::{
    ByHash, ByIds, Entries, Eviction, NothingIsAnError, OtherPage, PagesByRank, Stamps, Vectors,
    by_access, reversed, vectors_reversed,
};
use super::settings::{
    ListsQuotas, MetaText, ReadsMeta, ReplacesMeta, SaysQuota, SetsQuota, regardless, reserved_too,
};
use super::snapshots::{
    KeepsCounter, LosesCounter, Steps, commit_whatever_comes, commit_without_quotas,
    restore_into_nothing,
};
use super::{Base, Broken, Fault, all, crashing, expiry, keys, snapshots, texts};
use mneme::store::{BackendError, StoreError, Touch};
use std::path::Path;

/// A fault with what is expected of the battery.
pub struct Known {
    /// What is wrong.
    pub name: &'static str,
    /// The case that must fail.
    pub caught_by: &'static str,
    /// What the fault is put before.
    pub base: Base,
    make: Box<Make>,
}

/// Makes the fault of a store on the file at a path.
type Make = dyn Fn(&Path) -> Box<dyn Fault> + Send + Sync;

impl Known {
    /// A store with this fault, on the file at `path` if it has one.
    pub fn store(&self, path: &Path) -> Broken {
        self.base.broken(path, |path| (self.make)(path))
    }
}

fn known<F: Fault + 'static>(
    base: Base,
    name: &'static str,
    caught_by: &'static str,
    make: impl Fn(&Path) -> F + Send + Sync + 'static,
) -> Known {
    Known {
        name,
        caught_by,
        base,
        make: Box::new(move |path| Box::new(make(path))),
    }
}

fn memory<F: Fault + 'static>(
    name: &'static str,
    caught_by: &'static str,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Known {
    known(Base::Memory, name, caught_by, move |_| make())
}

fn sqlite<F: Fault + 'static>(
    name: &'static str,
    caught_by: &'static str,
    make: impl Fn(&Path) -> F + Send + Sync + 'static,
) -> Known {
    known(Base::Sqlite, name, caught_by, make)
}

/// All faults.
pub fn all_known() -> Vec<Known> {
    [
        counting(),
        ids(),
        pages(),
        eviction(),
        deleting(),
        hits(),
        replacing(),
        stored_values(),
        looking_up(),
        names(),
        batches(),
        quotas(),
        meta(),
        opening(),
        closed(),
        capabilities(),
        between_stores(),
        snapshots_(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn counting() -> Vec<Known> {
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

fn ids() -> Vec<Known> {
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

fn pages() -> Vec<Known> {
    let page = |of: fn(u64, u32) -> (u64, u32)| move || OtherPage { of };
    vec![
        memory(
            "pages of entries are not sorted",
            "a-walk-in-small-steps-sees-every-row-once",
            || Entries(|page| page.reverse()),
        ),
        memory(
            "pages of vectors are not sorted",
            "a-walk-in-small-steps-sees-every-row-once",
            || Vectors(reversed),
        ),
        memory(
            "pages of stamps are not sorted",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Stamps(|page| {
                    page.ids.reverse();
                    page.created_at.reverse();
                })
            },
        ),
        memory(
            "a page begins with the last id",
            "a-page-begins-after-the-last-id",
            page(|last, limit| (last.saturating_sub(1), limit)),
        ),
        memory(
            "a page leaves out the first row",
            "a-page-begins-after-the-last-id",
            page(|last, limit| (last.saturating_add(1), limit)),
        ),
        memory(
            "the limit of a page is ignored",
            "a-page-has-at-most-limit-rows",
            page(|last, _| (last, u32::MAX)),
        ),
        memory(
            "a page has one row more than its limit",
            "a-page-has-at-most-limit-rows",
            page(|last, limit| (last, limit.saturating_add(1))),
        ),
        memory(
            "a page has one row less than its limit",
            "a-short-page-is-the-last",
            page(|last, limit| (last, limit.saturating_sub(1))),
        ),
        memory(
            "a page has 10 rows at most",
            "pages-cover-all-namespaces",
            page(|last, limit| (last, limit.min(10))),
        ),
        memory(
            "a page of entries skips a row",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Entries(|page| {
                    if page.len() > 2 {
                        page.remove(1);
                    }
                })
            },
        ),
        memory(
            "a page of vectors skips a row",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Vectors(|page| {
                    if page.ids.len() > 2 {
                        let dim = page.vectors.len() / page.ids.len();
                        page.ids.remove(1);
                        page.namespaces.remove(1);
                        page.created_at.remove(1);
                        page.vectors.drain(dim..2 * dim);
                    }
                })
            },
        ),
        memory(
            "a page of stamps skips a row",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Stamps(|page| {
                    if page.ids.len() > 2 {
                        page.ids.remove(1);
                        page.created_at.remove(1);
                    }
                })
            },
        ),
        memory(
            "pages go by rank, not by id",
            "pages-skip-deleted-rows",
            || PagesByRank,
        ),
        memory(
            "the vectors of a page are those of other rows",
            "vectors-come-row-by-row",
            || Vectors(vectors_reversed),
        ),
        memory(
            "the namespaces of a page are those of other rows",
            "the-walks-agree",
            || Vectors(|page| page.namespaces.reverse()),
        ),
        memory(
            "the times of a page of vectors are those of other rows",
            "the-walks-agree",
            || Vectors(|page| page.created_at.reverse()),
        ),
        memory(
            "the times of a page of stamps are those of other rows",
            "the-walks-agree",
            || Stamps(|page| page.created_at.reverse()),
        ),
        memory(
            "a page of vectors lacks the last vector",
            "vectors-come-row-by-row",
            || {
                Vectors(|page| {
                    let dim = page.vectors.len() / page.ids.len().max(1);
                    page.vectors.truncate(page.vectors.len() - dim);
                })
            },
        ),
    ]
}

fn eviction() -> Vec<Known> {
    let sound = || Eviction {
        sort: by_access,
        by_namespace: true,
        limited: true,
    };
    vec![
        memory(
            "ties in the order of eviction go by descending id",
            "ties-are-broken-by-id",
            move || Eviction {
                sort: |entries| {
                    entries.sort_by_key(|e| (e.last_accessed_at, std::cmp::Reverse(e.id)));
                },
                ..sound()
            },
        ),
        memory(
            "the most recently used go first",
            "the-least-recently-used-come-first",
            move || Eviction {
                sort: |entries| {
                    entries.sort_by_key(|e| (std::cmp::Reverse(e.last_accessed_at), e.id));
                },
                ..sound()
            },
        ),
        memory(
            "the oldest go first, used or not",
            "the-least-recently-used-come-first",
            move || Eviction {
                sort: |entries| entries.sort_by_key(|e| (e.created_at, e.id)),
                ..sound()
            },
        ),
        memory(
            "the first stored go first, used or not",
            "the-least-recently-used-come-first",
            move || Eviction {
                sort: |entries| entries.sort_by_key(|e| e.id),
                ..sound()
            },
        ),
        memory(
            "the order of eviction is by namespace first",
            "lru-covers-all-namespaces",
            move || Eviction {
                sort: |entries| {
                    entries.sort_by_key(|e| (e.namespace.clone(), e.last_accessed_at, e.id));
                },
                ..sound()
            },
        ),
        memory(
            "the order of eviction ignores the namespace asked for",
            "lru-keeps-to-its-namespace",
            move || Eviction {
                by_namespace: false,
                ..sound()
            },
        ),
        memory(
            "the order of eviction ignores the number asked for",
            "lru-returns-at-most-n",
            move || Eviction {
                limited: false,
                ..sound()
            },
        ),
        memory(
            "the order of eviction names no namespace",
            "lru-names-the-version",
            || AnonymousRefs,
        ),
    ]
}

fn deleting() -> Vec<Known> {
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

fn hits() -> Vec<Known> {
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

fn replacing() -> Vec<Known> {
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

fn stored_values() -> Vec<Known> {
    let stores = |change: fn(&mut mneme::store::Entry)| move || Stores(change);
    vec![
        memory(
            "text beyond U+FFFF is lost",
            "characters-beyond-the-first-plane-are-kept",
            stores(texts::three_bytes_only),
        ),
        memory(
            "text ends at U+0000",
            "odd-responses-are-kept",
            stores(texts::cut_at_nul),
        ),
        memory(
            "text is trimmed",
            "odd-responses-are-kept",
            stores(texts::trimmed),
        ),
        memory(
            "line ends are changed",
            "odd-responses-are-kept",
            stores(texts::line_ends),
        ),
        memory(
            "text is composed",
            "odd-queries-are-kept",
            stores(texts::composed),
        ),
        memory(
            "text ends at 64 KiB",
            "a-response-of-many-kilobytes-is-kept",
            stores(texts::cut_at_64k),
        ),
        memory(
            "empty text is taken for none",
            "empty-texts-are-kept",
            stores(texts::empty_is_null),
        ),
        memory(
            "the query is kept in lower case",
            "odd-queries-are-kept",
            stores(texts::query_in_lower_case),
        ),
        memory(
            "metadata is sorted",
            "metadata-keeps-order-and-spaces",
            stores(texts::sorted_metadata),
        ),
        memory(
            "vectors are cut",
            "every-position-of-a-vector-is-kept",
            || Returns(texts::last_value_lost),
        ),
        memory(
            "the last value of a vector is lost",
            "every-position-of-a-vector-is-kept",
            stores(texts::last_value_zero),
        ),
        memory(
            "vectors are rounded to 16 bits",
            "vectors-are-kept-bit-for-bit",
            stores(texts::half_precision),
        ),
        memory(
            "very small values of vectors are lost",
            "tiny-values-are-kept",
            stores(texts::no_small_numbers),
        ),
        memory(
            "vectors are made unit length",
            "vectors-are-kept-bit-for-bit",
            stores(texts::unit_length),
        ),
        memory(
            "numbers are cut to 32 bits",
            "great-numbers-are-kept-exactly",
            stores(texts::small_integers),
        ),
        memory(
            "numbers are kept as floating point",
            "great-numbers-are-kept-exactly",
            stores(texts::rounded_integers),
        ),
        memory(
            "a lifetime of 0 is taken for none",
            "a-ttl-of-zero-expires-at-once",
            stores(texts::zero_ttl_is_none),
        ),
        memory(
            "no lifetime is taken for 0",
            "an-entry-without-a-ttl-never-expires",
            stores(texts::no_ttl_is_zero),
        ),
        memory(
            "the last access is that of creation",
            "an-inserted-entry-is-there-whole",
            stores(texts::accessed_when_created),
        ),
        memory(
            "access counts begin at 0",
            "an-inserted-entry-is-there-whole",
            stores(texts::no_access_yet),
        ),
    ]
}

fn looking_up() -> Vec<Known> {
    vec![
        memory(
            "get-by-hash leaves out what it does not find",
            "look-ups-answer-in-the-order-of-the-keys",
            || ByHash(|found| found.retain(Option::is_some)),
        ),
        memory(
            "get-by-hash answers in another order",
            "look-ups-answer-in-the-order-of-the-keys",
            || ByHash(|found| found.reverse()),
        ),
        memory(
            "get-by-hash answers a key once",
            "a-key-may-be-asked-for-twice",
            || {
                ByHash(|found| {
                    let mut seen = Vec::new();
                    for entry in found {
                        match entry.as_ref().map(|entry| entry.id) {
                            Some(id) if seen.contains(&id) => *entry = None,
                            id => seen.extend(id),
                        }
                    }
                })
            },
        ),
        memory(
            "get-by-hash hides what is about to expire",
            "expired-entries-are-returned",
            || {
                ByHash(|found| {
                    for entry in found {
                        *entry = entry.take().filter(|entry| entry.ttl != Some(0));
                    }
                })
            },
        ),
        memory(
            "get-by-ids answers in the order of ids",
            "ids-are-answered-in-the-order-asked",
            || ByIds(|found| found.sort_by_key(|entry| entry.id)),
        ),
        memory(
            "get-by-ids answers nothing where one is missing",
            "unknown-ids-are-left-out",
            || MissingIsEmpty,
        ),
        memory(
            "an entry loses its id on the way out",
            "an-inserted-entry-is-there-whole",
            || Returns(|entry| entry.id = 0),
        ),
        memory(
            "looking up nothing fails",
            "a-look-up-of-no-keys-is-empty",
            || NothingIsAnError,
        ),
    ]
}

/// Answers a look-up by ids with nothing unless all are there.
struct MissingIsEmpty;

impl Fault for MissingIsEmpty {
    fn get_by_ids(
        &mut self,
        store: &mut super::Sound,
        ids: &[u64],
    ) -> mneme::store::Result<Vec<mneme::store::Entry>> {
        let found = store.get_by_ids(ids)?;
        Ok(if found.len() == ids.len() {
            found
        } else {
            Vec::new()
        })
    }
}

fn names() -> Vec<Known> {
    let folds = |fold: fn(&str) -> String| move || Folds::by(fold);
    let patterns =
        |at: &'static str, matches: fn(&str, &str) -> bool| move || Patterns { matches, at };
    vec![
        memory(
            "keys are compared without case",
            "letter-case-of-namespaces-counts",
            folds(|name| name.to_lowercase()),
        ),
        memory(
            "keys are trimmed",
            "white-space-in-namespaces-counts",
            folds(|name| name.trim().to_owned()),
        ),
        memory(
            "keys are composed",
            "unicode-forms-of-namespaces-count",
            folds(keys::composed),
        ),
        memory(
            "namespaces end at U+0000",
            "invisible-characters-in-namespaces-count",
            || Stores(texts::namespace_cut_at_nul),
        ),
        memory(
            "one hash is held in one namespace only",
            "one-hash-in-two-namespaces-is-two-entries",
            || HashesCollide,
        ),
        memory(
            "count takes a namespace for a pattern",
            "count-takes-no-pattern",
            patterns("count", like),
        ),
        memory(
            "clear-namespace takes a namespace for a pattern",
            "clearing-takes-no-pattern",
            patterns("clear_namespace", like),
        ),
        memory(
            "delete-expired takes a namespace for a pattern",
            "expiry-covers-all-namespaces",
            patterns("delete_expired", like),
        ),
        memory(
            "count takes a namespace for a prefix",
            "namespaces-that-begin-alike-are-different",
            patterns("count", prefix),
        ),
        memory(
            "clear-namespace takes a namespace for a prefix",
            "clearing-leaves-other-namespaces",
            patterns("clear_namespace", prefix),
        ),
        memory(
            "delete-expired takes a namespace for a prefix",
            "expiry-covers-all-namespaces",
            patterns("delete_expired", prefix),
        ),
        memory(
            "iter-lru-ids takes a namespace for a prefix",
            "lru-keeps-to-its-namespace",
            patterns("iter_lru_ids", prefix),
        ),
        memory(
            "count counts all namespaces",
            "namespaces-that-begin-alike-are-different",
            || Counts(|store, _| store.count(None)),
        ),
        memory(
            "count of all counts none",
            "count-of-all-follows-every-namespace",
            || {
                Counts(|store, namespace| match namespace {
                    Some(_) => store.count(namespace),
                    None => Ok(0),
                })
            },
        ),
        memory(
            "namespaces are not sorted",
            "namespaces-are-sorted-by-their-bytes",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.reverse();
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces are sorted without case",
            "namespaces-are-sorted-by-their-bytes",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.sort_by_key(|name| name.to_lowercase());
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces are sorted by UTF-16",
            "namespaces-are-sorted-by-their-bytes",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.sort_by_key(|name| name.encode_utf16().collect::<Vec<_>>());
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces are listed once an entry",
            "namespaces-with-entries-are-listed-once",
            || {
                Lists(|store| {
                    let mut names: Vec<_> = all(store)?.into_iter().map(|e| e.namespace).collect();
                    names.sort();
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces without entries are listed",
            "a-namespace-goes-with-its-last-entry",
            Ghosts::default,
        ),
        memory(
            "namespaces with a quota are listed",
            "quotas-and-meta-make-no-namespace",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.extend(
                        store
                            .list_namespace_quotas()?
                            .into_iter()
                            .map(|(name, _)| name),
                    );
                    names.sort();
                    names.dedup();
                    Ok(names)
                })
            },
        ),
        memory(
            "count of an unknown namespace fails",
            "count-of-an-unknown-namespace-is-zero",
            || {
                Counts(|store, namespace| match store.count(namespace)? {
                    0 => Err(StoreError::InvalidArgument(
                        "there is no such namespace".into(),
                    )),
                    count => Ok(count),
                })
            },
        ),
    ]
}

fn batches() -> Vec<Known> {
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

fn quotas() -> Vec<Known> {
    vec![
        memory(
            "a quota of 0 is taken for none",
            "a-quota-of-zero-is-a-quota",
            || {
                SetsQuota(|store, name, quota| {
                    store.set_namespace_quota(name, quota.filter(|quota| *quota > 0))
                })
            },
        ),
        memory(
            "a quota cannot be overwritten",
            "a-quota-can-be-changed",
            || {
                SetsQuota(
                    |store, name, quota| match store.get_namespace_quota(name)? {
                        Some(_) if quota.is_some() => Ok(()),
                        _ => store.set_namespace_quota(name, quota),
                    },
                )
            },
        ),
        memory(
            "a quota cannot be removed",
            "a-quota-can-be-removed",
            || {
                SetsQuota(|store, name, quota| match quota {
                    Some(_) => store.set_namespace_quota(name, quota),
                    None => Ok(()),
                })
            },
        ),
        memory(
            "a quota is cut to 32 bits",
            "large-quotas-are-kept-exactly",
            || {
                SetsQuota(|store, name, quota| {
                    store.set_namespace_quota(name, quota.map(|quota| quota & 0xffff_ffff))
                })
            },
        ),
        memory(
            "a quota cannot be set before there are entries",
            "a-quota-needs-no-entries",
            || {
                SetsQuota(|store, name, quota| match store.count(Some(name))? {
                    0 if quota.is_some() => Ok(()),
                    _ => store.set_namespace_quota(name, quota),
                })
            },
        ),
        memory(
            "a namespace without quota has one of 0",
            "removing-no-quota-does-nothing",
            || SaysQuota(|_, _, quota| Ok(quota.or(Some(0)))),
        ),
        memory(
            "quotas are not sorted",
            "quotas-are-listed-by-bytes",
            || {
                ListsQuotas(|_, quotas| {
                    quotas.reverse();
                    Ok(())
                })
            },
        ),
        memory(
            "quotas are listed where there are entries only",
            "quotas-are-listed-by-bytes",
            || {
                ListsQuotas(|store, quotas| {
                    let names = store.list_namespaces()?;
                    quotas.retain(|(name, _)| names.contains(name));
                    Ok(())
                })
            },
        ),
        memory("quotas are enforced", "a-store-enforces-no-quota", || {
            EnforcesQuotas
        }),
    ]
}

fn meta() -> Vec<Known> {
    vec![
        memory(
            "replace-meta ignores what is expected",
            "a-value-is-replaced-if-it-is-the-expected-one",
            || ReplacesMeta(regardless),
        ),
        memory(
            "replace-meta ignores that nothing is expected",
            "a-present-key-is-not-taken-for-new",
            || {
                ReplacesMeta(|store, key, expected, value| match expected {
                    Some(_) => store.replace_meta(key, expected, value),
                    None => regardless(store, key, expected, value),
                })
            },
        ),
        memory(
            "replace-meta says that it replaced",
            "a-value-is-replaced-if-it-is-the-expected-one",
            || {
                ReplacesMeta(|store, key, expected, value| {
                    store.replace_meta(key, expected, value).map(|_| true)
                })
            },
        ),
        memory(
            "replace-meta says that it did not replace the same",
            "replacing-by-the-same-is-true",
            || {
                ReplacesMeta(|store, key, expected, value| {
                    Ok(store.replace_meta(key, expected, value)? && expected != value)
                })
            },
        ),
        memory(
            "replace-meta takes the store's own keys",
            "the-stores-own-keys-are-not-writable",
            || ReplacesMeta(reserved_too),
        ),
        memory("meta cannot be removed", "a-value-can-be-removed", || {
            ReplacesMeta(|store, key, expected, value| match value {
                Some(_) => store.replace_meta(key, expected, value),
                None => Ok(store.read_meta(key)?.as_deref() == expected),
            })
        }),
        memory(
            "meta is emptied instead of removed",
            "a-value-can-be-removed",
            || {
                ReplacesMeta(|store, key, expected, value| {
                    store.replace_meta(key, expected, Some(value.unwrap_or_default()))
                })
            },
        ),
        memory(
            "meta keys are compared without case",
            "keys-are-compared-exactly",
            || MetaText {
                key: str::to_lowercase,
                value: str::to_owned,
            },
        ),
        memory("meta keys are trimmed", "keys-are-compared-exactly", || {
            MetaText {
                key: |key| key.trim().to_owned(),
                value: str::to_owned,
            }
        }),
        memory(
            "meta values are trimmed",
            "odd-keys-and-values-are-kept",
            || MetaText {
                key: str::to_owned,
                value: |value| value.trim().to_owned(),
            },
        ),
        memory(
            "meta values end at U+0000",
            "odd-keys-and-values-are-kept",
            || MetaText {
                key: str::to_owned,
                value: |value| value.split('\0').next().unwrap_or_default().to_owned(),
            },
        ),
        memory(
            "meta values end at 255 bytes",
            "a-value-of-many-kilobytes-is-kept",
            || MetaText {
                key: str::to_owned,
                value: |value| value.chars().take(255).collect(),
            },
        ),
        memory(
            "a missing meta key reads as empty",
            "a-missing-key-reads-as-none",
            || ReadsMeta(|_, value| Some(value.unwrap_or_default())),
        ),
        memory(
            "the store's own keys cannot be read",
            "the-stores-own-keys-are-readable",
            || ReadsMeta(|key, value| value.filter(|_| !key.starts_with("embedder_"))),
        ),
        memory("a new meta key is not set", "a-new-key-is-set", || {
            ReplacesMeta(|store, key, expected, value| match expected {
                Some(_) => store.replace_meta(key, expected, value),
                None => Ok(store.read_meta(key)?.is_none()),
            })
        }),
    ]
}

fn opening() -> Vec<Known> {
    vec![
        memory(
            "another fingerprint is accepted",
            "another-fingerprint-is-refused",
            || OpensAnyway {
                fingerprint: true,
                dim: false,
            },
        ),
        memory(
            "another number of dimensions is accepted",
            "another-dimension-is-refused",
            || OpensAnyway {
                fingerprint: false,
                dim: true,
            },
        ),
        memory(
            "a store that refused to open is open",
            "a-refused-open-leaves-a-closed-store",
            || StaysOpen,
        ),
        memory(
            "an open store does not check again",
            "a-refused-open-leaves-a-closed-store",
            ChecksOnce::default,
        ),
        memory(
            "an open store cannot be opened again",
            "opening-an-open-store-is-allowed",
            || Opens {
                open: open_once,
                close: |store| store.close(),
            },
        ),
        memory(
            "a closed store cannot be closed again",
            "closing-twice-is-allowed",
            || Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: close_once,
            },
        ),
        memory(
            "close does nothing",
            "reads-after-close-are-refused",
            || Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: |_| Ok(()),
            },
        ),
        memory(
            "close loses the entries",
            "data-survives-close-and-open",
            || Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: forget_at_close,
            },
        ),
        memory(
            "opening loses the quotas",
            "data-survives-close-and-open",
            || Opens {
                open: |store, fingerprint, dim| {
                    store.open(fingerprint, dim)?;
                    for (name, _) in store.list_namespace_quotas()? {
                        store.set_namespace_quota(&name, None)?;
                    }
                    Ok(())
                },
                close: |store| store.close(),
            },
        ),
        memory(
            "a sound store is called damaged",
            "sound-data-is-sound",
            || SaysOfHealth(|| Ok(false)),
        ),
        memory(
            "the check of a sound store fails",
            "sound-data-is-sound",
            || {
                SaysOfHealth(|| {
                    Err(StoreError::Backend(BackendError {
                        message: "the check is not there; call later".into(),
                        retryable: true,
                    }))
                })
            },
        ),
        memory(
            "any number of dimensions is accepted",
            "too-large-a-dimension-is-refused",
            || Opens {
                open: open_in_range,
                close: |store| store.close(),
            },
        ),
    ]
}

fn closed() -> Vec<Known> {
    let closed = |at: &'static str| move || AnswersClosed(at);
    vec![
        memory(
            "get-by-hash answers when it is closed",
            "reads-after-close-are-refused",
            closed("get_by_hash"),
        ),
        memory(
            "get-by-ids answers when it is closed",
            "reads-after-close-are-refused",
            closed("get_by_ids"),
        ),
        memory(
            "count answers when it is closed",
            "reads-after-close-are-refused",
            closed("count"),
        ),
        memory(
            "list-namespaces answers when it is closed",
            "reads-after-close-are-refused",
            closed("list_namespaces"),
        ),
        memory(
            "iter-lru-ids answers when it is closed",
            "reads-after-close-are-refused",
            closed("iter_lru_ids"),
        ),
        memory(
            "iter-since answers when it is closed",
            "reads-after-close-are-refused",
            closed("iter_since"),
        ),
        memory(
            "pages are there when it is closed",
            "reads-after-close-are-refused",
            || PagesClosed,
        ),
        memory(
            "insert answers when it is closed",
            "writes-after-close-are-refused",
            closed("insert"),
        ),
        memory(
            "update-access answers when it is closed",
            "writes-after-close-are-refused",
            closed("update_access"),
        ),
        memory(
            "delete-by-id answers when it is closed",
            "writes-after-close-are-refused",
            closed("delete_by_id"),
        ),
        memory(
            "delete-unchanged answers when it is closed",
            "writes-after-close-are-refused",
            closed("delete_unchanged"),
        ),
        memory(
            "delete-expired answers when it is closed",
            "writes-after-close-are-refused",
            closed("delete_expired"),
        ),
        memory(
            "clear-namespace answers when it is closed",
            "writes-after-close-are-refused",
            closed("clear_namespace"),
        ),
        memory(
            "get-namespace-quota answers when it is closed",
            "reads-after-close-are-refused",
            closed("get_namespace_quota"),
        ),
        memory(
            "set-namespace-quota answers when it is closed",
            "writes-after-close-are-refused",
            closed("set_namespace_quota"),
        ),
        memory(
            "list-namespace-quotas answers when it is closed",
            "reads-after-close-are-refused",
            closed("list_namespace_quotas"),
        ),
        memory(
            "read-version-counter answers when it is closed",
            "reads-after-close-are-refused",
            closed("read_version_counter"),
        ),
        memory(
            "read-meta answers when it is closed",
            "reads-after-close-are-refused",
            closed("read_meta"),
        ),
        memory(
            "replace-meta answers when it is closed",
            "writes-after-close-are-refused",
            closed("replace_meta"),
        ),
        memory(
            "integrity-check answers when it is closed",
            "reads-after-close-are-refused",
            closed("integrity_check"),
        ),
        sqlite(
            "begin-snapshot answers when it is closed",
            "snapshots-after-close-are-refused",
            move |_| closed("begin_snapshot")(),
        ),
        sqlite(
            "begin-restore answers when it is closed",
            "snapshots-after-close-are-refused",
            move |_| closed("begin_restore")(),
        ),
    ]
}

fn capabilities() -> Vec<Known> {
    vec![
        memory(
            "the store has no name",
            "the-store-has-a-short-lowercase-name",
            || Says(|says| says.name.clear()),
        ),
        memory(
            "the name is not short and lowercase",
            "the-store-has-a-short-lowercase-name",
            || Says(|says| says.name = "My Store".into()),
        ),
        memory(
            "no entry can be inserted",
            "a-call-takes-at-least-one-entry",
            || Says(|says| says.max_batch = 0),
        ),
        memory(
            "no entry can be deleted",
            "a-call-takes-at-least-one-entry",
            || Says(|says| says.max_delete = 0),
        ),
        memory(
            "more entries are promised than one insert takes",
            "a-list-of-max-batch-is-accepted",
            || Says(|says| says.max_batch *= 2),
        ),
        memory(
            "entries are said to survive, and do not",
            "entries-survive-a-drop",
            || Says(|says| says.durable = true),
        ),
        memory(
            "snapshots are promised and not there",
            "a-restore-brings-everything-back",
            || Says(|says| says.snapshot = true),
        ),
        sqlite(
            "snapshots are there and not promised",
            "snapshots-are-as-the-capabilities-say",
            |_| Says(|says| says.snapshot = false),
        ),
        memory(
            "capabilities change when the store opens",
            "capabilities-are-the-same-open-and-closed",
            ChangesItsMind::by_opening,
        ),
        memory(
            "capabilities change with the data",
            "capabilities-do-not-change-with-the-data",
            ChangesItsMind::by_inserting,
        ),
    ]
}

fn between_stores() -> Vec<Known> {
    vec![
        sqlite(
            "a second store sees what it read before",
            "deletes-are-seen-by-another-store",
            |_| StaleReads::default(),
        ),
        sqlite(
            "a second store counts its own writes only",
            "an-insert-beside-is-seen-by-the-first-store",
            |_| OwnCounter::default(),
        ),
        sqlite(
            "a list is stored one by one",
            "an-insert-is-seen-by-another-store",
            |_| OneByOne,
        ),
        sqlite(
            "a second store keeps the quotas that it read",
            "quotas-are-seen-by-another-store",
            |_| StaleSettings::default(),
        ),
        sqlite(
            "meta is compared to what the store has read before",
            "meta-is-compared-across-stores",
            |_| StaleSettings::default(),
        ),
        sqlite(
            "an entry that another store replaced is deleted",
            "an-entry-replaced-beside-stays",
            |_| StaleGuard::default(),
        ),
        sqlite(
            "a walk goes on in the rows of its beginning",
            "a-page-goes-on-after-writes-beside",
            |_| StaleWalk::default(),
        ),
        sqlite(
            "a second store may have another embedder",
            "another-embedder-is-refused-beside",
            |_| OpensAnyway {
                fingerprint: true,
                dim: true,
            },
        ),
        sqlite(
            "closing one store empties the other",
            "closing-one-store-leaves-the-other",
            |_| Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: forget_at_close,
            },
        ),
    ]
}

fn snapshots_() -> Vec<Known> {
    let steps = |change: fn(&mut Steps)| {
        move |_: &Path| {
            let mut fault = snapshots::SOUND;
            change(&mut fault);
            fault
        }
    };
    vec![
        sqlite(
            "a restore sets the counter back",
            "a-restore-moves-the-counter-on",
            |_| LosesCounter::default(),
        ),
        sqlite(
            "a restore does not move the counter",
            "a-restore-moves-the-counter-on",
            |_| KeepsCounter::default(),
        ),
        sqlite(
            "the size of a snapshot is not its size",
            "a-snapshot-has-the-size-it-names",
            steps(|s| {
                s.begin = |store| store.begin_snapshot().map(|size| size + 1);
            }),
        ),
        sqlite(
            "a snapshot is read in pieces that are too large",
            "reads-of-a-snapshot-respect-their-maximum",
            steps(|s| {
                s.read = |store, max| store.read_snapshot(max.saturating_mul(2));
            }),
        ),
        sqlite(
            "a restore loses the quotas",
            "a-restore-brings-everything-back",
            steps(|s| s.commit = commit_without_quotas),
        ),
        sqlite(
            "a restore passes over damage",
            "garbage-is-not-restored",
            steps(|s| s.commit = commit_whatever_comes),
        ),
        sqlite(
            "a restore empties the store before it is done",
            "data-is-served-until-commit",
            steps(|s| {
                s.restore = restore_into_nothing;
            }),
        ),
        sqlite(
            "a restore does nothing",
            "a-restore-brings-everything-back",
            steps(|s| s.commit = |_| Ok(())),
        ),
    ]
}

/// A store that panics, which must be told from one that answers wrongly.
pub fn panicking() -> Known {
    memory(
        "a failure is a panic",
        "deleting-unknown-ids-is-false",
        || crashing::Panics,
    )
}

/// A store that does not return.
pub fn hanging() -> Known {
    memory(
        "a call does not return",
        "deleting-unknown-ids-is-false",
        || crashing::Hangs,
    )
}

/// No fault, before a store of either kind.
pub fn healthy(base: Base) -> Known {
    known(base, "none", "", |_| super::Healthy)
}
