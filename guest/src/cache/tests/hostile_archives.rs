//! Archives that are damaged, or made to do harm. None of them changes the cache.

use super::checkpoints::{dump_with, filled, load_with};
use super::new_cache;
use crate::cache::Cache;
use crate::checkpoint::compression::Compressor;
use crate::checkpoint::manifest::{self, FORMAT_VERSION, SCHEMA_VERSION};
use crate::checkpoint::rows::Page;
use crate::checkpoint::state::State;
use crate::checkpoint::tarball::TarWriter;
use crate::checkpoint::{
    CHECKSUMS, Checksum, Checksums, Limits, MANIFEST, SNAPSHOT, STATE, default_dump_options,
    default_inspect_options, page_names,
};
use crate::error::Result;
use crate::store::Store;
use crate::testing::{TestArchive, TestHost, TestStore, at_angle, entry};
use crate::types::*;
use proptest::prelude::*;

type Change = fn(&mut Entry);

const LIMITS: Limits = Limits {
    query: 32 << 10,
    response: 4 << 20,
    metadata: 64 << 10,
};
type Members = Vec<(String, Vec<u8>)>;

fn described(layout: Layout) -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        schema_version: SCHEMA_VERSION,
        embedder_fingerprint: "f".into(),
        embedder_dim: 2,
        layout,
        store: "test".into(),
        vector_dtype: VectorDtype::Float32,
        created_at: 5,
        namespaces: vec!["n".into()],
        written_by: None,
        consistent: true,
    }
}

fn numbered(id: u64) -> Entry {
    Entry {
        id,
        ..entry("n", &format!("q{id}"), &at_angle(id as f64), 10)
    }
}

/// The members of a sound portable archive with two pages of two entries each, without
/// checksums.
fn portable() -> Members {
    let mut members = vec![
        (
            MANIFEST.to_owned(),
            manifest::encode(&described(Layout::Portable)).unwrap(),
        ),
        (STATE.to_owned(), State::default().encode().unwrap()),
    ];
    for number in 1..=2_u32 {
        let mut page = Page::default();
        for id in [u64::from(number) * 2 - 1, u64::from(number) * 2] {
            page.add(&numbered(id), id, 2, LIMITS).unwrap();
        }
        let (vectors, lines) = page_names(number);
        members.push((vectors, page.vectors));
        members.push((lines, page.lines));
    }
    members
}

fn checksums(members: &[(String, Vec<u8>)], entries: Option<u64>) -> (String, Vec<u8>) {
    let checksums = Checksums {
        members: members
            .iter()
            .map(|(name, bytes)| Checksum::of(name, bytes))
            .collect(),
        entries,
    };
    (
        CHECKSUMS.to_owned(),
        serde_json::to_vec(&checksums).unwrap(),
    )
}

fn archive(members: &[(String, Vec<u8>)]) -> TestArchive {
    let archive = TestArchive::default();
    let compressor = Compressor::new(&archive, Compression::Gzip, None).unwrap();
    let mut tar = TarWriter::new(compressor, 0);
    for (name, bytes) in members {
        tar.member(name, bytes).unwrap();
    }
    tar.finish().unwrap();
    archive
}

/// Loads into a cache that already holds something, and expects that to be untouched where
/// the archive is refused.
fn load(archive: &TestArchive) -> Result<LoadReport> {
    let (mut target, _, store) = new_cache(|_| {});
    store.snapshots.set(true);
    store
        .insert(&[entry("mine", "q", &at_angle(3.0), 7)])
        .unwrap();
    let before = store.content();
    let loaded = load_with(&mut target, archive, |o| o.mode = ImportMode::Merge);
    if loaded.is_err() {
        assert_eq!(store.content(), before);
        assert!(!store.has_leftovers());
    }
    loaded
}

/// A native archive of a store, with a manifest that says nothing of its entries.
fn native(store: &TestStore) -> TestArchive {
    store.begin_snapshot().unwrap();
    let mut snapshot = Vec::new();
    loop {
        match store.read_snapshot(4096).unwrap() {
            bytes if bytes.is_empty() => break,
            bytes => snapshot.extend(bytes),
        }
    }
    store.end_snapshot().unwrap();
    let manifest = manifest::encode(&described(Layout::Native)).unwrap();
    let mut members = vec![
        (MANIFEST.to_owned(), manifest),
        (SNAPSHOT.to_owned(), snapshot),
    ];
    members.push(checksums(&members, None));
    archive(&members)
}

