//! What is stored comes back: text byte for byte, vectors bit for bit, numbers exactly.

use crate::battery::{Spec, case};
use crate::case::{Case, GREATEST, START, ids};
use crate::check::{About, Checked, Kind, check, equal, failed, refused, same_entries};
use crate::contract::{Entry, Touch, store};
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(odd_queries_are_kept, "queries of any characters are kept byte for byte"),
    case!(odd_responses_are_kept, "responses of any characters are kept byte for byte"),
    case!(empty_texts_are_kept, "an empty query and an empty response are kept"),
    case!(characters_beyond_the_first_plane_are_kept, "text of 4-byte characters is kept, alone and between others"),
    case!(metadata_keeps_order_and_spaces, "the order of keys, spaces and line ends of metadata are kept"),
    case!(metadata_keeps_the_spelling_of_numbers, "numbers in metadata keep their spelling and all their digits"),
    case!(metadata_keeps_escapes, "escapes in metadata, NUL and half surrogates included, keep their spelling"),
    case!(metadata_keeps_keys_that_come_twice, "a key that comes twice in metadata stays twice"),
    case!(metadata_may_be_nested_deeply, "metadata of 60 levels is kept"),
    case!(vectors_are_kept_bit_for_bit, "vectors keep every bit, in entries and in pages"),
    case!(the_sign_of_zero_is_kept, "-0.0 in a vector is not 0.0"),
    case!(tiny_values_are_kept, "subnormal numbers in a vector are kept"),
    case!(every_position_of_a_vector_is_kept, "a vector with its weight at any position is kept"),
    case!(a_response_of_many_kilobytes_is_kept, "a response of 300,000 bytes is kept and read by every operation"),
    case!(a_query_of_many_kilobytes_is_kept, "a query of 200,000 bytes is kept"),
    case!(metadata_of_many_kilobytes_is_kept, "metadata of 60,000 bytes is kept"),
    case!(a_response_of_a_megabyte_is_kept_or_refused, "a response of 1 MB is kept, or refused and nothing stored"),
    case!(a_response_of_four_megabytes_is_kept_or_refused, "a response of 4 MB is kept, or refused and nothing stored"),
    case!(a_refused_replacement_leaves_the_entry, "where a huge replacement is refused, the old entry stays"),
    case!(zeros_are_kept, "times, ttl and counts of 0 are kept, ttl 0 not being none"),
    case!(great_numbers_are_kept_exactly, "times, ttl and counts up to 2^53 - 1 are kept exactly"),
    case!(greater_numbers_are_kept_or_refused, "numbers from 2^53 on are kept exactly, or refused and nothing stored"),
    case!(greater_quotas_are_kept_or_refused, "quotas from 2^53 on are kept exactly, or refused"),
    case!(greater_times_of_touches_are_kept_or_refused, "touches at times from 2^53 on are kept exactly, or refused"),
    case!(greater_times_are_no_trap_for_deletes, "delete-expired and delete-unchanged take or refuse any time"),
];

/// Stores an entry for each text, in lists, and reads all of them in every way.
fn texts_are_kept(case: &mut Case, texts: &[String], put: fn(Entry, String) -> Entry) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = texts
        .iter()
        .zip(0..)
        .map(|(text, n)| put(case.entry(&space, n), text.clone()))
        .collect();
    let stored = case.insert(&list)?;
    for (entry, text) in stored.iter().zip(texts) {
        case.holds("it is as it was inserted", entry)
            .about(|| format!("the text {}", show::value(text)))?;
    }
    let page = case.since(stored[0].id - 1, stored.len() as u32)?;
    same_entries("iter-since: the entries are as they were inserted", &page, &stored)
}

