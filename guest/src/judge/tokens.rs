//! Reading a text: its words, numbers, dates and codes, with what is known of each.

use super::fold::Folded;
use super::language::{Form, Language, class};
use std::ops::Range;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// Digits: a number as it is written, without separators of thousands, and its suffix.
    Number {
        /// `1234.5`.
        digits: String,
        /// `k`, `%`, `kg`, `th`; empty for none.
        suffix: String,
        /// Behind the sign of a currency.
        money: bool,
    },
    /// A day: year, month, day of the month. Zero is unknown.
    Day {
        /// 1 to 9999.
        year: u16,
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// Month and day may be the other way round.
        unsure: bool,
    },
    /// A time of day in seconds; without "am" or "pm" below 13 hours it is unsure.
    Time {
        /// Since midnight.
        seconds: u32,
        /// It may be twelve hours later.
        unsure: bool,
    },
    /// A version, a code, a file name, an option.
    Code,
    /// An operator of a programming language.
    Operator,
}

/// A part of a text.
#[derive(Clone, Debug)]
pub struct Token {
    /// Where it is in the folded text.
    pub at: Range<usize>,
    /// The word, or the code without separators.
    pub word: String,
    /// Its stem.
    pub stem: String,
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
        self.form.class & (class::FUNCTION | class::NEGATION | class::JOINER) == 0
    }
}

/// Operators that are tokens where they stand alone.
const OPERATORS: [&str; 33] = [
    "==", "===", "!=", "!==", "<=", ">=", "<", ">", "&&", "||", "++", "--", "->", "=>", "<<", ">>",
    "::", ":=", "=", "+", "*", "**", "%", "//", "|", "^", "~", "!", "+=", "-=", "??", "?.", "@",
];

/// Beginnings of words that a hyphen may set off.
const SET_OFF: [&str; 18] = [
    "non", "un", "anti", "pre", "post", "re", "co", "sub", "semi", "multi", "inter", "intra",
    "hyper", "hypo", "e", "de", "dis", "mis",
];

/// The tokens of a folded text.
pub fn tokens(folded: &Folded, language: &Language) -> Vec<Token> {
    let mut scanner = Scanner {
        text: &folded.text,
        language,
        tokens: Vec::with_capacity(folded.text.len() / 5 + 1),
    };
    let mut start = None;
    for (at, c) in folded.text.char_indices() {
        if c == ' ' || c.is_whitespace() || c.is_control() {
            if let Some(start) = start.take() {
                scanner.chunk(start..at);
            }
        } else {
            start.get_or_insert(at);
        }
    }
    if let Some(start) = start {
        scanner.chunk(start..folded.text.len());
    }
    scanner.tokens
}

