//! A text that was read: what the rules compare.

use super::dates::{self, Dates};
use super::fold::{Folded, is_invisible};
use super::language::{Asked, ENGLISH, Form, Language, Phrase, Sense, class};
use super::matching::{sorted, unmatched};
use super::numbers::{self, Number};
use super::table::hash;
use super::tokens::{Kind, Token, tokens};
use std::cmp::Ordering;
use std::ops::Range;

/// The most characters of a piece of evidence.
const EVIDENCE_CHARS: usize = 64;

/// The most words between a word and its particle, as in `turn the kitchen light off`.
const GAP: usize = 5;

/// Where a text takes a pole of an axis.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The pole.
    pub sense: Sense,
    /// Its first token.
    pub first: usize,
    /// Its last token.
    pub last: usize,
    /// A negation is before it.
    pub negated: bool,
}

impl Hit {
    /// The order of hits.
    pub fn key(&self) -> (Sense, bool) {
        (self.sense, self.negated)
    }
}

/// What a token counts as when texts are compared word by word.
/// Equal words are compared in full; the hash makes the order fast.
#[derive(Clone, Debug)]
struct Key {
    hash: u64,
    word: String,
    token: usize,
}

impl Key {
    fn order(&self, other: &Self) -> Ordering {
        (self.hash, &self.word).cmp(&(other.hash, &other.word))
    }
}

/// A text that was read.
pub struct Text<'a> {
    original: &'a str,
    folded: Folded,
    /// The language; none if the text is in another one, and is left alone.
    pub language: Option<&'static Language>,
    /// All tokens.
    pub tokens: Vec<Token>,
    /// Poles of axes, sorted by axis.
    pub hits: Vec<Hit>,
    /// Numbers, in their order.
    pub numbers: Vec<Number>,
    /// Dates and times.
    pub dates: Dates,
    /// Places of tokens that are codes, in their order.
    pub codes: Vec<usize>,
    keys: Vec<Key>,
    /// The places of keys, in order.
    order: Vec<usize>,
}

impl<'a> Text<'a> {
    /// Reads a text.
    pub fn new(original: &'a str) -> Self {
        let folded = Folded::new(original);
        let language: &'static Language = &ENGLISH;
        let mut text = Self {
            original,
            language: None,
            tokens: Vec::new(),
            hits: Vec::new(),
            numbers: Vec::new(),
            dates: Dates::default(),
            codes: Vec::new(),
            keys: Vec::new(),
            order: Vec::new(),
            folded,
        };
        if !text.folded.is_latin {
            return text;
        }
        text.tokens = tokens(&text.folded, language);
        let count = |class| text.tokens.iter().filter(|token| token.is(class)).count();
        if count(class::FOREIGN) > count(class::FUNCTION) {
            return text;
        }
        text.language = Some(language);
        let mut used = vec![false; text.tokens.len()];
        text.find_codes(language, &mut used);
        text.dates = dates::find(&text.tokens, &mut used);
        text.numbers = numbers::find(language, &text.tokens, &mut used);
        text.find_senses(language, &mut used);
        let keys = &text.keys;
        text.order = sorted(keys.len(), &|a, b| keys[a].order(&keys[b]));
        text
    }

    /// The middle of the text was not read.
    pub fn is_cut(&self) -> bool {
        self.folded.is_cut
    }

    fn find_codes(&mut self, language: &Language, used: &mut [bool]) {
        for at in 0..self.tokens.len() {
            let token = &self.tokens[at];
            let behind_carrier = at > 0 && self.tokens[at - 1].is(class::CARRIER);
            let is_letter = token.kind == Kind::Word
                && token.word.len() == 1
                && token.word.is_ascii()
                && (token.form.class & class::FUNCTION == 0
                    || token.is(class::ARTICLE) && self.closes(at, behind_carrier));
            if matches!(token.kind, Kind::Code | Kind::Operator)
                || is_letter
                || numbers::is_code(language, token)
            {
                self.codes.push(at);
                used[at] = true;
                let word = if matches!(token.kind, Kind::Number { .. }) {
                    self.slice(at..at + 1).to_string()
                } else {
                    token.word.clone()
                };
                self.tokens[at].word = word;
                self.tokens[at].form = Form::default();
            }
        }
    }

    /// Nothing that belongs to an article follows: `hepatitis a`, `replace a with b`.
    fn closes(&self, at: usize, behind_carrier: bool) -> bool {
        let token = &self.tokens[at];
        let closing = class::GOAL
            | class::SOURCE
            | class::MARKER
            | class::JOINER
            | if behind_carrier { class::FUNCTION } else { 0 };
        token.ends || token.comma || self.tokens.get(at + 1).is_none_or(|next| next.is(closing))
    }

