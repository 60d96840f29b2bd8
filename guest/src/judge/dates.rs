//! Dates and times of day. Written forms of the same day are equal.

use super::language::class;
use super::text::Text;
use super::tokens::{Kind, Token};

/// A part of a date, and the token it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its value.
    pub value: u32,
    /// Its token.
    pub token: usize,
    /// It may be another value too: the month for a day, twelve hours later for a time.
    pub or: Option<u32>,
}

/// The dates of a text, by their parts.
#[derive(Default, Debug)]
pub struct Dates {
    years: Vec<Part>,
    months: Vec<Part>,
    days: Vec<Part>,
    weekdays: Vec<Part>,
    decades: Vec<Part>,
    times: Vec<Part>,
}

/// The most parts of a kind without a partner that are tried.
const TRIED: usize = 24;

/// Half a day in seconds.
const HALF_DAY: u32 = 12 * 3600;

/// The dates of a text; their tokens are used up.
pub fn find(tokens: &[Token], used: &mut [bool]) -> Dates {
    let mut dates = Dates::default();
    for at in 0..tokens.len() {
        if used[at] {
            continue;
        }
        let part = |value: u32| Part {
            value,
            token: at,
            or: None,
        };
        match &tokens[at].kind {
            Kind::Day {
                year,
                month,
                day,
                unsure,
            } => {
                let (month, day) = (u32::from(*month), u32::from(*day));
                dates.years.push(part(u32::from(*year)));
                dates.months.push(Part {
                    or: unsure.then_some(day),
                    ..part(month)
                });
                dates.days.push(Part {
                    or: unsure.then_some(month),
                    ..part(day)
                });
                used[at] = true;
            }
            Kind::Time { seconds, unsure } => {
                let later = tokens.get(at + 1).map(|next| next.form.class).unwrap_or(0);
                let (value, or) = if later & class::AFTERNOON != 0 {
                    (seconds % HALF_DAY + HALF_DAY, None)
                } else if later & class::MORNING != 0 {
                    (seconds % HALF_DAY, None)
                } else {
                    let other = (seconds + HALF_DAY) % (2 * HALF_DAY);
                    (*seconds, unsure.then_some(other))
                };
                dates.times.push(Part { or, ..part(value) });
                used[at] = true;
            }
            Kind::Word => word(tokens, at, used, &mut dates),
            Kind::Number {
                digits,
                suffix,
                money: false,
            } => number(tokens, at, digits, suffix, used, &mut dates),
            _ => {}
        }
    }
    dates
}

fn word(tokens: &[Token], at: usize, used: &mut [bool], dates: &mut Dates) {
    let token = &tokens[at];
    let part = |value: u8| Part {
        value: u32::from(value),
        token: at,
        or: None,
    };
    if let Some(weekday) = token.form.weekday {
        dates.weekdays.push(part(weekday));
        used[at] = true;
    }
    let Some(month) = token.form.month else {
        return;
    };
    let day = day_beside(tokens, at);
    let is_sure = !token.is(class::UNSURE_MONTH)
        || day.is_some()
        || at > 0 && tokens[at - 1].is(class::BEFORE_MONTH)
        || tokens
            .get(at + 1)
            .is_some_and(|next| year_of(next).is_some());
    if !is_sure {
        return;
    }
    dates.months.push(part(month));
    used[at] = true;
    if let Some((day, token)) = day
        && !used[token]
    {
        used[token] = true;
        dates.days.push(Part {
            value: day,
            token,
            or: None,
        });
    }
}

/// The day of the month beside a month: `March 5th`, `5 March`, `5th of March`.
fn day_beside(tokens: &[Token], at: usize) -> Option<(u32, usize)> {
    let day = |at: usize| {
        let token = tokens.get(at)?;
        let value = match &token.kind {
            Kind::Number {
                digits,
                suffix,
                money: false,
            } if digits.len() <= 2 && matches!(suffix.as_str(), "" | "st" | "nd" | "rd" | "th") => {
                digits.parse().ok()?
            }
            Kind::Word if token.is(class::ORDINAL) => {
                u32::try_from(token.form.number? / 1_000_000).ok()?
            }
            _ => return None,
        };
        (1..=31).contains(&value).then_some((value, at))
    };
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.word == word);
    let before = at.checked_sub(1).and_then(|before| {
        if is(before, "of") {
            day(before.checked_sub(1)?)
        } else {
            day(before)
        }
    });
    before.or_else(|| {
        if is(at + 1, "the") {
            day(at + 2)
        } else {
            day(at + 1)
        }
    })
}

