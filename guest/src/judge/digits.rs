//! Reading what begins with a digit: numbers, dates, times, versions.

use super::bytes::{any, byte, digits, filtered, find, number, part};
use super::scanner::Scanner;
use super::tokens::Kind;
use std::ops::Range;

/// Two digits from here on are a year of the last century.
const LAST_CENTURY: u32 = 70;

/// The most digits of a part of a date.
const LONGEST: usize = 4;

/// Reads a piece that begins with a digit.
pub fn read(scanner: &mut Scanner, at: Range<usize>, money: bool) {
    let mut at = at;
    loop {
        let piece = scanner.part(&at);
        let is_plain = digits(piece) == piece.len();
        if !is_plain && let Some((kind, value, unsure)) = day(piece).or_else(|| time(piece)) {
            let token = scanner.push(at, piece, b"", kind);
            token.value = value;
            token.unsure = unsure;
            return;
        }
        let end = number_end(piece);
        let mut buffer;
        let mut word = &piece[..end];
        if any(word, b",") {
            buffer = plain(word);
            word = &buffer;
        }
        let rest = &piece[end..];
        let letters = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let sign = byte(rest, letters);
        let next = part(rest, letters + 1, rest.len());
        let next_digits = number_end(next);
        let joins = letters <= 3 && (sign == b'-' || sign == b'/');
        let (mut suffix, mut goes_on) = (part(rest, 0, letters), false);
        if word.iter().filter(|byte| **byte == b'.').count() > 1 {
            scanner.code(at, true);
            return;
        }
        if rest == b"%" {
            suffix = rest;
        } else if let Some(degrees) = rest.strip_prefix("°".as_bytes()) {
            suffix = degrees;
        } else if rest.len() == letters || rest == b"+" {
            // The suffix is all that is behind.
        } else if letters == 0
            && sign == b'/'
            && next_digits == next.len()
            && let Some(fraction) = fraction(word, next)
        {
            buffer = fraction;
            word = &buffer;
        } else if joins && !next.is_empty() && (next_digits == 0 || byte(next, next_digits) != b'-')
        {
            goes_on = true;
        } else {
            // A telephone number, or something else.
            scanner.code(at, true);
            return;
        }
        let behind = at.end - next.len();
        let end = if goes_on { behind - 1 } else { at.end };
        let token = scanner.push(at.start..end, word, suffix, Kind::Number);
        token.money = money;
        if !goes_on {
            return;
        }
        at = behind..at.end;
        if next_digits == 0 {
            scanner.words(at);
            return;
        }
    }
}

/// Where a number ends, with its separators.
fn number_end(bytes: &[u8]) -> usize {
    let mut end = digits(bytes);
    while end > 0 && b",.".contains(&byte(bytes, end)) {
        let more = digits(&bytes[end + 1..]);
        if more == 0 {
            break;
        }
        end += 1 + more;
    }
    end
}

/// Digits without separators of thousands; `3,5` is `3.5`.
fn plain(digits: &[u8]) -> Vec<u8> {
    let comma = find(digits, b",").unwrap_or(0);
    let behind = part(digits, comma + 1, digits.len());
    if comma > 0 && behind.len() != 3 && find(behind, b",").is_none() && !any(digits, b".") {
        let mut plain = digits.to_vec();
        plain[comma] = b'.';
        return plain;
    }
    filtered(digits, &|byte| byte != b',')
}

/// A fraction as a decimal of six digits.
fn fraction(numerator: &[u8], denominator: &[u8]) -> Option<Vec<u8>> {
    let small = |digits: &[u8]| {
        let number = number(digits)?;
        (digits.len() <= 3 && number > 0).then_some(number)
    };
    let mut millionths = small(numerator)? * 1_000_000 / small(denominator)?;
    let mut decimal = Vec::new();
    while millionths > 0 || decimal.len() < 8 {
        if decimal.len() == 6 {
            decimal.push(b'.');
        }
        decimal.push(b'0' + (millionths % 10) as u8);
        millionths /= 10;
    }
    decimal.reverse();
    Some(decimal)
}

/// Two or three groups of digits with the same separator between them, and how long they are.
#[inline(never)]
fn groups(text: &[u8], separator: u8) -> Option<([u32; 3], [usize; 3])> {
    let (mut values, mut lengths) = ([0; 3], [0; 3]);
    let mut group = 0;
    for byte in text {
        if *byte == separator {
            group += 1;
        }
        let value = values.get_mut(group)?;
        if byte.is_ascii_digit() {
            *value = *value * 10 + u32::from(*byte - b'0');
            lengths[group] += 1;
        } else if *byte != separator {
            return None;
        }
        if lengths[group] > LONGEST {
            return None;
        }
    }
    Some((values, lengths))
}

/// A date in digits.
fn day(piece: &[u8]) -> Option<(Kind, u32, bool)> {
    let separator = piece[find(piece, b"-/.")?];
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
    let (month, day) = if is_month(first) {
        (first, second)
    } else {
        (second, first)
    };
    let unsure = lengths[0] < 4 && is_month(day) && month != day;
    let fits = is_month(month) && (1..=31).contains(&day);
    fits.then_some((Kind::Day, year << 16 | month << 8 | day, unsure))
}

/// Ends of times of day, and where the halves of the day begin.
const HALVES: [(&[u8], u32); 4] = [(b"am", 0), (b"a.m", 0), (b"pm", 12), (b"p.m", 12)];

/// A time of day: `15:30`, `3pm`, `3:30am`.
fn time(piece: &[u8]) -> Option<(Kind, u32, bool)> {
    let mut half = None;
    let mut clock = piece;
    for (ending, hours) in HALVES {
        if let Some(front) = piece.strip_suffix(ending) {
            half = Some(hours);
            clock = front;
        }
    }
    let mut found = groups(clock, b':');
    if half.is_some() && found.is_none() {
        found = groups(clock, b'.');
    }
    let ([hours, minutes, seconds], lengths) = found?;
    let is_clock = lengths[1] == 2 || half.is_some() && lengths[1] == 0;
    let is_half_hour = (1..=12).contains(&hours);
    let is_half = half.is_none() || is_half_hour;
    if !is_clock || !is_half || hours > 24 || minutes > 59 || seconds > 59 || lengths[0] > 2 {
        return None;
    }
    let since_noon = half.map_or(hours, |half| hours % 12 + half);
    let seconds = since_noon % 24 * 3600 + minutes * 60 + seconds;
    Some((Kind::Time, seconds, half.is_none() && is_half_hour))
}