    fn find_senses(&mut self, language: &'static Language, used: &mut [bool]) {
        let mut inside = vec![false; self.tokens.len()];
        for at in 0..self.tokens.len() {
            // `one` and `first` are numbers that may be more.
            let is_more = self.tokens[at].is(class::WEAK_NUMBER);
            if used[at] && !is_more || inside[at] || self.tokens[at].kind != Kind::Word {
                continue;
            }
            let found = self.phrase(language, at);
            let Some((phrase, last)) = found else {
                if !used[at] {
                    self.add_word(language, at);
                }
                continue;
            };
            if phrase.gap {
                inside[last] = true;
            } else {
                inside[at..=last].fill(true);
            }
            let negated = self.is_negated(at, last);
            for sense in &phrase.senses {
                self.hits.push(Hit {
                    sense: *sense,
                    first: at,
                    last,
                    negated,
                });
            }
            let is_how_much = self.is_how_much(at);
            match phrase.senses.first() {
                // `no longer`, `with`
                _ if used[at] || is_how_much || !self.tokens[at].is_content() && !phrase.gap => {}
                Some(sense) => {
                    let word = format!("\u{1}{}.{}", sense.axis, sense.pole);
                    self.add_key(word, at);
                }
                None if phrase.rest.is_empty() => self.add_word(language, at),
                None => {
                    let words: Vec<&str> = self.tokens[at..=last]
                        .iter()
                        .map(|token| token.stem.as_str())
                        .collect();
                    self.add_key(words.join(" "), at);
                }
            }
        }
        let hits = &self.hits;
        let order = sorted(hits.len(), &|a, b| hits[a].key().cmp(&hits[b].key()));
        self.hits = order.into_iter().map(|at| hits[at].clone()).collect();
    }

    /// The phrase that begins at a token, and its last token: the longest, or that with the nearest
    /// particle.
    fn phrase(&self, language: &'static Language, at: usize) -> Option<(&'static Phrase, usize)> {
        let mut found: Option<(&Phrase, usize)> = None;
        for phrase in language.phrases(&self.tokens[at].stem) {
            if let Some(last) = self.fit(at, &phrase.rest, phrase.gap) {
                let is_better = found.is_none_or(|(other, other_last)| {
                    phrase.rest.len() == other.rest.len() && last < other_last
                });
                if is_better {
                    found = Some((phrase, last));
                }
            }
        }
        found
    }

    fn add_word(&mut self, language: &'static Language, at: usize) {
        let token = &self.tokens[at];
        if token.is_content() && !self.is_how_much(at) {
            self.add_key(language.meaning(&token.stem).to_string(), at);
        }
    }

    /// `many` in `how many`.
    fn is_how_much(&self, at: usize) -> bool {
        self.tokens[at].is(class::AMOUNT)
            && at > 0
            && self.tokens[at - 1].form.asks == Some(Asked::Way)
    }

    fn add_key(&mut self, word: String, token: usize) {
        self.keys.push(Key {
            hash: hash(&word),
            word,
            token,
        });
    }

    /// The last token of a phrase that begins at a token.
    fn fit(&self, at: usize, rest: &[String], gap: bool) -> Option<usize> {
        if !gap {
            let last = at + rest.len();
            let fits = last < self.tokens.len()
                && rest
                    .iter()
                    .zip(&self.tokens[at + 1..])
                    .all(|(stem, token)| *stem == token.stem);
            return fits.then_some(last);
        }
        for (n, token) in self.tokens[at + 1..].iter().take(GAP).enumerate() {
            if token.stem == rest[0] {
                return Some(at + 1 + n);
            }
            if token.ends {
                return None;
            }
        }
        None
    }

    /// A negation is at most three words before, in the same sentence, or right behind as in `with no`.
    fn is_negated(&self, at: usize, last: usize) -> bool {
        let next = self.tokens.get(last + 1);
        if self.tokens[at].is(class::MARKER) && next.is_some_and(|next| next.is(class::NEGATION)) {
            return true;
        }
        self.tokens[at.saturating_sub(3)..at]
            .iter()
            .rev()
            .take_while(|token| !token.ends && !token.comma)
            .any(|token| token.is(class::NEGATION))
    }

    fn slice(&self, tokens: Range<usize>) -> &str {
        let (first, last) = (&self.tokens[tokens.start], &self.tokens[tokens.end - 1]);
        &self.folded.text[first.at.start..last.at.end]
    }

    /// The tokens as they stand in the original, without invisible characters, and not too long.
    pub fn evidence(&self, first: usize, last: usize) -> String {
        let at = self.tokens[first].at.start..self.tokens[last].at.end;
        self.original[self.folded.origin(at)]
            .chars()
            .filter(|c| !is_invisible(*c))
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(EVIDENCE_CHARS)
            .collect()
    }

    /// The token begins with a capital, and does not begin a sentence.
    pub fn is_capital(&self, at: usize) -> bool {
        let origin = self.folded.origin(self.tokens[at].at.clone());
        at > 0 && !self.tokens[at - 1].ends && self.original[origin].starts_with(char::is_uppercase)
    }

    /// How many words say what is asked.
    pub fn content(&self) -> usize {
        self.keys.len()
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
    /// Compares the words of two texts.
    pub fn new(query: &Text, entry: &Text) -> Self {
        let (a, b) = unmatched(&query.order, &entry.order, &|a, b| {
            query.keys[a].order(&entry.keys[b])
        });
        let tokens = |text: &Text, keys: Vec<usize>| -> Vec<usize> {
            keys.into_iter().map(|key| text.keys[key].token).collect()
        };
        Self {
            query: tokens(query, a),
            entry: tokens(entry, b),
        }
    }
}
