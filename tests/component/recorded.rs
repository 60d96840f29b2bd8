//! A cache without vetoes, a verifier and a bound answers as it did before there were any.

use mneme::embedder::Precomputed;
use mneme::{
    Builder, Explanation, GetRequest, Hit, Lookup, ManualClock, MemoryStore, PutRequest,
    SemanticCache, Ttl,
};
use std::fmt::Write;
use std::time::Duration;

mneme_tests::tests![answers_without_vetoes_and_bound_are_those_of_a_recorded_run];

/// Pairs of questions that look alike.
const PAIRS: &str = include_str!("../trust/near_misses_unseen.jsonl");

/// What [`lines`] gives without vetoes and bound.
const RECORDED: &str = include_str!("recorded.txt");

const DIM: usize = 16;

/// Each word adds to one number or takes from it, by its FNV hash.
fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.125; DIM];
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3)
        });
        let by = if hash >> 40 & 1 == 0 { 1.0 } else { -1.0 };
        vector[(hash >> 50) as usize % DIM] += by;
    }
    vector
}

fn hit(hit: &Hit) -> String {
    format!(
        "hit {} {:?} {:08x} {:08x} {} {:?} {:?}",
        hit.id,
        hit.layer,
        hit.similarity.to_bits(),
        hit.confidence.to_bits(),
        hit.age_seconds,
        hit.ttl_left,
        hit.response
    )
}

fn lookup(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Hit(of) => hit(of),
        Lookup::Miss(miss) => format!("miss {:?}", miss.reason),
    }
}

fn explanation(of: &Explanation) -> String {
    let mut text = format!("explain {:?} of {}", of.outcome, of.rows);
    for one in of.exact.iter().chain(&of.candidates) {
        let _ = write!(
            text,
            "; {} {:08x} {:?}",
            one.id,
            one.similarity.to_bits(),
            one.verdict
        );
    }
    text
}

/// Puts, asks and explains, with thresholds, tags, ages and lifetimes.
fn lines(builder: Builder) -> String {
    let clock = ManualClock::at(1_000_000);
    let cache = builder
        .store(MemoryStore::new())
        .embedder(Precomputed::new("words", DIM as u32))
        .clock(clock.clone())
        .confidence_decay(60_000, 0.5)
        .max_entries(90)
        .open()
        .unwrap();
    let mut lines = String::new();
    let mut asked = Vec::new();
    for (n, line) in PAIRS.lines().take(160).enumerate() {
        let pair: serde_json::Value = serde_json::from_str(line).unwrap();
        let (entry, query) = (
            pair["entry"].as_str().unwrap(),
            pair["query"].as_str().unwrap(),
        );
        clock.advance(Duration::from_secs(97));
        let mut put = PutRequest::new(entry, format!("r{n}")).embedding(vector(entry));
        if n % 5 == 0 {
            put = put.ttl(Ttl::Seconds(1_000));
        }
        if n % 3 == 0 {
            put = put.tag("third");
        }
        cache.put(put).unwrap();
        let threshold = [0.5, 0.7, 0.85, 0.95][n % 4];
        let mut get = GetRequest::new(query)
            .embedding(vector(query))
            .threshold(threshold);
        if n % 7 == 0 {
            get = get.tag("third");
        }
        if n % 11 == 0 {
            get = get.max_age(50);
        }
        let found = cache.get(get.clone()).unwrap();
        let _ = writeln!(lines, "{n} {}", lookup(&found));
        asked.push(get.clone());
        if n % 16 == 15 {
            for found in cache.get_many(std::mem::take(&mut asked)).unwrap() {
                let _ = writeln!(lines, "{n} many {}", lookup(&found));
            }
            let explained = cache.explain(get, 4).unwrap();
            let _ = writeln!(lines, "{n} {}", explanation(&explained.explanation));
        }
    }
    lines
}

fn answers_without_vetoes_and_bound_are_those_of_a_recorded_run() {
    let found = lines(SemanticCache::builder().vetoes([]));
    for (number, (found, recorded)) in found.lines().zip(RECORDED.lines()).enumerate() {
        assert_eq!(found, recorded, "line {}", number + 1);
    }
    assert_eq!(found.lines().count(), RECORDED.lines().count());
}
