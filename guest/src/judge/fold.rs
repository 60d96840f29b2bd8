//! Folding a text: what its reader does not see, or sees as something else, does not count.
//!
//! Case, accents, look-alike letters of other scripts, full-width forms and characters without a
//! shape are folded. A place in the folded text leads back to the original.

use caseless::Caseless;
use std::ops::Range;

/// Longer texts are compared by so many bytes at each end.
pub const END_BYTES: usize = 4096;

/// A folded text.
pub struct Folded {
    /// ASCII where a Latin letter is meant; lower case. UTF-8.
    pub text: Vec<u8>,
    /// The byte of the original that each byte of `text` comes from, and its end.
    origins: Vec<u32>,
    /// Where the middle of the original was left out; else the end.
    pub middle: usize,
    latin: u32,
    other: u32,
}

impl Folded {
    /// Folds a text.
    pub fn new(original: &str, alike: &Alike) -> Self {
        let len = original.len();
        let mut folded = Self {
            text: Vec::with_capacity(len.min(2 * END_BYTES) + 8),
            origins: Vec::with_capacity(len.min(2 * END_BYTES) + 8),
            middle: 0,
            latin: 0,
            other: 0,
        };
        let (mut head, mut tail) = (len, len);
        if len > 2 * END_BYTES {
            head = original.floor_char_boundary(END_BYTES);
            tail = original.ceil_char_boundary(len - END_BYTES);
        }
        folded.push_all(original, 0..head, alike);
        folded.middle = folded.text.len();
        if tail < len {
            // A word that was cut is not read as two.
            folded.push(b" ", head);
            folded.push_all(original, tail..len, alike);
        }
        folded.origins.push(len as u32);
        folded
    }

    /// The middle of the original was left out.
    pub fn is_cut(&self) -> bool {
        self.middle < self.text.len()
    }

    /// Most letters are Latin, or there are no letters.
    pub fn is_latin(&self) -> bool {
        self.other <= self.latin / 4
    }

    #[inline(never)]
    fn push_all(&mut self, original: &str, range: Range<usize>, alike: &Alike) {
        let start = range.start;
        for (at, c) in original[range].char_indices() {
            let at = start + at;
            if c.is_ascii() {
                self.push_ascii(&[(c as u8).max(b' ').to_ascii_lowercase()], at);
                continue;
            }
            match shape(c) {
                Invisible | Mark => {}
                Space => self.push(b" ", at),
                Wide => {
                    let byte = (c as u32 - WIDE) as u8;
                    self.push_ascii(&[byte.to_ascii_lowercase()], at);
                }
                Letter | Sign => {
                    for c in std::iter::once(c).default_case_fold() {
                        self.push_folded(c, at, alike);
                    }
                }
            }
        }
    }

    /// A letter or a sign.
    fn push_folded(&mut self, c: char, at: usize, alike: &Alike) {
        let mut buffer = [0; 4];
        let mut bytes: &[u8] = c.encode_utf8(&mut buffer).as_bytes();
        let like = alike.get(c);
        if !like.is_empty() {
            bytes = like;
        }
        if bytes[0].is_ascii() {
            self.push_ascii(bytes, at);
        } else {
            let shape = shape(c);
            self.other += u32::from(shape == Letter);
            if shape != Mark {
                self.push(bytes, at);
            }
        }
    }

    #[inline(never)]
    fn push_ascii(&mut self, ascii: &[u8], at: usize) {
        for byte in ascii {
            self.latin += u32::from(byte.is_ascii_alphabetic());
        }
        self.push(ascii, at);
    }

    #[inline(never)]
    fn push(&mut self, bytes: &[u8], at: usize) {
        for byte in bytes {
            self.text.push(*byte);
            self.origins.push(at as u32);
        }
    }

    /// The place in the original that a place in the folded text comes from.
    pub fn origin(&self, at: Range<usize>) -> Range<usize> {
        let start = self.origins[at.start] as usize;
        let end = self.origins[at.end] as usize;
        start..end.max(start)
    }
}

/// How far full-width forms are from ASCII.
const WIDE: u32 = 0xfee0;

/// What a character is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A letter.
    Letter,
    /// A sign, a symbol or a picture.
    Sign,
    /// White space.
    Space,
    /// Without a shape: marks of direction, joiners, fillers, variation selectors.
    Invisible,
    /// An accent.
    Mark,
    /// A full-width form of ASCII.
    Wide,
}

use Shape::{Invisible, Letter, Mark, Sign, Space, Wide};

