//! Words that changed places.

use super::class;
use super::text::Text;
use super::{Evidence, Pair, opposites};

/// The most words on each side of a marker that have a part in it.
const REACH: usize = 6;

/// The most words that come from somewhere or go somewhere.
const MOST: usize = 48;

/// The most markers of a text that are compared.
const MARKERS: usize = 16;

/// The most tokens that change places together.
const LONGEST_PART: usize = 4;

/// Words that changed places.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (pair.query, pair.entry);
    let is_symmetric = |text: &Text| text.tokens.any(0..text.tokens.len(), class::SYMMETRIC);
    if is_symmetric(a) || is_symmetric(b) {
        return None;
    }
    let is_near =
        pair.left.len() <= a.content().min(b.content()) / 2 && !opposites::are_turned(pair);
    let found = if is_near {
        journeys(pair).or_else(|| marked(pair))
    } else {
        None
    };
    found.or_else(|| swapped(pair)).or_else(|| around(pair))
}

/// `A to B` and `B to A`; but `to B from A` is `from A to B`.
fn journeys(pair: &Pair) -> Option<Evidence> {
    exchanged(pair, &journey(pair.query), &journey(pair.entry))
}

/// The words from which and to which something goes.
fn journey(text: &Text) -> [Vec<usize>; 2] {
    let tokens = &text.tokens;
    let has_source = tokens.any(0..tokens.len(), class::SOURCE);
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for at in 0..tokens.len() {
        if from.len().max(to.len()) > MOST {
            break;
        }
        if tokens.is(at, class::SOURCE) {
            from.extend(beside(text, at, true));
        } else if tokens.is(at, class::GOAL) && at > 0 && tokens.before(at).is_content() {
            to.extend(beside(text, at, true));
            if !has_source {
                from.extend(beside(text, at, false));
            }
        }
    }
    [from, to]
}

/// Words before and behind the same marker that changed places.
fn marked(pair: &Pair) -> Option<Evidence> {
    let markers = |text: &Text| -> Vec<usize> {
        let mut places = Vec::new();
        for at in 1..text.tokens.len() {
            if text.tokens.is(at, class::MARKER) && places.len() < MARKERS {
                places.push(at);
            }
        }
        places
    };
    let (of_a, of_b) = (markers(pair.query), markers(pair.entry));
    let same = |x: usize, y: usize| pair.query.tokens.at(x).stem == pair.entry.tokens.at(y).stem;
    for x in &of_a {
        for y in &of_b {
            if !same(*x, *y) {
                continue;
            }
            let found = exchanged(pair, &sides(pair.query, *x), &sides(pair.entry, *y));
            // Both orders may be there, as in `x with y with x`.
            if found.is_some()
                && !of_b.iter().any(|y| same(*x, *y) && stays(pair, *x, *y))
                && !of_a.iter().any(|x| same(*x, *y) && stays(pair, *x, *y))
            {
                return found;
            }
        }
    }
    None
}

/// Words on both sides of a marker are where they were.
fn stays(pair: &Pair, x: usize, y: usize) -> bool {
    let (a, b) = (sides(pair.query, x), sides(pair.entry, y));
    [0, 1].into_iter().all(|side| {
        a[side]
            .iter()
            .any(|at| place(pair, *at, &b[side]).is_some())
    })
}

/// A word before a marker of the query is behind that of the entry or the other way round, and fewer
/// stayed where they were.
pub fn turns(pair: &Pair, x: usize, y: usize) -> bool {
    let (a, b) = (sides(pair.query, x), sides(pair.entry, y));
    let common =
        |a: &[usize], b: &[usize]| a.iter().filter(|at| place(pair, **at, b).is_some()).count();
    common(&a[0], &b[1]) + common(&a[1], &b[0]) > common(&a[0], &b[0]) + common(&a[1], &b[1])
}

/// Where a word of the query is among words of the entry.
#[inline(never)]
fn place(pair: &Pair, at: usize, among: &[usize]) -> Option<usize> {
    let stem = pair.query.tokens.at(at).stem;
    let found = among
        .iter()
        .find(|at| pair.entry.tokens.at(**at).stem == stem);
    found.copied()
}

/// A word that was in the one part and is in the other now, and another the other way round.
fn exchanged(pair: &Pair, a: &[Vec<usize>; 2], b: &[Vec<usize>; 2]) -> Option<Evidence> {
    let stem = |at: usize| pair.query.tokens.at(at).stem;
    let moved = |from: usize| {
        let to = 1 - from;
        a[from].iter().find_map(|at| {
            let now = place(pair, *at, &b[to])?;
            let stays = a[to].iter().any(|other| stem(*other) == stem(*at))
                || place(pair, *at, &b[from]).is_some();
            (!stays).then_some((*at, now))
        })
    };
    let (one, other) = (moved(0)?, moved(1)?);
    let span = |x: usize, y: usize| (x.min(y), x.max(y));
    Some(Evidence {
        query: span(one.0, other.0),
        entry: span(one.1, other.1),
    })
}

