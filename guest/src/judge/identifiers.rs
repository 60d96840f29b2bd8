//! Versions, codes, file names, operators and options.

use super::matching::{sorted, unmatched};
use super::numbers::{self, Number};
use super::text::Text;
use super::tokens::Kind;
use super::{Evidence, Pair};

/// The most codes without a partner that are looked for among the words.
const TRIED: usize = 24;

/// The most tokens that one code may be written as.
const PARTS: usize = 4;

/// A code of each text that the other does not have.
pub fn find(pair: &Pair) -> Option<Evidence> {
    let (query, entry) = (pair.query, pair.entry);
    let (a, b) = alone(query, entry);
    if let (Some(x), Some(y)) = (a.first(), b.first()) {
        return Some(Evidence::of(*x, *y));
    }
    if !(a.is_empty() && b.is_empty()) {
        // `python3` and `python 2`.
        let (of_a, of_b) = numbers::alone(query, entry);
        if let Some((x, y)) = with_number(query, &a, of_b) {
            return Some(Evidence { query: x, entry: y });
        }
        if let Some((y, x)) = with_number(entry, &b, of_a) {
            return Some(Evidence { query: x, entry: y });
        }
        // An option that only one of two commands has, which are otherwise the same.
        let is_option = |text: &Text, codes: &[usize]| {
            codes
                .iter()
                .any(|at| text.tokens.at(*at).word.starts_with('-'))
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
fn with_number(
    text: &Text,
    codes: &[usize],
    numbers: Vec<Number>,
) -> Option<(super::Span, super::Span)> {
    for at in codes {
        let mut digits = text.tokens.at(*at).word.clone();
        digits.retain(|c| c.is_ascii_digit());
        let value = numbers::value(&digits);
        let others = numbers.iter().filter(|number| number.value != value);
        if !digits.is_empty()
            && let Some(number) = others.into_iter().find(|number| !number.weak)
        {
            return Some(((*at, *at), number.span));
        }
    }
    None
}

/// Codes of each text that are not in the other, not even as separate words.
fn alone(query: &Text, entry: &Text) -> (Vec<usize>, Vec<usize>) {
    let stem = |text: &Text, code: usize| text.tokens.at(text.codes[code]).stem;
    let order = |text: &Text| sorted(text.codes.len(), &|x, y| stem(text, x).cmp(&stem(text, y)));
    let (a, b) = unmatched(&order(query), &order(entry), &|x, y| {
        stem(query, x).cmp(&stem(entry, y))
    });
    let unwritten = |text: &Text, codes: Vec<usize>, other: &Text| {
        let mut alone = Vec::new();
        for code in codes.into_iter().take(TRIED) {
            let at = text.codes[code];
            if !is_written(&text.tokens.at(at).word, other) {
                alone.push(at);
            }
        }
        alone
    };
    (unwritten(query, a, entry), unwritten(entry, b, query))
}

/// The code is there, maybe in parts: `python3` as `python 3`.
fn is_written(code: &str, text: &Text) -> bool {
    for start in 0..text.tokens.len() {
        let mut rest = code;
        for at in start..start + PARTS {
            let token = text.tokens.at(at);
            match rest.strip_prefix(token.word.as_str()) {
                Some("") => return true,
                Some(behind) if !token.word.is_empty() => rest = behind,
                _ => break,
            }
        }
    }
    false
}

/// Versions that are equal as numbers: `3.1` and `3.10` behind the same name.
fn version(pair: &Pair) -> Option<Evidence> {
    let (a, b) = (versions(pair.query), versions(pair.entry));
    for (name, version, x) in &a {
        let mut same_name = b.iter().filter(|other| other.0 == *name);
        let y = same_name.clone().next();
        if let Some(y) = y
            && same_name.all(|other| other.1 != *version)
            && a.iter().all(|other| other.0 != *name || other.1 != y.1)
        {
            return Some(Evidence::of(*x, y.2));
        }
    }
    None
}

/// Versions with the names before them and their tokens. `2.0` is `2`, but `3.10` is not `3.1`.
fn versions<'t>(text: &'t Text) -> Vec<(u64, &'t str, usize)> {
    let mut versions = Vec::new();
    for number in &text.numbers {
        let at = number.span.0;
        let (name, token) = (text.tokens.before(at), text.tokens.at(at));
        let is_plain =
            matches!(&token.kind, Kind::Number { suffix, money: false } if suffix.is_empty());
        if is_plain
            && number.unit.is_none()
            && token.word.contains('.')
            && name.is_word()
            && name.is_content()
            && name.stem != 0
            && versions.len() < TRIED
        {
            let word = token.word.as_str();
            versions.push((name.stem, word.strip_suffix(".0").unwrap_or(word), at));
        }
    }
    versions
}