fn odd() -> Vec<String> {
    data::ODD_TEXTS.iter().map(|text| (*text).to_owned()).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn metadata_is_kept(case: &mut Case, texts: &[&str]) -> Checked {
    texts_are_kept(case, &owned(texts), |entry, metadata| Entry { metadata, ..entry })
}

fn odd_queries_are_kept(case: &mut Case) -> Checked {
    texts_are_kept(case, &odd(), |entry, query| Entry { query, ..entry })
}

fn odd_responses_are_kept(case: &mut Case) -> Checked {
    texts_are_kept(case, &odd(), |entry, response| Entry { response, ..entry })
}

fn empty_texts_are_kept(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(Entry {
        query: String::new(),
        response: String::new(),
        metadata: "{}".to_owned(),
        ..case.entry(&space, 1)
    })?;
    case.holds("the texts are empty", &stored)
}

fn characters_beyond_the_first_plane_are_kept(case: &mut Case) -> Checked {
    let texts = [
        "🦀".repeat(1_000),
        format!("{}🦀", "a".repeat(4_095)),
        "a🦀é\u{FFFF}\u{10000}".repeat(300),
        (0x1F300..0x1F600).filter_map(char::from_u32).collect(),
        "\u{10FFFF}\0\u{10FFFF}".to_owned(),
    ];
    texts_are_kept(case, &texts, |entry, text| Entry {
        query: text.clone(),
        metadata: format!("{{\"t\":\"{}\"}}", text.replace('\0', "")),
        response: text,
        ..entry
    })
}

fn metadata_keeps_order_and_spaces(case: &mut Case) -> Checked {
    metadata_is_kept(
        case,
        &[
            "{}",
            "{ }",
            r#"{"z":1,"a":2,"m":{"y":1,"b":2},"aa":0}"#,
            r#"{ "a" : 1 , "b" : [ 1 , 2 ] }"#,
            "{\n  \"a\": 1,\r\n\t\"b\": 2\n}",
            r#"{"":0," ":1,"a b":2}"#,
            " {\"a\":1} \n",
        ],
    )
}

fn metadata_keeps_the_spelling_of_numbers(case: &mut Case) -> Checked {
    metadata_is_kept(
        case,
        &[
            r#"{"a":1.0,"b":1,"c":1.50,"d":1e2,"e":1E+2,"f":-0,"g":-0.0}"#,
            r#"{"a":9007199254740993,"b":123456789012345678901234567890}"#,
            r#"{"a":0.1000000000000000055511151231257827,"b":1e-400,"c":1e400}"#,
            r#"{"a":5e-324,"b":1.7976931348623157e308,"c":100000000000000000000000}"#,
        ],
    )
}

fn metadata_keeps_escapes(case: &mut Case) -> Checked {
    metadata_is_kept(
        case,
        &[
            r#"{"a":"\u0000","b":"x\u0000y"}"#,
            r#"{"a":"\u0041","b":"A","c":"\/","d":"/"}"#,
            r#"{"a":"\ud83e\udd80","b":"🦀"}"#,
            r#"{"a":"\ud800","b":"\udc00x"}"#,
            r#"{"\u0061":1,"k\"\\\n":2}"#,
            r#"{"a":"\b\f\n\r\t\"\\"}"#,
            "{\"a\":\"é e\u{301} \u{7F}\u{2028}\"}",
        ],
    )
}

fn metadata_keeps_keys_that_come_twice(case: &mut Case) -> Checked {
    metadata_is_kept(
        case,
        &[r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"b":null},"c":0,"a":[]}"#, r#"{"a":1,"\u0061":2}"#],
    )
}

fn metadata_may_be_nested_deeply(case: &mut Case) -> Checked {
    let objects = format!("{}0{}", "{\"a\":".repeat(60), "}".repeat(60));
    let lists = format!("{{\"a\":{}1{}}}", "[".repeat(59), "]".repeat(59));
    let mixed = r#"{"null":null,"true":true,"list":[1,"2",[3],{}],"object":{"a":{"b":{"c":[]}}}}"#;
    metadata_is_kept(case, &[&objects, &lists, mixed])
}

