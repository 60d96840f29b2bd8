//! Negations in texts that are otherwise the same.

use super::language::class;
use super::text::Text;
use super::tokens::Kind;
use super::{Evidence, Pair, Span};

/// One text has an odd number of negations, and the other an even one.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (negations(pair.query), negations(pair.entry));
    let is_closed = |text: &Text| {
        text.tokens
            .first()
            .is_some_and(|token| token.is(class::AUXILIARY))
    };
    // `Isn't it true?` asks what `Is it true?` asks.
    let both_closed = is_closed(pair.query) && is_closed(pair.entry);
    let count = |text: &Text, found: &[usize]| {
        let rhetoric =
            both_closed && found.first() == Some(&1) && text.tokens[0].at == text.tokens[1].at;
        found.len() - usize::from(rhetoric)
    };
    if count(pair.query, &a) % 2 == count(pair.entry, &b) % 2 {
        return None;
    }
    let differ = pair.left.query.len() + pair.left.entry.len();
    if differ > pair.query.content().max(pair.entry.content()) / SAME {
        return None;
    }
    let span = |text: &Text, found: &[usize]| -> Span {
        match found.first() {
            Some(at) => (at.saturating_sub(1), (at + 1).min(text.tokens.len() - 1)),
            None => (0, (text.tokens.len() - 1).min(3)),
        }
    };
    Some(Evidence {
        query: span(pair.query, &a),
        entry: span(pair.entry, &b),
    })
}

/// Of so many words one may differ in texts that are otherwise the same.
const SAME: usize = 5;

/// Tokens that negate something.
fn negations(text: &Text) -> Vec<usize> {
    (0..text.tokens.len())
        .filter(|at| text.tokens[*at].is(class::NEGATION))
        .filter(|at| {
            let behind = at
                .checked_sub(1)
                .is_some_and(|before| text.tokens[before].is(class::CANCELS_NEGATION));
            // `not only`, `no. 5`, `why not?`
            let before = text.tokens.get(at + 1).is_none_or(|next| {
                next.is(class::UNNEGATED) || matches!(next.kind, Kind::Number { .. })
            });
            !behind && !before && !text.tokens[*at].ends
        })
        .collect()
}
