//! Negations in texts that are otherwise the same.

use super::class;
use super::text::Text;
use super::{Evidence, Pair, Span};

/// One text has an odd number of negations, and the other an even one.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (query, entry) = (pair.query, pair.entry);
    // `Isn't it true?` asks what `Is it true?` asks.
    let both_closed = query.tokens.is(0, class::AUXILIARY) && entry.tokens.is(0, class::AUXILIARY);
    let (a, b) = (negations(query, both_closed), negations(entry, both_closed));
    let most = query.content().max(entry.content());
    if a.0 == b.0 || pair.left.len() > most / SAME {
        return None;
    }
    Some(Evidence {
        query: a.1,
        entry: b.1,
    })
}

/// Of so many words one may differ in texts that are otherwise the same.
const SAME: usize = 5;

/// There is an odd number of negations, and the words around the first; else the first words.
#[inline(never)]
fn negations(text: &Text, both_closed: bool) -> (bool, Span) {
    let tokens = &text.tokens;
    let last = tokens.len().saturating_sub(1);
    let (mut odd, mut span) = (false, None);
    for at in 0..last {
        let (token, next) = (tokens.at(at), tokens.at(at + 1));
        // `not only`, `no. 5`, `why not?`
        let is_none = !token.is(class::NEGATION)
            || token.ends
            || next.is(class::UNNEGATED)
            || next.is_number()
            || tokens.before(at).is(class::CANCELS_NEGATION)
            || both_closed && at == 1 && token.at == tokens.at(0).at;
        if !is_none {
            odd = !odd;
            span = span.or(Some((at.saturating_sub(1), at + 1)));
        }
    }
    (odd, span.unwrap_or((0, last.min(3))))
}