fn vectors_are_kept_exactly(case: &mut Case, vectors: Vec<Vec<f32>>) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = vectors
        .iter()
        .zip(0..)
        .map(|(vector, n)| Entry { embedding: vector.clone(), ..case.entry(&space, n) })
        .collect();
    let stored = case.insert(&list)?;
    for entry in &stored {
        case.holds("its vector is as it was inserted", entry)?;
    }
    let page = case.vectors(stored[0].id - 1, stored.len() as u32)?;
    equal("the ids of iter-vectors", page.ids, ids(&stored))?;
    let wanted = vectors.concat();
    check(
        show::vectors(&wanted, &page.vectors).is_none(),
        "iter-vectors: the vectors are as they were inserted",
        || show::vectors(&wanted, &page.vectors).unwrap_or_default(),
    )?;
    let page = case.since(stored[0].id - 1, stored.len() as u32)?;
    same_entries("iter-since: the vectors are as they were inserted", &page, &stored)
}

/// A vector that is 1 at one place and `rest` elsewhere, which must be next to nothing.
fn spike(dim: u32, place: u32, rest: f32) -> Vec<f32> {
    let mut vector = vec![rest; dim as usize];
    vector[(place % dim) as usize] = 1.0;
    vector
}

fn vectors_are_kept_bit_for_bit(case: &mut Case) -> Checked {
    let vectors = (0..30).map(|n| case.vector(n)).collect();
    vectors_are_kept_exactly(case, vectors)
}

fn the_sign_of_zero_is_kept(case: &mut Case) -> Checked {
    case.needs_dim(2)?;
    let dim = case.dim;
    let vectors = (0..4)
        .map(|n| spike(dim, n, if n % 2 == 0 { -0.0 } else { 0.0 }))
        .collect();
    vectors_are_kept_exactly(case, vectors)
}

fn tiny_values_are_kept(case: &mut Case) -> Checked {
    case.needs_dim(2)?;
    let dim = case.dim;
    let tiny = [f32::from_bits(1), -f32::from_bits(1), f32::MIN_POSITIVE / 2.0, f32::MIN_POSITIVE, 1e-30, -1e-38];
    let vectors = tiny.into_iter().zip(0..).map(|(value, n)| spike(dim, n, value)).collect();
    vectors_are_kept_exactly(case, vectors)
}

fn every_position_of_a_vector_is_kept(case: &mut Case) -> Checked {
    let dim = case.dim;
    let step = dim.div_ceil(24);
    let mut places: Vec<_> = (0..dim).step_by(step as usize).collect();
    places.push(dim - 1);
    let vectors = places
        .into_iter()
        .flat_map(|place| {
            let up = spike(dim, place, 0.0);
            let down = up.iter().map(|value| -value).collect();
            [up, down]
        })
        .collect();
    vectors_are_kept_exactly(case, vectors)
}

/// This many bytes, or fewer where the vectors take much of what an entry may hold.
fn room(case: &Case, bytes: usize) -> usize {
    bytes.min(360_000_usize.saturating_sub(case.dim as usize * 4))
}

fn large_entry_is_kept(case: &mut Case, change: fn(Entry, String) -> Entry, bytes: usize) -> Checked {
    let space = case.space("a");
    let text = case.long_text(1, room(case, bytes));
    let stored = case.put(change(case.entry(&space, 1), text))?;
    let small = case.put(case.entry(&space, 2))?;
    case.holds("the large entry is as it was inserted", &stored)?;
    let page = case.since(stored.id - 1, 2)?;
    same_entries("iter-since: both entries are as they were inserted", &page, &[stored.clone(), small])?;
    case.touch(&[Touch { id: stored.id, hits: 1, last_accessed_at: START }])?;
    let touched = Entry { access_count: stored.access_count + 1, ..stored };
    case.holds("the large entry is as it was, after a touch", &touched)
}

fn a_response_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    large_entry_is_kept(case, |entry, response| Entry { response, ..entry }, 300_000)
}

fn a_query_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    large_entry_is_kept(case, |entry, query| Entry { query, ..entry }, 200_000)
}

fn metadata_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    large_entry_is_kept(
        case,
        |entry, text| Entry { metadata: format!("{{\"t\":\"{}\"}}", text.replace('\n', "\\n")), ..entry },
        60_000,
    )
}

