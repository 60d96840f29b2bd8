//! An erasure beside another process that has the same store open.

use mneme::store;
use mneme::{Coordination, EntryFilter, PutRequest, SemanticCache};
use mneme_tests::children::{Running, argument, hear, say};
use mneme_tests::embedders::Words;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::unless_it_hangs;

mneme_tests::tests![
    another_process_stops_answering_from_erased_entries_on_sqlite,
    another_process_stops_answering_from_erased_entries_on_postgres,
];

mneme_tests::children![child_answers];

const ENTRIES: u64 = 40;
/// Of the entry that has been erased, or of none.
const NONE: &str = "none";

fn query(n: u64) -> String {
    format!("alpha{n} beta{n} gamma{n}")
}

/// Means the same as [`query`], and is found by the semantic layer only.
fn reworded(n: u64) -> String {
    format!("gamma{n} alpha{n} beta{n}")
}

fn open(url: &str, interval_ms: u32) -> SemanticCache {
    mneme_tests::builder()
        .boxed_store(store::from_url(url).unwrap())
        .embedder(Words)
        .coordination(Coordination::StaleTolerant(interval_ms))
        .touches(1, 0)
        .open()
        .unwrap()
}

/// Says what it answers to each line.
fn child_answers() {
    let interval_ms = argument("INTERVAL").parse().unwrap();
    let cache = open(&argument("URL"), interval_ms);
    while let Some(query) = hear() {
        let hit = cache.get(query.as_str()).unwrap().hit();
        say(&hit.map_or(NONE.to_owned(), |hit| hit.response));
    }
    cache.close().unwrap();
}

fn erases_beside_others(url: &str) {
    let cache = open(url, 0);
    let puts = (0..ENTRIES).map(|n| {
        let put = PutRequest::new(query(n), format!("answer {n}"));
        match n % 2 {
            0 => put.tag("user:1"),
            _ => put,
        }
    });
    cache.put_many(puts.collect()).unwrap();
    // One follows at each question, the other has not looked for changes when it is asked again.
    let mut others = ["0", "3600000"]
        .map(|interval| Running::named("child_answers", &[("URL", url), ("INTERVAL", interval)]));
    let mut answers = |of: fn(u64) -> String, n: u64| {
        others.each_mut().map(|other| {
            other.tell(&of(n));
            other.line().unwrap()
        })
    };
    for n in 0..ENTRIES {
        // By meaning first, so that their indexes hold it.
        for of in [reworded, query] {
            assert_eq!(answers(of, n), [(); 2].map(|()| format!("answer {n}")));
        }
    }
    let receipt = cache
        .erase(&EntryFilter::new().tag("user:1"), false)
        .unwrap();
    assert_eq!(receipt.ids.len() as u64, ENTRIES / 2);
    for n in 0..ENTRIES {
        let expected = match n % 2 {
            0 => NONE.to_owned(),
            _ => format!("answer {n}"),
        };
        for of in [reworded, query] {
            assert_eq!(answers(of, n), [(); 2].map(|()| expected.clone()), "{n}");
        }
    }
    // Nor do their indexes bring anything back, which they may keep at their end.
    others.into_iter().for_each(Running::finish);
    cache.close().unwrap();
    let later = open(url, 0);
    later.warm_up().unwrap();
    let stats = later.stats(None).unwrap();
    assert_eq!(
        (stats.entries, stats.index_rows),
        (ENTRIES / 2, ENTRIES / 2)
    );
    assert!(later.get(reworded(0)).unwrap().hit().is_none());
    assert!(later.get(reworded(1)).unwrap().hit().is_some());
}

fn another_process_stops_answering_from_erased_entries_on_sqlite() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        erases_beside_others(&format!("sqlite:{}", path.display()));
    });
}

fn another_process_stops_answering_from_erased_entries_on_postgres(server: Postgres) {
    unless_it_hangs(move || erases_beside_others(&server.url()));
}