/// The words before and behind a marker.
fn sides(text: &Text, at: usize) -> [Vec<usize>; 2] {
    [beside(text, at, false), beside(text, at, true)]
}

/// The words on one side of a marker, up to the next marker or the end of what is said.
#[inline(never)]
fn beside(text: &Text, at: usize, behind: bool) -> Vec<usize> {
    let mut parts = Vec::new();
    for n in 1..=REACH {
        let here = if behind { at + n } else { at.wrapping_sub(n) };
        let token = text.tokens.at(here);
        let stops = token.is(class::GOAL | class::SOURCE | class::MARKER | class::JOINER);
        if stops || token.stem == 0 || !behind && token.closes() {
            break;
        }
        if token.is_content() {
            parts.push(here);
        }
        if token.closes() {
            break;
        }
    }
    parts
}

/// Two parts of an otherwise equal sequence of words that changed places: `dogs chase cats`.
fn swapped(pair: &Pair) -> Option<Evidence> {
    let words = |text: &Text| -> Vec<usize> {
        let mut words: Vec<usize> = (0..text.tokens.len()).collect();
        words.retain(|at| !text.tokens.is(*at, class::ARTICLE));
        words
    };
    let (a, b) = (words(pair.query), words(pair.entry));
    if a.len() != b.len() {
        return None;
    }
    let tokens = &pair.query.tokens;
    let same = |x: usize, y: usize| tokens.at(a[x]).stem == pair.entry.tokens.at(b[y]).stem;
    let start = (0..a.len()).find(|at| !same(*at, *at))?;
    let end = (0..a.len()).rfind(|at| !same(*at, *at))? + 1;
    let equal = |x: usize, y: usize, len: usize| (0..len).all(|n| same(x + n, y + n));
    let has_part = |from: usize, len: usize| {
        a[from..from + len]
            .iter()
            .any(|at| tokens.at(*at).is_content())
    };
    for lengths in 0..LONGEST_PART * LONGEST_PART {
        let (first, second) = (lengths / LONGEST_PART + 1, lengths % LONGEST_PART + 1);
        if end - start <= first + second {
            continue;
        }
        let middle = end - start - first - second;
        let fits = equal(start, end - first, first)
            && equal(end - second, start, second)
            && equal(start + first, start + second, middle)
            && has_part(start, first)
            && has_part(end - second, second);
        let whole = a[start]..a[end - 1];
        let joined = tokens.any(a[start + first]..a[end - second], class::JOINER)
            || whole.into_iter().any(|at| tokens.at(at).comma);
        if fits && !joined {
            return Some(Evidence {
                query: (a[start], a[end - 1]),
                entry: (b[start], b[end - 1]),
            });
        }
    }
    None
}

/// The most words of a text that are looked at as what two others are around.
const PIVOTS: usize = 64;

/// Two words that stand around the same word, the other way round: `India attacks Pakistan`, `Pakistan's
/// attack on India`.
fn around(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (triples(pair.query), triples(pair.entry));
    for x in &a {
        for y in &b {
            let same = |n: usize, m: usize| {
                pair.query.tokens.at(x[n]).stem == pair.entry.tokens.at(y[m]).stem
            };
            if same(1, 1)
                && same(0, 2)
                && same(2, 0)
                && !same(0, 0)
                && is_once(pair.query, x[1])
                && is_once(pair.entry, y[1])
            {
                return Some(Evidence {
                    query: (x[0], x[2]),
                    entry: (y[0], y[2]),
                });
            }
        }
    }
    None
}

/// No other word of the text has its stem.
fn is_once(text: &Text, at: usize) -> bool {
    let stem = text.tokens.at(at).stem;
    let same = text.tokens.0.iter().filter(|token| token.stem == stem);
    same.count() == 1
}

/// Three words in a row.
fn triples(text: &Text) -> Vec<[usize; 3]> {
    let skipped = class::GOAL | class::SOURCE | class::MARKER | class::ARTICLE | class::AUXILIARY;
    let mut parts = Vec::new();
    for at in 0..text.tokens.len() {
        if !text.tokens.is(at, skipped) && parts.len() < PIVOTS {
            parts.push(at);
        }
    }
    let mut triples = Vec::new();
    for three in parts.windows(3) {
        let tokens = [0, 1, 2].map(|n| text.tokens.at(three[n]));
        let whole = tokens.iter().all(|token| token.is_content());
        let open = tokens[..2].iter().all(|token| !token.closes());
        if whole && open {
            triples.push([three[0], three[1], three[2]]);
        }
    }
    triples
}
