//! Words that exclude each other.

use super::language::{Affix, Language, class};
use super::matching::unmatched;
use super::text::{Hit, Text};
use super::{Evidence, Pair, names, roles};

/// The most words without a partner that are compared by their beginnings and ends.
const TRIED: usize = 24;

/// Words that exclude each other, the one in the query, the other in the entry.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let language = pair.query.language?;
    on_axes(pair, language, |axis| {
        !(language.first_time..language.first_weak).contains(&axis)
    })
    .or_else(|| by_affixes(pair, language))
    .or_else(|| other_question(pair))
}

/// Times that exclude each other.
pub fn times(pair: &Pair) -> Option<Evidence> {
    let language = pair.query.language?;
    on_axes(pair, language, |axis| {
        (language.first_time..language.first_weak).contains(&axis)
    })
}

/// Question words exclude each other where all else is the same: `when was he born`, `where was he
/// born`.
fn other_question(pair: &Pair) -> Option<Evidence> {
    let least = pair.query.content().min(pair.entry.content());
    let differ = pair.left.query.len() + pair.left.entry.len();
    if differ > least / SAME {
        None
    } else {
        names::question(pair)
    }
}

/// Of so many words one may differ in texts that are otherwise the same.
const SAME: usize = 5;

/// An axis on which two texts exclude each other.
struct Contrary<'h> {
    axis: u16,
    query: Vec<&'h Hit>,
    entry: Vec<&'h Hit>,
    /// Both texts take another pole too: `the first final`, `the last final`.
    shared: bool,
}

/// The axes on which two texts exclude each other.
fn contraries<'h>(pair: &Pair<'h>) -> Vec<Contrary<'h>> {
    let (mut a, mut b) = (pair.query.hits.as_slice(), pair.entry.hits.as_slice());
    let mut found = Vec::new();
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let axis = x.sense.axis.min(y.sense.axis);
        let (query, entry);
        (query, a) = split(a, axis);
        (entry, b) = split(b, axis);
        found.extend(Contrary::new(axis, query, entry));
    }
    found
}

