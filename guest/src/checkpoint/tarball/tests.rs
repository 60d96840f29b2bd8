//! Tar files that are whole, cut off and damaged.

mod hostile;

use super::*;
use crate::testing::{TestArchive, archive_failure};
use crate::types::Compression;
use proptest::prelude::*;
use tar::{EntryType, Header};

const KINDS: [Compression; 2] = [Compression::Gzip, Compression::Zstd];
const LIMIT: u64 = 64 << 20;

type Members = Vec<(String, Vec<u8>)>;

fn writer(archive: &TestArchive, compression: Compression) -> TarWriter<'_, TestArchive> {
    TarWriter::new(
        Compressor::new(archive, compression, None).unwrap(),
        1_700_000_000,
    )
}

fn reader(archive: &TestArchive) -> TarReader<'_, TestArchive> {
    TarReader::new(Decompressor::new(archive, 200).unwrap())
}

fn members(archive: &TestArchive) -> Result<Members> {
    let mut reader = TarReader::new(Decompressor::new(archive, 200)?);
    let mut members = Vec::new();
    while let Some(member) = reader.next()? {
        let content = reader.read_all(LIMIT)?;
        assert_eq!(content.len() as u64, member.size);
        members.push((member.name, content));
    }
    reader.finish().map(|_| members)
}

fn compress(compression: Compression, tar: &[u8]) -> TestArchive {
    let archive = TestArchive::default();
    let mut compressor = Compressor::new(&archive, compression, None).unwrap();
    compressor.write(tar).unwrap();
    compressor.finish().unwrap();
    archive
}

/// The members of a tar file given as it is.
fn read(tar: &[u8]) -> Result<Members> {
    members(&compress(Compression::Gzip, tar))
}

