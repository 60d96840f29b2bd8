//! Words that exclude each other.

use super::bytes::parts;
use super::class;
use super::language::{Affix, Language};
use super::matching::unmatched;
use super::text::{Hit, Text};
use super::{Evidence, Pair, Span, names, roles};

/// The most words without a partner that are counted as differing.
const TRIED: usize = 24;

/// The most words without a partner that are compared by their beginnings and ends.
const COMPARED: usize = 16;

/// Of so many words one may differ in texts that are otherwise the same.
const SAME: usize = 5;

/// The least letters of a word behind or before an affix.
const LEAST_ROOT: usize = 3;

/// Words that exclude each other, the one in the query, the other in the entry.
pub fn find(pair: &Pair) -> Option<Evidence> {
    on_axes(pair, false)
        .or_else(|| by_affixes(pair))
        .or_else(|| other_question(pair))
}

/// Times that exclude each other.
pub fn times(pair: &Pair) -> Option<Evidence> {
    on_axes(pair, true)
}

/// Question words exclude each other where all else is the same: `when was he born`, `where was he
/// born`.
fn other_question(pair: &Pair) -> Option<Evidence> {
    let least = pair.query.content().min(pair.entry.content());
    if pair.left.len() > least / SAME {
        return None;
    }
    names::question(pair)
}

/// An axis on which two texts exclude each other.
struct Contrary {
    /// The first place of the query on it.
    query: Hit,
    /// The first place of the entry.
    entry: Hit,
    /// Both texts take another pole too: `the first final`, `the last final`.
    shared: bool,
}

/// The axes on which two texts exclude each other. Poles that both take cancel out.
pub struct Contraries {
    found: Vec<Contrary>,
    /// The first tokens of what takes a pole in the query.
    query: Vec<usize>,
    /// The same for the entry.
    entry: Vec<usize>,
}

/// The hits at the front that are on an axis.
#[inline(never)]
fn on_axis(hits: &[u64], axis: u32) -> &[u64] {
    let end = hits.iter().position(|hit| Hit(*hit).sense().axis() != axis);
    hits.get(..end.unwrap_or(hits.len())).unwrap_or(&[])
}

/// A bit for each pole of some hits, and one for each of what is negated and what is not.
#[inline(never)]
fn poles(hits: &[u64]) -> (u64, u32) {
    let (mut poles, mut ways) = (0, 0);
    for hit in hits {
        poles |= 1 << (Hit(*hit).sense().pole() & 63);
        ways |= 1 << u32::from(Hit(*hit).negated());
    }
    (poles, ways)
}

/// Adds the first tokens of some hits.
#[inline(never)]
fn push_tokens(hits: &[u64], tokens: &mut Vec<usize>) {
    for hit in hits {
        tokens.push(Hit(*hit).span().0);
    }
}

impl Contraries {
    /// Compares the hits of two texts.
    pub fn new(query: &Text, entry: &Text) -> Self {
        let a = unmatched(&query.hits, &entry.hits);
        let b = unmatched(&entry.hits, &query.hits);
        let (mut a, mut b) = (&a[..], &b[..]);
        let mut all = Self {
            found: Vec::new(),
            query: Vec::new(),
            entry: Vec::new(),
        };
        while let (Some(x), Some(y)) = (a.first(), b.first()) {
            let (query_hit, entry_hit) = (Hit(*x), Hit(*y));
            let axis = query_hit.sense().axis().min(entry_hit.sense().axis());
            let (of_a, of_b) = (on_axis(a, axis), on_axis(b, axis));
            (a, b) = (&a[of_a.len()..], &b[of_b.len()..]);
            let ((x, x_ways), (y, y_ways)) = (poles(of_a), poles(of_b));
            // No pole is taken by both. A negated pole may be any other.
            if x_ways == y_ways && x_ways != 3 && x & y == 0 {
                let start = query
                    .hits
                    .partition_point(|hit| Hit(*hit).sense().axis() < axis);
                all.found.push(Contrary {
                    query: query_hit,
                    entry: entry_hit,
                    shared: on_axis(&query.hits[start..], axis).len() > of_a.len(),
                });
                push_tokens(of_a, &mut all.query);
                push_tokens(of_b, &mut all.entry);
            }
        }
        all
    }
}

/// How many of the first tokens without a partner take no pole on an axis.
#[inline(never)]
fn others(left: &[usize], hits: &[usize]) -> usize {
    let left = left.iter().take(TRIED);
    left.filter(|token| !hits.contains(token)).count()
}

/// The first axis of opposites, or of times, on which the texts exclude each other.
#[inline(never)]
fn on_axes(pair: &Pair, times: bool) -> Option<Evidence> {
    let language = pair.query.language;
    let all = &pair.contraries;
    let differ = others(&pair.left.query, &all.query) + others(&pair.left.entry, &all.entry);
    let is_same = differ <= pair.query.content().min(pair.entry.content()) / SAME;
    let contrary = all.found.iter().find(|contrary| {
        let axis = contrary.query.sense().axis();
        let is_alternative = axis >= language.first_weak;
        let is_time = axis >= language.first_time && !is_alternative;
        is_time == times
            && !is_converse(pair, contrary)
            && if is_alternative || contrary.shared {
                is_same
            } else {
                !is_remedy(pair, contrary.query.span().0, contrary.entry.span().0)
            }
    })?;
    Some(Evidence {
        query: contrary.query.span(),
        entry: contrary.entry.span(),
    })
}

