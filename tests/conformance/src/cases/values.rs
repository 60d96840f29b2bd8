//! Text comes back byte for byte, and vectors bit for bit.

use crate::battery::{Spec, case};
use crate::case::{Case, ids, owned};
use crate::check::{Checked, check, equal, same_entries};
use crate::contract::Entry;
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        odd_queries_are_kept,
        "queries of any characters are kept byte for byte"
    ),
    case!(
        odd_responses_are_kept,
        "responses of any characters are kept byte for byte"
    ),
    case!(
        empty_texts_are_kept,
        "an empty query and an empty response are kept"
    ),
    case!(
        characters_beyond_the_first_plane_are_kept,
        "text of 4-byte characters is kept, alone and between others"
    ),
    case!(
        metadata_keeps_order_and_spaces,
        "the order of keys, spaces and line ends of metadata are kept"
    ),
    case!(
        metadata_keeps_the_spelling_of_numbers,
        "numbers in metadata keep their spelling and all their digits"
    ),
    case!(
        metadata_keeps_escapes,
        "escapes in metadata, NUL and half surrogates included, keep their spelling"
    ),
    case!(
        metadata_keeps_keys_that_come_twice,
        "a key that comes twice in metadata stays twice"
    ),
    case!(
        metadata_may_be_nested_deeply,
        "metadata of 60 levels is kept"
    ),
    case!(
        vectors_are_kept_bit_for_bit,
        "vectors keep every bit, in entries and in pages"
    ),
    case!(the_sign_of_zero_is_kept, "-0.0 in a vector is not 0.0"),
    case!(
        tiny_values_are_kept,
        "subnormal numbers in a vector are kept"
    ),
    case!(
        every_position_of_a_vector_is_kept,
        "a vector with its weight at any position is kept"
    ),
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
    case.holds_all("the entries are as they were inserted", &stored)?;
    let page = case.since(stored[0].id - 1, stored.len() as u32)?;
    same_entries(
        "iter-since: the entries are as they were inserted",
        &page,
        &stored,
    )
}

fn odd() -> Vec<String> {
    owned(data::ODD_TEXTS)
}

fn metadata_is_kept(case: &mut Case, texts: &[&str]) -> Checked {
    texts_are_kept(case, &owned(texts), |entry, metadata| Entry {
        metadata,
        ..entry
    })
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
        &[
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":null},"c":0,"a":[]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ],
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
        .map(|(vector, n)| Entry {
            embedding: vector.clone(),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.holds_all("its vector is as it was inserted", &stored)?;
    let page = case.vectors(stored[0].id - 1, stored.len() as u32)?;
    equal("the ids of iter-vectors", page.ids, ids(&stored))?;
    let wanted = vectors.concat();
    check(
        show::vectors(&wanted, &page.vectors).is_none(),
        "iter-vectors: the vectors are as they were inserted",
        || show::vectors(&wanted, &page.vectors).unwrap_or_default(),
    )?;
    let page = case.since(stored[0].id - 1, stored.len() as u32)?;
    same_entries(
        "iter-since: the vectors are as they were inserted",
        &page,
        &stored,
    )
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
    let tiny = [
        f32::from_bits(1),
        -f32::from_bits(1),
        f32::MIN_POSITIVE / 2.0,
        f32::MIN_POSITIVE,
        1e-30,
        -1e-38,
    ];
    let vectors = tiny
        .into_iter()
        .zip(0..)
        .map(|(value, n)| spike(dim, n, value))
        .collect();
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