/// Expects an archive of these members to be refused, with checksums that fit, and the error
/// to name a member and a word of the reason.
fn refuse(mut members: Members, entries: u64, member: &str, reason: &str) {
    members.push(checksums(&members, Some(entries)));
    refuse_as_it_is(&members, member, reason);
}

fn refuse_as_it_is(members: &[(String, Vec<u8>)], member: &str, reason: &str) {
    match load(&archive(members)) {
        Err(Error::Checkpoint(message)) => {
            assert!(message.contains(&format!("{member:?}")), "{message}");
            assert!(message.contains(reason), "{message}");
            assert!(message.contains("othing was loaded"), "{message}");
        }
        other => panic!("{member}, {reason}: {other:?}"),
    }
}

fn at(members: &Members, name: &str) -> usize {
    members.iter().position(|(n, _)| n == name).unwrap()
}

#[test]
fn a_sound_archive_is_loaded_and_so_is_one_with_members_of_others() {
    let mut members = portable();
    members.push(checksums(&members, Some(4)));
    assert_eq!(load(&archive(&members)).unwrap().entries, 4);
    members.insert(2, ("notes.txt".into(), b"anything".to_vec()));
    members.insert(5, ("extra/a".into(), vec![0; 5000]));
    assert_eq!(load(&archive(&members)).unwrap().entries, 4);
}

#[test]
fn members_must_be_all_there_and_in_order() {
    let (first_vectors, first_lines) = page_names(1);
    let (second_vectors, second_lines) = page_names(2);
    for missing in 0..6 {
        let mut members = portable();
        let (name, _) = members.remove(missing);
        match name == MANIFEST {
            true => assert!(load(&archive(&members)).is_err()),
            false => {
                members.push(checksums(&members, Some(4)));
                assert!(
                    matches!(load(&archive(&members)), Err(Error::Checkpoint(_))),
                    "{name}"
                );
            }
        }
    }
    for (a, b) in [(0, 1), (1, 2), (2, 3), (2, 4), (3, 5), (4, 5)] {
        let mut members = portable();
        members.swap(a, b);
        members.push(checksums(&members, Some(4)));
        assert!(
            matches!(load(&archive(&members)), Err(Error::Checkpoint(_))),
            "{a} {b}"
        );
    }
    for name in [MANIFEST, STATE] {
        let mut members = portable();
        let again = members[at(&members, name)].clone();
        members.push(again);
        refuse(members, 4, name, "twice");
    }
    let mut members = portable();
    let again = members[at(&members, &second_vectors)].clone();
    members.push(again);
    refuse(members, 4, &second_vectors, "follow");
    let mut members = portable();
    members.truncate(3);
    refuse(members, 0, CHECKSUMS, &first_lines);
    let mut members = portable();
    members.push((page_names(4).0, vec![0; 8]));
    refuse(members, 4, &page_names(4).0, "numbered");
    let mut members = portable();
    let lines = at(&members, &first_lines);
    members[lines].1.clear();
    members[lines - 1].1.clear();
    refuse(members, 2, &first_lines, "no rows");
    let mut members = portable();
    members[lines - 1].1.pop();
    refuse(members, 4, &first_vectors, "too few");
    let mut members = portable();
    let (one, two) = (at(&members, &first_lines), at(&members, &second_lines));
    members[two].1 = members[one].1.clone();
    refuse(members, 4, &second_lines, "ascend");
}

