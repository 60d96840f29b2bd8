//! Words that changed places.

use super::language::class;
use super::text::Text;
use super::tokens::{Kind, Token};
use super::{Evidence, Pair, opposites};

/// The most words on each side of a marker that have a part in it.
const REACH: usize = 6;

/// The most markers of a text that are compared.
const MARKERS: usize = 16;

/// The most tokens that change places together.
const LONGEST_PART: usize = 4;

/// Words that changed places.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (pair.query, pair.entry);
    let is_symmetric = |text: &Text| text.tokens.iter().any(|token| token.is(class::SYMMETRIC));
    if is_symmetric(a) || is_symmetric(b) {
        return None;
    }
    let differ = pair.left.query.len() + pair.left.entry.len();
    let is_near = differ <= a.content().min(b.content()) / 2 && !opposites::are_turned(pair);
    is_near
        .then(|| journeys(pair).or_else(|| marked(pair)))
        .flatten()
        .or_else(|| swapped(pair))
        .or_else(|| around(pair))
}

/// The most words of a text that are looked at as what two others are around.
const PIVOTS: usize = 64;

/// Two words that stand around the same word, the other way round: `India attacks Pakistan`, `Pakistan's
/// attack on India`.
fn around(pair: &Pair) -> Option<Evidence> {
    let triples = |text: &Text| {
        let tokens = &text.tokens;
        let parts: Vec<usize> = (0..tokens.len())
            .filter(|at| {
                let token = &tokens[*at];
                !is_marker(token) && !token.is(class::ARTICLE | class::AUXILIARY)
            })
            .take(PIVOTS)
            .collect();
        let mut triples = Vec::new();
        for three in parts.windows(3) {
            let whole = three.iter().all(|at| is_part(&tokens[*at]));
            let closed = three[..2]
                .iter()
                .all(|at| !tokens[*at].ends && !tokens[*at].comma);
            if whole && closed {
                triples.push([three[0], three[1], three[2]]);
            }
        }
        triples
    };
    fn stem<'t>(text: &'t Text, at: usize) -> &'t str {
        &text.tokens[at].stem
    }
    let is_once = |text: &Text, at: usize| {
        let same = |token: &&Token| token.stem == text.tokens[at].stem;
        text.tokens.iter().filter(same).count() == 1
    };
    let (a, b) = (triples(pair.query), triples(pair.entry));
    for x in &a {
        for y in &b {
            let same = |n: usize, m: usize| stem(pair.query, x[n]) == stem(pair.entry, y[m]);
            let is_around = same(1, 1) && same(0, 2) && same(2, 0) && !same(0, 0);
            if is_around && is_once(pair.query, x[1]) && is_once(pair.entry, y[1]) {
                return Some(Evidence {
                    query: (x[0], x[2]),
                    entry: (y[0], y[2]),
                });
            }
        }
    }
    None
}

/// The words from which and to which something goes.
struct Journey {
    from: Vec<usize>,
    to: Vec<usize>,
}

fn journey(text: &Text) -> Journey {
    let tokens = &text.tokens;
    let is = |at: usize, class| tokens[at].kind == Kind::Word && tokens[at].is(class);
    let has_source = (0..tokens.len()).any(|at| is(at, class::SOURCE));
    let mut journey = Journey {
        from: Vec::new(),
        to: Vec::new(),
    };
    for at in 0..tokens.len() {
        if is(at, class::SOURCE) {
            journey.from.extend(after(tokens, at));
        } else if is(at, class::GOAL) && at > 0 && is_part(&tokens[at - 1]) {
            journey.to.extend(after(tokens, at));
            if !has_source {
                journey.from.extend(before(tokens, at));
            }
        }
    }
    journey
}

/// `A to B` and `B to A`; but `to B from A` is `from A to B`.
fn journeys(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (journey(pair.query), journey(pair.entry));
    let (x, y) = exchanged(pair, &a.from, &a.to, &b.from, &b.to)?;
    Some(evidence(x, y))
}

/// Words before and behind the same marker that changed places.
fn marked(pair: &Pair) -> Option<Evidence> {
    let markers = |text: &Text| -> Vec<usize> {
        (1..text.tokens.len())
            .filter(|at| text.tokens[*at].is(class::MARKER))
            .take(MARKERS)
            .collect()
    };
    let (a, b) = (markers(pair.query), markers(pair.entry));
    for x in &a {
        for y in &b {
            if pair.query.tokens[*x].word == pair.entry.tokens[*y].word
                && let Some((x, y)) = changed_places(pair, *x, *y)
            {
                return Some(evidence(x, y));
            }
        }
    }
    None
}

/// The words around a marker of the query changed places around a marker of the entry.
fn changed_places(pair: &Pair, x: usize, y: usize) -> Option<(Vec<usize>, Vec<usize>)> {
    let (a, b) = (&pair.query.tokens, &pair.entry.tokens);
    exchanged(
        pair,
        &before(a, x),
        &after(a, x),
        &before(b, y),
        &after(b, y),
    )
}

