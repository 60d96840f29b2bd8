//! Words that changed places.

use super::class;
use super::text::Text;
use super::{Evidence, Pair, Span, opposites};

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
    let (a, b) = (journey(pair.query), journey(pair.entry));
    exchanged(pair, [&a[0], &a[1]], [&b[0], &b[1]])
}

/// The words from which and to which something goes.
#[inline(never)]
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
    let (of_a, of_b) = (markers(pair.query), markers(pair.entry));
    let same = |x: &Marker, y: &Marker| pair.query.tokens.stem(x.0) == pair.entry.tokens.stem(y.0);
    // Words on both sides of a marker are where they were.
    let stays = |x: &Marker, y: &Marker| {
        same(x, y) && common(pair, &x.1[0], &y.1[0]) > 0 && common(pair, &x.1[1], &y.1[1]) > 0
    };
    for x in &of_a {
        for y in of_b.iter().filter(|y| same(x, y)) {
            let found = exchanged(pair, [&x.1[0], &x.1[1]], [&y.1[0], &y.1[1]]);
            // Both orders may be there, as in `x with y with x`.
            if found.is_some()
                && !of_b.iter().any(|y| stays(x, y))
                && !of_a.iter().any(|x| stays(x, y))
            {
                return found;
            }
        }
    }
    None
}

/// A marker, and the words before and behind it.
type Marker = (usize, Sides);

/// The first markers of a text, but for those that come twice: `in Rome in summer` may be told in any
/// order.
#[inline(never)]
fn markers(text: &Text) -> Vec<Marker> {
    let mut found = Vec::new();
    for at in 1..text.tokens.len() {
        let stem = text.tokens.stem(at);
        let is_alone = || (0..text.tokens.len()).all(|x| x == at || text.tokens.stem(x) != stem);
        if text.tokens.is(at, class::MARKER) && found.len() < MARKERS && is_alone() {
            found.push((at, sides(text, at)));
        }
    }
    found
}

/// A word before a marker of the query is behind that of the entry or the other way round, and fewer
/// stayed where they were.
pub fn turns(pair: &Pair, x: usize, y: usize) -> bool {
    let (a, b) = (sides(pair.query, x), sides(pair.entry, y));
    common(pair, &a[0], &b[1]) + common(pair, &a[1], &b[0])
        > common(pair, &a[0], &b[0]) + common(pair, &a[1], &b[1])
}

/// How many words of the query are among some of the entry.
#[inline(never)]
fn common(pair: &Pair, a: &[usize], b: &[usize]) -> usize {
    a.iter().filter(|at| place(pair, **at, b).is_some()).count()
}

/// Where a word of the query is among words of the entry.
#[inline(never)]
fn place(pair: &Pair, at: usize, among: &[usize]) -> Option<usize> {
    let stem = pair.query.tokens.stem(at);
    let mut among = among.iter().copied();
    among.find(|at| stem != 0 && pair.entry.tokens.stem(*at) == stem)
}

