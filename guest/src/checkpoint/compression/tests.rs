//! Streams through an archive in memory, whole, cut off, damaged and hostile.

use super::decompressor::ZSTD_MAGIC;
use super::*;
use crate::testing::{TestArchive, archive_failure};
use crate::types::Error;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

const KINDS: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(99);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn pack(compression: Compression, level: Option<u8>, parts: &[&[u8]]) -> (TestArchive, Sizes) {
    let archive = TestArchive::default();
    let mut compressor = Compressor::new(&archive, compression, level).unwrap();
    for part in parts {
        compressor.write(part).unwrap();
    }
    let sizes = compressor.finish().unwrap();
    (archive, sizes)
}

fn packed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    pack(compression, None, &[bytes]).0.bytes.take()
}

/// Reads all, in a buffer of `step` bytes.
fn drain(archive: &TestArchive, step: usize, max_expansion: u32) -> Result<(Vec<u8>, Sizes)> {
    let mut decompressor = Decompressor::new(archive, max_expansion)?;
    let mut all = Vec::new();
    let mut buffer = vec![0; step];
    loop {
        match decompressor.read(&mut buffer)? {
            0 => return Ok((all, decompressor.finish()?)),
            read => all.extend_from_slice(&buffer[..read]),
        }
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
    drain(&TestArchive::of(bytes), 1 << 16, 200).map(|(all, _)| all)
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

#[test]
fn what_goes_in_comes_out() {
    for compression in KINDS {
        for len in [0, 1, 511, 512, 513, FRAME - 1, FRAME, FRAME + 1, 3_500_000] {
            let content = noise(len as u64, len);
            let (archive, written) = pack(compression, None, &[&content]);
            let (read, sizes) = drain(&archive, 1 << 16, 200).unwrap();
            assert!(read == content, "{compression:?} {len}");
            assert_eq!(written, sizes);
            assert_eq!(written.plain, len as u64);
            assert_eq!(written.compressed, archive.bytes.borrow().len() as u64);
            assert!(archive.written.get() <= PIECE);
            let found = Decompressor::new(&TestArchive::of(&archive.bytes.borrow()), 1)
                .map(|decompressor| decompressor.compression());
            assert_eq!(found, Ok(compression));
        }
    }
}

#[test]
fn pieces_are_handed_over_as_they_come() {
    for compression in KINDS {
        let archive = TestArchive::default();
        let mut compressor = Compressor::new(&archive, compression, None).unwrap();
        for seed in 0..40 {
            compressor.write(&noise(seed, 100_000)).unwrap();
        }
        assert!(archive.bytes.borrow().len() > 2_500_000, "{compression:?}");
    }
}

#[test]
fn levels_are_those_of_gzip() {
    let text = "the same words again and again; ".repeat(20_000);
    let size = |level| {
        let (archive, sizes) = pack(Compression::Gzip, level, &[text.as_bytes()]);
        assert!(unpack(&archive.bytes.borrow()).unwrap() == text.as_bytes());
        sizes.compressed
    };
    assert!(size(Some(0)) > text.len() as u64);
    assert_eq!(size(None), size(Some(1)));
    assert!(size(Some(9)) < size(Some(1)));
    let archive = TestArchive::default();
    for (compression, level) in [(Compression::Gzip, 10), (Compression::Zstd, 1)] {
        let refused = Compressor::new(&archive, compression, Some(level)).map(drop);
        assert!(
            matches!(&refused, Err(Error::InvalidArgument(m)) if m.contains(&level.to_string())),
            "{refused:?}"
        );
    }
}

#[test]
fn zstd_frames_carry_checksums() {
    let bytes = packed(Compression::Zstd, b"content");
    assert_eq!(bytes[4] & 4, 4);
}

#[test]
fn other_formats_are_named_by_their_first_bytes() {
    assert!(reason(unpack(b"")).contains("empty"));
    let message = reason(unpack(b"PK\x03\x04 and so on"));
    assert!(message.contains("50 4b 03 04"), "{message}");
    assert!(message.contains("1f 8b") && message.contains("28 b5 2f fd"));
    assert!(reason(unpack(b"\x1f")).contains("begins with 1f,"));
}

#[test]
fn every_truncation_is_refused() {
    for compression in KINDS {
        let mut content = noise(1, 700);
        content.extend_from_slice(&[7; 900]);
        let bytes = packed(compression, &content);
        for end in 0..bytes.len() {
            let message = reason(unpack(&bytes[..end]));
            assert!(end < 4 || message.contains("cut off"), "{end}: {message}");
        }
    }
}

#[test]
fn no_flipped_bit_changes_the_content() {
    for compression in KINDS {
        let mut content = noise(2, 150);
        content.extend_from_slice(&"words, words, words. ".repeat(30).into_bytes());
        let bytes = packed(compression, &content);
        let mut refused = 0;
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match unpack(&damaged) {
                Ok(read) => assert!(read == content, "{compression:?} bit {bit}"),
                outcome => {
                    reason(outcome);
                    refused += 1;
                }
            }
        }
        // Free are gzip's time, system and flags, and zstd's window and unused flags.
        assert!(refused >= bytes.len() * 8 - 80, "{compression:?} {refused}");
    }
}

#[test]
fn concatenated_streams_are_one() {
    for compression in KINDS {
        let mut bytes = packed(compression, b"one, ");
        bytes.extend(packed(compression, b""));
        bytes.extend(packed(compression, b"two"));
        assert_eq!(unpack(&bytes).unwrap(), b"one, two");
    }
    let mut mixed = packed(Compression::Gzip, b"one");
    mixed.extend(packed(Compression::Zstd, b"two"));
    reason(unpack(&mixed));
}

#[test]
fn nothing_may_follow() {
    for compression in KINDS {
        let bytes = packed(compression, b"content");
        for rest in [&b"\0"[..], b"\n", b"more", &[0; 600], &bytes[..7]] {
            let mut followed = bytes.clone();
            followed.extend_from_slice(rest);
            reason(unpack(&followed));
        }
        let archive = TestArchive::of(&bytes);
        let mut decompressor = Decompressor::new(&archive, 200).unwrap();
        assert_eq!(decompressor.read(&mut [0; 3]), Ok(3));
        assert!(reason(decompressor.finish()).contains("data follows"));
    }
}

#[test]
fn an_error_stays() {
    let mut bytes = packed(Compression::Gzip, b"content");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let archive = TestArchive::of(&bytes);
    let mut decompressor = Decompressor::new(&archive, 200).unwrap();
    assert_eq!(decompressor.read(&mut [0; 9]), Ok(7));
    reason(decompressor.read(&mut [0; 9]));
    reason(decompressor.read(&mut [0; 9]));
    reason(decompressor.finish());
}

#[test]
fn errors_of_the_archive_pass_unchanged() {
    for compression in KINDS {
        let content = noise(3, 3 << 20);
        let bytes = packed(compression, &content);
        for call in 1..=8 {
            let archive = TestArchive::of(&bytes);
            archive.fail_at(call);
            assert_eq!(drain(&archive, 1 << 16, 200), Err(archive_failure()));
            let archive = TestArchive::default();
            archive.fail_at(call);
            let mut compressor = Compressor::new(&archive, compression, None).unwrap();
            let outcome = compressor
                .write(&content)
                .and_then(|()| compressor.finish());
            assert_eq!(outcome, Err(archive_failure()));
        }
    }
}

/// A zstd frame without checksum that repeats blocks of 128 KiB zeros.
fn zstd_zeros(blocks: usize) -> Vec<u8> {
    // A window of 128 KiB; blocks of type RLE, the last one flagged.
    let mut bytes = [&ZSTD_MAGIC[..], &[0, 7 << 3]].concat();
    for block in 1..=blocks {
        let header = (128 << 10) << 3 | 1 << 1 | u32::from(block == blocks);
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

#[test]
fn bombs_are_refused_past_64_mib() {
    let gzip = |mebibytes: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; mebibytes << 20]).unwrap();
        TestArchive::of(&encoder.finish().unwrap())
    };
    let zstd = |mebibytes: usize| TestArchive::of(&zstd_zeros(mebibytes * 8));
    for (free, bomb) in [(gzip(64), gzip(66)), (zstd(64), zstd(66))] {
        let (all, _) = drain(&free, 1 << 20, 1).unwrap();
        assert_eq!(all.len(), 64 << 20);
        let message = reason(drain(&bomb, 1 << 20, 100));
        assert!(message.contains("`max-expansion` (100)"), "{message}");
        bomb.position.set(0);
        let (all, _) = drain(&bomb, 1 << 20, 1_000_000).unwrap();
        assert_eq!(all.len(), 66 << 20);
    }
}

