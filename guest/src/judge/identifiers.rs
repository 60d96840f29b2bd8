//! Versions, codes, file names, operators and options.

use super::bytes::filtered;
use super::language::hash;
use super::matching::{item, places, sort};
use super::numbers::{self, Number};
use super::text::Text;
use super::{Evidence, Pair, Span};

/// The most codes without a partner that are looked for among the words, and the most versions.
const TRIED: usize = 12;

/// The most tokens that one code may be written as.
const PARTS: usize = 4;

/// A code of each text that the other does not have.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (query, entry) = (pair.query, pair.entry);
    let (a, b) = (unwritten(query, entry), unwritten(entry, query));
    if let (Some(x), Some(y)) = (a.first(), b.first()) {
        return Some(Evidence::of(*x, *y));
    }
    if !(a.is_empty() && b.is_empty()) {
        // `python3` and `python 2`.
        let [of_a, of_b] = numbers::alone(query, entry);
        let found = with_number(query, &a, &of_b);
        if let Some((x, y)) = found {
            return Some(Evidence { query: x, entry: y });
        }
        let found = with_number(entry, &b, &of_a);
        if let Some((y, x)) = found {
            return Some(Evidence { query: x, entry: y });
        }
        // An option that only one of two commands has, which are otherwise the same.
        let is_option = |text: &Text, codes: &[usize]| {
            codes
                .iter()
                .any(|at| text.tokens.word_at(*at).starts_with(b"-"))
        };
        if pair.left.len() == 0 && (is_option(query, &a) || is_option(entry, &b)) {
            let place = |codes: &[usize]| codes.first().copied().unwrap_or(0);
            return Some(Evidence::of(place(&a), place(&b)));
        }
    }
    version(pair)
}

/// A code with digits, and a number of the other text that is not the same: `Q2` is the second
/// quarter.
#[inline(never)]
fn with_number(text: &Text, codes: &[usize], numbers: &[Number]) -> Option<(Span, Span)> {
    for at in codes {
        let word = text.tokens.word_at(*at);
        let digits = filtered(word, &|byte| byte.is_ascii_digit());
        let value = numbers::value(&digits);
        for number in numbers {
            if number.value != value && !number.weak && !digits.is_empty() {
                return Some(((*at, *at), number.span));
            }
        }
    }
    None
}

/// The tokens of codes that are not in another text, not even as separate words.
#[inline(never)]
fn unwritten(text: &Text, other: &Text) -> Vec<usize> {
    let mut alone = places(&text.codes, &other.codes);
    alone.truncate(TRIED);
    alone.retain(|at| !is_written(text.tokens.word_at(*at), other));
    alone
}

/// The code is there, maybe in parts: `python3` as `python 3`.
fn is_written(code: &[u8], text: &Text) -> bool {
    for (start, token) in text.tokens.all().iter().enumerate() {
        if text.tokens.first_byte(token) != code.first() {
            continue;
        }
        let mut rest = code;
        for at in start..start + PARTS {
            let word = text.tokens.word_at(at);
            if word.is_empty() || !rest.starts_with(word) {
                break;
            }
            rest = &rest[word.len()..];
            if rest.is_empty() {
                return true;
            }
        }
    }
    false
}

/// A letter, which is a code, but a name too: `R 3.1`.
fn is_letter(word: &[u8]) -> bool {
    word.len() == 1 && word[0].is_ascii_alphabetic()
}

/// Versions that are equal as numbers: `3.1` and `3.10` behind the same name.
fn version(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (versions(pair.query), versions(pair.entry));
    let of_b = places(&b, &a);
    for x in places(&a, &b).into_iter().take(TRIED) {
        let name = pair.query.tokens.before(x).stem;
        let same_name = |y: &&usize| pair.entry.tokens.before(**y).stem == name;
        if let Some(y) = of_b.iter().take(TRIED).find(same_name) {
            return Some(Evidence::of(x, *y));
        }
    }
    None
}

/// Versions by their hashes and those of the names before them. `2.0` is `2`, but `3.10` is not `3.1`.
#[inline(never)]
fn versions(text: &Text) -> Vec<u64> {
    let mut versions = Vec::new();
    for number in &text.numbers {
        let at = number.span.0;
        let (name, token) = (text.tokens.before(at), text.tokens.at(at));
        let word = text.tokens.word(token);
        if token.is_plain()
            && number.unit.dimension == 0
            && word.contains(&b'.')
            && (name.is_word() || is_letter(text.tokens.word(name)))
            && name.is_content()
            && name.stem != 0
        {
            let version = hash(word.strip_suffix(b".0").unwrap_or(word));
            versions.push(item(version ^ name.stem, at));
        }
    }
    sort(&mut versions);
    versions
}