/// Inserts an entry that a store may refuse. True where it was taken.
fn kept_or_refused(case: &mut Case, doing: &str, entry: Entry) -> Checked<bool> {
    case.namespaces.insert(entry.namespace.clone());
    let before = case.version()?;
    let count = case.count(Some(&entry.namespace))?;
    let present = case.find(&entry)?;
    match store::insert(std::slice::from_ref(&entry)) {
        Ok(inserted) => {
            let id = inserted.first().map_or(0, |one| one.id);
            case.holds(&format!("{doing} was taken, and is kept exactly"), &Entry { id, ..entry })?;
            Ok(true)
        }
        Err(error) => {
            refused(&format!("{doing}, if it is refused,"), Err::<(), _>(error), &[Kind::InvalidArgument])?;
            case.moved(before, 0, &format!("{doing}, being refused,"))?;
            let after = case.find(&entry)?;
            check(after == present, format!("{doing}, being refused, changes nothing"), || {
                "another entry is under its key".to_owned()
            })?;
            equal("the count after a refusal", case.count(Some(&entry.namespace))?, count)?;
            Ok(false)
        }
    }
}

fn huge_response(case: &mut Case, bytes: usize) -> Checked {
    let space = case.space("a");
    let response = case.long_text(1, bytes);
    let doing = format!("insert of a response of {bytes} bytes");
    kept_or_refused(case, &doing, Entry { response, ..case.entry(&space, 1) })?;
    let next = case.put(case.entry(&space, 2))?;
    case.holds("the store takes the next entry", &next)
}

fn a_response_of_a_megabyte_is_kept_or_refused(case: &mut Case) -> Checked {
    huge_response(case, 1 << 20)
}

fn a_response_of_four_megabytes_is_kept_or_refused(case: &mut Case) -> Checked {
    huge_response(case, 4 << 20)
}

fn a_refused_replacement_leaves_the_entry(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 2))?;
    let huge = Entry { response: case.long_text(1, 2 << 20), ..stored[0].clone() };
    if case.capabilities.max_batch < 2 {
        return kept_or_refused(case, "a replacement with 2 MB", huge).map(|_| ());
    }
    // A small replacement in the same list must not be stored either.
    let small = Entry { response: "new".to_owned(), ..stored[1].clone() };
    match store::insert(&[small.clone(), huge.clone()]) {
        Ok(_) => {
            case.holds("the small replacement was taken", &small)?;
            case.holds("the huge replacement was taken, and is kept exactly", &huge)
        }
        Err(error) => {
            refused("a replacement with 2 MB, if it is refused,", Err::<(), _>(error), &[Kind::InvalidArgument])?;
            case.holds("the small entry is as it was after a refusal", &stored[1])?;
            case.holds("the entry is as it was after a refusal", &stored[0])
        }
    }
}

fn zeros_are_kept(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&[
        Entry { created_at: 0, last_accessed_at: 0, access_count: 0, ..case.entry(&space, 1) },
        Entry { ttl: Some(0), access_count: 0, ..case.entry(&space, 2) },
    ])?;
    case.holds("times of 0 are kept", &stored[0])?;
    case.holds("a ttl of 0 is kept", &stored[1])?;
    equal("the times by iter-stamps", case.stamps(stored[0].id - 1, 1)?.created_at, [0])
}