/// Streams of `parts` pieces that hold nothing, or a byte each.
fn empty_streams(parts: usize) -> Vec<(&'static str, Vec<u8>)> {
    let zstd = |blocks: &[u8]| [&ZSTD_MAGIC[..], &[0, 7 << 3], blocks].concat();
    // A stored block without content, and the last one.
    let stored = [&[0, 0, 0, 0xff, 0xff].repeat(parts)[..], &[3, 0]].concat();
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    vec![
        ("gzip members", packed(Compression::Gzip, b"").repeat(parts)),
        (
            "gzip members of a byte",
            packed(Compression::Gzip, b"a").repeat(parts),
        ),
        ("gzip blocks", [&header[..], &stored, &[0; 8]].concat()),
        ("zstd frames", zstd(&[1, 0, 0]).repeat(parts)),
        (
            "zstd frames of a byte",
            zstd(&[1 << 3 | 1, 0, 0, 7]).repeat(parts),
        ),
        (
            "zstd blocks",
            zstd(&[&[0, 0, 0].repeat(parts)[..], &[1, 0, 0]].concat()),
        ),
    ]
}

#[test]
fn streams_that_hold_nothing_end_early() {
    for (what, bytes) in empty_streams(100) {
        let len = if what.ends_with("byte") { 100 } else { 0 };
        assert_eq!(unpack(&bytes).map(|all| all.len()), Ok(len), "{what}");
    }
    for (what, bytes) in empty_streams(1_000_000) {
        for piece in [0, 1000] {
            let archive = TestArchive::of(&bytes);
            archive.piece.set(piece);
            let message = reason(drain(&archive, 1 << 16, 200));
            assert!(message.contains("compress it again"), "{what}: {message}");
            // Of 3 to 21 million bytes.
            let read = archive.position.get();
            assert!(read <= 2 * PIECE, "{what}: {read} bytes");
        }
    }
}

