//! Files whose pages make a walk endless, and calls that are given up: both end soon, and change
//! nothing.

use std::fs;
use std::path::Path;

use mneme::store::cancel::Cancel;
use mneme::store::{SqliteStore, Store, StoreError};

use super::place::{Place, open, place, version};
use super::snapshots::{receive, snapshot};
use mneme_tests::damage::{PAGE, processor_seconds};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, ids, key};
use mneme_tests::sqlite;

mneme_tests::tests![
    a_walk_without_an_end_is_damage,
    a_walk_among_high_ids_is_damage,
    what_is_given_up_ends_and_changes_nothing,
    no_byte_of_the_header_is_the_machines_fault,
];

/// A file with some entries.
fn filled(rows: u64) -> Place {
    let place = place();
    let mut store = open(&place.path);
    for first in (0..rows).step_by(1000) {
        let page = first..rows.min(first + 1000);
        store.insert(page.map(|n| entry("a", n)).collect()).unwrap();
    }
    store.close().unwrap();
    place
}

/// Makes an index one whose pages each lead to the next one very often, twelve pages deep. So a
/// walk over it would visit its last page more often than anything can be done.
fn make_endless(path: &Path, index: &str) {
    let root: usize = sqlite::value(
        path,
        &format!("SELECT rootpage FROM sqlite_schema WHERE name = '{index}'"),
    );
    let mut file = fs::read(path).unwrap();
    let root = (root - 1) * PAGE;
    let leaf = file[root..root + PAGE].to_vec();
    assert_eq!(leaf[0], 0x0a, "the root is a leaf, and so the only page");
    let cell = usize::from(u16::from_be_bytes([leaf[8], leaf[9]]));
    let cell = &leaf[cell..cell + 1 + usize::from(leaf[cell])];
    let branch = |child: u32| {
        let mut page = vec![0; PAGE];
        page[0] = 0x02;
        page[8..12].copy_from_slice(&child.to_be_bytes());
        let size = 4 + cell.len();
        let cells = (PAGE - 12) / (size + 2);
        let mut at = PAGE;
        for n in 0..cells {
            at -= size;
            page[at..at + 4].copy_from_slice(&child.to_be_bytes());
            page[at + 4..at + size].copy_from_slice(cell);
            page[12 + 2 * n..14 + 2 * n].copy_from_slice(&(at as u16).to_be_bytes());
        }
        page[3..5].copy_from_slice(&(cells as u16).to_be_bytes());
        page[5..7].copy_from_slice(&(at as u16).to_be_bytes());
        page
    };
    let mut last = leaf.clone();
    for _ in 0..12 {
        file.extend(&last);
        last = branch((file.len() / PAGE) as u32);
    }
    file[root..root + PAGE].copy_from_slice(&last);
    let pages = (file.len() / PAGE) as u32;
    file[28..32].copy_from_slice(&pages.to_be_bytes());
    fs::write(path, file).unwrap();
}

#[track_caller]
fn is_endless<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let Err(StoreError::Corrupt(message)) = outcome else {
        panic!("{outcome:?}");
    };
    for part in ["lead in circles", "restore a checkpoint"] {
        assert!(message.contains(part), "{message}");
    }
}

fn a_walk_without_an_end_is_damage() {
    endless_walks(0);
}

/// Where ids say that there are many entries, too.
fn a_walk_among_high_ids_is_damage() {
    endless_walks(60_000);
}

fn endless_walks(above: u64) {
    let place = filled(5);
    sqlite::execute(
        &place.path,
        &format!("UPDATE entries SET id = id + {above}"),
    );
    for index in [
        "idx_entries_id",
        "idx_entries_created_at",
        "idx_entries_lru",
        "idx_entries_ns_hash",
        "idx_entries_ns_lru",
    ] {
        make_endless(&place.path, index);
    }
    let began = processor_seconds();
    let mut store = open(&place.path);
    is_endless(store.count(None));
    is_endless(store.count(Some("a")));
    is_endless(store.count_by_namespace(None, 1000));
    // A table that is sound is read as before, and each call has the full budget.
    assert_eq!(store.iter_since(0, 9).unwrap().len(), 5);
    assert!(!store.integrity_check().unwrap());
    store.close().unwrap();
    let bytes = fs::read(&place.path).unwrap();
    let target = self::place();
    let mut target = open(&target.path);
    receive(&mut target, &bytes).unwrap();
    let Err(StoreError::Corrupt(message)) = target.check_restore() else {
        panic!("it was taken");
    };
    assert!(message.contains("the snapshot was refused"), "{message}");
    let took = processor_seconds() - began;
    assert!(took < 60.0, "{took} s");
}