/// The year that a token may be.
fn year_of(token: &Token) -> Option<u32> {
    let Kind::Number {
        digits,
        suffix,
        money: false,
    } = &token.kind
    else {
        return None;
    };
    // With a separator of thousands it is longer than its digits.
    let plain = digits.len() == 4 && token.at.len() == 4 && suffix.is_empty();
    digits
        .parse()
        .ok()
        .filter(|year| plain && (1000..2200).contains(year))
}

fn number(
    tokens: &[Token],
    at: usize,
    digits: &str,
    suffix: &str,
    used: &mut [bool],
    dates: &mut Dates,
) {
    let token = &tokens[at];
    let next = tokens.get(at + 1).filter(|_| !token.ends && !token.comma);
    let part = |value: u32| Part {
        value,
        token: at,
        or: None,
    };
    if suffix == "s" && !digits.contains('.') {
        let decade: u32 = digits.parse().unwrap_or(0);
        let decade = match digits.len() {
            2 if decade >= 20 => 1900 + decade,
            2 => 2000 + decade,
            _ => decade,
        };
        if decade.is_multiple_of(10) && (1000..2200).contains(&decade) {
            dates.decades.push(part(decade));
            used[at] = true;
        }
        return;
    }
    let half = next.map_or(0, |next| next.form.class) & (class::MORNING | class::AFTERNOON);
    if half != 0 && suffix.is_empty() {
        if let Some(hours) = digits.parse().ok().filter(|hours| (1..=12).contains(hours)) {
            let hours: u32 = hours;
            let hours = hours % 12 + if half == class::AFTERNOON { 12 } else { 0 };
            dates.times.push(part(hours * 3600));
            used[at] = true;
        }
        return;
    }
    let Some(year) = year_of(token) else {
        return;
    };
    let counts = next
        .is_some_and(|next| next.form.unit.is_some() || next.form.scale || next.is(class::MONEY));
    let behind = at > 0 && tokens[at - 1].is(class::CARRIER);
    let is_dated = (1900..2100).contains(&year)
        || at > 0
            && (tokens[at - 1].is(class::BEFORE_MONTH) || tokens[at - 1].form.month.is_some());
    if is_dated && !counts && !behind {
        dates.years.push(part(year));
        used[at] = true;
    }
}

impl Dates {
    /// A year, or a day of a month, is this number.
    pub fn has_number(&self, value: u64) -> bool {
        self.years
            .iter()
            .chain(&self.days)
            .any(|part| u64::from(part.value) == value)
    }
}

/// A part of a date of each text that differs.
pub fn differ(query: &Text, entry: &Text) -> Option<(usize, usize)> {
    let (a, b) = (&query.dates, &entry.dates);
    let years = unmatched(&a.years, &b.years).filter(|(x, y)| {
        // A year on one side is a plain number on the other.
        let has = |text: &Text, part: &Part| {
            let value = u64::from(part.value) * 1_000_000;
            text.numbers.iter().any(|number| number.value == value)
        };
        !has(entry, x) && !has(query, y)
    });
    years
        .or_else(|| unmatched(&a.months, &b.months))
        .or_else(|| unmatched(&a.days, &b.days))
        .or_else(|| unmatched(&a.weekdays, &b.weekdays))
        .or_else(|| unmatched(&a.decades, &b.decades))
        .or_else(|| unmatched(&a.times, &b.times))
        .map(|(x, y)| (x.token, y.token))
}

/// The first parts without a partner, if both sides have one.
fn unmatched(a: &[Part], b: &[Part]) -> Option<(Part, Part)> {
    // Two unsure ones were written in the same way.
    let meets = |x: &Part, y: &Part| {
        x.value == y.value
            || x.or == Some(y.value) && y.or.is_none()
            || y.or == Some(x.value) && x.or.is_none()
    };
    let alone = |part: &&Part, others: &[Part]| !others.iter().any(|other| meets(part, other));
    let x = a.iter().take(TRIED).find(|part| alone(part, b))?;
    let y = b.iter().take(TRIED).find(|part| alone(part, a))?;
    Some((*x, *y))
}
