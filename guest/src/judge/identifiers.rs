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
    let a = alone(pair.query, pair.entry);
    let b = alone(pair.entry, pair.query);
    if let (Some(x), Some(y)) = (a.first(), b.first()) {
        return Some(Evidence {
            query: (*x, *x),
            entry: (*y, *y),
        });
    }
    // `python3` and `python 2`.
    let has_digits = |text: &Text, at: usize| {
        let word = &text.tokens[at].word;
        word.bytes().any(|b| b.is_ascii_digit())
    };
    if !(a.is_empty() && b.is_empty()) {
        let (of_a, of_b) = numbers::unmatched(pair.query, pair.entry);
        // `Q2` is the second quarter.
        let named = |text: &Text, codes: &[usize], number: &Number| {
            codes.iter().any(|at| {
                let digits = text.tokens[*at].word.chars();
                let digits: String = digits.filter(char::is_ascii_digit).collect();
                numbers::value(&digits) == number.value
            })
        };
        let strong = |numbers: Vec<&Number>, text: &Text, codes: &[usize]| {
            let found = numbers
                .into_iter()
                .find(|number| !number.weak && !named(text, codes, number));
            found.map(|number| (number.first, number.last))
        };
        let digits_in =
            |text: &Text, codes: &[usize]| codes.iter().copied().find(|at| has_digits(text, *at));
        if let (Some(x), Some(y)) = (digits_in(pair.query, &a), strong(of_b, pair.query, &a)) {
            return Some(Evidence {
                query: (x, x),
                entry: y,
            });
        }
        if let (Some(x), Some(y)) = (strong(of_a, pair.entry, &b), digits_in(pair.entry, &b)) {
            return Some(Evidence {
                query: x,
                entry: (y, y),
            });
        }
    }
    option(pair, &a, &b).or_else(|| version(pair))
}

/// Codes of a text that are not in the other, not even as separate words.
fn alone(text: &Text, other: &Text) -> Vec<usize> {
    // `4lokos` are more than one `4loko`.
    fn word<'a>(text: &'a Text, at: usize) -> &'a str {
        let word = text.tokens[at].word.as_str();
        word.strip_suffix('s')
            .filter(|one| one.len() > 3)
            .unwrap_or(word)
    }
    fn order(text: &Text) -> Vec<usize> {
        sorted(text.codes.len(), &|x, y| {
            word(text, text.codes[x]).cmp(word(text, text.codes[y]))
        })
    }
    let (left, _) = unmatched(&order(text), &order(other), &|x, y| {
        word(text, text.codes[x]).cmp(word(other, other.codes[y]))
    });
    left.into_iter()
        .map(|code| text.codes[code])
        .take(TRIED)
        .filter(|at| !is_written(&text.tokens[*at].word, other))
        .collect()
}

/// The code is there in parts: `python3` as `python 3`.
fn is_written(code: &str, text: &Text) -> bool {
    (0..text.tokens.len()).any(|start| {
        let mut rest = code;
        for token in text.tokens[start..].iter().take(PARTS) {
            match rest.strip_prefix(token.word.as_str()) {
                Some("") => return true,
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        false
    })
}

/// An option that only one of two commands has, which are otherwise the same.
fn option(pair: &Pair, a: &[usize], b: &[usize]) -> Option<Evidence> {
    if !pair.left.query.is_empty() || !pair.left.entry.is_empty() {
        return None;
    }
    let is_option = |text: &Text, at: usize| {
        text.tokens[at].kind == Kind::Code && text.tokens[at].word.starts_with('-')
    };
    let last = |text: &Text| text.tokens.len().saturating_sub(1);
    if let Some(x) = a.iter().find(|at| is_option(pair.query, **at)) {
        return Some(Evidence {
            query: (*x, *x),
            entry: (0, last(pair.entry)),
        });
    }
    let y = b.iter().find(|at| is_option(pair.entry, **at))?;
    Some(Evidence {
        query: (0, last(pair.query)),
        entry: (*y, *y),
    })
}

/// Versions that are equal as numbers: `3.1` and `3.10` behind the same name.
fn version(pair: &Pair) -> Option<Evidence> {
    let versions = |text: &Text| {
        let mut versions = Vec::new();
        for at in 1..text.tokens.len() {
            let name = &text.tokens[at - 1];
            if let Kind::Number {
                digits,
                suffix,
                money: false,
            } = &text.tokens[at].kind
                && suffix.is_empty()
                && digits.contains('.')
                && name.kind == Kind::Word
                && name.is_content()
                && name.form.unit.is_none()
                && text
                    .numbers
                    .iter()
                    .any(|number| number.first == at && number.unit.is_none())
            {
                versions.push((name.stem.clone(), digits.clone(), at));
            }
            if versions.len() == TRIED {
                break;
            }
        }
        versions
    };
    let (a, b) = (versions(pair.query), versions(pair.entry));
    let is_alone = |version: &(String, String, usize), others: &[(String, String, usize)]| {
        others.iter().any(|other| other.0 == version.0)
            && !others
                .iter()
                .any(|other| other.0 == version.0 && same_version(&other.1, &version.1))
    };
    let x = a.iter().find(|version| is_alone(version, &b))?;
    let y = b.iter().find(|version| is_alone(version, &a))?;
    Some(Evidence {
        query: (x.2, x.2),
        entry: (y.2, y.2),
    })
}

/// `2.0` is `2`, but `3.10` is not `3.1`.
fn same_version(a: &str, b: &str) -> bool {
    a.trim_end_matches(".0") == b.trim_end_matches(".0")
}
