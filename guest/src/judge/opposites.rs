//! Words that exclude each other.

use super::bytes::{part, parts};
use super::class;
use super::language::Language;
use super::matching::{sorted, unmatched};
use super::text::{Hit, Text};
use super::{Evidence, Pair, Span, names, roles};

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
    axis: u32,
    /// The first place of the query on it.
    query: Hit,
    /// The first place of the entry.
    entry: Hit,
    /// Both texts take another pole too: `the first final`, `the last final`.
    shared: bool,
}

/// The axes on which two texts exclude each other. Poles that both take cancel out.
#[derive(Default)]
pub struct Contraries {
    found: Vec<Contrary>,
    /// The first tokens of what takes a pole in the query.
    query: Vec<usize>,
    /// The same for the entry.
    entry: Vec<usize>,
}

/// What a text has on an axis that the other has not.
struct Side<'a> {
    /// Places of hits.
    places: &'a [usize],
    /// A bit for each pole.
    poles: u64,
    /// A bit for each of what is negated and what is not.
    ways: u8,
}

impl<'a> Side<'a> {
    #[inline(never)]
    fn read(hits: &[Hit], places: &'a [usize], from: &mut usize, axis: u32) -> Self {
        let start = *from;
        let (mut poles, mut ways) = (0, 0);
        while let Some(place) = places.get(*from)
            && hits[*place].sense.axis() == axis
        {
            poles |= 1 << (hits[*place].sense.pole() & 63);
            ways |= 1 << u8::from(hits[*place].negated);
            *from += 1;
        }
        Self {
            places: &places[start..*from],
            poles,
            ways,
        }
    }
}

impl Contraries {
    /// Compares the hits of two texts.
    pub fn new(query: &Text, entry: &Text) -> Self {
        let (x, y) = (&query.hits, &entry.hits);
        let order = |hits: &[Hit]| sorted(hits.len(), &|at| hits[at].key());
        let (of_x, of_y) = (order(x), order(y));
        let (a, b) = (unmatched(&of_x, &of_y), unmatched(&of_y, &of_x));
        let mut all = Self::default();
        let (mut i, mut j) = (0, 0);
        while i < a.len() && j < b.len() {
            let axis = x[a[i]].sense.axis().min(y[b[j]].sense.axis());
            let of_x = Side::read(x, &a, &mut i, axis);
            let of_y = Side::read(y, &b, &mut j, axis);
            // No pole is taken by both. A negated pole may be any other.
            if of_x.ways | of_y.ways == 3
                || of_x.ways & of_y.ways == 0
                || of_x.poles & of_y.poles != 0
            {
                continue;
            }
            let first = of_x.places[0];
            let on_axis = |hit: &&Hit| hit.sense.axis() == axis;
            let count = x[first..].iter().take_while(on_axis).count()
                + x[..first].iter().rev().take_while(on_axis).count();
            all.found.push(Contrary {
                axis,
                query: x[first],
                entry: y[of_y.places[0]],
                shared: count > of_x.places.len(),
            });
            all.query.extend(of_x.places.iter().map(|at| x[*at].span.0));
            all.entry.extend(of_y.places.iter().map(|at| y[*at].span.0));
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
    let differ =
        others(&pair.left.query, &all.query) + others(&pair.left.entry, &all.entry);
    let is_same = differ <= pair.query.content().min(pair.entry.content()) / SAME;
    let contrary = all.found.iter().find(|contrary| {
        let is_alternative = contrary.axis >= language.first_weak;
        let is_time = contrary.axis >= language.first_time && !is_alternative;
        is_time == times
            && !is_converse(pair, contrary)
            && if is_alternative || contrary.shared {
                is_same
            } else {
                !is_remedy(pair, contrary.query.span.0, contrary.entry.span.0)
            }
    })?;
    Some(Evidence {
        query: contrary.query.span,
        entry: contrary.entry.span,
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
    let x = marker(pair.query, contrary.query.span);
    let y = marker(pair.entry, contrary.entry.span);
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
    let language = pair.query.language;
    let of_a = forms(pair.query, &pair.left.query);
    let of_b = forms(pair.entry, &pair.left.entry);
    for (x, a) in &of_a {
        for (y, b) in &of_b {
            if are_opposed(language, a, b)
                && pair.query.is_negated(*x, *x) == pair.entry.is_negated(*y, *y)
                && !is_remedy(pair, *x, *y)
            {
                return Some(Evidence::of(*x, *y));
            }
        }
    }
    None
}

/// Tokens with their words, and with their stems where these are others.
#[inline(never)]
fn forms(text: &Text, left: &[usize]) -> Vec<(usize, Vec<u8>)> {
    let mut forms = Vec::new();
    for at in left.iter().take(TRIED) {
        let word = text.tokens.word(text.tokens.at(*at));
        let mut stem = Vec::new();
        text.language.read_form(word, &mut stem);
        let is_stem = stem == word;
        forms.push((*at, word.to_vec()));
        if !is_stem {
            forms.push((*at, stem));
        }
    }
    forms
}

/// An affix makes opposites of two words.
#[inline(never)]
fn are_opposed(language: &Language, a: &[u8], b: &[u8]) -> bool {
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a.iter().rev().zip(b.iter().rev());
    let back = back.take_while(|(x, y)| x == y).count();
    // Most words share neither, and are done with here.
    if front.max(back) < LEAST_ROOT {
        return false;
    }
    for affix in &language.affixes {
        let shared = if affix.is_prefix { back } else { front };
        for (x, y) in [(a, b), (b, a)] {
            let root = x.len().saturating_sub(affix.one.len());
            let fits = y.len() + affix.one.len() == x.len() + affix.other.len()
                && root >= LEAST_ROOT
                && root <= shared
                && if affix.is_prefix {
                    x.starts_with(affix.one) && y.starts_with(affix.other)
                } else {
                    x.ends_with(affix.one) && y.ends_with(affix.other)
                };
            if fits {
                let from = if affix.is_prefix { affix.one.len() } else { 0 };
                let root = part(x, from, from + root);
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
    }
    false
}
