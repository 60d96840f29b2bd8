//! The rules of the strict profile: other names, other question words.

use super::language::{Asked, class};
use super::text::Text;
use super::{Evidence, Pair};

/// A name of each text that the other does not have.
pub fn name(pair: &Pair) -> Option<Evidence> {
    let first = |text: &Text, left: &[usize]| left.iter().copied().find(|at| text.is_capital(*at));
    let x = first(pair.query, &pair.left.query)?;
    let y = first(pair.entry, &pair.left.entry)?;
    Some(Evidence {
        query: (x, x),
        entry: (y, y),
    })
}

/// The texts ask for different things: the one when, the other why.
pub fn question(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (asked(pair.query), asked(pair.entry));
    let (x, y) = (a.first()?, b.first()?);
    let chooses = |text: &Text| text.tokens.iter().any(|token| token.is(class::JOINER));
    let either = chooses(pair.query) || chooses(pair.entry);
    let amount = |text: &Text, question: &Question| {
        let next = text.tokens.get(question.token + 1);
        next.map(|next| next.stem.clone())
    };
    let differ = a.iter().all(|x| {
        b.iter().all(|y| match (x.asked, y.asked) {
            // `How long` and `how much`.
            (Asked::Amount, Asked::Amount) => amount(pair.query, x) != amount(pair.entry, y),
            // `Was it in May or June?` asks when.
            (Asked::Truth, _) | (_, Asked::Truth) if either => false,
            (x, y) => exclude(x, y),
        })
    });
    differ.then_some(Evidence {
        query: (x.token, x.token),
        entry: (y.token, y.token),
    })
}

/// Nobody who asks for the one is content with the other.
fn exclude(one: Asked, other: Asked) -> bool {
    use Asked::{Advice, Amount, Person, Place, Possibility, Reason, Time, Truth, Way};
    let sure = |asked| matches!(asked, Person | Time | Place | Reason | Amount);
    let pairs = |one, other| {
        matches!(
            (one, other),
            (Way, Person | Time | Reason | Amount | Advice)
                | (Reason | Time | Person, Truth | Advice | Possibility)
                | (Advice, Place)
        )
    };
    one != other && (sure(one) && sure(other) || pairs(one, other) || pairs(other, one))
}

/// A sentence that asks.
struct Question {
    token: usize,
    asked: Asked,
}

/// What the sentences of a text ask for.
fn asked(text: &Text) -> Vec<Question> {
    let mut found = Vec::new();
    let mut begins = true;
    for at in 0..text.tokens.len() {
        let token = &text.tokens[at];
        if begins && let Some(asked) = asks(text, at) {
            found.push(Question { token: at, asked });
        }
        // `Hi, how can I`, `In Rust, when`, `When and where`.
        begins = token.ends || token.comma || token.is(class::JOINER);
    }
    found
}

fn asks(text: &Text, at: usize) -> Option<Asked> {
    let next = |class| text.tokens.get(at + 1).is_some_and(|next| next.is(class));
    match text.tokens[at].form.asks? {
        Asked::Way if next(class::AMOUNT) => Some(Asked::Amount),
        Asked::Way if next(class::REASON) => Some(Asked::Reason),
        asked => Some(asked),
    }
}
