//! Other processes that write to the same store.

use super::*;
use crate::testing::entry;

#[test]
fn an_entry_replaced_by_another_process_outlives_its_expired_version() {
    let store = TestStore::default();
    let (mut cache, host) = cache_on(&store, |o| o.default_ttl = Some(10));
    cache.put(response("q", 0.0)).unwrap();
    host.set(1010);
    let stale = store.entries()[0].clone();
    store
        .insert(&[entry("n", "q", &at_angle(0.0), 1010)])
        .unwrap();
    let stale = EntryRef {
        id: stale.id,
        namespace: "n".into(),
        created_at: stale.created_at,
    };
    assert_eq!(store.delete_unchanged(&[stale]).unwrap(), [0_u64; 0]);
    hit(cache.get(ask("q", 0.0)).unwrap());
}

#[test]
fn one_that_is_told_of_others_need_not_ask() {
    let store = TestStore::opened(2);
    let (mut first, _) = cache_on(&store, |_| {});
    let (mut beside, host) = cache_on(&store, |o| {
        o.coordination = Coordination::StaleTolerant(u32::MAX);
        o.max_entries = Some(4);
    });
    first.put(response("a", 0.0)).unwrap();
    hit(beside.get(ask("x", 0.0)).unwrap());
    for (n, at) in [1000, 1000, 900, 2000].into_iter().enumerate() {
        host.set(at);
        let (query, angle) = (format!("b{n}"), 90.0 + n as f64);
        first.put(response(&query, angle)).unwrap();
        let before = beside.get(ask("x", angle)).unwrap();
        assert!(
            matches!(before, Lookup::Miss(_)) || n > 0,
            "nobody has told it"
        );
        beside.others_did(true, &[]).unwrap();
        assert_eq!(hit(beside.get(ask("x", angle)).unwrap()).query, query);
        first.delete(&query, "n", "").unwrap();
        beside.others_did(true, &[]).unwrap();
        assert!(matches!(
            beside.get(ask("x", angle)).unwrap(),
            Lookup::Miss(_)
        ));
    }
    // A favourite of others stays, within one second too.
    beside.put(response("c0", 10.0)).unwrap();
    for n in 1..200 {
        let favourite = store.entries()[0].id;
        beside.others_did(false, &[favourite]).unwrap();
        beside.put(response(&format!("c{n}"), 10.0)).unwrap();
        assert!(
            store.entries().iter().any(|entry| entry.id == favourite),
            "{n}"
        );
    }
    assert!(beside.others_did(false, &[1; 4_097]).is_err());
    assert!(
        first.others_did(true, &[]).is_err(),
        "it was opened for single use"
    );
    first.others_did(false, &[1]).unwrap();
    beside.close().unwrap();
    assert!(matches!(beside.others_did(false, &[]), Err(Error::Closed)));
}

#[test]
fn entries_with_bad_vectors_are_counted_as_long_as_they_are_there() {
    for keeps_log in [false, true] {
        let store = TestStore::opened(2);
        store.keeps_log.set(keeps_log);
        let bad = |query| entry("n", query, &[f32::NAN, 0.0], 1000);
        store.insert(&[bad("a"), bad("b"), bad("c")]).unwrap();
        let (mut cache, host) = cache_on(&store, |o| {
            o.coordination = Coordination::StaleTolerant(0);
        });
        let mut left_out = |seconds: u64| {
            host.set(seconds);
            let _ = cache.get(ask("x", 0.0)).unwrap();
            let problems = cache.health(false).unwrap().problems.join("; ");
            let (count, _) = problems.split_once(" entries have").unwrap_or_default();
            count.parse().unwrap_or(0)
        };
        assert_eq!(left_out(1100), 3);
        store
            .insert(&[entry("n", "a", &at_angle(0.0), 1001), bad("d")])
            .unwrap();
        assert_eq!(left_out(1200), 3, "with a log: {keeps_log}");
        assert!(store.delete_by_id(2).unwrap());
        store.insert(&[bad("c")]).unwrap();
        assert_eq!(left_out(1300), 2);
        store.clear_namespace(None).unwrap();
        assert_eq!(left_out(1400), 0);
    }
}