#[test]
fn small_streams_that_hold_something_are_read() {
    let part = noise(4, 1000);
    for compression in KINDS {
        let bytes = packed(compression, &part).repeat(20_000);
        let (all, _) = drain(&TestArchive::of(&bytes), 1 << 16, 200).unwrap();
        assert!(
            all.len() == 20_000_000 && all.ends_with(&part),
            "{compression:?}"
        );
    }
}

/// Everything that went in comes out by the default limits, from an archive that gives one byte at
/// a time.
fn check_written(compression: Compression, level: Option<u8>, parts: &[&[u8]]) -> Sizes {
    let (archive, sizes) = pack(compression, level, parts);
    archive.piece.set(1);
    let mut decompressor = Decompressor::new(&archive, MAX_EXPANSION).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for part in parts {
        let mut part = *part;
        while !part.is_empty() {
            let most = part.len().min(buffer.len());
            let read = decompressor.read(&mut buffer[..most]).unwrap();
            assert!(read > 0 && buffer[..read] == part[..read]);
            part = &part[read..];
        }
    }
    assert_eq!(decompressor.finish(), Ok(sizes));
    sizes
}

#[test]
fn what_is_written_is_read_by_the_default_limits() {
    let zeros = vec![0; 3_000_000];
    for (compression, level) in [
        (Compression::Gzip, Some(1)),
        (Compression::Gzip, Some(9)),
        (Compression::Zstd, None),
    ] {
        let sizes = check_written(compression, level, &vec![&zeros[..]; 60]);
        let times = sizes.plain / sizes.compressed;
        // It still shrinks as far as it may.
        assert!((80..=100).contains(&times), "{compression:?} {times}");
        let (archive, _) = pack(compression, level, &vec![&zeros[..]; 60]);
        let mut whole = Vec::new();
        if compression == Compression::Gzip {
            // One member, which a reader of one member reads to the end.
            let bytes = archive.bytes.borrow();
            let mut decoder = flate2::bufread::GzDecoder::new(&bytes[..]);
            std::io::Read::read_to_end(&mut decoder, &mut whole).unwrap();
            assert!(decoder.into_inner().is_empty());
            assert_eq!(whole.len(), 180_000_000);
        }
    }
}

