//! Reading what begins with a digit: numbers, dates, times, versions.

use super::bytes::part;
use super::tokens::{Kind, Scanner};
use std::ops::Range;

/// Two digits from here on are a year of the last century.
const LAST_CENTURY: u32 = 70;

/// The most digits of a part of a date or a fraction.
const LONGEST: usize = 4;

/// Reads a piece that begins with a digit.
pub fn read(scanner: &mut Scanner, at: Range<usize>, money: bool) {
    let piece = scanner.part(at.clone()).to_string();
    if let Some(kind) = day(&piece).or_else(|| time(&piece)) {
        scanner.push(at, &piece, kind);
        return;
    }
    let end = number_end(piece.as_bytes());
    let digits = plain(part(&piece, 0..end));
    let rest = part(&piece, end..piece.len());
    let middle = at.start + end;
    let number = |suffix: &str| Kind::Number {
        suffix: suffix.to_string(),
        money,
    };
    if digits.bytes().filter(|byte| *byte == b'.').count() > 1 {
        scanner.code(at, true);
        return;
    }
    let letters = rest
        .bytes()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let behind = part(rest, letters..rest.len());
    let next = part(behind, 1..behind.len());
    let next_digits = number_end(next.as_bytes());
    let joins = matches!(behind.bytes().next(), Some(b'-' | b'/')) && letters <= 3;
    if matches!(rest, "" | "+") {
        scanner.push(at, &digits, number(""));
    } else if rest == "%" {
        scanner.push(at, &digits, number("%"));
    } else if let Some(degrees) = rest.strip_prefix('°') {
        scanner.push(at, &digits, number(degrees));
    } else if letters == 0
        && behind.starts_with('/')
        && next_digits == next.len()
        && let Some(value) = fraction(&digits, next)
    {
        scanner.push(at, &value, number(""));
    } else if joins && next_digits > 0 && part(next, next_digits..next.len()).starts_with('-') {
        // A telephone number.
        scanner.code(at, true);
    } else if joins && !next.is_empty() {
        scanner.push(
            at.start..middle + letters,
            &digits,
            number(part(rest, 0..letters)),
        );
        let behind = middle + letters + 1..at.end;
        if next_digits > 0 {
            read(scanner, behind, money);
        } else {
            scanner.words(behind);
        }
    } else if behind.is_empty() {
        scanner.push(at, &digits, number(rest));
    } else {
        scanner.code(at, true);
    }
}

/// Where a number ends, with its separators.
fn number_end(bytes: &[u8]) -> usize {
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while is_digit(end)
        || end > 0 && end < bytes.len() && b",.".contains(&bytes[end]) && is_digit(end + 1)
    {
        end += 1;
    }
    end
}

/// Digits without separators of thousands, and without zeros behind the point; `3,5` is `3.5`.
fn plain(digits: &str) -> String {
    let last = digits.split(',').next_back().unwrap_or("");
    let is_decimal = digits.len() - last.len() > 1 && last.len() != 3 && !digits.contains('.');
    let commas = digits.bytes().filter(|byte| *byte == b',').count();
    if is_decimal && commas == 1 {
        digits.replace(',', ".")
    } else {
        digits.replace(',', "")
    }
}

/// A fraction as a decimal of six digits.
fn fraction(numerator: &str, denominator: &str) -> Option<String> {
    let small = |digits: &str| {
        let number: u32 = digits.parse().ok()?;
        (digits.len() <= 3 && number > 0).then_some(number)
    };
    let millionths = small(numerator)? * 1_000_000 / small(denominator)?;
    Some(format!(
        "{}.{:06}",
        millionths / 1_000_000,
        millionths % 1_000_000
    ))
}

/// Two or three groups of digits with the same separator between them, and how long they are.
fn groups(text: &str, separator: u8) -> Option<([u32; 3], [usize; 3])> {
    let (mut values, mut lengths) = ([0; 3], [0; 3]);
    let mut group = 0;
    for byte in text.bytes() {
        if byte == separator {
            group += 1;
        } else if byte.is_ascii_digit() {
            *values.get_mut(group)? = values[group] * 10 + u32::from(byte - b'0');
            lengths[group] += 1;
            if lengths[group] > LONGEST {
                return None;
            }
        } else {
            return None;
        }
        if group > 2 {
            return None;
        }
    }
    Some((values, lengths))
}

/// A date in digits.
fn day(piece: &str) -> Option<Kind> {
    let separator = piece.bytes().find(|byte| b"-/.".contains(byte))?;
    let ([a, b, c], lengths) = groups(piece, separator)?;
    let (year, first, second) = match lengths {
        [4, 1..=2, 1..=2] => (a, b, c),
        [1..=2, 1..=2, 4] => (c, a, b),
        [1..=2, 1..=2, 2] if separator == b'/' => {
            (c + if c < LAST_CENTURY { 2000 } else { 1900 }, a, b)
        }
        _ => return None,
    };
    let is_month = |month: u32| (1..=12).contains(&month);
    let year_first = lengths[0] == 4;
    let (month, day) = if is_month(first) {
        (first, second)
    } else {
        (second, first)
    };
    (is_month(month) && (1..=31).contains(&day)).then_some(Kind::Day {
        year,
        month,
        day,
        unsure: !year_first && is_month(day) && month != day,
    })
}

/// A time of day: `15:30`, `3pm`, `3:30am`.
fn time(piece: &str) -> Option<Kind> {
    let mut half = None;
    let mut clock = piece;
    for (ending, hours) in [("am", 0), ("a.m", 0), ("pm", 12), ("p.m", 12)] {
        if let Some(front) = piece.strip_suffix(ending) {
            half = Some(hours);
            clock = front;
        }
    }
    let ([hours, minutes, seconds], lengths) = groups(clock, b':').or_else(|| {
        half?;
        groups(clock, b'.')
    })?;
    let is_clock = lengths[1] == 2 || half.is_some() && lengths[1] == 0;
    let is_half = half.is_none() || (1..=12).contains(&hours);
    if !is_clock || !is_half || hours > 24 || minutes > 59 || seconds > 59 || lengths[0] > 2 {
        return None;
    }
    let since_noon = half.map_or(hours, |half| hours % 12 + half);
    Some(Kind::Time {
        seconds: since_noon % 24 * 3600 + minutes * 60 + seconds,
        unsure: half.is_none() && (1..=12).contains(&hours),
    })
}
