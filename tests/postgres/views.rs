//! Views of the Postgres store: reads of one instant.

use mneme::PostgresStore;
use mneme::store::{BackendError, Entry, EntryRef, ImportMode, Store, StoreError, Touch};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, ids, key, put};
use mneme_tests::servers::postgres::Postgres;
use std::sync::Arc;
use std::time::Duration;

mneme_tests::tests![
    a_view_shows_one_instant_while_others_write,
    a_view_is_not_written_to,
    a_lost_connection_never_shows_later_data,
    a_read_that_fails_does_not_end_the_view,
    a_view_may_take_longer_than_a_call,
];

/// What every reading operation answers.
fn picture(store: &mut PostgresStore) -> String {
    let keys = [key("a", 1), key("a", 2), key("b", 3)];
    let answers = (
        store.get_by_hash(&keys, true).unwrap(),
        store.get_by_ids(&[1, 2, 3], true).unwrap(),
        (store.count(None).unwrap(), store.count(Some("a")).unwrap()),
        store.list_namespaces(None, 1000).unwrap(),
        store.iter_lru_ids(9, None).unwrap(),
        store.iter_since(0, 9).unwrap(),
        store.iter_vectors(0, 9).unwrap().vectors,
        store.iter_stamps(0, 9).unwrap().ids,
        store.get_namespace_quota("a").unwrap(),
        store.list_namespace_quotas().unwrap(),
        store.read_version_counter().unwrap(),
        (store.read_meta("k").unwrap(), store.list_meta().unwrap()),
    );
    format!("{answers:?}")
}

/// Changes everything that there is to read.
fn change_all(store: &mut PostgresStore, round: u64) {
    let replaced = Entry {
        response: format!("replaced {round}"),
        ..entry("a", 1)
    };
    put(store, replaced);
    put(store, entry("b", 3 + round));
    store.delete_by_id(2).unwrap();
    store.set_namespace_quota("a", Some(10 + round)).unwrap();
    let old = store.read_meta("k").unwrap();
    assert!(
        store
            .replace_meta("k", old.as_deref(), Some(&format!("v {round}")))
            .unwrap()
    );
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9_999 + round,
    };
    store.update_access(&[touch]).unwrap();
}

fn a_view_shows_one_instant_while_others_write(server: Arc<Postgres>) {
    let mut store = server.opened("view");
    let mut other = server.opened("view");
    assert!(store.begin_view().unwrap());
    store.insert(vec![entry("a", 1)]).unwrap_err();
    store.end_view().unwrap();
    store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
    let before = picture(&mut store);
    assert!(store.begin_view().unwrap());
    // Nothing was read in it yet.
    change_all(&mut other, 1);
    assert_eq!(picture(&mut store), before);
    change_all(&mut other, 2);
    assert_eq!(picture(&mut store), before);
    assert!(store.integrity_check().unwrap());
    let after = picture(&mut other);
    assert_ne!(after, before);
    // Another one ends it.
    assert!(store.begin_view().unwrap());
    change_all(&mut other, 3);
    assert_eq!(picture(&mut store), after);
    store.end_view().unwrap();
    store.end_view().unwrap();
    assert_eq!(picture(&mut store), picture(&mut other));
    put(&mut store, entry("a", 9));

    // Closing ends it, and so does opening again.
    for close in [true, false] {
        assert!(store.begin_view().unwrap());
        if close {
            store.close().unwrap();
            assert!(matches!(store.begin_view(), Err(StoreError::Closed)));
            assert!(matches!(store.end_view(), Err(StoreError::Closed)));
        }
        store.open(FINGERPRINT, DIM).unwrap();
        let id = put(&mut other, entry("c", u64::from(close)));
        assert!(ids(&mut store).contains(&id));
        put(&mut store, entry("d", 1));
    }
}