/// A field of an entry, and how it is set.
type Field = (&'static str, fn(&mut Entry, u64));

const NUMBERS: [Field; 4] = [
    ("created-at", |entry, value| entry.created_at = value),
    ("last-accessed-at", |entry, value| entry.last_accessed_at = value),
    ("ttl", |entry, value| entry.ttl = Some(value)),
    ("access-count", |entry, value| entry.access_count = value),
];

fn great_numbers_are_kept_exactly(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut n = 0;
    for value in [1 << 31, u64::from(u32::MAX), 1 << 32, (1 << 52) + 1, GREATEST - 1, GREATEST] {
        for (field, set) in NUMBERS {
            // A ttl that ends too soon may be cut short by a backend's own clock.
            let mut entry = Entry { created_at: START, ..case.entry(&space, n) };
            set(&mut entry, value);
            let stored = case.put(entry)?;
            case.holds("it is kept exactly", &stored).about(|| format!("{field} {value}"))?;
            n += 1;
        }
    }
    let all = GREATEST;
    let stored = case.put(Entry {
        created_at: all,
        last_accessed_at: all,
        ttl: Some(all),
        access_count: all,
        ..case.entry(&space, n)
    })?;
    case.holds("all numbers of 2^53 - 1 are kept exactly", &stored)?;
    let last = case.lru(100, Some(&space))?.last().map(|one| (one.id, one.created_at));
    equal("the most recently used, by the greatest time", last, Some((stored.id, all)))
}

/// Numbers that a store may refuse.
const GREATER: [u64; 6] = [GREATEST + 1, GREATEST + 2, i64::MAX as u64, 1 << 63, (1 << 63) + 1, u64::MAX];

fn greater_numbers_are_kept_or_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut n = 0;
    for value in GREATER {
        for (field, set) in NUMBERS {
            let mut entry = Entry { created_at: START, ..case.entry(&space, n) };
            set(&mut entry, value);
            kept_or_refused(case, &format!("insert of {field} {value}"), entry)?;
            n += 1;
        }
    }
    let next = case.put(case.entry(&space, n))?;
    case.holds("the store takes the next entry", &next)
}

fn greater_quotas_are_kept_or_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.set_quota(&space, Some(7))?;
    let mut present = 7;
    for value in GREATER {
        match store::set_namespace_quota(&space, Some(value)) {
            Ok(()) => present = value,
            Err(error) => refused(
                &format!("set-namespace-quota to {value}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?,
        }
        equal(&format!("the quota after it was set to {value} or refused"), case.quota(&space)?, Some(present))?;
    }
    Ok(())
}

fn greater_times_of_touches_are_kept_or_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut other = case.put(case.entry(&space, 1))?;
    let mut stored = case.put(case.entry(&space, 2))?;
    for value in GREATER {
        let touches = [
            Touch { id: other.id, hits: 1, last_accessed_at: 0 },
            Touch { id: stored.id, hits: 1, last_accessed_at: value },
        ];
        match store::update_access(&touches) {
            Ok(()) => {
                other.access_count += 1;
                stored.access_count += 1;
                stored.last_accessed_at = stored.last_accessed_at.max(value);
            }
            Err(error) => refused(
                &format!("a touch at {value}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?,
        }
        for entry in [&stored, &other] {
            case.holds("it is kept exactly, or nothing changed", entry)
                .about(|| format!("a touch at {value}"))?;
        }
    }
    Ok(())
}

fn greater_times_are_no_trap_for_deletes(case: &mut Case) -> Checked {
    let space = case.space("a");
    for value in GREATER {
        let stored = case.put(Entry { created_at: START, ttl: Some(5), ..case.entry(&space, 1) })?;
        match store::delete_expired(value, Some(&space), 10) {
            Ok(gone) => {
                let gone: Vec<_> = gone.iter().map(|one| one.id).collect();
                equal(&format!("the ids expired at {value}"), gone, [stored.id])?;
            }
            Err(error) => {
                refused(
                    &format!("delete-expired at {value}, if it is refused,"),
                    Err::<(), _>(error),
                    &[Kind::InvalidArgument],
                )?;
                case.holds("the entry stays after a refusal", &stored)?;
            }
        }
        let kept = case.put(case.entry(&space, 2))?;
        let mut named = crate::case::reference(&kept);
        named.created_at = value;
        match store::delete_unchanged(&[named]) {
            Ok(deleted) if deleted.is_empty() => {}
            Ok(deleted) => {
                return Err(failed(
                    format!("delete-unchanged of version {value}, which is not stored, deletes nothing"),
                    format!("it deleted {deleted:?}"),
                ));
            }
            Err(error) => refused(
                &format!("delete-unchanged of version {value}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?,
        }
        case.holds("an entry of another version stays", &kept)?;
    }
    Ok(())
}