/// Where characters of another shape begin. Of some ranges only what is often seen is told.
const SHAPES: [(char, Shape); 55] = [
    ('\u{0}', Sign),
    ('\u{80}', Space),
    ('\u{a1}', Sign),
    ('\u{ad}', Invisible),
    ('\u{ae}', Sign),
    ('\u{c0}', Letter),
    ('\u{300}', Mark),
    ('\u{34f}', Invisible),
    ('\u{350}', Mark),
    ('\u{370}', Letter),
    ('\u{61c}', Invisible),
    ('\u{61d}', Letter),
    ('\u{115f}', Invisible),
    ('\u{1161}', Letter),
    ('\u{1680}', Space),
    ('\u{1681}', Letter),
    ('\u{17b4}', Invisible),
    ('\u{17b6}', Letter),
    ('\u{180b}', Invisible),
    ('\u{1810}', Letter),
    ('\u{2000}', Space),
    ('\u{200b}', Invisible),
    ('\u{2010}', Sign),
    ('\u{2028}', Space),
    ('\u{202a}', Invisible),
    ('\u{202f}', Space),
    ('\u{2030}', Sign),
    ('\u{205f}', Space),
    ('\u{2060}', Invisible),
    ('\u{2070}', Sign),
    ('\u{2c00}', Letter),
    ('\u{3000}', Space),
    ('\u{3001}', Sign),
    ('\u{3021}', Letter),
    ('\u{3164}', Invisible),
    ('\u{3165}', Letter),
    ('\u{fe00}', Invisible),
    ('\u{fe10}', Sign),
    ('\u{fe70}', Letter),
    ('\u{feff}', Invisible),
    ('\u{ff00}', Sign),
    ('\u{ff01}', Wide),
    ('\u{ff5f}', Letter),
    ('\u{ffa0}', Invisible),
    ('\u{ffa1}', Letter),
    ('\u{fff0}', Invisible),
    ('\u{fff9}', Letter),
    ('\u{1bca0}', Invisible),
    ('\u{1bca4}', Letter),
    ('\u{1d173}', Invisible),
    ('\u{1d17b}', Letter),
    ('\u{1f000}', Sign),
    ('\u{1fb00}', Letter),
    ('\u{e0000}', Invisible),
    ('\u{e1000}', Letter),
];

/// What a character beyond ASCII is.
#[inline(never)]
pub fn shape(c: char) -> Shape {
    let next = SHAPES.partition_point(|(start, _)| *start <= c);
    SHAPES[next - 1].1
}

/// Case-folded characters that look like ASCII: a line is what they look like, and the characters.
const LOOK_ALIKES: &str = "\
aàáâãäåāăąǎȁȃаɑα
aeæ
bƀ
cçćĉċčсϲ
dďđԁð
eèéêëēĕėęěȅȇе
fƒ
gĝğġģǧɡ
hĥħһ
iìíîïĩīĭįıǐіι
jĵǰј
kķĸкκ
lĺļľŀłӏ
mм
nñńņňŉ
oòóôõöøōŏőǒоο
oeœ
pрρ
rŕŗř
sśŝşšșѕ
tţťŧțт
uùúûüũūŭůűųǔμ
vν
wŵԝ
x×хχ
yýÿŷу
zźżž
thþ
'’‘ʼ′‛´
\"“”„‟«»″
-‐‑‒–−
 - —―
/⁄∕÷
 1/2½
 1/4¼
 3/4¾
 1/3⅓
 2/3⅔
!=≠
<=≤
>=≥
...…
";

/// Beyond this character none in [`LOOK_ALIKES`] stands.
const MOST_ALIKE: usize = 0x2266;

/// What characters look like.
pub struct Alike {
    /// By character, where its line begins in [`LOOK_ALIKES`], plus one; 0 for none.
    lines: Vec<u16>,
}

impl Alike {
    /// Reads the characters.
    pub fn new() -> Self {
        let mut lines = vec![0; MOST_ALIKE];
        let mut line = 1;
        for (at, c) in LOOK_ALIKES.char_indices() {
            if c == '\n' {
                line = at as u16 + 2;
            } else if !c.is_ascii()
                && let Some(of) = lines.get_mut(c as usize)
            {
                *of = line;
            }
        }
        Self { lines }
    }

    /// What a character looks like in ASCII; nothing if it does not.
    fn get(&self, c: char) -> &'static [u8] {
        // The small hyphen stands far from all others.
        if c == '\u{fe63}' {
            return b"-";
        }
        let line = self.lines.get(c as usize).copied().unwrap_or(0);
        if line == 0 {
            return b"";
        }
        let line = &LOOK_ALIKES.as_bytes()[usize::from(line) - 1..];
        let end = line.iter().take_while(|byte| byte.is_ascii()).count();
        &line[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(text: &str) -> Folded {
        Folded::new(text, &Alike::new())
    }

    #[test]
    fn what_looks_alike_is_alike() {
        for (text, folded) in [
            ("Turn \u{43e}ff", "turn off"),
            ("tu\u{200b}rn\u{202e} on\u{200f}", "turn on"),
            ("ＴＵＲＮ　ＯＮ５", "turn on5"),
            ("Café naïve Straße", "cafe naive strasse"),
            ("cafe\u{301}", "cafe"),
            ("can’t", "can't"),
            ("2½", "2 1/2"),
        ] {
            assert_eq!(fold(text).text, folded.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn other_scripts_are_told() {
        assert!(!fold("как включить свет").is_latin());
        assert!(!fold("如何打开灯").is_latin());
        assert!(fold("12 345").is_latin(), "digits are everybody's");
        assert!(fold("what does свет mean in Russian").is_latin());
    }

    #[test]
    fn places_lead_back_and_long_texts_are_cut() {
        let original = "Naïve\u{200b} ½";
        let folded = fold(original);
        assert_eq!(&original[folded.origin(0..5)], "Naïve\u{200b}");
        assert!(!folded.is_cut());
        let long = "é".repeat(9000);
        let folded = fold(&long);
        assert!(folded.is_cut());
        assert!(folded.text.len() <= 2 * END_BYTES + 1);
        assert!(folded.origin(0..folded.text.len()).end == long.len());
    }
}
