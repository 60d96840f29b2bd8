//! Normalised queries and their hashes are the identity of stored data, so they equal
//! Python's, character by character.

use mneme::{MemoryStore, SemanticCache};
use mneme_tests::embedders::Words;
use mneme_tests::suite::Ran;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

mneme_tests::tests![
    every_scalar_value_is_normalised_as_python_does_it,
    mixed_white_space_and_letters_give_pythons_text_and_hash,
    the_python_at_hand_writes_the_same_table,
];

const TABLE: &str = include_str!("unicode/casefold.txt");

/// What Python says; see `unicode/generate.py`.
#[derive(Default)]
struct Table {
    spaces: Vec<char>,
    folded: HashMap<char, String>,
    all_hash: String,
    queries: Vec<(String, String, String)>,
}

fn table() -> Table {
    let mut table = Table::default();
    let mut section = "";
    for line in TABLE.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            section = title;
        } else if section.starts_with("white space") {
            table.spaces.extend(text(line).chars());
        } else if section.starts_with("case folding") {
            let (from, to) = line.split_once("; ").expect("two columns");
            table
                .folded
                .insert(text(from).chars().next().expect("a scalar"), text(to));
        } else if section.starts_with("SHA-256") {
            table.all_hash = line.to_owned();
        } else {
            table
                .queries
                .push(serde_json::from_str(line).expect("three strings"));
        }
    }
    table
}

/// Scalars as hexadecimal numbers.
fn text(codes: &str) -> String {
    codes
        .split(' ')
        .map(|code| {
            u32::from_str_radix(code, 16)
                .ok()
                .and_then(char::from_u32)
                .expect("a scalar")
        })
        .collect()
}

fn cache() -> SemanticCache {
    mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .open()
        .unwrap()
}

fn every_scalar_value_is_normalised_as_python_does_it() {
    let table = table();
    assert!(
        table.spaces.len() > 20 && table.folded.len() > 1400,
        "the table is cut off"
    );
    let (mut query, mut expected) = (String::new(), String::new());
    for scalar in '\0'..=char::MAX {
        query.extend(['a', scalar, '|']);
        expected.push('a');
        match table.folded.get(&scalar) {
            _ if table.spaces.contains(&scalar) => expected.push(' '),
            Some(folded) => expected.push_str(folded),
            None => expected.push(scalar),
        }
        expected.push('|');
    }
    let normalized = cache().normalize(&query).unwrap();
    let pairs = || normalized.text.chars().zip(expected.chars());
    if let Some(at) = pairs().position(|(is, should)| is != should) {
        let around = |text: &str| {
            text.chars()
                .skip(at.saturating_sub(4))
                .take(9)
                .collect::<String>()
        };
        panic!(
            "{:?} where Python has {:?}",
            around(&normalized.text),
            around(&expected)
        );
    }
    assert_eq!(normalized.text.len(), expected.len());
    assert_eq!(normalized.hash, table.all_hash);
}

fn mixed_white_space_and_letters_give_pythons_text_and_hash() {
    let (cache, table) = (cache(), table());
    assert_eq!(table.queries.len(), 200);
    for (query, text, hash) in table.queries {
        let normalized = cache.normalize(&query).unwrap();
        assert_eq!(
            (normalized.text, normalized.hash),
            (text, hash),
            "{query:?}"
        );
    }
}

fn the_python_at_hand_writes_the_same_table() -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("component/unicode/generate.py");
    let output = Command::new("python3").arg(&script).output();
    let output = output.map_err(|error| format!("no Python: {error}"))?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let written = String::from_utf8(output.stdout).unwrap();
    let (header, rest) = written.split_once('\n').unwrap();
    let known = ["14.0.0", "15.0.0", "15.1.0"];
    if !known.iter().any(|version| header.contains(version)) {
        return Err(format!("this Python has another Unicode version: {header}"));
    }
    let (_, checked_in) = TABLE.split_once('\n').unwrap();
    assert!(
        rest == checked_in,
        "unicode/casefold.txt differs from what {} writes",
        script.display()
    );
    Ok(())
}