/// The message of a refusal.
fn reason<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Err(Error::Checkpoint(reason)) => {
            assert!(reason.ends_with("nothing was loaded"), "{reason}");
            reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// A header of any kind, changed by the test.
fn header(name: &[u8], kind: u8, size: u64, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(EntryType::new(kind));
    header.set_size(size);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name.as_bytes(), kind, content.len() as u64, |_| {});
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A tar file of these parts and its end, and what is read from it.
fn whole(parts: &[Vec<u8>]) -> Result<Members> {
    read(&[parts.concat(), vec![0; 2 * BLOCK]].concat())
}

fn file(name: &str, content: &[u8]) -> (String, Vec<u8>) {
    (name.into(), content.to_vec())
}

#[test]
fn what_goes_in_comes_out() {
    for compression in KINDS {
        let sizes = [0, 1, 511, 512, 513, 3 << 20];
        let expected: Members = sizes
            .iter()
            .map(|&size| {
                (
                    format!("vectors/{size:08}.f32"),
                    vec![size as u8 ^ 9; size as usize],
                )
            })
            .collect();
        let archive = TestArchive::default();
        let mut writer = writer(&archive, compression);
        for (name, content) in &expected {
            writer.member(name, content).unwrap();
        }
        let written = writer.finish().unwrap();
        assert_eq!(written.plain % BLOCK as u64, 0);
        assert_eq!(written.compressed, archive.bytes.borrow().len() as u64);
        assert!(members(&archive).unwrap() == expected);
    }
}

#[test]
fn members_are_plain_ustar_files() {
    let archive = TestArchive::default();
    let mut writer = writer(&archive, Compression::Gzip);
    writer.member("manifest.json", b"{}").unwrap();
    writer.finish().unwrap();
    let mut tar = vec![0; 4 * BLOCK];
    let mut decompressor = Decompressor::new(&archive, 200).unwrap();
    assert_eq!(decompressor.read(&mut tar), Ok(4 * BLOCK));
    assert_eq!(&tar[..14], b"manifest.json\0");
    assert_eq!(&tar[100..108], b"0000600\0");
    assert_eq!(&tar[124..136], b"00000000002\0");
    assert_eq!(&tar[136..148], b"14524770400\0");
    assert_eq!(&tar[156..158], b"0\0");
    assert_eq!(&tar[257..265], b"ustar\x0000");
    assert_eq!(&tar[BLOCK..BLOCK + 3], b"{}\0");
    assert_eq!(&tar[2 * BLOCK..], &[0; 2 * BLOCK]);
}

#[test]
fn members_are_streamed_and_their_sizes_held_to() {
    let archive = TestArchive::default();
    let mut writer = writer(&archive, Compression::Zstd);
    let is_invalid = |outcome| matches!(outcome, Err(Error::InvalidArgument(_)));
    assert!(is_invalid(writer.write(b"x")) && is_invalid(writer.end()));
    writer.begin("store", 5).unwrap();
    assert!(is_invalid(writer.begin("other", 5)));
    writer.write(b"abc").unwrap();
    let changed = |outcome| match outcome {
        Err(Error::Corrupt(message)) => message,
        other => panic!("{other:?}"),
    };
    let message = changed(writer.end());
    assert!(message.contains("\"store\": 5 bytes were announced and fewer"));
    assert!(changed(writer.write(b"def")).contains("more"));
    writer.write(b"de").unwrap();
    writer.end().unwrap();
    writer.finish().unwrap();
    assert_eq!(members(&archive).unwrap(), [file("store", b"abcde")]);
    for name in ["", "/store", "a/../b", "a\\b", "a\nb", &"n".repeat(101)] {
        let archive = TestArchive::default();
        let mut writer = TarWriter::new(
            Compressor::new(&archive, Compression::Gzip, None).unwrap(),
            0,
        );
        assert!(is_invalid(writer.begin(name, 0)), "{name:?}");
        writer.begin("store", 1).unwrap();
        changed(writer.finish().map(drop));
    }
}

#[test]
fn what_is_not_read_is_passed_over() {
    let tar = [
        member("a", b'0', &[1; 200_000]),
        member("store/", b'5', b""),
        member("b", 0, b"bb"),
        member("c", b'0', &[3; 600]),
        vec![0; 20 * BLOCK],
    ]
    .concat();
    let archive = compress(Compression::Gzip, &tar);
    let mut reader = reader(&archive);
    assert_eq!(reader.read(&mut [0; 9]), Ok(0));
    assert_eq!(reader.next().unwrap().unwrap().size, 200_000);
    assert_eq!(reader.read(&mut [0; 9]), Ok(9));
    assert_eq!(reader.next().unwrap().unwrap().name, "b");
    let mut buffer = [0; 9];
    assert_eq!(reader.read(&mut buffer), Ok(2));
    assert_eq!(&buffer[..2], b"bb");
    assert_eq!(reader.read(&mut buffer), Ok(0));
    let sizes = reader.finish().unwrap();
    assert_eq!(sizes.plain, tar.len() as u64);
    assert_eq!(sizes.compressed, archive.bytes.borrow().len() as u64);
}

#[test]
fn a_limit_is_held_before_anything_is_read() {
    let archive = compress(Compression::Gzip, &member("state.json", b'0', &[b' '; 100]));
    let mut reader = reader(&archive);
    reader.next().unwrap();
    let message = reason(reader.read_all(99));
    assert!(message.starts_with("member \"state.json\": it has 100 bytes"));
    assert_eq!(reader.read_all(100).unwrap().len(), 100);
    assert_eq!(reader.read_all(0), Ok(Vec::new()));
}

#[test]
fn a_declared_size_allocates_nothing() {
    let huge = 1 << 62;
    let archive = compress(
        Compression::Gzip,
        &header(b"store", b'0', huge, |h| h.set_size(huge)),
    );
    let mut reader = reader(&archive);
    assert_eq!(reader.next().unwrap().unwrap().size, huge);
    let message = reason(reader.read_all(u64::MAX));
    assert!(message.starts_with("member \"store\": the tar file ends within it"));
}

#[test]
fn every_truncation_is_refused() {
    let tar = [
        member("manifest.json", b'0', b"{}"),
        member("store", b'0', &[5; 700]),
        vec![0; 2 * BLOCK],
    ]
    .concat();
    for end in 0..tar.len() {
        let message = reason(read(&tar[..end]));
        let place = match end {
            0..512 => "the first header: ",
            512..1024 => "member \"manifest.json\": ",
            1024..1536 => "the header after member \"manifest.json\": ",
            1536..2560 => "member \"store\": ",
            _ => "the header after member \"store\": ",
        };
        assert!(message.starts_with(place), "{end}: {message}");
    }
    assert_eq!(read(&tar).unwrap().len(), 2);
    for compression in KINDS {
        let archive = compress(compression, &tar);
        for end in 0..archive.bytes.borrow().len() {
            reason(members(&TestArchive::of(&archive.bytes.borrow()[..end])));
        }
    }
}

#[test]
fn no_flipped_bit_changes_the_members() {
    for compression in KINDS {
        let archive = TestArchive::default();
        let mut writer = writer(&archive, compression);
        let expected = [file("manifest.json", b"{}"), file("store", &[5; 700])];
        for (name, content) in &expected {
            writer.member(name, content).unwrap();
        }
        writer.finish().unwrap();
        let bytes = archive.bytes.take();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match members(&TestArchive::of(&damaged)) {
                Ok(read) => assert_eq!(read, expected, "{compression:?} bit {bit}"),
                outcome => drop(reason(outcome)),
            }
        }
    }
}