/// The first axis among some on which the texts exclude each other.
fn on_axes(pair: &Pair, language: &Language, among: impl Fn(u16) -> bool) -> Option<Evidence> {
    let found = contraries(pair);
    let is_strong = |contrary: &Contrary| contrary.axis < language.first_weak && !contrary.shared;
    let is_same = || {
        let all =
            |of: fn(&Contrary<'_>) -> Vec<usize>| found.iter().flat_map(of).collect::<Vec<_>>();
        let query = all(|contrary| contrary.query.iter().map(|hit| hit.first).collect());
        let entry = all(|contrary| contrary.entry.iter().map(|hit| hit.first).collect());
        let others = |left: &[usize], hits: &[usize]| {
            left.iter().filter(|token| !hits.contains(token)).count()
        };
        let differ = others(&pair.left.query, &query) + others(&pair.left.entry, &entry);
        differ <= pair.query.content().min(pair.entry.content()) / SAME
    };
    found
        .iter()
        .filter(|contrary| among(contrary.axis))
        .find(|contrary| {
            !is_converse(pair, contrary)
                && if is_strong(contrary) {
                    !is_remedy(pair, contrary.query[0].first, contrary.entry[0].first)
                } else {
                    is_same()
                }
        })
        .map(|contrary| Evidence {
            query: (contrary.query[0].first, contrary.query[0].last),
            entry: (contrary.entry[0].first, contrary.entry[0].last),
        })
}

/// Opposites stand between words that changed places, which comes to the same.
pub fn are_turned(pair: &Pair) -> bool {
    contraries(pair)
        .iter()
        .any(|contrary| is_converse(pair, contrary))
}

fn split(hits: &[Hit], axis: u16) -> (&[Hit], &[Hit]) {
    hits.split_at(hits.partition_point(|hit| hit.sense.axis == axis))
}

impl<'h> Contrary<'h> {
    /// Poles that both take cancel out. A negated pole may be any other.
    fn new(axis: u16, query: &'h [Hit], entry: &'h [Hit]) -> Option<Self> {
        let places = |hits: &[Hit]| -> Vec<usize> { (0..hits.len()).collect() };
        let (a, b) = unmatched(&places(query), &places(entry), &|x, y| {
            query[x].key().cmp(&entry[y].key())
        });
        let contrary = Self {
            axis,
            shared: a.len() < query.len(),
            query: a.into_iter().map(|at| &query[at]).collect(),
            entry: b.into_iter().map(|at| &entry[at]).collect(),
        };
        let poles = |hits: &[&Hit]| {
            hits.iter()
                .fold(0_u64, |poles, hit| poles | 1 << u32::from(hit.sense.pole))
        };
        let negated = |hits: &[&Hit]| {
            let first = hits.first()?.negated;
            hits.iter().all(|hit| hit.negated == first).then_some(first)
        };
        let (a, b) = (&contrary.query, &contrary.entry);
        let same_way = negated(a).is_some() && negated(a) == negated(b);
        (same_way && poles(a) & poles(b) == 0).then_some(contrary)
    }
}

/// The opposite words stand between words that changed places, which comes to the same: `A is bigger
/// than B`, `B is smaller than A`.
fn is_converse(pair: &Pair, contrary: &Contrary) -> bool {
    let (x, y) = (&contrary.query[0], &contrary.entry[0]);
    let marker = |text: &Text, hit: &Hit| {
        let than = || {
            text.tokens
                .iter()
                .enumerate()
                .skip(hit.last)
                .take(5)
                .find(|(_, token)| token.is(class::COMPARISON))
        };
        if text.tokens[hit.first].is(class::MARKER) {
            Some(hit.first)
        } else {
            than().map(|(at, _)| at)
        }
    };
    let (Some(x), Some(y)) = (marker(pair.query, x), marker(pair.entry, y)) else {
        return false;
    };
    roles::turns(pair, x, y)
}

/// The one is a state and the other what is done about it: `my account is locked`, `unlock my account`.
fn is_remedy(pair: &Pair, x: usize, y: usize) -> bool {
    let is_state = |text: &Text, at: usize| {
        let token = &text.tokens[at];
        let passive = at > 0 && text.tokens[at - 1].is(class::PASSIVE);
        (token.word.ends_with("ed") || token.form.participle) && !passive
    };
    is_state(pair.query, x) != is_state(pair.entry, y)
}

/// Words that only differ by a beginning or an end that makes them opposites.
fn by_affixes(pair: &Pair, language: &Language) -> Option<Evidence> {
    for x in pair.left.query.iter().take(TRIED) {
        for y in pair.left.entry.iter().take(TRIED) {
            let (a, b) = (&pair.query.tokens[*x], &pair.entry.tokens[*y]);
            let opposed =
                are_opposed(language, &a.stem, &b.stem) || are_opposed(language, &a.word, &b.word);
            if opposed && !is_remedy(pair, *x, *y) {
                return Some(Evidence {
                    query: (*x, *x),
                    entry: (*y, *y),
                });
            }
        }
    }
    None
}

/// The least letters of a word behind or before an affix.
const LEAST_ROOT: usize = 3;

fn are_opposed(language: &Language, a: &str, b: &str) -> bool {
    let at_end = common(a.bytes().rev(), b.bytes().rev());
    let at_start = common(a.bytes(), b.bytes());
    let fits = |affix: &Affix, root: &str| {
        let has = |words: &[String]| {
            words
                .iter()
                .any(|word| word == root || language.stem(word) == root)
        };
        root.len() >= LEAST_ROOT
            && (affix.only.is_empty() || has(&affix.only))
            && !has(&affix.except)
    };
    let prefix = |affix: &Affix, a: &str, b: &str| {
        let root = a.strip_prefix(affix.one.as_str());
        root.is_some_and(|root| {
            b.strip_prefix(affix.other.as_str()) == Some(root) && fits(affix, root)
        })
    };
    let suffix = |affix: &Affix, a: &str, b: &str| {
        let root = a.strip_suffix(affix.one.as_str());
        root.is_some_and(|root| {
            b.strip_suffix(affix.other.as_str()) == Some(root) && fits(affix, root)
        })
    };
    // Most words share neither, and are done with here.
    at_end >= LEAST_ROOT
        && language
            .prefixes
            .iter()
            .any(|affix| prefix(affix, a, b) || prefix(affix, b, a))
        || at_start >= LEAST_ROOT
            && language
                .suffixes
                .iter()
                .any(|affix| suffix(affix, a, b) || suffix(affix, b, a))
}

/// How many bytes two words have in common from where they are read.
fn common(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}
