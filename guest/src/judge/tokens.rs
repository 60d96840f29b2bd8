//! Reading a text: its words, numbers, dates and codes, with what is known of each.
//!
//! The scanner works on bytes; what is not ASCII counts as letters.

use super::bytes::{any, front, has, is_letter, part, trim};
use super::class;
use super::digits;
use super::language::{Form, Language, hash};
use std::ops::Range;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// Digits. The token's word is the number without separators of thousands: `1234.5`.
    Number {
        /// `k`, `%`, `kg`, `th`; empty for none.
        suffix: String,
        /// Behind the sign of a currency.
        money: bool,
    },
    /// A day in digits.
    Day {
        /// 1 to 9999.
        year: u32,
        /// 1 to 12.
        month: u32,
        /// 1 to 31.
        day: u32,
        /// Month and day may be the other way round.
        unsure: bool,
    },
    /// A time of day.
    Time {
        /// Seconds since midnight.
        seconds: u32,
        /// It may be twelve hours later.
        unsure: bool,
    },
    /// A version, a code, a file name, an option, an operator.
    Code,
}

/// A part of a text.
#[derive(Clone, Debug)]
pub struct Token {
    /// Where it is in the folded text.
    pub at: Range<usize>,
    /// The word, the digits, or the code without separators.
    pub word: String,
    /// The hash of its stem.
    pub stem: u64,
    /// What it is.
    pub kind: Kind,
    /// What is known of the word.
    pub form: Form,
    /// A sentence ends behind it.
    pub ends: bool,
    /// A comma or the like is behind it.
    pub comma: bool,
}

impl Token {
    /// It is in a class.
    pub fn is(&self, class: u32) -> bool {
        self.form.class & class != 0
    }

    /// It says what is asked.
    pub fn is_content(&self) -> bool {
        !self.is(class::FUNCTION | class::NEGATION | class::JOINER)
    }

    /// It is a word.
    pub fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    /// Something ends behind it.
    pub fn closes(&self) -> bool {
        self.ends || self.comma
    }
}

/// The tokens of a text.
pub struct Tokens(pub Vec<Token>);

/// What is before the first token, and behind the last.
static NOTHING: Token = Token {
    at: 0..0,
    word: String::new(),
    stem: 0,
    kind: Kind::Word,
    form: Form::UNKNOWN,
    ends: true,
    comma: false,
};

impl Tokens {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A token, or an empty one before the first and behind the last.
    #[inline(never)]
    pub fn at(&self, at: usize) -> &Token {
        self.0.get(at).unwrap_or(&NOTHING)
    }

    /// The token before one.
    pub fn before(&self, at: usize) -> &Token {
        self.at(at.wrapping_sub(1))
    }

    /// A token is in a class.
    #[inline(never)]
    pub fn is(&self, at: usize, class: u32) -> bool {
        self.at(at).is(class)
    }

    /// A token of some is in a class.
    #[inline(never)]
    pub fn any(&self, range: Range<usize>, class: u32) -> bool {
        range.into_iter().any(|at| self.is(at, class))
    }
}

/// Operators that are tokens where they stand alone.
const OPERATORS: &str =
    " == === != !== <= >= < > && || ++ -- -> => << >> :: := = + * ** % // | ^ ~ ! += -= ?? ?. @ ";

/// Beginnings of words that a hyphen may set off.
const SET_OFF: &str =
    " non un anti pre post re co sub semi multi inter intra hyper hypo e de dis mis ";

/// Signs of money before digits.
const MONEY: [&str; 11] = [
    "$", "€", "£", "₹", "¥", "rs.", "rs", "usd", "inr", "eur", "gbp",
];

/// The tokens of a folded text.
pub fn tokens(text: &str, language: &Language) -> Tokens {
    let mut scanner = Scanner {
        text,
        language,
        tokens: Vec::with_capacity(text.len() / 6),
        stem: String::new(),
    };
    scanner.split(0..text.len(), b" ", Scanner::chunk);
    Tokens(scanner.tokens)
}

