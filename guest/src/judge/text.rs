//! A text that was read: what the rules compare.

use super::Span;
use super::class;
use super::dates::{self, Dates};
use super::fold::{Folded, Shape, shape};
use super::language::{Asked, ENGLISH, Language, Phrase, Sense, hash};
use super::matching::{item, key, place, places, sort};
use super::numbers::{self, Number};
use super::scanner::tokens;
use super::tokens::{Kind, Tokens, Use};
use std::ops::Range;

/// The most characters of a piece of evidence.
const EVIDENCE_CHARS: usize = 64;

/// The most words between a word and its particle, as in `turn the kitchen light off`.
const GAP: usize = 5;

/// Where a text takes a pole of an axis: the key is the pole, and whether a negation is before it; the
/// place is the first token, and below it the last.
#[derive(Clone, Copy)]
pub struct Hit(pub u64);

impl Hit {
    fn pack(sense: Sense, negated: bool, span: Span) -> u64 {
        item(sense.key() << 1 | u32::from(negated), span.0 << 16 | span.1)
    }

    /// The pole.
    pub fn sense(self) -> Sense {
        Sense::of_key(key(self.0) >> 1)
    }

    /// A negation is before it.
    pub fn negated(self) -> bool {
        key(self.0) & 1 != 0
    }

    /// Its first token, and its last.
    pub fn span(self) -> Span {
        (place(self.0) >> 16, place(self.0) & 0xffff)
    }
}

/// A text that was read.
pub struct Text<'a> {
    original: &'a str,
    folded: Folded,
    /// A part of the text was not read.
    pub is_cut: bool,
    /// What is known of its language.
    pub language: &'static Language,
    /// It is in that language; else it is left alone.
    pub is_known: bool,
    /// All tokens.
    pub tokens: Tokens,
    /// Poles of axes, in order. See [`Hit`].
    pub hits: Vec<u64>,
    /// Numbers, in their order.
    pub numbers: Vec<Number>,
    /// Their values and units, in order, and their places among the numbers.
    pub amounts: Vec<u64>,
    /// Codes, in order, and their tokens.
    pub codes: Vec<u64>,
    /// Dates and times.
    pub dates: Dates,
    /// Words that say what is asked, in order, and their tokens.
    words: Vec<u64>,
}

impl<'a> Text<'a> {
    /// Reads a text.
    #[inline(never)]
    pub fn new(original: &'a str) -> Self {
        let language: &'static Language = &ENGLISH;
        let folded = Folded::new(original, &language.alike);
        let is_latin = folded.is_latin();
        let (tokens, is_cut) = if is_latin {
            tokens(&folded.text, folded.middle, language)
        } else {
            (Tokens::new(0), false)
        };
        let count = |class| {
            let of_class = tokens.all().iter().filter(|token| token.is(class));
            of_class.count()
        };
        let is_known = is_latin && count(class::FOREIGN) <= count(class::FUNCTION);
        let mut text = Self {
            original,
            is_cut: is_cut || folded.is_cut(),
            folded,
            language,
            is_known,
            hits: Vec::new(),
            numbers: Vec::new(),
            amounts: Vec::new(),
            codes: Vec::new(),
            dates: Dates::default(),
            words: Vec::new(),
            tokens,
        };
        if is_known {
            text.find_codes();
            text.dates = dates::find(&text.tokens);
            text.numbers = numbers::find(language, &text.tokens);
            text.find_senses();
            for (at, number) in text.numbers.iter().enumerate() {
                text.amounts.push(item(number.key(), at));
            }
            for items in [
                &mut text.words,
                &mut text.hits,
                &mut text.amounts,
                &mut text.codes,
            ] {
                sort(items);
            }
        }
        text
    }

    fn find_codes(&mut self) {
        for at in 0..self.tokens.len() {
            let token = self.tokens.at(at);
            let word = self.tokens.word(token);
            let is_letter = token.is_word()
                && word.len() == 1
                && word.is_ascii()
                && !(token.form.dimension != 0 && self.tokens.before(at).is_number())
                && (!token.is(class::FUNCTION) || token.is(class::ARTICLE) && self.is_last(at));
            if token.kind == Kind::Code
                || is_letter
                || numbers::is_code(self.language, &self.tokens, token)
            {
                self.tokens.use_up(at, at, Use::Value);
                let (code, token) = self.tokens.make_code(at);
                // `4lokos` are more than one `4loko`.
                token.stem = hash(match code {
                    [one @ .., b's'] if one.len() > 3 => one,
                    _ => code,
                });
                self.codes.push(item(token.stem, at));
            }
        }
    }

    /// Nothing that belongs to an article follows: `hepatitis a`, `replace a with b`.
    fn is_last(&self, at: usize) -> bool {
        let mut closing = class::GOAL | class::SOURCE | class::MARKER | class::JOINER;
        if self.tokens.before(at).is(class::CARRIER) {
            closing |= class::FUNCTION;
        }
        self.tokens.at(at).closes()
            || self.tokens.is(at + 1, closing)
            || at + 1 == self.tokens.len()
    }

