//! Reading a text: where its tokens are.
//!
//! The scanner works on bytes; what is not ASCII counts as letters.

use super::bytes::{any, byte, digits, filtered, find, front, has, is_letter, part, parts, trim};
use super::class;
use super::digits;
use super::language::{Language, hash};
use super::tokens::{Kind, Token, Tokens};
use std::ops::Range;

/// Operators that are tokens where they stand alone.
const OPERATORS: &[u8] =
    b"== === != !== <= >= < > && || ++ -- -> => << >> :: := = + * ** % // | ^ ~ ! += -= ?? ?. @";

/// Beginnings of words that a hyphen may set off.
const SET_OFF: &[u8] =
    b"non un anti pre post re co sub semi multi inter intra hyper hypo e de dis mis";

/// Signs of money before digits. The longer ones come first.
const MONEY: &str = "$ € £ ₹ ¥ rs. rs usd inr eur gbp";

/// The most tokens of a text. No text of words has more in 8 KiB.
const MOST: usize = 2048;

/// The tokens of a folded text whose middle was left out at a place, and whether there are more than are
/// read at each end.
pub fn tokens(text: &[u8], middle: usize, language: &Language) -> (Tokens, bool) {
    let mut scanner = Scanner {
        text,
        language,
        tokens: Tokens::new(text.len()),
        most: MOST,
        buffer: Vec::new(),
    };
    let mut is_cut = false;
    let mut start = 0;
    if middle < text.len() {
        scanner.most = MOST / 2;
    }
    for end in [middle, text.len()] {
        scanner.split(start..end, b" ", Scanner::chunk);
        is_cut |= scanner.tokens.len() >= scanner.most;
        scanner.tokens.truncate(scanner.most);
        scanner.most = MOST;
        start = end;
    }
    (scanner.tokens, is_cut)
}

/// Reads parts of a text.
pub struct Scanner<'a> {
    text: &'a [u8],
    language: &'a Language,
    tokens: Tokens,
    /// When there are so many tokens, no more are looked for.
    most: usize,
    buffer: Vec<u8>,
}

