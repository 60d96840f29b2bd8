//! Texts as bytes: what separates words is ASCII. Called often, and therefore not inlined, so that the
//! component holds it once.

use std::ops::Range;

/// Part of a text that is cut at ASCII characters.
#[inline(never)]
pub fn part(text: &str, at: Range<usize>) -> &str {
    text.get(at).unwrap_or("")
}

/// A list of words with spaces between them has a word.
#[inline(never)]
pub fn has(list: &str, word: &str) -> bool {
    list.split(' ')
        .any(|other| other == word && !word.is_empty())
}

/// There is one of some bytes.
#[inline(never)]
pub fn any(bytes: &[u8], of: &[u8]) -> bool {
    bytes.iter().any(|byte| of.contains(byte))
}

/// How many bytes at the front are among some.
#[inline(never)]
pub fn front(bytes: &[u8], of: &[u8]) -> usize {
    bytes.iter().take_while(|byte| of.contains(byte)).count()
}

/// Without some bytes at both ends.
#[inline(never)]
pub fn trim(text: &str, at: Range<usize>, front_of: &[u8], back_of: &[u8]) -> Range<usize> {
    let bytes = text.as_bytes();
    let start = at.start + front(&bytes[at.clone()], front_of);
    let mut end = at.end;
    while end > start && back_of.contains(&bytes[end - 1]) {
        end -= 1;
    }
    start..end
}

/// Of what is not ASCII all counts as letters.
pub fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || !byte.is_ascii()
}
