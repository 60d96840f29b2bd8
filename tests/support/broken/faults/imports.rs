//! Faults of imports.

use super::{Known, memory, sqlite};
use crate::broken::counting::Miscounts;
use crate::broken::ids::ReusesIds;
use crate::broken::imports::modes::{
    ComparesEarly, NothingMeanwhile, Replaces, Replacing, SetsBack, Undone,
};
use crate::broken::imports::results::{ForgetsWhenDropped, HonoursIds, Unaware, Untold};
use crate::broken::imports::staging::{
    DeletesFirst, FirstOfEach, GoesOn, LastListOnly, NeverEmptied, OneByOne, OneOfEachHash,
    OneStageForAll, OutlivesClose,
};
use crate::broken::imports::{self, Steps, Writes};
use crate::broken::texts;
use mneme::store::ImportMode;

/// Changes steps of an import.
fn steps(change: fn(&mut Steps)) -> impl Fn() -> Steps + Send + Sync + 'static {
    move || {
        let mut fault = imports::SOUND;
        change(&mut fault);
        fault
    }
}

/// Of what is there after an import.
pub fn results() -> Vec<Known> {
    vec![
        memory(
            "an import brings nothing",
            "an-import-brings-its-entries",
            steps(|s| s.commit = imports::commit_nothing),
        ),
        memory(
            "an import counts accesses from 0",
            "imported-fields-are-kept",
            || Writes(texts::no_access_yet),
        ),
        memory(
            "imported text ends at U+0000",
            "odd-texts-are-imported",
            || Writes(texts::cut_at_nul),
        ),
        memory(
            "imported text ends at 64 KiB",
            "a-large-entry-is-imported",
            || Writes(texts::cut_at_64k),
        ),
        memory(
            "an import has each hash once",
            "a-hash-in-two-namespaces-is-imported",
            OneOfEachHash::default,
        ),
        memory(
            "an import is its last list",
            "an-import-of-many-lists-is-one",
            LastListOnly::default,
        ),
        memory(
            "a list is imported in the reverse order",
            "imported-ids-grow-as-written",
            steps(|s| {
                s.write = |store, mut entries| {
                    entries.reverse();
                    store.write_import(entries)
                };
            }),
        ),
        memory(
            "an imported entry gets a new id",
            "an-import-keeps-the-ids-of-known-pairs",
            DeletesFirst::default,
        ),
        sqlite(
            "the ids given to an import are honoured",
            "ids-given-to-an-import-are-ignored",
            HonoursIds::new,
        ),
        sqlite(
            "an imported entry gets the id of a deleted one",
            "an-import-reuses-no-ids",
            |path| ReusesIds(path.to_owned()),
        ),
        memory(
            "the counter stays at an import",
            "the-counter-moves-by-one-for-an-import",
            || Miscounts {
                at: "commit_import",
                by: |_| 0,
            },
        ),
        memory(
            "the counter moves at an import of nothing",
            "an-import-of-nothing-is-committed",
            || Miscounts {
                at: "commit_import",
                by: |_| 1,
            },
        ),
        memory(
            "an import leaves the old lifetime",
            "a-merge-replaces-in-every-field",
            steps(|s| s.write = imports::write_with_old_lifetimes),
        ),
        memory(
            "a merge replaces everything",
            "a-merge-leaves-what-it-has-not",
            steps(|s| {
                s.begin = |store, mode| {
                    imports::begin_as(store, mode, ImportMode::Merge, ImportMode::Replace)
                };
            }),
        ),
        memory(
            "iter-lru-ids leaves out imported entries",
            "imported-entries-are-evicted-in-order",
            || Untold::to(Unaware::Lru),
        ),
        memory(
            "delete-expired leaves imported entries",
            "imported-entries-expire",
            || Untold::to(Unaware::Expiry),
        ),
        memory(
            "iter-vectors ends at imported entries",
            "imported-vectors-are-paged",
            || Untold::to(Unaware::Vectors),
        ),
        memory(
            "imported entries cannot be deleted",
            "imported-entries-are-like-others",
            || Untold::to(Unaware::Deletes),
        ),
        memory(
            "an import is committed again by the next one",
            "imports-follow-each-other",
            NeverEmptied::default,
        ),
    ]
}