#[test]
fn the_end_is_two_blocks_of_zeros_and_only_zeros_after_them() {
    let one = member("a", b'0', b"a");
    let end = vec![0; 2 * BLOCK];
    let lone = [&one[..], &[0; BLOCK], &one, &end].concat();
    assert!(reason(read(&lone)).contains("stands alone"));
    let more = [&one[..], &end, &one].concat();
    assert!(reason(read(&more)).starts_with("the end of the tar file: other data"));
    let odd = [&one[..], &end, &[0; 77]].concat();
    assert_eq!(read(&odd).unwrap().len(), 1);
    assert_eq!(read(&end).unwrap(), []);
}

#[test]
fn errors_of_the_archive_pass_unchanged() {
    let archive = TestArchive::default();
    let mut writer = writer(&archive, Compression::Gzip);
    writer.member("store", b"abc").unwrap();
    writer.finish().unwrap();
    archive.piece.set(20);
    for call in 1..=4 {
        archive.position.set(0);
        archive.fail_at(call);
        assert_eq!(members(&archive), Err(archive_failure()));
    }
    archive.fail_at(1);
    let mut writer = super::tests::writer(&archive, Compression::Gzip);
    writer.member("store", b"abc").unwrap();
    assert_eq!(writer.finish(), Err(archive_failure()));
}

#[test]
fn what_is_wrong_with_the_stream_names_the_member() {
    let tar = [member("store", b'0', &[1; 100_000]), vec![0; 2 * BLOCK]].concat();
    let mut bytes = compress(Compression::Zstd, &tar).bytes.take();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    let message = reason(members(&TestArchive::of(&bytes)));
    assert!(message.contains("the archive: it is cut off"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_members_and_pieces(
        contents in prop::collection::vec((any::<u8>(), 0usize..5000), 0..8),
        zstd in any::<bool>(),
        piece in 1usize..3000,
        parts in 1usize..700,
    ) {
        let archive = TestArchive::default();
        let mut writer = writer(&archive, KINDS[usize::from(zstd)]);
        let mut expected = Vec::new();
        for (number, (seed, len)) in contents.into_iter().enumerate() {
            let content: Vec<u8> = (0..len).map(|i| seed.wrapping_mul(i as u8)).collect();
            let name = format!("entries/{number:08}.jsonl");
            writer.begin(&name, len as u64).unwrap();
            for part in content.chunks(parts) {
                writer.write(part).unwrap();
            }
            writer.end().unwrap();
            expected.push((name, content));
        }
        writer.finish().unwrap();
        archive.piece.set(piece);
        prop_assert_eq!(members(&archive).unwrap(), expected);
    }

    #[test]
    fn any_bytes_end_in_a_refusal_or_members(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        changes in prop::collection::vec((0usize..BLOCK, any::<u8>()), 0..4),
        mended in any::<bool>(),
    ) {
        reason(read(&[&bytes[..], &[1]].concat()));
        let mut header = *header::encode("store", 600, 0).unwrap().as_bytes();
        for (at, value) in changes {
            header[at] = value;
        }
        if mended {
            let mut sound = Header::new_old();
            *sound.as_mut_bytes() = header;
            sound.set_cksum();
            header = *sound.as_bytes();
        }
        let tar = [&header[..], &[7; 2 * BLOCK], &[0; 2 * BLOCK]].concat();
        match read(&tar) {
            Ok(members) => for (name, _) in members {
                prop_assert!(header::check_name(&name).is_ok());
            },
            outcome => drop(reason(outcome)),
        }
    }
}