/// Opposites stand between words that changed places, which comes to the same.
pub fn are_turned(pair: &Pair) -> bool {
    let found = &pair.contraries.found;
    found.iter().any(|contrary| is_converse(pair, contrary))
}

/// The opposite words stand between words that changed places, which comes to the same: `A is bigger
/// than B`, `B is smaller than A`.
fn is_converse(pair: &Pair, contrary: &Contrary) -> bool {
    let x = marker(pair.query, contrary.query.span());
    let y = marker(pair.entry, contrary.entry.span());
    match (x, y) {
        (Some(x), Some(y)) => roles::turns(pair, x, y),
        _ => false,
    }
}

/// Opposites are at this marker, or before it.
#[inline(never)]
fn marker(text: &Text, span: Span) -> Option<usize> {
    if text.tokens.is(span.0, class::MARKER) {
        return Some(span.0);
    }
    (span.1..span.1 + 5).find(|at| text.tokens.is(*at, class::COMPARISON))
}

/// The one is a state and the other what is done about it: `my account is locked`, `unlock my account`.
#[inline(never)]
fn is_remedy(pair: &Pair, x: usize, y: usize) -> bool {
    is_state(pair.query, x) != is_state(pair.entry, y)
}

#[inline(never)]
fn is_state(text: &Text, at: usize) -> bool {
    let token = text.tokens.at(at);
    let participle = text.tokens.word(token).ends_with(b"ed") || token.is(class::PARTICIPLE);
    participle && !text.tokens.before(at).is(class::PASSIVE)
}

/// Words that only differ by a beginning or an end that makes them opposites.
fn by_affixes(pair: &Pair) -> Option<Evidence> {
    let (query, entry) = (pair.query, pair.entry);
    let (of_query, of_entry) = (
        stems(query, &pair.left.query),
        stems(entry, &pair.left.entry),
    );
    for (x, of_a) in pair.left.query.iter().zip(parts(&of_query, b' ')) {
        for (y, of_b) in pair.left.entry.iter().zip(parts(&of_entry, b' ')) {
            let (a, b) = (query.tokens.word_at(*x), entry.tokens.word_at(*y));
            let opposed = |a: &[u8]| {
                are_opposed(query.language, a, b)
                    || b != of_b && are_opposed(query.language, a, of_b)
            };
            if (opposed(a) || a != of_a && opposed(of_a))
                && query.is_negated(*x, *x) == entry.is_negated(*y, *y)
                && !is_remedy(pair, *x, *y)
            {
                return Some(Evidence::of(*x, *y));
            }
        }
    }
    None
}

/// The stems of the first of some tokens, with a space behind each.
#[inline(never)]
fn stems(text: &Text, left: &[usize]) -> Vec<u8> {
    let (mut stems, mut stem) = (Vec::new(), Vec::new());
    for at in left.iter().take(COMPARED) {
        text.language.read_form(text.tokens.word_at(*at), &mut stem);
        stem.push(b' ');
        stems.extend_from_slice(&stem);
    }
    stems
}

/// An affix makes opposites of two words.
#[inline(never)]
fn are_opposed(language: &Language, a: &[u8], b: &[u8]) -> bool {
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a.iter().rev().zip(b.iter().rev());
    let back = back.take_while(|(x, y)| x == y).count();
    // Most words share neither, and are done with here.
    if front.max(back) < LEAST_ROOT || front == a.len() && front == b.len() {
        return false;
    }
    for affix in &language.affixes {
        let shared = if affix.is_prefix { back } else { front };
        // So much longer the one must be than the other.
        let (one, other) = (affix.one.len(), affix.other.len());
        let mut left = None;
        if a.len() + other == b.len() + one {
            left = root(affix, a, b, shared);
        }
        if left.is_none() && b.len() + other == a.len() + one {
            left = root(affix, b, a, shared);
        }
        if let Some(root) = left {
            let mut stem = Vec::new();
            let is_listed = parts(affix.words, b' ').any(|word| {
                language.read_form(word, &mut stem);
                word == root || stem == root
            });
            if is_listed == affix.is_only {
                return true;
            }
        }
    }
    false
}

/// What is left of two words without an affix.
#[inline(never)]
fn root<'a>(affix: &Affix, x: &'a [u8], y: &[u8], shared: usize) -> Option<&'a [u8]> {
    let root = if affix.is_prefix {
        y.strip_prefix(affix.other)?;
        x.strip_prefix(affix.one)?
    } else {
        y.strip_suffix(affix.other)?;
        x.strip_suffix(affix.one)?
    };
    (LEAST_ROOT..=shared).contains(&root.len()).then_some(root)
}
