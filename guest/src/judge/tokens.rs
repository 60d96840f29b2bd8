//! Tokens of a text: its words, numbers, dates and codes, with what is known of each.

use super::bytes::{number, part};
use super::class;
use super::language::Form;
use std::cell::Cell;
use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// Digits. The token's word is the number without separators of thousands: `1234.5`.
    Number,
    /// A day in digits.
    Day,
    /// A time of day.
    Time,
    /// A version, a code, a file name, an option, an operator.
    Code,
}

/// A part of a text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// What is known of the word.
    pub form: Form,
    /// The first byte of it in the folded text, and the last but one.
    pub at: (u32, u32),
    /// Where the word, the digits, or the code without separators stand among all words.
    word: (u32, u32),
    /// Where what stands right behind digits ends: `k`, `%`, `kg`, `th`. It begins where the word ends.
    suffix: u32,
    /// The hash of its stem.
    pub stem: u32,
    /// A day: the year, 1 to 9999, the month and the day, a byte each at the end. A time: seconds since
    /// midnight.
    pub value: u32,
    /// What it is.
    pub kind: Kind,
    /// The month may be the day, or it may be twelve hours later.
    pub unsure: bool,
    /// A number behind the sign of a currency.
    pub money: bool,
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

    /// It is digits.
    pub fn is_number(&self) -> bool {
        self.kind == Kind::Number
    }

    /// It is digits, and nothing is before or behind them.
    pub fn is_plain(&self) -> bool {
        self.is_number() && !self.money && self.suffix == self.word.1
    }

    /// Something ends behind it.
    pub fn closes(&self) -> bool {
        self.ends || self.comma
    }

    /// How many bytes it has in the folded text.
    pub fn width(&self) -> u32 {
        self.at.1 - self.at.0
    }
}

/// What a token is used up for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nothing yet.
    Free,
    /// It is a part of a number, a date or a code.
    Value,
    /// It is a part of a phrase.
    Phrase,
}

/// The tokens of a text.
pub struct Tokens {
    list: Vec<Token>,
    /// What each is used up for.
    uses: Vec<Cell<Use>>,
    /// All words and suffixes.
    words: Vec<u8>,
}

/// What is before the first token, and behind the last.
static NOTHING: Token = Token {
    form: Form::UNKNOWN,
    at: (0, 0),
    word: (0, 0),
    suffix: 0,
    stem: 0,
    value: 0,
    kind: Kind::Word,
    unsure: false,
    money: false,
    ends: true,
    comma: false,
};

impl Tokens {
    /// None yet, of a text of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            list: Vec::with_capacity(bytes / 5),
            uses: Vec::new(),
            words: Vec::with_capacity(bytes + 16),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them.
    pub fn all(&self) -> &[Token] {
        &self.list
    }

    /// A token, or an empty one before the first and behind the last.
    #[inline(never)]
    pub fn at(&self, at: usize) -> &Token {
        self.list.get(at).unwrap_or(&NOTHING)
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

    /// The hash of a token's stem.
    #[inline(never)]
    pub fn stem(&self, at: usize) -> u32 {
        self.at(at).stem
    }

    /// A token of some is in a class.
    #[inline(never)]
    pub fn any(&self, range: Range<usize>, class: u32) -> bool {
        range.into_iter().any(|at| self.is(at, class))
    }

    /// The word, the digits, or the code without separators.
    pub fn word(&self, token: &Token) -> &[u8] {
        part(&self.words, token.word.0 as usize, token.word.1 as usize)
    }

    /// The word of a token at a place.
    #[inline(never)]
    pub fn word_at(&self, at: usize) -> &[u8] {
        self.word(self.at(at))
    }

    /// The first byte of a token's word, if that is not empty.
    pub fn first_byte(&self, token: &Token) -> Option<&u8> {
        self.words.get(token.word.0 as usize)
    }

    /// What stands right behind digits.
    pub fn suffix(&self, token: &Token) -> &[u8] {
        part(&self.words, token.word.1 as usize, token.suffix as usize)
    }

    /// The number that digits are, if it is a short whole one.
    pub fn number(&self, token: &Token) -> Option<u32> {
        number(self.word(token))
    }

    /// Adds a token that is nothing but a word and a suffix yet.
    #[inline(never)]
    pub fn push(&mut self, at: Range<usize>, word: &[u8], suffix: &[u8]) -> &mut Token {
        let start = self.words.len();
        self.words.extend_from_slice(word);
        let end = self.words.len();
        self.words.extend_from_slice(suffix);
        let place = self.list.len();
        self.list.push(Token {
            at: (at.start as u32, at.end as u32),
            word: (start as u32, end as u32),
            suffix: self.words.len() as u32,
            ends: false,
            ..NOTHING
        });
        &mut self.list[place]
    }

    /// Leaves out tokens beyond so many. All are free.
    pub fn truncate(&mut self, most: usize) {
        self.list.truncate(most);
        self.uses = vec![Cell::new(Use::Free); self.list.len()];
    }

    /// What a token is used up for.
    pub fn used(&self, at: usize) -> Use {
        self.uses.get(at).map_or(Use::Value, Cell::get)
    }

    /// Some tokens, from the first to the last, are used up.
    #[inline(never)]
    pub fn use_up(&self, first: usize, last: usize, to: Use) {
        for at in first..=last {
            if let Some(of) = self.uses.get(at) {
                of.set(to);
            }
        }
    }

    /// Makes a token a code; a suffix is a part of it then. The code, and the token.
    pub fn make_code(&mut self, at: usize) -> (&[u8], &mut Token) {
        let token = &mut self.list[at];
        token.kind = Kind::Code;
        token.form = Form::UNKNOWN;
        token.word.1 = token.suffix;
        (
            part(&self.words, token.word.0 as usize, token.word.1 as usize),
            token,
        )
    }

    /// The tokens from one on end a chunk with these signs behind.
    pub fn end_chunk(&mut self, from: usize, ends: bool, comma: bool) {
        if self.list.len() > from
            && let Some(last) = self.list.last_mut()
        {
            last.ends = ends;
            last.comma = comma;
        }
    }
}
