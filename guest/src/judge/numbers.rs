//! Numbers: their values, units and order.

use super::bytes::{self, parts};
use super::class;
use super::language::{Language, Unit, hash};
use super::matching::places;
use super::text::Text;
use super::tokens::{Token, Tokens, Use};
use super::{Evidence, Span};

/// Values are in millionths.
pub const ONE: u64 = 1_000_000;

/// One half.
const HALF: u64 = 500_000;

/// Longer numbers are compared by a hash of their digits.
const LONGEST: usize = 13;

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
    pub unit: Unit,
    /// Its first token, and its last, which may be its unit.
    pub span: Span,
    /// It may be no number: `one`, `second`.
    pub weak: bool,
    /// `m` behind digits: metres or millions.
    million: bool,
}

/// Suffixes, each behind the zeros that it stands for.
const SUFFIXES: &[u8] = b"0 st nd rd th x s m 3 k 6 mn mm mil 7 cr 9 bn b 12 tn";

/// What a suffix multiplies by; 0 if it is none.
fn multiple(suffix: &[u8]) -> u64 {
    let mut multiple = 1;
    if suffix.is_empty() {
        return multiple;
    }
    for word in parts(SUFFIXES, b' ') {
        if let Some(zeros) = bytes::number(word) {
            multiple = 10_u64.pow(zeros);
        } else if word == suffix {
            return multiple;
        }
    }
    0
}

/// Digits with letters behind them that are no unit: `4090ti`.
pub fn is_code(language: &Language, tokens: &Tokens, token: &Token) -> bool {
    let suffix = tokens.suffix(token);
    token.is_number()
        && !token.money
        && multiple(suffix) == 0
        && language.form(suffix).dimension == 0
}

/// The value of digits.
pub fn value(digits: &[u8]) -> u64 {
    let (mut value, mut start, mut end) = (0_u64, None, digits.len());
    for (at, digit) in digits.iter().enumerate() {
        if *digit == b'.' {
            end = at;
            break;
        }
        if *digit != b'0' && start.is_none() {
            start = Some(at);
        }
    }
    let start = start.unwrap_or(end);
    if end - start > LONGEST {
        return HUGE | u64::from(hash(&digits[start..end]));
    }
    for at in start..end + 7 {
        if at != end {
            let digit = digits
                .get(at)
                .map_or(0, |digit| digit.wrapping_sub(b'0') % 10);
            value = value * 10 + u64::from(digit);
        }
    }
    value
}

/// A text has a number.
pub fn has(text: &Text, number: u32) -> bool {
    let value = u64::from(number) * ONE;
    text.numbers.iter().any(|number| number.value == value)
}

/// The numbers of a text; their tokens are used up.
pub fn find(language: &Language, tokens: &Tokens) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens.at(at);
        let mut number = Number {
            value: 0,
            unit: Unit::NONE,
            span: (at, at),
            weak: false,
            million: false,
        };
        let is_found = tokens.used(at) == Use::Free
            && if token.is_number() {
                of_digits(language, tokens, &mut number);
                true
            } else {
                token.is_word() && of_words(tokens, &mut number)
            };
        if is_found {
            add_unit(tokens, &mut number);
            tokens.use_up(number.span.0, number.span.1, Use::Value);
            at = number.span.1;
            numbers.push(number);
        }
        at += 1;
    }
    numbers
}

fn of_digits(language: &Language, tokens: &Tokens, number: &mut Number) {
    let at = number.span.0;
    let (token, next) = (tokens.at(at), tokens.at(at + 1));
    let suffix = tokens.suffix(token);
    let mut multiple = multiple(suffix);
    number.value = value(tokens.word(token));
    let is_m = suffix == b"m";
    if is_m && (token.money || next.is(class::MONEY)) {
        multiple = ONE;
    } else if is_m || multiple == 0 {
        number.million = is_m;
        number.unit = language.form(suffix).unit();
        multiple = 1;
    }
    number.value = number.value.wrapping_mul(multiple);
    // `2 1/2`: a fraction is longer as a decimal than it was.
    let digits = tokens.word(next);
    let is_fraction = next.is_number() && digits.len() > next.width() as usize;
    if is_fraction && suffix.is_empty() && !token.closes() && number.value.is_multiple_of(ONE) {
        number.value = number.value.wrapping_add(value(digits));
        number.span.1 += 1;
    }
    loop {
        let next = tokens.at(number.span.1 + 1);
        if tokens.at(number.span.1).closes() || !next.is(class::SCALE) {
            return;
        }
        number.span.1 += 1;
        number.value = number.value.wrapping_mul(next.form.value / ONE);
    }
}

