//! Negations in texts that are otherwise the same.

use super::class;
use super::text::Text;
use super::tokens::Kind;
use super::{Evidence, Pair, Span};

/// One text has an odd number of negations, and the other an even one.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (query, entry) = (pair.query, pair.entry);
    // `Isn't it true?` asks what `Is it true?` asks.
    let both_closed = query.tokens.is(0, class::AUXILIARY) && entry.tokens.is(0, class::AUXILIARY);
    let (a, b) = (negations(query, both_closed), negations(entry, both_closed));
    let most = query.content().max(entry.content());
    if a.0 % 2 == b.0 % 2 || pair.left.len() > most / SAME {
        return None;
    }
    Some(Evidence {
        query: a.1,
        entry: b.1,
    })
}

/// Of so many words one may differ in texts that are otherwise the same.
const SAME: usize = 5;

/// How many negations there are, and the words around the first; else the first words.
fn negations(text: &Text, both_closed: bool) -> (usize, Span) {
    let last = text.tokens.len().saturating_sub(1);
    let (mut count, mut span) = (0, (0, last.min(3)));
    for at in 0..=last {
        let token = text.tokens.at(at);
        let next = text.tokens.at(at + 1);
        // `not only`, `no. 5`, `why not?`
        let is_none = !token.is(class::NEGATION)
            || token.ends
            || at == last
            || next.is(class::UNNEGATED)
            || matches!(next.kind, Kind::Number { .. })
            || text.tokens.before(at).is(class::CANCELS_NEGATION)
            || both_closed && at == 1 && token.at == text.tokens.at(0).at;
        if !is_none {
            if count == 0 {
                span = (at.saturating_sub(1), at + 1);
            }
            count += 1;
        }
    }
    (count, span)
}