struct Scanner<'a> {
    text: &'a str,
    language: &'a Language,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    /// What stands between white space.
    fn chunk(&mut self, mut at: Range<usize>) {
        let whole = &self.text[at.clone()];
        if OPERATORS.contains(&whole) {
            self.push(at, whole.to_string(), Kind::Operator);
            return;
        }
        let front = |c: char| "([{\"'<*_!?,;:>|~".contains(c);
        let back = |c: char| ".,;:!?)]}\"'>*~|".contains(c);
        let trimmed = whole.trim_start_matches(front);
        at.start = at.end - trimmed.len();
        let trimmed = trimmed.trim_end_matches(back);
        let behind = &self.text[at.start + trimmed.len()..at.end];
        let ends = behind.contains(['.', '!', '?']);
        let comma = behind.contains([',', ';', ':']);
        at.end = at.start + trimmed.len();
        let before = self.tokens.len();
        if trimmed.contains("://") || trimmed.starts_with("www.") {
            self.push(at, squeezed(trimmed), Kind::Code);
        } else {
            let mut start = at.start;
            // Signs that separate words wherever they stand, and commas that separate no digits.
            let bytes = self.text.as_bytes();
            for here in at.clone() {
                let separates = match bytes[here] {
                    b'(' | b')' | b'"' | b';' | b'[' | b']' | b'{' | b'}' | b'?' | b'!' => true,
                    b',' => !is_between_digits(bytes, here, &at),
                    _ => false,
                };
                if separates {
                    self.piece(start..here);
                    start = here + 1;
                }
            }
            self.piece(start..at.end);
        }
        if self.tokens.len() > before
            && let Some(last) = self.tokens.last_mut()
        {
            last.ends = ends;
            last.comma = comma;
        }
    }

    /// A chunk, or a part of it.
    fn piece(&mut self, mut at: Range<usize>) {
        let piece = self.text[at.clone()]
            .trim_start_matches(['\'', '"', ',', ':'])
            .trim_end_matches(['\'', '"', '.', ',', ':']);
        if piece.is_empty() {
            return;
        }
        // Trimmed ASCII only, so the offset is the pointer's.
        at.start += self.text[at.clone()].find(piece).unwrap_or(0);
        at.end = at.start + piece.len();
        if piece == "&" {
            self.push(at, "and".to_string(), Kind::Word);
            return;
        }
        if let Some(extension) = piece.strip_prefix('.') {
            let length = extension.len();
            let extension = extension.trim_start_matches('.');
            at.start += 1 + length - extension.len();
            let is_name = extension.len() == length
                && self.language.form(extension).class & class::FUNCTION == 0
                && extension.bytes().all(|b| b.is_ascii_alphanumeric());
            if is_name {
                self.push(at, extension.to_string(), Kind::Code);
            } else {
                self.piece(at);
            }
            return;
        }
        let bytes = piece.as_bytes();
        let is_option = bytes[0] == b'-'
            && bytes
                .get(1)
                .is_some_and(|b| *b == b'-' || b.is_ascii_alphabetic())
            && piece.bytes().any(|b| b.is_ascii_alphanumeric());
        if is_option {
            self.push(at, piece.to_string(), Kind::Code);
            return;
        }
        let unsigned = piece.trim_start_matches(['$', '€', '£', '₹', '¥', '#', '~', '-', '+']);
        let signs = &piece[..piece.len() - unsigned.len()];
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            let money = signs.contains(['$', '€', '£', '₹', '¥']);
            at.start += signs.len();
            self.digits(at, money);
        } else if bytes.iter().any(|b| b.is_ascii_digit()) {
            self.with_digits(at);
        } else if is_language(piece) {
            self.push(at, piece.to_string(), Kind::Code);
        } else if piece.contains(['_', '\\', '=']) || is_address(piece) || is_path(piece) {
            self.push(at, squeezed(piece), Kind::Code);
        } else if piece.contains('.') {
            self.dotted(at);
        } else if piece.chars().any(char::is_alphabetic) {
            self.words(at);
        } else if OPERATORS.contains(&piece) {
            self.push(at, piece.to_string(), Kind::Operator);
        }
    }

    /// Letters with dots: initials, a sentence without a space, or a name.
    fn dotted(&mut self, at: Range<usize>) {
        let piece = &self.text[at.clone()];
        if piece.split('.').all(|part| part.len() <= 1) {
            self.push(at, piece.replace('.', ""), Kind::Word);
            return;
        }
        let Some((front, extension)) = piece.rsplit_once('.') else {
            return;
        };
        let is_sentence = self.language.form(extension).class & class::FUNCTION != 0;
        if is_sentence || front.ends_with('.') || extension.is_empty() {
            let mut start = at.start;
            for part in piece.split('.') {
                self.words(start..start + part.len());
                start += part.len() + 1;
            }
        } else {
            self.push(at, piece.to_string(), Kind::Code);
        }
    }

    /// Letters, with hyphens, slashes or apostrophes.
    fn words(&mut self, at: Range<usize>) {
        let text = self.text;
        let mut start = at.start;
        let mut parts = Vec::new();
        for part in text[at.clone()].split(['-', '/', '*', '|', '~', '&', '+', ':', '<', '>']) {
            if part.chars().any(char::is_alphabetic) {
                parts.push(start..start + part.len());
            }
            start += part.len() + 1;
        }
        let mut n = 0;
        while n < parts.len() {
            let part = parts[n].clone();
            let word = &text[part.clone()];
            let next = parts.get(n + 1).filter(|next| {
                next.start == part.end + 1
                    && text.as_bytes()[part.end] == b'-'
                    && SET_OFF.contains(&word)
            });
            if let Some(next) = next {
                let joined = format!("{word}{}", &text[next.clone()]);
                self.push(part.start..next.end, joined, Kind::Word);
                n += 2;
            } else {
                self.word(part);
                n += 1;
            }
        }
    }

    /// A word, with an apostrophe or without.
    fn word(&mut self, at: Range<usize>) {
        let word = self.text[at.clone()].trim_matches('\'');
        if let Some(words) = self.language.contraction(word) {
            for word in words.split('+') {
                self.push(at.clone(), word.to_string(), Kind::Word);
            }
            return;
        }
        let word = word.split('\'').next().unwrap_or(word);
        if !word.is_empty() {
            self.push(at, word.to_string(), Kind::Word);
        }
    }

    /// Letters and digits, letters first: a code, unless a hyphen joins words to it.
    fn with_digits(&mut self, at: Range<usize>) {
        let piece = &self.text[at.clone()];
        for money in ["rs.", "rs", "usd", "us$", "inr", "eur", "gbp"] {
            if let Some(rest) = piece.strip_prefix(money)
                && rest.starts_with(|c: char| c.is_ascii_digit())
            {
                self.digits(at.start + money.len()..at.end, true);
                return;
            }
        }
        // Two words with a slash, of which one has digits.
        if let Some((one, other)) = piece.split_once('/')
            && !one.is_empty()
            && !other.is_empty()
            && !other.contains('/')
        {
            let middle = at.start + one.len();
            self.piece(at.start..middle);
            self.piece(middle + 1..at.end);
            return;
        }
        let word = squeezed(piece);
        let word = match word.strip_prefix('v') {
            Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
                version.trim_end_matches(".0").to_string()
            }
            _ => word,
        };
        self.push(at, word, Kind::Code);
    }

    /// What begins with a digit.
    fn digits(&mut self, at: Range<usize>, money: bool) {
        super::digits::read(self.text, at, money, &mut |at, word, kind| match kind {
            Some(kind) => self.push(at, word, kind),
            None => self.words(at),
        });
    }

    fn push(&mut self, at: Range<usize>, word: String, kind: Kind) {
        let form = if kind == Kind::Word {
            self.language.form(&word)
        } else {
            Form::default()
        };
        let stem = match &kind {
            Kind::Word => self.language.stem(&word),
            // `8.0` is `8`.
            Kind::Number { digits, .. } if digits.contains('.') => digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_string(),
            Kind::Number { digits, .. } => digits.clone(),
            _ => word.clone(),
        };
        self.tokens.push(Token {
            at,
            word,
            stem,
            kind,
            form,
            ends: false,
            comma: false,
        });
    }
}

fn is_between_digits(bytes: &[u8], here: usize, at: &Range<usize>) -> bool {
    here > at.start
        && here + 1 < at.end
        && bytes[here - 1].is_ascii_digit()
        && bytes[here + 1].is_ascii_digit()
}

/// Letters with `+` or `#` behind: `c++`.
fn is_language(piece: &str) -> bool {
    let letters = piece.trim_end_matches(['+', '#']);
    (1..=2).contains(&(piece.len() - letters.len()))
        && !letters.is_empty()
        && letters.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Of one person at one place.
fn is_address(piece: &str) -> bool {
    piece.split_once('@').is_some_and(|(name, place)| {
        !name.is_empty() && place.contains('.') && !place.contains('@')
    })
}

fn is_path(piece: &str) -> bool {
    ["/", "./", "../", "~/"]
        .iter()
        .any(|start| piece.starts_with(start))
        && piece.bytes().any(|b| b.is_ascii_alphanumeric())
        && piece.len() > 2
}

/// Without the signs that people write or leave out in a code.
fn squeezed(code: &str) -> String {
    code.chars()
        .filter(|c| !matches!(c, '-' | '_' | '\'' | '/'))
        .collect()
}
