//! Reading what begins with a digit: numbers, dates, times, versions.

use super::tokens::Kind;
use std::ops::Range;

/// The years that two digits stand for: 70 to 99 are of the last century.
const FIRST_TWO_DIGIT_YEAR: u16 = 70;

/// Reads a piece that begins with a digit, and hands on its tokens; words that hang on it come
/// without a kind.
pub fn read(
    text: &str,
    at: Range<usize>,
    money: bool,
    push: &mut dyn FnMut(Range<usize>, String, Option<Kind>),
) {
    let piece = &text[at.clone()];
    if let Some(kind) = day(piece).or_else(|| time(piece)) {
        push(at, piece.to_string(), Some(kind));
        return;
    }
    let bytes = piece.as_bytes();
    let end = number_end(bytes);
    let digits: String = piece[..end].chars().filter(|c| *c != ',').collect();
    let rest = &piece[end..];
    if digits.matches('.').count() > 1 {
        // A version or an address.
        let mut word = digits;
        while let Some(shorter) = word.strip_suffix(".0") {
            word.truncate(shorter.len());
        }
        word.push_str(rest);
        push(at, word, Some(Kind::Code));
        return;
    }
    let number = |digits: String, suffix: &str| Kind::Number {
        digits,
        suffix: suffix.to_string(),
        money,
    };
    let first = rest.chars().next();
    match first {
        None => push(at, digits.clone(), Some(number(digits, ""))),
        Some('-' | '/') => {
            let second = &rest[1..];
            let second_end = number_end(second.as_bytes());
            if first == Some('/')
                && second_end == second.len()
                && let Some(value) = fraction(&digits, second)
            {
                push(at, piece.to_string(), Some(number(value, "")));
            } else if second.matches('-').count() > 0 && second_end > 0 {
                // A telephone number or a code.
                let word = piece.chars().filter(|c| *c != '-').collect();
                push(at, word, Some(Kind::Code));
            } else {
                let middle = at.start + end;
                push(at.start..middle, digits.clone(), Some(number(digits, "")));
                if second_end > 0 {
                    read(text, middle + 1..at.end, money, push);
                } else {
                    push(middle + 1..at.end, String::new(), None);
                }
            }
        }
        Some('+') if rest.len() == 1 => push(at, digits.clone(), Some(number(digits, ""))),
        Some('%') => {
            push(at, digits.clone(), Some(number(digits, "%")));
        }
        Some('°') => {
            let suffix = rest.replace('°', "");
            push(at, digits.clone(), Some(number(digits, &suffix)));
        }
        Some(_) => {
            let letters = rest
                .find(|c: char| !c.is_alphabetic())
                .unwrap_or(rest.len());
            let (suffix, behind) = rest.split_at(letters);
            if letters > 0 && behind.starts_with(['-', '/']) && suffix.len() <= 3 {
                let middle = at.start + end + letters;
                push(
                    at.start..middle,
                    digits.clone(),
                    Some(number(digits, suffix)),
                );
                if behind[1..].starts_with(|c: char| c.is_ascii_digit()) {
                    read(text, middle + 1..at.end, money, push);
                } else {
                    push(middle + 1..at.end, String::new(), None);
                }
            } else if letters > 0 && behind.is_empty() {
                push(at, digits.clone(), Some(number(digits, suffix)));
            } else {
                let word = piece.chars().filter(|c| *c != '-' && *c != '/').collect();
                push(at, word, Some(Kind::Code));
            }
        }
    }
}

/// Where a number ends, with its separators.
fn number_end(bytes: &[u8]) -> usize {
    let mut end = 0;
    while end < bytes.len() {
        let inside = matches!(bytes[end], b',' | b'.')
            && end > 0
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !bytes[end].is_ascii_digit() && !inside {
            break;
        }
        end += 1;
    }
    end
}

/// A fraction as a decimal of six digits.
fn fraction(numerator: &str, denominator: &str) -> Option<String> {
    let numerator: u64 = numerator.parse().ok().filter(|n| *n < 1000)?;
    let denominator: u64 = denominator.parse().ok().filter(|n| *n > 0 && *n < 1000)?;
    let millionths = numerator * 1_000_000 / denominator;
    Some(format!(
        "{}.{:06}",
        millionths / 1_000_000,
        millionths % 1_000_000
    ))
}

/// A date in digits.
fn day(piece: &str) -> Option<Kind> {
    let separator = piece.chars().find(|c| matches!(c, '-' | '/' | '.'))?;
    let mut parts = piece.split(separator);
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    let are_digits = [a, b, c]
        .iter()
        .all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
    if parts.next().is_some() || !are_digits {
        return None;
    }
    let value = |part: &str| part.parse::<u16>().unwrap_or(0);
    let (year, first, second) = match (a.len(), b.len(), c.len()) {
        (4, 1..=2, 1..=2) => {
            let (month, day) = (value(b), value(c));
            let kind = Kind::Day {
                year: value(a),
                month: month as u8,
                day: day as u8,
                unsure: false,
            };
            return (is_month(month) && is_day(day)).then_some(kind);
        }
        (1..=2, 1..=2, 4) => (value(c), value(a), value(b)),
        (1..=2, 1..=2, 2) if separator == '/' => {
            let year = value(c);
            let century = if year < FIRST_TWO_DIGIT_YEAR {
                2000
            } else {
                1900
            };
            (century + year, value(a), value(b))
        }
        _ => return None,
    };
    let (month, day, unsure) = match (is_month(first), is_month(second)) {
        (true, true) => (first, second, first != second),
        (true, false) => (first, second, false),
        (false, true) => (second, first, false),
        (false, false) => return None,
    };
    is_day(day).then_some(Kind::Day {
        year,
        month: month as u8,
        day: day as u8,
        unsure,
    })
}

fn is_month(month: u16) -> bool {
    (1..=12).contains(&month)
}

fn is_day(day: u16) -> bool {
    (1..=31).contains(&day)
}

/// A time of day: `15:30`, `3pm`, `3:30am`.
fn time(piece: &str) -> Option<Kind> {
    let (clock, half) = if let Some(clock) = piece
        .strip_suffix("am")
        .or_else(|| piece.strip_suffix("a.m"))
    {
        (clock, Some(0))
    } else if let Some(clock) = piece
        .strip_suffix("pm")
        .or_else(|| piece.strip_suffix("p.m"))
    {
        (clock, Some(12))
    } else {
        (piece, None)
    };
    let mut parts = clock.split([':', '.']);
    let mut next = || -> Option<Option<u32>> {
        let Some(part) = parts.next() else {
            return Some(None);
        };
        let is_short = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        Some(Some(part.parse().ok().filter(|_| is_short)?))
    };
    let hours = next()??;
    let (minutes, seconds) = (next()?, next()?);
    if parts.next().is_some() || (half.is_none() && (minutes.is_none() || !clock.contains(':'))) {
        return None;
    }
    let (minutes, seconds) = (minutes.unwrap_or(0), seconds.unwrap_or(0));
    if hours > 24 || minutes > 59 || seconds > 59 || (half.is_some() && !(1..=12).contains(&hours))
    {
        return None;
    }
    let hours = half.map_or(hours, |half| hours % 12 + half);
    Some(Kind::Time {
        seconds: hours % 24 * 3600 + minutes * 60 + seconds,
        unsure: half.is_none() && (1..=12).contains(&hours),
    })
}
