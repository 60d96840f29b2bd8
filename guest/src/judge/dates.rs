//! Dates and times of day. Written forms of the same day are equal.

use super::class;
use super::text::Text;
use super::tokens::{Kind, Token, Tokens, Use};
use super::{Evidence, Span, numbers};
use std::ops::Range;

/// What a part of a date is; they are compared in this order.
const YEAR: u8 = 0;
const MONTH: u8 = 1;
const DAY: u8 = 2;
const WEEKDAY: u8 = 3;
const DECADE: u8 = 4;
const TIME: u8 = 5;

/// A part of a date, and the token it is from.
#[derive(Clone, Copy, Debug)]
struct Part {
    unit: u8,
    value: u32,
    token: usize,
    /// What it may be too: the month for a day, twelve hours later for a time. Else its value.
    or: u32,
}

/// The dates of a text, by their parts.
#[derive(Default, Debug)]
pub struct Dates {
    parts: Vec<Part>,
}

/// The most parts of a kind without a partner that are tried, and the most that a number may be.
const TRIED: usize = 24;

/// Half a day in seconds.
const HALF_DAY: u32 = 12 * 3600;

/// The years of a date, and those that need nothing beside them.
const YEARS: Range<u32> = 1000..2200;
const SURE_YEARS: Range<u32> = 1900..2100;

/// The dates of a text; their tokens are used up.
pub fn find(tokens: &Tokens) -> Dates {
    let mut dates = Dates::default();
    for at in 0..tokens.len() {
        if tokens.used(at) != Use::Free {
            continue;
        }
        let token = tokens.at(at);
        let half = tokens.at(at + 1).form.class & (class::MORNING | class::AFTERNOON);
        match token.kind {
            Kind::Day => {
                let (month, day) = (token.value >> 8 & 0xff, token.value & 0xff);
                let or = |value, other| if token.unsure { other } else { value };
                dates.push(tokens, YEAR, token.value >> 16, at);
                dates.push_or(tokens, MONTH, month, at, or(month, day));
                dates.push_or(tokens, DAY, day, at, or(day, month));
            }
            Kind::Time => {
                let seconds = in_half(token.value, half);
                let or = if token.unsure && half == 0 {
                    (seconds + HALF_DAY) % (2 * HALF_DAY)
                } else {
                    seconds
                };
                dates.push_or(tokens, TIME, seconds, at, or);
            }
            Kind::Word if token.is(class::WEEKDAY) => {
                dates.push(tokens, WEEKDAY, u32::from(token.form.calendar), at);
            }
            Kind::Word if token.is(class::MONTH) => dates.month(tokens, at),
            Kind::Number if !token.money => {
                let suffix = tokens.suffix(token);
                let value = tokens.number(token).unwrap_or(0);
                let is_hour = half != 0 && suffix.is_empty() && (1..=12).contains(&value);
                if suffix == b"s" && value.is_multiple_of(10) {
                    let century = match value {
                        20..=99 => 1900,
                        0..=19 => 2000,
                        _ => 0,
                    };
                    dates.push(tokens, DECADE, century + value, at);
                } else if is_hour && !token.closes() {
                    dates.push(tokens, TIME, in_half(value * 3600, half), at);
                } else if is_year(tokens, at) {
                    dates.push(tokens, YEAR, value, at);
                }
            }
            _ => {}
        }
    }
    dates
}

/// A time of day in the half of it that is said.
fn in_half(seconds: u32, half: u32) -> u32 {
    match half {
        0 => seconds,
        class::AFTERNOON => seconds % HALF_DAY + HALF_DAY,
        _ => seconds % HALF_DAY,
    }
}

/// Four digits that are a year, and no count.
fn is_year(tokens: &Tokens, at: usize) -> bool {
    let (before, token, next) = (tokens.before(at), tokens.at(at), tokens.at(at + 1));
    let counts =
        !token.closes() && (next.form.dimension != 0 || next.is(class::SCALE | class::MONEY));
    let is_dated = is_year_like(tokens, token, SURE_YEARS)
        || is_year_like(tokens, token, YEARS) && before.is(class::BEFORE_MONTH | class::MONTH);
    is_dated && !counts && !before.is(class::CARRIER)
}