#[test]
fn checksums_are_compared() {
    refuse_as_it_is(&portable(), CHECKSUMS, "missing");
    let mut sound = portable();
    sound.push(checksums(&sound, Some(4)));

    let mut members = sound.clone();
    let state = at(&members, STATE);
    members[state].1.push(b' ');
    refuse_as_it_is(&members, STATE, "damaged");

    let mut members = sound.clone();
    members.push(("more".into(), vec![]));
    refuse_as_it_is(&members, "more", "after");

    let mut members = portable();
    let some: Vec<_> = members
        .iter()
        .filter(|(n, _)| n != STATE)
        .cloned()
        .collect();
    members.push(checksums(&some, Some(4)));
    refuse_as_it_is(&members, STATE, "list");

    let mut members = portable();
    let mut more = members.clone();
    more.push(("gone".into(), vec![1]));
    members.push(checksums(&more, Some(4)));
    refuse_as_it_is(&members, "gone", "missing");

    for entries in [None, Some(3), Some(5)] {
        let mut members = portable();
        members.push(checksums(&members, entries));
        refuse_as_it_is(&members, CHECKSUMS, "entries");
    }
    let mut members = portable();
    members.push((CHECKSUMS.into(), b"[]".to_vec()));
    refuse_as_it_is(&members, CHECKSUMS, "invalid");
}

/// What `inspect` says of an archive.
fn inspect(archive: &TestArchive) -> Result<Summary> {
    archive.position.set(0);
    let store = TestStore::default();
    store.snapshots.set(true);
    let mut closed = Cache::new(store, TestHost::at(0));
    closed.inspect(&default_inspect_options(), archive)
}