/// A word before a marker of the query is behind that of the entry or the other way round, and fewer
/// stayed where they were.
pub fn turns(pair: &Pair, x: usize, y: usize) -> bool {
    let (a, b) = (&pair.query.tokens, &pair.entry.tokens);
    let common = |a_parts: Vec<usize>, b_parts: Vec<usize>| {
        let same = |x: &&usize| b_parts.iter().any(|y| a[**x].stem == b[*y].stem);
        a_parts.iter().filter(same).count()
    };
    let moved = common(before(a, x), after(b, y)) + common(after(a, x), before(b, y));
    let stayed = common(before(a, x), before(b, y)) + common(after(a, x), after(b, y));
    moved > stayed
}

/// A word that was in the one part and is in the other now, and another the other way round. The
/// tokens of both, in each text.
fn exchanged(
    pair: &Pair,
    from_a: &[usize],
    to_a: &[usize],
    from_b: &[usize],
    to_b: &[usize],
) -> Option<(Vec<usize>, Vec<usize>)> {
    let (a, b) = (&pair.query.tokens, &pair.entry.tokens);
    let place = |tokens: &[Token], part: &[usize], stem: &str| {
        part.iter().copied().find(|at| tokens[*at].stem == stem)
    };
    let moved = |here: &[usize], not_here: &[usize], there: &[usize], not_there: &[usize]| {
        here.iter().find_map(|at| {
            let stem = a[*at].stem.as_str();
            let now = place(b, there, stem)?;
            let stays = place(a, not_here, stem).is_some() || place(b, not_there, stem).is_some();
            (!stays).then_some((*at, now))
        })
    };
    let one = moved(from_a, to_a, to_b, from_b)?;
    let other = moved(to_a, from_a, from_b, to_b)?;
    Some((vec![one.0, other.0], vec![one.1, other.1]))
}

fn evidence(query: Vec<usize>, entry: Vec<usize>) -> Evidence {
    let span = |places: Vec<usize>| {
        let first = places.iter().copied().min().unwrap_or(0);
        let last = places.iter().copied().max().unwrap_or(0);
        (first, last)
    };
    Evidence {
        query: span(query),
        entry: span(entry),
    }
}

/// It may have a part in what is said.
fn is_part(token: &Token) -> bool {
    token.kind != Kind::Word || token.is_content()
}

fn is_marker(token: &Token) -> bool {
    token.is(class::GOAL | class::SOURCE | class::MARKER)
}

/// The parts behind a token, up to the next marker or the end of the sentence.
fn after(tokens: &[Token], at: usize) -> Vec<usize> {
    let mut parts = Vec::new();
    for here in at + 1..tokens.len().min(at + 1 + REACH) {
        let token = &tokens[here];
        if is_marker(token) || token.is(class::JOINER) {
            break;
        }
        if is_part(token) {
            parts.push(here);
        }
        if token.ends || token.comma {
            break;
        }
    }
    parts
}

/// The parts before a token, back to the beginning of the sentence or a marker.
fn before(tokens: &[Token], at: usize) -> Vec<usize> {
    let mut parts = Vec::new();
    for here in (at.saturating_sub(REACH)..at).rev() {
        let token = &tokens[here];
        if token.ends || token.comma || is_marker(token) || token.is(class::JOINER) {
            break;
        }
        if is_part(token) {
            parts.push(here);
        }
    }
    parts
}

/// Two parts of an otherwise equal sequence of words that changed places: `dogs chase cats`.
fn swapped(pair: &Pair) -> Option<Evidence> {
    let words = |text: &Text| -> Vec<usize> {
        (0..text.tokens.len())
            .filter(|at| !text.tokens[*at].is(class::ARTICLE))
            .collect()
    };
    let (a, b) = (words(pair.query), words(pair.entry));
    if a.len() != b.len() {
        return None;
    }
    let same = |x: usize, y: usize| pair.query.tokens[a[x]].stem == pair.entry.tokens[b[y]].stem;
    let start = (0..a.len()).position(|at| !same(at, at))?;
    let end = a.len() - (0..a.len()).rev().position(|at| !same(at, at))?;
    let equal = |x: usize, y: usize, len: usize| (0..len).all(|n| same(x + n, y + n));
    for first in 1..=LONGEST_PART {
        for second in 1..=LONGEST_PART {
            let Some(middle) = (end - start).checked_sub(first + second).filter(|n| *n > 0) else {
                continue;
            };
            let fits = equal(start, end - first, first)
                && equal(end - second, start, second)
                && equal(start + first, start + second, middle);
            if !fits {
                continue;
            }
            let has_part = |from: usize, len: usize| {
                a[from..from + len]
                    .iter()
                    .any(|at| is_part(&pair.query.tokens[*at]))
            };
            let between = &a[start + first..start + first + middle];
            let tokens = &pair.query.tokens;
            let joined = between.iter().any(|at| tokens[*at].is(class::JOINER))
                || tokens[a[start]..a[end - 1]].iter().any(|token| token.comma);
            if has_part(start, first) && has_part(end - second, second) && !joined {
                return Some(Evidence {
                    query: (a[start], a[end - 1]),
                    entry: (b[start], b[end - 1]),
                });
            }
        }
    }
    None
}