    fn find_senses(&mut self) {
        let mut buffer = Vec::new();
        for at in 0..self.tokens.len() {
            let token = self.tokens.at(at);
            // `one` and `first` are numbers that may be more.
            let used = self.tokens.used(at);
            let is_used = used != Use::Free;
            if used == Use::Phrase || is_used && !token.is(class::WEAK_NUMBER) || !token.is_word() {
                continue;
            }
            // `many` in `how many`
            let is_how_much =
                token.is(class::AMOUNT) && self.tokens.before(at).form.asks == Some(Asked::Way);
            let mut counts = token.is_content() && !is_used && !is_how_much;
            let known = self.language.get(token.stem);
            let mut word = if known.meaning == 0 {
                token.stem
            } else {
                known.meaning
            };
            if let Some((found, last)) = self.phrase(at, &mut buffer) {
                if found.gap {
                    counts = !is_used;
                }
                let from = if found.gap { last } else { at };
                self.tokens.use_up(from, last, Use::Phrase);
                let negated = self.is_negated(at, last);
                let mut next = Some(found);
                let before = self.hits.len();
                while let Some(phrase) = next {
                    if phrase.is_same(found) && phrase.sense != Sense::NONE {
                        self.hits.push(Hit::pack(phrase.sense, negated, (at, last)));
                    }
                    next = self.language.phrase(phrase.next);
                }
                if let Some(hit) = self.hits.get(before..).and_then(<[u64]>::last) {
                    word = Hit(*hit).sense().key();
                } else {
                    for at in at + 1..=last {
                        word = word.rotate_left(1) ^ self.tokens.stem(at);
                    }
                }
            }
            if counts {
                self.words.push(item(word, at));
            }
        }
    }

    /// The phrase that begins at a token, and its last token: the longest, or that with the nearest
    /// particle.
    fn phrase(&self, at: usize, buffer: &mut Vec<u8>) -> Option<(&'static Phrase, usize)> {
        let token = self.tokens.at(at);
        let word = self.tokens.word(token);
        let mut found: Option<(&Phrase, usize)> = None;
        let first = self.language.root(token.stem, word, buffer).first;
        let mut next = self.language.phrase(first);
        while let Some(phrase) = next {
            if let Some(last) = self.fit(at, phrase) {
                let is_better = found.is_none_or(|(other, other_last)| {
                    phrase.len > other.len || phrase.len == other.len && last < other_last
                });
                if is_better {
                    found = Some((phrase, last));
                }
            }
            next = self.language.phrase(phrase.next);
        }
        found
    }

    /// The last token of a phrase that begins at a token.
    fn fit(&self, at: usize, phrase: &Phrase) -> Option<usize> {
        let mut here = at;
        for stem in phrase.behind() {
            here += 1;
            while phrase.gap && self.tokens.stem(here) != *stem && here - at < GAP {
                if self.tokens.at(here).ends {
                    return None;
                }
                here += 1;
            }
            if self.tokens.stem(here) != *stem {
                return None;
            }
        }
        Some(here)
    }

    /// A negation is at most three words before, in the same sentence, or right behind as in `with no`.
    pub fn is_negated(&self, at: usize, last: usize) -> bool {
        if self.tokens.is(at, class::MARKER) && self.tokens.is(last + 1, class::NEGATION) {
            return true;
        }
        let mut here = at;
        while here > 0 && at - here < 3 && !self.tokens.before(here).closes() {
            here -= 1;
            if self.tokens.is(here, class::NEGATION) {
                return true;
            }
        }
        false
    }

    /// Some tokens are joined as equals: by a word, or by a comma.
    pub fn joins(&self, mut range: Range<usize>) -> bool {
        range.any(|at| self.tokens.is(at, class::JOINER) || self.tokens.at(at).comma)
    }

    /// Where tokens stand in the original.
    fn origin(&self, span: Span) -> Range<usize> {
        let (first, last) = (self.tokens.at(span.0).at, self.tokens.at(span.1).at);
        self.folded.origin(first.0 as usize..last.1 as usize)
    }

    /// The tokens as they stand in the original, without invisible characters, and not too long.
    #[inline(never)]
    pub fn evidence(&self, span: Span) -> String {
        let text = self.original.get(self.origin(span)).unwrap_or("");
        let mut evidence = String::with_capacity(text.len().min(4 * EVIDENCE_CHARS));
        for c in text.chars().take(EVIDENCE_CHARS) {
            if shape(c) != Shape::Invisible {
                evidence.push(c.max(' '));
            }
        }
        evidence
    }

    /// The token begins with a capital, and does not begin a sentence.
    pub fn is_capital(&self, at: usize) -> bool {
        let first = self.original.as_bytes()[self.origin((at, at)).start];
        !self.tokens.before(at).ends && first.is_ascii_uppercase()
    }

    /// How many words say what is asked.
    pub fn content(&self) -> usize {
        self.words.len()
    }
}

/// Words that only one of two texts has.
pub struct Left {
    /// Tokens of the query, in their order.
    pub query: Vec<usize>,
    /// Tokens of the entry, in their order.
    pub entry: Vec<usize>,
}

impl Left {
    /// How many words differ.
    pub fn len(&self) -> usize {
        self.query.len() + self.entry.len()
    }

    /// Compares the words of two texts.
    pub fn new(query: &Text, entry: &Text) -> Self {
        Self {
            query: places(&query.words, &entry.words),
            entry: places(&entry.words, &query.words),
        }
    }
}