#[test]
fn a_stale_tolerant_reader_follows_inserts_deletes_and_replacements() {
    for keeps_log in [false, true] {
        let store = TestStore::default();
        store.keeps_log.set(keeps_log);
        a_stale_tolerant_reader_follows_inserts_deletes_and_replacements_in(store);
    }
}

fn a_stale_tolerant_reader_follows_inserts_deletes_and_replacements_in(store: TestStore) {
    let (mut writer, clock) = cache_on(&store, |_| {});
    let (mut reader, reader_clock) = cache_on(&store, |o| {
        o.coordination = Coordination::StaleTolerant(5_000)
    });
    writer.put(response("a", 0.0)).unwrap();
    hit(reader.get(ask("x", 0.0)).unwrap());
    writer.put(response("b", 90.0)).unwrap();
    writer.delete("a", "n", "").unwrap();
    assert_eq!(
        miss(reader.get(ask("x", 0.0)).unwrap()),
        MissReason::BelowThreshold,
        "a deleted entry never answers, not even before the check"
    );
    for time in [1005, 1010, 1015, 1020] {
        clock.set(time);
        reader_clock.set(time);
        // The same query with another vector, first in the same second, later not.
        let angle = (time - 1000) as f64;
        writer.put(response("b", 90.0 + angle)).unwrap();
        let found = hit(reader.get(ask("x", 90.0 + angle)).unwrap());
        assert!(found.similarity > 0.999_99, "at {time}");
        writer.put(response("b", 180.0 + angle)).unwrap();
    }
    writer.clear().unwrap();
    reader_clock.set(1030);
    assert_eq!(
        miss(reader.get(ask("x", 90.0)).unwrap()),
        MissReason::NoMatch
    );
}

#[test]
fn following_right_after_many_writes_takes_few_calls() {
    for keeps_log in [false, true] {
        let store = TestStore::default();
        store.keeps_log.set(keeps_log);
        following_right_after_many_writes_takes_few_calls_in(store);
    }
}

fn following_right_after_many_writes_takes_few_calls_in(store: TestStore) {
    let (mut writer, _) = cache_on(&store, |_| {});
    let (mut reader, _) = cache_on(&store, |o| o.coordination = Coordination::StaleTolerant(0));
    for i in 0..300 {
        writer.put(response(&format!("q{i}"), 90.0)).unwrap();
    }
    hit(reader.get(ask("x", 90.0)).unwrap());
    // All of this within the second in which replacements cannot be told by their time.
    writer.put(response("q7", 0.0)).unwrap();
    writer.put(response("q8", 2.0)).unwrap();
    writer.delete("q8", "n", "").unwrap();
    writer.put(response("new", 180.0)).unwrap();
    let before = store.calls();
    assert_eq!(hit(reader.get(ask("x", 1.0)).unwrap()).query, "q7");
    assert!(store.calls() - before <= 6, "{}", store.calls() - before);
    assert_eq!(hit(reader.get(ask("x", 180.0)).unwrap()).query, "new");
    assert_eq!(reader.stats(None).unwrap().index_rows, 300);
}

#[test]
fn own_writes_do_not_make_a_follower_compare() {
    let (mut cache, host, store) = new_cache(|o| o.coordination = Coordination::StaleTolerant(0));
    cache.put(response("a", 0.0)).unwrap();
    hit(cache.get(ask("x", 0.0)).unwrap());
    cache
        .put_many((0..7).map(|i| response(&format!("q{i}"), 50.0)).collect())
        .unwrap();
    cache.delete("q1", "n", "").unwrap();
    host.set(1500);
    let before = store.calls();
    hit(cache.get(ask("x", 0.0)).unwrap());
    // Exact layer, version counter, candidates, and the touches that are due: no stamps.
    assert!(store.calls() - before <= 6, "{}", store.calls() - before);
    assert_eq!(cache.stats(None).unwrap().index_rows, 7);
}

/// The rows of the index, and the pages of stamps and rows that a look-up read to follow.
fn followed(reader: &mut Cache<TestStore, TestHost>, store: &TestStore, degrees: f64) -> u64 {
    let before = store.rows_read();
    reader.get(ask("x", degrees)).unwrap();
    store.rows_read() - before
}

