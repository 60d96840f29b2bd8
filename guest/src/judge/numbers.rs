//! Numbers: their values, units and order.

use super::language::{Language, Unit, class};
use super::matching::{self, sorted};
use super::table::hash;
use super::text::Text;
use super::tokens::{Kind, Token};

/// Values are in millionths.
const ONE: u64 = 1_000_000;

/// One half.
const HALF: u64 = 500_000;

/// Longer numbers are compared by their digits.
const LONGEST: usize = 12;

/// A value beyond `LONGEST`, told apart from others by a hash of its digits.
const HUGE: u64 = 1 << 63;

/// The most numbers without a partner that are tried with other units.
const TRIED: usize = 24;

/// A number.
#[derive(Clone, Debug)]
pub struct Number {
    /// In millionths.
    pub value: u64,
    /// Its unit.
    pub unit: Option<Unit>,
    /// Its first token.
    pub first: usize,
    /// Its last token, of which its unit is a part.
    pub last: usize,
    /// It may be no number: `one`, `second`.
    pub weak: bool,
    /// `m` behind digits: metres or millions.
    million: bool,
}

/// Suffixes that are no part of the value.
const ORDINALS: [&str; 6] = ["st", "nd", "rd", "th", "x", "s"];

/// Suffixes that multiply.
const MULTIPLES: [(&str, u64); 8] = [
    ("k", 1_000),
    ("mn", 1_000_000),
    ("mm", 1_000_000),
    ("mil", 1_000_000),
    ("bn", 1_000_000_000),
    ("b", 1_000_000_000),
    ("tn", 1_000_000_000_000),
    ("cr", 10_000_000),
];

/// Digits with letters behind them that are no unit: `4090ti`.
pub fn is_code(language: &Language, token: &Token) -> bool {
    let Kind::Number { suffix, money, .. } = &token.kind else {
        return false;
    };
    let known = suffix.is_empty()
        || suffix == "%"
        || suffix == "m"
        || *money
        || ORDINALS.contains(&suffix.as_str())
        || MULTIPLES.iter().any(|(name, _)| name == suffix)
        || language.form(suffix).unit.is_some();
    !known
}

/// The value of digits.
pub fn value(digits: &str) -> u64 {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    if whole.len() > LONGEST {
        return HUGE | hash(whole);
    }
    let mut millionths = 0;
    for n in 0..6 {
        let digit = part.as_bytes().get(n).map_or(0, |b| u64::from(b - b'0'));
        millionths = millionths * 10 + digit;
    }
    whole.parse::<u64>().unwrap_or(0) * ONE + millionths
}

/// The numbers of a text; their tokens are used up.
pub fn find(language: &Language, tokens: &[Token], used: &mut [bool]) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if used[at] {
            at += 1;
            continue;
        }
        let number = match &tokens[at].kind {
            Kind::Number {
                digits,
                suffix,
                money,
            } => Some(of_digits(language, tokens, at, digits, suffix, *money)),
            Kind::Word => of_words(tokens, at),
            _ => None,
        };
        let Some(mut number) = number else {
            at += 1;
            continue;
        };
        add_unit(tokens, &mut number);
        for used in &mut used[number.first..=number.last] {
            *used = true;
        }
        at = number.last + 1;
        numbers.push(number);
    }
    numbers
}

fn of_digits(
    language: &Language,
    tokens: &[Token],
    at: usize,
    digits: &str,
    suffix: &str,
    money: bool,
) -> Number {
    let mut number = Number {
        value: value(digits),
        unit: None,
        first: at,
        last: at,
        weak: false,
        million: false,
    };
    let multiple = MULTIPLES.iter().find(|(name, _)| *name == suffix);
    if let Some((_, multiple)) = multiple {
        number.value = number.value.wrapping_mul(*multiple);
    } else if suffix == "m" {
        let next = tokens.get(at + 1);
        if money || next.is_some_and(|next| next.is(class::MONEY)) {
            number.value = number.value.wrapping_mul(ONE);
        } else {
            number.million = true;
            number.unit = language.form("m").unit;
        }
    } else if !ORDINALS.contains(&suffix) && !suffix.is_empty() {
        number.unit = language.form(suffix).unit;
    }
    while let Some(next) = tokens.get(number.last + 1)
        && next.form.scale
        && let Some(scale) = next.form.number
    {
        number.value = number.value.wrapping_mul(scale / ONE);
        number.last += 1;
    }
    number
}