impl<'a> Scanner<'a> {
    /// A part of the text.
    pub fn part(&self, at: &Range<usize>) -> &'a [u8] {
        part(self.text, at.start, at.end)
    }

    /// Reads what stands between some signs.
    #[inline(never)]
    fn split(&mut self, at: Range<usize>, signs: &[u8], read: fn(&mut Self, Range<usize>)) {
        let mut start = at.start;
        while start <= at.end && self.tokens.len() < self.most {
            let rest = part(self.text, start, at.end);
            let end = start + find(rest, signs).unwrap_or(rest.len());
            if start < end {
                read(self, start..end);
            }
            start = end + 1;
        }
    }

    /// What stands between white space.
    fn chunk(&mut self, whole: Range<usize>) {
        let bytes = self.part(&whole);
        if is_letters(bytes) {
            self.word(whole);
            return;
        }
        if digits(bytes) == bytes.len() {
            digits::read(self, whole, false);
            return;
        }
        let is_short = bytes.len() <= 3 && !bytes[0].is_ascii_alphanumeric();
        if is_short && has(OPERATORS, bytes) {
            self.code(whole, false);
            return;
        }
        let at = trim(
            self.text,
            whole.clone(),
            b"([{\"'<*_!?,;:>|~",
            b".,;:!?)]}\"'>*~|",
        );
        let behind = part(self.text, at.end, whole.end);
        let before = self.tokens.len();
        let bytes = self.part(&at);
        if bytes.windows(3).any(|three| three == b"://") {
            self.code(at, true);
        } else if is_letters(bytes) {
            self.word(at);
        } else {
            // Signs that separate words wherever they stand, and commas that separate no digits.
            let mut start = at.start;
            let mut here = start;
            while let Some(next) = find(part(self.text, here, at.end), b",()\";[]{}?!") {
                here += next;
                let is_digit = |at: usize| byte(self.text, at).is_ascii_digit();
                let is_inside = byte(self.text, here) == b','
                    && here > at.start
                    && here + 1 < at.end
                    && is_digit(here - 1)
                    && is_digit(here + 1);
                if !is_inside {
                    self.piece(start..here);
                    start = here + 1;
                }
                here += 1;
            }
            self.piece(start..at.end);
        }
        self.tokens
            .end_chunk(before, any(behind, b".!?"), any(behind, b",;:"));
    }

    /// A chunk, or a part of it.
    fn piece(&mut self, at: Range<usize>) {
        let mut at = at;
        // `.zip`, but not `...and`
        let (first, bytes) = loop {
            at = trim(self.text, at, b"'\",:", b"'\".,:");
            let bytes = self.part(&at);
            let Some(first) = bytes.first() else {
                return;
            };
            if *first != b'.' {
                break (*first, bytes);
            }
            let dots = front(bytes, b".");
            at.start += dots;
            let name = self.part(&at);
            let is_name = dots == 1
                && self.language.form(name).class & class::FUNCTION == 0
                && name.iter().all(u8::is_ascii_alphanumeric);
            if is_name {
                self.code(at, false);
                return;
            }
        };
        let numeric = bytes.iter().any(u8::is_ascii_digit);
        let letters = bytes.iter().any(|byte| is_letter(*byte));
        let second = byte(bytes, 1);
        let is_option = first == b'-'
            && (numeric || letters)
            && (second == b'-' || bytes.len() > 1 && is_letter(second));
        if bytes == b"&" {
            self.word_of(at, b"and");
        } else if is_option {
            self.code(at, false);
        } else if numeric {
            self.with_digits(at);
        } else if !letters {
            if has(OPERATORS, bytes) {
                self.code(at, false);
            }
        } else if is_code(bytes) {
            self.code(at, true);
        } else if any(bytes, b".") {
            self.dotted(at);
        } else {
            self.words(at);
        }
    }

    /// A piece that has digits.
    fn with_digits(&mut self, at: Range<usize>) {
        let bytes = self.part(&at);
        let mut start = front(bytes, b"#~-+");
        let mut money = false;
        let first = byte(bytes, start);
        if !first.is_ascii() || b"$rugei".contains(&first) {
            for sign in parts(MONEY.as_bytes(), b' ') {
                let rest = part(bytes, start, bytes.len());
                if !money && rest.starts_with(sign) && digits(&rest[sign.len()..]) > 0 {
                    start += sign.len();
                    money = true;
                }
            }
        }
        if byte(bytes, start.min(bytes.len() - 1)).is_ascii_digit() {
            digits::read(self, at.start + start..at.end, money);
        } else if bytes[0] != b'/' && any(bytes, b"/") {
            self.split(at, b"/", Self::piece);
        } else {
            self.code(at, true);
        }
    }

    /// Letters with dots: initials, a sentence without a space, or a name.
    fn dotted(&mut self, at: Range<usize>) {
        let piece = self.part(&at);
        let parts = || parts(piece, b'.');
        if parts().all(|part| part.len() <= 1) {
            let word = filtered(piece, &|byte| byte != b'.');
            self.word_of(at, &word);
            return;
        }
        let extension = parts().last().unwrap_or(b"");
        if self.language.form(extension).class & class::FUNCTION != 0
            || parts().any(<[u8]>::is_empty)
        {
            self.split(at, b".", Self::words);
        } else {
            self.code(at, false);
        }
    }

    /// Letters, with hyphens, slashes or apostrophes.
    pub fn words(&mut self, at: Range<usize>) {
        let piece = self.part(&at);
        if let Some(hyphen) = find(piece, b"-") {
            let behind = part(piece, hyphen + 1, piece.len());
            if has(SET_OFF, part(piece, 0, hyphen)) && !behind.is_empty() && !any(behind, b"-/'") {
                let word = filtered(piece, &|byte| byte != b'-');
                self.word_of(at, &word);
                return;
            }
        }
        self.split(at, b"-/*|~&+:<>=^%$#@\\", Self::word);
    }

    /// A word with nothing around it.
    fn word(&mut self, at: Range<usize>) {
        let at = trim(self.text, at, b"'`", b"'`");
        let word = self.part(&at);
        self.word_of(at, word);
    }

    /// Adds a word, or what it stands for. An apostrophe and what is behind it do not count.
    fn word_of(&mut self, at: Range<usize>, word: &[u8]) {
        let (mut known, mut stem) = self.language.read_form(word, &mut self.buffer);
        if !known.contraction.is_empty() {
            for word in parts(known.contraction, b'+') {
                self.word_of(at.clone(), word);
            }
            return;
        }
        let mut word = word;
        if let Some(end) = find(word, b"'") {
            word = part(word, 0, end);
            (known, stem) = self.language.read_form(word, &mut self.buffer);
        }
        if word.iter().any(|byte| is_letter(*byte)) {
            let token = self.tokens.push(at, word, b"");
            token.form = known.form;
            token.stem = stem;
        }
    }

    /// A code, without the signs that people write or leave out in it.
    pub fn code(&mut self, at: Range<usize>, squeeze: bool) {
        let code = self.part(&at);
        if !squeeze {
            self.push(at, code, b"", Kind::Code);
            return;
        }
        let squeezed = filtered(code, &|byte| !b"-_'/*@".contains(&byte));
        let mut code = &squeezed[..];
        // `v2.0` is `2`.
        if byte(code, 0) == b'v' && byte(code, 1).is_ascii_digit() {
            code = &code[1..];
        }
        while let Some(shorter) = code.strip_suffix(b".0") {
            code = shorter;
        }
        self.push(at, code, b"", Kind::Code);
    }

    /// Adds a token that is no word.
    #[inline(never)]
    pub fn push(&mut self, at: Range<usize>, word: &[u8], suffix: &[u8], kind: Kind) -> &mut Token {
        let mut end = word.len();
        // `8.0` is `8`.
        if kind == Kind::Number && any(word, b".") {
            while end > 0 && word[end - 1] == b'0' {
                end -= 1;
            }
            while end > 0 && word[end - 1] == b'.' {
                end -= 1;
            }
        }
        let token = self.tokens.push(at, word, suffix);
        token.kind = kind;
        token.stem = hash(&word[..end]);
        token
    }
}

/// Nothing but letters.
fn is_letters(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_letter(*byte))
}

/// It is no words: a path, an address, a name with an underscore, `c++`.
fn is_code(bytes: &[u8]) -> bool {
    let last = bytes.len() - 1;
    let is_sign = |byte: &u8| b"+#".contains(byte);
    let signs = bytes.iter().rev().take_while(|byte| is_sign(byte)).count();
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic());
    let is_language = signs > 0 && signs <= 2 && letters.count() == bytes.len() - signs;
    is_language
        || any(bytes, b"_\\=")
        || any(part(bytes, 1, last), b"@")
        || b"/~".contains(&bytes[0])
}
