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
    /// ASCII where a Latin letter is meant; lower case.
    pub text: String,
    /// The byte of the original that each byte of `text` comes from, and its end.
    origins: Vec<u32>,
    /// The middle of the original was left out.
    pub is_cut: bool,
    /// Most letters are Latin, or there are no letters.
    pub is_latin: bool,
}

impl Folded {
    /// Folds a text.
    pub fn new(original: &str) -> Self {
        let mut folded = Self {
            text: String::with_capacity(original.len().min(2 * END_BYTES) + 8),
            origins: Vec::with_capacity(original.len().min(2 * END_BYTES) + 8),
            is_cut: original.len() > 2 * END_BYTES,
            is_latin: true,
        };
        let (mut latin, mut other) = (0_usize, 0_usize);
        if folded.is_cut {
            let head = original.floor_char_boundary(END_BYTES);
            let tail = original.ceil_char_boundary(original.len() - END_BYTES);
            folded.push_all(original, 0..head, &mut latin, &mut other);
            // A word that was cut is not read as two.
            folded.push(' ', head);
            folded.push_all(original, tail..original.len(), &mut latin, &mut other);
        } else {
            folded.push_all(original, 0..original.len(), &mut latin, &mut other);
        }
        folded.origins.push(original.len() as u32);
        folded.is_latin = other <= latin / 4;
        folded
    }

    fn push_all(
        &mut self,
        original: &str,
        range: Range<usize>,
        latin: &mut usize,
        other: &mut usize,
    ) {
        let start = range.start;
        for (at, c) in original[range].char_indices() {
            let at = start + at;
            if c.is_ascii() {
                *latin += usize::from(c.is_ascii_alphabetic());
                self.push(if c < ' ' { ' ' } else { c.to_ascii_lowercase() }, at);
                continue;
            }
            if is_invisible(c) {
                continue;
            }
            for c in std::iter::once(c).default_case_fold() {
                match shape(c) {
                    Shape::Is(text) => {
                        for c in text.chars() {
                            *latin += usize::from(c.is_ascii_alphabetic());
                            self.push(c, at);
                        }
                    }
                    Shape::Mark => {}
                    Shape::Same => {
                        *other += usize::from(is_letter(c));
                        self.push(if is_space(c) { ' ' } else { c }, at);
                    }
                }
            }
        }
    }

    fn push(&mut self, c: char, at: usize) {
        self.text.push(c);
        self.origins
            .extend(std::iter::repeat_n(at as u32, c.len_utf8()));
    }

    /// The place in the original that a place in the folded text comes from.
    pub fn origin(&self, at: Range<usize>) -> Range<usize> {
        let start = self.origins[at.start] as usize;
        let end = self.origins[at.end] as usize;
        start..end.max(start)
    }
}

/// Characters without a shape: marks of direction, joiners, fillers, variation selectors.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// White space beyond ASCII.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\u{80}'..='\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
    )
}

/// Beyond ASCII all are letters but signs, symbols and pictures.
fn is_letter(c: char) -> bool {
    !matches!(
        c,
        '\u{80}'..='\u{bf}'
            | '\u{2000}'..='\u{2bff}'
            | '\u{3000}'..='\u{3020}'
            | '\u{fe10}'..='\u{fe6f}'
            | '\u{ff00}'..='\u{ff20}'
            | '\u{1f000}'..='\u{1faff}'
    )
}

/// What a character looks like.
enum Shape {
    /// Like these.
    Is(&'static str),
    /// Like an accent.
    Mark,
    /// Like nothing in ASCII.
    Same,
}

/// Case-folded characters that look like ASCII, each behind what it looks like.
const LOOK_ALIKES: [(&str, &str); 43] = [
    ("a", "àáâãäåāăąǎȁȃаɑα"),
    ("ae", "æ"),
    ("b", "ƀ"),
    ("c", "çćĉċčсϲ"),
    ("d", "ďđԁð"),
    ("e", "èéêëēĕėęěȅȇе"),
    ("f", "ƒ"),
    ("g", "ĝğġģǧɡ"),
    ("h", "ĥħһ"),
    ("i", "ìíîïĩīĭįıǐіι"),
    ("j", "ĵǰј"),
    ("k", "ķĸкκ"),
    ("l", "ĺļľŀłӏ"),
    ("m", "м"),
    ("n", "ñńņňŉ"),
    ("o", "òóôõöøōŏőǒоο"),
    ("oe", "œ"),
    ("p", "рρ"),
    ("r", "ŕŗř"),
    ("s", "śŝşšșѕ"),
    ("t", "ţťŧțт"),
    ("u", "ùúûüũūŭůűųǔ"),
    ("v", "ν"),
    ("w", "ŵԝ"),
    ("x", "×хχ"),
    ("y", "ýÿŷу"),
    ("z", "źżž"),
    ("th", "þ"),
    ("'", "’‘ʼ′‛`´"),
    ("\"", "“”„‟«»″"),
    ("-", "‐‑‒–−﹣"),
    (" - ", "—―"),
    ("/", "⁄∕÷"),
    (" 1/2", "½"),
    (" 1/4", "¼"),
    (" 3/4", "¾"),
    (" 1/3", "⅓"),
    (" 2/3", "⅔"),
    ("!=", "≠"),
    ("<=", "≤"),
    (">=", "≥"),
    ("...", "…"),
    ("u", "µμ"),
];

fn shape(c: char) -> Shape {
    match c {
        '\u{300}'..='\u{36f}' => return Shape::Mark,
        '\u{ff01}'..='\u{ff5e}' => {
            let at = c as usize - 0xff01;
            return Shape::Is(&PRINTABLE[at..=at]);
        }
        _ => {}
    }
    // Beyond these blocks nothing looks alike.
    if !matches!(c, '\u{a0}'..='\u{52f}' | '\u{2010}'..='\u{2265}' | '\u{fe63}') {
        return Shape::Same;
    }
    LOOK_ALIKES
        .iter()
        .find(|(_, alike)| alike.contains(c))
        .map_or(Shape::Same, |(ascii, _)| Shape::Is(ascii))
}

/// The printable ASCII characters from `!` on, in order, as lower case.
const PRINTABLE: &str = "!\"#$%&'()*+,-./0123456789:;<=>?@abcdefghijklmnopqrstuvwxyz[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Folded::new(text).text, folded, "{text:?}");
        }
    }

    #[test]
    fn other_scripts_are_told() {
        assert!(!Folded::new("как включить свет").is_latin);
        assert!(!Folded::new("如何打开灯").is_latin);
        assert!(Folded::new("12 345").is_latin, "digits are everybody's");
        assert!(Folded::new("what does свет mean in Russian").is_latin);
    }

    #[test]
    fn places_lead_back_and_long_texts_are_cut() {
        let original = "Naïve\u{200b} ½";
        let folded = Folded::new(original);
        assert_eq!(&original[folded.origin(0..5)], "Naïve\u{200b}");
        assert!(!folded.is_cut);
        let long = "é".repeat(9000);
        let folded = Folded::new(&long);
        assert!(folded.is_cut);
        assert!(folded.text.len() <= 2 * END_BYTES + 1);
        assert!(folded.origin(0..folded.text.len()).end == long.len());
    }
}
