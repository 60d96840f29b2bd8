//! Numbers: their values, units and order.

use super::class;
use super::language::{Language, Unit, hash};
use super::matching::{sorted, unmatched};
use super::text::Text;
use super::tokens::{Kind, Token, Tokens};
use super::{Evidence, Span};

/// Values are in millionths.
const ONE: u64 = 1_000_000;

/// One half.
const HALF: u64 = 500_000;

/// Longer numbers are compared by a hash of their digits.
const LONGEST: usize = 12;

/// Marks the value of a longer number.
const HUGE: u64 = 1 << 63;

/// The most numbers without a partner that are tried with other units.
const TRIED: usize = 24;

/// A number.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// In millionths.
    pub value: u64,
    /// Its unit.
    pub unit: Option<Unit>,
    /// Its first token, and its last, which may be its unit.
    pub span: Span,
    /// It may be no number: `one`, `second`.
    pub weak: bool,
    /// `m` behind digits: metres or millions.
    million: bool,
}

/// Suffixes that change no value, and those that multiply.
const SUFFIXES: [(&str, u64); 16] = [
    ("", 1),
    ("st", 1),
    ("nd", 1),
    ("rd", 1),
    ("th", 1),
    ("x", 1),
    ("s", 1),
    ("k", 1_000),
    ("m", 1),
    ("mn", 1_000_000),
    ("mm", 1_000_000),
    ("mil", 1_000_000),
    ("bn", 1_000_000_000),
    ("b", 1_000_000_000),
    ("tn", 1_000_000_000_000),
    ("cr", 10_000_000),
];

fn multiple(suffix: &str) -> Option<u64> {
    let found = SUFFIXES.iter().find(|(name, _)| *name == suffix);
    found.map(|found| found.1)
}

/// Digits with letters behind them that are no unit: `4090ti`.
pub fn is_code(language: &Language, token: &Token) -> bool {
    match &token.kind {
        Kind::Number { suffix, money } => {
            !money && multiple(suffix).is_none() && language.form(suffix).unit.is_none()
        }
        _ => false,
    }
}

/// The value of digits.
pub fn value(digits: &str) -> u64 {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    if whole.len() > LONGEST {
        return HUGE | hash(whole);
    }
    let digits = part.bytes().chain(std::iter::repeat(b'0')).take(6);
    whole.bytes().chain(digits).fold(0, |value, digit| {
        value * 10 + u64::from(digit.wrapping_sub(b'0') % 10)
    })
}

/// A text has a number.
pub fn has(text: &Text, number: u32) -> bool {
    let value = u64::from(number) * ONE;
    text.numbers.iter().any(|number| number.value == value)
}

/// The numbers of a text; their tokens are used up.
pub fn find(language: &Language, tokens: &Tokens, used: &mut [bool]) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let found = match &tokens.at(at).kind {
            _ if used[at] => None,
            Kind::Number { suffix, money } => Some(of_digits(language, tokens, at, suffix, *money)),
            Kind::Word => of_words(tokens, at),
            _ => None,
        };
        if let Some(mut number) = found {
            add_unit(tokens, &mut number);
            used[number.span.0..=number.span.1].fill(true);
            at = number.span.1;
            numbers.push(number);
        }
        at += 1;
    }
    numbers
}

fn of_digits(language: &Language, tokens: &Tokens, at: usize, suffix: &str, money: bool) -> Number {
    let token = tokens.at(at);
    let mut number = Number {
        value: value(&token.word),
        unit: None,
        span: (at, at),
        weak: false,
        million: false,
    };
    match multiple(suffix) {
        Some(_) if suffix == "m" => {
            if money || tokens.is(at + 1, class::MONEY) {
                number.value = number.value.wrapping_mul(ONE);
            } else {
                number.million = true;
                number.unit = language.form(suffix).unit;
            }
        }
        Some(multiple) => number.value = number.value.wrapping_mul(multiple),
        None => number.unit = language.form(suffix).unit,
    }
    // `2 1/2`: a fraction is longer as a decimal than it was.
    let next = tokens.at(at + 1);
    let is_fraction = matches!(next.kind, Kind::Number { .. }) && next.word.len() > next.at.len();
    if is_fraction && suffix.is_empty() && !token.closes() && number.value.is_multiple_of(ONE) {
        number.value = number.value.wrapping_add(value(&next.word));
        number.span.1 += 1;
    }
    while tokens.is(number.span.1 + 1, class::SCALE) && !tokens.at(number.span.1).closes() {
        number.span.1 += 1;
        let scale = tokens.at(number.span.1).form.number.unwrap_or(ONE);
        number.value = number.value.wrapping_mul(scale / ONE);
    }
    number
}