/// Of the steps of an import, and what happens between them.
pub fn steps_of_one() -> Vec<Known> {
    vec![
        memory(
            "an import is seen as it is written",
            "an-import-is-not-seen-before-commit",
            steps(|s| s.write = imports::write_at_once),
        ),
        memory(
            "write-import begins an import",
            "writing-needs-an-import",
            steps(|s| s.write = imports::write_anyway),
        ),
        memory(
            "commit-import succeeds where there is none",
            "committing-needs-an-import",
            steps(|s| s.commit = imports::commit_anyway),
        ),
        memory(
            "end-import fails where there is none",
            "ending-no-import-is-allowed",
            steps(|s| s.end = imports::end_what_is_begun),
        ),
        memory(
            "end-import ends nothing",
            "an-ended-import-is-forgotten",
            steps(|s| s.end = |_| Ok(())),
        ),
        memory(
            "a second begin-import goes on with the first",
            "a-new-import-forgets-the-one-before",
            steps(|s| s.begin = imports::begin_once),
        ),
        memory(
            "an import goes on after close and open",
            "an-import-does-not-outlive-close",
            OutlivesClose::default,
        ),
        memory(
            "a committed import goes on",
            "a-committed-import-is-over",
            steps(|s| s.commit = imports::commit_and_go_on),
        ),
        memory(
            "a commit deletes what was inserted meanwhile",
            "writes-during-an-import-stay",
            || SetsBack::of(Undone::Inserts),
        ),
        memory(
            "a commit brings back what was deleted meanwhile",
            "deletes-during-an-import-stay",
            || SetsBack::of(Undone::Deletes),
        ),
        memory(
            "a commit takes back what was touched meanwhile",
            "touches-during-an-import-stay",
            || SetsBack::of(Undone::Touches),
        ),
        memory(
            "a commit leaves what was inserted meanwhile",
            "an-entry-inserted-during-an-import-is-replaced",
            || SetsBack::of(Undone::Import),
        ),
    ]
}

/// Of what an import refuses.
pub fn errors() -> Vec<Known> {
    vec![
        memory(
            "of two entries of one list the last is imported",
            "a-pair-twice-in-a-list-ends-an-import",
            steps(|s| s.write = imports::write_last_of_twins),
        ),
        memory(
            "of two entries of an import the first is imported",
            "a-pair-twice-in-an-import-ends-it",
            FirstOfEach::default,
        ),
        memory(
            "wrong vectors are left out of an import",
            "a-wrong-vector-ends-an-import",
            steps(|s| s.write = imports::write_what_fits),
        ),
        memory(
            "too long a list is imported in parts",
            "too-long-a-list-ends-an-import",
            steps(|s| s.write = imports::write_split),
        ),
        memory(
            "an import goes on after an error",
            "a-failed-import-leaves-what-was-there",
            GoesOn::default,
        ),
    ]
}

/// Of quotas and meta that come with an import.
pub fn settings() -> Vec<Known> {
    vec![
        memory(
            "an import loses its quotas",
            "an-import-sets-quotas",
            steps(|s| s.commit = |store, _, meta| store.commit_import(&[], meta)),
        ),
        memory(
            "an import loses its meta",
            "an-import-sets-meta",
            steps(|s| s.commit = |store, quotas, _| store.commit_import(quotas, &[])),
        ),
        memory(
            "namespaces of imported quotas end at U+0000",
            "odd-settings-are-imported",
            steps(|s| s.commit = imports::commit_cut_at_nul),
        ),
        memory(
            "an import is refused by a quota",
            "quotas-limit-no-import",
            steps(|s| s.write = imports::write_within_quotas),
        ),
        memory(
            "an import sets meta whatever is there",
            "unexpected-meta-is-false",
            steps(|s| s.commit = imports::commit_regardless),
        ),
        memory(
            "an import compares meta without case",
            "expected-meta-is-compared-exactly",
            steps(|s| s.commit = imports::commit_without_case),
        ),
        memory(
            "an import is over where meta is unexpected",
            "a-refused-import-can-be-committed",
            steps(|s| s.commit = imports::commit_or_forget),
        ),
        memory(
            "an import passes over the store's own meta",
            "an-import-sets-none-of-the-stores-own-meta",
            steps(|s| s.commit = imports::commit_what_is_free),
        ),
    ]
}