#[track_caller]
fn is_given_up<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let Err(StoreError::Backend(error)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(!error.retryable);
    assert!(error.message.contains("was given up"), "{error:?}");
}

fn what_is_given_up_ends_and_changes_nothing() {
    let source = filled(9000);
    let mut store = open(&source.path);
    let bytes = snapshot(&mut store);
    let target = place();
    let mut target = open(&target.path);
    target.insert(vec![entry("kept", 1)]).unwrap();
    let before = (ids(&mut target), version(&mut target));

    let given_up = Cancel::default();
    given_up.cancel();
    is_given_up(given_up.during(|| store.begin_snapshot()));
    is_given_up(given_up.during(|| store.integrity_check()));
    let more = (20_000..21_000).map(|n| entry("a", n)).collect();
    is_given_up(given_up.during(|| store.insert(more)));
    assert_eq!(ids(&mut store).len(), 9000);

    receive(&mut target, &bytes).unwrap();
    is_given_up(given_up.during(|| target.check_restore()));
    receive(&mut target, &bytes).unwrap();
    assert_eq!(target.check_restore().unwrap().entries, 9000);
    is_given_up(given_up.during(|| target.commit_restore(false)));
    target.end_restore().unwrap();
    assert_eq!((ids(&mut target), version(&mut target)), before);
    // Others go on, and so does the same store.
    receive(&mut target, &bytes).unwrap();
    target.commit_restore(false).unwrap();
    assert_eq!(ids(&mut target).len(), 9000);

    // While it runs, too.
    let endless = filled(5);
    make_endless(&endless.path, "idx_entries_ns_lru");
    let mut store = open(&endless.path);
    let giving_up = Cancel::default();
    let (cancel, done) = (giving_up.clone(), std::sync::mpsc::channel::<()>());
    let other = std::thread::spawn(move || {
        // Ends once the call has begun, if not before.
        let _ = done.1.recv();
        cancel.cancel();
    });
    is_given_up(giving_up.during(|| {
        drop(done.0);
        store.count_by_namespace(None, 1000)
    }));
    other.join().unwrap();
    assert!(store.get_by_hash(&[key("a", 3)], true).unwrap()[0].is_some());
}

fn no_byte_of_the_header_is_the_machines_fault() {
    let place = filled(5);
    let good = fs::read(&place.path).unwrap();
    let target = self::place();
    let mut target = open(&target.path);
    let path = place.dir.path().join("damaged.db");
    let (mut taken, mut refused) = (0, 0);
    for at in 16..100 {
        for value in [0, 2, 5, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            receive(&mut target, &bytes).unwrap();
            match target.check_restore() {
                Ok(restored) => {
                    assert_eq!(restored.entries, 5);
                    taken += 1;
                }
                Err(StoreError::Corrupt(_) | StoreError::Schema(_)) => refused += 1,
                other => panic!("byte {at} is {value}: {other:?}"),
            }
            target.end_restore().unwrap();
            fs::write(&path, &bytes).unwrap();
            let mut store = SqliteStore::new(&path);
            match store.open(FINGERPRINT, DIM) {
                Ok(()) => drop(store.integrity_check().unwrap()),
                Err(StoreError::Corrupt(_) | StoreError::Schema(_)) => {}
                other => panic!("byte {at} is {value}: {other:?}"),
            }
            drop(store);
            for more in ["damaged.db-wal", "damaged.db-shm"] {
                let _ = fs::remove_file(place.dir.path().join(more));
            }
        }
    }
    assert!(
        taken > 50 && refused > 10,
        "{taken} taken, {refused} refused"
    );
}