fn writer_and_reader(
    store: &TestStore,
) -> (Cache<TestStore, TestHost>, Cache<TestStore, TestHost>) {
    store.keeps_log.set(true);
    let (mut writer, _) = cache_on(store, |_| {});
    let (mut reader, _) = cache_on(store, |o| o.coordination = Coordination::StaleTolerant(0));
    for i in 0..40 {
        writer.put(response(&format!("q{i}"), 90.0)).unwrap();
    }
    hit(reader.get(ask("x", 90.0)).unwrap());
    (writer, reader)
}

#[test]
fn with_a_log_only_what_has_changed_is_read() {
    let store = TestStore::default();
    let (mut writer, mut reader) = writer_and_reader(&store);
    writer.put(response("new", 0.0)).unwrap();
    writer.put(response("q3", 180.0)).unwrap();
    writer.delete("q4", "n", "").unwrap();
    assert_eq!(
        followed(&mut reader, &store, 0.0),
        0,
        "no page of stamps or rows"
    );
    assert_eq!(hit(reader.get(ask("x", 0.0)).unwrap()).query, "new");
    assert_eq!(hit(reader.get(ask("x", 180.0)).unwrap()).query, "q3");
    assert_eq!(reader.stats(None).unwrap().index_rows, 40);
    // More versions than one page of the log holds.
    for i in 0..300 {
        writer.put(response(&format!("n{i}"), 45.0)).unwrap();
    }
    assert_eq!(followed(&mut reader, &store, 45.0), 0);
    assert_eq!(reader.stats(None).unwrap().index_rows, 340);
}

#[test]
fn own_rows_are_not_read_again_and_those_of_others_always_are() {
    let store = TestStore::default();
    let (mut writer, mut reader) = writer_and_reader(&store);
    reader.put(response("mine", 300.0)).unwrap();
    // Both store the same entry, in either order.
    reader.put(response("first mine", 30.0)).unwrap();
    writer.put(response("first mine", 200.0)).unwrap();
    writer.put(response("first theirs", 30.0)).unwrap();
    reader.put(response("first theirs", 220.0)).unwrap();
    assert_eq!(followed(&mut reader, &store, 300.0), 0);
    assert_eq!(hit(reader.get(ask("x", 300.0)).unwrap()).query, "mine");
    assert_eq!(
        hit(reader.get(ask("x", 200.0)).unwrap()).query,
        "first mine"
    );
    assert_eq!(
        hit(reader.get(ask("x", 220.0)).unwrap()).query,
        "first theirs"
    );
    assert_eq!(
        miss(reader.get(ask("x", 30.0)).unwrap()),
        MissReason::BelowThreshold
    );
}

#[test]
fn a_log_with_a_gap_leads_to_a_comparison() {
    type Damage = fn(&TestStore);
    let damages: [(&str, Damage); 5] = [
        ("nobody wrote it down", |store| store.move_silently()),
        ("it was emptied", |store| store.log().clear()),
        ("a version is missing", |store| {
            let last = store.log().len() - 2;
            store.log().remove(last);
        }),
        ("a version comes again", |store| {
            for change in store.log().iter_mut() {
                change.version = change.version.min(40);
            }
        }),
        ("it is of another store", |store| {
            for change in store.log().iter_mut() {
                change.version += 1_000;
            }
        }),
    ];
    for (what, damage) in damages {
        let store = TestStore::default();
        let (mut writer, mut reader) = writer_and_reader(&store);
        writer.put(response("a", 0.0)).unwrap();
        writer.put(response("b", 180.0)).unwrap();
        writer.delete("q7", "n", "").unwrap();
        damage(&store);
        assert!(followed(&mut reader, &store, 0.0) > 0, "{what}");
        assert_eq!(hit(reader.get(ask("x", 0.0)).unwrap()).query, "a", "{what}");
        assert_eq!(
            hit(reader.get(ask("x", 180.0)).unwrap()).query,
            "b",
            "{what}"
        );
        assert_eq!(reader.stats(None).unwrap().index_rows, 41, "{what}");
    }
}
