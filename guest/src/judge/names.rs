//! The rules of the strict profile: other names, other question words.

use super::class;
use super::language::Asked;
use super::text::Text;
use super::{Evidence, Pair};

/// A name of each text that the other does not have.
pub fn name(pair: &Pair) -> Option<Evidence> {
    let first = |text: &Text, left: &[usize]| left.iter().copied().find(|at| text.is_capital(*at));
    let x = first(pair.query, &pair.left.query)?;
    let y = first(pair.entry, &pair.left.entry)?;
    Some(Evidence::of(x, y))
}

/// The texts ask for different things: the one when, the other why.
pub fn question(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (asked(pair.query), asked(pair.entry));
    let (x, y) = (*a.first()?, *b.first()?);
    // `Was it in May or June?` asks when.
    let chooses = |text: &Text| text.tokens.any(0..text.tokens.len(), class::JOINER);
    let either = chooses(pair.query) || chooses(pair.entry);
    for (x, one) in &a {
        for (y, other) in &b {
            let same_amount = pair.query.tokens.at(x + 1).stem == pair.entry.tokens.at(y + 1).stem;
            let differ = match (one, other) {
                // `How long` and `how much`.
                (Asked::Amount, Asked::Amount) => !same_amount,
                (Asked::Truth, _) | (_, Asked::Truth) if either => false,
                (one, other) => excludes(*one, *other) || excludes(*other, *one),
            };
            if !differ {
                return None;
            }
        }
    }
    Some(Evidence::of(x.0, y.0))
}

/// Nobody who asks for the one is content with the other.
fn excludes(one: Asked, other: Asked) -> bool {
    use Asked::{Advice, Amount, Person, Place, Possibility, Reason, Time, Truth, Way};
    one != other
        && match one {
            Person | Time | Reason => matches!(
                other,
                Person | Time | Place | Reason | Amount | Way | Truth | Advice | Possibility
            ),
            Amount => matches!(other, Place | Way),
            Advice => matches!(other, Way | Place),
            _ => false,
        }
}

/// The most sentences that are looked at.
const SENTENCES: usize = 8;

/// What the sentences of a text ask for, and the tokens that say so.
fn asked(text: &Text) -> Vec<(usize, Asked)> {
    let mut found = Vec::new();
    for at in 0..text.tokens.len() {
        let before = text.tokens.before(at);
        // `Hi, how can I`, `In Rust, when`, `When and where`.
        if (before.closes() || before.is(class::JOINER))
            && let Some(asked) = asks(text, at)
            && found.len() < SENTENCES
        {
            found.push((at, asked));
        }
    }
    found
}

fn asks(text: &Text, at: usize) -> Option<Asked> {
    let next = text.tokens.at(at + 1);
    match text.tokens.at(at).form.asks? {
        Asked::Way if next.is(class::AMOUNT) => Some(Asked::Amount),
        Asked::Way if next.is(class::REASON) => Some(Asked::Reason),
        asked => Some(asked),
    }
}