/// A number in words: `two hundred and five`, `a dozen`, `third`.
fn of_words(tokens: &[Token], at: usize) -> Option<Number> {
    let (mut total, mut current) = (0_u64, 0_u64);
    let mut last = None;
    let mut here = at;
    let mut room = u64::MAX;
    // `a quarter` is a number before a unit only.
    if tokens[at].is(class::FRACTION) {
        let value = tokens[at].form.number?;
        return Some(Number {
            value,
            unit: None,
            first: at,
            last: at,
            weak: true,
            million: false,
        });
    }
    while let Some(token) = tokens.get(here).filter(|token| !token.is(class::FRACTION)) {
        let Some(value) = token.form.number else {
            let goes_on = last.is_some()
                && token.is(class::JOINER)
                && current >= 100 * ONE
                && tokens
                    .get(here + 1)
                    .is_some_and(|next| next.form.number.is_some() && !next.form.scale);
            if !goes_on {
                break;
            }
            here += 1;
            continue;
        };
        if token.form.scale {
            let scaled = current.max(ONE).wrapping_mul(value / ONE);
            if value >= 1000 * ONE {
                total = total.wrapping_add(scaled);
                current = 0;
            } else {
                current = scaled;
            }
            room = value;
        } else {
            // `twenty five` is one number, `two three` are two.
            if value >= room {
                break;
            }
            current = current.wrapping_add(value);
            room = match value / ONE {
                20..=99 => 10 * ONE,
                _ => 0,
            };
        }
        last = Some(here);
        here += 1;
        if token.is(class::ORDINAL) || token.ends || token.comma {
            break;
        }
    }
    let last = last?;
    let mut number = Number {
        value: total.wrapping_add(current),
        unit: None,
        first: at,
        last,
        weak: at == last && tokens[at].is(class::WEAK_NUMBER),
        million: false,
    };
    let next = |n: usize| tokens.get(last + n);
    let is = |n: usize, class| next(n).is_some_and(|token| token.is(class));
    let is_half = next(3).is_some_and(|token| token.form.number == Some(HALF));
    if is(1, class::JOINER) && is(2, class::ARTICLE) && is_half {
        number.value = number.value.wrapping_add(HALF);
        number.last += 3;
        number.weak = false;
    } else if is(1, class::FRACTION)
        && !tokens[last].is(class::ORDINAL)
        && let Some(part) = next(1).and_then(|token| token.form.number)
    {
        number.value = number.value.wrapping_mul(part) / ONE;
        number.last += 1;
        number.weak = false;
    }
    Some(number)
}

fn add_unit(tokens: &[Token], number: &mut Number) {
    if number.unit.is_some() || tokens[number.last].ends {
        return;
    }
    let skips = tokens
        .get(number.last + 1)
        .is_some_and(|next| next.is(class::PARTITIVE))
        && number.value < ONE;
    let article = tokens
        .get(number.last + 2)
        .is_some_and(|next| next.is(class::ARTICLE));
    let at = number.last + 1 + usize::from(skips) + usize::from(skips && article);
    let Some(next) = tokens.get(at) else {
        return;
    };
    if let Some(unit) = next.form.unit
        && next.kind == Kind::Word
        && next.word.len() > 1
    {
        number.unit = Some(unit);
        number.last = at;
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
            (Some(a), Some(b)) if a.dimension == b.dimension => {
                let size =
                    |number: &Self, unit: Unit| u128::from(number.value) * u128::from(unit.factor);
                let (a, b) = (size(self, a), size(other, b));
                // Thirds of a unit are not exact.
                a.abs_diff(b) <= a.min(b) >> 13
            }
            _ if self.million != other.million => {
                let millions = |number: &Self| {
                    number
                        .value
                        .wrapping_mul(if number.million { ONE } else { 1 })
                };
                self.value == other.value || millions(self) == millions(other)
            }
            _ => self.value == other.value,
        }
    }
}