#[test]
fn what_is_small_or_shrinks_little_is_never_stored() {
    let zeros = vec![0; 1 << 20];
    let text = "question 1234, answer 4321: ".repeat(40_000).into_bytes();
    for compression in KINDS {
        let few = vec![&zeros[..]; HEEDED_FROM as usize >> 20];
        assert!(check_written(compression, None, &few).compressed < 256 << 10);
    }
    // As flate2 and ruzstd make them.
    let mut mixed = text;
    mixed.extend(noise(9, 1 << 20));
    let parts = vec![&mixed[..]; 40];
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    let mut frames = 0;
    for part in &parts {
        encoder.write_all(part).unwrap();
    }
    let all = parts.concat();
    for frame in all.chunks(FRAME) {
        frames += ruzstd::encoding::compress_to_vec(frame, CompressionLevel::Fastest).len() as u64;
    }
    let plain = encoder.finish().unwrap().len() as u64;
    let gzip = check_written(Compression::Gzip, None, &parts).compressed;
    // Blocks begin elsewhere where the buffers are others.
    assert!(gzip.abs_diff(plain) < plain / 10_000, "{gzip} {plain}");
    assert_eq!(
        check_written(Compression::Zstd, None, &parts).compressed,
        frames
    );
}

#[test]
fn zstd_windows_are_bounded_before_they_are_allocated() {
    let frame = |window: u8| [&ZSTD_MAGIC[..], &[0, window, 1, 0, 0]].concat();
    assert_eq!(unpack(&frame(13 << 3)), Ok(Vec::new()));
    // 8 MiB and an eighth; the most that the format has.
    for window in [13 << 3 | 1, 0xff] {
        let message = reason(unpack(&frame(window)));
        assert!(message.contains("window"), "{message}");
    }
    // One segment of 2^40 bytes.
    let segment = [&ZSTD_MAGIC[..], &[0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]].concat();
    assert!(reason(unpack(&segment)).contains("window"));
}

#[test]
fn zstd_dictionaries_skippable_frames_and_wrong_sizes_are_refused() {
    let dictionary = [&ZSTD_MAGIC[..], &[1, 0, 9, 1, 0, 0]].concat();
    assert!(reason(unpack(&dictionary)).contains("dictionary"));
    let mut skippable = packed(Compression::Zstd, b"content");
    skippable.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    assert!(reason(unpack(&skippable)).contains("other data"));
    // One segment of three bytes that holds a raw block of two.
    let short = [&ZSTD_MAGIC[..], &[0x20, 3, 2 << 3 | 1, 0, 0, 7, 7]].concat();
    assert!(reason(unpack(&short)).contains("2 bytes came out of a frame of 3"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_parts_and_pieces(
        parts in prop::collection::vec((any::<u64>(), 0usize..40_000, any::<bool>()), 0..8),
        zstd in any::<bool>(),
        piece in 1usize..5000,
        step in 1usize..5000,
    ) {
        let parts: Vec<Vec<u8>> = parts
            .into_iter()
            .map(|(seed, len, flat)| if flat { vec![seed as u8; len] } else { noise(seed, len) })
            .collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let (archive, written) = pack(KINDS[usize::from(zstd)], None, &slices);
        archive.piece.set(piece);
        let (read, sizes) = drain(&archive, step, 200).unwrap();
        prop_assert!(read == parts.concat());
        prop_assert_eq!(written, sizes);
    }

    #[test]
    fn damage_is_refused_or_harmless(
        seed in any::<u64>(),
        zstd in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut content = noise(seed, 300);
        content.extend("some words. ".repeat(50).into_bytes());
        let mut bytes = packed(KINDS[usize::from(zstd)], &content);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        match unpack(&bytes) {
            Ok(read) => prop_assert!(read == content),
            outcome => drop(reason(outcome)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// In any order of what shrinks and what does not.
    #[test]
    fn no_archive_shrinks_too_far(
        parts in prop::collection::vec((any::<u64>(), 0usize..200_000, 1usize..8_000_000), 12..30),
        zstd in any::<bool>(),
        level in 1u8..=9,
    ) {
        let parts: Vec<Vec<u8>> = parts
            .into_iter()
            .map(|(seed, noisy, flat)| {
                let mut part = match seed % 4 {
                    0 => noise(seed, noisy),
                    _ => Vec::new(),
                };
                part.resize(part.len() + flat, seed as u8);
                part
            })
            .collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let (compression, level) = match zstd {
            true => (Compression::Zstd, None),
            false => (Compression::Gzip, Some(level)),
        };
        check_written(compression, level, &slices);
    }
}