/// By the same rule and in the same words, whatever is done with the archive.
#[test]
fn an_entry_that_comes_twice_is_refused() {
    let twice = Entry {
        id: 9,
        ..numbered(1)
    };
    let elsewhere = Entry {
        namespace: "m".into(),
        ..twice.clone()
    };
    for (entry, is_new) in [(&twice, false), (&elsewhere, true)] {
        let mut members = portable();
        let (vectors, lines) = page_names(3);
        let mut page = Page::default();
        page.add(entry, entry.id, 2, LIMITS).unwrap();
        members.push((vectors, page.vectors));
        members.push((lines, page.lines));
        members.push(checksums(&members, Some(5)));
        let store = TestStore::opened(2);
        for entry in [&numbered(1), entry] {
            store.plant(entry.clone());
        }
        for (archive, place) in [
            (archive(&members), "line 1"),
            (native(&store), "entry 9 of namespace"),
        ] {
            let loaded = load(&archive).map(drop);
            assert_eq!(inspect(&archive).map(drop), loaded);
            match loaded {
                Ok(()) => assert!(is_new),
                Err(Error::Checkpoint(message)) => {
                    assert!(!is_new && message.contains("twice"), "{message}");
                    assert!(message.contains(place), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A store with a view has each question once. Without one, an entry may be deleted and stored again
/// while the others are read, and the archive can be loaded all the same.
#[test]
fn what_is_dumped_holds_each_question_once() {
    for viewless in [false, true] {
        let (mut source, store) = filled(false);
        store.viewless.set(viewless);
        let first = store.entries()[0].clone();
        let entries = store.entries().len() as u64;
        store.plant(Entry { id: 70, ..first });
        let archive = TestArchive::default();
        match source.dump(&default_dump_options(), &archive) {
            Ok(report) => {
                assert!(viewless && report.entries == Some(entries));
                assert_eq!(inspect(&archive).unwrap().entries, entries);
                assert_eq!(load(&archive).unwrap().entries, entries);
            }
            Err(Error::Corrupt(message)) => {
                assert!(!viewless && message.contains("entry 70"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_million_members_are_not_gone_through() {
    let mut members = portable();
    for n in 0..1_001 {
        members.push((format!("m{n}"), Vec::new()));
    }
    refuse(members, 4, "m1000", "1000 members");
}

#[test]
fn descriptions_without_end_are_not_read() {
    let mut members = portable();
    members[0].1.extend(vec![b' '; 17 << 20]);
    refuse(members, 4, MANIFEST, "bytes");
    let mut members = portable();
    members[1].1.extend(vec![b' '; 17 << 20]);
    refuse(members, 4, STATE, "bytes");
}

#[test]
fn other_files_are_no_checkpoints() {
    for members in [
        vec![],
        vec![("readme".to_owned(), b"hello".to_vec())],
        vec![("store".to_owned(), vec![1; 1000])],
    ] {
        assert!(matches!(
            load(&archive(&members)),
            Err(Error::Checkpoint(m)) if m.contains(MANIFEST)
        ));
    }
}

#[test]
fn rows_of_a_snapshot_are_checked_like_those_of_a_page() {
    let broken: [(&str, Change); 14] = [
        ("created_at", |e| e.created_at = u64::MAX),
        ("last_accessed_at", |e| e.last_accessed_at = 1 << 53),
        ("ttl", |e| e.ttl = Some(1 << 53)),
        ("access_count", |e| e.access_count = 1 << 53),
        ("empty", |e| e.namespace.clear()),
        ("1024", |e| e.namespace = "x".repeat(1025)),
        ("max-response-bytes", |e| {
            e.response = "x".repeat((4 << 20) + 1);
        }),
        ("max-metadata-bytes", |e| {
            e.metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10));
        }),
        ("finite", |e| e.embedding = vec![f32::INFINITY, 0.0]),
        ("values", |e| e.embedding = vec![1.0]),
        ("query_hash", |e| e.query_hash = "0".repeat(64)),
        ("U+0000", |e| e.namespace = "\0".into()),
        ("id is 9007199254740992", |e| e.id = 1 << 53),
        ("metadata", |e| e.metadata = "NaN".into()),
    ];
    for (word, break_it) in broken {
        for mode in [ImportMode::Merge, ImportMode::Replace] {
            let (_, store) = filled(true);
            let mut row = numbered(50);
            break_it(&mut row);
            store.plant(row);
            let archive = native(&store);
            let (mut target, _, copy) = new_cache(|_| {});
            copy.snapshots.set(true);
            copy.insert(&[entry("mine", "q", &at_angle(3.0), 7)])
                .unwrap();
            let before = copy.content();
            match load_with(&mut target, &archive, |o| o.mode = mode) {
                Err(Error::Checkpoint(message)) => {
                    assert!(
                        message.contains("\"store\"") && message.contains(word),
                        "{message}"
                    );
                }
                other => panic!("{word}: {other:?}"),
            }
            assert_eq!(copy.content(), before);
        }
    }
}

/// Small archives of both layouts and compressions.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for layout in [Layout::Portable, Layout::Native] {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (mut source, _) = filled(true);
            let archive = dump_with(&mut source, |o| {
                o.layout = Some(layout);
                o.compression = compression;
            });
            samples.push(archive.bytes.take());
        }
    }
    samples
}

/// What a sound load of any sample leaves.
fn loaded_content(bytes: &[u8]) -> Option<(Vec<Entry>, TestStore)> {
    let (mut target, _, store) = new_cache(|_| {});
    store.snapshots.set(true);
    match load_with(&mut target, &TestArchive::of(bytes), |_| {}) {
        Ok(_) => Some((store.entries(), store)),
        Err(Error::Checkpoint(_) | Error::Schema(_) | Error::Unsupported(_)) => {
            assert!(store.entries().is_empty() && !store.has_leftovers());
            None
        }
        Err(Error::EmbedderMismatch(_) | Error::EmbedderDimension(_)) => {
            assert!(store.entries().is_empty());
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    for bytes in samples() {
        assert!(loaded_content(&bytes).is_some());
        for length in 0..bytes.len() {
            assert!(
                loaded_content(&bytes[..length]).is_none(),
                "{length} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn an_archive_with_any_bit_flipped_is_refused_or_the_same() {
    for bytes in samples() {
        let (entries, _) = loaded_content(&bytes).unwrap();
        let mut same = 0;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some((read, _)) = loaded_content(&flipped) {
                assert_eq!(read, entries, "bit {bit}");
                same += 1;
            }
        }
        // What may change: fields of the gzip header that nobody reads, and the like.
        assert!(same < 200, "{same} of {} bits", bytes.len() * 8);
    }
}

proptest! {
    #[test]
    fn a_plain_tar_with_bytes_changed_never_harms(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        // Changed before compression, so that the changes reach tar and JSON.
        let mut members = portable();
        members.push(checksums(&members, Some(4)));
        let plain = crate::testing::plain(&archive(&members));
        let mut changed = plain.clone();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        if is_cut {
            changed.truncate(cut.index(plain.len()));
        }
        let compressed = crate::testing::compressed(&changed);
        let sound = loaded_content(&crate::testing::compressed(&plain)).unwrap().0;
        if let Some((read, _)) = loaded_content(&compressed) {
            prop_assert_eq!(read, sound);
        }
    }
}