/// A number of each text that differs.
pub fn differ(query: &Text, entry: &Text) -> Option<((usize, usize), (usize, usize))> {
    let (a, b) = unmatched(query, entry);
    let strong = |numbers: &[&Number]| numbers.iter().any(|number| !number.weak);
    let place = |number: &Number| (number.first, number.last);
    if let (Some(first), Some(second)) = (a.first(), b.first()) {
        if strong(&a) && strong(&b) {
            let pick = |numbers: &[&Number], or: &Number| {
                let found = numbers.iter().find(|number| !number.weak);
                place(found.copied().unwrap_or(or))
            };
            return Some((pick(&a, first), pick(&b, second)));
        }
        // `one egg`, `two eggs`.
        let next = |text: &Text, number: &Number| {
            let token = text.tokens.get(number.last + 1)?;
            token.is_content().then(|| token.stem.clone())
        };
        for x in a.iter().take(TRIED) {
            for y in b.iter().take(TRIED) {
                let (of_x, of_y) = (next(query, x), next(entry, y));
                if of_x.is_some() && of_x == of_y {
                    return Some((place(x), place(y)));
                }
            }
        }
        return None;
    }
    if a.is_empty() && b.is_empty() {
        return exchanged(query, entry);
    }
    None
}

/// The numbers without a partner.
pub fn unmatched<'t>(query: &'t Text, entry: &'t Text) -> (Vec<&'t Number>, Vec<&'t Number>) {
    let (a, b) = (&query.numbers, &entry.numbers);
    let order = |numbers: &[Number]| {
        sorted(numbers.len(), &|x, y| {
            numbers[x].key().cmp(&numbers[y].key())
        })
    };
    let (left, right) =
        matching::unmatched(&order(a), &order(b), &|x, y| a[x].key().cmp(&b[y].key()));
    let mut left: Vec<&Number> = left.into_iter().map(|at| &a[at]).collect();
    let mut right: Vec<&Number> = right.into_iter().map(|at| &b[at]).collect();
    if left.len() <= TRIED && right.len() <= TRIED {
        left.retain(|x| match right.iter().position(|y| x.equals(y)) {
            Some(at) => {
                right.remove(at);
                false
            }
            None => true,
        });
    }
    // A year or a day on the other side is the same number.
    left.retain(|x| !entry.dates.has_number(x.value / ONE));
    right.retain(|y| !query.dates.has_number(y.value / ONE));
    (left, right)
}

/// Two numbers that took each other's place: `2 of 3`, `3 of 2`.
fn exchanged(query: &Text, entry: &Text) -> Option<((usize, usize), (usize, usize))> {
    let (a, b) = (&query.numbers, &entry.numbers);
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let at = a.iter().zip(b).position(|(x, y)| x.value != y.value)?;
    let other = at + 1 + b[at + 1..].iter().position(|y| y.value == a[at].value)?;
    let context = |text: &Text, number: &Number| {
        let word = |at: Option<usize>| {
            at.and_then(|at| text.tokens.get(at))
                .map(|token| token.stem.clone())
        };
        (
            word(number.first.checked_sub(1)),
            number.unit,
            word(Some(number.last + 1)),
        )
    };
    let joined = |text: &Text, one: &Number, other: &Number| {
        text.tokens[one.first..other.last]
            .iter()
            .any(|token| token.is(class::JOINER) || token.comma)
            && other.first <= one.last + 2
    };
    let (x, y) = (&a[at], &b[at]);
    let fits = context(query, x) == context(entry, y)
        && context(entry, &b[other]) == context(query, a.get(other)?)
        && a[other].value == y.value
        && !joined(query, x, &a[other])
        && !joined(entry, y, &b[other]);
    fits.then_some(((x.first, x.last), (y.first, y.last)))
}