/// A number in words: `two hundred and five`, `a dozen`, `third`.
fn of_words(tokens: &Tokens, number: &mut Number) -> bool {
    let at = number.span.0;
    let (mut total, mut current, mut room) = (0_u64, 0_u64, u64::MAX);
    let (mut here, mut end) = (at, at);
    loop {
        let token = tokens.at(here);
        let is_part = token.is(class::NUMBER) && (here == at || !token.is(class::FRACTION));
        if !is_part {
            let goes_on = end > at
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
        let value = token.form.value;
        if token.is(class::SCALE) {
            current = current.max(ONE).wrapping_mul(value / ONE);
            if value >= 1000 * ONE {
                total = total.wrapping_add(current);
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
        here += 1;
        end = here;
        if token.is(class::ORDINAL | class::FRACTION) || token.closes() {
            break;
        }
    }
    if end == at {
        return false;
    }
    number.span.1 = end - 1;
    number.value = total.wrapping_add(current);
    number.weak = end == at + 1 && tokens.is(at, class::WEAK_NUMBER | class::FRACTION);
    let next = tokens.at(end);
    let is_half = tokens.at(end + 2).form.value == HALF;
    if next.is(class::JOINER) && tokens.is(end + 1, class::ARTICLE) && is_half {
        number.value = number.value.wrapping_add(HALF);
        number.span.1 += 3;
        number.weak = false;
    } else if next.is(class::FRACTION) && !tokens.is(end - 1, class::ORDINAL) {
        number.value = number.value.wrapping_mul(next.form.value) / ONE;
        number.span.1 += 1;
        number.weak = false;
    }
    true
}

fn add_unit(tokens: &Tokens, number: &mut Number) {
    let last = number.span.1;
    if number.unit != Unit::NONE || tokens.at(last).ends {
        return;
    }
    // `half an hour`, `a quarter of an hour`
    let mut at = last + 1;
    while number.value < ONE && at < last + 3 && tokens.is(at, class::PARTITIVE) {
        at += 1;
    }
    let next = tokens.at(at);
    let is_long = tokens.word(next).len() > 1 || tokens.at(last).is_number();
    if next.form.dimension != 0 && is_long {
        number.unit = next.form.unit();
        number.span.1 = at;
        number.weak = false;
    }
}

impl Number {
    /// The same for equal values and units.
    pub fn key(&self) -> u32 {
        let unit = self.unit.factor << 8 | u64::from(self.unit.dimension);
        let mixed = (self.value ^ unit.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as u32
    }

    /// They are the same amount, or one of them lacks the unit.
    fn equals(&self, other: &Self) -> bool {
        if self.unit.dimension != 0 && self.unit.dimension == other.unit.dimension {
            let a = self.value as f64 * self.unit.factor as f64;
            let b = other.value as f64 * other.unit.factor as f64;
            // Thirds of a unit are not exact.
            return (a - b).abs() * EXACT <= a.min(b);
        }
        let million = |number: &Self| {
            let is_other = self.million != other.million;
            let multiple = if number.million && is_other { ONE } else { 1 };
            number.value.wrapping_mul(multiple)
        };
        self.value == other.value || million(self) == million(other)
    }
}

/// By such a part of them two amounts may differ.
const EXACT: f64 = 8192.0;

/// A number of each text that differs.
pub fn differ(query: &Text, entry: &Text) -> Option<Evidence> {
    let [a, b] = alone(query, entry);
    if a.is_empty() && b.is_empty() {
        return exchanged(query, entry);
    }
    if let (Some(x), Some(y)) = (strong(&a), strong(&b)) {
        return Some(Evidence {
            query: x.span,
            entry: y.span,
        });
    }
    // `one egg`, `two eggs`.
    for x in a.iter().take(TRIED) {
        for y in b.iter().take(TRIED) {
            let next = query.tokens.at(x.span.1 + 1);
            let same = next.stem == entry.tokens.stem(y.span.1 + 1);
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
fn strong(numbers: &[Number]) -> Option<&Number> {
    numbers.iter().find(|number| !number.weak)
}

/// The numbers without a partner in the other text.
#[inline(never)]
pub fn alone(query: &Text, entry: &Text) -> [Vec<Number>; 2] {
    let (left, mut right) = (unequal(query, entry), unequal(entry, query));
    let few = left.len().max(right.len()) <= TRIED;
    let mut alone = Vec::new();
    for x in left {
        if few && let Some(partner) = right.iter().position(|y| x.equals(y)) {
            right.remove(partner);
        } else {
            alone.push(x);
        }
    }
    [undated(alone, entry), undated(right, query)]
}

/// Numbers that are no year or day of the other text.
#[inline(never)]
fn undated(mut numbers: Vec<Number>, other: &Text) -> Vec<Number> {
    numbers.retain(|number| !other.dates.has_number(number.value / ONE));
    numbers
}

/// The numbers that are not in another text in the same unit.
#[inline(never)]
fn unequal(text: &Text, other: &Text) -> Vec<Number> {
    let places = places(&text.amounts, &other.amounts);
    places.into_iter().map(|at| text.numbers[at]).collect()
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
    let same_around = |x: &Number, y: &Number| {
        query.tokens.before(x.span.0).stem == entry.tokens.before(y.span.0).stem
            && x.unit == y.unit
            && query.tokens.stem(x.span.1 + 1) == entry.tokens.stem(y.span.1 + 1)
    };
    let joined = |text: &Text| {
        let between = text.numbers[at].span.0..text.numbers[other].span.1;
        between.len() <= 4 && text.joins(between)
    };
    let fits = same_around(&a[at], &b[at])
        && same_around(&a[other], &b[other])
        && a[other].value == b[at].value
        && !joined(query)
        && !joined(entry);
    fits.then_some(Evidence {
        query: a[at].span,
        entry: b[at].span,
    })
}