/// A number in words: `two hundred and five`, `a dozen`, `third`.
fn of_words(tokens: &Tokens, at: usize) -> Option<Number> {
    let (mut total, mut current, mut room) = (0_u64, 0_u64, u64::MAX);
    let mut last = None;
    let mut here = at;
    loop {
        let token = tokens.at(here);
        let is_part = token.is(class::NUMBER) && (here == at || !token.is(class::FRACTION));
        if !is_part {
            let goes_on = last.is_some()
                && token.is(class::JOINER)
                && current >= 100 * ONE
                && tokens.is(here + 1, class::NUMBER)
                && !tokens.is(here + 1, class::SCALE | class::FRACTION);
            if !goes_on {
                break;
            }
            here += 1;
            continue;
        }
        let value = token.form.number.unwrap_or(0);
        if token.is(class::SCALE) {
            let scaled = current.max(ONE).wrapping_mul(value / ONE);
            current = scaled;
            if value >= 1000 * ONE {
                total = total.wrapping_add(scaled);
                current = 0;
            }
            room = value;
        } else {
            // `twenty five` is one number, `two three` are two.
            if value >= room {
                break;
            }
            current = current.wrapping_add(value);
            room = if value >= 20 * ONE { 10 * ONE } else { 0 };
        }
        last = Some(here);
        here += 1;
        if token.is(class::ORDINAL | class::FRACTION) || token.closes() {
            break;
        }
    }
    let mut span = (at, last?);
    let mut value = total.wrapping_add(current);
    let mut weak = span.0 == span.1 && tokens.is(at, class::WEAK_NUMBER | class::FRACTION);
    let next = tokens.at(span.1 + 1);
    let is_half = tokens.at(span.1 + 3).form.number == Some(HALF);
    if next.is(class::JOINER) && tokens.is(span.1 + 2, class::ARTICLE) && is_half {
        value = value.wrapping_add(HALF);
        span.1 += 3;
        weak = false;
    } else if next.is(class::FRACTION) && !tokens.is(span.1, class::ORDINAL) {
        value = value.wrapping_mul(next.form.number.unwrap_or(0)) / ONE;
        span.1 += 1;
        weak = false;
    }
    Some(Number {
        value,
        unit: None,
        span,
        weak,
        million: false,
    })
}

fn add_unit(tokens: &Tokens, number: &mut Number) {
    let last = number.span.1;
    if number.unit.is_some() || tokens.at(last).ends {
        return;
    }
    // `half an hour`, `a quarter of an hour`
    let mut at = last + 1;
    while number.value < ONE && at < last + 3 && tokens.is(at, class::PARTITIVE) {
        at += 1;
    }
    let next = tokens.at(at);
    let is_digits = matches!(tokens.at(last).kind, Kind::Number { .. });
    if next.form.unit.is_some() && (next.word.len() > 1 || is_digits) {
        number.unit = next.form.unit;
        number.span.1 = at;
        number.weak = false;
    }
}

impl Number {
    fn key(&self) -> (u64, u8, u64) {
        let unit = self
            .unit
            .map_or((0, 0), |unit| (unit.dimension, unit.factor));
        (self.value, unit.0, unit.1)
    }