/// With a separator of thousands, digits are shorter than where they stand.
#[inline(never)]
fn is_year_like(tokens: &Tokens, token: &Token, years: Range<u32>) -> bool {
    let number = tokens.number(token).unwrap_or(0);
    token.is_plain() && token.width() == 4 && years.contains(&number)
}

/// The day of the month that a token may be, or 0.
fn day(tokens: &Tokens, token: &Token) -> u32 {
    let mut day = 0;
    if token.is_number() && !token.money {
        let suffix = tokens.suffix(token);
        if suffix.is_empty()
            || [b"st", b"nd", b"rd", b"th"]
                .iter()
                .any(|end| *end == suffix)
        {
            day = tokens.number(token).unwrap_or(0);
        }
    } else if token.is_word() && token.is(class::ORDINAL) {
        day = (token.form.value / numbers::ONE) as u32;
    }
    if day > 31 { 0 } else { day }
}

impl Dates {
    fn push(&mut self, tokens: &Tokens, unit: u8, value: u32, token: usize) {
        self.push_or(tokens, unit, value, token, value);
    }

    #[inline(never)]
    fn push_or(&mut self, tokens: &Tokens, unit: u8, value: u32, token: usize, or: u32) {
        tokens.use_up(token, token, Use::Value);
        self.parts.push(Part {
            unit,
            value,
            token,
            or,
        });
    }

    /// A month, and the day beside it: `March 5th`, `5 March`, `5th of March`, `March the fifth`.
    fn month(&mut self, tokens: &Tokens, at: usize) {
        let (before, token) = (tokens.before(at), tokens.at(at));
        let mut place = at
            .wrapping_sub(1)
            .wrapping_sub(usize::from(before.is(class::PARTITIVE)));
        let mut found = day(tokens, tokens.at(place));
        if found == 0 {
            place = at + 1 + usize::from(tokens.is(at + 1, class::ARTICLE));
            found = day(tokens, tokens.at(place));
        }
        let is_sure = !token.is(class::UNSURE_MONTH)
            || found > 0
            || before.is(class::BEFORE_MONTH)
            || is_year_like(tokens, tokens.at(at + 1), YEARS);
        if is_sure {
            self.push(tokens, MONTH, u32::from(token.form.calendar), at);
            if found > 0 && tokens.used(place) == Use::Free {
                self.push(tokens, DAY, found, place);
            }
        }
    }

    /// A year, or a day of a month, is this number.
    #[inline(never)]
    pub fn has_number(&self, value: u64) -> bool {
        self.parts
            .iter()
            .take(TRIED)
            .any(|part| (part.unit == YEAR || part.unit == DAY) && u64::from(part.value) == value)
    }
}

/// A part of a date of each text that differs.
pub fn differ(query: &Text, entry: &Text) -> Option<Evidence> {
    (YEAR..=TIME).find_map(|unit| {
        let x = alone(unit, query, entry)?;
        let y = alone(unit, entry, query)?;
        Some(Evidence {
            query: with_half(unit, query, x),
            entry: with_half(unit, entry, y),
        })
    })
}

/// A part of a date, and the half of the day behind a time.
fn with_half(unit: u8, text: &Text, at: usize) -> Span {
    let next = text.tokens.at(at + 1).form.class;
    let has_half = unit == TIME && next & (class::MORNING | class::AFTERNOON) != 0;
    (at, at + usize::from(has_half))
}

/// The token of the first part that has no equal in another text.
#[inline(never)]
fn alone(unit: u8, text: &Text, other: &Text) -> Option<usize> {
    let parts = text.dates.parts.iter().filter(|part| part.unit == unit);
    let found = parts.take(TRIED).find(|x| {
        // Two unsure ones were written in the same way.
        let meets = |y: &Part| {
            x.value == y.value
                || x.or == y.value && y.or == y.value
                || y.or == x.value && x.or == x.value
        };
        let is_met = other.dates.parts.iter().any(|y| y.unit == unit && meets(y));
        // A year on one side may be a plain number on the other.
        let is_number = unit == YEAR && numbers::has(other, x.value);
        !is_met && !is_number
    });
    found.map(|part| part.token)
}
