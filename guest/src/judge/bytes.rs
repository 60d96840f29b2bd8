//! Texts as bytes: what separates words is ASCII, and what is not ASCII counts as letters. Called often,
//! and therefore not inlined, so that the component holds it once.

use std::ops::Range;

/// A part of a text; nothing if it is not there.
#[inline(never)]
pub fn part(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.get(start..end).unwrap_or(&[])
}

/// What stands between signs, which may be nothing.
pub struct Parts<'a> {
    rest: Option<&'a [u8]>,
    sign: u8,
}

/// What stands between signs in a text, which may be nothing.
pub fn parts(text: &[u8], sign: u8) -> Parts<'_> {
    Parts {
        rest: Some(text),
        sign,
    }
}

impl<'a> Parts<'a> {
    /// All that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest.unwrap_or(&[])
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = rest.iter().position(|byte| *byte == self.sign);
        self.rest = end.map(|end| part(rest, end + 1, rest.len()));
        Some(part(rest, 0, end.unwrap_or(rest.len())))
    }
}

/// A list of words with spaces between them has a word.
#[inline(never)]
pub fn has(list: &[u8], word: &[u8]) -> bool {
    !word.is_empty() && parts(list, b' ').any(|other| other == word)
}

/// The byte is one of some signs. Letters and digits are no signs.
fn is_of(byte: u8, signs: &[u8]) -> bool {
    !is_letter(byte) && !byte.is_ascii_digit() && signs.contains(&byte)
}

/// Where the first of some signs stands.
#[inline(never)]
pub fn find(bytes: &[u8], signs: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| is_of(*byte, signs))
}

/// There is one of some signs.
#[inline(never)]
pub fn any(bytes: &[u8], signs: &[u8]) -> bool {
    find(bytes, signs).is_some()
}

/// How many bytes at the front are among some signs.
#[inline(never)]
pub fn front(bytes: &[u8], signs: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_of(**byte, signs)).count()
}

/// Without some signs at both ends.
#[inline(never)]
pub fn trim(text: &[u8], at: Range<usize>, front_of: &[u8], back_of: &[u8]) -> Range<usize> {
    let start = at.start + front(part(text, at.start, at.end), front_of);
    let mut end = at.end;
    while end > start && is_of(byte(text, end - 1), back_of) {
        end -= 1;
    }
    start..end
}

/// The bytes that fit.
#[inline(never)]
pub fn filtered(text: &[u8], fits: &dyn Fn(u8) -> bool) -> Vec<u8> {
    let mut filtered = Vec::with_capacity(text.len());
    for byte in text {
        if fits(*byte) {
            filtered.push(*byte);
        }
    }
    filtered
}

/// The byte at a place; 0 where there is none.
#[inline(never)]
pub fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// How many digits are at the front.
#[inline(never)]
pub fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The number that digits are; none if there is something else, or they are more than nine.
#[inline(never)]
pub fn number(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.len() <= 9 && digits(text) == text.len();
    is_number.then(|| {
        text.iter()
            .fold(0, |number, digit| number * 10 + u32::from(*digit - b'0'))
    })
}

/// Of what is not ASCII all counts as letters.
pub fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || !byte.is_ascii()
}