    /// They are the same amount, or one of them lacks the unit.
    fn equals(&self, other: &Self) -> bool {
        match (self.unit, other.unit) {
            (Some(x), Some(y)) if x.dimension == y.dimension => {
                let a = u128::from(self.value) * u128::from(x.factor);
                let b = u128::from(other.value) * u128::from(y.factor);
                // Thirds of a unit are not exact.
                a.abs_diff(b) <= a.min(b) >> 13
            }
            _ if self.million != other.million => {
                let million = |number: &Self| if number.million { ONE } else { 1 };
                self.value == other.value
                    || self.value.wrapping_mul(million(self))
                        == other.value.wrapping_mul(million(other))
            }
            _ => self.value == other.value,
        }
    }
}

/// A number of each text that differs.
pub fn differ(query: &Text, entry: &Text) -> Option<Evidence> {
    let (a, b) = alone(query, entry);
    if a.is_empty() && b.is_empty() {
        return exchanged(query, entry);
    }
    if let (Some(x), Some(y)) = (strong(&a), strong(&b)) {
        return Some(Evidence { query: x, entry: y });
    }
    // `one egg`, `two eggs`.
    for x in a.iter().take(TRIED) {
        for y in b.iter().take(TRIED) {
            let next = query.tokens.at(x.span.1 + 1);
            let same = next.stem == entry.tokens.at(y.span.1 + 1).stem;
            if same && next.stem != 0 && next.is_content() {
                return Some(Evidence {
                    query: x.span,
                    entry: y.span,
                });
            }
        }
    }
    None
}

/// The first that is a number for sure.
pub fn strong(numbers: &[Number]) -> Option<Span> {
    let found = numbers.iter().find(|number| !number.weak);
    found.map(|number| number.span)
}

/// The numbers without a partner in the other text.
pub fn alone(query: &Text, entry: &Text) -> (Vec<Number>, Vec<Number>) {
    let (a, b) = (&query.numbers, &entry.numbers);
    let order = |numbers: &[Number]| {
        sorted(numbers.len(), &|x, y| {
            numbers[x].key().cmp(&numbers[y].key())
        })
    };
    let (left, right) = unmatched(&order(a), &order(b), &|x, y| a[x].key().cmp(&b[y].key()));
    let mut right: Vec<Number> = right.into_iter().map(|at| b[at]).collect();
    let few = left.len() <= TRIED && right.len() <= TRIED;
    let mut alone = Vec::new();
    for at in left {
        let x = a[at];
        match right.iter().position(|y| few && x.equals(y)) {
            Some(partner) => {
                right.remove(partner);
            }
            // A year or a day on the other side is the same number.
            None if entry.dates.has_number(x.value / ONE) => {}
            None => alone.push(x),
        }
    }
    right.retain(|y| !query.dates.has_number(y.value / ONE));
    (alone, right)
}

/// Two numbers that took each other's place: `2 of 3`, `3 of 2`.
fn exchanged(query: &Text, entry: &Text) -> Option<Evidence> {
    let (a, b) = (&query.numbers, &entry.numbers);
    if a.len() != b.len() {
        return None;
    }
    let at = (0..a.len()).find(|at| a[*at].value != b[*at].value)?;
    let other = (at..b.len()).find(|other| b[*other].value == a[at].value)?;
    // What stands before and behind, and the unit.
    let around = |text: &Text, number: &Number| {
        let before = text.tokens.before(number.span.0).stem;
        (before, number.unit, text.tokens.at(number.span.1 + 1).stem)
    };
    let joined = |text: &Text, one: &Number, other: &Number| {
        let between = one.span.0..other.span.1;
        between.len() <= 4
            && (text.tokens.any(between.clone(), class::JOINER)
                || between.into_iter().any(|at| text.tokens.at(at).comma))
    };
    let fits = around(query, &a[at]) == around(entry, &b[at])
        && around(query, &a[other]) == around(entry, &b[other])
        && a[other].value == b[at].value
        && !joined(query, &a[at], &a[other])
        && !joined(entry, &b[at], &b[other]);
    fits.then_some(Evidence {
        query: a[at].span,
        entry: b[at].span,
    })
}