/// Reads parts of a text.
pub struct Scanner<'a> {
    text: &'a str,
    language: &'a Language,
    tokens: Vec<Token>,
    /// A buffer.
    stem: String,
}

impl Scanner<'_> {
    /// Reads what stands between some signs.
    #[inline(never)]
    fn split(&mut self, at: Range<usize>, signs: &[u8], read: fn(&mut Self, Range<usize>)) {
        let mut start = at.start;
        for part in self.text.as_bytes()[at].split(|byte| signs.contains(byte)) {
            let end = start + part.len();
            if start < end {
                read(self, start..end);
            }
            start = end + 1;
        }
    }

    /// What stands between white space.
    fn chunk(&mut self, whole: Range<usize>) {
        let text = self.text;
        let is_short = whole.len() <= 3 && !text.as_bytes()[whole.start].is_ascii_alphanumeric();
        if is_short && has(OPERATORS, part(text, whole.clone())) {
            self.code(whole, false);
            return;
        }
        let at = trim(
            text,
            whole.clone(),
            b"([{\"'<*_!?,;:>|~",
            b".,;:!?)]}\"'>*~|",
        );
        let behind = &text.as_bytes()[at.end..whole.end];
        let before = self.tokens.len();
        let bytes = &text.as_bytes()[at.clone()];
        if bytes.windows(3).any(|three| three == b"://") {
            self.code(at, true);
        } else {
            // Signs that separate words wherever they stand, and commas that separate no digits.
            let mut start = at.start;
            for (n, byte) in bytes.iter().enumerate() {
                let comma = *byte == b','
                    && !(bytes.get(n + 1).is_some_and(u8::is_ascii_digit)
                        && n > 0
                        && bytes[n - 1].is_ascii_digit());
                if comma || b"()\";[]{}?!".contains(byte) {
                    self.piece(start..at.start + n);
                    start = at.start + n + 1;
                }
            }
            self.piece(start..at.end);
        }
        if self.tokens.len() > before
            && let Some(last) = self.tokens.last_mut()
        {
            last.ends = any(behind, b".!?");
            last.comma = any(behind, b",;:");
        }
    }

    /// A chunk, or a part of it.
    fn piece(&mut self, at: Range<usize>) {
        let mut at = trim(self.text, at, b"'\",:", b"'\".,:");
        let piece = part(self.text, at.clone());
        let bytes = piece.as_bytes();
        let Some(first) = bytes.first() else {
            return;
        };
        let digits = bytes.iter().any(u8::is_ascii_digit);
        let letters = bytes.iter().any(|byte| is_letter(*byte));
        if piece == "&" {
            self.push(at, "and", Kind::Word);
        } else if *first == b'.' {
            // `.zip`, but not `...and`
            let dots = front(bytes, b".");
            at.start += dots;
            let name = part(self.text, at.clone());
            let is_name = dots == 1
                && self.language.form(name).class & class::FUNCTION == 0
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_name {
                self.code(at, false);
            } else {
                self.piece(at);
            }
        } else if *first == b'-'
            && (digits || letters)
            && bytes
                .get(1)
                .is_some_and(|byte| *byte == b'-' || is_letter(*byte))
        {
            self.code(at, false);
        } else if digits {
            let mut money = false;
            let mut start = front(bytes, b"#~-+");
            for sign in MONEY {
                let rest = part(piece, start..piece.len());
                if rest.strip_prefix(sign).is_some_and(|rest| {
                    rest.bytes()
                        .next()
                        .is_some_and(|byte| byte.is_ascii_digit())
                }) {
                    start += sign.len();
                    money = true;
                    break;
                }
            }
            if bytes[start.min(bytes.len() - 1)].is_ascii_digit() {
                digits::read(self, at.start + start..at.end, money);
            } else if front(bytes, b"/") == 0 && any(bytes, b"/") {
                self.split(at, b"/", Self::piece);
            } else {
                self.code(at, true);
            }
        } else if !letters {
            if has(OPERATORS, piece) {
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

    /// Letters with dots: initials, a sentence without a space, or a name.
    fn dotted(&mut self, at: Range<usize>) {
        let piece = part(self.text, at.clone());
        if piece.split('.').all(|part| part.len() <= 1) {
            self.push(at, &piece.replace('.', ""), Kind::Word);
            return;
        }
        let extension = piece.split('.').next_back().unwrap_or("");
        if self.language.form(extension).class & class::FUNCTION != 0 || piece.contains("..") {
            self.split(at, b".", Self::words);
        } else {
            self.code(at, false);
        }
    }

    /// Letters, with hyphens, slashes or apostrophes.
    pub fn words(&mut self, at: Range<usize>) {
        let piece = part(self.text, at.clone());
        if any(piece.as_bytes(), b"-")
            && let Some((front, behind)) = piece.split_once('-')
            && has(SET_OFF, front)
            && !behind.is_empty()
            && !any(behind.as_bytes(), b"-/'")
        {
            let joined = format!("{front}{behind}");
            self.push(at, &joined, Kind::Word);
        } else {
            self.split(at, b"-/*|~&+:<>=^%$#@\\", Self::word);
        }
    }

    /// A word, with an apostrophe or without.
    fn word(&mut self, at: Range<usize>) {
        let at = trim(self.text, at, b"'`", b"'`");
        let word = part(self.text, at.clone());
        let contraction = self.language.contraction(word);
        if !contraction.is_empty() {
            for word in contraction.split('+') {
                self.push(at.clone(), word, Kind::Word);
            }
            return;
        }
        let word = word.split('\'').next().unwrap_or(word);
        if word.bytes().any(is_letter) {
            self.push(at, word, Kind::Word);
        }
    }

    /// A code, without the signs that people write or leave out in it.
    pub fn code(&mut self, at: Range<usize>, squeeze: bool) {
        let code = part(self.text, at.clone());
        let mut word = code.to_string();
        if squeeze {
            word.retain(|c| !"-_'/*@".contains(c));
            // `v2.0` is `2`.
            if let Some(version) = word.strip_prefix('v')
                && version
                    .bytes()
                    .next()
                    .is_some_and(|byte| byte.is_ascii_digit())
            {
                word = version.to_string();
            }
            while let Some(shorter) = word.strip_suffix(".0") {
                word.truncate(shorter.len());
            }
        }
        self.push(at, &word, Kind::Code);
    }

    /// The text that is read.
    pub fn part(&self, at: Range<usize>) -> &str {
        part(self.text, at)
    }

    /// Adds a token.
    #[inline(never)]
    pub fn push(&mut self, at: Range<usize>, word: &str, kind: Kind) {
        let mut form = Form::UNKNOWN;
        let stem = match &kind {
            Kind::Word => {
                form = self.language.read_form(word, &mut self.stem);
                hash(&self.stem)
            }
            // `8.0` is `8`.
            Kind::Number { .. } if any(word.as_bytes(), b".") => {
                hash(word.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => hash(word),
        };
        self.tokens.push(Token {
            at,
            word: word.to_string(),
            stem,
            kind,
            form,
            ends: false,
            comma: false,
        });
    }
}

/// It is no words: a path, an address, a name with an underscore, `c++`.
fn is_code(bytes: &[u8]) -> bool {
    let signs = bytes
        .iter()
        .rev()
        .take_while(|byte| b"+#".contains(byte))
        .count();
    let is_language = (1..=2).contains(&signs)
        && bytes[..bytes.len() - signs]
            .iter()
            .all(u8::is_ascii_alphabetic);
    let middle = &bytes[1..bytes.len().max(2) - 1];
    is_language || any(bytes, b"_\\=") || middle.contains(&b'@') || b"/~".contains(&bytes[0])
}
