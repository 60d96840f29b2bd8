//! Dates and times of day. Written forms of the same day are equal.

use super::class;
use super::text::Text;
use super::tokens::{Kind, Token, Tokens};
use super::{Evidence, numbers};

/// What a part of a date is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Year,
    Month,
    Day,
    Weekday,
    Decade,
    Time,
}

/// The order in which they are compared.
const UNITS: [Unit; 6] = [
    Unit::Year,
    Unit::Month,
    Unit::Day,
    Unit::Weekday,
    Unit::Decade,
    Unit::Time,
];

/// A part of a date, and the token it is from.
#[derive(Clone, Copy, Debug)]
struct Part {
    unit: Unit,
    value: u32,
    token: usize,
    /// It may be another value too: the month for a day, twelve hours later for a time.
    or: Option<u32>,
}

/// The dates of a text, by their parts.
#[derive(Default, Debug)]
pub struct Dates {
    parts: Vec<Part>,
}

/// The most parts of a kind without a partner that are tried.
const TRIED: usize = 24;

/// Half a day in seconds.
const HALF_DAY: u32 = 12 * 3600;

/// The dates of a text; their tokens are used up.
pub fn find(tokens: &Tokens, used: &mut [bool]) -> Dates {
    let mut dates = Dates::default();
    for at in 0..tokens.len() {
        if used[at] {
            continue;
        }
        let token = tokens.at(at);
        let next = tokens.at(at + 1);
        let half = next.form.class & (class::MORNING | class::AFTERNOON);
        match &token.kind {
            Kind::Day {
                year,
                month,
                day,
                unsure,
            } => {
                dates.push(Unit::Year, *year, at, None, used);
                dates.push(Unit::Month, *month, at, unsure.then_some(*day), used);
                dates.push(Unit::Day, *day, at, unsure.then_some(*month), used);
            }
            Kind::Time { seconds, unsure } => {
                let later = (seconds + HALF_DAY) % (2 * HALF_DAY);
                let or = (*unsure && half == 0).then_some(later);
                let seconds = match half {
                    class::AFTERNOON => seconds % HALF_DAY + HALF_DAY,
                    class::MORNING => seconds % HALF_DAY,
                    _ => *seconds,
                };
                dates.push(Unit::Time, seconds, at, or, used);
            }
            Kind::Word if token.is(class::WEEKDAY) => {
                dates.push(
                    Unit::Weekday,
                    u32::from(token.form.calendar),
                    at,
                    None,
                    used,
                );
            }
            Kind::Word if token.is(class::MONTH) => dates.month(tokens, at, used),
            Kind::Number {
                suffix,
                money: false,
            } => {
                let digits = &token.word;
                let value: u32 = digits.parse().unwrap_or(0);
                let is_hour = half != 0 && suffix.is_empty() && (1..=12).contains(&value);
                if suffix == "s" && value.is_multiple_of(10) {
                    let decade = match value {
                        20..=99 => 1900 + value,
                        0..=19 => 2000 + value,
                        _ => value,
                    };
                    dates.push(Unit::Decade, decade, at, None, used);
                } else if is_hour && !token.closes() {
                    let noon = if half == class::AFTERNOON {
                        HALF_DAY
                    } else {
                        0
                    };
                    dates.push(Unit::Time, value % 12 * 3600 + noon, at, None, used);
                } else if is_year(tokens, at) {
                    dates.push(Unit::Year, value, at, None, used);
                }
            }
            _ => {}
        }
    }
    dates
}

/// Four digits that are a year, and no count.
fn is_year(tokens: &Tokens, at: usize) -> bool {
    let (before, token, next) = (tokens.before(at), tokens.at(at), tokens.at(at + 1));
    let counts =
        !token.closes() && (next.form.unit.is_some() || next.is(class::SCALE | class::MONEY));
    let is_dated = is_year_like(token, 1900..2100)
        || is_year_like(token, 1000..2200) && before.is(class::BEFORE_MONTH | class::MONTH);
    is_dated && !counts && !before.is(class::CARRIER)
}

/// With a separator of thousands, digits are shorter than where they stand.
fn is_year_like(token: &Token, years: std::ops::Range<u32>) -> bool {
    matches!(&token.kind, Kind::Number { suffix, money: false } if suffix.is_empty())
        && token.at.len() == 4
        && token.word.parse().is_ok_and(|year| years.contains(&year))
}

/// The day of the month that a token may be.
fn day(token: &Token) -> Option<u32> {
    let day = match &token.kind {
        Kind::Number {
            suffix,
            money: false,
        } if matches!(suffix.as_str(), "" | "st" | "nd" | "rd" | "th") => {
            token.word.parse().ok()?
        }
        Kind::Word if token.is(class::ORDINAL) => token.form.number? as u32 / 1_000_000,
        _ => return None,
    };
    (1..=31).contains(&day).then_some(day)
}

impl Dates {
    fn push(&mut self, unit: Unit, value: u32, token: usize, or: Option<u32>, used: &mut [bool]) {
        used[token] = true;
        self.parts.push(Part {
            unit,
            value,
            token,
            or,
        });
    }

    /// A month, and the day beside it: `March 5th`, `5 March`, `5th of March`, `March the fifth`.
    fn month(&mut self, tokens: &Tokens, at: usize, used: &mut [bool]) {
        let before = if tokens.before(at).is(class::PARTITIVE) {
            2
        } else {
            1
        };
        let after = if tokens.is(at + 1, class::ARTICLE) {
            2
        } else {
            1
        };
        let beside = [at.wrapping_sub(before), at + after];
        let found = beside
            .into_iter()
            .find_map(|place| Some((place, day(tokens.at(place))?)));
        let token = tokens.at(at);
        let is_sure = !token.is(class::UNSURE_MONTH)
            || found.is_some()
            || tokens.before(at).is(class::BEFORE_MONTH)
            || is_year_like(tokens.at(at + 1), 1000..2200);
        if !is_sure {
            return;
        }
        self.push(Unit::Month, u32::from(token.form.calendar), at, None, used);
        if let Some((place, day)) = found
            && !used[place]
        {
            self.push(Unit::Day, day, place, None, used);
        }
    }

    /// A year, or a day of a month, is this number.
    pub fn has_number(&self, value: u64) -> bool {
        self.parts.iter().take(MANY).any(|part| {
            matches!(part.unit, Unit::Year | Unit::Day) && u64::from(part.value) == value
        })
    }
}

/// The most parts that a number is looked for among.
const MANY: usize = 64;

/// A part of a date of each text that differs.
pub fn differ(query: &Text, entry: &Text) -> Option<Evidence> {
    for unit in UNITS {
        let x = alone(unit, query, entry);
        let y = alone(unit, entry, query);
        if let (Some(x), Some(y)) = (x, y) {
            return Some(Evidence::of(x, y));
        }
    }
    None
}

/// The token of the first part that has no equal in another text.
fn alone(unit: Unit, text: &Text, other: &Text) -> Option<usize> {
    // Two unsure ones were written in the same way.
    let meets = |x: &Part, y: &Part| {
        x.value == y.value
            || x.or == Some(y.value) && y.or.is_none()
            || y.or == Some(x.value) && x.or.is_none()
    };
    let parts = text.dates.parts.iter().filter(|part| part.unit == unit);
    let found = parts.take(TRIED).find(|x| {
        let others = &other.dates.parts;
        let is_met = others.iter().any(|y| y.unit == unit && meets(x, y));
        // A year on one side may be a plain number on the other.
        let is_number = unit == Unit::Year && numbers::has(other, x.value);
        !is_met && !is_number
    });
    found.map(|part| part.token)
}