/// Of what an import does about data that is there.
pub fn modes() -> Vec<Known> {
    vec![
        memory(
            "an import into an empty store removes what is beside entries",
            "an-empty-store-takes-an-import",
            steps(|s| {
                s.begin = |store, mode| {
                    imports::begin_as(store, mode, ImportMode::Empty, ImportMode::Replace)
                };
            }),
        ),
        memory(
            "an import into an empty store is begun among entries",
            "entries-refuse-an-empty-import",
            steps(|s| s.begin = imports::empty_or_not),
        ),
        memory(
            "an import into an empty store is committed among entries",
            "an-entry-inserted-meanwhile-refuses-an-empty-import",
            steps(|s| s.begin = imports::empty_at_first),
        ),
        memory(
            "an import into an empty store lets nothing be written",
            "an-entry-gone-again-refuses-no-import",
            NothingMeanwhile::default,
        ),
        memory(
            "an import that replaces everything replaces nothing",
            "a-replacing-import-leaves-no-other-entry",
            steps(|s| {
                s.begin = |store, mode| {
                    imports::begin_as(store, mode, ImportMode::Replace, ImportMode::Merge)
                };
            }),
        ),
        memory(
            "an import that replaces everything leaves quotas",
            "a-replacing-import-leaves-no-other-setting",
            || Replaces::by(Replacing::Entries),
        ),
        memory(
            "an import that replaces everything removes the embedder",
            "a-replacing-import-leaves-the-stores-own-meta",
            || Replaces::by(Replacing::OwnMeta),
        ),
        memory(
            "an import that replaces everything compares meta",
            "a-replacing-import-compares-no-meta",
            || Replaces::by(Replacing::Compared),
        ),
        memory(
            "an import that replaces everything clears at once",
            "a-replacing-import-does-nothing-before-commit",
            steps(|s| s.begin = imports::replace_at_once),
        ),
        sqlite(
            "an import that replaces everything begins ids anew",
            "a-replacing-import-reuses-no-ids",
            |path| Replaces::by(Replacing::Anew(path.to_owned())),
        ),
        memory(
            "an import that replaces everything leaves what came meanwhile",
            "a-replacing-import-deletes-what-came-meanwhile",
            || SetsBack::of(Undone::Import),
        ),
        memory(
            "an import that replaces everything by nothing does nothing",
            "a-replacing-import-of-nothing-leaves-nothing",
            || Replaces::by(Replacing::NothingByNothing),
        ),
    ]
}

/// Of imports and other stores, and later ones.
pub fn between_stores() -> Vec<Known> {
    let at_once = || steps(|s| s.write = imports::write_at_once)();
    let shared = OneStageForAll::default();
    vec![
        sqlite(
            "an import is gone with its store",
            "a-committed-import-is-durable",
            ForgetsWhenDropped::new,
        ),
        sqlite(
            "an import that is not committed is kept",
            "an-import-does-not-outlive-its-store",
            move |_| at_once(),
        ),
        sqlite(
            "an import is seen beside as it is written",
            "an-import-is-seen-beside-once-committed",
            move |_| at_once(),
        ),
        sqlite(
            "a commit deletes what was inserted beside",
            "writes-beside-an-import-stay",
            |_| SetsBack::of(Undone::Inserts),
        ),
        sqlite(
            "an import into an empty store is committed among entries of another",
            "an-entry-inserted-beside-refuses-an-empty-import",
            |_| steps(|s| s.begin = imports::empty_at_first)(),
        ),
        sqlite(
            "an import compares the meta of its beginning",
            "meta-of-an-import-is-compared-across-stores",
            |_| ComparesEarly::default(),
        ),
        sqlite(
            "the imports of two stores are one",
            "imports-of-two-stores-are-apart",
            move |_| shared.clone(),
        ),
        sqlite(
            "an import that is killed is kept",
            "nothing-of-a-killed-import-is-there",
            move |_| at_once(),
        ),
        sqlite(
            "an import is committed one by one",
            "imports-are-whole-after-a-kill",
            |_| OneByOne::default(),
        ),
    ]
}
