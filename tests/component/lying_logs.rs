//! Logs of changes that lie, have holes, repeat or are of another store, on a SQLite file that two caches
//! share. Whatever they say, no call fails, and nothing that is gone answers.

use mneme::store::{Change, ChangePage};
use mneme::{Coordination, ManualClock, PutRequest, SemanticCache, SqliteStore, Store};
use mneme_tests::broken::{self, Known};
use mneme_tests::embedders::Words;

mneme_tests::tests![
    a_log_that_is_found_out_does_no_harm,
    a_log_that_lies_brings_nothing_wrong,
];

const ENTRIES: u64 = 40;

/// What a log answers, in place of the truth.
type Lie = fn(Option<ChangePage>, u64) -> Option<ChangePage>;

fn query(n: u64) -> String {
    format!("alpha{n} beta{n} gamma{n}")
}

/// Means the same as [`query`], and is found by the semantic layer only.
fn reworded(n: u64) -> String {
    format!("gamma{n} alpha{n} beta{n}")
}

fn cache(store: Box<dyn Store>) -> SemanticCache {
    mneme_tests::builder()
        .boxed_store(store)
        .embedder(Words)
        .coordination(Coordination::StaleTolerant(0))
        // It stands, so that no reading takes so long that the cache rests from following.
        .clock(ManualClock::at(1_800_000_000))
        .open()
        .unwrap()
}

fn put(cache: &SemanticCache, n: u64, response: &str) {
    cache.put(PutRequest::new(query(n), response)).unwrap();
}

fn answer(cache: &SemanticCache, query: &str) -> Option<String> {
    cache.get(query).unwrap().hit().map(|hit| hit.response)
}

/// Has another cache store, replace and delete, and asks one that is told this of it. `finds` says
/// whether it must find what is new by meaning.
fn follow(what: &str, lie: Lie, finds: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.db");
    let writer = cache(Box::new(SqliteStore::new(&path)));
    for n in 0..ENTRIES {
        put(&writer, n, "old");
    }
    let lying = broken::sqlite(what).changes_since(move |store, version, limit| {
        Ok(lie(store.changes_since(version, limit)?, version))
    });
    let reader = cache(Known::from(lying).store(&path));
    assert_eq!(answer(&reader, &reworded(3)).as_deref(), Some("old"));
    for round in 0..3 {
        let new = ENTRIES + round;
        put(&writer, new, "new");
        put(&writer, round, "replaced");
        assert!(writer.delete(&query(10 + round), "default").unwrap());
        for n in 0..=round {
            let gone = 10 + n;
            for query in [query(gone), reworded(gone)] {
                assert_eq!(answer(&reader, &query), None, "{what}: {query}");
            }
            // The exact layer does without a log.
            let exact = |n| answer(&reader, &query(n));
            assert_eq!(exact(n).as_deref(), Some("replaced"), "{what}");
            assert_eq!(exact(ENTRIES + n).as_deref(), Some("new"), "{what}");
            for (n, response) in [(n, "replaced"), (ENTRIES + n, "new")] {
                let found = answer(&reader, &reworded(n));
                match finds {
                    true => assert_eq!(found.as_deref(), Some(response), "{what}: {n}"),
                    false => assert!(found.is_none_or(|is| is == response), "{what}: {n}"),
                }
            }
        }
        let stats = reader.stats(None).unwrap();
        assert_eq!(stats.entries, ENTRIES, "{what}");
        if finds {
            assert_eq!(stats.index_rows, ENTRIES, "{what}");
        }
    }
    assert!(reader.health(true).unwrap().healthy, "{what}");
    reader.close().unwrap();
}

fn edited(page: Option<ChangePage>, edit: impl FnOnce(&mut ChangePage)) -> Option<ChangePage> {
    page.map(|mut page| {
        edit(&mut page);
        page
    })
}

fn a_log_that_is_found_out_does_no_harm() {
    let lies: [(&str, Lie); 8] = [
        ("it was cut", |_, _| None),
        ("it has a hole in its middle", |page, _| {
            edited(page, |page| {
                if page.changes.len() > 2 {
                    page.changes.remove(1);
                }
            })
        }),
        ("it has a hole at its beginning", |page, _| {
            edited(page, |page| {
                if !page.changes.is_empty() {
                    page.changes.remove(0);
                }
            })
        }),
        ("it ends too early", |page, _| {
            edited(page, |page| {
                page.changes.pop();
            })
        }),
        ("it repeats what was told", |page, version| {
            edited(page, |page| {
                for change in &mut page.changes {
                    change.version = version;
                }
            })
        }),
        ("it goes backwards", |page, _| {
            edited(page, |page| page.changes.reverse())
        }),
        ("it is of a store that has written more", |page, _| {
            edited(page, |page| {
                for change in &mut page.changes {
                    change.version += 1_000;
                }
                page.version += 1_000;
            })
        }),
        ("it is of the end of all numbers", |page, _| {
            edited(page, |page| {
                for change in &mut page.changes {
                    change.version = u64::MAX;
                }
                page.version = u64::MAX;
            })
        }),
    ];
    for (what, lie) in lies {
        follow(what, lie, true);
    }
}

fn a_log_that_lies_brings_nothing_wrong() {
    let lies: [(&str, Lie); 5] = [
        ("it turns deletions and storings round", |page, _| {
            edited(page, |page| {
                for change in &mut page.changes {
                    change.deleted = !change.deleted;
                }
            })
        }),
        ("it names entries of another store", |page, _| {
            edited(page, |page| {
                for change in &mut page.changes {
                    change.id += 1_000_000;
                }
            })
        }),
        ("it names no entry that there can be", |page, _| {
            edited(page, |page| {
                for (change, id) in page.changes.iter_mut().zip([0, u64::MAX].iter().cycle()) {
                    change.id = *id;
                }
            })
        }),
        ("it knows of no change", |page, version| {
            edited(page, |page| {
                page.changes.clear();
                page.version = version;
            })
        }),
        ("it says that all is gone", |page, _| {
            edited(page, |page| {
                let version = page.version;
                let all = (1..=2 * ENTRIES).map(|id| Change {
                    version,
                    id,
                    deleted: true,
                });
                page.changes.extend(all);
            })
        }),
    ];
    for (what, lie) in lies {
        follow(what, lie, false);
    }
}
