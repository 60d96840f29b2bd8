//! Words that exclude each other.

use super::class;
use super::language::Language;
use super::matching::unmatched;
use super::text::{Hit, Text};
use super::{Evidence, Pair, names, roles};

/// The most words without a partner that are compared by their beginnings and ends.
const TRIED: usize = 24;

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
    axis: u16,
    query: Vec<Hit>,
    entry: Vec<Hit>,
    /// Both texts take another pole too: `the first final`, `the last final`.
    shared: bool,
}

/// The axes on which two texts exclude each other. Poles that both take cancel out.
fn contraries(pair: &Pair) -> Vec<Contrary> {
    let (query, entry) = (&pair.query.hits, &pair.entry.hits);
    let places = |hits: &[Hit]| -> Vec<usize> { (0..hits.len()).collect() };
    let (a, b) = unmatched(&places(query), &places(entry), &|x, y| {
        query[x].key().cmp(&entry[y].key())
    });
    let mut found = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let axis = query[a[i]].sense.axis.min(entry[b[j]].sense.axis);
        let on_axis = |hits: &[Hit], places: &[usize], from: &mut usize| {
            let mut found = Vec::new();
            while *from < places.len() && hits[places[*from]].sense.axis == axis {
                found.push(hits[places[*from]]);
                *from += 1;
            }
            found
        };
        let contrary = Contrary {
            axis,
            query: on_axis(query, &a, &mut i),
            entry: on_axis(entry, &b, &mut j),
            shared: false,
        };
        if excludes(&contrary.query, &contrary.entry) {
            let all = query.iter().filter(|hit| hit.sense.axis == axis).count();
            let shared = all > contrary.query.len();
            found.push(Contrary { shared, ..contrary });
        }
    }
    found
}

/// No pole is taken by both. A negated pole may be any other.
fn excludes(a: &[Hit], b: &[Hit]) -> bool {
    let (Some(x), Some(_)) = (a.first(), b.first()) else {
        return false;
    };
    let poles = |hits: &[Hit]| {
        let pole = |poles: u64, hit: &Hit| poles | 1 << (hit.sense.pole & 63);
        hits.iter().fold(0, pole)
    };
    let same_way = a.iter().chain(b).all(|hit| hit.negated == x.negated);
    same_way && poles(a) & poles(b) == 0
}

/// The first axis of opposites, or of times, on which the texts exclude each other.
fn on_axes(pair: &Pair, times: bool) -> Option<Evidence> {
    let language = pair.query.language?;
    let found = contraries(pair);
    let others = |left: &[usize], hits: fn(&Contrary) -> &Vec<Hit>| {
        let is_other =
            |token: &&usize| !found.iter().flat_map(hits).any(|hit| hit.first == **token);
        left.iter().take(TRIED).filter(is_other).count()
    };
    let differ = others(&pair.left.query, |contrary| &contrary.query)
        + others(&pair.left.entry, |contrary| &contrary.entry);
    let is_same = differ <= pair.query.content().min(pair.entry.content()) / SAME;
    let fits = |contrary: &&Contrary| {
        let is_time = contrary.axis >= language.first_time && contrary.axis < language.first_weak;
        let is_weak = contrary.axis >= language.first_weak || contrary.shared;
        is_time == times
            && !is_converse(pair, contrary)
            && if is_weak {
                is_same
            } else {
                !is_remedy(pair, contrary.query[0].first, contrary.entry[0].first)
            }
    };
    let contrary = found.iter().find(fits)?;
    let span = |hits: &[Hit]| (hits[0].first, hits[0].last);
    Some(Evidence {
        query: span(&contrary.query),
        entry: span(&contrary.entry),
    })
}

/// Opposites stand between words that changed places, which comes to the same.
pub fn are_turned(pair: &Pair) -> bool {
    let found = contraries(pair);
    found.iter().any(|contrary| is_converse(pair, contrary))
}

/// The opposite words stand between words that changed places, which comes to the same: `A is bigger
/// than B`, `B is smaller than A`.
fn is_converse(pair: &Pair, contrary: &Contrary) -> bool {
    let marker = |text: &Text, hit: &Hit| {
        if text.tokens.is(hit.first, class::MARKER) {
            return Some(hit.first);
        }
        (hit.last..hit.last + 5).find(|at| text.tokens.is(*at, class::COMPARISON))
    };
    let x = marker(pair.query, &contrary.query[0]);
    let y = marker(pair.entry, &contrary.entry[0]);
    match (x, y) {
        (Some(x), Some(y)) => roles::turns(pair, x, y),
        _ => false,
    }
}

/// The one is a state and the other what is done about it: `my account is locked`, `unlock my account`.
fn is_remedy(pair: &Pair, x: usize, y: usize) -> bool {
    let is_state = |text: &Text, at: usize| {
        let token = text.tokens.at(at);
        let participle = token.word.ends_with("ed") || token.is(class::PARTICIPLE);
        participle && !text.tokens.before(at).is(class::PASSIVE)
    };
    is_state(pair.query, x) != is_state(pair.entry, y)
}

/// Words that only differ by a beginning or an end that makes them opposites.
fn by_affixes(pair: &Pair) -> Option<Evidence> {
    let language = pair.query.language?;
    let words = |text: &Text, left: &[usize]| -> Vec<(usize, String)> {
        let mut words = Vec::new();
        for at in left.iter().take(TRIED) {
            let word = &text.tokens.at(*at).word;
            words.push((*at, word.clone()));
            words.push((*at, language.stem(word)));
        }
        words
    };
    let of_b = words(pair.entry, &pair.left.entry);
    for (x, a) in words(pair.query, &pair.left.query) {
        for (y, b) in &of_b {
            let same_way = pair.query.is_negated(x, x) == pair.entry.is_negated(*y, *y);
            if same_way && are_opposed(language, &a, b) && !is_remedy(pair, x, *y) {
                return Some(Evidence::of(x, *y));
            }
        }
    }
    None
}

/// How many bytes two words have in common at the end, or at the beginning.
fn common(a: &[u8], b: &[u8], at_end: bool) -> usize {
    let place = |bytes: &[u8], n: usize| bytes[if at_end { bytes.len() - 1 - n } else { n }];
    (0..a.len().min(b.len()))
        .take_while(|n| place(a, *n) == place(b, *n))
        .count()
}

/// An affix makes opposites of two words.
fn are_opposed(language: &Language, a: &str, b: &str) -> bool {
    let (x, y) = (a.as_bytes(), b.as_bytes());
    let shared = [common(x, y, false), common(x, y, true)];
    // Most words share neither, and are done with here.
    if shared[0].max(shared[1]) < LEAST_ROOT {
        return false;
    }
    for affix in &language.affixes {
        let at_end = usize::from(affix.is_prefix);
        for (x, y) in [(x, y), (y, x)] {
            let (one, other) = (affix.one.as_bytes(), affix.other.as_bytes());
            let root = x.len().saturating_sub(one.len());
            let fits = root >= LEAST_ROOT
                && root <= shared[at_end]
                && y.len() == root + other.len()
                && if affix.is_prefix {
                    x.starts_with(one) && y.starts_with(other)
                } else {
                    x.ends_with(one) && y.ends_with(other)
                };
            if fits {
                let root = if affix.is_prefix {
                    &x[one.len()..]
                } else {
                    &x[..root]
                };
                let mut words = affix.words.split(' ');
                let is_listed = words
                    .any(|word| word.as_bytes() == root || language.stem(word).as_bytes() == root);
                if is_listed == affix.is_only {
                    return true;
                }
            }
        }
    }
    false
}