/// A word that was in the one part and is in the other now, and another the other way round.
#[inline(never)]
fn exchanged(pair: &Pair, a: [&[usize]; 2], b: [&[usize]; 2]) -> Option<Evidence> {
    let stem = |at: usize| pair.query.tokens.stem(at);
    let moved = |from: usize| {
        let to = 1 - from;
        a[from].iter().find_map(|at| {
            let now = place(pair, *at, b[to])?;
            let stays = a[to].iter().any(|other| stem(*other) == stem(*at))
                || place(pair, *at, b[from]).is_some();
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

/// Words on one side of a marker; no token where there are fewer.
type Side = [usize; REACH];

/// The words before and behind a marker.
type Sides = [Side; 2];

fn sides(text: &Text, at: usize) -> Sides {
    [beside(text, at, false), beside(text, at, true)]
}

/// The words on one side of a marker, up to the next marker or the end of what is said.
#[inline(never)]
fn beside(text: &Text, at: usize, behind: bool) -> Side {
    let mut side = [usize::MAX; REACH];
    let mut here = at;
    for part in &mut side {
        here = if behind {
            here + 1
        } else {
            here.wrapping_sub(1)
        };
        let token = text.tokens.at(here);
        let stops = token.is(class::GOAL | class::SOURCE | class::MARKER | class::JOINER);
        if stops || token.stem == 0 || !behind && token.closes() {
            break;
        }
        if token.is_content() {
            *part = here;
        }
        if token.closes() {
            break;
        }
    }
    side
}

/// Two parts of an otherwise equal sequence of words that changed places: `dogs chase cats`.
fn swapped(pair: &Pair) -> Option<Evidence> {
    let tokens = &pair.query.tokens;
    let a = without(pair.query, class::ARTICLE, usize::MAX);
    let b = without(pair.entry, class::ARTICLE, usize::MAX);
    let len = a.len();
    if len != b.len() {
        return None;
    }
    let equal = |x: usize, y: usize, len: usize| {
        (0..len).all(|n| {
            let stem = pair.entry.tokens.stem(at(&b, y + n));
            tokens.stem(at(&a, x + n)) == stem
        })
    };
    let mut start = 0;
    while start < len && equal(start, start, 1) {
        start += 1;
    }
    let mut end = len;
    while end > start && equal(end - 1, end - 1, 1) {
        end -= 1;
    }
    if start == end {
        return None;
    }
    let (first, last) = (at(&a, start), at(&a, end - 1));
    // `in Rome in summer`
    let marker = start.checked_sub(1).map(|before| at(&a, before));
    let marker = marker.filter(|at| tokens.is(*at, class::MARKER));
    let is_list = |from: usize, to: usize| {
        to == from + 1
            && marker.is_some_and(|marker| tokens.stem(marker) == tokens.stem(at(&a, from)))
    };
    let has_part =
        |from: usize, to: usize| (from..to).any(|place| tokens.at(at(&a, place)).is_content());
    for lengths in 0..LONGEST_PART * LONGEST_PART {
        let (front, back) = (lengths / LONGEST_PART + 1, lengths % LONGEST_PART + 1);
        let (from, to) = (start + front, end.wrapping_sub(back));
        if end - start > front + back
            && equal(start, end - front, front)
            && equal(to, start, back)
            && equal(from, start + back, to - from)
            && has_part(start, from)
            && has_part(to, end)
            && !is_list(from, to)
            && !tokens.any(at(&a, from)..at(&a, to), class::JOINER)
            && (first..last).all(|at| !tokens.at(at).comma)
        {
            return Some(Evidence {
                query: (first, last),
                entry: (at(&b, start), at(&b, end - 1)),
            });
        }
    }
    None
}

/// A token of some; none where there are fewer.
#[inline(never)]
fn at(tokens: &[usize], at: usize) -> usize {
    tokens.get(at).copied().unwrap_or(usize::MAX)
}

/// The first tokens that are in no class of some.
#[inline(never)]
fn without(text: &Text, class: u32, most: usize) -> Vec<usize> {
    let mut tokens = Vec::new();
    for at in 0..text.tokens.len() {
        if !text.tokens.is(at, class) && tokens.len() < most {
            tokens.push(at);
        }
    }
    tokens
}

/// The most words of a text that are looked at as what two others are around.
const PIVOTS: usize = 64;

/// Two words that stand around the same word, the other way round: `India attacks Pakistan`, `Pakistan's
/// attack on India`.
fn around(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (triples(pair.query), triples(pair.entry));
    for (x, of_x) in &a {
        for (y, of_y) in &b {
            if of_x[1] == of_y[1]
                && of_x[0] == of_y[2]
                && of_x[2] == of_y[0]
                && of_x[0] != of_y[0]
                && is_once(pair.query, of_x[1])
                && is_once(pair.entry, of_y[1])
            {
                return Some(Evidence {
                    query: *x,
                    entry: *y,
                });
            }
        }
    }
    None
}

/// Only one word of the text has a stem.
#[inline(never)]
fn is_once(text: &Text, stem: u32) -> bool {
    let mut same = text.tokens.all().iter().filter(|token| token.stem == stem);
    same.next().is_some() && same.next().is_none()
}

/// Three words in a row, by their stems, and the first and the last.
#[inline(never)]
fn triples(text: &Text) -> Vec<(Span, [u32; 3])> {
    let skipped = class::GOAL | class::SOURCE | class::MARKER | class::ARTICLE | class::AUXILIARY;
    let mut triples = Vec::new();
    for three in without(text, skipped, PIVOTS).windows(3) {
        let tokens = [three[0], three[1], three[2]].map(|at| text.tokens.at(at));
        let fits = tokens.iter().all(|token| token.is_content());
        if fits && !tokens[0].closes() && !tokens[1].closes() {
            triples.push(((three[0], three[2]), tokens.map(|token| token.stem)));
        }
    }
    triples
}
