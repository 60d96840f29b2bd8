//! The rules of the strict profile: other names, other question words.

use super::class;
use super::language::Asked;
use super::text::Text;
use super::{Evidence, Pair, Span};

/// A name of each text that the other does not have.
pub fn name(pair: &Pair) -> Option<Evidence> {
    let first = |text: &Text, left: &[usize]| left.iter().copied().find(|at| text.is_capital(*at));
    let x = first(pair.query, &pair.left.query)?;
    let y = first(pair.entry, &pair.left.entry)?;
    Some(Evidence::of(x, y))
}

/// The texts ask for different things: the one when, the other why.
pub fn question(pair: &Pair) -> Option<Evidence> {
    let (query, entry) = (&pair.query.tokens, &pair.entry.tokens);
    let (a, b) = (asked(pair.query), asked(pair.entry));
    let (x, y) = (*a.first()?, *b.first()?);
    // `Was it in May or June?` asks when.
    let either =
        query.any(0..query.len(), class::JOINER) || entry.any(0..entry.len(), class::JOINER);
    for (x, one) in &a {
        for (y, other) in &b {
            let differ = match (one, other) {
                // `How long` and `how much`.
                (Asked::Amount, Asked::Amount) => query.stem(x + 1) != entry.stem(y + 1),
                (Asked::Truth, _) | (_, Asked::Truth) if either => false,
                (one, other) => excludes(*one, *other) || excludes(*other, *one),
            };
            if !differ {
                return None;
            }
        }
    }
    Some(Evidence {
        query: shown(x),
        entry: shown(y),
    })
}

/// A question word, with its amount: `how long`.
fn shown((at, asked): (usize, Asked)) -> Span {
    (at, at + usize::from(asked == Asked::Amount))
}

/// Nobody who asks for the one is content with the other.
fn excludes(one: Asked, other: Asked) -> bool {
    use Asked::{Advice, Amount, Person, Place, Reason, Thing, Time, Way};
    one != other
        && match one {
            Person | Time | Reason => other != Thing,
            Amount | Advice => matches!(other, Place | Way),
            _ => false,
        }
}

/// The most sentences that are looked at.
const SENTENCES: usize = 8;

/// What the sentences of a text ask for, and the tokens that say so.
#[inline(never)]
fn asked(text: &Text) -> Vec<(usize, Asked)> {
    let mut found = Vec::new();
    for (at, token) in text.tokens.all().iter().enumerate() {
        let Some(mut asked) = token.form.asks else {
            continue;
        };
        let (before, next) = (text.tokens.before(at), text.tokens.at(at + 1));
        // `Hi, how can I`, `In Rust, when`, `When and where`.
        if (before.closes() || before.is(class::JOINER)) && found.len() < SENTENCES {
            if asked == Asked::Way && next.is(class::AMOUNT) {
                asked = Asked::Amount;
            } else if asked == Asked::Way && next.is(class::REASON) {
                asked = Asked::Reason;
            } else if asked == Asked::Way && next.is_content() {
                // `How high` and `how tall` may be the same.
                continue;
            }
            found.push((at, asked));
        }
    }
    found
}
