//! The rules of the strict profile: other names, other question words.

use super::language::class;
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
    let differ = a
        .iter()
        .all(|x| b.iter().all(|y| x.asked.excludes(y.asked)));
    differ.then_some(Evidence {
        query: (x.token, x.token),
        entry: (y.token, y.token),
    })
}

/// What a question asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Person,
    Time,
    Place,
    Reason,
    Amount,
    Way,
    Thing,
    /// Yes or no: whether it is so.
    Truth,
    /// Yes or no: whether to do so.
    Advice,
    /// Yes or no: whether it can be done, which is often asked for the way.
    Possibility,
}

impl Asked {
    /// Nobody who asks for the one is content with the other.
    fn excludes(self, other: Self) -> bool {
        use Asked::{Advice, Amount, Person, Place, Possibility, Reason, Time, Truth, Way};
        let sure = |asked| matches!(asked, Person | Time | Place | Reason | Amount);
        self != other
            && (sure(self) && sure(other)
                || [(self, other), (other, self)].iter().any(|(one, other)| {
                    matches!(
                        (one, other),
                        (Way, Person | Time | Reason | Amount | Advice)
                            | (Reason | Time | Person, Truth | Advice | Possibility)
                            | (Advice, Truth | Place)
                    )
                }))
    }
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
    let word = |at: usize| text.tokens.get(at).map_or("", |token| token.word.as_str());
    Some(match word(at) {
        "who" | "whom" | "whose" => Asked::Person,
        "when" => Asked::Time,
        "where" => Asked::Place,
        "why" => Asked::Reason,
        "how" => match word(at + 1) {
            "many" | "much" | "long" | "often" | "old" | "far" | "big" | "tall" => Asked::Amount,
            "come" => Asked::Reason,
            _ => Asked::Way,
        },
        "what" | "which" => Asked::Thing,
        "should" | "shall" => Asked::Advice,
        "can" | "could" | "may" | "might" => Asked::Possibility,
        _ if text.tokens[at].is(class::AUXILIARY) => Asked::Truth,
        _ => return None,
    })
}