fn a_view_is_not_written_to(server: Arc<Postgres>) {
    let mut store = server.opened("view_writes");
    put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(store.begin_view().unwrap());
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9_999,
    };
    let one = EntryRef {
        id: 1,
        namespace: "a".into(),
        created_at: 1001,
    };
    for outcome in [
        store.insert(vec![entry("a", 2)]).map(drop),
        store.update_access(&[touch]),
        store.delete_by_id(1).map(drop),
        store.delete_unchanged(&[one]).map(drop),
        store.delete_expired(0, None, 1).map(drop),
        store.clear_namespace(None).map(drop),
        store.set_namespace_quota("a", Some(1)),
        store.replace_meta("k", None, Some("v")).map(drop),
        store.commit_import(&[], &[]).map(drop),
        store.write_blob("a", vec![1]),
        store.delete_blobs(&["a".to_owned()]),
    ] {
        let named = |what: &String| what.contains("end the view first");
        assert!(
            matches!(&outcome, Err(StoreError::InvalidArgument(what)) if named(what)),
            "{outcome:?}"
        );
    }
    assert_eq!(ids(&mut store), [1]);
    store.end_view().unwrap();
    assert_eq!(ids(&mut store), [1]);
    assert!(store.delete_by_id(1).unwrap());
}

fn a_lost_connection_never_shows_later_data(server: Arc<Postgres>) {
    let mut store = server.opened("view_lost");
    let mut other = server.store("view_lost");
    other.open(FINGERPRINT, DIM).unwrap();
    put(&mut store, entry("a", 1));
    let end_session = || {
        let ended = server.sql(
            "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
             WHERE application_name = 'view_lost'",
        );
        assert_eq!(ended, "1");
    };
    for begin_again in [false, true] {
        assert!(store.begin_view().unwrap());
        put(&mut other, entry("a", 2 + u64::from(begin_again)));
        end_session();
        for _ in 0..3 {
            match store.count(None) {
                Err(StoreError::Backend(BackendError {
                    message,
                    retryable: true,
                })) => {
                    assert!(message.contains("the view is over"), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            store.integrity_check(),
            Err(StoreError::Backend(_))
        ));
        match begin_again {
            true => assert!(store.begin_view().unwrap()),
            false => store.end_view().unwrap(),
        }
        assert_eq!(store.count(None).unwrap(), other.count(None).unwrap());
    }
    // One that is lost when nothing more is read of it was all right.
    end_session();
    store.end_view().unwrap();
    put(&mut store, entry("a", 9));
}

fn a_read_that_fails_does_not_end_the_view(server: Arc<Postgres>) {
    let mut store = server.opened("view_failed");
    let mut other = server.opened("view_failed");
    put(&mut store, entry("a", 1));
    assert!(store.begin_view().unwrap());
    server.sql("ALTER TABLE view_failed.namespace_quotas RENAME TO hidden");
    server.sql("ALTER TABLE view_failed.multi_process_state RENAME TO also_hidden");
    for _ in 0..2 {
        assert!(matches!(
            store.list_namespace_quotas(),
            Err(StoreError::Schema(_))
        ));
        assert!(matches!(
            store.read_version_counter(),
            Err(StoreError::Schema(_))
        ));
        assert!(!store.integrity_check().unwrap());
        assert_eq!(ids(&mut store), [1]);
    }
    server.sql("ALTER TABLE view_failed.hidden RENAME TO namespace_quotas");
    server.sql("ALTER TABLE view_failed.also_hidden RENAME TO multi_process_state");
    put(&mut other, entry("a", 2));
    assert_eq!(store.read_version_counter().unwrap(), 1);
    assert_eq!(ids(&mut store), [1]);
    store.end_view().unwrap();
    assert_eq!(ids(&mut store), [1, 2]);
}

fn a_view_may_take_longer_than_a_call(server: Arc<Postgres>) {
    let mut store = server
        .store("view_slow")
        .call_timeout(Duration::from_millis(400));
    store.open(FINGERPRINT, DIM).unwrap();
    assert!(store.begin_view().unwrap());
    put(&mut server.opened("view_slow"), entry("a", 1));
    server.sql("SELECT pg_sleep(1)");
    assert_eq!(store.count(None).unwrap(), 0);
    store.end_view().unwrap();
    assert_eq!(store.count(None).unwrap(), 1);
}
